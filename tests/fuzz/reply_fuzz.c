/* Replies and what EHLO announces, from any bytes: whole and byte by byte must agree. */
#include <stdlib.h>

#include "smtp/ext.h"
#include "smtp/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct smtp_reply_parser a, b;
    struct smtp_reply ra, rb;
    struct slice all = slice_of((const char *)data, size);
    smtp_reply_parser_init(&a);
    smtp_reply_parser_init(&b);
    enum step sa = smtp_reply_feed(&a, &all, &ra, NULL), sb = STEP_MORE;
    for (size_t i = 0; i < size && sb == STEP_MORE; i++) {
        struct slice one = slice_of((const char *)data + i, 1);
        sb = smtp_reply_feed(&b, &one, &rb, NULL);
    }
    if (sa != sb) abort();
    if (sa == STEP_DONE) {
        struct smtp_caps caps;
        if (ra.code != rb.code || !slice_eq(ra.text, rb.text)) abort();
        smtp_caps_parse(ra.text, &caps);
        struct buf out;
        buf_init(&out, 1 << 20);
        smtp_reply_put(&out, ra.code, ra.status, ra.text);
        buf_release(&out);
    }
    smtp_reply_parser_release(&a);
    smtp_reply_parser_release(&b);
    return 0;
}
