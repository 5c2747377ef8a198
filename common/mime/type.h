/* type: the media type of a file by its name and first bytes (RFC 2046). A small table of what
 * people attach; what is not in it is text/plain when it is text, else application/octet-stream. */
#ifndef MIME_TYPE_H
#define MIME_TYPE_H

#include "base/slice.h"

enum { TYPE_LOOK_MAX = 4096 }; /* bytes of the content that are looked at */

/* By the extension of `name` (any case), else by the beginning of `bytes`. Static. */
struct slice type_of(struct slice name, struct slice bytes);

#endif
