/* legal: a message made fit for the wire (RFC 5322 2.1.1, RFC 5321 4.5.3.1.6, RFC 6409 8).
 *
 * A line of more than LEGAL_LINE_MAX octets, or a NUL, is refused or broken by many hosts. Here the
 * MIME part that has it is encoded anew, quoted-printable or base64, so that what a reader sees
 * stays the same; a header line that is too long is folded. A message that has no MIME fields and
 * 8-bit text is labelled. What is signed stays as it is: all of a message with a DKIM-Signature or
 * ARC-Seal field, and everything in multipart/signed, multipart/encrypted or a part that has a
 * Content-MD5 field.
 *
 *     struct legal_scan scan = {0};
 *     while (read(...)) legal_scan_add(&scan, piece);
 *     if (legal_scan_flaws(&scan)) legal_make(&arena, message, 0, &out, &e);
 */
#ifndef MIME_LEGAL_H
#define MIME_LEGAL_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum { LEGAL_LINE_MAX = 998 }; /* octets without CRLF */

enum {
    LEGAL_LONG_LINE = 1,
    LEGAL_NUL = 2,
    LEGAL_8BIT = 4, /* not a flaw where 8BITMIME is known */
    LEGAL_BARE = 8  /* CR without LF, LF without CR: BINARYMIME's; a scan does not look for it */
};

/* What a message has that not every host takes, found in pieces of any size. Zero-initialise. */
struct legal_scan {
    size_t column;
    unsigned flaws; /* LEGAL_ bits */
    bool has_cr;    /* a CR waits for its LF; else it is an octet of the line */
};
void legal_scan_add(struct legal_scan *s, struct slice piece);

/* True when the message (its header decides) is signed, so that nothing in it may be changed. */
bool legal_is_signed(struct slice message);

/* Append `message` to `out`, made legal. Lines end in CRLF there as they do in `message`, or in LF
 * when it has only those. With `seven_bit` parts with 8-bit octets are encoded too, for a host
 * without 8BITMIME (raw UTF-8 in header fields stays: that is SMTPUTF8's). A message that is legal
 * already, or signed, is copied. `out` needs room for three times the message. The structure lives
 * in `a`, which may be released afterwards. ERR_LIMIT, ERR_MEMORY. */
enum err_code legal_make(struct arena *a, struct slice message, bool seven_bit, struct buf *out,
                         struct err *e);

/* Append `message`, which came as BINARYMIME (RFC 3030), made so that it may be stored with LF line
 * ends and keeps its octets: parts with a bare CR or LF are encoded base64. The rest, and what is
 * signed, is copied. Otherwise as legal_make. */
enum err_code legal_make_storable(struct arena *a, struct slice message, struct buf *out,
                                  struct err *e);

#endif
