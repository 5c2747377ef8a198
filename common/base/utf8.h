/* utf8: RFC 3629. Surrogates, overlong forms and values above U+10FFFF are not UTF-8. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include "base/buf.h"

/* Length 1..4 of the well-formed character that `s` begins with, 0 when there is none.
 * `*cp`, when not NULL, gets the code point. */
size_t utf8_char(struct slice s, uint32_t *cp);
/* True when all of `s` is UTF-8 (an empty slice is). NUL is allowed. */
bool utf8_valid(struct slice s);
/* True when every byte is below 128. */
bool utf8_is_ascii(struct slice s);
/* Append one code point; what is not a scalar value becomes U+FFFD. */
bool utf8_put(struct buf *b, uint32_t cp);
/* Append `s` with each ill-formed byte replaced by U+FFFD. */
bool utf8_put_lossy(struct buf *b, struct slice s);

#endif
