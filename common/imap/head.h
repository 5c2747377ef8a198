/* head: what SEARCH, SORT and THREAD ask of a header again and again, as one text that a store can
 * keep and hand back. Made from bytes, deterministic, pure. */
#ifndef IMAP_HEAD_H
#define IMAP_HEAD_H

#include "base/buf.h"
#include "base/moment.h"

enum {
    IMAP_HEAD_FIELD_MAX = 4096,     /* bytes of a folded field; a longer one is not kept */
    IMAP_HEAD_REFERENCES_MAX = 100, /* identifiers of a References field: the first and the last */
    IMAP_HEAD_MAX = 512 * 1024      /* bytes of the text, more than it ever is */
};

/* Fields that SEARCH looks for. */
enum imap_head_field {
    IMAP_HEAD_SUBJECT,
    IMAP_HEAD_FROM,
    IMAP_HEAD_TO,
    IMAP_HEAD_CC,
    IMAP_HEAD_BCC,
    IMAP_HEAD_FIELDS
};

/* Slices point into the text. */
struct imap_head {
    bool has_date;
    wall_t date;     /* the Date field, UTC */
    int date_offset; /* minutes east of UTC */
    struct {
        bool is_known, is_there; /* too long or too many to keep; is there such a field */
        struct slice text;       /* as imap_fold_head_field */
    } field[IMAP_HEAD_FIELDS];
    struct slice base_subject;             /* RFC 5256 2.1, folded */
    bool is_reply;                         /* the subject says that it is a reply or forwarded */
    struct slice from, to, cc;             /* mailbox (local part) of the first address, folded */
    struct slice display_from, display_to; /* RFC 5957: the name, else the address; folded */
    struct slice id;                       /* Message-ID without < and > */
    struct slice references; /* identifiers with a space between; In-Reply-To when there are none */
};

/* Append the value of a field as it is looked through: folded; behind it, each with a byte 1
 * before it, the addresses that comments hide, as ENVELOPE has them (RFC 9051 6.4.4: FROM, TO, CC
 * and BCC look into the envelope). `out` may be full. */
void imap_fold_head_field(struct buf *out, enum imap_head_field k, struct slice value);
/* Append the text. False: no memory, or `out` is full. */
bool imap_put_head(struct buf *out, struct slice message);
/* Take it apart; false: it is not such a text. */
bool imap_head_get(struct slice text, struct imap_head *out);
/* The field that has a place here, or IMAP_HEAD_FIELDS. */
enum imap_head_field imap_head_field(struct slice name);
/* The base subject of a folded subject (RFC 5256 2.1), a slice of it. */
struct slice imap_base_subject(struct slice folded, bool *is_reply);

#endif
