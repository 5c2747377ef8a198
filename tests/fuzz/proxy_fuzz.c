/* What proxies say: the PROXY header and the arguments of XCLIENT. The first byte cuts the header's
 * bytes into what the parser asks for; it may never ask for nothing, nor beyond its bound. */
#include <stdlib.h>

#include "serve/proxy.h"
#include "smtp/xclient.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct smtp_xclient x;
    struct proxy p;
    size_t have = 0, want = 0;
    enum step step;

    do {
        char *copy = malloc(have + 1);

        if (have) memcpy(copy, data, have);
        step = proxy_parse(slice_of(copy, have), &p, &want);
        free(copy);
        if (step != STEP_MORE) break;
        if (want == 0 || have + want > PROXY_HEADER_MAX) abort();
        have += want;
    } while (have <= size);
    if (step == STEP_DONE && p.has_addresses && (p.client.len == 0 || p.local.len == 0)) abort();
    if (smtp_xclient_parse(slice_of((const char *)data, size), &x, NULL) == OK &&
        x.text_n > sizeof x.text)
        abort();
    return 0;
}
