#include "mime/b64.h"

static int sextet(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+') return 62;
    return c == '/' ? 63 : -1;
}

/* The whole bytes of an unfinished group. */
static void cut_group(struct b64_decoder *d, struct buf *out) {
    if (d->n == 1) d->is_damaged = true;
    if (d->n >= 2) buf_addc(out, (char)(d->bits >> (6 * d->n - 8) & 255));
    if (d->n == 3) buf_addc(out, (char)(d->bits >> 2 & 255));
    d->n = 0;
    d->bits = 0;
}

bool b64_decode(struct b64_decoder *d, struct slice in, struct buf *out) {
    for (size_t i = 0; i < in.n; i++) {
        char c = in.p[i];
        int v = sextet(c);

        if (v >= 0) {
            d->bits = d->bits << 6 | (uint32_t)v;
            if (++d->n == 4) {
                char three[3] = {(char)(d->bits >> 16), (char)(d->bits >> 8), (char)d->bits};

                buf_add(out, slice_of(three, 3));
                d->n = 0;
                d->bits = 0;
            }
        } else if (c == '=') {
            cut_group(d, out);
        } else if (c != ' ' && c != '\t' && c != '\r' && c != '\n') {
            d->is_damaged = true;
        }
    }
    return !out->bad;
}

bool b64_decode_end(struct b64_decoder *d, struct buf *out) {
    if (d->n) d->is_damaged = true;
    cut_group(d, out);
    return !out->bad;
}

static void put_group(struct b64_encoder *q, struct buf *out) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t v = (uint32_t)q->held[0] << 16 | (uint32_t)(q->n > 1 ? q->held[1] : 0) << 8 |
                 (q->n > 2 ? q->held[2] : 0);
    char four[4] = {digits[v >> 18], digits[v >> 12 & 63], q->n > 1 ? digits[v >> 6 & 63] : '=',
                    q->n > 2 ? digits[v & 63] : '='};

    if (q->column == B64_LINE_MAX) {
        buf_add(out, S("\r\n"));
        q->column = 0;
    }
    buf_add(out, slice_of(four, 4));
    q->column += 4;
    q->n = 0;
}

bool b64_encode(struct b64_encoder *q, struct slice in, struct buf *out) {
    for (size_t i = 0; i < in.n; i++) {
        q->held[q->n++] = (unsigned char)in.p[i];
        if (q->n == 3) put_group(q, out);
    }
    return !out->bad;
}

bool b64_encode_end(struct b64_encoder *q, struct buf *out) {
    if (q->n) put_group(q, out);
    if (q->column) buf_add(out, S("\r\n"));
    *q = (struct b64_encoder){.n = 0};
    return !out->bad;
}
