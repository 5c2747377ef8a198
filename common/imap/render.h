/* render: ENVELOPE, BODY and BODYSTRUCTURE of a message as text (RFC 3501 7.4.2).
 *
 * Pure functions from bytes to text, so that a store can keep the text and hand it back. The
 * message may be in LF or CRLF form; sizes and lines are those of the CRLF form. Only ASCII comes
 * out: raw 8-bit bytes of broken messages are put in as RFC 2047 words (UTF-8, or unknown bytes as
 * "unknown-8bit"), so that no client sees a string it may not see. Deterministic, any thread.
 */
#ifndef IMAP_RENDER_H
#define IMAP_RENDER_H

#include "base/buf.h"
#include "mime/part.h"

/* Append "(date subject from sender reply-to to cc bcc in-reply-to message-id)". Sender and
 * Reply-To default to From. `header` starts at the first field and may be the whole message. False
 * when `out` is full or there is no memory (the text is then incomplete: drop it). */
bool imap_put_envelope(struct buf *out, struct slice header);
/* Append the structure, without (`is_extended` false: BODY) or with extension data. `root` is
 * part_parse() of `message`. */
bool imap_put_structure(struct buf *out, const struct part *root, struct slice message,
                        bool is_extended);
/* The two with parsing included. */
bool imap_put_body(struct buf *out, struct slice message, struct trail *trail);
bool imap_put_bodystructure(struct buf *out, struct slice message, struct trail *trail);

/* Append `s` as nil, quoted string or literal, whatever RFC 3501 9 needs; NUL is left out, a bare
 * LF becomes CRLF in the literal. `is_nil` when `s.p` is NULL. */
bool imap_put_nstring(struct buf *out, struct slice s);
/* As imap_put_nstring, but an atom when it can be one (ASTRING). */
bool imap_put_astring(struct buf *out, struct slice s);

#endif
