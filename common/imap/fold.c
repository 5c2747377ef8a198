#include "imap/fold.h"

#include "base/utf8.h"
#include "mime/encword.h"

/* Lower case of ASCII, Latin-1, Latin Extended-A, Greek and Cyrillic: the simple mappings. */
static uint32_t fold(uint32_t c) {
    if (c < 128) return c >= 'A' && c <= 'Z' ? c + 32 : c;
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

bool imap_fold(struct buf *out, struct slice s) {
    bool was_blank = false;

    for (size_t i = 0; i < s.n && !out->bad;) {
        uint32_t c;
        size_t n = utf8_char(slice_from(s, i), &c);

        if (!n) {
            buf_addc(out, s.p[i++]);
            was_blank = false;
            continue;
        }
        i += n;
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
            if (!was_blank) buf_addc(out, ' ');
            was_blank = true;
            continue;
        }
        was_blank = false;
        c = fold(c);
        if (c < 128) buf_addc(out, (char)c);
        else utf8_put(out, c);
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
