/* spool: the octets of one message while it arrives: in memory up to SPOOL_MEMORY_MAX, then in an
 * unnamed file that vanishes with its descriptor. Nothing here is durable; the queue makes it so.
 * One thread at a time. A zeroed struct may be released. */
#ifndef QUEUE_SPOOL_H
#define QUEUE_SPOOL_H

#include "base/buf.h"
#include "base/err.h"

enum { SPOOL_MEMORY_MAX = 256 * 1024 };

struct spool {
    struct buf mem;  /* the first bytes; all of them while fd is -1 */
    int fd;          /* the bytes after `mem` in a file, or -1 */
    uint64_t size;   /* bytes in all */
    const char *dir; /* where the file is made; borrowed */
};

/* Empty; a large message goes to an unnamed file in `dir`, which must live as long. */
void spool_init(struct spool *s, const char *dir);
void spool_release(struct spool *s);
/* Empty again; memory is kept, the file is not. */
void spool_reset(struct spool *s);
/* Append. FULL, IO, MEMORY: the message cannot be taken; what was appended before is still there.
 */
enum err_code spool_add(struct spool *s, struct slice data, struct err *e);
/* Copy bytes from `offset` to `out`, at most `n`; `*got` less than `n` only at the end. */
enum err_code spool_read(const struct spool *s, uint64_t offset, char *out, size_t n, size_t *got,
                         struct err *e);

#endif
