/* server_impl: what server.c (commands, answers) and server_data.c (message bytes) share. Not for
 * other folders. */
#ifndef SMTP_SERVER_IMPL_H
#define SMTP_SERVER_IMPL_H

#include "sasl/server.h"
#include "smtp/dot.h"
#include "smtp/reply.h"
#include "smtp/server.h"

enum smtp_server_state {
    STATE_CONNECT, /* before the banner */
    STATE_COMMAND,
    STATE_AUTH, /* a SASL line is due */
    STATE_DATA,
    STATE_BDAT, /* octets of a chunk are due */
    STATE_TLS,  /* 220 was said: nothing but the handshake may come */
    STATE_END
};

enum {
    OUT_MAX = 8 << 20,   /* LMTP: one reply for each of SMTP_SERVER_RCPT_CEILING */
    OUT_HIGH = 8 * 1024, /* no more commands are read while so much waits to go out */
    QUEUE_MAX = 4,
    LINGER_MS = 30 * 1000 /* for the last words to go out */
};

struct smtp_server {
    struct smtp_server_config config;
    char hostname[SMTP_DOMAIN_MAX];
    enum smtp_server_state state;
    bool is_tls, is_auth, is_ehlo, is_helo, is_sync, is_early, is_ahead, is_eof, is_strict;
    bool wants_shutdown, needs_arm;
    uint32_t exts; /* offered by the last EHLO */
    mono_t born;
    unsigned mails, junk;
    struct smtp_xclient *xclient; /* while XCLIENT waits for its answer */
    struct buf line, out, chunk, helo, bye;
    bool line_over, chunk_given;
    enum smtp_server_type queue[QUEUE_MAX];
    unsigned queued;
    bool has_wait, is_pulled; /* an answer is due; its event was pulled */
    enum smtp_server_type wait;
    struct slice verb, name; /* into `line` */
    struct smtp_mail mail;
    struct smtp_rcpt rcpt;
    bool in_mail, is_utf8;
    unsigned rcpt_count, rcpt_tried, bad, auth_failed, commands;
    struct sasl_server sasl;
    /* The message. */
    struct smtp_dot_decoder dot;
    uint64_t size, discarded, bdat_left, bdat_size, line_length;
    unsigned flags;
    bool is_over, is_refused, is_binary, in_bdat, bdat_last, bdat_skip, bdat_failed;
    unsigned skip_code;
    struct mail_status skip_status;
    struct buf skip_text;
    struct buf *answers; /* LMTP: one per accepted recipient */
    unsigned answered;
    struct err err;
    size_t progress; /* bytes of the message since the deadline was moved */
    mono_t now, deadline;
};

void smtp_server_put(struct smtp_server *s, unsigned code, struct mail_status st,
                     struct slice text);
void smtp_server_push(struct smtp_server *s, enum smtp_server_type type);
/* Push an event and wait for its answer. */
void smtp_server_ask(struct smtp_server *s, enum smtp_server_type type);
/* Say it, then end with FAIL. Code 0: say nothing. */
void smtp_server_die(struct smtp_server *s, unsigned code, struct mail_status st,
                     enum err_code what, const char *text);
/* The transaction is void: RESET when one was open. */
void smtp_server_void(struct smtp_server *s);
/* A refusal that counts against bad_max. */
void smtp_server_bad(struct smtp_server *s, unsigned code, struct mail_status st,
                     struct slice text);

/* server_ext.c */
/* The reply to a HELO, EHLO or LHLO that is let in. */
void smtp_server_greet(struct smtp_server *s, struct slice text);
void smtp_server_xclient(struct smtp_server *s, struct slice args);
/* XCLIENT was let in. */
void smtp_server_xclient_up(struct smtp_server *s);
void smtp_server_xclient_drop(struct smtp_server *s);
bool smtp_server_offers(const struct smtp_server *s, uint32_t ext);
bool smtp_server_offers_auth(const struct smtp_server *s);
/* Is the time that a message asks to be held for too long? */
bool smtp_server_hold_is_over(const struct smtp_server *s, const struct smtp_mail *m);

/* server_data.c */
void smtp_server_data_begin(struct smtp_server *s);
/* Message bytes; what is left of `in` after it belongs to the next command. */
void smtp_server_data_take(struct smtp_server *s, struct slice *in);
void smtp_server_bdat(struct smtp_server *s, struct slice args);
/* The host answered the DATA event of a first BDAT: 0 means yes. */
void smtp_server_bdat_go(struct smtp_server *s, unsigned code, struct mail_status st,
                         struct slice text);

#endif
