/* param: structured field values: Content-Type, Content-Disposition and their parameters (RFC 2045
 * 5.1, RFC 2183, RFC 2231).
 *
 * The list holds what was written, piece by piece and unquoted ("filename*0*", "filename*1*"), as
 * IMAP BODYSTRUCTURE hands it out; param_text puts pieces, charset and percent signs together.
 *
 *     struct param_list params;
 *     param_parse(&arena, S("text/plain; charset=utf-8"), &type, &params);   // type: text/plain
 *     param_text(&params, S("filename"), &out);
 */
#ifndef MIME_PARAM_H
#define MIME_PARAM_H

#include "base/arena.h"
#include "base/buf.h"

enum { PARAM_COUNT_MAX = 200, PARAM_BYTES_MAX = 64 * 1024, PARAM_PIECES_MAX = 100 };

struct param {
    struct slice name, value; /* in the arena; the value unquoted */
};
struct param_list {
    struct param *v;
    size_t n;
};

/* Split a value: `*head` gets what is before the first semicolon without blanks and comments
 * ("text/plain", "attachment"), `out` the parameters in order. Tolerant: unquoted values with
 * strange bytes, missing semicolons' blanks, trailing semicolons; what cannot be read is skipped.
 * At most PARAM_BYTES_MAX bytes and PARAM_COUNT_MAX parameters are looked at. Results live in the
 * arena. False only when the arena is full. */
bool param_parse(struct arena *a, struct slice in, struct slice *head, struct param_list *out);

/* Raw value of the first parameter of exactly that name, any case; empty slice when there is none.
 */
struct slice param_get(const struct param_list *l, struct slice name);

/* Append the value of a parameter as UTF-8: RFC 2231 continuations joined, charset and language
 * resolved; else, as software wrongly does, RFC 2047 words in a plain value decoded; else raw bytes
 * as UTF-8 or Windows-1252. False when there is no such parameter (nothing appended). */
bool param_text(const struct param_list *l, struct slice name, struct buf *out);

/* Append `; name=value`: as a token, a quoted string, or by RFC 2231 when `utf8` is not ASCII or is
 * long. Each parameter, and each piece of a long one, goes on a line of its own (CRLF and a blank
 * before it). False when `out` is full. */
bool param_put(struct buf *out, struct slice name, struct slice utf8);

#endif
