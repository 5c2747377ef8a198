/* buf: growing bytes with a ceiling given at birth.
 *
 * Invariants: `p[0..n)` are the bytes; capacity never passes `max`; once an append fails (no
 * memory, or over the ceiling) `bad` is set, the content stays as it was before that append, and
 * later appends do nothing: append freely, ask once. A zeroed struct may be released. A buf belongs
 * to one thread at a time.
 *
 *     struct buf line;
 *     buf_init(&line, 64 * 1024);
 *     buf_add(&line, S("RCPT TO:<"));
 *     buf_addf(&line, "%.*s>\r\n", SP(address));
 *     if (line.bad) ...
 *     buf_release(&line);
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>

#include "base/attr.h"
#include "base/slice.h"

struct buf {
    char *p;
    size_t n, cap, max;
    bool bad;
};

/* Empty; at most `max` bytes ever. Allocates nothing yet. */
void buf_init(struct buf *b, size_t max);
/* Free the bytes; the ceiling stays, so the buf may be used again. */
void buf_release(struct buf *b);
/* Forget the content and the failure; keep the memory. */
void buf_reset(struct buf *b);

/* Append; false (and `bad`) on failure. `s` may not point into `b`. */
bool buf_add(struct buf *b, struct slice s);
bool buf_addc(struct buf *b, char c);
/* A number in decimal: what buf_addf("%llu") does, in a twentieth of the time. */
bool buf_addu(struct buf *b, uint64_t number);
bool buf_addf(struct buf *b, const char *fmt, ...) ATTR_PRINTF(2, 3);
bool buf_vaddf(struct buf *b, const char *fmt, va_list ap);
/* Room for `n` more bytes: a pointer to write to, valid until the next call on `b`; NULL on
 * failure. buf_grown then says how many were written. */
char *buf_room(struct buf *b, size_t n);
void buf_grown(struct buf *b, size_t n);
/* Drop the first `n` bytes (all when fewer). Moves the rest down. */
void buf_drop(struct buf *b, size_t n);
/* Keep only the first `n` bytes. */
void buf_cut(struct buf *b, size_t n);

/* The content; valid until the next call on `b`. */
static inline struct slice buf_slice(const struct buf *b) { return slice_of(b->p, b->n); }
/* The content as a C string, or NULL on failure. Valid until the next call on `b`. */
const char *buf_cstr(struct buf *b);
/* Hand the bytes over with a NUL added; the caller frees them. NULL on failure; `b` is then empty.
 */
char *buf_take(struct buf *b, size_t *n);

#endif
