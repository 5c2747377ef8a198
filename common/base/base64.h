/* base64: RFC 4648 4. */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include "base/buf.h"

/* Append the encoding of `in` on one line, padded. False when `out` is full. */
bool base64_put(struct buf *out, struct slice in);
/* Append the decoding of `in`, which must be canonical: no blanks, padded, no stray bits. The form
 * that SASL (RFC 4422) and LDAP use. On a false nothing was appended. */
bool base64_get(struct buf *out, struct slice in);

#endif
