#include "imap/render.h"

#include "base/ascii.h"
#include "base/base64.h"
#include "base/utf8.h"
#include "mime/address.h"

enum { ENVELOPE_ARENA_MAX = 16 * 1024 * 1024, QUOTED_MAX = 4096, ENCODED_PIECE_MAX = 42 };

static bool is_quotable(struct slice s) {
    if (s.n > QUOTED_MAX) return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\r' || s.p[i] == '\n' || !s.p[i] || (unsigned char)s.p[i] > 127)
            return false;
    }
    return true;
}

static void put_quoted(struct buf *out, struct slice s) {
    buf_addc(out, '"');
    for (size_t i = 0, at = 0; i <= s.n; i++) {
        if (i < s.n && s.p[i] != '"' && s.p[i] != '\\') continue;
        buf_add(out, slice_of(s.p + at, i - at));
        if (i < s.n) buf_addc(out, '\\');
        at = i;
    }
    buf_addc(out, '"');
}

/* A literal of text with NUL left out and every bare LF as CRLF. */
static void put_literal(struct buf *out, struct slice s) {
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        n += (s.p[i] != 0) + (s.p[i] == '\n' && (!i || s.p[i - 1] != '\r'));
    }
    buf_addf(out, "{%zu}\r\n", n);
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\n' && (!i || s.p[i - 1] != '\r')) buf_addc(out, '\r');
        if (s.p[i]) buf_addc(out, s.p[i]);
    }
}

bool imap_put_nstring(struct buf *out, struct slice s) {
    if (!s.p) buf_add(out, S("NIL"));
    else if (is_quotable(s)) put_quoted(out, s);
    else put_literal(out, s);
    return !out->bad;
}

bool imap_put_astring(struct buf *out, struct slice s) {
    bool is_atom = s.n > 0 && s.n < 1000 && !slice_ieq(s, S("NIL"));

    for (size_t i = 0; is_atom && i < s.n; i++) {
        is_atom = ascii_is_graph(s.p[i]) && !strchr("(){%*\"\\", s.p[i]);
    }
    if (is_atom) return buf_add(out, s);
    return imap_put_nstring(out, s.p ? s : S(""));
}

static bool is_plain(struct slice s) {
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' || (unsigned char)s.p[i] > '~') return false;
    return s.n > 0;
}

/* Header text: unfolded, ASCII, without controls. What is not ASCII is written as encoded words, a
 * few whole characters in each. */
static void put_text(struct buf *out, struct slice s) {
    struct buf t;
    bool is_utf8;

    if (!s.p || is_plain(s)) {
        imap_put_nstring(out, s);
        return;
    }
    is_utf8 = utf8_valid(s);
    buf_init(&t, s.n * 4 + 1024);
    for (size_t i = 0; i < s.n;) {
        size_t end = i;

        if ((unsigned char)s.p[i] < 128) {
            char ch = s.p[i++];
            if (ch == '\r' || ch == '\n') continue; // folds: the blank after them stays
            buf_addc(&t, ascii_is_ctl(ch) ? ' ' : ch);
            continue;
        }
        while (end < s.n && end - i < ENCODED_PIECE_MAX && (unsigned char)s.p[end] > 127) {
            size_t n = is_utf8 ? utf8_char(slice_from(s, end), NULL) : 1;
            end += n ? n : 1;
        }
        buf_add(&t, is_utf8 ? S("=?UTF-8?B?") : S("=?unknown-8bit?B?"));
        base64_put(&t, slice_of(s.p + i, end - i));
        buf_add(&t, S("?="));
        i = end;
        if (i < s.n && (unsigned char)s.p[i] > 127) buf_addc(&t, ' ');
    }
    if (t.bad) out->bad = true;
    else imap_put_nstring(out, t.n ? buf_slice(&t) : S(""));
    buf_release(&t);
}

static struct slice or_nil(struct slice s) { return s.n ? s : slice_of(NULL, 0); }

/* The first of the words of `s` that has an @ inside, or nothing. */
static struct slice first_spec(struct slice s) {
    struct slice word;

    while (slice_word(&s, &word)) {
        size_t at;

        while (word.n && strchr("<\",;:", *word.p)) word = slice_from(word, 1);
        while (word.n && strchr(">\",;:", word.p[word.n - 1])) word.n--;
        at = slice_rchr(word, '@');
        if (at != SLICE_NONE && at > 0 && at + 1 < word.n) return word;
    }
    return S("");
}

/* What no address can be read from, as spammers and scripts write it ("A <a@b> trailing", "A B"):
 * people want to see who it says it is from. */
static void put_broken(struct buf *out, struct slice value) {
    size_t open = slice_chr(value, '<'), at;
    struct slice spec = first_spec(open == SLICE_NONE ? value : slice_from(value, open)), name;

    name = spec.n && open == SLICE_NONE ? S("") : slice_trim(slice_first(value, open));
    while (name.n && *name.p == '"') name = slice_from(name, 1);
    while (name.n && name.p[name.n - 1] == '"') name.n--;
    at = slice_rchr(spec, '@');
    buf_add(out, S("(("));
    put_text(out, or_nil(name));
    buf_add(out, S(" NIL "));
    put_text(out, spec.n ? slice_first(spec, at) : S(""));
    buf_addc(out, ' ');
    put_text(out, spec.n ? slice_from(spec, at + 1) : S(""));
    buf_add(out, S("))"));
}

static void put_addresses(struct buf *out, struct slice value, struct arena *a) {
    struct address_list list = {0};
    bool is_broken = value.n && address_parse(a, value, &list, NULL) == ERR_SYNTAX;

    if (!list.n) {
        if (is_broken) put_broken(out, value);
        else buf_add(out, S("NIL"));
        return;
    }
    buf_addc(out, '(');
    for (size_t i = 0; i < list.n; i++) {
        const struct address *ad = &list.v[i];

        if (ad->kind == ADDRESS_GROUP) {
            buf_add(out, S("(NIL NIL "));
            put_text(out, ad->name.n ? ad->name : S(""));
            buf_add(out, S(" NIL)"));
        } else if (ad->kind == ADDRESS_GROUP_END) {
            buf_add(out, S("(NIL NIL NIL NIL)"));
        } else {
            buf_addc(out, '(');
            put_text(out, or_nil(ad->name));
            buf_addc(out, ' ');
            put_text(out, or_nil(ad->route));
            buf_addc(out, ' ');
            put_text(out, ad->local.n ? ad->local : S(""));
            buf_addc(out, ' ');
            // a host of NIL would mean the start of a group
            put_text(out, ad->domain.n ? ad->domain : S(""));
            buf_addc(out, ')');
        }
    }
    buf_addc(out, ')');
}

/* What was put at [from, to) once more. */
static void repeat(struct buf *out, size_t from, size_t to) {
    char *room = buf_room(out, to - from);

    if (!room) return;
    memcpy(room, out->p + from, to - from);
    buf_grown(out, to - from);
}

bool imap_put_envelope(struct buf *out, struct slice header) {
    enum { DATE, SUBJECT, FROM, SENDER, REPLY_TO, TO, CC, BCC, IN_REPLY_TO, ID, FIELDS };
    static const struct slice names[FIELDS] = {
        S_INIT("Date"),        S_INIT("Subject"),   S_INIT("From"), S_INIT("Sender"),
        S_INIT("Reply-To"),    S_INIT("To"),        S_INIT("Cc"),   S_INIT("Bcc"),
        S_INIT("In-Reply-To"), S_INIT("Message-ID")};
    struct slice v[FIELDS];
    struct arena a;
    size_t from, from_end;
    bool is_ok;

    arena_init(&a, ENVELOPE_ARENA_MAX);
    header_values(header, names, FIELDS, v);
    buf_addc(out, '(');
    put_text(out, v[DATE]);
    buf_addc(out, ' ');
    put_text(out, v[SUBJECT]);
    buf_addc(out, ' ');
    from = out->n;
    put_addresses(out, v[FROM], &a);
    from_end = out->n;
    for (int i = SENDER; i <= REPLY_TO; i++) {
        buf_addc(out, ' ');
        if (v[i].n) put_addresses(out, v[i], &a);
        else repeat(out, from, from_end);
    }
    for (int i = TO; i <= BCC; i++) {
        buf_addc(out, ' ');
        put_addresses(out, v[i], &a);
    }
    buf_addc(out, ' ');
    put_text(out, or_nil(v[IN_REPLY_TO]));
    buf_addc(out, ' ');
    put_text(out, or_nil(v[ID]));
    buf_addc(out, ')');
    is_ok = !out->bad && !a.bad;
    arena_release(&a);
    return is_ok;
}

/* --- structure ---------------------------------------------------------------------------------
 */

static void put_params(struct buf *out, const struct param_list *l, struct slice dflt_name,
                       struct slice dflt_value) {
    if (!l->n && !dflt_name.n) {
        buf_add(out, S("NIL"));
        return;
    }
    buf_addc(out, '(');
    if (!l->n) {
        imap_put_nstring(out, dflt_name);
        buf_addc(out, ' ');
        imap_put_nstring(out, dflt_value);
    }
    for (size_t i = 0; i < l->n; i++) {
        if (i) buf_addc(out, ' ');
        put_text(out, l->v[i].name.n ? l->v[i].name : S(""));
        buf_addc(out, ' ');
        put_text(out, l->v[i].value.n ? l->v[i].value : S(""));
    }
    buf_addc(out, ')');
}

/* body-fld-dsp, body-fld-lang, body-fld-loc: what both kinds of part end in. */
static void put_tail(struct buf *out, const struct part *p) {
    buf_addc(out, ' ');
    if (p->disposition.n) {
        buf_addc(out, '(');
        put_text(out, p->disposition);
        buf_addc(out, ' ');
        put_params(out, &p->disposition_params, S(""), S(""));
        buf_addc(out, ')');
    } else {
        buf_add(out, S("NIL"));
    }
    buf_addc(out, ' ');
    if (p->n_languages) {
        buf_addc(out, '(');
        for (unsigned i = 0; i < p->n_languages; i++) {
            if (i) buf_addc(out, ' ');
            put_text(out, p->languages[i]);
        }
        buf_addc(out, ')');
    } else {
        buf_add(out, S("NIL"));
    }
    buf_addc(out, ' ');
    put_text(out, or_nil(p->location));
}

static void put_leaf(struct buf *out, const struct part *p) {
    put_text(out, p->type);
    buf_addc(out, ' ');
    put_text(out, p->subtype);
    buf_addc(out, ' ');
    if (!p->params.n && slice_ieq(p->type, S("text"))) {
        put_params(out, &p->params, S("charset"), S("us-ascii")); // RFC 2045 5.2
    } else {
        put_params(out, &p->params, S(""), S(""));
    }
    buf_addc(out, ' ');
    put_text(out, or_nil(p->id));
    buf_addc(out, ' ');
    put_text(out, or_nil(p->description));
    buf_addc(out, ' ');
    put_text(out, p->encoding.n ? p->encoding : S("7bit"));
    buf_addf(out, " %llu", (unsigned long long)p->body.wire);
}

/* What is left to write after a child: parts nest at most PART_DEPTH_MAX deep, so this recursion is
 * bounded. */
static void put_part(struct buf *out, const struct part *p, struct slice message,
                     bool is_extended) {
    buf_addc(out, '(');
    if (p->is_multipart && p->children) {
        for (const struct part *c = p->children; c; c = c->next) {
            put_part(out, c, message, is_extended);
        }
        buf_addc(out, ' ');
        put_text(out, p->subtype);
        if (is_extended) {
            buf_addc(out, ' ');
            put_params(out, &p->params, S(""), S(""));
            put_tail(out, p);
        }
        buf_addc(out, ')');
        return;
    }
    put_leaf(out, p);
    if (p->is_message && p->children) {
        const struct part *m = p->children;
        struct slice header =
            slice_first(slice_from(message, (size_t)m->header.at), (size_t)m->header.n);

        buf_addc(out, ' ');
        if (!imap_put_envelope(out, header)) out->bad = true;
        buf_addc(out, ' ');
        put_part(out, m, message, is_extended);
        buf_addf(out, " %llu", (unsigned long long)p->body.lines);
    } else if (slice_ieq(p->type, S("text"))) {
        buf_addf(out, " %llu", (unsigned long long)p->body.lines);
    }
    if (is_extended) {
        buf_addc(out, ' ');
        put_text(out, or_nil(p->md5));
        put_tail(out, p);
    }
    buf_addc(out, ')');
}

bool imap_put_structure(struct buf *out, const struct part *root, struct slice message,
                        bool is_extended) {
    put_part(out, root, message, is_extended);
    return !out->bad;
}

static bool put_whole(struct buf *out, struct slice message, bool is_extended,
                      struct trail *trail) {
    struct arena a;
    struct part *root;

    arena_init(&a, (size_t)64 * 1024 * 1024);
    root = part_parse(&a, message, trail);
    if (!root || !imap_put_structure(out, root, message, is_extended)) out->bad = true;
    arena_release(&a);
    return !out->bad;
}

bool imap_put_body(struct buf *out, struct slice message, struct trail *trail) {
    return put_whole(out, message, false, trail);
}

bool imap_put_bodystructure(struct buf *out, struct slice message, struct trail *trail) {
    return put_whole(out, message, true, trail);
}
