#include "imap/fold.h"

#include "base/ascii.h"
#include "base/utf8.h"
#include "mime/encword.h"

enum { FOLD_PIECE = 4096 };

#include "imap/fold.def"

/* What becomes of a character outside ASCII: a text of fold_texts, or NULL when it stays. */
static const uint16_t *folded(uint32_t c) {
    unsigned at = c < FOLD_END ? fold_pages[fold_index[c / FOLD_PAGE]][c % FOLD_PAGE] : 0;

    return at ? fold_texts + at : NULL;
}

static void put_folded(struct buf *out, const uint16_t *text, bool *was_blank) {
    for (; *text; text++) {
        uint32_t c = *text;

        if (c == ' ' && *was_blank) continue;
        *was_blank = c == ' ';
        if (c >= 0xd800 && c <= 0xdbff) c = 0x10000 + ((c - 0xd800) << 10) + (*++text - 0xdc00U);
        utf8_put(out, c);
    }
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
        const uint16_t *text = folded(c);

        if (text) {
            put_folded(out, text, &was_blank);
        } else {
            was_blank = false;
            buf_add(out, slice_of(s.p + i, n));
        }
        i += n;
    }
    return !out->bad;
}

int imap_fold_cmp(struct slice a, struct slice b) {
    size_t n = a.n < b.n ? a.n : b.n;

    for (size_t i = 0; i < n; i++) {
        int x = (unsigned char)ascii_upper(a.p[i]), y = (unsigned char)ascii_upper(b.p[i]);

        if (x != y) return x < y ? -1 : 1;
    }
    return a.n == b.n ? 0 : a.n < b.n ? -1 : 1;
}

/* Most fields: ASCII without an encoded word or anything odd, so that to decode it changes no more
 * than to fold it does. */
static bool is_plain(struct slice s) {
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        char after = i + 1 < s.n ? s.p[i + 1] : 0;

        if (c >= ' ' && c < 127 && c != '=') continue;
        if (c == '='    ? after == '?'
            : c == '\n' ? after != ' ' && after != '\t'
            : c == '\r' ? after != '\n'
                        : c != '\t')
            return false;
    }
    return true;
}

bool imap_fold_field(struct buf *out, struct slice value) {
    struct buf d;

    value = slice_trim(value);
    if (is_plain(value)) return imap_fold(out, value);
    buf_init(&d, 4 * value.n + 64);
    encword_decode(&d, value);
    imap_fold(out, buf_slice(&d));
    buf_release(&d);
    return !out->bad;
}
