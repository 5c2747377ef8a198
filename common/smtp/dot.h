/* dot: text ended by a line with a single dot (RFC 5321 4.5.2, RFC 1939 3), both ways, as state
 * machines that are right however the bytes are cut (S-1, R-1).
 *
 *     struct smtp_dot_encoder d = {0};
 *     smtp_dot_put(&d, chunk, &out); ...; smtp_dot_end(&d, &out);
 */
#ifndef SMTP_DOT_H
#define SMTP_DOT_H

#include "base/buf.h"

/* Zeroed: at the start of a text. */
struct smtp_dot_encoder {
    bool has_cr;     /* a CR was seen and not yet written */
    bool is_midline; /* the last byte written was not LF */
    bool is_raw;     /* BDAT: no dots; smtp_dot_end writes none either */
};

/* Append `in` encoded: lines end in CRLF (from CRLF or LF), a lone CR becomes a blank, a leading
 * dot is doubled. At most 3 bytes for 1, plus 1. False when `out` is full. */
bool smtp_dot_put(struct smtp_dot_encoder *d, struct slice in, struct buf *out);
/* Append what ends the text: CRLF if the last line lacks it, then ".\r\n". */
bool smtp_dot_end(struct smtp_dot_encoder *d, struct buf *out);

enum {
    SMTP_DOT_RAW = 1,       /* no dots, no end: BDAT. The caller counts the octets */
    SMTP_DOT_NORMALISE = 2, /* LF becomes CRLF, a lone CR a blank; else they pass as they are */
    SMTP_DOT_LAX_END = 4    /* reading as a client: LF.LF and the like also end the text */
};
/* Zeroed but for `mode`: at the start of a text. */
struct smtp_dot_decoder {
    unsigned mode;
    int state;
    bool has_bare_cr, has_bare_lf; /* seen in the text */
};

/* Take bytes off `*in` and append the decoded text to `out`, until the end of the text (true; never
 * a byte further), or `*in` is empty, or `out` holds `limit` bytes or more (it may pass that by 4).
 * Without LAX_END only CRLF.CRLF ends (a text that begins with ".CRLF" is empty). */
bool smtp_dot_take(struct smtp_dot_decoder *d, struct slice *in, struct buf *out, size_t limit);
/* RAW: the text is over; a CR that waited for its LF is written. */
void smtp_dot_finish(struct smtp_dot_decoder *d, struct buf *out);

#endif
