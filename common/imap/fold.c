#include "imap/fold.h"

#include "base/utf8.h"
#include "mime/encword.h"

enum { FOLD_PIECE = 4096 };

/* Lower case of Latin-1, Latin Extended-A, Greek and Cyrillic: the simple mappings. */
static uint32_t fold(uint32_t c) {
    if ((c >= 0xc0 && c <= 0xde && c != 0xd7) || (c >= 0x391 && c <= 0x3ab) ||
        (c >= 0x410 && c <= 0x42f)) {
        return c + 32;
    }
    if (c >= 0x400 && c <= 0x40f) return c + 80;
    if ((c >= 0x100 && c <= 0x137) || (c >= 0x14a && c <= 0x177) || (c >= 0x460 && c <= 0x481)) {
        return c | 1;
    }
    if ((c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17e)) return c + (c & 1);
    if (c == 0x178) return 0xff;
    if (c == 0x3c2) return 0x3c3; // final sigma
    return c;
}

/* The ASCII at the start of `s`, at most a piece of it: most text is that. Returns how much. */
static size_t fold_ascii(struct buf *out, struct slice s, bool *was_blank) {
    size_t n = 0, room = s.n < FOLD_PIECE ? s.n : FOLD_PIECE;
    char *p = buf_room(out, room), *to = p;

    if (!p) return 0;
    for (; n < room && (unsigned char)s.p[n] < 128; n++) {
        char c = s.p[n];

        if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
            if (!*was_blank) *to++ = ' ';
            *was_blank = true;
            continue;
        }
        *was_blank = false;
        *to++ = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    }
    buf_grown(out, (size_t)(to - p));
    return n;
}

bool imap_fold(struct buf *out, struct slice s) {
    bool was_blank = false;

    for (size_t i = 0; i < s.n && !out->bad;) {
        uint32_t c;
        size_t n = fold_ascii(out, slice_from(s, i), &was_blank);

        i += n;
        if (n) continue;
        n = utf8_char(slice_from(s, i), &c);

        if (!n) {
            buf_addc(out, s.p[i++]);
            was_blank = false;
            continue;
        }
        i += n;
        was_blank = false;
        utf8_put(out, fold(c));
    }
    return !out->bad;
}

bool imap_fold_field(struct buf *out, struct slice value) {
    struct buf d;

    buf_init(&d, 4 * value.n + 64);
    encword_decode(&d, value);
    imap_fold(out, buf_slice(&d));
    buf_release(&d);
    return !out->bad;
}
