/* qp: quoted-printable (RFC 2045 6.7), in pieces of any size.
 *
 * A codec is a small struct without memory of its own; zero-initialise it. One thread at a time.
 *
 *     struct qp_decoder d = {0};
 *     while (read(...)) qp_decode(&d, piece, &out);
 *     qp_decode_end(&d, &out);
 */
#ifndef MIME_QP_H
#define MIME_QP_H

#include "base/buf.h"

enum { QP_LINE_MAX = 76, QP_BLANKS_MAX = 256 };

struct qp_decoder {
    char held[3]; /* an escape that is not complete: "=", "=3", "=\r" */
    unsigned n_held;
    unsigned n_blanks; /* blanks that are dropped if the line ends here */
    char blanks[QP_BLANKS_MAX];
};

/* Append what is certain so far. Line ends come out as they were. A damaged escape is passed
 * through as it stands; blanks before a line end go, as the RFC says. False when `out` is full. */
bool qp_decode(struct qp_decoder *d, struct slice in, struct buf *out);
/* The end of input: append what was held. */
bool qp_decode_end(struct qp_decoder *d, struct buf *out);

struct qp_encoder {
    bool is_binary; /* set by the caller: CR and LF are data too, not line ends */
    bool has_cr;    /* a CR waits for its LF */
    char blank;     /* a blank waits to see if the line ends */
    unsigned column;
};

/* Append lines of at most QP_LINE_MAX bytes ending in CRLF. In text (not binary) CRLF and LF are
 * line ends; other controls, 8-bit bytes, blanks at line ends and a dot at the start of a line are
 * escaped. False when `out` is full. */
bool qp_encode(struct qp_encoder *q, struct slice in, struct buf *out);
/* The end of input: append what waits. A last line without line end gets none. */
bool qp_encode_end(struct qp_encoder *q, struct buf *out);

#endif
