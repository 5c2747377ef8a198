/* address: lists of mailboxes and groups in header fields (RFC 5322 3.4, 4.4; RFC 6854; RFC 6532).
 *
 * Tolerant as a reader must be: comments anywhere, obsolete routes, empty list members, dots and
 * raw UTF-8 in names, a missing domain. (The strict Mailbox of SMTP is in smtp/syntax.) All results
 * are in an arena and live as long as it. Bounds: ADDRESS_LIST_MAX members, ADDRESS_BYTES_MAX bytes
 * of input, ADDRESS_DEPTH_MAX nested comments.
 *
 *     struct address_list list;
 *     enum err_code c = address_parse(&arena, value, &list, &e);   // list is filled even on
 * failure for (size_t i = 0; i < list.n; i++) if (list.v[i].kind == ADDRESS_MAILBOX) ...
 */
#ifndef MIME_ADDRESS_H
#define MIME_ADDRESS_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum { ADDRESS_LIST_MAX = 20000, ADDRESS_BYTES_MAX = 2 * 1024 * 1024, ADDRESS_DEPTH_MAX = 64 };

enum address_kind {
    ADDRESS_MAILBOX,
    ADDRESS_GROUP,    /* `name` is the group's; its members follow */
    ADDRESS_GROUP_END /* all slices empty */
};

struct address {
    enum address_kind kind;
    struct slice name;     /* display name, unquoted, one space between words, still with encoded
                              words (encword_decode); else the comment behind a bare address */
    struct slice route;    /* "@a,@b" of an obsolete route, else empty */
    struct slice local;    /* the local part without quotes and backslashes */
    struct slice domain;   /* "example.org" or "[192.0.2.1]"; empty when there was none */
    bool has_quoted_local; /* it was written as a quoted string */
};

struct address_list {
    struct address *v; /* in the arena */
    size_t n;
};

/*
 * Parse the value of a From, To, Cc, Reply-To ... field (folds included).
 *
 * What can be read is read: after a bad member the parser goes on behind the next comma, and `out`
 * holds the good ones. ERR_SYNTAX tells of the first bad member, ERR_LIMIT that a bound cut the
 * list, ERR_MEMORY that the arena is full. An empty value is OK with no members.
 */
enum err_code address_parse(struct arena *a, struct slice in, struct address_list *out,
                            struct err *e);

/* Exactly one mailbox, with or without name, nothing else; ERR_SYNTAX otherwise. */
enum err_code address_parse_one(struct arena *a, struct slice in, struct address *out,
                                struct err *e);

/* Append local@domain, the local part quoted only where needed (RFC 5322 3.4.1). Without domain:
 * the local part alone. False when `out` is full. */
bool address_put_spec(struct buf *out, const struct address *ad);
/* Append one member as text without folding: `Name <local@domain>`, the name quoted where needed
 * and otherwise as it is (encode it first: encword_put_phrase). For a group `Name:`, for its end
 * `;`. */
bool address_put(struct buf *out, const struct address *ad);
/* Append a list, members separated by ", ", groups as RFC 5322 writes them. No folding. */
bool address_list_put(struct buf *out, const struct address_list *list);
/* Append `text` as atom words when it can be that, else as a quoted string. CR, LF, NUL become
 * space. */
bool address_put_phrase(struct buf *out, struct slice text);

/* The same mailbox: local parts byte by byte, domains with ASCII letters folded. */
bool address_same(const struct address *a, const struct address *b);

#endif
