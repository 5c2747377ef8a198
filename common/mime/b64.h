/* b64: base64 as a transfer encoding of bodies (RFC 2045 6.8), in pieces of any size. (The strict,
 * one-line form that SASL wants is base/base64.) Zero-initialise the structs. One thread at a time.
 */
#ifndef MIME_B64_H
#define MIME_B64_H

#include "base/buf.h"

enum { B64_LINE_MAX = 76 };

struct b64_decoder {
    uint32_t bits;
    unsigned n;      /* sextets in `bits`, 0..3 */
    bool is_damaged; /* something other than base64, blanks and padding was skipped, or the end cut
                      */
};

/* Append the decoding. Blanks and line ends are skipped, junk is skipped and noted, padding ends a
 * group and decoding goes on behind it (concatenated encodings are common). False: `out` is full.
 */
bool b64_decode(struct b64_decoder *d, struct slice in, struct buf *out);
/* The end of input: the bytes of a last group without padding. */
bool b64_decode_end(struct b64_decoder *d, struct buf *out);

struct b64_encoder {
    unsigned char held[3];
    unsigned n, column;
};

/* Append lines of B64_LINE_MAX bytes, each with CRLF. False: `out` is full. */
bool b64_encode(struct b64_encoder *q, struct slice in, struct buf *out);
/* The end of input: padding and the last CRLF. */
bool b64_encode_end(struct b64_encoder *q, struct buf *out);

#endif
