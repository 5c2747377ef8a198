/* imap_host: answers the IMAP engine from the store: the login, the mailboxes, the selected mailbox
 * and what changes in it, the messages. RFC 3501 and the extensions that imap/server.h names.
 *
 * What changed is told by difference: every mailbox_sync is followed by pushes, and every change of
 * our own is pushed before its answer, so that the engine's view and the store's snapshot hold the
 * same messages at all times, except those that the client may not be told of yet. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "serve/imap_host_impl.h"
#include "store/quota.h"
#include "store/signature.h"
#include "sys/clock.h"

enum {
    NEEDS_A_LOOK = 16,    /* messages between two looks at the clock */
    CHANGES_MAX = 32,     /* rounds of looking for a change that made another one */
    RIGHTS_AGE_MS = 1000, /* in a mailbox of somebody else */
    BLIND_POLL_MS = 10000 /* IDLE without inotify: look this often, when something wakes us */
};

_Static_assert(STORE_SEEN == IMAP_SEEN && STORE_ANSWERED == IMAP_ANSWERED &&
                   STORE_FLAGGED == IMAP_FLAGGED && STORE_DELETED == IMAP_DELETED &&
                   STORE_DRAFT == IMAP_DRAFT && STORE_RECENT == IMAP_RECENT,
               "system flags are the same bits");
_Static_assert((int)STORE_USE_ARCHIVE == IMAP_USE_ARCHIVE &&
                   (int)STORE_USE_DRAFTS == IMAP_USE_DRAFTS &&
                   (int)STORE_USE_JUNK == IMAP_USE_JUNK && (int)STORE_USE_SENT == IMAP_USE_SENT &&
                   (int)STORE_USE_TRASH == IMAP_USE_TRASH,
               "special uses are the same bits");
_Static_assert(STORE_SIZE_UNKNOWN == IMAP_SIZE_UNKNOWN, "an unknown size is the same");

static struct slice peer_name(const struct session *s, char out[ADDR_TEXT_MAX]) {
    return slice_str(s->peer.len ? addr_host(&s->peer, out) : "local");
}

void imap_host_refuse(struct imap_host *h, const struct err *e, struct slice missing) {
    struct slice code = S("UNAVAILABLE"), why = slice_str(e->msg);
    /* Where the mail is kept is no client's business. */
    bool has_path = e->sys != 0 && slice_chr(why, '/') != SLICE_NONE;

    switch (e->code) {
    case ERR_NOT_FOUND: code = missing; break;
    case ERR_EXISTS: code = S("ALREADYEXISTS"); break;
    case ERR_SYNTAX:
    case ERR_UNSUPPORTED: code = S("CANNOT"); break;
    case ERR_DENIED: code = S("NOPERM"); break;
    case ERR_LIMIT: code = S("LIMIT"); break;
    case ERR_BUSY: code = S("INUSE"); break;
    case ERR_FULL:
        if (e->sys == EDQUOT) code = S("OVERQUOTA");
        break;
    case ERR_BUG: code = S("SERVERBUG"); break;
    default: break;
    }
    if (has_path || e->code == ERR_IO || (e->code == ERR_FULL && e->sys != EDQUOT) ||
        e->code == ERR_MEMORY)
        log_event(h->session->server->log, LEVEL_ERROR, "mail store", "user",
                  imap_server_user(h->engine), "why", slice_str(e->msg), NULL);
    imap_server_no(h->engine, code, has_path ? S("The mail store cannot do that now.") : why);
}

/* --- the selected mailbox --------------------------------------------------------------------- */

static void end_append(struct imap_host *h) {
    store_append_abort(h->append);
    h->append = NULL;
    share_leave(&h->append_to);
}

static void close_box(struct imap_host *h) {
    if (!h->survey) h->session->watch = -1; /* it belongs to the mailbox */
    imap_text_done(&h->text);
    imap_text_rest(&h->text);
    end_append(h); /* it may be borrowing the handle */
    mailbox_leave(h->box);
    h->box = NULL;
    store_close(h->guest);
    h->guest = NULL;
    free(h->name);
    h->name = NULL;
}

/* Keywords of this mailbox that came since: make them known to the session. */
static void learn_keywords(struct imap_host *h) {
    const char *const *names;
    size_t n = mailbox_keywords(h->box, &names);

    for (size_t i = 0; i < n && i < STORE_KEYWORDS_MAX; i++)
        if (!h->to_imap[i] && names[i])
            h->to_imap[i] =
                imap_keyword_bit(imap_server_keywords(h->engine), slice_str(names[i]), true);
}

static uint64_t flags_to_imap(const struct imap_host *h, uint64_t flags) {
    uint64_t out = flags & (IMAP_SYSTEM_FLAGS | IMAP_RECENT | IMAP_PASSED);

    if (flags >> STORE_KEYWORD_FIRST == 0) return out;
    for (size_t i = 0; i < STORE_KEYWORDS_MAX; i++)
        if (flags >> (STORE_KEYWORD_FIRST + i) & 1) out |= h->to_imap[i];
    return out;
}

/* ERR_LIMIT: the mailbox has no room for another keyword. */
static enum err_code flags_to_store(struct imap_host *h, uint64_t flags, bool may_add,
                                    uint64_t *out, struct err *e) {
    const struct imap_keywords *k = imap_server_keywords(h->engine);

    *out = flags & IMAP_SYSTEM_FLAGS;
    for (unsigned i = 0; i < k->n; i++) {
        enum err_code code;
        uint64_t bit;

        if (!(flags >> (IMAP_KEYWORD_FIRST + i) & 1)) continue;
        code = mailbox_keyword_bit(h->box, slice_str(k->name[i]), may_add, &bit, e);
        if (code != OK) return code;
        if (!bit && may_add)
            return err_set(e, ERR_LIMIT, "this mailbox can have %d keywords and has them",
                           STORE_KEYWORDS_MAX);
        *out |= bit;
    }
    if (may_add) learn_keywords(h);
    return OK;
}

static struct imap_msg message_to_imap(const struct imap_host *h, const struct imap_msg *m) {
    struct imap_msg msg = *m;

    msg.flags = flags_to_imap(h, m->flags);
    return msg;
}

/* The mailbox was deleted, renamed or replaced by somebody: what the client saw is gone. */
static void lose_box(struct imap_host *h) {
    const struct imap_msg *view;
    size_t n = imap_server_view(h->engine, &view);
    uint32_t *uids = calloc(n + 1, sizeof *uids);

    if (!uids) {
        imap_server_bye(h->engine, S("The mailbox was removed."));
    } else {
        for (size_t i = 0; i < n; i++) uids[i] = view[i].uid;
        for (size_t i = 0; i < n; i++) imap_server_push_expunged(h->engine, uids[i]);
        free(uids);
    }
    close_box(h);
}

/* Push what a sync found. */
static void tell(struct imap_host *h, const struct mailbox_changes *ch) {
    const struct imap_msg *v, *m;
    size_t n;

    learn_keywords(h);
    for (size_t i = 0; i < ch->n_expunged; i++)
        imap_server_push_expunged(h->engine, ch->expunged[i]);
    for (size_t i = 0; i < ch->n_flags; i++)
        if ((m = mailbox_find(h->box, ch->flags[i])))
            imap_server_push_flags(h->engine, m->uid, flags_to_imap(h, m->flags), m->modseq);
    v = mailbox_messages(h->box, &n);
    for (size_t i = ch->first_new; i < n; i++) {
        struct imap_msg msg = message_to_imap(h, &v[i]);

        imap_server_push_new(h->engine, &msg);
    }
    imap_server_push_modseq(h->engine, mailbox_highest_modseq(h->box));
}

/* In a mailbox of somebody else: may this user still read it, and what else? What was taken from
 * him while he has it selected is gone for him (RFC 4314 5.1.1 leaves the moment to us: the next
 * look, or RIGHTS_AGE_MS in a session that never lets us look). */
static void check_rights(struct imap_host *h) {
    struct place p;
    struct err e = {0};
    enum err_code code;

    if (!h->guest || !h->box) return;
    code = share_find(&h->share, slice_str(h->name), ACL_READ, false, &p, &e);
    if (code == OK) {
        h->rights = p.rights;
        share_leave(&p);
    } else if (code == ERR_DENIED || code == ERR_NOT_FOUND) {
        lose_box(h);
    }
}

/* Look what is new and tell the engine. */
static enum err_code look(struct imap_host *h, struct err *e) {
    struct mailbox_changes ch;
    enum err_code code;

    check_rights(h);
    if (!h->box) return OK;
    code = mailbox_sync(h->box, &ch, e);
    if (code == ERR_NOT_FOUND) {
        lose_box(h);
        return OK;
    }
    if (code != OK) return code;
    tell(h, &ch);
    return OK;
}

static bool is_selected(const struct imap_host *h, struct slice name) {
    return h->box && h->name && slice_eq(name, slice_str(h->name));
}

/* No two mailboxes of an account ever have the same UIDVALIDITY, and a renamed one keeps its own.
 */
struct slice imap_host_mailboxid(uint32_t uidvalidity, char out[MAILBOXID_MAX]) {
    snprintf(out, MAILBOXID_MAX, "F%08x", uidvalidity);
    return slice_str(out);
}

/* The flags that the rights do not let change. */
static uint64_t fixed_flags(unsigned rights) {
    uint64_t fixed = 0;

    if (!(rights & ACL_SEEN)) fixed |= IMAP_SEEN;
    if (!(rights & ACL_DELETED)) fixed |= IMAP_DELETED;
    if (!(rights & ACL_WRITE)) fixed |= ~(uint64_t)(IMAP_SEEN | IMAP_DELETED);
    return fixed;
}

static void on_select(struct imap_host *h, const struct imap_event *ev) {
    struct imap_mailbox_info info = {.is_read_only = ev->is_read_only};
    char id[MAILBOXID_MAX];
    struct place p;
    struct err e = {0};

    close_box(h);
    if (share_find(&h->share, ev->mailbox, ACL_READ, false, &p, &e) != OK) {
        imap_host_refuse(h, &e, S("NONEXISTENT"));
        return;
    }
    if (!(p.rights & ACL_CHANGES)) info.is_read_only = true;
    if (mailbox_open(p.store, p.name, info.is_read_only ? MAILBOX_READ : MAILBOX_WRITE, &h->box,
                     &e) != OK) {
        h->box = NULL;
        share_leave(&p);
        imap_host_refuse(h, &e, S("NONEXISTENT"));
        return;
    }
    h->guest = p.is_own ? NULL : p.store;
    h->rights = p.rights;
    info.no_permanent = fixed_flags(h->rights);
    info.rows = mailbox_rows(h->box);
    info.n_keywords = mailbox_keywords(h->box, &info.keywords);
    info.uidvalidity = mailbox_uidvalidity(h->box);
    info.uidnext = mailbox_uidnext(h->box);
    info.mailboxid = imap_host_mailboxid(info.uidvalidity, id);
    info.highest_modseq = mailbox_highest_modseq(h->box);
    info.no_new_keywords = info.n_keywords >= STORE_KEYWORDS_MAX || !(h->rights & ACL_WRITE);
    h->name = strndup(ev->mailbox.p, ev->mailbox.n);
    imap_server_selected(h->engine, &info);
    /* The session's table begins as the mailbox' own. */
    memset(h->to_imap, 0, sizeof h->to_imap);
    learn_keywords(h);
}

static void on_poll(struct imap_host *h) {
    struct err e = {0};

    if (look(h, &e) == OK) imap_server_ok(h->engine);
    else imap_host_refuse(h, &e, S("NONEXISTENT"));
}

static void on_idle(struct imap_host *h, bool is_on, mono_t now) {
    h->is_idle = is_on;
    if (h->survey) { /* NOTIFY watches it too */
        if (is_on) look(h, NULL);
        return;
    }
    h->session->watch = -1;
    if (!is_on || !h->box) return;
    h->session->watch = mailbox_watch(h->box);
    /* What came between the look that began IDLE and the watch would not wake us. */
    look(h, NULL);
    h->looked_at = now;
    if (h->box) mailbox_rest(h->box);
}

/* The session was run while it idles: did the mailbox wake it? */
static void look_while_idle(struct imap_host *h, mono_t now) {
    for (int i = 0; h->is_idle && h->box && i < CHANGES_MAX; i++) {
        struct pollfd p = {.fd = h->session->watch, .events = POLLIN};

        if (p.fd >= 0 ? poll(&p, 1, 0) <= 0 : now < h->looked_at + BLIND_POLL_MS) return;
        h->looked_at = now;
        if (look(h, NULL) != OK) return; /* busy: the next change or NOOP tells it */
        if (h->box) mailbox_rest(h->box);
    }
}

/* --- NOTIFY ----------------------------------------------------------------------------------- */

static struct imap_status status_of(const struct mailbox_status *st) {
    return (struct imap_status){.messages = st->messages,
                                .recent = st->recent,
                                .uidnext = st->uidnext,
                                .uidvalidity = st->uidvalidity,
                                .unseen = st->unseen,
                                .highest_modseq = st->highest_modseq,
                                .deleted = st->deleted};
}

static bool is_subscribed(struct imap_host *h, struct slice name) {
    struct store_names l;
    bool is = false;

    if (store_list(h->store, &l, NULL) != OK) return false;
    for (size_t i = 0; i < l.n; i++)
        is |= l.v[i].is_subscribed && slice_eq(slice_str(l.v[i].name), name);
    store_names_release(&l);
    return is;
}

static void end_survey(struct imap_host *h) {
    h->session->watch = -1;
    survey_free(h->survey);
    h->survey = NULL;
}

/* What happened in the account; the selected mailbox is told of by its own view. */
static void look_around(struct imap_host *h) {
    struct survey_event ev;

    if (!h->survey || !imap_server_may_notice(h->engine)) return;
    while (imap_server_may_notice(h->engine) && survey_next(h->survey, &ev)) {
        struct imap_status st = status_of(&ev.status);
        bool is_in;

        if (ev.kind == SURVEY_SUBSCRIPTION) {
            imap_server_notice_subscription(h->engine, ev.name, ev.is_subscribed);
            continue;
        }
        if (is_selected(h, ev.name)) {
            look(h, NULL);
            continue;
        }
        is_in = is_subscribed(h, ev.name);
        if (ev.kind == SURVEY_STATUS)
            imap_server_notice_status(h->engine, ev.name, is_in, &st, ev.is_flags_only);
        else if (ev.kind == SURVEY_RENAMED)
            imap_server_notice_renamed(h->engine, ev.name, ev.old_name, is_in);
        else imap_server_notice_name(h->engine, ev.name, is_in, ev.kind == SURVEY_GONE);
    }
    h->session->watch = survey_fd(h->survey);
}

static void on_notify(struct imap_host *h, const struct imap_event *ev) {
    struct store_names l;
    struct err e = {0};
    int fd;

    end_survey(h);
    if (ev->is_on && survey_new(h->store, &h->survey, &fd, &e) != OK) {
        h->survey = NULL;
        imap_server_no(h->engine, S("NOTIFICATIONOVERFLOW"), slice_str(e.msg));
        return;
    }
    if (ev->is_on && ev->is_next && store_list(h->store, &l, NULL) == OK) {
        for (size_t i = 0; i < l.n; i++) {
            struct slice name = slice_str(l.v[i].name);
            struct mailbox_status found;
            struct imap_status st;

            if (l.v[i].is_missing || is_selected(h, name) ||
                mailbox_status(h->store, name, &found, NULL) != OK)
                continue;
            st = status_of(&found);
            imap_server_notice_status(h->engine, name, l.v[i].is_subscribed, &st, false);
        }
        store_names_release(&l);
    }
    if (h->survey) h->session->watch = survey_fd(h->survey);
    imap_server_ok(h->engine);
}

/* --- messages --------------------------------------------------------------------------------- */

/* The mailbox was deleted after the client selected it; nothing in it can be changed. */
static bool has_box(struct imap_host *h) {
    if (!h->box) imap_server_no(h->engine, S("NONEXISTENT"), S("The mailbox was removed."));
    return h->box != NULL;
}

/* FLAGS where some flags may not be changed: those that may are set, the others stay. */
static enum err_code set_some(struct imap_host *h, const struct imap_event *ev, uint64_t flags,
                              struct mailbox_condition *if_, struct err *e) {
    uint64_t may = ~fixed_flags(h->rights);
    uint32_t *rest = calloc(ev->n_uids + 1, sizeof *rest);
    size_t n = 0, k = 0;
    enum err_code code;

    if (!rest) return err_set(e, ERR_MEMORY, "no memory for flags");
    code = mailbox_set_flags(h->box, ev->uids, ev->n_uids, MAILBOX_FLAGS_ADD, flags, if_, e);
    for (size_t i = 0; i < ev->n_uids; i++) {
        while (if_ && k < if_->n_failed && if_->failed[k] < ev->uids[i]) k++;
        if (!if_ || k == if_->n_failed || if_->failed[k] != ev->uids[i]) rest[n++] = ev->uids[i];
    }
    if (code == OK)
        code = mailbox_set_flags(h->box, rest, n, MAILBOX_FLAGS_REMOVE, may & ~flags, NULL, e);
    free(rest);
    return code;
}

static void on_store(struct imap_host *h, const struct imap_event *ev) {
    enum mailbox_flags_mode mode = ev->store_mode == IMAP_STORE_SET   ? MAILBOX_FLAGS_SET
                                   : ev->store_mode == IMAP_STORE_ADD ? MAILBOX_FLAGS_ADD
                                                                      : MAILBOX_FLAGS_REMOVE;
    struct mailbox_condition if_ = {.since = ev->unchanged_since};
    uint64_t flags;
    struct err e = {0};
    enum err_code code;

    if (!has_box(h)) return;
    code = flags_to_store(h, ev->flags, mode != MAILBOX_FLAGS_REMOVE, &flags, &e);
    if (code == OK && mode != MAILBOX_FLAGS_SET && flags & fixed_flags(h->rights)) {
        /* the engine knows the rights of the time of SELECT */
        flags &= ~fixed_flags(h->rights);
        if (!flags) code = err_set(&e, ERR_DENIED, "you do not have the right to do that here");
    }
    if (code != OK) {
        imap_host_refuse(h, &e, S("NONEXISTENT"));
        return;
    }
    if (mode == MAILBOX_FLAGS_SET && fixed_flags(h->rights))
        code = set_some(h, ev, flags, ev->has_unchanged_since ? &if_ : NULL, &e);
    else
        code = mailbox_set_flags(h->box, ev->uids, ev->n_uids, mode, flags,
                                 ev->has_unchanged_since ? &if_ : NULL, &e);
    if (code == OK && ev->has_unchanged_since) tell(h, &if_.seen);
    if (code == OK) imap_server_modified(h->engine, if_.failed, if_.n_failed);
    free(if_.failed);
    /* Also what was changed before something went wrong. */
    for (size_t i = 0; i < ev->n_uids; i++) {
        const struct imap_msg *m = mailbox_find(h->box, ev->uids[i]);

        if (m) imap_server_push_flags(h->engine, m->uid, flags_to_imap(h, m->flags), m->modseq);
    }
    imap_server_push_modseq(h->engine, mailbox_highest_modseq(h->box));
    if (code != OK) imap_host_refuse(h, &e, S("NONEXISTENT"));
    else imap_server_ok(h->engine);
}

/* Messages leave this mailbox: that is two rights (RFC 6851 4.2, RFC 8508 4.1). */
static bool may_remove(struct imap_host *h) {
    if ((h->rights & (ACL_DELETED | ACL_EXPUNGE)) == (ACL_DELETED | ACL_EXPUNGE)) return true;
    imap_server_no(h->engine, S("NOPERM"), S("You may not remove messages here."));
    return false;
}

static void on_copy(struct imap_host *h, const struct imap_event *ev) {
    bool is_move = ev->type == IMAP_EV_MOVE;
    uint32_t *from, validity;
    size_t n = 0;
    struct place p;
    struct err e = {0};

    if (!has_box(h) || (is_move && !may_remove(h))) return;
    if (share_find(&h->share, ev->mailbox, ACL_INSERT, false, &p, &e) != OK) {
        imap_host_refuse(h, &e, S("TRYCREATE"));
        return;
    }
    from = calloc(ev->n_uids + 1, 2 * sizeof *from);
    if (!from) {
        share_leave(&p);
        imap_server_no(h->engine, S("LIMIT"), S("No memory for so many messages."));
        return;
    }
    if (mailbox_copy(h->box, ev->uids, ev->n_uids, p.store, p.name, ~fixed_flags(p.rights), is_move,
                     &validity, from, from + ev->n_uids, &n, &e) == OK) {
        if (is_move || is_selected(h, ev->mailbox)) look(h, NULL);
        imap_server_copied(h->engine, validity, from, from + ev->n_uids, n);
    } else {
        imap_host_refuse(h, &e, S("TRYCREATE"));
    }
    free(from);
    share_leave(&p);
}

static void on_expunge(struct imap_host *h, const struct imap_event *ev) {
    uint32_t *gone;
    size_t n = 0;
    struct err e = {0};
    enum err_code code;

    if (!h->box) {
        imap_server_ok(h->engine); /* all of it is gone already */
        return;
    }
    if (!(h->rights & ACL_EXPUNGE)) {
        imap_server_no(h->engine, S("NOPERM"), S("You may not expunge here."));
        return;
    }
    gone = calloc(ev->n_uids + 1, sizeof *gone);
    code = gone ? mailbox_expunge(h->box, ev->uids, ev->n_uids, true, gone, &n, &e)
                : err_set(&e, ERR_MEMORY, "no memory to expunge");
    for (size_t i = 0; i < n; i++) imap_server_push_expunged(h->engine, gone[i]);
    free(gone);
    // HIGHESTMODSEQ is in the answer: what others did before must not be told after it (RFC
    // 7162 3.2.7)
    if (code == OK) code = look(h, &e);
    if (code == OK) imap_server_ok(h->engine);
    else imap_host_refuse(h, &e, S("NONEXISTENT"));
}

/* What went while the client was away. */
static void on_vanished(struct imap_host *h, const struct imap_event *ev) {
    uint32_t *uids = NULL;
    size_t n = 0;
    bool is_all = true;

    if (h->box) mailbox_vanished(h->box, ev->unchanged_since, &uids, &n, &is_all, NULL);
    imap_server_vanished(h->engine, uids, n, is_all);
    free(uids);
}

static void on_candidates(struct imap_host *h, const struct imap_event *ev) {
    uint32_t *uids;
    size_t n;
    bool wants_text;

    if (h->box &&
        mailbox_candidates(h->box, ev->keywords, ev->n_keywords, &uids, &n, &wants_text)) {
        imap_server_candidates(h->engine, uids, n, wants_text);
        free(uids);
    } else {
        imap_server_ok(h->engine);
    }
}

static enum err_code append_first(struct imap_host *h, const struct imap_event *ev, wall_t date,
                                  struct err *e) {
    struct place p;
    enum err_code code = share_find(&h->share, ev->mailbox, ACL_INSERT, false, &p, e);
    struct mailbox *open = is_selected(h, ev->mailbox) ? h->box : NULL;
    uint64_t fixed;

    if (code != OK) return code;
    fixed = fixed_flags(p.rights);
    code = store_append_begin(p.store, p.name, ev->flags & ~fixed, ev->keywords,
                              p.rights & ACL_WRITE ? ev->n_keywords : 0, date, open, &h->append, e);
    if (code != OK) {
        h->append = NULL;
        share_leave(&p);
        return code;
    }
    h->append_to = p;
    h->append_to.name = S(""); /* it lives as long as the event */
    h->appends_here = open != NULL;
    h->n_appends = 0;
    return OK;
}

static void on_append(struct imap_host *h, const struct imap_event *ev) {
    wall_t date = ev->has_date ? ev->date : 0;
    struct err e = {0};
    enum err_code code;

    if (ev->is_next && h->append) {
        unsigned rights = h->append_to.rights;

        code = store_append_next(h->append, ev->flags & ~fixed_flags(rights), ev->keywords,
                                 rights & ACL_WRITE ? ev->n_keywords : 0, date, &e);
        if (code != OK) end_append(h);
    } else {
        end_append(h);
        code = append_first(h, ev, date, &e);
    }
    h->n_appends++;
    if (code == OK) imap_server_ok(h->engine);
    else imap_host_refuse(h, &e, S("TRYCREATE"));
}

/* The messages are there: tell of them where they went into the selected mailbox. */
static void tell_appended(struct imap_host *h, uint32_t uid) {
    bool is_known = true;

    for (uint32_t i = 0; i < h->n_appends; i++) {
        const struct imap_msg *m = mailbox_find(h->box, uid + i);
        struct imap_msg msg;

        is_known &= m != NULL;
        if (!m) continue;
        msg = message_to_imap(h, m);
        imap_server_push_new(h->engine, &msg);
    }
    imap_server_push_modseq(h->engine, mailbox_highest_modseq(h->box));
    if (!is_known) look(h, NULL);
}

static void on_append_end(struct imap_host *h, const struct imap_event *ev) {
    uint32_t validity, uid, gone = ev->uid;
    size_t n = 0;
    struct err e = {0};
    enum err_code code;

    if (gone && h->box && !may_remove(h)) {
        end_append(h);
        return;
    }
    code = h->append ? store_append_end(h->append, &validity, &uid, &e)
                     : err_set(&e, ERR_BUG, "no message is being appended");
    h->append = NULL;
    share_leave(&h->append_to);
    if (code != OK) {
        imap_host_refuse(h, &e, S("TRYCREATE"));
        return;
    }
    if (h->appends_here && h->box) tell_appended(h, uid);
    /* REPLACE: the new one is there for sure before the old one goes. */
    if (gone && h->box) code = mailbox_expunge(h->box, &ev->uid, 1, false, &gone, &n, &e);
    if (n) {
        imap_server_push_expunged(h->engine, gone);
        imap_server_push_modseq(h->engine, mailbox_highest_modseq(h->box));
    }
    if (code != OK) { /* both are there */
        imap_host_refuse(h, &e, S(""));
        return;
    }
    imap_server_appended(h->engine, validity, uid);
}

static void on_need(struct imap_host *h, const struct imap_event *ev) {
    struct imap_content content;
    struct err e = {0};

    if (++h->needs % NEEDS_A_LOOK == 0) imap_server_clock(h->engine, clock_mono());
    if (h->box && imap_text_get(&h->text, h->box, ev->uid, ev->items, &content, &e))
        imap_server_message(h->engine, &content);
    else if (!h->box || e.code == ERR_NOT_FOUND)
        imap_server_gone(h->engine); /* the next look tells the client */
    else imap_host_refuse(h, &e, S(""));
}

/* --- the login -------------------------------------------------------------------------------- */

/* The mail of `a`; its usual mailboxes are made when there is none yet. */
static enum err_code enter(struct imap_host *h, const struct account *a, struct err *e) {
    enum err_code code = store_open(a->home, &h->store, e);

    if (code != OK) {
        h->store = NULL;
        return code;
    }
    h->share = (struct share){.data = h->session->server->conf->data,
                              .accounts = h->session->server->directory->accounts,
                              .own = h->store};
    snprintf(h->share.user, sizeof h->share.user, "%s", a->name);
    store_limit(h->store, a->quota_octets, a->quota_messages);
    (void)store_begin(h->store, NULL); /* a convenience: may fail */
    return OK;
}

static void after_login(struct imap_host *h) {
    struct err e = {0};
    enum imap_login r = IMAP_LOGIN_OK;

    h->is_checking = false;
    server_log_login(h->session, h->login);
    if (h->login->code != OK)
        r = h->login->code == ERR_DENIED ? IMAP_LOGIN_WRONG : IMAP_LOGIN_UNAVAILABLE;
    else if (enter(h, &h->login->account, &e) != OK) {
        log_event(h->session->server->log, LEVEL_ERROR, "cannot open the mail of an account",
                  "user", slice_str(h->login->account.name), "why", slice_str(e.msg), NULL);
        r = IMAP_LOGIN_UNAVAILABLE;
    }
    free(h->login);
    h->login = NULL;
    imap_server_login_result(h->engine, r);
}

static void on_login(struct imap_host *h, const struct imap_event *ev) {
    h->login = malloc(sizeof *h->login);
    if (!h->login) {
        imap_server_login_result(h->engine, IMAP_LOGIN_UNAVAILABLE);
        return;
    }
    h->is_checking = true;
    if (server_login(h->session, h->login, ev->claim, ev->mechanism, ev->user, ev->password) != OK)
        after_login(h);
}

/* --- the session ------------------------------------------------------------------------------ */

static bool is_of_messages(enum imap_event_type t) {
    return t == IMAP_EV_NEED_MESSAGE || t == IMAP_EV_STORE || t == IMAP_EV_COPY ||
           t == IMAP_EV_MOVE || t == IMAP_EV_EXPUNGE;
}

static void answer(struct imap_host *h, const struct imap_event *ev, mono_t now) {
    struct session *s = h->session;
    char text[ADDR_TEXT_MAX];
    struct err e = {0};

    if (h->guest && is_of_messages(ev->type) && now >= h->rights_at + RIGHTS_AGE_MS) {
        h->rights_at = now;
        check_rights(h);
    }
    switch (ev->type) {
    case IMAP_EV_NONE: break;
    case IMAP_EV_STARTTLS: s->wants_tls = true; break;
    case IMAP_EV_COMPRESS:
        if (session_start_deflate(s, &e) == OK) imap_server_ok(h->engine);
        else imap_host_refuse(h, &e, S("UNAVAILABLE"));
        break;
    case IMAP_EV_LOGIN: on_login(h, ev); break;
    case IMAP_EV_LIST: imap_host_list(h); break;
    case IMAP_EV_SELECT: on_select(h, ev); break;
    case IMAP_EV_UNSELECT: close_box(h); break;
    case IMAP_EV_STATUS: imap_host_status(h, ev); break;
    case IMAP_EV_CREATE: imap_host_create(h, ev); break;
    case IMAP_EV_GET_ACL: imap_host_get_acl(h, ev); break;
    case IMAP_EV_SET_ACL: imap_host_set_acl(h, ev); break;
    case IMAP_EV_MY_RIGHTS:
    case IMAP_EV_LIST_RIGHTS: imap_host_rights(h, ev); break;
    case IMAP_EV_DELETE:
    case IMAP_EV_RENAME:
    case IMAP_EV_SUBSCRIBE:
    case IMAP_EV_UNSUBSCRIBE: imap_host_mailbox(h, ev); break;
    case IMAP_EV_APPEND: on_append(h, ev); break;
    case IMAP_EV_APPEND_DATA:
        if (h->append) store_append_data(h->append, ev->bytes, NULL); /* the end tells */
        break;
    case IMAP_EV_APPEND_END: on_append_end(h, ev); break;
    case IMAP_EV_APPEND_ABORT: end_append(h); break;
    case IMAP_EV_STORE: on_store(h, ev); break;
    case IMAP_EV_COPY:
    case IMAP_EV_MOVE: on_copy(h, ev); break;
    case IMAP_EV_EXPUNGE: on_expunge(h, ev); break;
    case IMAP_EV_GET_METADATA: imap_host_get_metadata(h, ev); break;
    case IMAP_EV_SET_METADATA: imap_host_set_metadata(h, ev); break;
    case IMAP_EV_QUOTA: imap_host_quota(h, ev); break;
    case IMAP_EV_NOTIFY: on_notify(h, ev); break;
    case IMAP_EV_CANDIDATES: on_candidates(h, ev); break;
    case IMAP_EV_TEXT:
        if (h->box) mailbox_sign(h->box, ev->uid, ev->bytes);
        break;
    case IMAP_EV_VANISHED: on_vanished(h, ev); break;
    case IMAP_EV_NEED_MESSAGE: on_need(h, ev); break;
    case IMAP_EV_MESSAGE_DONE: imap_text_done(&h->text); break;
    case IMAP_EV_POLL: on_poll(h); break;
    case IMAP_EV_IDLE: on_idle(h, ev->is_on, now); break;
    case IMAP_EV_ID:
        log_event(s->server->log, LEVEL_DEBUG, "client says", "id", ev->text, NULL);
        break;
    case IMAP_EV_END:
        h->is_idle = false;
        close_box(h);
        if (ev->err.code != OK && ev->err.code != ERR_CLOSED)
            log_event(s->server->log, LEVEL_NOTE, "session ended", "service",
                      slice_str(conf_service_name(s->service)), "client", peer_name(s, text), "why",
                      slice_str(ev->err.msg), NULL);
        break;
    }
}

static void events(struct session *s, mono_t now) {
    struct imap_host *h = s->host;
    struct imap_event ev;

    imap_server_wall(h->engine, clock_wall());
    if (h->is_checking && h->login->is_done) after_login(h);
    if (h->survey) look_around(h);
    else if (h->is_idle) look_while_idle(h, now);
    while (!s->waits && imap_server_next(h->engine, &ev)) answer(h, &ev, now);
    if (imap_server_is_working(h->engine)) mailbox_pause_between(h->box);
    else mailbox_pause(h->box);
    if (h->is_idle) imap_server_rest(h->engine);
}

static void rest(struct session *s) {
    struct imap_host *h = s->host;

    imap_server_rest(h->engine);
    imap_text_rest(&h->text);
    mailbox_rest(h->box);
}

static void tls_up(struct session *s, mono_t now) {
    struct imap_host *h = s->host;

    (void)now;
    imap_server_tls_up(h->engine);
}

static void deflate_up(struct session *s, mono_t now) {
    struct imap_host *h = s->host;

    (void)now;
    imap_server_compress_up(h->engine);
}

static void shut_down(struct session *s, mono_t now) {
    struct imap_host *h = s->host;

    (void)now;
    imap_server_bye(h->engine, S("The server is going down."));
}

static void free_host(struct session *s) {
    struct imap_host *h = s->host;

    end_append(h);
    free(h->login);
    end_survey(h);
    imap_server_free(h->engine);
    close_box(h);
    store_close(h->store);
    free(h);
}

enum err_code imap_host_new(struct session *s, mono_t now, struct err *e) {
    static const struct session_ops ops = {.events = events,
                                           .tls_up = tls_up,
                                           .deflate_up = deflate_up,
                                           .shutdown = shut_down,
                                           .rest = rest,
                                           .free = free_host};
    const struct server *server = s->server;
    bool implicit = s->service == SERVICE_IMAPS, stdio = s->peer.len == 0;
    struct imap_config config = {
        .hostname = slice_str(server->conf->hostname),
        .delimiter = '/',
        .has_tls = implicit,
        .can_starttls = server->creds && !implicit && !stdio,
        .allow_plaintext_auth = server->conf->plaintext_auth || stdio, /* a pipe is no network */
        .sasl = server_sasl(s),
        .message_size_max = server->conf->message_size_limit,
        .other_users = OTHER_USERS,
        .message_limit = server->conf->imap_message_limit,
        .hidden = server->conf->imap_hide.v,
        .n_hidden = server->conf->imap_hide.n,
    };
    struct imap_host *h = calloc(1, sizeof *h);
    struct account a;
    enum err_code code = OK;

    if (!h) return err_set(e, ERR_MEMORY, "no memory for a session");
    h->session = s;
    if (server->stdio_user.n > 0) {
        code = accounts_find(server->directory->accounts, server->stdio_user, &a, e);
        if (code == OK) {
            code = enter(h, &a, e);
            config.preauth_user = slice_str(a.name);
        }
    }
    if (code == OK) {
        h->engine = imap_server_new(&config, now);
        if (!h->engine) code = err_set(e, ERR_MEMORY, "no memory for a session");
    }
    if (code != OK) {
        store_close(h->store);
        free(h);
        return code;
    }
    s->host = h;
    s->ops = &ops;
    s->engine = imap_server_engine(h->engine);
    if (implicit) session_start_tls(s, now);
    return OK;
}
