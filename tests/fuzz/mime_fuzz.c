#include <assert.h>

#include "mime/encword.h"
#include "mime/part.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct slice in = slice_of((const char *)data, n);
    struct part_range r;
    struct arena a;
    struct buf b;
    struct part *root;

    arena_init(&a, 64 << 20);
    buf_init(&b, 1 << 20);
    root = part_parse(&a, in, NULL);
    for (const struct part *p = root; p; p = part_next(p)) {
        assert(p->header.at + p->header.n <= n && p->body.at + p->body.n <= n);
        assert(p->body.wire >= p->body.n && p->body.lines <= p->body.n);
        assert((p->is_multipart || p->is_message) == (p->children != NULL));
        if (p->parent) assert(p->body.at >= p->parent->body.at);
        buf_reset(&b);
        if (!p->children) part_text(p, in, &b);
        part_filename(p, &b);
    }
    if (root && part_section(root, (uint32_t[]){1, 2, 1}, 3, PART_MIME, &r))
        assert(r.at + r.n <= n);
    buf_release(&b);
    arena_release(&a);
    return 0;
}
