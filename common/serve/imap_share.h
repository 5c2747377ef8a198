/* imap_share: whose mailbox a name is and what this user may do with it (RFC 4314). His own are
 * named as they are; those of others, where they let him, below OTHER_USERS:
 *
 *     Other Users/ann@example.org         her INBOX
 *     Other Users/ann@example.org/Work    her Work
 *
 * Who lets whom is kept in the mailboxes (store/acl); DATA/shared/IDENTIFIER/OWNER says where to
 * look, and may name too many. Of one session; one thread at a time. */
#ifndef SERVE_IMAP_SHARE_H
#define SERVE_IMAP_SHARE_H

#include "auth/accounts.h"
#include "store/acl.h"

#define OTHER_USERS S("Other Users/")

struct share {
    const char *data; /* the data directory */
    struct accounts *accounts;
    struct store *own;
    char user[ACCOUNT_NAME_MAX + 1]; /* "local@domain" */
};

struct place {
    struct store *store;
    struct slice name; /* in that store; lives as long as the name that was asked for */
    unsigned rights;   /* of this user, ACL_* */
    bool is_own;
    char owner[ACCOUNT_NAME_MAX + 1];
};

/* Is the name one of those that are not the user's own? */
bool share_is_foreign(struct slice name);
/* Where the mailbox `name` is, if the user has all of `want`; for `is_new` one that is not there
 * yet, with the rights of the one above it. ERR_NOT_FOUND: it is not there, or he may not know;
 * ERR_DENIED. The caller ends with share_leave, or keeps `store` and closes it when it is not the
 * user's own. A mailbox of his own need not be there. */
enum err_code share_find(const struct share *sh, struct slice name, unsigned want, bool is_new,
                         struct place *out, struct err *e);
void share_leave(struct place *p);
/* Tell the mailboxes of others that he may see, with the parents that he may not. */
void share_list(const struct share *sh,
                void (*tell)(void *user, struct slice name, bool is_selectable), void *user);
/* Change an entry, and where it is looked for. ERR_NOT_FOUND: no such user. */
enum err_code share_set(const struct share *sh, struct place *p, struct slice who,
                        enum acl_change how, unsigned rights, struct err *e);

#endif
