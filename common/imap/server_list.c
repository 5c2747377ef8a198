#include <stdlib.h>

#include "base/ascii.h"
#include "base/attr.h"
#include "base/utf7.h"
#include "base/utf8.h"
#include "imap/server_impl.h"

static const struct {
    unsigned bit;
    struct slice name;
} attribute_names[] = {
    {IMAP_NOSELECT, S_INIT("\\Noselect")},
    {IMAP_NONEXISTENT, S_INIT("\\NonExistent")},
    {IMAP_NOINFERIORS, S_INIT("\\Noinferiors")},
    {IMAP_MARKED, S_INIT("\\Marked")},
    {IMAP_UNMARKED, S_INIT("\\Unmarked")},
    {IMAP_HAS_CHILDREN, S_INIT("\\HasChildren")},
    {IMAP_HAS_NO_CHILDREN, S_INIT("\\HasNoChildren")},
    {IMAP_SUBSCRIBED, S_INIT("\\Subscribed")},
    {IMAP_USE_ALL, S_INIT("\\All")},
    {IMAP_USE_ARCHIVE, S_INIT("\\Archive")},
    {IMAP_USE_DRAFTS, S_INIT("\\Drafts")},
    {IMAP_USE_FLAGGED, S_INIT("\\Flagged")},
    {IMAP_USE_JUNK, S_INIT("\\Junk")},
    {IMAP_USE_SENT, S_INIT("\\Sent")},
    {IMAP_USE_TRASH, S_INIT("\\Trash")},
};

void imap_put_mailbox(struct imap_server *s, struct slice utf8) {
    struct buf b;

    if (s->enabled & ON_UTF8 && utf8_valid(utf8)) {
        if (utf8_is_ascii(utf8)) {
            imap_put_astring(&s->out, utf8);
            return;
        }
        buf_addc(&s->out, '"');
        for (size_t i = 0; i < utf8.n; i++) {
            if (utf8.p[i] == '"' || utf8.p[i] == '\\') buf_addc(&s->out, '\\');
            buf_addc(&s->out, utf8.p[i]);
        }
        buf_addc(&s->out, '"');
        return;
    }
    buf_init(&b, 4 * IMAP_MAILBOX_NAME_MAX);
    if (!utf7_put(&b, utf8)) buf_reset(&b); // the host's name is not UTF-8
    imap_put_astring(&s->out, buf_slice(&b));
    buf_release(&b);
}

void imap_list_clear(struct imap_server *s) {
    free(s->list.v);
    arena_release(&s->list.names);
    s->list = (struct list_state){.names = s->list.names};
}

/* Dynamic programming over the name: reach[j] is true when the pattern so far can eat j bytes. Time
 * is the product of both lengths, which are bounded; nothing backtracks. */
bool imap_pattern_matches(struct slice pattern, struct slice name, char delimiter) {
    bool reach[IMAP_MAILBOX_NAME_MAX + 1] = {true};
    bool is_inbox = slice_starts(name, S("INBOX")) && (name.n == 5 || name.p[5] == delimiter);

    if (name.n > IMAP_MAILBOX_NAME_MAX || pattern.n > 4 * IMAP_MAILBOX_NAME_MAX) return false;
    for (size_t i = 0; i < pattern.n; i++) {
        char ch = pattern.p[i];

        if (ch == '*' || ch == '%') {
            for (size_t j = 1; j <= name.n; j++) {
                if (reach[j - 1] && (ch == '*' || name.p[j - 1] != delimiter)) reach[j] = true;
            }
            continue;
        }
        for (size_t j = name.n; j > 0; j--) {
            bool is_same =
                ch == name.p[j - 1] || (is_inbox && j <= 5 && ascii_upper(ch) == name.p[j - 1]);
            reach[j] = reach[j - 1] && is_same;
        }
        reach[0] = false;
    }
    return reach[name.n];
}

/* --- what is asked for -------------------------------------------------------------------------
 */

enum {
    SELECT_SUBSCRIBED = 1 << 0,
    SELECT_RECURSIVE = 1 << 1,
    SELECT_SPECIAL = 1 << 2,
    SHOW_SUBSCRIBED = 1 << 0,
    SHOW_CHILDREN = 1 << 1,
    SHOW_SPECIAL = 1 << 2
};

unsigned imap_special_use(struct slice name) {
    for (size_t i = 0; i < COUNT_OF(attribute_names); i++)
        if (attribute_names[i].bit & IMAP_USES && slice_ieq(name, attribute_names[i].name))
            return attribute_names[i].bit;
    return 0;
}

bool imap_special_uses_are_known(struct slice words) {
    struct slice word;

    while (slice_word(&words, &word))
        if (!(imap_special_use(word) & STORED_USES)) return false;
    return true;
}

static bool refuse(struct imap_server *s, const char *why) {
    s->cur.why = why;
    return false;
}

/* "(SUBSCRIBED RECURSIVEMATCH) " before the reference (RFC 5258 3.1). */
static bool take_selection(struct imap_server *s) {
    struct list_state *l = &s->list;
    struct slice word;

    if (!imap_take(&s->cur, '(')) return true;
    l->is_extended = true;
    while (!imap_take(&s->cur, ')')) {
        if (!imap_take_word(&s->cur, &word)) return false;
        if (slice_ieq(word, S("SUBSCRIBED"))) l->select |= SELECT_SUBSCRIBED;
        else if (slice_ieq(word, S("RECURSIVEMATCH"))) l->select |= SELECT_RECURSIVE;
        else if (slice_ieq(word, S("SPECIAL-USE"))) l->select |= SELECT_SPECIAL;
        else if (!slice_ieq(word, S("REMOTE"))) return refuse(s, "Unknown selection option");
        imap_take_sp(&s->cur);
    }
    if (l->select == SELECT_RECURSIVE) return refuse(s, "RECURSIVEMATCH needs another option");
    return imap_take_sp(&s->cur);
}

static bool take_status_items(struct imap_server *s);

/* " RETURN (CHILDREN STATUS (MESSAGES))" at the end (RFC 5258, RFC 5819). */
static bool take_return(struct imap_server *s) {
    struct list_state *l = &s->list;
    struct slice word;

    if (!imap_take_sp(&s->cur)) return true;
    if (!imap_take_word(&s->cur, &word) || !slice_ieq(word, S("RETURN")) ||
        !imap_take_sp(&s->cur) || !imap_take(&s->cur, '('))
        return false;
    l->is_extended = true;
    while (!imap_take(&s->cur, ')')) {
        if (!imap_take_word(&s->cur, &word)) return false;
        if (slice_ieq(word, S("SUBSCRIBED"))) l->show |= SHOW_SUBSCRIBED;
        else if (slice_ieq(word, S("CHILDREN"))) l->show |= SHOW_CHILDREN;
        else if (slice_ieq(word, S("SPECIAL-USE"))) l->show |= SHOW_SPECIAL;
        else if (!slice_ieq(word, S("STATUS"))) return refuse(s, "Unknown return option");
        else if (!imap_take_sp(&s->cur) || !take_status_items(s)) return false;
        else l->wants_status = true;
        imap_take_sp(&s->cur);
    }
    return true;
}

/* A pattern in UTF-8 behind the reference: the wildcards are ASCII, so modified UTF-7 can be undone
 * around them. False: the name would be too long, nothing has it. */
static bool put_pattern(struct imap_server *s, struct slice reference, struct slice pattern) {
    struct list_state *l = &s->list;
    struct slice whole;
    struct buf b, d;

    buf_init(&b, 2 * IMAP_MAILBOX_NAME_MAX);
    buf_init(&d, 4 * IMAP_MAILBOX_NAME_MAX);
    buf_add(&b, reference);
    buf_add(&b, pattern);
    whole = buf_slice(&b);
    if (!b.bad && !(s->enabled & ON_UTF8) && utf7_get(&d, whole)) whole = buf_slice(&d);
    if (!b.bad) l->patterns[l->n_patterns] = arena_copy(&s->arena, whole);
    if (!b.bad && l->patterns[l->n_patterns].p) l->n_patterns++;
    buf_release(&b);
    buf_release(&d);
    return !b.bad;
}

static bool take_patterns(struct imap_server *s, struct slice reference, bool *is_empty) {
    struct list_state *l = &s->list;
    bool has_parens = imap_take(&s->cur, '(');
    struct slice pattern;

    l->patterns = arena_new(&s->arena, IMAP_PATTERNS_MAX * sizeof *l->patterns);
    if (!l->patterns) return refuse(s, "Out of memory");
    if (has_parens) l->is_extended = true;
    *is_empty = false;
    do {
        if (!imap_take_list_mailbox(&s->cur, &pattern)) return false;
        if (l->n_patterns == IMAP_PATTERNS_MAX) return refuse(s, "Too many patterns");
        *is_empty = !pattern.n;
        if (pattern.n) put_pattern(s, reference, pattern);
    } while (has_parens && imap_take_sp(&s->cur));
    return !has_parens || imap_take(&s->cur, ')');
}

void imap_cmd_list(struct imap_server *s, bool is_lsub) {
    struct list_state *l = &s->list;
    struct slice reference;
    bool is_empty;

    l->is_lsub = is_lsub;
    if (is_lsub) l->select = SELECT_SUBSCRIBED;
    if (!imap_take_sp(&s->cur) || (!is_lsub && !take_selection(s)) ||
        !imap_take_astring(&s->cur, &reference) || !imap_take_sp(&s->cur) ||
        !take_patterns(s, reference, &is_empty) || (!is_lsub && !take_return(s)) ||
        !imap_at_end(&s->cur)) {
        imap_finish_bad(s, s->cur.why);
        return;
    }
    if (is_empty && !is_lsub && !l->is_extended) { // RFC 3501 6.3.8: what is the delimiter?
        buf_add(&s->out, S("* LIST (\\Noselect) "));
        imap_put_nstring(&s->out, slice_of(&s->cfg.delimiter, 1));
        buf_add(&s->out, S(" \"\"\r\n"));
        imap_finish(s, "OK", S(""), S("List completed."));
        return;
    }
    if (!l->n_patterns) {
        imap_finish(s, "OK", S(""), S("No name is like that."));
        return;
    }
    if (l->wants_status && s->items & IMAP_STATUS_HIGHESTMODSEQ) imap_enable(s, ON_CONDSTORE);
    imap_ask(s, IMAP_EV_LIST);
}

/* --- the names ---------------------------------------------------------------------------------
 */

static bool add(struct imap_server *s, struct slice name, unsigned attributes, bool is_implied) {
    struct list_state *l = &s->list;

    if (l->n == l->cap) {
        size_t want = l->cap ? 2 * l->cap : 64;
        struct list_name *v =
            want > 2 * IMAP_MAILBOXES_MAX ? NULL : realloc(l->v, want * sizeof *v);
        if (!v) return false;
        l->v = v;
        l->cap = want;
    }
    name = arena_copy(&l->names, name);
    if (!name.p) return false;
    l->v[l->n++] = (struct list_name){name, attributes, is_implied};
    return true;
}

void imap_server_list_item(struct imap_server *s, struct slice name, unsigned attributes) {
    if (s->open != IMAP_EV_LIST || !name.n || name.n > IMAP_MAILBOX_NAME_MAX) return;
    if (s->list.n >= IMAP_MAILBOXES_MAX || !add(s, name, attributes, false)) s->list.is_full = true;
}

/* Names in order, INBOX first and a level directly before what is below it: the delimiter sorts as
 * the lowest byte. */
static int by_name(const void *a, const void *b, void *arg) {
    const struct list_name *x = a, *y = b;
    char delimiter = *(const char *)arg;
    size_t n = x->name.n < y->name.n ? x->name.n : y->name.n;
    size_t top_x = slice_chr(x->name, delimiter), top_y = slice_chr(y->name, delimiter);
    bool in_x = slice_eq(slice_first(x->name, top_x), S("INBOX"));
    bool in_y = slice_eq(slice_first(y->name, top_y), S("INBOX"));

    if (in_x != in_y) return in_x ? -1 : 1;
    for (size_t i = 0; i < n; i++) {
        int cx = x->name.p[i] == delimiter ? 0 : (unsigned char)x->name.p[i] + 1;
        int cy = y->name.p[i] == delimiter ? 0 : (unsigned char)y->name.p[i] + 1;
        if (cx != cy) return cx - cy;
    }
    if (x->name.n != y->name.n) return x->name.n < y->name.n ? -1 : 1;
    return x->is_implied - y->is_implied;
}

static bool is_below(struct slice name, struct slice top, char delimiter) {
    return name.n > top.n && slice_starts(name, top) && name.p[top.n] == delimiter;
}

static void sort(struct imap_server *s) {
    struct list_state *l = &s->list;
    size_t n = 0;

    if (l->n) qsort_r(l->v, l->n, sizeof *l->v, by_name, &s->cfg.delimiter);
    for (size_t i = 0; i < l->n; i++) { // one of each name, the real one before the implied
        if (n && slice_eq(l->v[n - 1].name, l->v[i].name)) continue;
        l->v[n++] = l->v[i];
    }
    l->n = n;
}

/* Levels above a mailbox that are no mailboxes: RFC 3501 6.3.8 wants them for "%". */
static void add_implied(struct imap_server *s) {
    struct list_state *l = &s->list;
    size_t n = l->n;

    for (size_t i = 0; i < n && !l->is_full; i++) {
        struct slice name = l->v[i].name, before = i ? l->v[i - 1].name : S("");

        for (size_t k = 1; k < name.n; k++) {
            struct slice top = slice_first(name, k);
            if (name.p[k] != s->cfg.delimiter) continue;
            if (slice_eq(before, top) || is_below(before, top, s->cfg.delimiter)) continue;
            if (!add(s, top, IMAP_NONEXISTENT, true)) l->is_full = true;
        }
    }
}

void imap_list_begin(struct imap_server *s) {
    struct list_state *l = &s->list;

    sort(s);
    add_implied(s);
    sort(s);
    l->at = 0;
    s->job = JOB_LIST;
}

static bool is_selected_by(const struct list_state *l, const struct list_name *m) {
    if (l->select & SELECT_SUBSCRIBED && !(m->attributes & IMAP_SUBSCRIBED)) return false;
    if (l->select & SELECT_SPECIAL && !(m->attributes & IMAP_USES)) return false;
    return l->select & SELECT_SUBSCRIBED || !(m->attributes & IMAP_NONEXISTENT) || m->is_implied;
}

static bool matches(const struct imap_server *s, struct slice name) {
    for (size_t i = 0; i < s->list.n_patterns; i++)
        if (imap_pattern_matches(s->list.patterns[i], name, s->cfg.delimiter)) return true;
    return false;
}

/* Is there a selected name below that no pattern shows (RFC 5258 3.5)? Those below follow it. */
static bool has_hidden_child(const struct imap_server *s, size_t i) {
    const struct list_state *l = &s->list;

    for (size_t k = i + 1; k < l->n && is_below(l->v[k].name, l->v[i].name, s->cfg.delimiter); k++)
        if (!l->v[k].is_implied && is_selected_by(l, &l->v[k]) && !matches(s, l->v[k].name))
            return true;
    return false;
}

static bool has_children(const struct imap_server *s, size_t i) {
    const struct list_state *l = &s->list;

    for (size_t k = i + 1; k < l->n && is_below(l->v[k].name, l->v[i].name, s->cfg.delimiter); k++)
        if (!(l->v[k].attributes & IMAP_NONEXISTENT)) return true;
    return false;
}

static void put_item(struct imap_server *s, size_t i, bool has_hidden) {
    struct list_state *l = &s->list;
    const struct list_name *m = &l->v[i];
    unsigned attributes = m->attributes;
    bool is_first = true;

    if (l->is_lsub) {
        if (!(attributes & IMAP_SUBSCRIBED)) attributes |= IMAP_NOSELECT; // RFC 3501 6.3.9
        attributes &= ~(unsigned)(IMAP_SUBSCRIBED | IMAP_USES | IMAP_NONEXISTENT);
    } else {
        bool has = has_children(s, i);

        if (!(attributes & IMAP_NOINFERIORS))
            attributes |= has ? IMAP_HAS_CHILDREN : IMAP_HAS_NO_CHILDREN;
        if (!l->is_extended && attributes & IMAP_NONEXISTENT)
            attributes ^= IMAP_NONEXISTENT | IMAP_NOSELECT;
        if (!(l->show & SHOW_SUBSCRIBED) && !(l->select & SELECT_SUBSCRIBED))
            attributes &= ~(unsigned)IMAP_SUBSCRIBED;
    }
    buf_add(&s->out, l->is_lsub ? S("* LSUB (") : S("* LIST ("));
    for (size_t k = 0; k < COUNT_OF(attribute_names); k++) {
        if (!(attributes & attribute_names[k].bit)) continue;
        if (!is_first) buf_addc(&s->out, ' ');
        buf_add(&s->out, attribute_names[k].name);
        is_first = false;
    }
    buf_add(&s->out, S(") "));
    imap_put_nstring(&s->out, slice_of(&s->cfg.delimiter, 1));
    buf_addc(&s->out, ' ');
    imap_put_mailbox(s, m->name);
    if (has_hidden) {
        bool is_both = (l->select & SELECT_SUBSCRIBED) && (l->select & SELECT_SPECIAL);

        buf_addf(&s->out, " (\"CHILDINFO\" (%s))",
                 is_both                         ? "\"SUBSCRIBED\" \"SPECIAL-USE\""
                 : l->select & SELECT_SUBSCRIBED ? "\"SUBSCRIBED\""
                                                 : "\"SPECIAL-USE\"");
    }
    buf_add(&s->out, S("\r\n"));
}

/* LIST and STATUS of one name; true when the host is asked for the latter. */
static bool list_one(struct imap_server *s, size_t i) {
    struct list_state *l = &s->list;
    const struct list_name *m = &l->v[i];
    bool has_hidden, is_in;

    if (!matches(s, m->name)) return false;
    has_hidden = l->select & SELECT_RECURSIVE && has_hidden_child(s, i);
    is_in = is_selected_by(l, m);
    if (l->is_lsub) is_in = is_in && !m->is_implied;
    else if (m->is_implied) is_in = !l->select && has_children(s, i);
    /* A level above a subscribed name: shown for that, where it is not shown itself. */
    if (l->is_lsub && !is_in) is_in = has_hidden_child(s, i);
    if (!is_in && !has_hidden) return false;
    put_item(s, i, has_hidden);
    if (!l->wants_status || m->is_implied || m->attributes & (IMAP_NOSELECT | IMAP_NONEXISTENT))
        return false;
    s->mailbox = m->name;
    {
        struct imap_event *ev = imap_ask(s, IMAP_EV_STATUS);

        ev->mailbox = m->name;
        ev->items = s->items;
    }
    return true;
}

bool imap_list_run(struct imap_server *s) {
    struct list_state *l = &s->list;

    while (l->at < l->n) {
        if (!imap_out_has_room(s)) return false;
        if (list_one(s, l->at++)) return false;
    }
    if (l->is_full) imap_finish(s, "NO", S("LIMIT"), S("There are more mailboxes."));
    else imap_finish(s, "OK", S(""), l->is_lsub ? S("Lsub completed.") : S("List completed."));
    return true;
}

/* --- STATUS ------------------------------------------------------------------------------------
 */

static const struct {
    unsigned bit;
    struct slice name;
} status_items[] = {
    {IMAP_STATUS_MESSAGES, S_INIT("MESSAGES")},
    {IMAP_STATUS_RECENT, S_INIT("RECENT")},
    {IMAP_STATUS_UIDNEXT, S_INIT("UIDNEXT")},
    {IMAP_STATUS_UIDVALIDITY, S_INIT("UIDVALIDITY")},
    {IMAP_STATUS_UNSEEN, S_INIT("UNSEEN")},
    {IMAP_STATUS_SIZE, S_INIT("SIZE")},
    {IMAP_STATUS_HIGHESTMODSEQ, S_INIT("HIGHESTMODSEQ")},
    {IMAP_STATUS_DELETED, S_INIT("DELETED")},
    {IMAP_STATUS_APPENDLIMIT, S_INIT("APPENDLIMIT")},
    {IMAP_STATUS_DELETED_STORAGE, S_INIT("DELETED-STORAGE")},
    {IMAP_STATUS_MAILBOXID, S_INIT("MAILBOXID")},
};

static bool take_status_items(struct imap_server *s) {
    struct slice word;

    s->items = 0;
    if (!imap_take(&s->cur, '(')) return false;
    do {
        unsigned bit = 0;

        if (!imap_take_word(&s->cur, &word)) return false;
        for (size_t i = 0; i < COUNT_OF(status_items); i++) {
            if (slice_ieq(word, status_items[i].name)) bit = status_items[i].bit;
        }
        if (!bit) {
            s->cur.why = "Unknown status item";
            return false;
        }
        s->items |= bit;
    } while (imap_take_sp(&s->cur));
    return imap_take(&s->cur, ')');
}

void imap_cmd_status(struct imap_server *s) {
    struct imap_event *ev;

    if (!imap_take_sp(&s->cur) || !imap_take_mailbox(s, &s->mailbox) || !imap_take_sp(&s->cur) ||
        !take_status_items(s) || !imap_at_end(&s->cur)) {
        imap_finish_bad(s, s->cur.why);
        return;
    }
    if (s->items & IMAP_STATUS_HIGHESTMODSEQ) imap_enable(s, ON_CONDSTORE);
    ev = imap_ask(s, IMAP_EV_STATUS);
    ev->mailbox = s->mailbox;
    ev->items = s->items;
}

void imap_server_status(struct imap_server *s, const struct imap_status *st) {
    const uint64_t v[] = {st->messages,       st->recent,  st->uidnext,
                          st->uidvalidity,    st->unseen,  st->size_bytes,
                          st->highest_modseq, st->deleted, s->cfg.message_size_max,
                          st->deleted_bytes};
    bool is_first = true;

    if (s->open != IMAP_EV_STATUS) return;
    s->open = IMAP_EV_NONE;
    buf_add(&s->out, S("* STATUS "));
    imap_put_mailbox(s, s->mailbox);
    buf_add(&s->out, S(" ("));
    for (size_t i = 0; i < COUNT_OF(status_items); i++) {
        if (!(s->items & status_items[i].bit)) continue;
        if (status_items[i].bit == IMAP_STATUS_MAILBOXID) {
            buf_addf(&s->out, is_first ? "MAILBOXID (%.*s)" : " MAILBOXID (%.*s)",
                     SP(st->mailboxid));
            is_first = false;
            continue;
        }
        buf_addf(&s->out, is_first ? "%.*s %llu" : " %.*s %llu", SP(status_items[i].name),
                 (unsigned long long)v[i]);
        is_first = false;
    }
    buf_add(&s->out, S(")\r\n"));
    if (s->job == JOB_LIST) return; /* of LIST: the next name */
    imap_finish(s, "OK", S(""), S("Status completed."));
}
