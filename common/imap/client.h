/* client: the IMAP side that reads mail, without I/O (RFC 3501; STARTTLS, LITERAL+, IDLE, SASL-IR,
 * SPECIAL-USE, UNSELECT where the server has them).
 *
 * One command at a time: a call starts it, its data come as events, IMAP_CL_REPLY ends it. Whatever
 * the server says by itself (EXISTS in the middle of a FETCH, a line of many kB, a literal
 * anywhere) is an event as well. Bodies and SEARCH results of any size pass in pieces; all else is
 * bounded by IMAP_CL_LINE_MAX per response, beyond which the session fails. A server can never make
 * the engine hold more than that.
 *
 *     struct imap_client *c = imap_client_new(&cfg, now);     // then pump as base/engine.h says
 *     struct imap_client_event ev;
 *     while (imap_client_next(c, &ev)) switch (ev.type) {
 *         case IMAP_CL_READY:    imap_client_list(c, S(""), S("*")); break;
 *         case IMAP_CL_LIST:     printf("%.*s\n", SP(ev.name)); break;
 *         case IMAP_CL_REPLY:    imap_client_logout(c); break;
 *         case IMAP_CL_END:      ...ev.err
 *     }
 *
 * READY comes once, when the session is logged in: after greeting, CAPABILITY, STARTTLS and login
 * as the settings say. A failed login or missing TLS is IMAP_CL_END with the reason. Events and
 * their slices live until the next call on the engine. One thread at a time.
 */
#ifndef IMAP_CLIENT_H
#define IMAP_CLIENT_H

#include "base/engine.h"
#include "base/err.h"
#include "imap/flag.h"

enum {
    IMAP_CL_LINE_MAX = 8 * 1024 * 1024,      /* one response with its small literals */
    IMAP_CL_LITERAL_MAX = 1024 * 1024,       /* a literal that is not a streamed body */
    IMAP_CL_UNTAGGED_MAX = 10 * 1000 * 1000, /* responses during one command */
    IMAP_CL_ADDRESSES_MAX = 10000,           /* in one envelope field; more are dropped */
    IMAP_CL_CHUNK_MAX = 16 * 1024,
    IMAP_CL_GREETING_MS = 60 * 1000,
    IMAP_CL_REPLY_MS = 5 * 60 * 1000, /* silence in the middle of a command */
    IMAP_CL_IDLE_MS = 28 * 60 * 1000  /* then IDLE is ended by the engine: start it again */
};

enum imap_client_tls {
    IMAP_CL_TLS_NONE, /* never STARTTLS: it is there already, or not wanted */
    IMAP_CL_TLS_IF_OFFERED,
    IMAP_CL_TLS_REQUIRED /* no STARTTLS, or a PREAUTH greeting before it, is a failure */
};

struct imap_client_config {
    enum imap_client_tls tls;
    bool has_tls;      /* the connection is inside TLS already */
    bool is_logged_in; /* somebody did greeting and login (a connection handed over): READY
                          comes after a CAPABILITY */
    struct slice user, password; /* copied, wiped by free; empty user: stay unauthenticated */
    bool allow_plaintext_auth;   /* send the password without TLS */
};

enum imap_client_event_type {
    IMAP_CL_NONE,
    IMAP_CL_GREETING, /* text; is_preauth */
    IMAP_CL_NEED_TLS, /* handshake once all output is written, then imap_client_tls_up */
    IMAP_CL_READY,    /* text: the capabilities */
    IMAP_CL_REPLY,    /* the command is over: status, code, text */
    IMAP_CL_NOTE,     /* untagged OK, NO, BAD, BYE: status, code, text */
    IMAP_CL_LIST,     /* name, raw_name, delimiter, attributes, attribute_text, is_lsub */
    IMAP_CL_STATUS,   /* name, mailbox */
    IMAP_CL_SEARCH,   /* numbers, n_numbers: a piece of the answer; several may come */
    IMAP_CL_EXISTS,   /* number */
    IMAP_CL_RECENT,   /* number */
    IMAP_CL_EXPUNGE,  /* number: a sequence number */
    IMAP_CL_FLAGS,    /* text: the flags of the mailbox, "\Seen $Junk" */
    IMAP_CL_BODY,     /* a piece of BODY[...]: number, uid (0: not said yet), section, bytes,
                         size_bytes of the whole, is_last. A body of NIL or "" comes as one last piece.
                       */
    IMAP_CL_FETCH,    /* number and `fetched`: after the pieces of its bodies */
    IMAP_CL_OTHER,    /* text: a response that the engine does not know */
    IMAP_CL_IDLE,     /* the server agreed; events come until imap_client_idle_done */
    IMAP_CL_END       /* final: err, code OK after LOGOUT */
};

enum imap_client_status { IMAP_CL_OK, IMAP_CL_NO, IMAP_CL_BAD, IMAP_CL_BYE };

struct imap_address { /* as written: names are still encoded words; empty: NIL */
    struct slice name, route, mailbox, host;
    bool is_nil_host; /* start (mailbox is the group's name) or end of a group */
};
struct imap_address_list {
    struct imap_address *v;
    size_t n;
};
struct imap_envelope {
    struct slice date, subject, in_reply_to, message_id;
    struct imap_address_list from, sender, reply_to, to, cc, bcc;
};

struct imap_fetched {
    uint32_t uid; /* 0: not said */
    bool has_flags, has_size, has_date, has_envelope;
    struct slice flags; /* "\Seen $Junk" */
    uint64_t size_bytes;
    wall_t internal_date;
    int date_offset; /* minutes east of UTC */
    struct imap_envelope envelope;
    struct slice bodystructure; /* as the server wrote it, literals inside; empty: not said */
};

struct imap_mailbox_numbers {
    bool has_messages, has_recent, has_uidnext, has_uidvalidity, has_unseen, has_size, has_modseq;
    uint64_t messages, recent, uidnext, uidvalidity, unseen, size_bytes, modseq;
};

struct imap_client_event {
    enum imap_client_event_type type;
    enum imap_client_status status;
    struct slice code, text;     /* code without brackets: "UIDVALIDITY 7", "TRYCREATE" */
    struct slice name, raw_name; /* UTF-8; as on the wire. A name that is no modified UTF-7 is the
                                    same in both. */
    char delimiter;              /* 0: none */
    unsigned attributes;         /* IMAP_NOSELECT ... IMAP_USE_TRASH of imap/server.h */
    struct slice attribute_text;
    bool is_lsub, is_preauth, is_last;
    struct imap_mailbox_numbers mailbox;
    uint32_t number, uid;
    const uint32_t *numbers;
    size_t n_numbers;
    struct slice section, bytes; /* section: what is between the brackets */
    uint64_t size_bytes;
    struct imap_fetched fetched;
    struct err err;
};

/* NULL: no memory. */
struct imap_client *imap_client_new(const struct imap_client_config *cfg, mono_t now);
void imap_client_free(struct imap_client *c);
struct engine imap_client_engine(struct imap_client *c);

/* base/engine.h. */
size_t imap_client_feed(struct imap_client *c, struct slice in, mono_t now);
void imap_client_eof(struct imap_client *c, mono_t now);
struct slice imap_client_out(struct imap_client *c);
void imap_client_sent(struct imap_client *c, size_t n, mono_t now);
mono_t imap_client_deadline(const struct imap_client *c);
void imap_client_tick(struct imap_client *c, mono_t now);
bool imap_client_done(const struct imap_client *c);
bool imap_client_next(struct imap_client *c, struct imap_client_event *ev);

void imap_client_tls_up(struct imap_client *c);
/* True when a command may be started: READY came and nothing is under way. */
bool imap_client_is_free(const struct imap_client *c);
/* The capabilities as last said, one space between words; and whether one is there, any case. */
struct slice imap_client_capabilities(const struct imap_client *c);
bool imap_client_can(const struct imap_client *c, struct slice capability);

/* Commands. False, and nothing happens, unless imap_client_is_free. Names are UTF-8. */
bool imap_client_list(struct imap_client *c, struct slice reference, struct slice pattern);
bool imap_client_lsub(struct imap_client *c, struct slice reference, struct slice pattern);
/* items: "MESSAGES UNSEEN UIDNEXT". */
bool imap_client_status(struct imap_client *c, struct slice mailbox, struct slice items);
bool imap_client_select(struct imap_client *c, struct slice mailbox, bool is_read_only);
/* UID SEARCH. Sent as it is, with CHARSET UTF-8 in front when it is not ASCII; no CR, LF or NUL.
 * Strings with other than ASCII are sent quoted, which all servers in use accept. */
bool imap_client_search(struct imap_client *c, struct slice criteria);
/* UID FETCH set (items): "1:*", "UID FLAGS BODY.PEEK[]". */
bool imap_client_fetch(struct imap_client *c, struct slice uids, struct slice items);
bool imap_client_noop(struct imap_client *c);
bool imap_client_idle(struct imap_client *c);
void imap_client_idle_done(struct imap_client *c);
bool imap_client_logout(struct imap_client *c);
/* Any other command that needs no literal, without tag: "UID STORE 5 +FLAGS.SILENT (\\Seen)". */
bool imap_client_command(struct imap_client *c, struct slice text);

#endif
