#include <assert.h>

#include "mime/header.h"
#include "mime/msgid.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct slice in = slice_of((const char *)data, n), rest = in, id;
    struct header_iter it;
    struct header_field f;
    struct buf b;
    size_t head, at = 0, body = header_end(in, &head);

    assert(head <= body && body <= n);
    buf_init(&b, 16 << 20);
    for (header_begin(&it, in); header_next(&it, &f);) {
        assert(f.at == at && f.end > f.at);
        at = f.end;
        buf_reset(&b);
        header_unfold(&b, f.value);
        assert(slice_chr(buf_slice(&b), 10) == SLICE_NONE);
    }
    assert(it.limited || at == head);
    while (msgid_next(&rest, &id)) assert(id.n > 0);
    buf_release(&b);
    return 0;
}
