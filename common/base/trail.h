/* trail: how far somebody has read in a large run of bytes that is lent to him.
 *
 * A message of a GiB is mapped, and every page that was read stays in memory until its lender gives
 * it back. So whoever goes through a whole message takes its trail along, and the lender hears of
 * every TRAIL_STEP bytes that lie behind. The bytes stay valid: to read them again costs time, no
 * more. A trail of NULL tells nobody. One thread at a time.
 *
 *     while ((lf = trail_find(&message.trail, rest, '\n'))) rest = ...;
 */
#ifndef BASE_TRAIL_H
#define BASE_TRAIL_H

#include "base/slice.h"

enum { TRAIL_STEP = 256 * 1024 };

struct trail {
    void (*behind)(void *ctx, const char *at); /* what lies before `at` was read; NULL: no matter */
    void *ctx;
    const char *told; /* private: zero it */
};

/* The reader has come to `at`. */
static inline void trail_at(struct trail *t, const char *at) {
    if (!t || !t->behind) return;
    if (at >= t->told && (uintptr_t)at - (uintptr_t)t->told < TRAIL_STEP) return;
    t->told = at;
    t->behind(t->ctx, at);
}

/* trail_find of what is more than a step long. */
const char *trail_find_far(struct trail *t, struct slice in, char c);

/* The first `c` in `in`, or NULL; the reader is at the start of `in`. */
static inline const char *trail_find(struct trail *t, struct slice in, char c) {
    if (in.n > TRAIL_STEP) return trail_find_far(t, in, c);
    return in.n ? memchr(in.p, c, in.n) : NULL;
}

#endif
