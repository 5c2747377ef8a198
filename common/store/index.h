/* index: the SQLite file beside a Maildir. A cache of what the files do not say quickly, keyed by
 * UIDVALIDITY (unique in an account, so a rename changes nothing) and UID.
 *
 * Every function takes NULL and then does nothing: no library, no file, no index. A file that is
 * damaged is removed and made again, once per handle; after that the handle goes without. One
 * thread at a time per handle; several handles and processes per file (WAL, busy timeout
 * INDEX_BUSY_MS).
 */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H

#include "base/buf.h"
#include "base/err.h"
#include "base/moment.h"

enum { INDEX_BUSY_MS = 2000 };

struct index;
struct index_row {
    uint32_t uid;
    uint64_t flags, modseq, size_wire;
    wall_t internal_date;
};

/* NULL when there can be none. The caller closes. */
struct index *index_open(const char *path);
void index_close(struct index *ix);
/* Call `row` for the messages with a modseq above `since`, by ascending uid. */
void index_read(struct index *ix, uint32_t validity, uint64_t since,
                void (*row)(void *ctx, const struct index_row *r), void *ctx);
/* Changes between begin and end become visible together. */
void index_begin(struct index *ix);
void index_put(struct index *ix, uint32_t validity, const struct index_row *r);
void index_remove(struct index *ix, uint32_t validity, uint32_t uid);
void index_cache_put(struct index *ix, uint32_t validity, uint32_t uid, struct slice what,
                     struct slice text);
void index_end(struct index *ix);
bool index_cache_get(struct index *ix, uint32_t validity, uint32_t uid, struct slice what,
                     struct buf *out);

#endif
