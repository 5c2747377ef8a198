/* fold: text as it is compared by SEARCH, SORT and THREAD (RFC 5051, i;unicode-casemap). Pure.
 *
 * Stores keep folded texts: who changes what a text folds to changes the versions of what they keep
 * (SCHEMA_NUMBER in store/index.c, the magic of store/signature.c). */
#ifndef IMAP_FOLD_H
#define IMAP_FOLD_H

#include "base/buf.h"

enum { IMAP_FOLD_GROWTH = 11 }; /* a folded text has at most so many times the bytes (U+FDFA) */

/* Append `s` (UTF-8; other bytes stay) so that texts that i;unicode-casemap holds for equal, and
 * some more (fold_def.py says which), become the same bytes: case is gone and characters are taken
 * apart, so that e with acute is e and U+0301, and a wide or mathematical letter is that letter.
 * ASCII comes out in lower case, and each run of blanks and line ends as one space. A part of a
 * text folds to a part of its folding. False: `out` is full. */
bool imap_fold(struct buf *out, struct slice s);
/* The same of a header field's value with its encoded words decoded. */
bool imap_fold_field(struct buf *out, struct slice value);
/* The order of two folded texts (-1, 0, 1): that of RFC 5051 2, where ASCII counts in upper case.
 */
int imap_fold_cmp(struct slice a, struct slice b);

#endif
