/* fold: text as it is compared by SEARCH, SORT and THREAD. Pure. */
#ifndef IMAP_FOLD_H
#define IMAP_FOLD_H

#include "base/buf.h"

enum { IMAP_FOLD_GROWTH = 2 }; /* a folded text has at most so many times the bytes */

/* Append `s` (UTF-8; other bytes stay) in lower case as far as ASCII, Latin, Greek and Cyrillic go,
 * each run of blanks and line ends as one space. Two texts that differ only there fold to the same
 * bytes; a part of a text folds to a part of its folding. False: `out` is full. */
bool imap_fold(struct buf *out, struct slice s);
/* The same of a header field's value with its encoded words decoded. */
bool imap_fold_field(struct buf *out, struct slice value);

#endif
