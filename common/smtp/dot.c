#include "smtp/dot.h"

bool smtp_dot_put(struct smtp_dot_encoder *d, struct slice in, struct buf *out) {
    while (in.n) {
        if (d->has_cr) {
            d->has_cr = false;
            if (*in.p == '\n') {
                buf_add(out, S("\r\n"));
                d->is_midline = false;
                in = slice_from(in, 1);
                continue;
            }
            buf_addc(out, ' ');
            d->is_midline = true;
        }
        if (!d->is_midline && *in.p == '.' && !d->is_raw) buf_addc(out, '.');
        size_t lf = slice_chr(in, '\n'), n = lf == SLICE_NONE ? in.n : lf;
        size_t cr = slice_chr(slice_first(in, n), '\r');
        if (cr != SLICE_NONE) n = cr;
        if (n) {
            buf_add(out, slice_first(in, n));
            d->is_midline = true;
        }
        in = slice_from(in, n);
        if (!in.n) break;
        if (*in.p == '\r') d->has_cr = true;
        else {
            buf_add(out, S("\r\n"));
            d->is_midline = false;
        }
        in = slice_from(in, 1);
    }
    return !out->bad;
}

bool smtp_dot_end(struct smtp_dot_encoder *d, struct buf *out) {
    if (d->has_cr) buf_addc(out, ' ');
    if (d->has_cr || d->is_midline) buf_add(out, S("\r\n"));
    if (!d->is_raw) buf_add(out, S(".\r\n"));
    *d = (struct smtp_dot_encoder){0};
    return !out->bad;
}

// After: CRLF (or the start), a bare LF, text, text CR; CRLF., CRLF.CR; LF.
enum { START, START_LF, TEXT, CR, DOT, DOT_CR, LF_DOT };

static void lone_cr(struct smtp_dot_decoder *d, struct buf *out) {
    d->has_bare_cr = true;
    buf_addc(out, d->mode & SMTP_DOT_NORMALISE ? ' ' : '\r');
}

static void lone_lf(struct smtp_dot_decoder *d, struct buf *out) {
    d->has_bare_lf = true;
    if (d->mode & SMTP_DOT_NORMALISE) buf_add(out, S("\r\n"));
    else buf_addc(out, '\n');
    d->state = START_LF;
}

bool smtp_dot_take(struct smtp_dot_decoder *d, struct slice *in, struct buf *out, size_t limit) {
    bool dots = !(d->mode & SMTP_DOT_RAW), lax = d->mode & SMTP_DOT_LAX_END;
    while (in->n && out->n < limit && !out->bad) {
        char c = *in->p;
        switch (d->state) {
        case START:
        case START_LF:
            if (dots && c == '.') {
                d->state = d->state == START || lax ? DOT : LF_DOT;
                break;
            }
            d->state = TEXT;
            ATTR_FALLTHROUGH;
        case TEXT: {
            size_t n = in->n < limit - out->n ? in->n : limit - out->n;
            const char *lf = memchr(in->p, '\n', n);
            if (lf) n = (size_t)(lf - in->p);
            const char *cr = memchr(in->p, '\r', n);
            if (cr) n = (size_t)(cr - in->p);
            if (n) {
                buf_add(out, slice_first(*in, n));
                *in = slice_from(*in, n);
                continue;
            }
            if (c == '\r') d->state = CR;
            else lone_lf(d, out);
            break;
        }
        case CR:
            d->state = TEXT;
            if (c != '\n') {
                lone_cr(d, out);
                continue;
            }
            buf_add(out, S("\r\n"));
            d->state = START;
            break;
        case DOT:
            d->state = TEXT;
            if (c == '\r') d->state = DOT_CR;
            else if (c == '\n' && lax) {
                *in = slice_from(*in, 1);
                return true;
            } else if (c == '\n') { // CRLF.LF: content
                buf_addc(out, '.');
                continue;
            } else continue; // the stuffed dot is dropped
            break;
        case DOT_CR:
            if (c == '\n') {
                *in = slice_from(*in, 1);
                return true;
            }
            buf_addc(out, '.');
            d->state = CR;
            continue;
        case LF_DOT: // a leading dot after a bare LF: unstuffed, but never an end
            d->state = TEXT;
            if (c != '.') buf_addc(out, '.');
            continue;
        default: d->state = TEXT; continue;
        }
        *in = slice_from(*in, 1);
    }
    return false;
}

void smtp_dot_finish(struct smtp_dot_decoder *d, struct buf *out) {
    if (d->state == CR) lone_cr(d, out);
    d->state = START;
}
