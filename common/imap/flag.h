/* flag: message flags as bits (RFC 3501 2.3.2) and the keywords of one session.
 *
 * Bits 0-5 are the system flags; bit IMAP_KEYWORD_FIRST + i is keyword i of a `struct
 * imap_keywords` table. Bits mean nothing without the table they were made with, except the system
 * ones. Pure functions; a table belongs to one thread at a time.
 */
#ifndef IMAP_FLAG_H
#define IMAP_FLAG_H

#include "base/buf.h"

enum {
    IMAP_KEYWORD_FIRST = 8,
    IMAP_KEYWORDS_MAX = 56,    /* different keywords in one mailbox */
    IMAP_KEYWORD_LEN_MAX = 100 /* bytes of one keyword */
};

#define IMAP_SEEN ((uint64_t)1 << 0)
#define IMAP_ANSWERED ((uint64_t)1 << 1)
#define IMAP_FLAGGED ((uint64_t)1 << 2)
#define IMAP_DELETED ((uint64_t)1 << 3)
#define IMAP_DRAFT ((uint64_t)1 << 4)
#define IMAP_RECENT ((uint64_t)1 << 5) /* kept by the session, never stored by a client */
#define IMAP_PASSED ((uint64_t)1 << 6) /* Maildir's "P": kept, never shown */
#define IMAP_SYSTEM_FLAGS                                                                          \
    (IMAP_SEEN | IMAP_ANSWERED | IMAP_FLAGGED | IMAP_DELETED | IMAP_DRAFT) /* what may be stored   \
                                                                            */

struct imap_keywords {
    char *name[IMAP_KEYWORDS_MAX]; /* owned, as first written; NULL: the number is not in use */
    unsigned n;
};

void imap_keywords_release(struct imap_keywords *k);
/* The bit of a keyword, any case; added when new and `may_add`. 0: unknown, the table is full, no
 * memory, or not a keyword (RFC 3501 9: an atom, at most IMAP_KEYWORD_LEN_MAX bytes). */
uint64_t imap_keyword_bit(struct imap_keywords *k, struct slice name, bool may_add);
/* The bit of "\Seen" and so on, any case; 0 when it is no system flag. */
uint64_t imap_system_flag(struct slice name);
/* Append "\Seen $Junk" without parentheses, system flags first. Bits without a name are left out.
 */
bool imap_flags_put(struct buf *out, uint64_t flags, const struct imap_keywords *k);

#endif
