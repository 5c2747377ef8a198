#include "base/utf7.h"

#include "base/utf8.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static bool is_direct(uint32_t c) { return c >= 0x20 && c <= 0x7E; }

static bool put(struct buf *out, struct slice utf8) {
    uint32_t bits = 0;
    unsigned n = 0;
    bool is_shifted = false;

    while (utf8.n > 0) {
        uint32_t cp;
        size_t len = utf8_char(utf8, &cp);

        if (len == 0) return false;
        utf8 = slice_from(utf8, len);
        if (is_direct(cp)) {
            if (is_shifted) {
                if (n) buf_addc(out, digits[bits << (6 - n) & 63]);
                buf_addc(out, '-');
                is_shifted = false;
                n = 0;
                bits = 0;
            }
            buf_addc(out, (char)cp);
            if (cp == '&') buf_addc(out, '-');
            continue;
        }
        if (!is_shifted) buf_addc(out, '&');
        is_shifted = true;
        for (int half = cp > 0xFFFF ? 0 : 1; half < 2; half++) {
            uint32_t unit = cp;

            if (cp > 0xFFFF)
                unit =
                    half == 0 ? 0xD800 + ((cp - 0x10000) >> 10) : 0xDC00 + ((cp - 0x10000) & 0x3FF);
            if (half == 1 || cp > 0xFFFF) {
                bits = (bits & 63) << 16 | unit;
                for (n += 16; n >= 6; n -= 6) buf_addc(out, digits[bits >> (n - 6) & 63]);
            }
        }
    }
    if (is_shifted) {
        if (n) buf_addc(out, digits[bits << (6 - n) & 63]);
        buf_addc(out, '-');
    }
    return !out->bad;
}

bool utf7_put(struct buf *out, struct slice utf8) {
    size_t before = out->n;
    bool is_good = put(out, utf8);

    if (!is_good) buf_cut(out, before);
    return is_good;
}

static int value_of(char c) {
    const char *d = c ? strchr(digits, c) : NULL;

    return d ? (int)(d - digits) : -1;
}

static bool get(struct buf *out, struct slice in) {
    bool was_shifted = false;

    for (size_t i = 0; i < in.n; i++) {
        uint32_t bits = 0, high = 0;
        unsigned n = 0, units = 0;

        if (in.p[i] != '&') {
            if (!is_direct((unsigned char)in.p[i])) return false;
            buf_addc(out, in.p[i]);
            was_shifted = false;
            continue;
        }
        if (++i < in.n && in.p[i] == '-') {
            buf_addc(out, '&');
            was_shifted = false;
            continue;
        }
        if (was_shifted) return false; /* two shifts in a row are one */
        for (; i < in.n && in.p[i] != '-'; i++) {
            int v = value_of(in.p[i]);
            uint32_t unit;

            if (v < 0) return false;
            bits = (bits & 0xFFFF) << 6 | (uint32_t)v;
            n += 6;
            if (n < 16) continue;
            n -= 16;
            unit = bits >> n & 0xFFFF;
            units++;
            if (high) {
                if (unit < 0xDC00 || unit > 0xDFFF) return false;
                utf8_put(out, 0x10000 + ((high - 0xD800) << 10) + (unit - 0xDC00));
                high = 0;
            } else if (unit >= 0xD800 && unit <= 0xDBFF) {
                high = unit;
            } else if (is_direct(unit) || (unit >= 0xDC00 && unit <= 0xDFFF)) {
                return false;
            } else {
                utf8_put(out, unit);
            }
        }
        if (i >= in.n || units == 0 || high || n >= 6 || (bits & ((1u << n) - 1))) return false;
        was_shifted = true;
    }
    return !out->bad;
}

bool utf7_get(struct buf *out, struct slice in) {
    size_t before = out->n;
    bool is_good = get(out, in);

    if (!is_good) buf_cut(out, before);
    return is_good;
}
