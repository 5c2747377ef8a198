/* server: what all sessions of one `serve` share, and the makers of hosts. */
#ifndef SERVE_SERVER_H
#define SERVE_SERVER_H

#include "deliver/rcpt.h"
#include "queue/queue.h"
#include "serve/gate.h"
#include "serve/lane.h"
#include "serve/session.h"

struct server {
    const struct conf *conf;
    const struct log *log;
    struct directory *directory;
    struct queue *queue;
    struct tls_creds *creds; /* NULL: no TLS offered */
    struct lane *passwords;  /* as wide as the machine; NULL: check at once (blocking driver) */
    struct gate *gate;       /* slows guessing of passwords; NULL with `passwords` */
    bool is_holding;         /* take mail and deliver none of it */
    bool trusts_stdio;       /* sendmail -bs: the peer is a local user, who may relay */
    const char *drop;        /* sendmail -bs of a user who may not write the queue: his mail goes to
                                this directory (deliver/drop), and `queue` is NULL */
    struct slice stdio_user; /* serve --stdio: already logged in as, or empty */
    _Atomic uint64_t encoding; /* octets of messages that are encoded anew at this moment */
};

/* Is the address in one of the networks? */
bool server_in_nets(const struct conf_nets *nets, const struct addr *a);

/* Make the host of a service for a fresh session. ERR_MEMORY. */
enum err_code smtp_host_new(struct session *s, mono_t now, struct err *e);
enum err_code pop3_host_new(struct session *s, mono_t now, struct err *e);
enum err_code imap_host_new(struct session *s, mono_t now, struct err *e);
/* The one for `s->service`. */
enum err_code server_host(struct session *s, mono_t now, struct err *e);

/* Fill `s->sasl` for the engine's config: SCRAM when every account can, bound to the TLS of the
 * session; EXTERNAL with `tls-client-ca`; tokens with `token-command`. The result lives as long as
 * `s`. */
const struct sasl_env *server_sasl(struct session *s);

/* A login under way: user and password are copied, checked in the password lane, and wiped. */
struct login {
    struct session *session;
    struct account account; /* when code is OK */
    enum err_code code;
    struct err err;
    bool is_done;
    enum sasl_claim claim;
    const char *mechanism; /* static */
    char *token;           /* of a token: instead of `password` */
    char user[ACCOUNT_NAME_MAX + 1], password[1024];
};
/* Start it; `claim` says what is to be checked of it. The session waits; when it is run again
 * `is_done` is true. After failed logins it waits first (serve/gate).
 * ERR_BUSY (4.7.0) at once when the lane is full or too many wait, ERR_DENIED when user or
 * password are too long: then the session does not wait. */
enum err_code server_login(struct session *s, struct login *l, enum sasl_claim claim,
                           const char *mechanism, struct slice user, struct slice password);
/* Log the end of a login, in words that a ban tool can read. */
void server_log_login(const struct session *s, const struct login *l);

#endif
