/* lane: a few threads for work that blocks, with a bounded queue before them. */
#ifndef SERVE_LANE_H
#define SERVE_LANE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/moment.h"

enum { LANE_LATER_MAX = 4096 };

struct lane;
/* `width` threads, at most `limit` tasks waiting. NULL: no memory or no threads. */
struct lane *lane_new(unsigned width, size_t limit);
/* Carries out what waits, of later tasks too, then ends. NULL is fine. */
void lane_free(struct lane *l);
/* Queue a task. False: the lane is full. Any thread. */
bool lane_submit(struct lane *l, void (*run)(void *), void *arg);
/* The same, but not before `when`. At most LANE_LATER_MAX of these wait beside the others. */
bool lane_submit_at(struct lane *l, mono_t when, void (*run)(void *), void *arg);
/* From now on nothing waits for its time. Any thread. */
void lane_hurry(struct lane *l);

#endif
