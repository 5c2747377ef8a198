/* clock: the two clocks and the source of randomness. Any thread. */
#ifndef SYS_CLOCK_H
#define SYS_CLOCK_H

#include "base/moment.h"

/* Milliseconds on CLOCK_MONOTONIC: for timeouts. */
mono_t clock_mono(void);
/* Seconds since the epoch on CLOCK_REALTIME: for schedules and dates. */
wall_t clock_wall(void);
/* Microseconds since the epoch: for names that must differ. */
int64_t clock_wall_us(void);
/* Minutes east of UTC that local time is at `t`. */
int clock_offset(wall_t t);
/* Fill `p` with `n` bytes from getrandom(2). Never fails on a kernel this project supports; should
 * it, the process ends, because nothing safe can go on without randomness. */
void random_bytes(void *p, size_t n);
/* A uniform number in [0, below); `below` at least 1. */
uint32_t random_below(uint32_t below);

#endif
