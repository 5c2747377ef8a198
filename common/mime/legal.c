#include "mime/legal.h"

#include "base/ascii.h"
#include "base/utf8.h"
#include "mime/b64.h"
#include "mime/part.h"
#include "mime/qp.h"

void legal_scan_add(struct legal_scan *s, struct slice piece) {
    for (size_t i = 0; i < piece.n; i++) {
        unsigned char c = (unsigned char)piece.p[i];

        if (c == '\n') {
            s->column = 0;
            s->has_cr = false;
            continue;
        }
        if (s->has_cr) s->column++;
        s->has_cr = c == '\r';
        if (!s->has_cr) s->column++;
        if (s->column > LEGAL_LINE_MAX) s->flaws |= LEGAL_LONG_LINE;
        if (c == 0) s->flaws |= LEGAL_NUL;
        if (c > 127) s->flaws |= LEGAL_8BIT;
    }
}

static unsigned flaws_of(struct slice s) {
    struct legal_scan scan = {0};

    legal_scan_add(&scan, s);
    return scan.flaws;
}

static bool has_bare(struct slice s) {
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\n' && (i == 0 || s.p[i - 1] != '\r')) return true;
        if (s.p[i] == '\r' && (i + 1 == s.n || s.p[i + 1] != '\n')) return true;
    }
    return false;
}

bool legal_is_signed(struct slice message) {
    return header_count(message, S("DKIM-Signature")) > 0 ||
           header_count(message, S("ARC-Seal")) > 0;
}

/* --- header lines
 * -------------------------------------------------------------------------------------- */

/* One line of a header without its end, folded at the last blank that keeps it within the limit; a
 * word that is longer than a line is cut, because nothing else carries it. */
static void put_folded(struct buf *out, struct slice line, struct slice end) {
    while (line.n > LEGAL_LINE_MAX) {
        size_t at = LEGAL_LINE_MAX;
        bool has_blank;

        /* What follows the fold must begin with a blank, and what is before it may not be blank. */
        while (at > 1 && !(ascii_is_wsp(line.p[at]) && !ascii_is_wsp(line.p[at - 1]))) at--;
        has_blank = at > 1 && slice_trim(slice_first(line, at)).n > 0;
        if (!has_blank) at = LEGAL_LINE_MAX - 1;
        buf_add(out, slice_first(line, at));
        buf_add(out, end);
        if (!has_blank) buf_addc(out, ' ');
        line = slice_from(line, at);
    }
    buf_add(out, line);
    buf_add(out, end);
}

static void put_header_text(struct buf *out, struct slice text, struct slice end) {
    struct slice line;

    if (!(flaws_of(text) & (LEGAL_LONG_LINE | LEGAL_NUL))) {
        buf_add(out, text);
        return;
    }
    while (slice_line(&text, &line)) {
        size_t from = out->n;

        put_folded(out, line, end);
        for (size_t i = from; i < out->n; i++)
            if (out->p[i] == 0) out->p[i] = ' ';
    }
}

/* --- bodies
 * -------------------------------------------------------------------------------------------- */

struct work {
    struct slice message, end; /* end: the line end of the message */
    unsigned unwanted; /* LEGAL_ bits that make a part to be encoded; LEGAL_BARE: only that */
    struct buf *out;
    size_t done; /* octets of the message that were copied or replaced */
};

static struct slice bytes_of(const struct work *w, const struct part_range *r) {
    return slice_first(slice_from(w->message, (size_t)r->at), (size_t)r->n);
}

static void copy_to(struct work *w, size_t at) {
    if (at <= w->done) return;
    buf_add(w->out, slice_first(slice_from(w->message, w->done), at - w->done));
    w->done = at;
}

static bool may_not_touch(const struct work *w, const struct part *p) {
    for (const struct part *up = p; up; up = up->parent) {
        if (part_is(up, S("multipart"), S("signed")) ||
            part_is(up, S("multipart"), S("encrypted")) || up->md5.n > 0)
            return true;
        /* A message within the message may be signed by itself. */
        if (up->parent && up->parent->is_message && legal_is_signed(bytes_of(w, &up->header)))
            return true;
    }
    return false;
}

/* Lines with CRLF become lines with the message's own end. */
static void put_encoded(struct work *w, struct buf *text) {
    struct slice rest = buf_slice(text), line;

    if (w->end.n == 2) {
        buf_add(w->out, rest);
        return;
    }
    while (slice_line(&rest, &line)) {
        bool is_last = rest.n == 0 && !(line.p + line.n < text->p + text->n);

        buf_add(w->out, line);
        if (!is_last) buf_add(w->out, w->end);
    }
}

static struct slice charset_of(struct slice body) {
    return utf8_is_ascii(body) ? S("us-ascii") : utf8_valid(body) ? S("utf-8") : S("unknown-8bit");
}

/* The fields of a part, with the transfer encoding replaced; `label` adds what plain text lacks. */
static void put_fields(struct work *w, const struct part *p, struct slice encoding, bool label,
                       struct slice body) {
    struct slice header = bytes_of(w, &p->header);
    size_t head;
    struct header_iter it;
    struct header_field f;
    bool is_top = !p->parent || p->parent->is_message;

    header_end(header, &head);
    for (header_begin(&it, header); header_next(&it, &f);) {
        if (slice_ieq(f.name, S("Content-Transfer-Encoding"))) continue;
        put_header_text(w->out, slice_first(slice_from(header, f.at), f.end - f.at), w->end);
    }
    if (w->out->n > 0 && w->out->p[w->out->n - 1] != '\n') buf_add(w->out, w->end);
    if (is_top && header_count(header, S("MIME-Version")) == 0) {
        buf_add(w->out, S("MIME-Version: 1.0"));
        buf_add(w->out, w->end);
    }
    if (label && header_count(header, S("Content-Type")) == 0) {
        struct slice charset = charset_of(body);

        buf_addf(w->out, "Content-Type: text/plain; charset=%.*s", SP(charset));
        buf_add(w->out, w->end);
    }
    if (encoding.n) {
        buf_addf(w->out, "Content-Transfer-Encoding: %.*s", SP(encoding));
        buf_add(w->out, w->end);
    }
    buf_add(w->out, w->end);
}

/* Encode a leaf anew, as text quoted-printable, else base64. */
static bool encode_leaf(struct work *w, const struct part *p) {
    struct slice body = bytes_of(w, &p->body), data = body;
    bool is_text = slice_ieq(p->type, S("text")) && w->unwanted != LEGAL_BARE;
    bool is_base64 = !is_text;
    bool was_encoded =
        slice_ieq(p->encoding, S("base64")) || slice_ieq(p->encoding, S("quoted-printable"));
    struct buf decoded, encoded;
    size_t escapes = 0;

    buf_init(&decoded, w->out->max);
    buf_init(&encoded, w->out->max);
    if (was_encoded) {
        /* Only its lines are too long: the same content again in short ones. */
        is_base64 = slice_ieq(p->encoding, S("base64"));
        if (!part_decode(p, w->message, &decoded)) goto failed;
        data = buf_slice(&decoded);
    } else if (is_text) {
        for (size_t i = 0; i < data.n; i++)
            escapes += (unsigned char)data.p[i] > 126 || data.p[i] == '=';
        is_base64 = escapes > data.n / 3;
    }
    if (is_base64) {
        struct b64_encoder q = {.n = 0};

        b64_encode(&q, data, &encoded);
        b64_encode_end(&q, &encoded);
    } else {
        struct qp_encoder q = {.is_binary = false};

        qp_encode(&q, data, &encoded);
        qp_encode_end(&q, &encoded);
    }
    /* The line end before a boundary belongs to the boundary: one that the body lacks is none. */
    if (is_base64 && p->parent && p->parent->is_multipart && encoded.n >= 2)
        buf_cut(&encoded, encoded.n - 2);
    if (encoded.bad) goto failed;
    copy_to(w, (size_t)p->header.at);
    put_fields(w, p, is_base64 ? S("base64") : S("quoted-printable"),
               !p->parent || p->parent->is_message, body);
    put_encoded(w, &encoded);
    w->done = (size_t)(p->body.at + p->body.n);
    buf_release(&decoded);
    buf_release(&encoded);
    return true;
failed:
    w->out->bad = true;
    buf_release(&decoded);
    buf_release(&encoded);
    return false;
}

/* A header that is right but for its line lengths, or lacks the label of 8-bit text. */
static void mend_header(struct work *w, const struct part *p, bool label) {
    struct slice header = bytes_of(w, &p->header);

    copy_to(w, (size_t)p->header.at);
    if (label) put_fields(w, p, S("8bit"), true, bytes_of(w, &p->body));
    else put_header_text(w->out, header, w->end);
    w->done = (size_t)(p->header.at + p->header.n);
}

/* Text between the parts that no reader shows: long lines of it are cut. */
static void mend_filling(struct work *w, size_t end) {
    struct slice text, line;

    if (end <= w->done) return;
    text = slice_first(slice_from(w->message, w->done), end - w->done);
    if (!(flaws_of(text) & LEGAL_LONG_LINE)) return;
    while (slice_line(&text, &line)) {
        bool ends = line.p + line.n < w->message.p + end;

        while (line.n > LEGAL_LINE_MAX) {
            buf_add(w->out, slice_first(line, LEGAL_LINE_MAX));
            buf_add(w->out, w->end);
            line = slice_from(line, LEGAL_LINE_MAX);
        }
        buf_add(w->out, line);
        if (ends) buf_add(w->out, w->end);
    }
    w->done = end;
}

/* What `p` itself needs; the parts in it come after it. False: `out` is full. */
static bool mend_part(struct work *w, const struct part *p) {
    struct slice header = bytes_of(w, &p->header), body = bytes_of(w, &p->body);
    bool is_leaf = !p->children;
    bool is_plain = !p->parent && is_leaf && header_count(header, S("MIME-Version")) == 0 &&
                    header_count(header, S("Content-Type")) == 0 &&
                    header_count(header, S("Content-Transfer-Encoding")) == 0;

    if (w->unwanted == LEGAL_BARE) return !is_leaf || !has_bare(body) || encode_leaf(w, p);
    if (is_leaf && (flaws_of(body) & w->unwanted)) return encode_leaf(w, p);
    if (is_plain && (flaws_of(body) & LEGAL_8BIT)) mend_header(w, p, true);
    else if (flaws_of(header) & (LEGAL_LONG_LINE | LEGAL_NUL)) mend_header(w, p, false);
    return true;
}

static enum err_code make(struct arena *a, struct slice message, unsigned unwanted, bool found,
                          struct buf *out, struct err *e) {
    struct work w = {.message = message, .out = out, .unwanted = unwanted};

    w.end = slice_find(message, S("\r\n")) != SLICE_NONE ? S("\r\n") : S("\n");
    if (found && !legal_is_signed(message)) {
        const struct part *root = part_parse(a, message, NULL);

        if (!root) return err_mail(e, ERR_LIMIT, STATUS(5, 3, 4), "the message has too many parts");
        for (const struct part *p = root; p; p = part_next(p)) {
            size_t header_at = (size_t)p->header.at, body_at = (size_t)p->body.at;
            bool is_leaf = !p->children;

            if (header_at > w.done && unwanted != LEGAL_BARE) mend_filling(&w, header_at);
            if (may_not_touch(&w, p)) copy_to(&w, body_at + (size_t)p->body.n);
            else if (!mend_part(&w, p)) break;
            copy_to(&w, is_leaf ? body_at + (size_t)p->body.n : header_at + (size_t)p->header.n);
        }
        if (unwanted != LEGAL_BARE) mend_filling(&w, message.n);
    }
    copy_to(&w, message.n);
    return out->bad ? err_mail(e, ERR_LIMIT, STATUS(5, 3, 4), "the message is too large to encode")
                    : OK;
}

enum err_code legal_make(struct arena *a, struct slice message, bool seven_bit, struct buf *out,
                         struct err *e) {
    return make(a, message, LEGAL_LONG_LINE | LEGAL_NUL | (seven_bit ? LEGAL_8BIT : 0),
                flaws_of(message) != 0, out, e);
}

enum err_code legal_make_storable(struct arena *a, struct slice message, struct buf *out,
                                  struct err *e) {
    return make(a, message, LEGAL_BARE, has_bare(message), out, e);
}
