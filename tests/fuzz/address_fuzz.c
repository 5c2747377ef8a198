#include <assert.h>

#include "mime/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct slice in = slice_of((const char *)data, n);
    struct address_list list, again;
    struct arena a;
    struct buf b;

    arena_init(&a, 16 << 20);
    buf_init(&b, 16 << 20);
    if (address_parse(&a, in, &list, NULL) != ERR_MEMORY) {
        /* What we write, we read as the same number of members. */
        if (address_list_put(&b, &list) && address_parse(&a, buf_slice(&b), &again, NULL) == OK &&
            !a.bad)
            assert(again.n <= list.n);
    }
    buf_release(&b);
    arena_release(&a);
    return 0;
}
