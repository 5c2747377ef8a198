#include "imap/server_impl.h"

/* METADATA (RFC 5464): the host gives all annotations of a mailbox, what is asked for is chosen
 * here. */

static bool refuse(struct imap_server *s, const char *why) {
    s->cur.why = why;
    return false;
}

/* "" is the account. */
static bool take_target(struct imap_server *s) {
    struct imap_cursor save = s->cur;
    struct slice raw;

    if (!imap_take_astring(&s->cur, &raw)) return false;
    if (!raw.n) {
        s->mailbox = S("");
        return true;
    }
    s->cur = save;
    return imap_take_mailbox(s, &s->mailbox);
}

static bool take_entry(struct imap_server *s, struct slice *name) {
    if (!imap_take_astring(&s->cur, name)) return false;
    if (!name->n || name->p[0] != '/') return refuse(s, "The name of an entry begins with /");
    return true;
}

/* --- get ---------------------------------------------------------------------------------------
 */

/* "(MAXSIZE 1024 DEPTH infinity) ", before the mailbox or behind it. */
static bool take_options(struct imap_server *s, bool *has) {
    struct metadata_state *g = &s->metadata;
    struct imap_cursor save = s->cur;
    struct slice word;

    *has = false;
    if (!imap_take(&s->cur, '(')) return true;
    if (s->cur.in.n && (s->cur.in.p[0] == '/' || s->cur.in.p[0] == '"')) { // entries
        s->cur = save;
        return true;
    }
    *has = true;
    do {
        if (!imap_take_word(&s->cur, &word) || !imap_take_sp(&s->cur)) return false;
        if (slice_ieq(word, S("MAXSIZE"))) {
            if (!imap_take_number(&s->cur, UINT32_MAX, &g->size_max)) return false;
            g->has_size_max = true;
        } else if (slice_ieq(word, S("DEPTH"))) {
            if (!imap_take_word(&s->cur, &word)) return false;
            g->depth = slice_eq(word, S("0")) ? 0 : slice_eq(word, S("1")) ? 1 : 2;
            if (g->depth == 2 && !slice_ieq(word, S("infinity"))) return refuse(s, "Bad DEPTH");
        } else {
            return refuse(s, "Unknown option of GETMETADATA");
        }
    } while (imap_take_sp(&s->cur));
    return imap_take(&s->cur, ')') && imap_take_sp(&s->cur);
}

static bool take_entries(struct imap_server *s) {
    struct metadata_state *g = &s->metadata;
    bool has_parens = imap_take(&s->cur, '(');

    g->names = arena_new(&s->arena, IMAP_ANNOTATIONS_MAX * sizeof *g->names);
    if (!g->names) return refuse(s, "Out of memory");
    do {
        if (g->n == IMAP_ANNOTATIONS_MAX) return refuse(s, "Too many entries");
        if (!take_entry(s, &g->names[g->n++])) return false;
    } while (has_parens && imap_take_sp(&s->cur));
    return !has_parens || imap_take(&s->cur, ')');
}

void imap_cmd_getmetadata(struct imap_server *s) {
    bool has = false;

    s->metadata = (struct metadata_state){0};
    if (!imap_take_sp(&s->cur) || !take_options(s, &has) || !take_target(s) ||
        !imap_take_sp(&s->cur) || (!has && !take_options(s, &has)) || !take_entries(s) ||
        !imap_at_end(&s->cur)) {
        imap_finish_bad(s, s->cur.why);
        return;
    }
    imap_ask(s, IMAP_EV_GET_METADATA)->mailbox = s->mailbox;
}

static bool is_asked(const struct metadata_state *g, struct slice name) {
    for (size_t i = 0; i < g->n; i++) {
        struct slice top = g->names[i], rest;

        if (slice_ieq(top, name)) return true;
        if (!g->depth || !slice_istarts(name, top) || name.p[top.n] != '/') continue;
        rest = slice_from(name, top.n + 1);
        if (g->depth == 2 || slice_chr(rest, '/') == SLICE_NONE) return true;
    }
    return false;
}

/* Exactly as it was given: a literal of any bytes where quotes cannot hold it. */
static void put_value(struct buf *out, struct slice value) {
    bool is_plain = true;

    for (size_t i = 0; i < value.n; i++) is_plain &= value.p[i] >= 32 && value.p[i] < 127;
    if (is_plain) {
        imap_put_nstring(out, value);
        return;
    }
    buf_addf(out, "%s{%zu}\r\n", memchr(value.p, 0, value.n) ? "~" : "", value.n);
    buf_add(out, value);
}

void imap_server_annotation(struct imap_server *s, struct slice name, struct slice value) {
    struct metadata_state *g = &s->metadata;

    if (s->open != IMAP_EV_GET_METADATA || !is_asked(g, name)) return;
    if (g->has_size_max && value.n > g->size_max) {
        if (value.n > g->longest) g->longest = value.n;
        return;
    }
    if (!g->told) {
        buf_add(&s->out, S("* METADATA "));
        if (s->mailbox.n) imap_put_mailbox(s, s->mailbox);
        else buf_add(&s->out, S("\"\""));
        buf_add(&s->out, S(" ("));
    } else {
        buf_addc(&s->out, ' ');
    }
    g->told++;
    imap_put_astring(&s->out, name);
    buf_addc(&s->out, ' ');
    put_value(&s->out, value);
}

void imap_metadata_done(struct imap_server *s) {
    struct metadata_state *g = &s->metadata;

    if (g->told) buf_add(&s->out, S(")\r\n"));
    imap_finish(s, "OK", S(""), S("Getmetadata completed."));
    if (!g->longest) return;
    buf_reset(&s->tagged);
    buf_addf(&s->tagged, "OK [METADATA LONGENTRIES %llu] Some entries are longer.",
             (unsigned long long)g->longest);
}

/* --- set ---------------------------------------------------------------------------------------
 */

static bool take_value(struct imap_server *s, struct slice *value) {
    struct slice word;

    if (s->cur.in.n && (s->cur.in.p[0] == '"' || s->cur.in.p[0] == '{' || s->cur.in.p[0] == '~')) {
        imap_take(&s->cur, '~');
        if (!imap_take_string(&s->cur, value)) return false;
        if (!value->p) *value = S("");
        return true;
    }
    *value = (struct slice){0};
    return imap_take_word(&s->cur, &word) && slice_ieq(word, S("NIL"));
}

void imap_cmd_setmetadata(struct imap_server *s) {
    struct imap_annotation *v = arena_new(&s->arena, IMAP_ANNOTATIONS_MAX * sizeof *v);
    struct imap_event *ev;
    size_t n = 0;

    if (!v || !imap_take_sp(&s->cur) || !take_target(s) || !imap_take_sp(&s->cur) ||
        !imap_take(&s->cur, '('))
        goto bad;
    do {
        if (n == IMAP_ANNOTATIONS_MAX) {
            imap_finish(s, "NO", S("METADATA TOOMANY"), S("Too many entries."));
            return;
        }
        if (!take_entry(s, &v[n].name) || !imap_take_sp(&s->cur) || !take_value(s, &v[n].value))
            goto bad;
        if (slice_ieq(v[n].name, S("/private/specialuse")) &&
            !imap_special_uses_are_known(v[n].value)) {
            imap_finish(s, "NO", S("USEATTR"), S("No mailbox can have that use here."));
            return;
        }
        n++;
    } while (imap_take_sp(&s->cur));
    if (!imap_take(&s->cur, ')') || !imap_at_end(&s->cur)) goto bad;
    ev = imap_ask(s, IMAP_EV_SET_METADATA);
    ev->mailbox = s->mailbox;
    ev->annotations = v;
    ev->n_annotations = n;
    return;
bad:
    imap_finish_bad(s, v ? s->cur.why : "Out of memory");
}
