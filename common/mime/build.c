#include "mime/build.h"

#include "base/ascii.h"
#include "base/utf8.h"
#include "mime/b64.h"
#include "mime/encword.h"
#include "mime/header.h"
#include "mime/param.h"
#include "mime/qp.h"

void build_init(struct build *b, struct buf *out, const uint8_t *random, size_t n) {
    static const char digits[] = "0123456789abcdefghijklmnopqrstuv";
    size_t at = 0;

    *b = (struct build){.out = out};
    if (n < BUILD_RANDOM_MIN) out->bad = true;
    /* "=_" cannot occur in quoted-printable or base64 (RFC 2045 6.7) */
    b->boundary[at++] = '=';
    b->boundary[at++] = '_';
    for (size_t i = 0; i < n && at < 40; i++) {
        b->boundary[at++] = digits[random[i] & 31];
    }
}

/* The name and its colon; false for what is no field name. */
static bool field_name(struct build *b, struct slice name) {
    if (!header_name_valid(name)) {
        b->out->bad = true;
        return false;
    }
    buf_add(b->out, name);
    return buf_add(b->out, S(": "));
}

void build_raw_field(struct build *b, struct slice name, struct slice value) {
    struct slice rest = slice_trim(value);
    size_t column = name.n + 2;
    bool is_first = true;

    if (!field_name(b, name)) return;
    while (rest.n > 0) {
        size_t n = 0;

        while (rest.n && (ascii_is_wsp(rest.p[0]) || rest.p[0] == '\r' || rest.p[0] == '\n'))
            rest = slice_from(rest, 1);
        while (n < rest.n && n < BUILD_HARD_LINE_MAX - 100 && !ascii_is_wsp(rest.p[n]) &&
               rest.p[n] != '\r' && rest.p[n] != '\n')
            n++;
        if (n == 0) break;
        if (!is_first && column + 1 + n > BUILD_LINE_MAX) {
            buf_add(b->out, S("\r\n"));
            column = 0;
        }
        if (!is_first) {
            buf_addc(b->out, ' ');
            column++;
        }
        for (size_t i = 0; i < n; i++) buf_addc(b->out, rest.p[i] ? rest.p[i] : ' ');
        column += n;
        rest = slice_from(rest, n);
        is_first = false;
    }
    buf_add(b->out, S("\r\n"));
}

void build_text_field(struct build *b, struct slice name, struct slice utf8) {
    size_t column = name.n + 2;

    if (!field_name(b, name)) return;
    encword_put_text(b->out, utf8, &column);
    buf_add(b->out, S("\r\n"));
}

/* The longest line of `s` is what the next line continues. */
static size_t last_column(struct slice s, size_t column) {
    size_t lf = slice_rchr(s, '\n');

    return lf == SLICE_NONE ? column + s.n : s.n - lf - 1;
}

void build_addresses(struct build *b, struct slice name, const struct address_list *list) {
    size_t column = name.n + 2;
    struct buf one;

    if (list->n == 0 || !field_name(b, name)) return;
    buf_init(&one, 64 * 1024);
    for (size_t i = 0; i < list->n; i++) {
        const struct address *ad = &list->v[i];
        size_t at = 0;

        buf_reset(&one);
        if (ad->kind == ADDRESS_MAILBOX && ad->name.n > 0) {
            size_t name_end;

            encword_put_phrase(&one, ad->name, &at);
            name_end = one.n;
            buf_add(&one, S(" <"));
            address_put_spec(&one, ad);
            buf_addc(&one, '>');
            if (at + (one.n - name_end) > BUILD_LINE_MAX - 2) {
                buf_cut(&one, name_end);
                buf_add(&one, S("\r\n <"));
                address_put_spec(&one, ad);
                buf_addc(&one, '>');
            }
        } else if (ad->kind == ADDRESS_GROUP) {
            encword_put_phrase(&one, ad->name, &at);
            buf_addc(&one, ':');
        } else {
            address_put(&one, ad);
        }
        if (i > 0 && ad->kind != ADDRESS_GROUP_END) {
            size_t first = slice_find(buf_slice(&one), S("\r\n"));

            if (list->v[i - 1].kind != ADDRESS_GROUP) buf_addc(b->out, ',');
            if (column + 2 + (first == SLICE_NONE ? one.n : first) > BUILD_LINE_MAX - 1) {
                buf_add(b->out, S("\r\n"));
                column = 0;
            }
            buf_addc(b->out, ' ');
            column += 2;
        }
        buf_add(b->out, buf_slice(&one));
        column = last_column(buf_slice(&one), column);
    }
    if (one.bad) b->out->bad = true;
    buf_release(&one);
    buf_add(b->out, S("\r\n"));
}

void build_date(struct build *b, wall_t now, int offset) {
    char text[MOMENT_RFC5322_MAX];

    build_raw_field(b, S("Date"), moment_rfc5322(now, offset, text));
}

/* Can it go as it is: ASCII, lines within the limit, no controls, no lone CR. */
static bool is_seven_bit(struct slice s) {
    size_t column = 0;

    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c == '\n') {
            column = 0;
            continue;
        }
        if (c == '\r' && i + 1 < s.n && s.p[i + 1] == '\n') continue;
        if (c >= 127 || (c < 32 && c != '\t') || ++column > BUILD_LINE_MAX) return false;
        /* mbox readers mangle these; encoded they stay what they are */
        if (column == 1 && slice_starts(slice_from(s, i), S("From "))) return false;
    }
    return true;
}

static void put_lines(struct buf *out, struct slice s) {
    struct slice line;

    while (slice_line(&s, &line)) {
        buf_add(out, line);
        buf_add(out, S("\r\n"));
    }
}

static void put_text(struct build *b, struct slice s, struct slice subtype) {
    size_t escapes = 0;

    buf_addf(b->out, "Content-Type: text/%.*s; charset=%s\r\n", SP(subtype),
             utf8_is_ascii(s) ? "us-ascii" : "utf-8");
    if (is_seven_bit(s)) {
        buf_add(b->out, S("Content-Transfer-Encoding: 7bit\r\n\r\n"));
        put_lines(b->out, s);
        return;
    }
    for (size_t i = 0; i < s.n; i++) escapes += (unsigned char)s.p[i] > 126 || s.p[i] == '=';
    if (escapes * 2 > s.n / 3) {
        struct b64_encoder q = {.n = 0};
        struct slice line;

        buf_add(b->out, S("Content-Transfer-Encoding: base64\r\n\r\n"));
        while (slice_line(&s, &line)) {
            b64_encode(&q, line, b->out);
            b64_encode(&q, S("\r\n"), b->out);
        }
        b64_encode_end(&q, b->out);
    } else {
        struct qp_encoder q = {.is_binary = false};

        buf_add(b->out, S("Content-Transfer-Encoding: quoted-printable\r\n\r\n"));
        qp_encode(&q, s, b->out);
        if (s.n > 0 && s.p[s.n - 1] != '\n') qp_encode(&q, S("\n"), b->out);
        qp_encode_end(&q, b->out);
    }
}

static void put_texts(struct build *b, struct slice text, struct slice html) {
    if (html.n == 0) {
        put_text(b, text, S("plain"));
        return;
    }
    buf_addf(b->out, "Content-Type: multipart/alternative;\r\n boundary=\"%s.a\"\r\n\r\n--%s.a\r\n",
             b->boundary, b->boundary);
    put_text(b, text, S("plain"));
    buf_addf(b->out, "\r\n--%s.a\r\n", b->boundary);
    put_text(b, html, S("html"));
    buf_addf(b->out, "\r\n--%s.a--\r\n", b->boundary);
}

static bool is_type(struct slice s) {
    size_t slashes = 0;

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '/') slashes++;
        else if (!ascii_is_alnum(s.p[i]) && !strchr("!#$&-^_.+", s.p[i])) return false;
    }
    /* composite types may not be base64 (RFC 2046 5) */
    return slashes == 1 && s.n < 128 && !slice_istarts(s, S("multipart/")) &&
           !slice_istarts(s, S("message/"));
}

static void put_file(struct build *b, const struct build_file *f) {
    struct b64_encoder q = {.n = 0};

    buf_add(b->out, S("Content-Type: "));
    buf_add(b->out, is_type(f->type) ? f->type : S("application/octet-stream"));
    if (slice_istarts(f->type, S("text/")) && utf8_valid(f->bytes))
        buf_addf(b->out, "; charset=%s", utf8_is_ascii(f->bytes) ? "us-ascii" : "utf-8");
    buf_add(b->out, S("\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: "));
    buf_add(b->out, f->is_inline ? S("inline") : S("attachment"));
    if (f->name.n) param_put(b->out, S("filename"), f->name);
    buf_add(b->out, S("\r\n\r\n"));
    b64_encode(&q, f->bytes, b->out);
    b64_encode_end(&q, b->out);
}

void build_body(struct build *b, struct slice text, struct slice html,
                const struct build_file *files, size_t n) {
    buf_add(b->out, S("MIME-Version: 1.0\r\n"));
    if (n == 0) {
        put_texts(b, text, html);
        return;
    }
    buf_addf(b->out, "Content-Type: multipart/mixed;\r\n boundary=\"%s\"\r\n\r\n--%s\r\n",
             b->boundary, b->boundary);
    put_texts(b, text, html);
    for (size_t i = 0; i < n; i++) {
        buf_addf(b->out, "\r\n--%s\r\n", b->boundary);
        put_file(b, &files[i]);
    }
    buf_addf(b->out, "\r\n--%s--\r\n", b->boundary);
}
