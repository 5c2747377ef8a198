#include "imap/server_impl.h"

/* NOTIFY (RFC 5465): what is told without being asked, of the selected mailbox and of others. The
 * host tells of all that happens in the account; what the client wants of it is chosen here. */

enum { GROUPS_MAX = 32, GROUP_MAILBOXES_MAX = 1000, NOTIFY_BYTES_MAX = 1024 * 1024 };

enum filter {
    FILTER_SELECTED,
    FILTER_SELECTED_DELAYED,
    FILTER_INBOXES,
    FILTER_PERSONAL,
    FILTER_SUBSCRIBED,
    FILTER_SUBTREE,
    FILTER_MAILBOXES
};

enum {
    ON_NEW = 1 << 0,
    ON_EXPUNGE = 1 << 1,
    ON_FLAGS = 1 << 2,
    ON_NAME = 1 << 3,
    ON_SUBSCRIPTION = 1 << 4
};

struct notify_group {
    enum filter filter;
    unsigned events;
    struct slice *names;
    size_t n_names;
};

static bool refuse(struct imap_server *s, const char *why) {
    s->cur.why = why;
    return false;
}

void imap_notify_clear(struct imap_server *s) {
    arena_release(&s->notify.arena);
    s->notify = (struct notify_state){0};
}

/* --- parse -------------------------------------------------------------------------------------
 */

static bool take_names(struct imap_server *s, struct notify_group *g) {
    bool has_parens = imap_take(&s->cur, '(');
    struct slice name;

    g->names = arena_new(&s->notify.arena, GROUP_MAILBOXES_MAX * sizeof *g->names);
    if (!g->names) return refuse(s, "Out of memory");
    do {
        if (g->n_names == GROUP_MAILBOXES_MAX) return refuse(s, "Too many mailboxes");
        if (!imap_take_mailbox(s, &name)) return false;
        g->names[g->n_names++] = arena_copy(&s->notify.arena, name);
    } while (has_parens && imap_take_sp(&s->cur));
    return !has_parens || imap_take(&s->cur, ')');
}

static bool take_filter(struct imap_server *s, struct notify_group *g) {
    static const struct slice names[] = {
        S_INIT("selected"),   S_INIT("selected-delayed"), S_INIT("inboxes"),  S_INIT("personal"),
        S_INIT("subscribed"), S_INIT("subtree"),          S_INIT("mailboxes")};
    struct slice word;

    if (!imap_take_word(&s->cur, &word)) return false;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (!slice_ieq(word, names[i])) continue;
        g->filter = (enum filter)i;
        return g->filter < FILTER_SUBTREE || (imap_take_sp(&s->cur) && take_names(s, g));
    }
    return refuse(s, "Unknown filter of NOTIFY");
}

static bool take_events(struct imap_server *s, struct notify_group *g, bool *is_bad_event) {
    static const struct {
        struct slice name;
        unsigned bit;
    } events[] = {
        {S_INIT("MessageNew"), ON_NEW},
        {S_INIT("MessageExpunge"), ON_EXPUNGE},
        {S_INIT("FlagChange"), ON_FLAGS},
        {S_INIT("MailboxName"), ON_NAME},
        {S_INIT("SubscriptionChange"), ON_SUBSCRIPTION},
    };
    struct slice word;

    if (!imap_take(&s->cur, '('))
        return imap_take_word(&s->cur, &word) && slice_ieq(word, S("NONE"));
    do {
        unsigned bit = 0;

        if (!imap_take_word(&s->cur, &word)) return false;
        for (size_t i = 0; i < COUNT_OF(events); i++)
            if (slice_ieq(word, events[i].name)) bit = events[i].bit;
        *is_bad_event |= !bit;
        g->events |= bit;
        if (bit != ON_NEW || !s->cur.in.n || !slice_starts(s->cur.in, S(" ("))) continue;
        imap_take_sp(&s->cur);
        if (g->filter > FILTER_SELECTED_DELAYED) return refuse(s, "Only selected has items");
        if (!imap_notify_items(s)) return false;
    } while (imap_take_sp(&s->cur));
    /* RFC 5465 5: both or none; flags only with them. */
    if (!(g->events & ON_NEW) != !(g->events & ON_EXPUNGE) ||
        (g->events & ON_FLAGS && !(g->events & ON_NEW)))
        return refuse(s, "MessageNew, MessageExpunge and FlagChange belong together");
    return imap_take(&s->cur, ')');
}

static bool take_groups(struct imap_server *s, bool *is_bad_event) {
    struct notify_state *n = &s->notify;

    n->groups = arena_new(&n->arena, GROUPS_MAX * sizeof *n->groups);
    if (!n->groups) return refuse(s, "Out of memory");
    do {
        struct notify_group *g = &n->groups[n->n_groups];

        if (n->n_groups == GROUPS_MAX) return refuse(s, "Too many groups");
        if (!imap_take(&s->cur, '(') || !take_filter(s, g) || !imap_take_sp(&s->cur) ||
            !take_events(s, g, is_bad_event) || !imap_take(&s->cur, ')'))
            return false;
        n->n_groups++;
    } while (imap_take_sp(&s->cur));
    return imap_at_end(&s->cur);
}

void imap_cmd_notify(struct imap_server *s) {
    struct notify_state *n = &s->notify;
    struct imap_cursor save;
    struct imap_event *ev;
    struct slice word;
    bool is_bad_event = false;

    imap_notify_clear(s);
    arena_init(&n->arena, NOTIFY_BYTES_MAX);
    if (!imap_take_sp(&s->cur) || !imap_take_word(&s->cur, &word)) goto bad;
    if (slice_ieq(word, S("NONE"))) {
        if (!imap_at_end(&s->cur)) goto bad;
        imap_ask(s, IMAP_EV_NOTIFY)->is_on = false;
        return;
    }
    if (!slice_ieq(word, S("SET")) || !imap_take_sp(&s->cur)) goto bad;
    save = s->cur;
    if (imap_take_word(&s->cur, &word) && slice_ieq(word, S("STATUS"))) {
        n->wants_status = true;
        if (!imap_take_sp(&s->cur)) goto bad;
    } else {
        s->cur = save;
    }
    if (!take_groups(s, &is_bad_event)) goto bad;
    if (is_bad_event) {
        imap_notify_clear(s);
        imap_finish(s, "NO",
                    S("BADEVENT (MessageNew MessageExpunge FlagChange MailboxName"
                      " SubscriptionChange)"),
                    S("Something else cannot be told."));
        return;
    }
    for (size_t i = 0; i < n->n_groups; i++) {
        if (n->groups[i].filter > FILTER_SELECTED_DELAYED || !n->groups[i].events) continue;
        n->is_live = true;
        n->is_delayed = n->groups[i].filter == FILTER_SELECTED_DELAYED;
    }
    ev = imap_ask(s, IMAP_EV_NOTIFY);
    ev->is_on = true;
    ev->is_next = n->wants_status;
    return;
bad:
    imap_notify_clear(s);
    imap_finish_bad(s, s->cur.why);
}

/* --- choose and tell ---------------------------------------------------------------------------
 */

static bool matches(const struct imap_server *s, const struct notify_group *g, struct slice name,
                    bool is_subscribed) {
    switch (g->filter) {
    case FILTER_SELECTED:
    case FILTER_SELECTED_DELAYED: return false;
    case FILTER_INBOXES: return slice_eq(name, S("INBOX"));
    case FILTER_PERSONAL: return true;
    case FILTER_SUBSCRIBED: return is_subscribed;
    case FILTER_SUBTREE:
    case FILTER_MAILBOXES: break;
    }
    for (size_t i = 0; i < g->n_names; i++) {
        struct slice top = g->names[i];

        if (slice_eq(name, top)) return true;
        if (g->filter == FILTER_SUBTREE && name.n > top.n && slice_starts(name, top) &&
            name.p[top.n] == s->cfg.delimiter)
            return true;
    }
    return false;
}

/* The events that are wanted of a mailbox: of the first group that has it (RFC 5465 3.1). */
static unsigned wanted(const struct imap_server *s, struct slice name, bool is_subscribed) {
    for (size_t i = 0; i < s->notify.n_groups; i++)
        if (matches(s, &s->notify.groups[i], name, is_subscribed))
            return s->notify.groups[i].events;
    return 0;
}

bool imap_server_may_notice(const struct imap_server *s) {
    return (s->mode == MODE_COMMAND || s->mode == MODE_IDLE) && s->job == JOB_NONE && !s->open &&
           imap_out_has_room(s);
}

void imap_server_notice_status(struct imap_server *s, struct slice name, bool is_subscribed,
                               const struct imap_status *st, bool is_flags_only) {
    unsigned want = wanted(s, name, is_subscribed);
    bool is_first = s->open == IMAP_EV_NOTIFY;

    if (!(want & (is_flags_only ? ON_FLAGS : ON_NEW)) || (is_first && !s->notify.wants_status))
        return;
    buf_add(&s->out, S("* STATUS "));
    imap_put_mailbox(s, name);
    buf_addf(&s->out, " (MESSAGES %u UIDNEXT %u UIDVALIDITY %u UNSEEN %u", st->messages,
             st->uidnext, st->uidvalidity, st->unseen);
    if (s->enabled & ON_CONDSTORE || want & ON_FLAGS) // RFC 5465 5.3
        buf_addf(&s->out, " HIGHESTMODSEQ %llu", (unsigned long long)st->highest_modseq);
    buf_add(&s->out, S(")\r\n"));
}

static void tell_list(struct imap_server *s, struct slice name, struct slice attribute,
                      struct slice old_name) {
    buf_addf(&s->out, "* LIST (%.*s) ", SP(attribute));
    imap_put_nstring(&s->out, slice_of(&s->cfg.delimiter, 1));
    buf_addc(&s->out, ' ');
    imap_put_mailbox(s, name);
    if (old_name.n) {
        buf_add(&s->out, S(" (\"OLDNAME\" ("));
        imap_put_mailbox(s, old_name);
        buf_add(&s->out, S("))"));
    }
    buf_add(&s->out, S("\r\n"));
}

void imap_server_notice_name(struct imap_server *s, struct slice name, bool is_subscribed,
                             bool is_gone) {
    if (wanted(s, name, is_subscribed) & ON_NAME)
        tell_list(s, name, is_gone ? S("\\NonExistent") : S(""), S(""));
}

void imap_server_notice_renamed(struct imap_server *s, struct slice name, struct slice old_name,
                                bool is_subscribed) {
    bool wants_new = wanted(s, name, is_subscribed) & ON_NAME;
    bool wants_old = wanted(s, old_name, is_subscribed) & ON_NAME;

    if (wants_new || wants_old) tell_list(s, name, S(""), old_name);
}

void imap_server_notice_subscription(struct imap_server *s, struct slice name, bool is_subscribed) {
    /* One that is not subscribed to any more was, until now. */
    if (wanted(s, name, true) & ON_SUBSCRIPTION)
        tell_list(s, name, is_subscribed ? S("\\Subscribed") : S(""), S(""));
}
