/* num: numbers from text, always with a maximum. No sign, no blanks, no base prefix. */
#ifndef BASE_NUM_H
#define BASE_NUM_H

#include "base/err.h"

/* All of `s` must be 1 to 20 decimal digits with a value of at most `max`; else false and `*out`
 * is untouched. */
bool num_parse(struct slice s, uint64_t max, uint64_t *out);
/* The digits that `*s` starts with, which are taken off; at least one. False as num_parse. */
bool num_take(struct slice *s, uint64_t max, uint64_t *out);
/* A duration in seconds: "90", "30s", "5m", "4h", "5d", "2w", at most `max_s`. */
bool num_duration(struct slice s, uint64_t max_s, uint64_t *seconds);
/* A size in bytes: "4096", "64k", "10M", "2G" (powers of 1024, either case), at most `max`. */
bool num_size(struct slice s, uint64_t max, uint64_t *bytes);

#endif
