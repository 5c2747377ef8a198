#include <assert.h>

#include "mime/legal.h"
#include "mime/part.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* What is not signed comes out with legal lines; what is signed comes out as it was. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct slice in = slice_of((const char *)data, n), got;
    struct legal_scan scan = {0}, after = {0};
    struct arena a;
    struct buf out;

    arena_init(&a, 64 << 20);
    buf_init(&out, 16 << 20);
    legal_scan_add(&scan, in);
    if (legal_make(&a, in, n % 2, &out, NULL) == OK) {
        got = buf_slice(&out);
        legal_scan_add(&after, got);
        if (scan.flaws == 0 || legal_is_signed(in)) assert(slice_eq(in, got));
        else if (slice_ifind(in, S("multipart/")) == SLICE_NONE &&
                 slice_ifind(in, S("message/")) == SLICE_NONE &&
                 slice_ifind(in, S("Content-MD5")) == SLICE_NONE)
            assert(!(after.flaws & LEGAL_LONG_LINE));
    }
    buf_release(&out);
    arena_release(&a);
    return 0;
}
