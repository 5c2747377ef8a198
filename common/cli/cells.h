/* cells: text from outside on a terminal. Whatever could move the cursor, colour, ring or turn the
 * direction of the text never comes through: C0 and C1 controls, DEL, bidirectional controls and
 * line separators, and bytes that are not UTF-8, become U+FFFD; blanks of all kinds a space. Pure,
 * any thread. */
#ifndef CLI_CELLS_H
#define CLI_CELLS_H

#include "base/buf.h"

/* Append all of `in`, cleaned. */
void cells_clean(struct buf *out, struct slice in);
/* Append what fits into `width` columns, cleaned; what was cut ends in "…". East Asian wide
 * characters and emoji count two, combining ones none. With `is_padded` spaces fill the rest.
 * Returns the columns used. */
size_t cells_put(struct buf *out, struct slice in, size_t width, bool is_padded);

#endif
