/* encword: encoded words in header fields (RFC 2047; RFC 2231 5 language tags).
 *
 * Decoding never fails: what is no encoded word is text. Encoding folds by itself: the caller says
 * in which column the value starts and gets the column where it ended.
 */
#ifndef MIME_ENCWORD_H
#define MIME_ENCWORD_H

#include "base/buf.h"

enum { ENCWORD_MAX = 75, ENCWORD_LINE_MAX = 76, ENCWORD_READ_MAX = 4096 };

/* Append a field value (folds allowed) as UTF-8 on one line: encoded words decoded, blanks between
 * two of them dropped, characters split over words of one charset joined, raw 8-bit text taken as
 * UTF-8 or Windows-1252. Decoded controls become spaces, so that no word can forge a line. Words
 * longer than ENCWORD_READ_MAX stay as they are. False when `out` is full. */
bool encword_decode(struct buf *out, struct slice value);

/* Append unstructured text (Subject). ASCII words stay as they are; others, and words too long for
 * a line or that look encoded, become UTF-8 encoded words (Q or B, the shorter). Line breaks in
 * `utf8` become spaces. Folds with CRLF and a space so that lines stay within ENCWORD_LINE_MAX
 * where a word allows it. `*column` is the column on entry and on return. Ill-formed UTF-8 becomes
 * U+FFFD. False when `out` is full. */
bool encword_put_text(struct buf *out, struct slice utf8, size_t *column);
/* The same for a display name: an atom phrase or quoted string when ASCII, else encoded words. */
bool encword_put_phrase(struct buf *out, struct slice utf8, size_t *column);

#endif
