/* arena: memory of one unit of work (a message, a transaction, a query), freed in one go.
 *
 * Invariants: nothing is freed singly; pointers live until arena_release or arena_reset; the total
 * never passes `max`. A failed request sets `bad` and returns NULL. One thread at a time. A zeroed
 * struct may be released.
 *
 *     struct arena a;
 *     arena_init(&a, 1024 * 1024);
 *     struct address *list = arena_new(&a, sizeof *list * n);
 *     arena_release(&a);
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/attr.h"
#include "base/slice.h"

struct arena_block;
struct arena {
    struct arena_block *blocks;
    size_t used, max; /* bytes handed out so far, and how many there may be */
    bool bad;
};

void arena_init(struct arena *a, size_t max);
/* Free all; the ceiling stays. */
void arena_release(struct arena *a);
/* Forget all that was handed out and the failure; may keep one block of memory. */
void arena_reset(struct arena *a);
/* `n` zeroed bytes aligned for any type, or NULL. `n` of 0 gives a valid pointer. */
void *arena_new(struct arena *a, size_t n);
/* A copy of `s` with a NUL behind it (not counted); an empty slice with NULL on failure. */
struct slice arena_copy(struct arena *a, struct slice s);
/* The same as a C string, or NULL. */
char *arena_cstr(struct arena *a, struct slice s);
/* Formatted text, or an empty slice on failure. */
struct slice arena_printf(struct arena *a, const char *fmt, ...) ATTR_PRINTF(2, 3);

#endif
