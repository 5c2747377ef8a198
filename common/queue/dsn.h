/* dsn: delivery status notifications (RFC 3464, RFC 6522; text by RFC 3461). No I/O. */
#ifndef QUEUE_DSN_H
#define QUEUE_DSN_H

#include "queue/envelope.h"

enum { DSN_HEADERS_MAX = 64 * 1024, DSN_FULL_MAX = 256 * 1024, DSN_RANDOM = 20 };
enum dsn_action { DSN_FAILED, DSN_DELAYED, DSN_DELIVERED, DSN_RELAYED };

struct dsn_rcpt {
    struct slice address, orcpt; /* of the envelope */
    enum dsn_action action;
    struct mail_status status;
    struct slice remote; /* the host that answered, or empty */
    struct slice reply;  /* "550 5.1.1 no such user": one line, or empty when it was decided here */
    struct slice text;   /* what happened, for a person; one line */
};

struct dsn {
    struct slice hostname, id; /* ours; the queue's name of the message */
    const struct envelope *env;
    const struct dsn_rcpt *rcpts; /* one or more */
    size_t rcpt_count;
    struct slice message;    /* the original, at least its header */
    bool is_whole;           /* `message` is all of it */
    wall_t now, retry_until; /* retry_until: for delays */
    const uint8_t *random;   /* DSN_RANDOM bytes */
};

/* Append the notification as a message with CRLF lines, addressed to the envelope's sender. The
 * original is returned in full when RET=FULL or not given and it is small, else its header. Never
 * for the null sender: that is the caller's to check. ERR_LIMIT when `out` is full. */
enum err_code dsn_build(const struct dsn *d, struct buf *out, struct err *e);

#endif
