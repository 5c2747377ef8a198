/* set: sequence sets and UID sets (RFC 3501 9 sequence-set).
 *
 * As written first ("*" is IMAP_STAR), then resolved against the highest number: ranges in order,
 * apart from each other, no star. Memory is the caller's arena. Pure functions.
 */
#ifndef IMAP_SET_H
#define IMAP_SET_H

#include "imap/token.h"

#define IMAP_STAR 0

struct imap_range {
    uint32_t first, last;
};
struct imap_set {
    struct imap_range *v;
    size_t n;
    bool is_saved; /* "$": what SEARCH saved (RFC 5182); the ranges are found by who resolves it */
};

/* Take "1:5,7,9:*" or "$" off the cursor: at most `max` ranges, numbers 1..2^32-1. */
bool imap_take_set(struct imap_cursor *c, size_t max, struct imap_set *out);
/* Replace "*" by `star` (the highest number there is), put every range the right way round, sort
 * and join. With `star` 0 (nothing there) ranges that hold a star are dropped. In place. */
void imap_set_resolve(struct imap_set *s, uint32_t star);
/* Of a resolved set: is `x` in it; the smallest member >= x, 0 when there is none. */
bool imap_set_has(const struct imap_set *s, uint32_t x);
uint32_t imap_set_next(const struct imap_set *s, uint32_t x);
/* The highest number of a resolved set, 0 when empty. */
uint32_t imap_set_max(const struct imap_set *s);
/* Append ascending or unordered numbers as "1:3,7"; only runs that ascend by one are joined, so the
 * order stays that of the array (COPYUID). */
bool imap_set_put(struct buf *out, const uint32_t *v, size_t n);

#endif
