/* preview: the first words of a message for a list of messages (RFC 8970). Pure. */
#ifndef IMAP_PREVIEW_H
#define IMAP_PREVIEW_H

#include "base/buf.h"
#include "base/trail.h"

enum { IMAP_PREVIEW_MAX = 200 }; /* characters */

/* Append the first IMAP_PREVIEW_MAX characters of the text of `message` as UTF-8 on one line: of
 * its text/plain, or of its text/html without markup, with runs of blanks as one; nothing when it
 * has no text. False: no memory. */
bool imap_put_preview(struct buf *out, struct slice message, struct trail *trail);

#endif
