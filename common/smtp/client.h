/* smtp/client: the client's side of SMTP and LMTP (RFC 5321, 2033), an engine without I/O
 * (base/engine.h). Delivery, the probe and sendmail --now run this one.
 *
 *     struct smtp_client *c = smtp_client_new(&config, now);
 *     while (smtp_client_next(c, &ev)) switch (ev.type) {
 *         case SMTP_CLIENT_REPLY:     log(ev.stage, ev.reply); break;    // every reply, no answer
 *         case SMTP_CLIENT_NEED_TLS:  ...handshake; smtp_client_tls_up(c, now); break;
 *         case SMTP_CLIENT_READY:     if (more) smtp_client_send(c, &msg); else
 * smtp_client_quit(c); break; case SMTP_CLIENT_NEED_BODY: smtp_client_body(c, chunk) /
 * smtp_client_body_end(c); break; case SMTP_CLIENT_RESULT:    for (i...) use(smtp_client_result(c,
 * i)); break; case SMTP_CLIENT_CLOSED: case SMTP_CLIENT_FAIL: ...
 *     }
 *
 * Wherever it ends, smtp_client_result() has a verdict for every recipient of the message: without
 * a reply of its own it is temporary.
 */
#ifndef SMTP_CLIENT_H
#define SMTP_CLIENT_H

#include "base/engine.h"
#include "base/err.h"
#include "sasl/sasl.h"
#include "smtp/ext.h"
#include "smtp/param.h"
#include "smtp/reply.h"

enum smtp_client_tls {
    SMTP_TLS_NONE,          /* do not ask for it */
    SMTP_TLS_OPPORTUNISTIC, /* when offered and granted */
    SMTP_TLS_REQUIRED,      /* or fail (ERR_TLS, 4.7.4) before anything else is said */
    SMTP_TLS_UP             /* implicit TLS: it is there already */
};

enum {
    SMTP_CLIENT_WINDOW = 100,      /* RCPTs on their way at once with PIPELINING */
    SMTP_CLIENT_RCPT_MAX = 10000,  /* recipients of one message */
    SMTP_CLIENT_CHUNK = 64 * 1024, /* octets of a BDAT, about */
    SMTP_CLIENT_CHUNKS_MAX = 8,    /* BDATs without a reply at once */
    SMTP_CLIENT_BODY_MAX = 16384,  /* bytes taken by one smtp_client_body */
    SMTP_CLIENT_TEXT_MAX = 1 << 20 /* reply texts kept for one message */
};

struct smtp_client_config {
    bool is_lmtp;
    struct slice ehlo_name; /* ours: a full domain name or literal; copied */
    enum smtp_client_tls tls;
    struct slice user, password; /* copied, wiped; empty: no AUTH. Given ones must work */
    unsigned mechanisms;         /* of SASL_WITH_PASSWORD, or of SASL_WITH_TOKEN (`password` is an
                                  * access token then); 0: any that takes a password */
    bool plaintext_auth;         /* AUTH without TLS allowed */
    const struct sasl_env *sasl; /* for SCRAM; NULL: PLAIN and LOGIN only. Lives until READY or
                                  * the end */
    enum smtp_stage stop_after;  /* probe: CONNECT EHLO TLS AUTH MAIL RCPT; NONE: a real client.
                                  * After it RSET (if needed) and QUIT are said by the engine */
    uint32_t without;            /* SMTP_EXT_* to overlook */
    unsigned window;             /* RCPTs on their way at once; 0: default */
    unsigned timeout_ms;         /* upper bound of every wait; 0: RFC 5321 4.5.3.2 alone */
};

struct smtp_client_rcpt {
    struct slice address; /* without brackets; must have passed smtp_address_parse */
    unsigned notify;      /* SMTP_NOTIFY_*; sent when DSN is offered */
    struct slice orcpt;   /* "rfc822;xtext", or empty */
};

/* One message. Borrowed, with all it points at, until RESULT or FAIL. */
struct smtp_client_message {
    struct slice sender; /* empty: <> */
    const struct smtp_client_rcpt *rcpts;
    size_t rcpt_count;  /* 1..SMTP_CLIENT_RCPT_MAX */
    uint64_t size;      /* octets about, for SIZE; 0: unknown */
    bool is_8bit;       /* BODY=8BITMIME when offered; sent as it is when not (S-2) */
    bool is_binary;     /* BODY=BINARYMIME and BDAT; not offered: permanent 5.6.1 for all */
    bool is_smtputf8;   /* SMTPUTF8; not offered: permanent 5.6.7 for all */
    bool is_requiretls; /* RFC 8689; not offered: permanent 5.7.30 for all */
    int8_t priority;    /* RFC 6710, sent when offered; 0: nothing special */
    enum smtp_by by;    /* RFC 2852, sent when offered. SMTP_BY_RETURN not offered (no LMTP):
                         * permanent 5.3.3 for all; too little time left: 5.4.7 */
    bool by_trace;
    int32_t by_s; /* seconds left, within SMTP_SECONDS_MAX; below 0: over since */
    enum smtp_ret ret;
    struct slice envid; /* xtext, or empty */
    struct slice auth;  /* xtext or "<>"; empty: none */
};

/* What became of one recipient. */
struct smtp_client_result {
    enum smtp_class class;
    enum smtp_stage stage;     /* whose reply, or how far it got */
    unsigned code;             /* 0: decided here, not by the peer */
    struct mail_status status; /* always set: the peer's, or one that fits */
    struct slice text;         /* the peer's or ours; valid until the next send or free */
};

enum smtp_client_type {
    SMTP_CLIENT_REPLY,     /* no answer: `stage`, `index` (RCPT; LMTP END), `reply` */
    SMTP_CLIENT_NEED_TLS,  /* STARTTLS was granted: shake hands, smtp_client_tls_up() */
    SMTP_CLIENT_READY,     /* logged on: smtp_client_send() or smtp_client_quit() */
    SMTP_CLIENT_NEED_BODY, /* smtp_client_body(), _body_end() or _body_fail(); `offset` */
    SMTP_CLIENT_RESULT,    /* no answer: every recipient has its result; READY follows, or QUIT */
    SMTP_CLIENT_CLOSED,    /* no answer: QUIT was said and answered, or the peer just went */
    SMTP_CLIENT_FAIL       /* no answer: `err`, `stage`; write what is in `out` and close */
};
const char *smtp_client_type_name(enum smtp_client_type type);

struct smtp_client_event {
    enum smtp_client_type type;
    enum smtp_stage stage;
    unsigned index;
    struct smtp_reply reply; /* REPLY: text valid until the next call. FAIL: code 0 when none */
    uint64_t offset;         /* NEED_BODY: bytes of the message taken so far */
    struct err err;          /* FAIL: status class 4 or 5 says if another try may help */
};

struct smtp_client;

/* NULL without memory or with an ehlo_name that is no name. */
struct smtp_client *smtp_client_new(const struct smtp_client_config *config, mono_t now);
void smtp_client_free(struct smtp_client *c);

size_t smtp_client_feed(struct smtp_client *c, struct slice in, mono_t now);
void smtp_client_eof(struct smtp_client *c, mono_t now);
struct slice smtp_client_out(struct smtp_client *c);
void smtp_client_sent(struct smtp_client *c, size_t n, mono_t now);
mono_t smtp_client_deadline(const struct smtp_client *c);
void smtp_client_tick(struct smtp_client *c, mono_t now);
bool smtp_client_done(const struct smtp_client *c);
struct engine smtp_client_engine(struct smtp_client *c);

/* The next event; false when there is none now. */
bool smtp_client_next(struct smtp_client *c, struct smtp_client_event *ev);

/* After NEED_TLS. EHLO is said again and only its list counts (S-18). */
void smtp_client_tls_up(struct smtp_client *c, mono_t now);
/* After READY: one message. False (and nothing happens) when not ready or the message is invalid:
 * no recipient or too many, or an address with CR, LF, NUL, blanks outside quotes, "<" or ">". */
bool smtp_client_send(struct smtp_client *c, const struct smtp_client_message *m);
/* After READY: QUIT (with RSET before it when a transaction is open). */
void smtp_client_quit(struct smtp_client *c);
/* With CHUNKING (RFC 3030) the message goes in BDAT chunks of SMTP_CLIENT_CHUNK, several on their
 * way at once with PIPELINING; LMTP uses DATA. What is binary goes octet for octet.
 *
 * After NEED_BODY: bytes of the message, lines ending in CRLF or LF, split anywhere. Returns how
 * many were taken (at most SMTP_CLIENT_BODY_MAX). What goes out has CRLF everywhere, dots doubled,
 * a lone CR replaced by a blank. */
size_t smtp_client_body(struct smtp_client *c, struct slice chunk);
void smtp_client_body_end(struct smtp_client *c);
/* The message cannot be read to its end: the connection is given up so that no torso is accepted.
 * FAIL follows; all recipients temporary. */
void smtp_client_body_fail(struct smtp_client *c, const struct err *why);

/* What the last EHLO announced (after the mask `without`); empty after HELO. */
const struct smtp_caps *smtp_client_caps(const struct smtp_client *c);
bool smtp_client_is_tls(const struct smtp_client *c);
/* The mechanism that AUTH used, "" when none. Static. */
const char *smtp_client_mechanism(const struct smtp_client *c);
/* Verdict for recipient `i` of the message last sent; see the top. */
struct smtp_client_result smtp_client_result(const struct smtp_client *c, size_t i);

#endif
