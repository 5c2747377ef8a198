/* part: the MIME structure of a message as a tree of offsets (RFC 2045, RFC 2046), nothing copied.
 *
 * The message may be the stored form (LF) or the wire form (CRLF), even mixed: every range carries
 * its size both as stored and as it goes over the wire, where each bare LF is CRLF. Nodes and texts
 * are in an arena. Never fails because of what a message says: what breaks the rules becomes a
 * leaf. Bounds: PART_COUNT_MAX parts, PART_DEPTH_MAX levels; beyond, the rest is body of the part
 * it is in.
 *
 *     struct part *root = part_parse(&arena, message, NULL);
 *     struct part_range r;
 *     uint32_t path[] = {1, 2};
 *     if (part_section(root, path, 2, PART_MIME, &r)) send(slice_first(slice_from(message, r.at),
 * r.n));
 */
#ifndef MIME_PART_H
#define MIME_PART_H

#include "base/trail.h"
#include "mime/header.h"
#include "mime/param.h"

enum { PART_COUNT_MAX = 10000, PART_DEPTH_MAX = 64, PART_LANGUAGES_MAX = 50 };

/* A run of bytes of the message. */
struct part_range {
    uint64_t at, n; /* as stored */
    uint64_t wire;  /* size with every bare LF as CRLF */
    uint64_t lines; /* number of LF in it */
};

struct part {
    struct part *parent, *next, *children; /* siblings in order; NULL at the ends */
    unsigned number;                       /* 1.. among its siblings; 1 for a root */
    unsigned depth;                        /* 0 for the root */

    struct part_range header; /* fields with the empty line behind them */
    struct part_range body;   /* up to the line end that belongs to the boundary */

    struct slice type, subtype; /* as written, "text"/"plain" when absent or unreadable */
    struct param_list params;   /* of Content-Type, as written; empty when absent */
    struct slice disposition;   /* "attachment", empty when absent */
    struct param_list disposition_params;
    struct slice encoding;        /* "base64"...; "7bit" when absent */
    struct slice id, description; /* raw and unfolded; empty when absent */
    struct slice md5, location;   /* the same */
    struct slice *languages;      /* Content-Language, n_languages of them */
    unsigned n_languages;

    bool is_multipart; /* multipart with a boundary: children is not NULL (an empty text/plain
                          stands in where the boundary never came) */
    bool is_message; /* message/rfc822 or message/global in an identity encoding: the only child is
                        the root of that message */
    bool has_type;   /* a readable Content-Type field was there */
};

/* A multipart without boundary is reported as text/plain; a message/rfc822 whose encoding hides it,
 * or that nests too deep, as application/octet-stream. So whoever writes a BODYSTRUCTURE needs no
 * special case. NULL only when the arena is full. Linear in the size of the message (times the
 * depth for lines that begin with "--"). Text slices live in the arena, or are static. `trail`
 * hears how far it is; NULL: nobody does. */
struct part *part_parse(struct arena *a, struct slice message, struct trail *trail);

enum part_section {
    PART_BODY,   /* BODY[1.2]; with an empty path the whole message */
    PART_MIME,   /* BODY[1.2.MIME]: the header of the part itself; not with an empty path */
    PART_HEADER, /* BODY[HEADER], BODY[1.2.HEADER]: of a message; the part must be message/rfc822 */
    PART_TEXT    /* BODY[TEXT], BODY[1.2.TEXT]: the body of that message */
};

/* The part that a section path names (RFC 3501 6.4.5): numbers count children of a multipart; a
 * message/rfc822 is looked through; "1" of anything without children is its body. NULL: none. */
const struct part *part_find(const struct part *root, const uint32_t *path, size_t n);
/* The bytes of a section; false when there is no such section. */
bool part_section(const struct part *root, const uint32_t *path, size_t n, enum part_section what,
                  struct part_range *out);

/* The first part, in the order of the message, that is meant to be read and of the type
 * text/`subtype`: not an attachment. NULL: none. */
const struct part *part_find_text(const struct part *root, struct slice subtype);
/* True when the type matches, any case. */
bool part_is(const struct part *p, struct slice type, struct slice subtype);
/* The next part in the order of the message (depth first), NULL at the end. */
const struct part *part_next(const struct part *p);

/* Decode the body of a leaf by its transfer encoding; append to `out`. Identity bodies are copied
 * as stored. Damaged encodings are decoded as far as possible. False when `out` is full. */
bool part_decode(const struct part *p, struct slice message, struct buf *out);
/* The same for text: also charset to UTF-8 and line ends to LF. */
bool part_text(const struct part *p, struct slice message, struct buf *out);
/* Append the file name of an attachment as UTF-8 (filename, else the name parameter); false: none.
 * Directory parts are cut off, control bytes and slashes replaced; never "." or "..". */
bool part_filename(const struct part *p, struct buf *out);

#endif
