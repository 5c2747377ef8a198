/* reach: which destinations could not be reached, until when they are left alone, and why. One
 * small file each in DATA/state/unreachable, so that `serve` and every `queue-run` know it. Any
 * thread; between processes the last one to write is right. */
#ifndef DELIVER_REACH_H
#define DELIVER_REACH_H

#include "base/err.h"
#include "base/moment.h"
#include "base/slice.h"

enum { REACH_FIRST_S = 60, REACH_MAX_S = 3600, REACH_TEXT_MAX = 400 };

struct reach {
    unsigned failures; /* in a row; 0: it can be reached, as far as is known */
    wall_t until;      /* no attempt before */
    char text[REACH_TEXT_MAX];
};

/* What is known of destination `name` (a host name); a missing or unreadable file: nothing; a
 * time too far ahead is from a wrong clock and counts for nothing. */
void reach_load(const char *dir, const char *name, struct reach *out);
/* It failed at `now`: `failures` goes up, `until` becomes `now` and an interval that starts at
 * min(REACH_FIRST_S, `first_s`) and doubles up to REACH_MAX_S, a tenth more or less by `random`.
 * Written to disk; that this cannot be done is no error, the memory is then this process's. */
void reach_failed(const char *dir, const char *name, wall_t now, uint32_t first_s, uint32_t random,
                  struct slice text, struct reach *r);
/* It took a message. */
void reach_good(const char *dir, const char *name, struct reach *r);
/* Forget all. */
void reach_clear(const char *dir);

#endif
