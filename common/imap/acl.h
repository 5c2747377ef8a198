/* acl: rights on a mailbox (RFC 4314 2.1), as letters and as bits. Pure. */
#ifndef IMAP_ACL_H
#define IMAP_ACL_H

#include <stdbool.h>

#include "base/buf.h"

enum {
    ACL_LOOKUP = 1 << 0,  /* l: it is listed */
    ACL_READ = 1 << 1,    /* r: SELECT, STATUS */
    ACL_SEEN = 1 << 2,    /* s: \Seen */
    ACL_WRITE = 1 << 3,   /* w: other flags and keywords */
    ACL_INSERT = 1 << 4,  /* i: APPEND, COPY into it */
    ACL_POST = 1 << 5,    /* p: kept, of no effect */
    ACL_CREATE = 1 << 6,  /* k: mailboxes below it */
    ACL_DELETE = 1 << 7,  /* x: the mailbox itself */
    ACL_DELETED = 1 << 8, /* t: \Deleted */
    ACL_EXPUNGE = 1 << 9, /* e */
    ACL_ADMIN = 1 << 10,  /* a: its rights */
    ACL_ALL = (1 << 11) - 1,
    ACL_CHANGES = ACL_SEEN | ACL_WRITE | ACL_INSERT | ACL_DELETED | ACL_EXPUNGE
};

struct acl_entry {
    struct slice identifier; /* a user, "anyone", or either with "-" before: taken away */
    unsigned rights;
};

enum acl_change { ACL_SET, ACL_ADD, ACL_TAKE };

/* Letters to bits; the old c is kx, the old d is et (RFC 4314 2.1.1). False: another letter. */
bool acl_parse(struct slice letters, unsigned *rights);
/* Append the letters; `with_old`: for clients, with c and d too, which say more than there is. */
void acl_put(struct buf *out, unsigned rights, bool with_old);

#endif
