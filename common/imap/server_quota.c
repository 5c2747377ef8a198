#include "imap/server_impl.h"

/* QUOTA (RFC 9208): one quota root, "", for all mailboxes of the account. */

void imap_cmd_getquota(struct imap_server *s) {
    struct slice root;

    if (!imap_take_sp(&s->cur) || !imap_take_astring(&s->cur, &root) || !imap_at_end(&s->cur)) {
        imap_finish_bad(s, "Expected a quota root.");
    } else if (root.n) {
        imap_finish(s, "NO", S("NONEXISTENT"), S("No such quota root."));
    } else {
        s->mailbox = S("");
        imap_ask(s, IMAP_EV_QUOTA);
    }
}

void imap_cmd_getquotaroot(struct imap_server *s) {
    if (!imap_take_sp(&s->cur) || !imap_take_mailbox(s, &s->mailbox) || !imap_at_end(&s->cur))
        imap_finish_bad(s, s->cur.why);
    else imap_ask(s, IMAP_EV_QUOTA)->mailbox = s->mailbox;
}

void imap_cmd_setquota(struct imap_server *s) {
    imap_finish(s, "NO", S("NOPERM"), S("Quotas are set by the administrator."));
}

void imap_server_quota(struct imap_server *s, const struct imap_quota *q) {
    if (s->open != IMAP_EV_QUOTA) return;
    s->open = IMAP_EV_NONE;
    if (!s->mailbox.n && !q) {
        imap_finish(s, "NO", S("NONEXISTENT"), S("No such quota root."));
        return;
    }
    if (s->mailbox.n) {
        buf_add(&s->out, S("* QUOTAROOT "));
        imap_put_mailbox(s, s->mailbox);
        buf_add(&s->out, q ? S(" \"\"\r\n") : S("\r\n"));
    }
    if (q) {
        buf_add(&s->out, S("* QUOTA \"\" ("));
        /* In units of 1024 octets, begun ones count. */
        if (q->octets_max)
            buf_addf(&s->out, "STORAGE %llu %llu", (unsigned long long)(q->octets + 1023) / 1024,
                     (unsigned long long)q->octets_max / 1024);
        if (q->messages_max)
            buf_addf(&s->out, "%sMESSAGE %llu %llu", q->octets_max ? " " : "",
                     (unsigned long long)q->messages, (unsigned long long)q->messages_max);
        buf_add(&s->out, S(")\r\n"));
    }
    imap_finish(s, "OK", S(""), S("Getquota completed."));
}
