#include "base/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool base64_put(struct buf *out, struct slice in) {
    const unsigned char *p = (const unsigned char *)in.p;
    char *o;
    size_t i = 0, n;

    if (in.n > SIZE_MAX / 2) {
        out->bad = true;
        return false;
    }
    n = (in.n + 2) / 3 * 4;
    o = buf_room(out, n);
    if (!o) return false;
    for (; i + 2 < in.n; i += 3, o += 4) {
        o[0] = alphabet[p[i] >> 2];
        o[1] = alphabet[(p[i] & 3) << 4 | p[i + 1] >> 4];
        o[2] = alphabet[(p[i + 1] & 15) << 2 | p[i + 2] >> 6];
        o[3] = alphabet[p[i + 2] & 63];
    }
    if (i < in.n) {
        unsigned second = i + 1 < in.n ? p[i + 1] : 0;

        o[0] = alphabet[p[i] >> 2];
        o[1] = alphabet[(p[i] & 3) << 4 | second >> 4];
        o[2] = i + 1 < in.n ? alphabet[(second & 15) << 2] : '=';
        o[3] = '=';
    }
    buf_grown(out, n);
    return true;
}

static int value(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_get(struct buf *out, struct slice in) {
    size_t pad = 0, n;
    char *o;

    if (in.n % 4 != 0) return false;
    if (in.n == 0) return true;
    if (in.p[in.n - 1] == '=') pad = in.p[in.n - 2] == '=' ? 2 : 1;
    n = in.n / 4 * 3 - pad;
    o = buf_room(out, n + 2);
    if (!o) return false;
    for (size_t i = 0; i < in.n; i += 4) {
        bool last = i + 4 == in.n;
        int a = value(in.p[i]), b = value(in.p[i + 1]);
        int c = last && pad == 2 ? 0 : value(in.p[i + 2]);
        int d = last && pad >= 1 ? 0 : value(in.p[i + 3]);

        if (a < 0 || b < 0 || c < 0 || d < 0) return false;
        if (last && ((pad == 2 && (b & 15)) || (pad == 1 && (c & 3)))) return false;
        *o++ = (char)(a << 2 | b >> 4);
        if (!last || pad < 2) *o++ = (char)((b & 15) << 4 | c >> 2);
        if (!last || pad < 1) *o++ = (char)((c & 3) << 6 | d);
    }
    buf_grown(out, n);
    return true;
}
