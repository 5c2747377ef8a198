#include "mime/address.h"

#include "base/ascii.h"

/* The parser: a cursor over the field, and a list that doubles in the arena. */
struct parser {
    struct arena *a;
    struct slice in;
    size_t i;
    struct address *v;
    size_t n, cap;
    struct slice comment; /* the last comment seen at the top level, raw */
    bool is_full;
    bool keep; /* scratch is being filled */
    struct buf word;
};

static bool is_atext(char c) {
    if ((unsigned char)c > 127 || ascii_is_alnum(c)) return true;
    return c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL;
}

/* Skip blanks, line ends and comments. False: a comment does not end, or nests too deep. */
static bool skip(struct parser *p) {
    while (p->i < p->in.n) {
        char c = p->in.p[p->i];

        if (c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\0') {
            p->i++;
        } else if (c == '(') {
            size_t from = p->i + 1;
            unsigned depth = 0;

            for (; p->i < p->in.n; p->i++) {
                c = p->in.p[p->i];
                if (c == '\\') p->i++;
                else if (c == '(') {
                    if (++depth > ADDRESS_DEPTH_MAX) return false;
                } else if (c == ')' && --depth == 0) break;
            }
            if (p->i >= p->in.n) {
                p->i = p->in.n;
                return false;
            }
            p->comment = slice_of(p->in.p + from, p->i - from);
            p->i++;
        } else {
            break;
        }
    }
    return true;
}

static char peek(const struct parser *p) { return p->i < p->in.n ? p->in.p[p->i] : '\0'; }

/* Append a quoted string's content to p->word; the cursor is on the first quote. */
static bool quoted(struct parser *p) {
    for (p->i++; p->i < p->in.n; p->i++) {
        char c = p->in.p[p->i];

        if (c == '"') {
            p->i++;
            return true;
        }
        if (c == '\\' && p->i + 1 < p->in.n) c = p->in.p[++p->i];
        else if (c == '\r' || c == '\n') continue; /* folding */
        buf_addc(&p->word, c == '\0' || c == '\r' || c == '\n' ? ' ' : c);
    }
    return false;
}

static bool atom(struct parser *p) {
    size_t from = p->i;

    while (p->i < p->in.n && is_atext(p->in.p[p->i])) p->i++;
    buf_add(&p->word, slice_of(p->in.p + from, p->i - from));
    return p->i > from;
}

static struct slice taken(struct parser *p) {
    struct slice s = arena_copy(p->a, buf_slice(&p->word));

    buf_reset(&p->word);
    return s;
}

/* domain, domain literal, or nothing readable */
static bool domain(struct parser *p, struct slice *out) {
    bool has_any = false;

    buf_reset(&p->word);
    if (!skip(p)) return false;
    if (peek(p) == '[') {
        for (; p->i < p->in.n; p->i++) {
            char c = p->in.p[p->i];

            if (c == '\\' && p->i + 1 < p->in.n) c = p->in.p[++p->i];
            else if (ascii_is_wsp(c) || c == '\r' || c == '\n') continue;
            else if (c == ']') break;
            if (c == '\0' || c == '\r' || c == '\n') return false;
            buf_addc(&p->word, c);
        }
        if (p->i >= p->in.n) return false;
        p->i++;
        buf_addc(&p->word, ']');
        *out = taken(p);
        return skip(p);
    }
    for (;;) {
        size_t before;

        if (!atom(p)) break;
        has_any = true;
        before = p->i;
        if (!skip(p)) return false;
        if (peek(p) != '.') break;
        p->i++;
        buf_addc(&p->word, '.');
        if (!skip(p)) return false;
        (void)before;
    }
    /* a final dot is no part of the name */
    if (p->word.n > 0 && p->word.p[p->word.n - 1] == '.') buf_cut(&p->word, p->word.n - 1);
    *out = taken(p);
    return has_any;
}

/* local [ "@" domain ]; the cursor is on the first byte of the local part */
static bool spec(struct parser *p, struct address *ad) {
    bool has_any = false;

    buf_reset(&p->word);
    for (;;) {
        char c;

        if (!skip(p)) return false;
        c = peek(p);
        if (c == '"') {
            if (!quoted(p)) return false;
            ad->has_quoted_local = true;
        } else if (c == '.') {
            p->i++;
            buf_addc(&p->word, '.'); /* leading, doubled and final dots are seen in the wild */
            has_any = true;
            continue;
        } else if (!atom(p)) {
            break;
        }
        has_any = true;
        if (!skip(p)) return false;
        if (peek(p) != '.') break;
    }
    if (!has_any) return false;
    ad->local = taken(p);
    if (peek(p) != '@') return true;
    p->i++;
    return domain(p, &ad->domain);
}

static bool push(struct parser *p, struct address ad) {
    if (p->n == ADDRESS_LIST_MAX) {
        p->is_full = true;
        return false;
    }
    if (p->n == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 4;
        struct address *v = arena_new(p->a, cap * sizeof *v);

        if (!v) return false;
        if (p->n) memcpy(v, p->v, p->n * sizeof *v);
        p->v = v;
        p->cap = cap;
    }
    p->v[p->n++] = ad;
    return true;
}

/* "<" [route] local "@" domain ">"; the cursor is behind "<" */
static bool angle(struct parser *p, struct address *ad) {
    if (!skip(p)) return false;
    if (peek(p) == '@') {
        struct buf route;
        struct slice d;
        bool is_good = true;

        buf_init(&route, p->in.n + 2);
        while (is_good && (peek(p) == '@' || peek(p) == ',')) {
            if (p->in.p[p->i++] == ',') {
                is_good = skip(p);
                continue;
            }
            is_good = domain(p, &d);
            if (route.n) buf_addc(&route, ',');
            buf_addc(&route, '@');
            buf_add(&route, d);
        }
        if (is_good && peek(p) == ':') p->i++;
        else is_good = false;
        ad->route = arena_copy(p->a, buf_slice(&route));
        buf_release(&route);
        if (!is_good) return false;
    }
    if (!skip(p)) return false;
    if (peek(p) == '>') { /* <>: the null path; in a header it is at best a sender */
        p->i++;
        return skip(p);
    }
    if (!spec(p, ad) || !skip(p) || peek(p) != '>') return false;
    p->i++;
    return skip(p);
}

/* Comment text without backslashes and outer blanks. */
static struct slice comment_text(struct parser *p) {
    struct slice c = slice_trim(p->comment);

    buf_reset(&p->word);
    for (size_t i = 0; i < c.n; i++) {
        if (c.p[i] == '\\' && i + 1 < c.n) i++;
        else if (c.p[i] == '\r' || c.p[i] == '\n') continue;
        buf_addc(&p->word, c.p[i] ? c.p[i] : ' ');
    }
    return taken(p);
}

/* Words up to something that is no word; true with the name in p->word. `dots` tells that it can
 * only be a phrase, not a local part: words are separated by blanks. */
static bool phrase(struct parser *p) {
    bool has_blank = false;

    buf_reset(&p->word);
    for (;;) {
        char c;
        size_t before = p->i;

        if (!skip(p)) return false;
        has_blank = has_blank || p->i > before;
        c = peek(p);
        if (p->i >= p->in.n) break;
        if (c == '"' || is_atext(c)) {
            if (has_blank && p->word.n) buf_addc(&p->word, ' ');
            has_blank = false;
            if (c == '"') {
                if (!quoted(p)) return false;
            } else {
                atom(p);
            }
        } else if (c == '.' || (c == '[' || c == ']' || c == ')')) {
            /* "John Q. Public" (obs-phrase); brackets are wrong and common */
            if (has_blank && p->word.n) buf_addc(&p->word, ' ');
            has_blank = false;
            buf_addc(&p->word, c);
            p->i++;
        } else {
            break;
        }
    }
    return true;
}

/* One member; the cursor is on its first byte. */
static bool mailbox(struct parser *p, bool in_group, bool *opened) {
    struct address ad = {.kind = ADDRESS_MAILBOX};
    size_t start = p->i;

    *opened = false;
    p->comment = S("");
    if (!phrase(p)) return false;
    if (peek(p) == '<') {
        ad.name = taken(p);
        p->i++;
        if (!angle(p, &ad)) return false;
    } else if (peek(p) == ':' && !in_group) {
        ad.kind = ADDRESS_GROUP;
        ad.name = taken(p);
        p->i++;
        *opened = true;
        return push(p, ad);
    } else if (peek(p) == '@' && p->i > start) {
        struct parser again = *p;

        /* not a phrase but a local part: read it again as such */
        again.i = start;
        again.comment = S("");
        if (!spec(&again, &ad) || !skip(&again)) {
            *p = again;
            return false;
        }
        *p = again;
        if (peek(p) == '<') { /* user@host <user@host>: unquoted at in the name */
            struct slice end = slice_of(p->in.p + start, p->i - start);

            ad = (struct address){.kind = ADDRESS_MAILBOX};
            ad.name = arena_copy(p->a, slice_trim(end));
            p->i++;
            if (!angle(p, &ad)) return false;
        } else if (p->comment.n) {
            ad.name = comment_text(p);
        }
    } else {
        p->i = start;
        p->comment = S("");
        if (!spec(p, &ad) || !skip(p)) return false;
        if (p->comment.n) ad.name = comment_text(p);
    }
    if (p->i < p->in.n && peek(p) != ',' && peek(p) != ';') return false;
    return push(p, ad);
}

/* Go behind the bad member: to the next comma or semicolon outside quotes and comments. */
static void resync(struct parser *p, size_t start) {
    bool is_quoted = false;

    if (p->i < start) p->i = start;
    if (p->i >=
        p->in.n) { /* an unterminated quote or comment swallowed all: look for commas again */
        const char *comma = memchr(p->in.p + start, ',', p->in.n - start);

        p->i = comma ? (size_t)(comma - p->in.p) : p->in.n;
        return;
    }
    for (; p->i < p->in.n; p->i++) {
        char c = p->in.p[p->i];

        if (c == '\\') p->i++;
        else if (c == '"') is_quoted = !is_quoted;
        else if (!is_quoted && (c == ',' || c == ';')) return;
    }
    p->i = p->in.n;
}

static struct slice shown(struct slice s) {
    s = slice_trim(s);
    for (size_t i = 0; i < s.n; i++)
        if (ascii_is_ctl(s.p[i])) return slice_first(s, i);
    return slice_first(s, 80);
}

enum err_code address_parse(struct arena *a, struct slice in, struct address_list *out,
                            struct err *e) {
    struct parser p = {.a = a, .in = slice_first(in, ADDRESS_BYTES_MAX)};
    enum err_code code = OK;
    bool in_group = false, was_limited = in.n > ADDRESS_BYTES_MAX;

    buf_init(&p.word, ADDRESS_BYTES_MAX * 2);
    while (!p.is_full && !a->bad) {
        size_t start;
        bool opened = false, is_good;

        start = p.i;
        is_good = skip(&p);
        if (is_good && p.i >= p.in.n) break;
        if (is_good && peek(&p) == ',') {
            p.i++;
            continue;
        }
        if (is_good && peek(&p) == ';') {
            p.i++;
            if (in_group) push(&p, (struct address){.kind = ADDRESS_GROUP_END});
            in_group = false;
            continue;
        }
        if (is_good) {
            start = p.i;
            is_good = mailbox(&p, in_group, &opened);
        }
        if (opened) in_group = true;
        if (!is_good && !p.is_full && !a->bad) {
            if (code == OK)
                code = err_set(e, ERR_SYNTAX, "not an address: \"%.*s\"",
                               SP(shown(slice_from(p.in, start))));
            resync(&p, start);
            /* a byte that starts nothing must not stop us */
            if (p.i == start && peek(&p) != ',' && peek(&p) != ';') p.i++;
        }
    }
    if (in_group && !a->bad) push(&p, (struct address){.kind = ADDRESS_GROUP_END});
    if (p.word.bad) a->bad = true;
    buf_release(&p.word);
    *out = (struct address_list){.v = p.v, .n = p.n};
    if (a->bad) return err_set(e, ERR_MEMORY, "no memory for an address list");
    if (p.is_full || was_limited)
        return err_set(e, ERR_LIMIT, "an address list has more than %d members or %d bytes",
                       ADDRESS_LIST_MAX, ADDRESS_BYTES_MAX);
    return code;
}

enum err_code address_parse_one(struct arena *a, struct slice in, struct address *out,
                                struct err *e) {
    struct address_list list;
    enum err_code code = address_parse(a, in, &list, e);

    if (code != OK) return code;
    if (list.n != 1 || list.v[0].kind != ADDRESS_MAILBOX || list.v[0].local.n == 0)
        return err_set(e, ERR_SYNTAX, "not one address: \"%.*s\"", SP(shown(in)));
    *out = list.v[0];
    return OK;
}

static bool is_dot_atom(struct slice s) {
    bool was_dot = true;

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '.') {
            if (was_dot) return false;
            was_dot = true;
        } else if (is_atext(s.p[i])) {
            was_dot = false;
        } else {
            return false;
        }
    }
    return !was_dot;
}

static void put_quoted(struct buf *out, struct slice s) {
    buf_addc(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (c == '\r' || c == '\n' || c == '\0') c = ' ';
        if (c == '"' || c == '\\') buf_addc(out, '\\');
        buf_addc(out, c);
    }
    buf_addc(out, '"');
}

bool address_put_spec(struct buf *out, const struct address *ad) {
    if (is_dot_atom(ad->local)) buf_add(out, ad->local);
    else put_quoted(out, ad->local);
    if (ad->domain.n > 0) {
        buf_addc(out, '@');
        buf_add(out, ad->domain);
    }
    return !out->bad;
}

bool address_put_phrase(struct buf *out, struct slice text) {
    bool is_words = text.n > 0 && text.p[0] != ' ' && text.p[text.n - 1] != ' ';

    for (size_t i = 0; i < text.n && is_words; i++) {
        if (text.p[i] == ' ') is_words = text.p[i - 1] != ' ';
        else is_words = is_atext(text.p[i]);
    }
    if (is_words) buf_add(out, text);
    else put_quoted(out, text);
    return !out->bad;
}

bool address_put(struct buf *out, const struct address *ad) {
    if (ad->kind == ADDRESS_GROUP_END) return buf_addc(out, ';');
    if (ad->kind == ADDRESS_GROUP) {
        address_put_phrase(out, ad->name);
        return buf_addc(out, ':');
    }
    if (ad->name.n == 0 && ad->local.n > 0) return address_put_spec(out, ad);
    if (ad->name.n > 0) {
        address_put_phrase(out, ad->name);
        buf_addc(out, ' ');
    }
    buf_addc(out, '<');
    if (ad->local.n > 0 || ad->domain.n > 0) address_put_spec(out, ad);
    return buf_addc(out, '>');
}

bool address_list_put(struct buf *out, const struct address_list *list) {
    for (size_t i = 0; i < list->n; i++) {
        if (i > 0 && list->v[i].kind != ADDRESS_GROUP_END) {
            if (list->v[i - 1].kind != ADDRESS_GROUP) buf_addc(out, ',');
            buf_addc(out, ' ');
        }
        address_put(out, &list->v[i]);
    }
    return !out->bad;
}

bool address_same(const struct address *a, const struct address *b) {
    return slice_eq(a->local, b->local) && slice_ieq(a->domain, b->domain);
}
