/* The SMTP server under any bytes. First byte: role and options; the rest comes in pieces whose
 * sizes are derived from it; answers vary too. */
#include <stdlib.h>

#include "smtp/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    unsigned how = data[0], seed = data[1] * 2654435761u;
    struct smtp_server_config c = {.role = (enum smtp_role)(how % 3),
                                   .hostname = S("mx.example"),
                                   .size_max = how & 4 ? 50 : 0,
                                   .offer_tls = true,
                                   .offer_auth = true,
                                   .plaintext_auth = true,
                                   .allow_early_talk = how & 8,
                                   .rcpt_max = 3,
                                   .offer_xclient = how & 64,
                                   .offer_deliver_by = true,
                                   .offer_priority = true,
                                   .hold_max_s = 3600};
    struct smtp_server *s = smtp_server_new(&c, 0);
    struct smtp_server_event ev;
    mono_t now = 0;
    size_t at = 2, stuck = 0;
    while (stuck < 3) {
        bool moved = false;
        while (smtp_server_next(s, &ev)) {
            moved = true;
            seed = seed * 1103515245 + 12345;
            if (ev.type == SMTP_SERVER_NEED_TLS && at == size) smtp_server_tls_up(s, now);
            else if (how & 16 && (seed >> 16) % 8 == 0)
                smtp_server_reply(s, 450, STATUS(0, 0, 0), S("no"));
            else smtp_server_ok(s);
        }
        if (!(how & 8) || (seed >> 20) % 2) {
            size_t n = smtp_server_out(s).n;
            if (n) smtp_server_sent(s, n, now), moved = true;
        }
        size_t n = size - at;
        if (how & 32 && n > 1 + (seed >> 24) % 7) n = 1 + (seed >> 24) % 7;
        if (n) {
            char *copy = malloc(n);
            memcpy(copy, data + at, n);
            n = smtp_server_feed(s, slice_of(copy, n), ++now);
            free(copy);
            at += n;
            moved |= n > 0;
        }
        stuck = moved ? 0 : stuck + 1;
    }
    smtp_server_eof(s, now);
    smtp_server_free(s);
    return 0;
}
