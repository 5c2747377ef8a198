/* lane: a few threads for work that blocks, with a bounded queue before them. */
#ifndef SERVE_LANE_H
#define SERVE_LANE_H

#include <stdbool.h>
#include <stddef.h>

struct lane;
/* `width` threads, at most `limit` tasks waiting. NULL: no memory or no threads. */
struct lane *lane_new(unsigned width, size_t limit);
/* Carries out what waits, then ends. NULL is fine. */
void lane_free(struct lane *l);
/* Queue a task. False: the lane is full. Any thread. */
bool lane_submit(struct lane *l, void (*run)(void *), void *arg);

#endif
