#include <assert.h>

#include "base/utf7.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct slice in = slice_of((const char *)data, n);
    struct buf a, b;

    buf_init(&a, 16 << 20);
    buf_init(&b, 16 << 20);
    if (utf7_get(&a, in)) { /* strict: only what we would write */
        assert(utf8_valid(buf_slice(&a)));
        assert(utf7_put(&b, buf_slice(&a)) && slice_eq(buf_slice(&b), in));
    }
    buf_reset(&a);
    buf_reset(&b);
    if (utf7_put(&a, in)) assert(utf7_get(&b, buf_slice(&a)) && slice_eq(buf_slice(&b), in));
    buf_release(&a);
    buf_release(&b);
    return 0;
}
