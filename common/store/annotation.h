/* annotation: named values of a mailbox or of the whole account (RFC 5464), and with them what a
 * mailbox is for (RFC 6154 4). One file in the directory of the mailbox, so that it goes where the
 * mailbox goes:
 *
 *     HOME/Maildir/.Sent/postbag-annotations    "/private/comment 5\nhello\n" ...
 *     HOME/Maildir/postbag-annotations-account  those of the account
 *
 * Names are in lower case, begin with "/private/" or "/shared/", and are at most
 * ANNOTATION_NAME_MAX bytes; a value is any bytes but NUL, at most ANNOTATION_VALUE_MAX, at most
 * ANNOTATIONS_MAX for a mailbox. A change is durable on return. Any thread, any process; the last
 * change wins. */
#ifndef STORE_ANNOTATION_H
#define STORE_ANNOTATION_H

#include "store/store.h"

enum {
    ANNOTATION_NAME_MAX = 200,
    ANNOTATION_VALUE_MAX = 64 * 1024,
    ANNOTATIONS_MAX = 1000,
    ANNOTATIONS_BYTES_MAX = 1024 * 1024 /* of a mailbox: the file */
};

struct annotation {
    struct slice name, value; /* value.p NULL: none, take it away */
};

struct annotations {
    struct annotation *v; /* by name */
    size_t n;
    struct buf text; /* private: what they point into */
};

/* `mailbox` empty: of the account. None is fine. ERR_NOT_FOUND: no such mailbox. Damaged parts are
 * passed over. The caller releases `out`. */
enum err_code annotations_read(struct store *s, struct slice mailbox, struct annotations *out,
                               struct err *e);
void annotations_release(struct annotations *a);
/* All of `v` or, on an error, none. ERR_LIMIT: too many, too large; ERR_SYNTAX: not a name. */
enum err_code annotations_change(struct store *s, struct slice mailbox, const struct annotation *v,
                                 size_t n, struct err *e);

/* STORE_USE_* that was given to the mailbox in directory `dir_fd`/`dir`; 0: none was. */
unsigned annotation_use(int dir_fd, const char *dir);

#endif
