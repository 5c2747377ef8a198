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

enum { INDEX_BUSY_MS = 2000, INDEX_GONE_MAX = 100000, INDEX_IDLE_MAX = 8 };

struct index;
struct index_row {
    uint32_t uid;
    uint64_t flags, modseq, size_wire;
    wall_t internal_date, saved;
};
/* Messages that came together and have no row of their own while nothing was done to them. */
enum { INDEX_ARRIVAL_MAX = 4096 };
struct index_arrival {
    uint32_t first, n; /* uids without a gap */
    uint64_t modseq;
    wall_t saved;
    const uint64_t *flags; /* of each; while it is given only, and perhaps not aligned: memcpy */
};

/* NULL when there can be none. The caller closes; INDEX_IDLE_MAX closed ones stay open for who
 * comes next. */
struct index *index_open(const char *path);
void index_close(struct index *ix);
/* Call `row` for the messages with a modseq above `since`, by ascending uid. */
void index_read(struct index *ix, uint32_t validity, uint64_t since,
                void (*row)(void *ctx, const struct index_row *r), void *ctx);
/* The same for arrivals, by `first`; they do not overlap. A message with a row has that instead. */
void index_read_arrivals(struct index *ix, uint32_t validity, uint64_t since,
                         void (*row)(void *ctx, const struct index_arrival *a), void *ctx);
/* Uids that were removed after `since`, ascending. `*known_from`: what was removed at or before
 * that modseq is not known any more. */
void index_read_gone(struct index *ix, uint32_t validity, uint64_t since, uint64_t *known_from,
                     void (*row)(void *ctx, uint32_t uid), void *ctx);
/* Changes between begin and end become visible together. */
void index_begin(struct index *ix);
/* `saved` counts only when the message was not known before. */
void index_put(struct index *ix, uint32_t validity, const struct index_row *r);
/* When a message came here; 0: not known. */
wall_t index_saved(struct index *ix, uint32_t validity, uint32_t uid);
void index_put_arrival(struct index *ix, uint32_t validity, const struct index_arrival *a);
/* Forget what is known of a message; that it went is remembered, for INDEX_GONE_MAX of them. */
void index_remove(struct index *ix, uint32_t validity, uint32_t uid, uint64_t modseq);
/* When nothing is known of that mailbox yet: removals are remembered from `modseq` on. */
void index_adopt(struct index *ix, uint32_t validity, uint64_t modseq);
void index_cache_put(struct index *ix, uint32_t validity, uint32_t uid, struct slice what,
                     struct slice text);
void index_end(struct index *ix);
/* The texts of `what` from `uid` on, at most `max`, in order; false of `row` ends it. The text is
 * valid during the call. */
void index_cache_each(struct index *ix, uint32_t validity, uint32_t uid, struct slice what,
                      unsigned max, bool (*row)(void *ctx, uint32_t uid, struct slice text),
                      void *ctx);
bool index_cache_get(struct index *ix, uint32_t validity, uint32_t uid, struct slice what,
                     struct buf *out);

#endif
