/* submission: a message that a local program hands over: read, completed (RFC 6409 8), put into the
 * queue, or into the drop directory when this user may not write the queue.
 *
 *     submission_init(&s, conf, log);
 *     submission_sender(&s, "me@example.org", &e);
 *     submission_rcpts(&s, S("root, ops@example.org"), &e);
 *     submission_read(&s, stdin, true, &e);
 *     submission_finish(&s, &e);
 *     submission_store(&s, &where, &e);          // durable when it returns OK
 *     submission_release(&s);
 *
 * One thread. */
#ifndef SUBMIT_SUBMISSION_H
#define SUBMIT_SUBMISSION_H

#include <stdio.h>

#include "conf/conf.h"
#include "mime/legal.h"
#include "queue/queue.h"

enum { SUBMISSION_ARENA_MAX = 64 * 1024 * 1024 };

struct submission {
    struct conf *conf;
    const struct log *log;
    const char *full_name; /* for a From field that is made; borrowed, or NULL */
    struct arena arena;
    struct buf header; /* the fields as they came, CRLF lines, without the empty line */
    struct buf head;   /* what goes in front of the body; made by submission_finish */
    struct buf added;  /* the fields among them that were not there */
    struct spool body;
    struct legal_scan scan; /* of header and body */
    struct envelope env;
    struct slice unread; /* the first recipient field that could not be read whole, in `arena` */
    size_t rcpt_cap;
    uint64_t size;
    char id[QUEUE_ID_MAX];
    bool has_sender;   /* it was named, not made of the login name */
    bool is_reencoded; /* submission_finish changed the body to make it legal */
};

void submission_init(struct submission *s, struct conf *c, const struct log *log);
void submission_release(struct submission *s);

/* The envelope's sender: "" and "<>" are the null path, a name alone is of the first domain, "N
 * <a@b>" is a@b; NULL: who runs this. ERR_SYNTAX. */
enum err_code submission_sender(struct submission *s, const char *text, struct err *e);
/* Every mailbox of an address list (RFC 5322 3.4), each once. ERR_SYNTAX: not a list, or more than
 * ENVELOPE_RCPT_MAX. */
enum err_code submission_rcpts(struct submission *s, struct slice text, struct err *e);
/* Those of To, Cc and Bcc, or of the first block of Resent- fields when there is one (RFC 5322
 * 3.6.6). What cannot be read is passed over, and told by `unread`. ERR_LIMIT. After
 * submission_read. */
enum err_code submission_header_rcpts(struct submission *s, struct err *e);

/* Read the message: lines end in LF or CRLF or both, an mbox line in front is dropped, text without
 * a header is a body; with `dot_ends` a line of one dot ends it. ERR_LIMIT: larger than
 * message-size-limit, or its header than HEADER_BYTES_MAX. ERR_IO. */
enum err_code submission_read(struct submission *s, FILE *in, bool dot_ends, struct err *e);
/* Put `text` (CRLF lines, perhaps with fields in front and an empty line) in the place of header
 * and body. */
enum err_code submission_replace(struct submission *s, struct slice text, struct err *e);
/* All of header and body as one run of octets appended to `out`, with the empty line between. */
enum err_code submission_text(const struct submission *s, struct buf *out, struct err *e);

/* Make `head`: Received; what came, without Bcc and Return-Path; From, Date and Message-ID where
 * they are missing. Lines too long, NUL and unlabelled 8-bit are made legal first, unless the
 * message is signed. */
enum err_code submission_finish(struct submission *s, struct err *e);

enum submission_where { SUBMISSION_QUEUED, SUBMISSION_DROPPED };
/* Into the queue, or the drop directory (deliver/drop). Durable when it returns OK. DENIED: neither
 * may be written; FULL, IO: nothing was stored. */
enum err_code submission_store(struct submission *s, enum submission_where *where, struct err *e);

#endif
