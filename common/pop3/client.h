/* pop3/client: the client's side of POP3 (RFC 1939, 2449, 2595, 5034), an engine without I/O
 * (base/engine.h). It logs on by itself (CAPA, STLS, AUTH or USER/PASS), then runs the commands
 * that are queued, several at once when the server offers PIPELINING.
 *
 *     case POP3_CLIENT_READY: pop3_client_uidl(c); pop3_client_list(c); break;
 *     case POP3_CLIENT_ITEM:  note(ev.command, ev.number, ev.uid, ev.size); break;
 *     case POP3_CLIENT_REPLY: if (ev.command == POP3_RETR && !ev.is_ok) ...; break;
 *     case POP3_CLIENT_DATA:  write(ev.data); break;
 *     case POP3_CLIENT_END:   ...message or list complete; pop3_client_dele(c, n); break;
 */
#ifndef POP3_CLIENT_H
#define POP3_CLIENT_H

#include "base/engine.h"
#include "base/err.h"

enum pop3_client_tls { POP3_TLS_NONE, POP3_TLS_OPPORTUNISTIC, POP3_TLS_REQUIRED, POP3_TLS_UP };

enum {
    POP3_CLIENT_QUEUE_MAX = 64,         /* commands queued or on their way */
    POP3_CLIENT_LINE_MAX = 4096,        /* a reply or list line */
    POP3_CLIENT_CHUNK_MAX = 16384,      /* bytes in one DATA event */
    POP3_CLIENT_ITEMS_MAX = 10000000,   /* lines of one LIST or UIDL */
    POP3_CLIENT_TIMEOUT_MS = 300 * 1000 /* default of timeout_ms */
};

/* Capabilities (RFC 2449). */
enum {
    POP3_CAP_TOP = 1,
    POP3_CAP_USER = 2,
    POP3_CAP_UIDL = 4,
    POP3_CAP_PIPELINING = 8,
    POP3_CAP_STLS = 16,
    POP3_CAP_SASL = 32,
    POP3_CAP_RESP_CODES = 64,
    POP3_CAP_UTF8 = 128,
    POP3_CAP_LOGIN_DELAY = 256,
    POP3_CAP_EXPIRE = 512,
    POP3_CAP_KNOWN = 1024 /* CAPA was answered */
};

struct pop3_client_config {
    enum pop3_client_tls tls;
    bool is_logged_in; /* greeting and login are done (libcurl's dial): only CAPA is asked */
    struct slice user, password; /* copied, wiped */
    bool plaintext_auth;         /* login without TLS allowed */
    bool avoid_sasl;             /* USER/PASS even when SASL is offered */
    bool avoid_pipelining;
    unsigned timeout_ms; /* without progress; 0: default */
};

enum pop3_command {
    POP3_GREETING,
    POP3_CAPA,
    POP3_STLS,
    POP3_AUTH,
    POP3_USER,
    POP3_PASS,
    POP3_STAT,
    POP3_LIST,
    POP3_UIDL,
    POP3_RETR,
    POP3_TOP,
    POP3_DELE,
    POP3_RSET,
    POP3_NOOP,
    POP3_QUIT,
    POP3_COMMAND_COUNT
};
/* "GREETING", "CAPA", ...: static. */
const char *pop3_command_name(enum pop3_command command);

enum pop3_client_type {
    POP3_CLIENT_REPLY, /* no answer: `command`, `number`, `is_ok`, `code`, `text`; STAT: `number`,
                          `size` */
    POP3_CLIENT_NEED_TLS, /* shake hands, pop3_client_tls_up() */
    POP3_CLIENT_READY,    /* logged in, queue empty: queue commands, or quit */
    POP3_CLIENT_ITEM,   /* no answer: a line of LIST (`number`, `size`) or UIDL (`number`, `uid`) */
    POP3_CLIENT_DATA,   /* no answer: bytes of RETR or TOP, dots removed */
    POP3_CLIENT_END,    /* no answer: the list or message is complete; `size` octets of DATA */
    POP3_CLIENT_CLOSED, /* no answer: QUIT was answered (`is_ok`: deletions were done) */
    POP3_CLIENT_FAIL    /* no answer: `err`, `command` */
};
const char *pop3_client_type_name(enum pop3_client_type type);

struct pop3_client_event {
    enum pop3_client_type type;
    enum pop3_command command;
    uint32_t number;         /* the message, as the server counts: from 1. STAT: how many */
    uint64_t size;           /* LIST, STAT, END */
    bool is_ok;              /* REPLY, CLOSED */
    struct slice code, text; /* REPLY: "IN-USE" (RFC 2449 8), the words; until the next call */
    struct slice uid;        /* ITEM of UIDL; until the next call */
    struct slice data;       /* DATA; until the next call */
    struct err err;          /* FAIL */
};

struct pop3_client;
/* NULL without memory, or when user or password have CR, LF or NUL. */
struct pop3_client *pop3_client_new(const struct pop3_client_config *config, mono_t now);
void pop3_client_free(struct pop3_client *c);

size_t pop3_client_feed(struct pop3_client *c, struct slice in, mono_t now);
void pop3_client_eof(struct pop3_client *c, mono_t now);
struct slice pop3_client_out(struct pop3_client *c);
void pop3_client_sent(struct pop3_client *c, size_t n, mono_t now);
mono_t pop3_client_deadline(const struct pop3_client *c);
void pop3_client_tick(struct pop3_client *c, mono_t now);
bool pop3_client_done(const struct pop3_client *c);
struct engine pop3_client_engine(struct pop3_client *c);

/* The next event; false when there is none now. READY comes once after the login and again each
 * time the queue has run empty. */
bool pop3_client_next(struct pop3_client *c, struct pop3_client_event *ev);
void pop3_client_tls_up(struct pop3_client *c, mono_t now);

/* Queue a command; false when POP3_CLIENT_QUEUE_MAX wait already, before the login, or after QUIT.
 * Numbers are the server's, from 1. */
bool pop3_client_stat(struct pop3_client *c);
bool pop3_client_list(struct pop3_client *c);
bool pop3_client_uidl(struct pop3_client *c);
bool pop3_client_retr(struct pop3_client *c, uint32_t number);
bool pop3_client_top(struct pop3_client *c, uint32_t number, uint32_t lines);
bool pop3_client_dele(struct pop3_client *c, uint32_t number);
bool pop3_client_rset(struct pop3_client *c);
bool pop3_client_noop(struct pop3_client *c);
bool pop3_client_quit(struct pop3_client *c);

/* POP3_CAP_* of the last CAPA; 0 when it was refused. */
unsigned pop3_client_caps(const struct pop3_client *c);
bool pop3_client_is_tls(const struct pop3_client *c);
/* "PLAIN", "LOGIN", "USER", "" when not logged in by us. Static. */
const char *pop3_client_mechanism(const struct pop3_client *c);

#endif
