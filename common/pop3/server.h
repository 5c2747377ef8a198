/* pop3/server: the server's side of POP3 (RFC 1939, 2449, 2595, 5034, 6856), an engine without
 * I/O (base/engine.h).
 *
 * CAPA, STLS, USER/PASS, AUTH, STAT, LIST, UIDL, RETR, TOP, DELE, RSET, NOOP, QUIT, UTF8, LANG (of
 * English); RESP-CODES, AUTH-RESP-CODE, PIPELINING, EXPIRE NEVER, LOGIN-DELAY. Messages are sent as
 * they are in either mode: one whose header has bytes above 127 is no reason to refuse it to a
 * client that did not say UTF8 (RFC 6856 4 would allow that), because such headers were there
 * before the RFC, and a client that is refused one message often stops. Message numbers and sizes
 * are those of the maildrop given at login and never change (P-3); deletions are marks here and
 * told to the host at QUIT (P-4).
 *
 *     case POP3_SERVER_LOGIN:     pop3_server_maildrop(s, list, n) or pop3_server_refuse(s, ...)
 *     case POP3_SERVER_NEED_BODY: pop3_server_body(s, bytes of message ev.number from ev.offset)
 *     case POP3_SERVER_UPDATE:    for (i...) if (pop3_server_is_deleted(s, i)) ...;
 * pop3_server_ok(s)
 */
#ifndef POP3_SERVER_H
#define POP3_SERVER_H

#include "base/engine.h"
#include "base/err.h"
#include "sasl/server.h"

enum {
    POP3_LINE_MAX = 1024, /* a command line; AUTH responses POP3_AUTH_MAX */
    POP3_AUTH_MAX = 12288,
    POP3_UID_MAX = 70,                /* RFC 1939 7 */
    POP3_MESSAGES_MAX = 1000000,      /* messages in one maildrop */
    POP3_SERVER_IDLE_MS = 600 * 1000, /* RFC 1939 3: at least ten minutes */
    POP3_SERVER_LOGIN_MS = 60 * 1000, /* from connect to login, when the config says nothing */
    POP3_SERVER_BAD_MAX = 20,
    POP3_SERVER_AUTH_MAX = 3,
    POP3_BODY_MAX = 16384 /* bytes taken by one pop3_server_body */
};
#define POP3_WHOLE UINT64_MAX

struct pop3_server_config {
    struct slice hostname;       /* for the greeting; copied */
    bool is_tls;                 /* TLS is up already */
    bool offer_tls;              /* STLS while it is not */
    bool plaintext_auth;         /* logins without TLS */
    const struct sasl_env *sasl; /* for more mechanisms than PLAIN and LOGIN; lives as long as the
                                  * engine. NULL: none */
    bool allow_utf8_login; /* bytes above 127 in USER and PASS, announced as "UTF8 USER"; they are
                            * always taken in SASL */
    unsigned
        login_delay_s; /* announced as LOGIN-DELAY when not 0; the host refuses with that code */
    unsigned idle_ms, login_ms, bad_max, auth_max; /* 0: default */
};

/* One message of the maildrop. */
struct pop3_message {
    uint64_t size;    /* octets of its CRLF form, without dot-stuffing (P-5) */
    struct slice uid; /* 1..POP3_UID_MAX bytes 0x21..0x7E, unique in the maildrop (P-1) */
};

enum pop3_server_type {
    POP3_SERVER_CONNECT,   /* answer: ok, or refuse, or maildrop (logged in by the connection) */
    POP3_SERVER_LOGIN,     /* answer: maildrop, or refuse; `user`, `password`, `claim`, `authzid`,
                              `mechanism` */
    POP3_SERVER_NEED_BODY, /* answer: body, body_end, body_fail; `number`, `lines`, `offset` */
    POP3_SERVER_UPDATE,    /* answer: ok, or refuse; `deleted_count` */
    POP3_SERVER_NEED_TLS,  /* +OK is in `out`: write it, shake hands, pop3_server_tls_up() */
    POP3_SERVER_BYE,       /* no answer: QUIT is done */
    POP3_SERVER_FAIL       /* no answer: `err`; nothing is to be deleted */
};
const char *pop3_server_type_name(enum pop3_server_type type);

struct pop3_server_event {
    enum pop3_server_type type;
    struct slice mechanism;               /* LOGIN: "USER", "PLAIN", "LOGIN"...; static */
    enum sasl_claim claim;                /* LOGIN: what is to be checked */
    struct slice authzid, user, password; /* LOGIN: valid until the answer, then wiped */
    size_t number;                        /* NEED_BODY: index in the maildrop, from 0 */
    uint64_t lines;                       /* NEED_BODY: body lines wanted, or POP3_WHOLE */
    uint64_t offset;                      /* NEED_BODY: bytes of the message taken so far */
    size_t deleted_count;                 /* UPDATE */
    struct err err;                       /* FAIL */
};

struct pop3_server;
/* NULL without memory. The first event is CONNECT. */
struct pop3_server *pop3_server_new(const struct pop3_server_config *config, mono_t now);
void pop3_server_free(struct pop3_server *s);

size_t pop3_server_feed(struct pop3_server *s, struct slice in, mono_t now);
void pop3_server_eof(struct pop3_server *s, mono_t now);
struct slice pop3_server_out(struct pop3_server *s);
void pop3_server_sent(struct pop3_server *s, size_t n, mono_t now);
mono_t pop3_server_deadline(const struct pop3_server *s);
void pop3_server_tick(struct pop3_server *s, mono_t now);
bool pop3_server_done(const struct pop3_server *s);
struct engine pop3_server_engine(struct pop3_server *s);

/* The next event; false when there is none now. */
bool pop3_server_next(struct pop3_server *s, struct pop3_server_event *ev);

/* Answer CONNECT or UPDATE positively. */
void pop3_server_ok(struct pop3_server *s);
/* Answer CONNECT, LOGIN, UPDATE, or NEED_BODY at offset 0 with -ERR. `code` is a response code
 * without brackets ("IN-USE", "AUTH", "SYS/TEMP", "SYS/PERM", "LOGIN-DELAY") or empty; `text` is
 * one line. Both are copied. A refused CONNECT ends the connection. */
void pop3_server_refuse(struct pop3_server *s, struct slice code, struct slice text);
/* Answer LOGIN: the maildrop. `list` and the uids in it are borrowed until _free. More than
 * POP3_MESSAGES_MAX: only the first ones are shown.
 * Answer CONNECT with it when the user is known by the connection (`serve --stdio pop3 USER`): the
 * greeting says so and the session is in TRANSACTION at once, as Dovecot's pop3 on a terminal;
 * USER and PASS, which a client may send all the same, are taken with any words. */
void pop3_server_maildrop(struct pop3_server *s, const struct pop3_message *list, size_t n);
/* Answer NEED_BODY: the next bytes of the message from its `offset`, lines in CRLF or LF, split
 * anywhere. Returns how many were taken. With TOP the engine stops asking by itself. */
size_t pop3_server_body(struct pop3_server *s, struct slice chunk);
void pop3_server_body_end(struct pop3_server *s);
/* The rest cannot be read: the connection is given up so that no torso is taken for the message. */
void pop3_server_body_fail(struct pop3_server *s, const struct err *why);
void pop3_server_tls_up(struct pop3_server *s, mono_t now);
/* End at once between commands with -ERR [SYS/TEMP]; nothing is deleted. */
void pop3_server_shutdown(struct pop3_server *s);

/* Is message `i` marked? For UPDATE. */
bool pop3_server_is_deleted(const struct pop3_server *s, size_t i);
bool pop3_server_is_tls(const struct pop3_server *s);

#endif
