/* The cursor over one command, and the renderers over one message. */
#include <stdlib.h>

#include "imap/render.h"
#include "imap/section.h"
#include "imap/set.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct arena a;
    struct slice in = slice_of((const char *)data, n), s;
    struct imap_cursor c = {.in = in, .arena = &a};
    struct imap_set set;
    struct imap_section sec;
    struct buf out, tmp;
    uint64_t wire;
    struct part *root;

    if (n > 100000) return 0;
    arena_init(&a, 16 << 20);
    buf_init(&out, 64 << 20);
    buf_init(&tmp, 1 << 20);
    while (c.in.n) {
        size_t before = c.in.n;
        if (imap_take_set(&c, 1000, &set)) imap_set_resolve(&set, 1000);
        if (imap_take_section(&c, &sec)) {
            imap_section_put(&out, &sec);
            root = part_parse(&a, in, NULL);
            if (root && imap_section_find(&sec, in, root, NULL, &tmp, &s, &wire) &&
                imap_wire_size(s, NULL) != wire) {
                abort(); // a literal would be announced with the wrong size
            }
        }
        imap_take_astring(&c, &s);
        imap_take_flag(&c, &s);
        imap_take_parens(&c, &s);
        imap_take_sp(&c);
        if (c.in.n == before) c.in = slice_from(c.in, 1);
    }
    buf_reset(&out);
    imap_put_envelope(&out, in);
    imap_put_bodystructure(&out, in, NULL);
    buf_release(&out);
    buf_release(&tmp);
    arena_release(&a);
    return 0;
}
