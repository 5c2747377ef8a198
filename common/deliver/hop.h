/* hop: one SMTP or LMTP connection to one address, driven to its end: connect, TLS, AUTH, messages.
 * The same for delivery, `sendmail --now` and `smtp-probe`. Blocking, with the deadlines of RFC
 * 5321 4.5.3.2. */
#ifndef DELIVER_HOP_H
#define DELIVER_HOP_H

#include "net/addr.h"
#include "net/pump.h"
#include "policy/tls.h"
#include "smtp/client.h"

enum { HOP_CONNECT_MS = 30 * 1000, HOP_TLS_MS = 60 * 1000 };

struct hop_options {
    const char *ehlo_name; /* ours */
    const char *host;      /* theirs: for SNI and verification */
    enum hop_tls tls;
    const char *tls_why;           /* static, or NULL */
    const struct dns_record *tlsa; /* HOP_TLS_DANE */
    size_t tlsa_count;
    const char *names[2]; /* HOP_TLS_DANE: other names that a TLSA of usage 2 may be for, or NULL */
    const struct addr *from; /* own address to connect from; NULL: any */
    bool is_implicit_tls, is_lmtp, plaintext_auth;
    const char *user; /* NULL: no AUTH */
    struct slice password;
    unsigned mechanisms; /* smtp_client_config */
    /* Optional: append the access token to log in with, instead of `password`. Asked once by
     * hop_open, on its thread. An error ends the hop at SMTP_STAGE_AUTH. */
    enum err_code (*token)(void *user, struct buf *out, struct err *e);
    void *token_user;
    struct tls_creds *creds;    /* client credentials; needed unless tls is NONE */
    enum smtp_stage stop_after; /* probe; NONE else */
    uint32_t without;           /* SMTP_EXT_ not to use */
    unsigned timeout_ms;        /* bound of each wait; 0: the RFC's */
    /* When all waits end, set by another thread (net/pump); NULL or 0: never. Borrowed. */
    const _Atomic mono_t *give_up;
    /* Optional: every reply as it comes with the time since the connect, and all bytes in clear. */
    void (*on_reply)(void *user, enum smtp_stage stage, unsigned index, const struct smtp_reply *r,
                     mono_t ms);
    void (*on_bytes)(void *user, bool is_out, struct slice bytes);
    void *on_user;
};

struct hop {
    struct hop_options o; /* copied; what it points at must outlive the hop */
    struct addr to;
    int fd;
    struct pump pump;
    struct smtp_client *client;
    mono_t started, connected, secured, ready; /* clock_mono of each step, 0: not reached */
    bool is_tls, is_ready, is_over;
    enum smtp_stage failed_at;
    char tls_text[128];        /* "TLSv1.3 AES-256-GCM X25519", or "" */
    struct tls_peer peer;      /* the certificate shown, when is_tls */
    enum err_code verify_code; /* of the certificate: OK also when it was not checked */
    struct err verify_err;
    struct err err; /* why it is over, when not by QUIT */
};

/* Where a body is read from: the queue's segment, a file. */
struct hop_body {
    int fd;
    uint64_t offset, size;
};

/* Connect (or take over `fd`, which is connected to `to`; -1: none) and go on until the server is
 * ready for MAIL (or the stop stage is done). On an error the hop is closed; `hop->err`,
 * `failed_at` and the times stay readable. With HOP_TLS_MAY a failed handshake is an error too
 * (ERR_TLS): the caller opens anew with HOP_TLS_NONE. */
enum err_code hop_open(struct hop *h, int fd, const struct addr *to, const struct hop_options *o,
                       struct err *e);
/* Send one message. OK: every recipient has a verdict of smtp_client_result(h->client, i), also
 * when the connection was lost on the way. */
enum err_code hop_send(struct hop *h, const struct smtp_client_message *m,
                       const struct hop_body *body, struct err *e);
/* Probe: give the envelope of `m` and stop at options.stop_after (MAIL or RCPT), then QUIT. */
enum err_code hop_probe(struct hop *h, const struct smtp_client_message *m, struct err *e);
/* QUIT when that is possible, and free. May be called at any time once, also after a failed open.
 */
void hop_close(struct hop *h);

#endif
