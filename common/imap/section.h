/* section: BODY[...] of a FETCH (RFC 3501 6.4.5): parsed, found in a message, and streamed.
 *
 * A stored message may have LF lines; what goes over the wire has CRLF, and every count is of that
 * form. The stream converts while it is pulled, so no copy of the message is ever made. NUL, which
 * IMAP cannot carry in a literal, goes out as 0x80.
 */
#ifndef IMAP_SECTION_H
#define IMAP_SECTION_H

#include "imap/token.h"
#include "mime/part.h"

enum imap_section_what {
    IMAP_SECTION_ALL, /* BODY[] or BODY[1.2] */
    IMAP_SECTION_HEADER,
    IMAP_SECTION_FIELDS,
    IMAP_SECTION_FIELDS_NOT,
    IMAP_SECTION_TEXT,
    IMAP_SECTION_MIME
};

struct imap_section {
    enum imap_section_what what;
    uint32_t *path;
    size_t n_path;
    struct slice *fields; /* of HEADER.FIELDS */
    size_t n_fields;
    bool has_partial;
    uint64_t offset, length; /* <offset.length> */
};

/* Take "[...]" and an optional "<0.100>" off the cursor; memory from its arena. Bounds:
 * IMAP_SECTION_DEPTH_MAX and IMAP_SECTION_FIELDS_MAX of imap/server.h. */
bool imap_take_section(struct imap_cursor *c, struct imap_section *out);
/* Append "[1.2.HEADER.FIELDS (From)]<0>" as an answer names it, behind BODY or BINARY. */
bool imap_section_put(struct buf *out, const struct imap_section *s);
/* True when the tree of parts is needed to find it. */
bool imap_section_needs_parts(const struct imap_section *s);

/*
 * Find the bytes, going through `message` with `trail`. `root` may be NULL when
 * imap_section_needs_parts says so. `*out` points into `message`, or for HEADER.FIELDS into `tmp`,
 * which is filled. `*wire` is the size in the CRLF form. A section that is not there gives false
 * (the answer is NIL); header fields of a part that is no message likewise. At most `tmp`'s ceiling
 * of header fields.
 */
bool imap_section_find(const struct imap_section *s, struct slice message, const struct part *root,
                       struct trail *trail, struct buf *tmp, struct slice *out, uint64_t *wire);

/* Size of `s` with every bare LF as CRLF. */
uint64_t imap_wire_size(struct slice s, struct trail *trail);

struct imap_stream {
    struct slice src;
    struct trail *trail;
    uint64_t left;     /* octets still to come */
    bool was_cr, half; /* last byte was CR; CR of a bare LF went out, its LF did not */
    bool keeps_nul;    /* set after the start: NUL goes out as it is */
};
/* Stream `length` octets of the CRLF form from `offset` on; `wire` is imap_wire_size(src). The
 * number of octets there will really be is `left`. */
void imap_stream_start(struct imap_stream *st, struct slice src, uint64_t wire, uint64_t offset,
                       uint64_t length, struct trail *trail);
/* Leave out the next `n` octets, of those that are `left`. */
void imap_stream_skip(struct imap_stream *st, uint64_t n);
/* Append at most `room` octets; false when `out` is full. Finished when st->left is 0. */
bool imap_stream_pull(struct imap_stream *st, struct buf *out, size_t room);

#endif
