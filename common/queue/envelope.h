/* envelope: who a message is from and for (RFC 5321 2.3.1), with what the sender asked for (RFC
 * 3461 DSN, RFC 8689 REQUIRETLS, RFC 6710 MT-PRIORITY, RFC 4865 FUTURERELEASE, RFC 2852 DELIVERBY),
 * and its readable form in the queue. No I/O. */
#ifndef QUEUE_ENVELOPE_H
#define QUEUE_ENVELOPE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/moment.h"

enum {
    ENVELOPE_RCPT_MAX = 10000,
    ENVELOPE_BYTES_MAX = 8 * 1024 * 1024,
    ENVELOPE_LINES_MAX = 64 /* besides three for each recipient */
};
enum { NOTIFY_NEVER = 1, NOTIFY_SUCCESS = 2, NOTIFY_FAILURE = 4, NOTIFY_DELAY = 8 };
enum { ENVELOPE_PRIORITY_MAX = 9 };
enum envelope_ret { RET_DEFAULT, RET_FULL, RET_HDRS };
/* What happens to a message that is late: its sender is told, or it is returned (RFC 2852 4). */
enum envelope_by { BY_NONE, BY_NOTIFY, BY_RETURN };

struct envelope_rcpt {
    struct slice address; /* "local@domain" or "local"; never empty */
    struct slice orcpt;   /* "rfc822;..." as given (xtext), or empty */
    uint8_t notify;       /* NOTIFY_ bits, 0: not given */
};

struct envelope {
    struct slice sender; /* empty: the null path */
    struct slice envid;  /* as given (xtext), or empty */
    struct slice user;   /* who authenticated, or empty */
    struct slice client; /* "name [address]" of the peer, or empty */
    struct slice via;    /* "host:port" that the administrator sends it to, or empty */
    struct slice proto;  /* "ESMTPS", ... (RFC 3848), or empty */
    wall_t arrived;
    enum envelope_ret ret;
    bool is_8bit, is_binary, is_smtputf8;
    bool is_requiretls;   /* only over TLS, to hosts that say so too (RFC 8689) */
    bool is_tls_optional; /* "TLS-Required: No" in the header (RFC 8689 5) */
    bool by_trace;        /* DELIVERBY: the sender wants to know of each relay */
    int8_t priority;      /* -ENVELOPE_PRIORITY_MAX..+, 0: nothing special */
    enum envelope_by by_mode;
    wall_t release_at; /* not before; 0: at once */
    wall_t deliver_by; /* until then, unless by_mode is BY_NONE */
    struct envelope_rcpt *rcpts;
    size_t rcpt_count;
};

/* Append the text form: lines of "name value", each ended by LF. A value with CR, LF or NUL cannot
 * be written: ERR_SYNTAX. */
enum err_code envelope_format(const struct envelope *env, struct buf *out, struct err *e);
/* Read it; strings are copied into `a`. Unknown lines are skipped, so that older programs read what
 * newer ones write. ERR_SYNTAX, ERR_LIMIT. */
enum err_code envelope_parse(struct slice text, struct arena *a, struct envelope *env,
                             struct err *e);

#endif
