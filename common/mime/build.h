/* build: a new message, made of headers, text and attachments (RFC 5322, RFC 2045-2049, RFC 2231).
 *
 * What comes out has CRLF line ends, is 7-bit (no 8BITMIME needed), and has lines of at most 78
 * bytes where words allow it and never more than 998. Header texts cannot smuggle a line: line ends
 * in them become spaces. Everything accidental (now, randomness) is given by the caller.
 *
 *     struct build b;
 *     build_init(&b, &out, random, sizeof random);
 *     build_addresses(&b, S("From"), &from);
 *     build_date(&b, now, offset);
 *     build_text_field(&b, S("Subject"), S("Grüße"));
 *     build_body(&b, text, html, files, n_files);
 *     if (out.bad) ...
 */
#ifndef MIME_BUILD_H
#define MIME_BUILD_H

#include "base/moment.h"
#include "mime/address.h"

enum { BUILD_RANDOM_MIN = 12, BUILD_LINE_MAX = 78, BUILD_HARD_LINE_MAX = 998 };

struct build {
    struct buf *out; /* borrowed until the last call; out->bad tells of failure */
    char boundary[64];
};

struct build_file {
    struct slice name;  /* file name as UTF-8, shown as filename=; may be empty */
    struct slice type;  /* "image/png"; empty: application/octet-stream */
    struct slice bytes; /* content */
    bool is_inline;
};

/* At least BUILD_RANDOM_MIN random bytes make the boundaries of this message. */
void build_init(struct build *b, struct buf *out, const uint8_t *random, size_t n);

/* A field whose value is written as given, folded at blanks; for structured values that are ASCII.
 */
void build_raw_field(struct build *b, struct slice name, struct slice value);
/* A field of unstructured UTF-8 text, encoded and folded as needed (encword). */
void build_text_field(struct build *b, struct slice name, struct slice utf8);
/* A field with a list of addresses; names encoded as needed, one fold per member where needed. An
 * empty list writes nothing. */
void build_addresses(struct build *b, struct slice name, const struct address_list *list);
/* Date: of an instant at an offset in minutes. */
void build_date(struct build *b, wall_t now, int offset);

/* The MIME fields, the empty line and the body: `text` (UTF-8, LF or CRLF), `html` as an
 * alternative when not empty, `n` files as attachments in multipart/mixed. Text goes out as 7bit
 * when it can, else as quoted-printable or base64, the shorter. Once, after all other fields. */
void build_body(struct build *b, struct slice text, struct slice html,
                const struct build_file *files, size_t n);

#endif
