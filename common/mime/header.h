/* header: the fields of a message header, found without copying (RFC 5322 2.2, RFC 6532).
 *
 * Lines may end in CRLF or LF. A header ends at the first empty line, or where the bytes end; a
 * line that is no field (no colon, a fold before any field, an mbox "From " line) is handed out
 * with an empty name and ends nothing, because real messages have them and a reader must still see
 * the rest. Bounds: HEADER_BYTES_MAX bytes and HEADER_FIELDS_MAX fields are looked at; what lies
 * beyond is not handed out and `limited` is set. Nothing here allocates, except header_unfold into
 * a buf.
 *
 *     struct header_iter it;
 *     struct header_field f;
 *     for (header_begin(&it, message); header_next(&it, &f);)
 *         if (slice_ieq(f.name, S("Received"))) hops++;
 */
#ifndef MIME_HEADER_H
#define MIME_HEADER_H

#include "base/buf.h"

enum { HEADER_BYTES_MAX = 2 * 1024 * 1024, HEADER_FIELDS_MAX = 5000 };

struct header_field {
    struct slice name;  /* without colon and blanks before it; empty: not a field */
    struct slice value; /* all after the colon, with folds, without the last line end */
    size_t at, end;     /* offsets in the message: first byte, and after the line end */
};

struct header_iter {
    struct slice in;
    size_t at;
    unsigned fields;
    bool limited; /* a bound was reached: there was more */
};

/* Start at the first byte of `message`; slices of fields point into it. */
void header_begin(struct header_iter *it, struct slice message);
/* The next field; false at the end of the header. */
bool header_next(struct header_iter *it, struct header_field *f);

/* Offset of the first byte of the body: after the empty line; `message.n` when there is none.
 * `*head`, when not NULL, gets the offset of the empty line itself (the length of the fields).
 * Not bounded by HEADER_BYTES_MAX: linear in the header. */
size_t header_end(struct slice message, size_t *head);

/* The `nth` field (0 is the first) of that name, any case. */
bool header_find(struct slice message, struct slice name, unsigned nth, struct header_field *f);
/* How many fields of that name there are. */
unsigned header_count(struct slice message, struct slice name);
/* The value of the first field of that name without outer blanks, folds kept; empty when none. */
struct slice header_value(struct slice message, struct slice name);

/* The first field of each of `n` names in one pass, without outer blanks, folds kept; p is NULL
 * where there is none. */
void header_values(struct slice message, const struct slice *names, size_t n, struct slice *values);
/* Append a value unfolded (RFC 5322 2.2.3: each line end goes, the blank after it stays) and
 * without outer blanks. NUL and bare CR become a space. False when `out` is full. */
bool header_unfold(struct buf *out, struct slice value);

/* True when `name` may be a field name: 1 to 76 bytes of 33-126 without colon (RFC 5322 2.2). */
bool header_name_valid(struct slice name);

#endif
