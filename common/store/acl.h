/* acl: who else may do what with a mailbox (RFC 4314). Kept as an annotation of the mailbox, so
 * that it goes where the mailbox goes; the owner is not in it, he may do everything.
 *
 *     "jo@example.org lrs\nanyone l\n-ann@example.org r\n"
 *
 * Any thread, any process; the last change wins. */
#ifndef STORE_ACL_H
#define STORE_ACL_H

#include "imap/acl.h"
#include "store/annotation.h"

enum { ACL_ENTRIES_MAX = 100 };

/* The annotation; clients see it and cannot set it. */
#define ACL_ANNOTATION S("/private/vendor/postbag/acl")

struct acl {
    struct acl_entry v[ACL_ENTRIES_MAX];
    size_t n;
    struct annotations notes; /* private: what the identifiers point into */
};

/* None is fine. ERR_NOT_FOUND: no such mailbox. The caller releases `out`. */
enum err_code acl_read(struct store *s, struct slice mailbox, struct acl *out, struct err *e);
void acl_release(struct acl *a);
/* What `user` may: what he and "anyone" are given, less what "-user" and "-anyone" are. */
unsigned acl_rights(const struct acl *a, struct slice user);
/* Set, add or take rights of an identifier; without any left its entry goes. Durable. ERR_LIMIT:
 * too many entries. */
enum err_code acl_change(struct store *s, struct slice mailbox, struct slice who,
                         enum acl_change how, unsigned rights, struct err *e);
/* A new mailbox has the rights of the one above it, at last of INBOX. */
enum err_code acl_inherit(struct store *s, struct slice mailbox, struct err *e);
/* The mailbox above that is there: "A" of "A/B/C", INBOX when there is none. */
struct slice acl_parent(struct store *s, struct slice mailbox);

#endif
