#include <stdlib.h>

#include "base/ascii.h"
#include "base/attr.h"
#include "base/utf7.h"
#include "imap/server_impl.h"

static const struct {
    unsigned bit;
    struct slice name;
} attribute_names[] = {
    {IMAP_NOSELECT, S_INIT("\\Noselect")},
    {IMAP_NOINFERIORS, S_INIT("\\Noinferiors")},
    {IMAP_MARKED, S_INIT("\\Marked")},
    {IMAP_UNMARKED, S_INIT("\\Unmarked")},
    {IMAP_HAS_CHILDREN, S_INIT("\\HasChildren")},
    {IMAP_HAS_NO_CHILDREN, S_INIT("\\HasNoChildren")},
    {IMAP_USE_ALL, S_INIT("\\All")},
    {IMAP_USE_ARCHIVE, S_INIT("\\Archive")},
    {IMAP_USE_DRAFTS, S_INIT("\\Drafts")},
    {IMAP_USE_FLAGGED, S_INIT("\\Flagged")},
    {IMAP_USE_JUNK, S_INIT("\\Junk")},
    {IMAP_USE_SENT, S_INIT("\\Sent")},
    {IMAP_USE_TRASH, S_INIT("\\Trash")},
};

void imap_put_mailbox(struct buf *out, struct slice utf8) {
    struct buf b;

    buf_init(&b, 4 * IMAP_MAILBOX_NAME_MAX);
    if (!utf7_put(&b, utf8)) buf_reset(&b); // the host's name is not UTF-8
    imap_put_astring(out, buf_slice(&b));
    buf_release(&b);
}

void imap_list_clear(struct imap_server *s) {
    free(s->list.v);
    s->list.v = NULL;
    s->list.n = s->list.cap = s->list.at = 0;
    s->list.is_full = false;
    arena_release(&s->list.names);
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

void imap_cmd_list(struct imap_server *s, bool is_lsub) {
    struct slice reference, pattern, utf8;
    struct buf b;

    if (!imap_take_sp(&s->cur) || !imap_take_astring(&s->cur, &reference) ||
        !imap_take_sp(&s->cur) || !imap_take_list_mailbox(&s->cur, &pattern) ||
        !imap_at_end(&s->cur)) {
        imap_finish_bad(s, s->cur.why);
        return;
    }
    if (!pattern.n && !is_lsub) { // RFC 3501 6.3.8: what is the delimiter?
        buf_add(&s->out, S("* LIST (\\Noselect) "));
        imap_put_nstring(&s->out, slice_of(&s->cfg.delimiter, 1));
        buf_add(&s->out, S(" \"\"\r\n"));
        imap_finish(s, "OK", S(""), S("List completed."));
        return;
    }
    buf_init(&b, 2 * IMAP_MAILBOX_NAME_MAX);
    buf_add(&b, reference);
    buf_add(&b, pattern);
    utf8 = arena_copy(&s->arena, buf_slice(&b));
    if (!b.bad) { // the wildcards are ASCII, so modified UTF-7 can be undone around them
        struct buf d;
        buf_init(&d, 4 * IMAP_MAILBOX_NAME_MAX);
        if (utf7_get(&d, utf8)) utf8 = arena_copy(&s->arena, buf_slice(&d));
        buf_release(&d);
    }
    buf_release(&b);
    if (b.bad) {
        imap_finish(s, "OK", S(""), S("No name is that long."));
        return;
    }
    s->list.pattern = utf8;
    s->list.is_lsub = is_lsub;
    imap_ask(s, IMAP_EV_LIST)->is_subscribed_only = is_lsub;
}

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
            if (!add(s, top, IMAP_NOSELECT, true)) l->is_full = true;
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

static void put_item(struct imap_server *s, size_t i) {
    struct list_state *l = &s->list;
    const struct list_name *m = &l->v[i];
    unsigned attributes = m->attributes;
    bool is_first = true;

    if (!l->is_lsub) {
        bool has = i + 1 < l->n && is_below(l->v[i + 1].name, m->name, s->cfg.delimiter);
        attributes &= ~(unsigned)(IMAP_HAS_CHILDREN | IMAP_HAS_NO_CHILDREN);
        if (!(attributes & IMAP_NOINFERIORS)) {
            attributes |= has ? IMAP_HAS_CHILDREN : IMAP_HAS_NO_CHILDREN;
        }
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
    imap_put_mailbox(&s->out, m->name);
    buf_add(&s->out, S("\r\n"));
}

bool imap_list_run(struct imap_server *s) {
    struct list_state *l = &s->list;

    for (; l->at < l->n; l->at++) {
        const struct list_name *m = &l->v[l->at];

        if (!imap_out_has_room(s)) return false;
        if (!imap_pattern_matches(l->pattern, m->name, s->cfg.delimiter)) continue;
        if (m->is_implied && slice_chr(l->pattern, '%') == SLICE_NONE && l->is_lsub) continue;
        put_item(s, l->at);
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
};

static bool take_items(struct imap_server *s) {
    struct slice word;

    s->items = 0;
    if (!imap_take_sp(&s->cur) || !imap_take(&s->cur, '(')) return false;
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
    return imap_take(&s->cur, ')') && imap_at_end(&s->cur);
}

void imap_cmd_status(struct imap_server *s) {
    struct imap_event *ev;

    if (!imap_take_sp(&s->cur) || !imap_take_mailbox(s, &s->mailbox) || !take_items(s)) {
        imap_finish_bad(s, s->cur.why);
        return;
    }
    if (s->items & IMAP_STATUS_HIGHESTMODSEQ) imap_enable(s, ON_CONDSTORE);
    ev = imap_ask(s, IMAP_EV_STATUS);
    ev->mailbox = s->mailbox;
    ev->items = s->items;
}

void imap_server_status(struct imap_server *s, const struct imap_status *st) {
    const uint64_t v[] = {st->messages, st->recent,     st->uidnext,       st->uidvalidity,
                          st->unseen,   st->size_bytes, st->highest_modseq};
    bool is_first = true;

    if (s->open != IMAP_EV_STATUS) return;
    s->open = IMAP_EV_NONE;
    buf_add(&s->out, S("* STATUS "));
    imap_put_mailbox(&s->out, s->mailbox);
    buf_add(&s->out, S(" ("));
    for (size_t i = 0; i < COUNT_OF(status_items); i++) {
        if (!(s->items & status_items[i].bit)) continue;
        buf_addf(&s->out, is_first ? "%.*s %llu" : " %.*s %llu", SP(status_items[i].name),
                 (unsigned long long)v[i]);
        is_first = false;
    }
    buf_add(&s->out, S(")\r\n"));
    imap_finish(s, "OK", S(""), S("Status completed."));
}
