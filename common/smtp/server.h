/* smtp/server: the server's side of SMTP, submission and LMTP (RFC 5321, 6409, 2033), an engine
 * without I/O (base/engine.h).
 *
 * Extensions: PIPELINING, SIZE, 8BITMIME, SMTPUTF8, DSN, ENHANCEDSTATUSCODES, STARTTLS, AUTH
 * (the mechanisms of sasl/server), CHUNKING, BINARYMIME, LIMITS, REQUIRETLS (under TLS), and when
 * the host wants them DELIVERBY, MT-PRIORITY, FUTURERELEASE, XCLIENT (of Postfix). Order of
 * commands, limits, timeouts, early talk, bare CR and LF, bytes after STARTTLS
 * are the engine's business; who may send what to whom is the host's.
 *
 *     struct smtp_server *s = smtp_server_new(&config, now);
 *     struct smtp_server_event ev;
 *     while (smtp_server_next(s, &ev)) switch (ev.type) {
 *         case SMTP_SERVER_RCPT:
 *             if (known(ev.rcpt->to.address)) smtp_server_ok(s);
 *             else smtp_server_reply(s, 550, STATUS(5, 1, 1), S("no such user"));
 *             break;
 *         case SMTP_SERVER_CHUNK: write(ev.data); break;         // no answer
 *         case SMTP_SERVER_DATA_END: smtp_server_reply(s, 250, STATUS(2, 0, 0), S("ok id=1")); ...
 *     }
 *
 * An answer may come much later: until then the engine takes no bytes, has no deadline, and `next`
 * gives false. One transaction: MAIL, RCPT..., DATA, CHUNK..., DATA_END; after a positive answer to
 * DATA_END it is over. RESET, BYE and FAIL say that an unfinished one must be thrown away.
 */
#ifndef SMTP_SERVER_H
#define SMTP_SERVER_H

#include "base/engine.h"
#include "base/err.h"
#include "sasl/server.h"
#include "smtp/ext.h"
#include "smtp/param.h"
#include "smtp/xclient.h"

enum smtp_role { SMTP_ROLE_SMTP, SMTP_ROLE_SUBMISSION, SMTP_ROLE_LMTP };

/* What a bare CR or LF in commands and messages leads to. ROLE: NORMALISE for submission, else
 * REFUSE. REFUSE: 5xx and the connection ends. NORMALISE: LF becomes CRLF, a lone CR a blank; even
 * then only CRLF.CRLF ends data. */
enum smtp_newline { SMTP_NEWLINE_ROLE, SMTP_NEWLINE_REFUSE, SMTP_NEWLINE_NORMALISE };

enum {
    SMTP_SERVER_RCPT_MAX = 100,          /* default of rcpt_max */
    SMTP_SERVER_RCPT_CEILING = 10000,    /* rcpt_max is cut to this */
    SMTP_SERVER_BAD_MAX = 20,            /* default of bad_max */
    SMTP_SERVER_AUTH_MAX = 3,            /* default of auth_max */
    SMTP_SERVER_MAIL_MAX = 100000,       /* default of mail_max */
    SMTP_SERVER_COMMANDS_MAX = 1000000,  /* default of commands_max */
    SMTP_SERVER_JUNK_MAX = 100,          /* NOOP, RSET, HELO... in a row without a message */
    SMTP_SERVER_COMMAND_MS = 300 * 1000, /* default of command_ms (RFC 5321 4.5.3.2.7) */
    SMTP_SERVER_DATA_MS = 300 * 1000,    /* default of data_ms */
    SMTP_SERVER_DATA_STEP = 64 * 1024,   /* octets that must come within data_ms */
    SMTP_SERVER_CHUNK_MAX = 16 * 1024,   /* most bytes in one CHUNK event */
    SMTP_SERVER_DISCARD_MAX = 64 << 20   /* octets read and thrown away of a refused message */
};

struct smtp_server_config {
    enum smtp_role role;
    enum smtp_newline newline;
    struct slice hostname;       /* ours, for banner and EHLO; copied, <= SMTP_DOMAIN_MAX */
    uint64_t size_max;           /* octets of a message; 0: no limit */
    uint32_t without;            /* SMTP_EXT_* not to offer */
    bool is_tls;                 /* TLS is up already (implicit TLS) */
    bool offer_tls;              /* STARTTLS while TLS is not up */
    bool offer_auth;             /* AUTH, with TLS */
    bool plaintext_auth;         /* AUTH without TLS too */
    const struct sasl_env *sasl; /* for more mechanisms than PLAIN and LOGIN; lives as long as the
                                  * engine. NULL: none */
    bool require_tls;            /* MAIL without TLS: 530 */
    bool require_auth;           /* MAIL without AUTH: 530 */
    bool allow_early_talk; /* scripts on stdin: no synchronisation rules (STARTTLS keeps its own) */
    unsigned rcpt_max;     /* per message, beyond: 452 4.5.3; 0: default */
    unsigned bad_max;      /* refused or unknown commands before 421; 0: default */
    unsigned auth_max;     /* failed AUTHs before 421; 0: default */
    unsigned commands_max; /* in all; 0: default */
    unsigned mail_max;     /* transactions, beyond: 421; 0: default */
    /* 0: default; within data_ms SMTP_SERVER_DATA_STEP octets of a message must come, or its end:
     * a trickle does not hold a session */
    unsigned command_ms, data_ms;
    bool offer_xclient;    /* to a listed proxy */
    bool offer_deliver_by; /* RFC 2852 */
    bool offer_priority;   /* RFC 6710 */
    uint32_t hold_max_s;   /* RFC 4865: longest FUTURERELEASE, at most SMTP_SECONDS_MAX; 0: none */
    wall_t wall;           /* the time at birth: for FUTURERELEASE */
};

enum smtp_server_type {
    SMTP_SERVER_CONNECT,  /* answer: 220 (ok), or 554/421: refused */
    SMTP_SERVER_HELO,     /* answer; `verb`, `name` */
    SMTP_SERVER_MAIL,     /* answer; `mail` */
    SMTP_SERVER_RCPT,     /* answer; `rcpt`, `index` it would get */
    SMTP_SERVER_DATA,     /* answer: 354 (ok), or refused; also before the first BDAT */
    SMTP_SERVER_CHUNK,    /* no answer; `data`: dots removed; every line ends in CRLF */
    SMTP_SERVER_DATA_END, /* answer (LMTP: one per recipient); `size`, `flags` */
    SMTP_SERVER_AUTH,     /* answer: 235 (ok), 535, 454; `mechanism`, `claim`, `authzid`, `authcid`,
                           * `password` */
    SMTP_SERVER_XCLIENT, /* answer: 220 (ok), or refused; `xclient` says who the client is. All that
                          * was said before is forgotten, as after STARTTLS */
    SMTP_SERVER_NEED_TLS, /* 220 is in `out`: write it, shake hands, smtp_server_tls_up() */
    SMTP_SERVER_RESET, /* no answer: the transaction is void (RSET, EHLO, refused or broken data) */
    SMTP_SERVER_BYE,   /* no answer: QUIT; write `out` and close */
    SMTP_SERVER_FAIL   /* no answer: `err`; write what is in `out` and close */
};
/* "connect", "helo", ...: static. */
const char *smtp_server_type_name(enum smtp_server_type type);

enum {
    SMTP_DATA_8BIT = 1,      /* a byte above 127 */
    SMTP_DATA_NUL = 2,       /* a NUL octet */
    SMTP_DATA_LONG_LINE = 4, /* a line over 998 octets */
    SMTP_DATA_BARE_CR = 8,   /* normalised away */
    SMTP_DATA_BARE_LF = 16,  /* normalised away */
    SMTP_DATA_NO_EOL = 32,   /* BDAT: the last line had no CRLF (none was added) */
    SMTP_DATA_CHUNKED = 64   /* it came by BDAT */
};

struct smtp_server_event {
    enum smtp_server_type type;
    struct slice verb, name;      /* HELO: "EHLO" upper case, what the client calls itself */
    const struct smtp_mail *mail; /* MAIL: valid until the answer */
    const struct smtp_rcpt *rcpt; /* RCPT: valid until the answer */
    unsigned index;               /* RCPT: number among the accepted, from 0 */
    struct slice data;            /* CHUNK: valid until the next call */
    uint64_t size;                /* DATA_END: octets in all chunks */
    unsigned flags;               /* DATA_END: SMTP_DATA_* */
    struct slice mechanism;       /* AUTH: "PLAIN", static */
    enum sasl_claim claim;        /* AUTH: what is to be checked */
    struct slice authzid, authcid, password; /* AUTH: valid until the answer, then wiped */
    const struct smtp_xclient *xclient;      /* XCLIENT: valid until the answer */
    struct err err;                          /* FAIL */
};

struct smtp_server;

/* NULL without memory. Copies the config; the first event is CONNECT. */
struct smtp_server *smtp_server_new(const struct smtp_server_config *config, mono_t now);
/* Any time; NULL is allowed. Wipes what was secret. */
void smtp_server_free(struct smtp_server *s);

size_t smtp_server_feed(struct smtp_server *s, struct slice in, mono_t now);
void smtp_server_eof(struct smtp_server *s, mono_t now);
struct slice smtp_server_out(struct smtp_server *s);
void smtp_server_sent(struct smtp_server *s, size_t n, mono_t now);
mono_t smtp_server_deadline(const struct smtp_server *s);
void smtp_server_tick(struct smtp_server *s, mono_t now);
bool smtp_server_done(const struct smtp_server *s);
struct engine smtp_server_engine(struct smtp_server *s);

/* The next event; false when there is none now. Slices and pointers in it live until the answer or,
 * without one, until the next call on `s`. */
bool smtp_server_next(struct smtp_server *s, struct smtp_server_event *ev);

/* Answer the event that waits with the engine's own positive words. No effect when none waits. */
void smtp_server_ok(struct smtp_server *s);
/* Answer it: `code` 2xx/3xx lets it pass (DATA answers 354 whatever the code was), 4xx and 5xx
 * refuse. Status class 0: one is chosen that fits. 421 ends the connection, as does any refusal of
 * CONNECT. Text is copied; empty: the engine's words. LMTP DATA_END: counts for every recipient not
 * yet answered. */
void smtp_server_reply(struct smtp_server *s, unsigned code, struct mail_status status,
                       struct slice text);
/* LMTP DATA_END only: the answer for the accepted recipient `index`, in any order; the replies go
 * out when all have been answered (RFC 2033 4.2). */
void smtp_server_rcpt_reply(struct smtp_server *s, unsigned index, unsigned code,
                            struct mail_status status, struct slice text);
/* The handshake after NEED_TLS succeeded: all that was said before is forgotten (RFC 3207 4.2). */
void smtp_server_tls_up(struct smtp_server *s, mono_t now);
/* Say 421 and end as soon as no message is on its way: at once between transactions, else after
 * the reply to DATA_END. `text` is copied; empty: "closing for maintenance". */
void smtp_server_shutdown(struct smtp_server *s, struct slice text);

/* Give back memory that an idle session does not need; nothing else changes. */
void smtp_server_rest(struct smtp_server *s);
/* Between MAIL and the answer to DATA_END, or RESET. */
bool smtp_server_in_mail(const struct smtp_server *s);

/* What has been agreed; for Received fields and logs. */
bool smtp_server_is_tls(const struct smtp_server *s);
bool smtp_server_is_auth(const struct smtp_server *s);
bool smtp_server_is_esmtp(const struct smtp_server *s);
/* The name of the last accepted HELO, EHLO or LHLO; empty before. Lives as long as that holds. */
struct slice smtp_server_helo(const struct smtp_server *s);
/* "SMTP", "ESMTP", "ESMTPS", "ESMTPSA", "LMTPS", "UTF8SMTPS"...: RFC 3848, RFC 6531 4.3. Static. */
const char *smtp_server_with(const struct smtp_server *s);

#endif
