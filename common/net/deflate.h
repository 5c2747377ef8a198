/* deflate: a connection's bytes, packed both ways as raw DEFLATE (RFC 1951), as COMPRESS wants it
 * (RFC 4978). Between the wire and the dialogue, as TLS is, and above it; it moves no bytes itself:
 *
 *     read:  while (deflate_next(d, p, n, &got) == OK && got == 0) deflate_take(d, from the wire)
 *     write: deflate_put(d, text); write(deflate_out(d)), deflate_sent(d, n)
 *
 * One thread at a time. */
#ifndef NET_DEFLATE_H
#define NET_DEFLATE_H

#include "base/buf.h"
#include "base/err.h"

enum {
    DEFLATE_TAKE_MAX = 16 * 1024, /* packed bytes kept from the wire */
    DEFLATE_PUT_MAX = 64 * 1024   /* bytes of one deflate_put */
};

struct deflate;

/* ERR_LIBRARY: there is no zlib here; ERR_MEMORY. Free with deflate_free. */
enum err_code deflate_new(struct deflate **out, struct err *e);
void deflate_free(struct deflate *d); /* NULL is fine */

/* Where packed bytes of the wire are to be put, and how many at most; NULL: no memory. */
char *deflate_room(struct deflate *d, size_t *n);
/* `n` bytes were put there. */
void deflate_took(struct deflate *d, size_t n);
/* Unpack up to `n` bytes to `p`. *got == 0: more is needed from the wire first. ERR_CLOSED: the
 * stream says that it ends; ERR_PROTO: it is none; ERR_MEMORY. */
enum err_code deflate_next(struct deflate *d, char *p, size_t n, size_t *got);

/* Pack up to DEFLATE_PUT_MAX bytes, so that the reader can unpack all of them. How many were taken;
 * 0: no memory, and the stream is of no use any more. */
size_t deflate_put(struct deflate *d, struct slice text);
/* What is to be written; until the next call. */
struct slice deflate_out(const struct deflate *d);
void deflate_sent(struct deflate *d, size_t n);

/* Nothing goes on: give back what an idle connection needs not, some 300 of 340 KiB. */
void deflate_rest(struct deflate *d);

#endif
