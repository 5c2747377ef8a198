#include "mime/qp.h"

#include "base/ascii.h"

static void flush_blanks(struct qp_decoder *d, struct buf *out) {
    buf_add(out, slice_of(d->blanks, d->n_blanks));
    d->n_blanks = 0;
}

static void plain(struct qp_decoder *d, char c, struct buf *out) {
    if (ascii_is_wsp(c)) {
        if (d->n_blanks == QP_BLANKS_MAX) flush_blanks(d, out);
        d->blanks[d->n_blanks++] = c;
        return;
    }
    if (c == '\r' || c == '\n') d->n_blanks = 0;
    flush_blanks(d, out);
    buf_addc(out, c);
}

/* One byte while an escape is open. */
static void escape(struct qp_decoder *d, char c, struct buf *out) {
    char first = d->held[1];
    bool is_done = false;

    if (d->n_held == 1) {
        if (c == '\n') { /* soft line break, LF only */
            d->n_held = 0;
            return;
        }
        /* "=" and blanks before a line end is a soft break as well */
        if (c == '\r' || ascii_is_wsp(c) || ascii_hex(c) >= 0) {
            d->held[1] = c;
            d->n_held = 2;
            return;
        }
    } else if (ascii_hex(first) >= 0) {
        if (ascii_hex(c) >= 0) {
            flush_blanks(d, out);
            buf_addc(out, (char)(ascii_hex(first) << 4 | ascii_hex(c)));
            is_done = true;
        }
    } else if (c == '\n') {
        is_done = true;
    } else if (ascii_is_wsp(first) && (ascii_is_wsp(c) || c == '\r')) {
        d->held[1] = c == '\r' ? c : first;
        return;
    }
    if (!is_done) { /* no escape after all */
        unsigned n = d->n_held;

        flush_blanks(d, out);
        buf_add(out, slice_of(d->held, n));
        d->n_held = 0;
        if (c == '=') {
            d->held[0] = '=';
            d->n_held = 1;
        } else {
            plain(d, c, out);
        }
        return;
    }
    d->n_held = 0;
}

bool qp_decode(struct qp_decoder *d, struct slice in, struct buf *out) {
    for (size_t i = 0; i < in.n; i++) {
        char c = in.p[i];

        if (d->n_held > 0) {
            escape(d, c, out);
        } else if (c == '=') {
            flush_blanks(d, out);
            d->held[0] = '=';
            d->n_held = 1;
        } else {
            plain(d, c, out);
        }
    }
    return !out->bad;
}

bool qp_decode_end(struct qp_decoder *d, struct buf *out) {
    /* A lone "=" at the end is a soft break whose line end was lost. */
    if (d->n_held > 1 && ascii_hex(d->held[1]) >= 0) {
        flush_blanks(d, out);
        buf_add(out, slice_of(d->held, d->n_held));
    }
    *d = (struct qp_decoder){.n_held = 0};
    return !out->bad;
}

static void put_unit(struct qp_encoder *q, struct slice unit, struct buf *out) {
    if (q->column + unit.n > QP_LINE_MAX - 1) {
        buf_add(out, S("=\r\n"));
        q->column = 0;
    }
    buf_add(out, unit);
    q->column += (unsigned)unit.n;
}

static void put_escaped(struct qp_encoder *q, char c, struct buf *out) {
    static const char hex[] = "0123456789ABCDEF";
    char unit[3] = {'=', hex[(unsigned char)c >> 4], hex[c & 15]};

    put_unit(q, slice_of(unit, 3), out);
}

static void hard_break(struct qp_encoder *q, struct buf *out) {
    if (q->blank) put_escaped(q, q->blank, out);
    q->blank = 0;
    buf_add(out, S("\r\n"));
    q->column = 0;
}

static void flush_blank(struct qp_encoder *q, struct buf *out) {
    if (q->blank) put_unit(q, slice_of(&q->blank, 1), out);
    q->blank = 0;
}

bool qp_encode(struct qp_encoder *q, struct slice in, struct buf *out) {
    for (size_t i = 0; i < in.n; i++) {
        char c = in.p[i];

        if (q->has_cr) {
            q->has_cr = false;
            if (c == '\n') {
                hard_break(q, out);
                continue;
            }
            flush_blank(q, out);
            put_escaped(q, '\r', out);
        }
        if (!q->is_binary && c == '\r') {
            q->has_cr = true;
        } else if (!q->is_binary && c == '\n') {
            hard_break(q, out);
        } else if (ascii_is_wsp(c)) {
            flush_blank(q, out);
            q->blank = c;
        } else {
            flush_blank(q, out);
            if (c == '=' || !ascii_is_graph(c) || (c == '.' && q->column == 0))
                put_escaped(q, c, out);
            else put_unit(q, slice_of(&c, 1), out);
        }
    }
    return !out->bad;
}

bool qp_encode_end(struct qp_encoder *q, struct buf *out) {
    if (q->blank) put_escaped(q, q->blank, out);
    if (q->has_cr) put_escaped(q, '\r', out);
    *q = (struct qp_encoder){.is_binary = q->is_binary};
    return !out->bad;
}
