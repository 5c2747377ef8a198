/* utf7: modified UTF-7, how IMAP4rev1 writes mailbox names (RFC 3501 5.1.3) and Maildir++ folders.
 */
#ifndef BASE_UTF7_H
#define BASE_UTF7_H

#include "base/buf.h"

/* Append `utf8` as modified UTF-7. False when it is not UTF-8 or `out` is full; then `out` holds
 * what it held before. */
bool utf7_put(struct buf *out, struct slice utf8);
/* Append the UTF-8 of `in`. Strict: what utf7_put would not have written (superfluous shifts,
 * padding bits, ASCII in base64, lone surrogates, 8-bit bytes, controls) is refused. False as
 * above. */
bool utf7_get(struct buf *out, struct slice in);

#endif
