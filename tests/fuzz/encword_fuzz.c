#include <assert.h>

#include "base/utf8.h"
#include "mime/encword.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct slice in = slice_of((const char *)data, n), rest, line;
    struct buf a, b;
    size_t column = 9;

    buf_init(&a, 16 << 20);
    buf_init(&b, 16 << 20);
    encword_decode(&a, in);
    assert(utf8_valid(buf_slice(&a)));
    assert(slice_chr(buf_slice(&a), 10) == SLICE_NONE);
    encword_put_text(&b, buf_slice(&a), &column);
    for (rest = buf_slice(&b); slice_line(&rest, &line);) assert(line.n <= 998);
    column = 3;
    encword_put_phrase(&b, in, &column);
    buf_release(&a);
    buf_release(&b);
    return 0;
}
