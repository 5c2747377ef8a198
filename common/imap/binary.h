/* binary: the content of a part without its transfer encoding, streamed (RFC 3516). Pure.
 *
 * What is not encoded, and the text between quoted-printable escapes, comes out with CRLF line ends
 * even where the stored message has LF; what was encoded comes out octet by octet. */
#ifndef IMAP_BINARY_H
#define IMAP_BINARY_H

#include "imap/section.h"
#include "mime/b64.h"
#include "mime/qp.h"

struct imap_binary {
    struct imap_stream in; /* the encoded form as it would go over the wire */
    enum { IMAP_BINARY_PLAIN, IMAP_BINARY_B64, IMAP_BINARY_QP } how;
    struct b64_decoder b64;
    struct qp_decoder qp;
    uint64_t skip, left; /* decoded octets to pass over, and to give after those */
    bool has_ended;
};

/* False: the encoding is not one that can be undone (UNKNOWN-CTE). `encoding` empty: none. */
bool imap_binary_start(struct imap_binary *b, struct slice src, uint64_t wire,
                       struct slice encoding, struct trail *trail);
/* Octets of the whole decoded form, and is there a NUL among them; reads through `src`. */
uint64_t imap_binary_size(struct slice src, uint64_t wire, struct slice encoding,
                          struct trail *trail, bool *has_nul);
/* Append about `room` octets, at most `b->left` in all. Finished when b->left is 0. False: no
 * memory. */
bool imap_binary_pull(struct imap_binary *b, struct buf *out, size_t room);

#endif
