/* imap_host_impl: what the parts of imap_host share. imap_host has the session, the login and the
 * selected mailbox; imap_account answers what is asked of mailboxes and of the account. */
#ifndef SERVE_IMAP_HOST_IMPL_H
#define SERVE_IMAP_HOST_IMPL_H

#include "imap/server.h"
#include "serve/imap_share.h"
#include "serve/imap_text.h"
#include "serve/server.h"
#include "store/store.h"
#include "store/survey.h"

enum { MAILBOXID_MAX = 16 };

struct imap_host {
    struct imap_server *engine;
    struct session *session;
    bool is_checking;    /* a login is on its way */
    struct login *login; /* while one is under way */
    struct store *store;
    struct share share; /* what others share with this user, and he with them */
    /* the selected mailbox */
    struct mailbox *box; /* NULL: none, or it was deleted under us */
    struct store *guest; /* of its owner, when that is somebody else */
    unsigned rights;     /* on it, ACL_*, as known at `rights_at` */
    mono_t rights_at;
    char *name;
    uint64_t to_imap[STORE_KEYWORDS_MAX]; /* store keyword -> bit of the session's table */
    bool is_idle;
    mono_t looked_at;
    struct survey *survey; /* of NOTIFY; NULL: none */
    struct store_append *append;
    struct place append_to;
    bool appends_here;
    unsigned needs;        /* messages that were asked for */
    uint32_t n_appends;    /* messages of it */
    struct imap_text text; /* of the message that the engine holds */
};

/* imap_host.c */
/* Answer with NO. ERR_NOT_FOUND is `missing`: NONEXISTENT, or TRYCREATE where a target is meant
 * (RFC 5530). */
void imap_host_refuse(struct imap_host *h, const struct err *e, struct slice missing);
/* The MAILBOXID of a mailbox (RFC 8474). */
struct slice imap_host_mailboxid(uint32_t uidvalidity, char out[MAILBOXID_MAX]);

/* imap_account.c: answer the event. */
void imap_host_list(struct imap_host *h);
void imap_host_status(struct imap_host *h, const struct imap_event *ev);
void imap_host_create(struct imap_host *h, const struct imap_event *ev);
void imap_host_mailbox(struct imap_host *h, const struct imap_event *ev); /* the other commands */
void imap_host_get_acl(struct imap_host *h, const struct imap_event *ev);
void imap_host_set_acl(struct imap_host *h, const struct imap_event *ev);
void imap_host_rights(struct imap_host *h, const struct imap_event *ev);
void imap_host_get_metadata(struct imap_host *h, const struct imap_event *ev);
void imap_host_set_metadata(struct imap_host *h, const struct imap_event *ev);
void imap_host_quota(struct imap_host *h, const struct imap_event *ev);

#endif
