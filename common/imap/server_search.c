#include <stdlib.h>

#include "base/ascii.h"
#include "base/attr.h"
#include "imap/fold.h"
#include "imap/head.h"
#include "imap/server_impl.h"
#include "mime/charset.h"
#include "mime/date.h"

enum key {
    KEY_ALL,
    KEY_FLAG, /* all of `flags` set, none of `unset` */
    KEY_SEQ,
    KEY_UID,
    KEY_LARGER,
    KEY_SMALLER,
    KEY_BEFORE,
    KEY_ON,
    KEY_SINCE,
    KEY_SENTBEFORE,
    KEY_SENTON,
    KEY_SENTSINCE,
    KEY_SAVEDBEFORE,
    KEY_SAVEDON,
    KEY_SAVEDSINCE,
    KEY_OLDER,
    KEY_YOUNGER,
    KEY_MODSEQ,
    KEY_EMAILID,
    KEY_HEADER,
    KEY_BODY,
    KEY_TEXT,
    KEY_AND,
    KEY_OR,
    KEY_NOT
};

struct search_key {
    enum key what;
    struct search_key *next;     /* in the list of an AND */
    struct search_key *children; /* AND: a list; OR: two; NOT: one */
    uint64_t flags, unset, number;
    struct imap_set set;
    wall_t day;
    struct slice name, text; /* text is folded */
};

enum { DAY_S = 86400, NEEDLES_MAX = 16 };

/* --- parse -------------------------------------------------------------------------------------
 */

struct parse {
    struct imap_server *s;
    struct slice charset; /* of texts; empty: UTF-8, or what charset_guess makes of it */
    unsigned keys;
};

static bool no(struct parse *p, const char *why) {
    p->s->cur.why = why;
    return false;
}

static struct search_key *new_key(struct parse *p, enum key what) {
    struct search_key *k = NULL;

    if (++p->keys > IMAP_SEARCH_KEYS_MAX) no(p, "Too many search keys");
    else if (!(k = arena_new(&p->s->arena, sizeof *k))) no(p, "Out of memory");
    if (k) k->what = what;
    return k;
}

/* A text to look for, in UTF-8 and folded. */
static bool take_text(struct parse *p, struct slice *out) {
    struct slice raw;
    struct buf utf8, b;
    bool is_ok;

    if (!imap_take_sp(&p->s->cur) || !imap_take_astring(&p->s->cur, &raw)) return false;
    buf_init(&utf8, CHARSET_GROWTH * raw.n + 16);
    buf_init(&b, CHARSET_GROWTH * IMAP_FOLD_GROWTH * raw.n + 16);
    is_ok = charset_to_utf8(&utf8, raw, p->charset) || !p->charset.n;
    imap_fold(&b, buf_slice(&utf8));
    if (!is_ok) no(p, "A text is not in the charset of the search");
    else if (utf8.bad || b.bad) is_ok = no(p, "Out of memory");
    else *out = b.n ? arena_copy(&p->s->arena, buf_slice(&b)) : S("");
    buf_release(&utf8);
    buf_release(&b);
    return is_ok;
}

static const struct simple {
    struct slice name;
    enum key what;
    uint64_t flags, unset;
    const char *header;
} simple_keys[] = {
    {S_INIT("ALL"), KEY_ALL, 0, 0, NULL},
    {S_INIT("ANSWERED"), KEY_FLAG, IMAP_ANSWERED, 0, NULL},
    {S_INIT("DELETED"), KEY_FLAG, IMAP_DELETED, 0, NULL},
    {S_INIT("DRAFT"), KEY_FLAG, IMAP_DRAFT, 0, NULL},
    {S_INIT("FLAGGED"), KEY_FLAG, IMAP_FLAGGED, 0, NULL},
    {S_INIT("NEW"), KEY_FLAG, IMAP_RECENT, IMAP_SEEN, NULL},
    {S_INIT("OLD"), KEY_FLAG, 0, IMAP_RECENT, NULL},
    {S_INIT("RECENT"), KEY_FLAG, IMAP_RECENT, 0, NULL},
    {S_INIT("SEEN"), KEY_FLAG, IMAP_SEEN, 0, NULL},
    {S_INIT("UNANSWERED"), KEY_FLAG, 0, IMAP_ANSWERED, NULL},
    {S_INIT("UNDELETED"), KEY_FLAG, 0, IMAP_DELETED, NULL},
    {S_INIT("UNDRAFT"), KEY_FLAG, 0, IMAP_DRAFT, NULL},
    {S_INIT("UNFLAGGED"), KEY_FLAG, 0, IMAP_FLAGGED, NULL},
    {S_INIT("UNSEEN"), KEY_FLAG, 0, IMAP_SEEN, NULL},
    {S_INIT("BCC"), KEY_HEADER, 0, 0, "Bcc"},
    {S_INIT("CC"), KEY_HEADER, 0, 0, "Cc"},
    {S_INIT("FROM"), KEY_HEADER, 0, 0, "From"},
    {S_INIT("SUBJECT"), KEY_HEADER, 0, 0, "Subject"},
    {S_INIT("TO"), KEY_HEADER, 0, 0, "To"},
    {S_INIT("HEADER"), KEY_HEADER, 0, 0, ""},
    {S_INIT("BODY"), KEY_BODY, 0, 0, NULL},
    {S_INIT("TEXT"), KEY_TEXT, 0, 0, NULL},
    {S_INIT("LARGER"), KEY_LARGER, 0, 0, NULL},
    {S_INIT("SMALLER"), KEY_SMALLER, 0, 0, NULL},
    {S_INIT("BEFORE"), KEY_BEFORE, 0, 0, NULL},
    {S_INIT("ON"), KEY_ON, 0, 0, NULL},
    {S_INIT("SINCE"), KEY_SINCE, 0, 0, NULL},
    {S_INIT("SENTBEFORE"), KEY_SENTBEFORE, 0, 0, NULL},
    {S_INIT("SENTON"), KEY_SENTON, 0, 0, NULL},
    {S_INIT("SENTSINCE"), KEY_SENTSINCE, 0, 0, NULL},
    {S_INIT("SAVEDBEFORE"), KEY_SAVEDBEFORE, 0, 0, NULL},
    {S_INIT("SAVEDON"), KEY_SAVEDON, 0, 0, NULL},
    {S_INIT("SAVEDSINCE"), KEY_SAVEDSINCE, 0, 0, NULL},
    {S_INIT("SAVEDATESUPPORTED"), KEY_ALL, 0, 0, NULL},
    {S_INIT("OLDER"), KEY_OLDER, 0, 0, NULL},
    {S_INIT("YOUNGER"), KEY_YOUNGER, 0, 0, NULL},
    {S_INIT("MODSEQ"), KEY_MODSEQ, 0, 0, NULL},
    {S_INIT("EMAILID"), KEY_EMAILID, 0, 0, NULL},
    {S_INIT("THREADID"), KEY_EMAILID, 0, 0, "t"}, /* no message has one */
    {S_INIT("UID"), KEY_UID, 0, 0, NULL},
    {S_INIT("UIDAFTER"), KEY_UID, 0, 0, "a"}, /* RFC 9738 */
    {S_INIT("UIDBEFORE"), KEY_UID, 0, 0, "b"},
    {S_INIT("OR"), KEY_OR, 0, 0, NULL},
    {S_INIT("NOT"), KEY_NOT, 0, 0, NULL},
    {S_INIT("KEYWORD"), KEY_FLAG, 0, 0, "k"},
    {S_INIT("UNKEYWORD"), KEY_FLAG, 0, 0, "u"},
};

static struct search_key *take_key(struct parse *p, unsigned depth);

static bool take_set(struct parse *p, struct search_key *k, bool is_uid) {
    if (!imap_take_set(&p->s->cur, IMAP_SET_MAX, &k->set)) return false;
    // A number that no message has finds nothing: other commands call it an error, this one asks.
    if (!k->set.is_saved) imap_view_resolve(p->s, &k->set, is_uid);
    else if (!imap_view_resolve(p->s, &k->set, is_uid)) return no(p, "No such message");
    return true;
}

/* All UIDs above or below one. */
static bool take_side(struct parse *p, struct search_key *k, bool is_above) {
    uint64_t uid;

    if (!imap_take_number(&p->s->cur, UINT32_MAX, &uid) || !uid) return false;
    k->set.v = arena_new(&p->s->arena, sizeof *k->set.v);
    if (!k->set.v) return no(p, "Out of memory");
    *k->set.v = is_above ? (struct imap_range){(uint32_t)uid + 1, UINT32_MAX}
                         : (struct imap_range){1, (uint32_t)uid - 1};
    k->set.n = is_above ? uid < UINT32_MAX : uid > 1;
    return true;
}

static bool take_keyword(struct parse *p, struct search_key *k, bool is_unset) {
    struct slice name;
    uint64_t bit;

    if (!imap_take_sp(&p->s->cur) || !imap_take_flag(&p->s->cur, &name)) return false;
    bit = imap_keyword_bit(&p->s->keywords, name, false);
    if (is_unset) k->unset = bit; // nobody has a keyword that is not known: all match
    else if (bit) k->flags = bit;
    else k->what = KEY_NOT, k->children = new_key(p, KEY_ALL);
    return k->what != KEY_NOT || k->children;
}

/* 'MODSEQ ["/flags/\\Seen" all] n' (RFC 7162 3.1.5); a message has one for all its metadata. */
static bool take_modseq(struct parse *p, struct search_key *k) {
    struct imap_cursor *c = &p->s->cur;
    struct slice name;

    if (!imap_take_sp(c)) return false;
    if (c->in.n && c->in.p[0] == '"') {
        if (!imap_take_string(c, &name) || !imap_take_sp(c) || !imap_take_word(c, &name) ||
            !imap_take_sp(c))
            return false;
    }
    p->s->search.has_modseq = true;
    imap_enable(p->s, ON_CONDSTORE);
    return imap_take_number(c, INT64_MAX, &k->number);
}

static bool take_arguments(struct parse *p, const struct simple *e, struct search_key *k,
                           unsigned depth) {
    struct imap_cursor *c = &p->s->cur;

    k->flags = e->flags;
    k->unset = e->unset;
    switch (e->what) {
    case KEY_FLAG: return !e->header || take_keyword(p, k, e->header[0] == 'u');
    case KEY_HEADER:
        k->name = slice_str(e->header);
        if (!k->name.n && (!imap_take_sp(c) || !imap_take_astring(c, &k->name))) return false;
        return take_text(p, &k->text);
    case KEY_BODY:
    case KEY_TEXT: return take_text(p, &k->text);
    case KEY_LARGER:
    case KEY_SMALLER: return imap_take_sp(c) && imap_take_number(c, INT64_MAX, &k->number);
    case KEY_BEFORE:
    case KEY_ON:
    case KEY_SINCE:
    case KEY_SENTBEFORE:
    case KEY_SENTON:
    case KEY_SENTSINCE: return imap_take_sp(c) && imap_take_date(c, &k->day);
    case KEY_SAVEDBEFORE:
    case KEY_SAVEDON:
    case KEY_SAVEDSINCE: return imap_take_sp(c) && imap_take_date(c, &k->day);
    case KEY_OLDER:
    case KEY_YOUNGER:
        return imap_take_sp(c) && imap_take_number(c, UINT32_MAX, &k->number) && k->number > 0;
    case KEY_MODSEQ: return take_modseq(p, k);
    case KEY_EMAILID:
        if (!imap_take_sp(c) || !imap_take_astring(c, &k->text)) return false;
        if (e->header) k->text = S(" ");
        return true;
    case KEY_UID:
        if (!imap_take_sp(c)) return false;
        return e->header ? take_side(p, k, e->header[0] == 'a') : take_set(p, k, true);
    case KEY_NOT: return imap_take_sp(c) && (k->children = take_key(p, depth + 1)) != NULL;
    case KEY_OR:
        return imap_take_sp(c) && (k->children = take_key(p, depth + 1)) != NULL &&
               imap_take_sp(c) && (k->children->next = take_key(p, depth + 1)) != NULL;
    default: return true;
    }
}

/* One or more keys, all of which must hold. */
static struct search_key *take_and(struct parse *p, unsigned depth) {
    struct search_key *k = new_key(p, KEY_AND), **end = k ? &k->children : NULL;

    if (!k) return NULL;
    do {
        if (!(*end = take_key(p, depth + 1))) return NULL;
        end = &(*end)->next;
    } while (imap_take_sp(&p->s->cur));
    return k;
}

static struct search_key *take_key(struct parse *p, unsigned depth) {
    struct imap_cursor *c = &p->s->cur;
    struct search_key *k;
    struct slice word;

    if (depth > IMAP_SEARCH_DEPTH_MAX) {
        no(p, "Search is nested too deeply");
        return NULL;
    }
    if (imap_take(c, '(')) {
        k = take_and(p, depth + 1);
        return k && imap_take(c, ')') ? k : NULL;
    }
    if (c->in.n && (ascii_is_digit(c->in.p[0]) || c->in.p[0] == '*' || c->in.p[0] == '$')) {
        if (c->in.p[0] != '$' && p->s->enabled & ON_UIDONLY) {
            no(p, "[UIDREQUIRED] Only UIDs count.");
            return NULL;
        }
        k = new_key(p, KEY_SEQ);
        return k && take_set(p, k, false) ? k : NULL;
    }
    if (!imap_take_word(c, &word)) return NULL;
    for (size_t i = 0; i < COUNT_OF(simple_keys); i++) {
        if (!slice_ieq(word, simple_keys[i].name)) continue;
        k = new_key(p, simple_keys[i].what);
        return k && take_arguments(p, &simple_keys[i], k, depth) ? k : NULL;
    }
    no(p, "Unknown search key");
    return NULL;
}

void imap_cmd_search(struct imap_server *s) {
    if (!imap_take_sp(&s->cur)) imap_finish_bad(s, "Missing search keys.");
    else if (!imap_take_return(s)) imap_finish_bad(s, s->cur.why);
    else imap_search_start(s, false);
}

/* The charset of a search: "CHARSET x ", or "x " where it must be. */
static bool take_charset(struct imap_server *s, bool must, struct slice *name) {
    struct imap_cursor save = s->cur;
    struct slice word;

    *name = S("");
    if (!must && (!imap_take_word(&s->cur, &word) || !slice_ieq(word, S("CHARSET")))) {
        s->cur = save;
        return true;
    }
    return (must || imap_take_sp(&s->cur)) && imap_take_astring(&s->cur, name) &&
           imap_take_sp(&s->cur);
}

/* MESSAGELIMIT: look at no more than the newest of those that the sets of the program leave. */
static bool begin_at(struct imap_server *s) {
    uint32_t left = s->cfg.message_limit;
    size_t lowest = 0;

    s->search.index = 0;
    for (size_t i = left ? s->n_msgs : 0; i-- > 0;) {
        bool is_in = true;

        for (const struct search_key *k = s->search.root->children; k && is_in; k = k->next)
            if (k->what == KEY_SEQ) is_in = imap_set_has(&k->set, (uint32_t)i + 1);
            else if (k->what == KEY_UID) is_in = imap_set_has(&k->set, s->msgs[i].uid);
        if (!is_in) continue;
        if (left-- > 0) {
            lowest = i;
            continue;
        }
        if (s->search.is_sort) return imap_limit_allows(s, SIZE_MAX);
        s->search.index = lowest;
        s->limited_to = s->msgs[lowest].uid;
        break;
    }
    return true;
}

void imap_search_start(struct imap_server *s, bool has_charset) {
    struct parse p = {.s = s};

    if (!take_charset(s, has_charset, &p.charset)) {
        imap_finish_bad(s, s->cur.why);
        return;
    }
    if (p.charset.n && !has_charset && (s->enabled & (ON_UTF8 | ON_REV2)) == ON_UTF8) {
        imap_finish_bad(s, "CHARSET is not for a session with UTF8=ACCEPT."); // RFC 6855 3
        return;
    }
    if (p.charset.n && !charset_is_known(p.charset)) {
        if (s->search.returns & RETURN_SAVE) imap_saved_forget(s); // RFC 5182 2.1
        imap_finish(s, "NO", S("BADCHARSET (US-ASCII UTF-8 ISO-8859-1 ISO-8859-15 WINDOWS-1252)"),
                    S("Unknown charset."));
        return;
    }
    if (slice_ieq(p.charset, S("US-ASCII"))) p.charset = S(""); // what else is in it is guessed
    s->search.root = take_and(&p, 0);
    if (!s->search.root || !imap_at_end(&s->cur)) {
        imap_finish_bad(s, s->search.root ? "Unexpected text behind the search keys." : s->cur.why);
        return;
    }
    s->search.is_uid = s->is_uid;
    s->progress_at = s->now + IMAP_PROGRESS_MS;
    if (!begin_at(s)) return;
    s->job = JOB_SEARCH;
}

/* --- evaluate ----------------------------------------------------------------------------------
 */

struct subject {
    struct imap_server *s;
    size_t index;
    const struct imap_content *content; /* NULL: not fetched yet */
    unsigned need;                      /* what of it would have decided */
    unsigned has;                       /* what of it was asked for */
    bool has_text;                      /* s->search.text is filled */
    size_t body_n;                      /* so much of it counts for BODY */
};

static bool found(struct subject *x, enum imap_head_field k, struct slice value,
                  struct slice text) {
    struct buf *b = &x->s->search.fold;

    buf_reset(b);
    imap_fold_head_field(b, k, value);
    return slice_find(buf_slice(b), text) != SLICE_NONE;
}

static bool in_header(struct subject *x, struct slice header, struct slice name,
                      struct slice text) {
    struct header_iter it;
    struct header_field f;

    for (header_begin(&it, header); header_next(&it, &f);) {
        if (name.n && !slice_ieq(f.name, name)) continue;
        if (name.n && !text.n) return true; // RFC 3501 6.4.4: the field is there
        if (name.n) {
            if (found(x, imap_head_field(name), f.value, text)) return true;
        } else if (found(x, IMAP_HEAD_FIELDS, slice_of(header.p + f.at, f.end - f.at), text)) {
            return true; // TEXT: names count too
        }
    }
    return false;
}

/* Fields, whole, of the header of a part or of a message inside: those that only say what the part
 * is (Content-...), or the others. */
static void put_fields(struct buf *out, const struct part *p, struct slice message, bool is_kind) {
    struct header_iter it;
    struct header_field f;

    header_begin(&it, slice_of(message.p + p->header.at, (size_t)p->header.n));
    while (header_next(&it, &f)) {
        if (slice_istarts(f.name, S("Content-")) != is_kind) continue;
        imap_fold_field(out, slice_of(it.in.p + f.at, f.end - f.at));
        buf_addc(out, '\n');
    }
}

/* All of the body that is text, folded into search.text, once for all keys of one message: what
 * text parts and reports say, names of attachments, headers of messages inside. Then, for TEXT
 * alone, the fields that say what parts are: who looks for "image" in bodies does not mean them. */
static struct slice body_text(struct subject *x, bool is_whole) {
    struct buf *b = &x->s->search.text;
    struct slice message = x->content->bytes;
    const struct part *root, *p;
    struct arena *a = &x->s->fetch.arena; // FETCH does not run at the same time

    if (x->has_text) return slice_first(buf_slice(b), is_whole ? b->n : x->body_n);
    x->has_text = true;
    buf_reset(b);
    arena_reset(a);
    root = part_parse(a, message, x->content->trail);
    for (p = root; p; p = part_next(p)) {
        struct buf t;

        if (p->depth) put_fields(b, p, message, false);
        buf_init(&t, IMAP_ITEM_MAX);
        if (part_filename(p, &t)) {
            imap_fold(b, buf_slice(&t));
            buf_addc(b, '\n');
        }
        buf_reset(&t);
        if (!p->children && (slice_ieq(p->type, S("text")) || slice_ieq(p->type, S("message")))) {
            part_text(p, message, &t);
            imap_fold(b, buf_slice(&t));
            buf_addc(b, '\n');
        }
        buf_release(&t);
    }
    x->body_n = b->n;
    for (p = root; p; p = part_next(p))
        if (p->depth) put_fields(b, p, message, true);
    arena_reset(a);
    return slice_first(buf_slice(b), is_whole ? b->n : x->body_n);
}

static enum truth truth(bool is) { return is ? TRUTH_YES : TRUTH_NO; }

/* The day of the Date field as its writer saw it; INTERNALDATE where there is none. */
static wall_t sent_day(struct subject *x, wall_t internal_date) {
    wall_t t = internal_date;
    int offset = 0;

    date_parse(header_value(x->content->bytes, S("Date")), &t, &offset);
    t += (wall_t)offset * 60;
    return t - ((t % DAY_S) + DAY_S) % DAY_S;
}

static wall_t day_of(wall_t t) { return t - ((t % DAY_S) + DAY_S) % DAY_S; }

static enum truth open_for(struct subject *x, unsigned need) {
    x->need |= need;
    return TRUTH_OPEN;
}

/* May the kept head say? */
static bool is_in_head(const struct search_key *k) {
    if (k->what == KEY_HEADER)
        return imap_head_field(k->name) != IMAP_HEAD_FIELDS && slice_chr(k->text, 1) == SLICE_NONE;
    return k->what == KEY_SENTBEFORE || k->what == KEY_SENTON || k->what == KEY_SENTSINCE;
}

/* What the kept head says; false: it does not say. */
static bool eval_head(struct subject *x, const struct search_key *k, wall_t date, enum truth *t) {
    enum imap_head_field f;
    struct imap_head head;
    wall_t day;

    if (!imap_head_get(x->content->head, &head)) return false;
    switch (k->what) {
    case KEY_HEADER:
        f = imap_head_field(k->name);
        if (f == IMAP_HEAD_FIELDS || !head.field[f].is_known || slice_chr(k->text, 1) != SLICE_NONE)
            return false;
        *t = truth(head.field[f].is_there &&
                   (!k->text.n || slice_find(head.field[f].text, k->text) != SLICE_NONE));
        return true;
    case KEY_SENTBEFORE:
    case KEY_SENTON:
    case KEY_SENTSINCE:
        if (!head.has_date && date == IMAP_DATE_UNKNOWN) {
            *t = open_for(x, IMAP_NEED_DATE);
            return true;
        }
        day = day_of(head.has_date ? head.date + (wall_t)head.date_offset * 60 : date);
        *t = truth(k->what == KEY_SENTBEFORE ? day < k->day
                   : k->what == KEY_SENTON   ? day == k->day
                                             : day >= k->day);
        return true;
    default: return false;
    }
}

static enum truth eval(struct subject *x, const struct search_key *k);

static enum truth eval_list(struct subject *x, const struct search_key *list, enum truth decisive) {
    enum truth sum = decisive == TRUTH_NO ? TRUTH_YES : TRUTH_NO;

    for (const struct search_key *k = list; k; k = k->next) {
        enum truth t = eval(x, k);
        if (t == decisive) return decisive;
        if (t == TRUTH_OPEN) sum = TRUTH_OPEN;
    }
    return sum;
}

/* Whether the message fits; TRUTH_OPEN when its bytes are needed to say. */
static enum truth eval(struct subject *x, const struct search_key *k) {
    const struct imap_msg *m = &x->s->msgs[x->index];
    wall_t date = m->internal_date == IMAP_DATE_UNKNOWN && x->content ? x->content->internal_date
                                                                      : m->internal_date;
    uint64_t size = m->size_bytes;
    enum truth t;

    switch (k->what) {
    case KEY_ALL: return TRUTH_YES;
    case KEY_FLAG: return truth((m->flags & k->flags) == k->flags && !(m->flags & k->unset));
    case KEY_SEQ: return truth(imap_set_has(&k->set, (uint32_t)x->index + 1));
    case KEY_UID: return truth(imap_set_has(&k->set, m->uid));
    case KEY_BEFORE:
    case KEY_ON:
    case KEY_SINCE:
        if (date == IMAP_DATE_UNKNOWN) return open_for(x, IMAP_NEED_DATE);
        return truth(k->what == KEY_BEFORE ? day_of(date) < k->day
                     : k->what == KEY_ON   ? day_of(date) == k->day
                                           : day_of(date) >= k->day);
    case KEY_OLDER:
    case KEY_YOUNGER:
        if (date == IMAP_DATE_UNKNOWN) return open_for(x, IMAP_NEED_DATE);
        return truth((k->what == KEY_OLDER) == (date <= x->s->wall - (wall_t)k->number));
    case KEY_MODSEQ: return truth(m->modseq >= k->number);
    case KEY_SAVEDBEFORE:
    case KEY_SAVEDON:
    case KEY_SAVEDSINCE:
        if (!(x->has & IMAP_NEED_SAVEDATE)) return open_for(x, IMAP_NEED_SAVEDATE);
        if (x->content->save_date) date = x->content->save_date; // RFC 8514 4.3: else INTERNALDATE
        else if (date == IMAP_DATE_UNKNOWN) return open_for(x, IMAP_NEED_DATE);
        return truth(k->what == KEY_SAVEDBEFORE ? day_of(date) < k->day
                     : k->what == KEY_SAVEDON   ? day_of(date) == k->day
                                                : day_of(date) >= k->day);
    case KEY_EMAILID:
        if (!(x->has & IMAP_NEED_EMAILID)) return open_for(x, IMAP_NEED_EMAILID);
        return truth(x->content->emailid.n && slice_eq(x->content->emailid, k->text));
    case KEY_AND: return eval_list(x, k->children, TRUTH_NO);
    case KEY_OR: return eval_list(x, k->children, TRUTH_YES);
    case KEY_NOT: t = eval(x, k->children); return t == TRUTH_OPEN ? t : truth(t == TRUTH_NO);
    case KEY_LARGER:
    case KEY_SMALLER:
        if (size == IMAP_SIZE_UNKNOWN) {
            if (!x->content) return open_for(x, IMAP_NEED_SIZE);
            size = x->content->has_bytes ? imap_wire_size(x->content->bytes, x->content->trail)
                                         : x->content->size_bytes;
        }
        return truth(k->what == KEY_LARGER ? size > k->number : size < k->number);
    default: break;
    }
    if (is_in_head(k)) {
        if (!(x->has & (IMAP_NEED_HEAD | IMAP_NEED_BYTES))) return open_for(x, IMAP_NEED_HEAD);
        if (x->has & IMAP_NEED_HEAD && eval_head(x, k, date, &t)) return t;
    }
    if (!x->content || !x->content->has_bytes) return open_for(x, IMAP_NEED_BYTES);
    switch (k->what) {
    case KEY_SENTBEFORE: return truth(sent_day(x, date) < k->day);
    case KEY_SENTON: return truth(sent_day(x, date) == k->day);
    case KEY_SENTSINCE: return truth(sent_day(x, date) >= k->day);
    case KEY_HEADER: return truth(in_header(x, x->content->bytes, k->name, k->text));
    case KEY_TEXT:
        if (in_header(x, x->content->bytes, S(""), k->text)) return TRUTH_YES;
        ATTR_FALLTHROUGH;
    default: return truth(slice_find(body_text(x, k->what == KEY_TEXT), k->text) != SLICE_NONE);
    }
}

/* --- what need not be looked at ----------------------------------------------------------------
 */

/* Texts that every hit must have: those of the keys that all must hold. */
static void put_needles(const struct search_key *k, struct slice *v, size_t *n) {
    bool is_text = k->what == KEY_BODY || k->what == KEY_TEXT || k->what == KEY_HEADER;

    if (is_text && k->text.n >= 3 && *n < NEEDLES_MAX && !is_in_head(k)) v[(*n)++] = k->text;
    if (k->what != KEY_AND) return;
    for (const struct search_key *c = k->children; c; c = c->next) put_needles(c, v, n);
}

/* True: the host is asked first. */
static bool ask_candidates(struct imap_server *s) {
    struct search_state *q = &s->search;
    struct slice *needles = arena_new(&s->arena, NEEDLES_MAX * sizeof *needles);
    struct imap_event *ev;
    size_t n = 0;

    q->has_asked = true;
    if (needles) put_needles(q->root, needles, &n);
    if (!n) return false;
    ev = imap_ask(s, IMAP_EV_CANDIDATES);
    ev->keywords = needles;
    ev->n_keywords = n;
    return true;
}

void imap_server_candidates(struct imap_server *s, const uint32_t *uids, size_t n,
                            bool wants_text) {
    struct search_state *q = &s->search;

    if (s->open != IMAP_EV_CANDIDATES) return;
    s->open = IMAP_EV_NONE;
    q->wants_text = wants_text;
    q->candidates = malloc((n + 1) * sizeof *q->candidates);
    if (!q->candidates) return;
    if (n) memcpy(q->candidates, uids, n * sizeof *uids);
    q->n_candidates = n;
    q->has_candidates = true;
}

static bool is_candidate(struct search_state *q, uint32_t uid) {
    if (!q->has_candidates) return true;
    while (q->candidate < q->n_candidates && q->candidates[q->candidate] < uid) q->candidate++;
    return q->candidate < q->n_candidates && q->candidates[q->candidate] == uid;
}

/* All that a text is looked for in: fields whole (TEXT) and their values (HEADER), the body. */
static void tell_text(struct subject *x) {
    struct buf *b = &x->s->search.sign;
    struct header_iter it;
    struct header_field f;
    struct imap_event *ev;

    buf_reset(b);
    for (header_begin(&it, x->content->bytes); header_next(&it, &f);) {
        imap_fold_field(b, slice_of(x->content->bytes.p + f.at, f.end - f.at));
        buf_addc(b, '\n');
        imap_fold_field(b, f.value);
        buf_addc(b, '\n');
    }
    buf_add(b, body_text(x, true));
    if (b->bad || x->s->search.text.bad) return;
    ev = imap_tell(x->s, IMAP_EV_TEXT);
    ev->uid = x->s->msgs[x->index].uid;
    ev->bytes = buf_slice(b);
}

bool imap_search_run(struct imap_server *s) {
    struct search_state *q = &s->search;

    if (!q->has_asked && ask_candidates(s)) return false;
    for (; !q->is_telling && q->index < s->n_msgs; q->index++) {
        struct subject x = {.s = s, .index = q->index};
        enum truth t;

        if (!is_candidate(q, s->msgs[q->index].uid)) continue;
        t = eval(&x, q->root);

        if (t == TRUTH_OPEN) {
            struct imap_event *ev = imap_ask(s, IMAP_EV_NEED_MESSAGE);

            ev->uid = s->msgs[q->index].uid;
            ev->items = q->asked |= x.need;
            /* Whatever else is asked for it after all is there then. */
            if (q->asked & IMAP_NEED_BYTES && s->msgs[q->index].internal_date == IMAP_DATE_UNKNOWN)
                ev->items = q->asked |= IMAP_NEED_DATE;
            return false;
        }
        if (t == TRUTH_YES && !imap_search_hit(s, q->index)) return false;
    }
    if (q->order && !q->is_telling) {
        bool is_done;

        if (!imap_order_run(s, &is_done)) return false;
        if (is_done) return true;
    }
    return imap_search_tell(s);
}

/* RFC 9585: how many of the messages were looked at. Of a SORT the gathering comes after that. */
static void tell_progress(struct imap_server *s) {
    if (s->now < s->progress_at) return;
    s->progress_at = s->now + IMAP_PROGRESS_MS;
    s->is_pausing = true;
    buf_addf(&s->out, "* OK [INPROGRESS (\"%.*s\" %zu %zu)] Still searching.\r\n", SP(s->tag),
             s->search.index, s->n_msgs);
}

void imap_search_content(struct imap_server *s, const struct imap_content *c) {
    struct search_state *q = &s->search;

    tell_progress(s);
    if (q->index >= s->n_msgs) {
        imap_order_content(s, c);
        return;
    }
    if (c) { // evaluated at once, so nothing is held
        struct subject x = {.s = s, .index = q->index, .content = c, .has = q->asked};
        enum truth t = eval(&x, q->root);

        if (t == TRUTH_YES && !imap_search_hit(s, q->index)) return;
        if (q->wants_text && x.has_text) tell_text(&x);
        imap_tell(s, IMAP_EV_MESSAGE_DONE)->uid = s->msgs[q->index].uid;
        if (t == TRUTH_OPEN &&
            (x.need & ~q->asked)) { // decided by something else: ask for that too
            q->asked |= x.need;
            return;
        }
    }
    q->asked = 0;
    q->index++;
}

void imap_search_clear(struct imap_server *s) {
    struct buf fold = s->search.fold, text = s->search.text, sign = s->search.sign;

    free(s->search.hits);
    imap_order_clear(s);
    buf_release(&fold);
    buf_reset(&fold);
    buf_release(&text);
    buf_reset(&text);
    buf_release(&sign);
    buf_reset(&sign);
    free(s->search.candidates);
    s->search = (struct search_state){.fold = fold, .text = text, .sign = sign};
}
