#include "base/utf8.h"

size_t utf8_char(struct slice s, uint32_t *cp) {
    const unsigned char *p = (const unsigned char *)s.p;
    uint32_t c;
    size_t n;

    if (s.n == 0) return 0;
    if (p[0] < 0x80) {
        if (cp) *cp = p[0];
        return 1;
    }
    if (p[0] < 0xC2 || p[0] > 0xF4) return 0;
    n = p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    if (s.n < n) return 0;
    c = p[0] & (0xFFu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80) return 0;
        c = c << 6 | (p[i] & 0x3F);
    }
    if ((n == 3 && c < 0x800) || (n == 4 && c < 0x10000) || c > 0x10FFFF) return 0;
    if (c >= 0xD800 && c <= 0xDFFF) return 0;
    if (cp) *cp = c;
    return n;
}

bool utf8_valid(struct slice s) {
    while (s.n > 0) {
        size_t n = utf8_char(s, NULL);

        if (n == 0) return false;
        s.p += n;
        s.n -= n;
    }
    return true;
}

bool utf8_is_ascii(struct slice s) {
    unsigned char seen = 0;

    for (size_t i = 0; i < s.n; i++) seen |= (unsigned char)s.p[i];
    return seen < 128;
}

bool utf8_put(struct buf *b, uint32_t cp) {
    char c[4];
    size_t n;

    if (cp > 0x10FFFF || (cp >= 0xD800 && cp <= 0xDFFF)) cp = 0xFFFD;
    if (cp < 0x80) {
        c[0] = (char)cp;
        n = 1;
    } else if (cp < 0x800) {
        c[0] = (char)(0xC0 | cp >> 6);
        c[1] = (char)(0x80 | (cp & 0x3F));
        n = 2;
    } else if (cp < 0x10000) {
        c[0] = (char)(0xE0 | cp >> 12);
        c[1] = (char)(0x80 | (cp >> 6 & 0x3F));
        c[2] = (char)(0x80 | (cp & 0x3F));
        n = 3;
    } else {
        c[0] = (char)(0xF0 | cp >> 18);
        c[1] = (char)(0x80 | (cp >> 12 & 0x3F));
        c[2] = (char)(0x80 | (cp >> 6 & 0x3F));
        c[3] = (char)(0x80 | (cp & 0x3F));
        n = 4;
    }
    return buf_add(b, slice_of(c, n));
}

bool utf8_put_lossy(struct buf *b, struct slice s) {
    while (s.n > 0) {
        size_t n = utf8_char(s, NULL);

        if (n > 0) {
            buf_add(b, slice_first(s, n));
        } else {
            n = 1;
            utf8_put(b, 0xFFFD);
        }
        s = slice_from(s, n);
    }
    return !b->bad;
}
