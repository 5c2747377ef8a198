#include "mime/param.h"

#include "base/ascii.h"
#include "base/num.h"
#include "base/utf8.h"
#include "mime/charset.h"
#include "mime/encword.h"

struct cursor {
    struct slice in;
    size_t i;
};

static char peek(const struct cursor *c) { return c->i < c->in.n ? c->in.p[c->i] : '\0'; }
static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

/* Blanks and comments; a comment that does not end ends the value. */
static void skip(struct cursor *c) {
    while (c->i < c->in.n) {
        if (is_blank(c->in.p[c->i])) {
            c->i++;
        } else if (c->in.p[c->i] == '(') {
            size_t depth = 0;

            for (; c->i < c->in.n; c->i++) {
                if (c->in.p[c->i] == '\\') c->i++;
                else if (c->in.p[c->i] == '(') depth++;
                else if (c->in.p[c->i] == ')' && --depth == 0) break;
            }
            c->i = c->i < c->in.n ? c->i + 1 : c->in.n;
        } else {
            return;
        }
    }
}

static struct slice until(struct cursor *c, const char *stops) {
    size_t from = c->i;

    while (c->i < c->in.n && !strchr(stops, c->in.p[c->i])) c->i++;
    return slice_trim(slice_of(c->in.p + from, c->i - from));
}

static struct slice quoted(struct cursor *c, struct buf *scratch) {
    buf_reset(scratch);
    for (c->i++; c->i < c->in.n && c->in.p[c->i] != '"'; c->i++) {
        char b = c->in.p[c->i];

        if (b == '\r' || b == '\n') continue;
        if (b == '\\' && c->i + 1 < c->in.n) {
            /* "C:\dir\file": a backslash before a letter is no quoting (old Windows mailers) */
            if (c->in.p[c->i + 1] == '"' || c->in.p[c->i + 1] == '\\') b = c->in.p[++c->i];
        }
        buf_addc(scratch, b ? b : ' ');
    }
    if (c->i < c->in.n) c->i++;
    return buf_slice(scratch);
}

bool param_parse(struct arena *a, struct slice in, struct slice *head, struct param_list *out) {
    struct cursor c = {.in = slice_first(in, PARAM_BYTES_MAX)};
    struct param found[PARAM_COUNT_MAX];
    struct buf scratch;
    size_t n = 0;

    buf_init(&scratch, PARAM_BYTES_MAX);
    skip(&c);
    *head = arena_copy(a, until(&c, ";("));
    skip(&c);
    while (n < PARAM_COUNT_MAX && c.i < c.in.n) {
        struct slice name, value;

        until(&c, ";");
        if (c.i >= c.in.n) break;
        c.i++;
        skip(&c);
        name = until(&c, "=;(");
        skip(&c);
        if (peek(&c) != '=' || name.n == 0) continue;
        c.i++;
        skip(&c);
        value = peek(&c) == '"' ? quoted(&c, &scratch) : until(&c, ";(");
        found[n].name = arena_copy(a, name);
        found[n].value = arena_copy(a, value);
        n++;
        skip(&c);
    }
    buf_release(&scratch);
    *out = (struct param_list){.v = arena_new(a, n * sizeof *found), .n = n};
    if (out->v && n) memcpy(out->v, found, n * sizeof *found);
    if (!out->v) out->n = 0;
    return !a->bad && !scratch.bad;
}

struct slice param_get(const struct param_list *l, struct slice name) {
    for (size_t i = 0; i < l->n; i++)
        if (slice_ieq(l->v[i].name, name)) return l->v[i].value;
    return S("");
}

/* The piece `name*index` or `name*index*` (index -1: `name*`). */
static const struct param *piece(const struct param_list *l, struct slice name, int index,
                                 bool *is_encoded) {
    for (size_t i = 0; i < l->n; i++) {
        struct slice s = l->v[i].name;
        uint64_t v;

        if (s.n <= name.n + (index < 0 ? 0 : 1) || !slice_ieq(slice_first(s, name.n), name))
            continue;
        s = slice_from(s, name.n);
        if (s.p[0] != '*') continue;
        s = slice_from(s, 1);
        *is_encoded = index < 0 || (s.n > 1 && s.p[s.n - 1] == '*');
        if (index < 0) {
            if (s.n == 0) return &l->v[i];
            continue;
        }
        if (*is_encoded) s.n--;
        if (num_parse(s, PARAM_PIECES_MAX, &v) && v == (uint64_t)index) return &l->v[i];
    }
    return NULL;
}

static void percent(struct buf *out, struct slice s) {
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (c == '%' && i + 2 < s.n && ascii_hex(s.p[i + 1]) >= 0 && ascii_hex(s.p[i + 2]) >= 0) {
            c = (char)(ascii_hex(s.p[i + 1]) << 4 | ascii_hex(s.p[i + 2]));
            i += 2;
        }
        buf_addc(out, c);
    }
}

/* Takes "charset'language'" off the first encoded piece. */
static struct slice charset_of(struct slice *s) {
    struct slice charset, language, rest;

    if (!slice_cut(*s, '\'', &charset, &rest) || !slice_cut(rest, '\'', &language, &rest))
        return S("");
    *s = rest;
    return charset;
}

bool param_text(const struct param_list *l, struct slice name, struct buf *out) {
    bool is_encoded = false;
    const struct param *p = piece(l, name, -1, &is_encoded);
    struct slice charset = S(""), s;
    struct buf raw;

    buf_init(&raw, PARAM_BYTES_MAX);
    if (p) {
        s = p->value;
        charset = charset_of(&s);
        percent(&raw, s);
    } else if ((p = piece(l, name, 0, &is_encoded))) {
        for (int i = 0; p && i < PARAM_PIECES_MAX;) {
            s = p->value;
            if (i == 0 && is_encoded) charset = charset_of(&s);
            if (is_encoded) percent(&raw, s);
            else buf_add(&raw, s);
            p = piece(l, name, ++i, &is_encoded);
        }
    } else {
        buf_release(&raw);
        for (size_t i = 0; i < l->n; i++) {
            if (!slice_ieq(l->v[i].name, name)) continue;
            if (slice_find(l->v[i].value, S("=?")) != SLICE_NONE)
                encword_decode(out, l->v[i].value);
            else charset_guess(out, l->v[i].value);
            return true;
        }
        return false;
    }
    charset_to_utf8(out, buf_slice(&raw), charset);
    buf_release(&raw);
    return true;
}

static bool is_token(char c) { return ascii_is_graph(c) && !strchr("()<>@,;:\\\"/[]?=", c); }
/* RFC 2231 7: attribute-char */
static bool is_attribute(char c) { return is_token(c) && c != '*' && c != '\'' && c != '%'; }

bool param_put(struct buf *out, struct slice name, struct slice utf8) {
    bool is_plain = utf8.n <= 60 && utf8_is_ascii(utf8), is_tok = utf8.n > 0;
    size_t i = 0;

    for (size_t k = 0; k < utf8.n; k++) {
        if (!is_token(utf8.p[k])) is_tok = false;
        if (ascii_is_ctl(utf8.p[k])) is_plain = false;
    }
    if (is_plain) {
        buf_addf(out, ";\r\n %.*s=", SP(name));
        if (is_tok) return buf_add(out, utf8);
        buf_addc(out, '"');
        for (size_t k = 0; k < utf8.n; k++) {
            if (utf8.p[k] == '"' || utf8.p[k] == '\\') buf_addc(out, '\\');
            buf_addc(out, utf8.p[k]);
        }
        return buf_addc(out, '"');
    }
    for (int n = 0; i < utf8.n && !out->bad; n++) {
        size_t column;

        buf_addf(out, ";\r\n %.*s*%d*=%s", SP(name), n, n == 0 ? "utf-8''" : "");
        for (column = name.n + 12; i < utf8.n && column < 70; i++) {
            char c = utf8.p[i];

            if (is_attribute(c)) buf_addc(out, c);
            else buf_addf(out, "%%%02X", (unsigned)(unsigned char)c);
            column += is_attribute(c) ? 1 : 3;
        }
    }
    return !out->bad;
}
