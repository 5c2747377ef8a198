/* msgid: message identifiers (RFC 5322 3.6.4). */
#ifndef MIME_MSGID_H
#define MIME_MSGID_H

#include "base/buf.h"
#include "base/moment.h"

enum { MSGID_RANDOM = 10, MSGID_MAX = 998 };

/* Append `<time.random@host>`: `now` and MSGID_RANDOM random bytes given by the caller make the
 * left side, `host` the right one ("localhost.invalid" when empty or unfit). False when `out` is
 * full. */
bool msgid_put(struct buf *out, wall_t now, const uint8_t random[MSGID_RANDOM], struct slice host);

/* Take the next identifier off `*rest` (a Message-ID, In-Reply-To or References value, folds and
 * comments and words between them included): `*id` is what is between < and >, without blanks, in
 * place; what is longer than MSGID_MAX or holds blanks or controls is skipped. False: none is left.
 */
bool msgid_next(struct slice *rest, struct slice *id);

#endif
