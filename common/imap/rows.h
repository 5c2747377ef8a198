/* rows: the messages of a mailbox as one sorted array that several may look at: the store's handle
 * and the engine of the session that selected it. Shared rows never change: who wants to change
 * them makes them his own first.
 *
 * A share may be dropped by another thread than took it; one owner's calls are not concurrent. */
#ifndef IMAP_ROWS_H
#define IMAP_ROWS_H

#include <stdatomic.h>

#include "base/moment.h"
#include "imap/flag.h"

#define IMAP_SIZE_UNKNOWN UINT64_MAX
#define IMAP_DATE_UNKNOWN INT64_MIN

struct imap_msg {
    uint32_t uid;
    bool is_changed;      /* engine: flags to be told */
    bool is_quiet;        /* engine: of them only the modseq */
    uint64_t flags;       /* IMAP_* bits, IMAP_RECENT if it is new to this session */
    uint64_t size_bytes;  /* RFC822.SIZE: in the CRLF form; or IMAP_SIZE_UNKNOWN */
    wall_t internal_date; /* INTERNALDATE, or IMAP_DATE_UNKNOWN */
    uint64_t modseq;      /* RFC 7162: of the last change of its flags, or of its arrival */
};

struct imap_rows {
    atomic_uint shares;
    size_t n, cap;
    struct imap_msg v[]; /* by ascending uid */
};

/* Empty, with room for `cap`. NULL: no memory. */
struct imap_rows *imap_rows_new(size_t cap);
struct imap_rows *imap_rows_share(struct imap_rows *r);
/* NULL is fine. */
void imap_rows_drop(struct imap_rows *r);
/* Make `*r` unshared, with room for `cap` or more. False: no memory, `*r` is as before. */
bool imap_rows_own(struct imap_rows **r, size_t cap);
/* Index of the first row with that UID or a higher one. */
size_t imap_rows_find(const struct imap_rows *r, uint32_t uid);

#endif
