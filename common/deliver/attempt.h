/* attempt: one try to pass a message on for some of its recipients, and the record of it. Blocking.
 */
#ifndef DELIVER_ATTEMPT_H
#define DELIVER_ATTEMPT_H

#include <pthread.h>

#include "deliver/hop.h"
#include "deliver/route.h"
#include "queue/envelope.h"
#include "sys/log.h"

enum { ATTEMPT_ADDRS_MAX = 5, ATTEMPT_DETAIL_MAX = 4096 };

/* What attempts share: resolver, credentials, settings. Any thread. */
struct courier {
    const struct conf *conf;
    struct resolver *resolver;
    struct tls_creds *opportunistic; /* no CA: for MX at `may` */
    pthread_mutex_t lock;            /* of `verifying` and `token` */
    struct tls_creds *verifying;     /* NULL until a hop needs it */
    struct buf password;             /* of the relay */
    struct buf token;                /* what relay-token-command printed last, or empty */
    mono_t token_until;              /* when it is asked anew */
    const struct log *log;
    _Atomic mono_t give_up; /* when running attempts end, as if the connection broke; 0: never */
    void (*on_reply)(void *user, enum smtp_stage stage, unsigned index, const struct smtp_reply *r,
                     mono_t ms);
    void (*on_bytes)(void *user, bool is_out, struct slice bytes);
    void *on_user;
};
/* Loads GnuTLS, and reads the relay's password. ERR_CONFIG, ERR_LIBRARY, ERR_DENIED
 * (password file). */
enum err_code courier_open(const struct conf *c, const struct log *log, struct courier *out,
                           struct err *e);
void courier_close(struct courier *c);
/* The part of it that a decision of policy/tls makes: level, names, TLSA records; smtp-probe uses
 * it too. What `o` points at lives in `route`. */
void hop_options_tls(const struct route *route, const struct route_host *host,
                     const struct tls_decision *d, struct hop_options *o);
/* How a hop of `route` is made: TLS as policy/tls decides for this host and message (`env` NULL:
 * none), credentials, names. What `o` points at lives in `route` and `c`. ERR_TLS: the host must
 * not be used now; ERR_CONFIG: tls-ca cannot be read. */
enum err_code courier_hop_options(struct courier *c, const struct route *route,
                                  const struct route_host *host, const struct envelope *env,
                                  struct hop_options *o, struct err *e);

/* What became of one recipient. The words are what --json, --explain, the log and the bounce print.
 */
struct verdict {
    enum smtp_class class;
    enum smtp_stage stage;
    unsigned code; /* reply code; 0: decided here */
    struct mail_status status;
    char host[256], address[64]; /* who said it; empty: nobody */
    char tls[128];
    char policy[16];
    const char *policy_why;          /* static */
    char text[512];                  /* the reply's text, or ours; one line */
    const char *route, *mx, *dnssec; /* how the host was found; static words, NULL: it was not */
    bool peer_does_dsn;
    bool peer_does_by;   /* DELIVERBY, or it is the last one (LMTP) */
    bool is_hop_failure; /* the host refused or broke off before the message: others may take it */
    bool had_temporary;  /* some host failed in a way that may pass */
};

struct attempt {
    const struct envelope *env;
    const size_t *rcpts; /* indices into env->rcpts */
    size_t count;
    struct hop_body body;
    struct verdict *verdicts; /* one per entry of `rcpts`; filled */
};

/* A connection that is kept from one message to the next. */
struct link {
    int fd;             /* connected, nothing said yet; -1: none */
    bool is_open;       /* `hop` is ready for a message */
    size_t host;        /* index of the host in the route */
    enum hop_tls asked; /* what it was opened with */
    struct addr to;     /* its address */
    unsigned sent;      /* messages so far */
    struct hop hop;
};
void link_init(struct link *l);
/* QUIT, and close. May be called again. */
void link_close(struct link *l);

/* Try hosts and addresses of `route` in order until every recipient has a final answer or none is
 * left: at most ATTEMPT_ADDRS_MAX addresses. Temporary answers are asked again at the next host;
 * permanent ones stand (S-12), and so does a reply that was lost after the final dot (S-17). A
 * failed handshake is retried in clear where policy allows.
 *
 * `link` (may be NULL): begin with its connection, then go on with the hosts behind it. When it was
 * used before and broke before the end of the message's data, the same address is asked anew
 * (S-20). It is left open at the host that was spoken to last, if that still listens. */
void attempt_run(struct courier *c, const struct route *route, struct link *link,
                 struct attempt *a);
/* The same verdict for all recipients: what `why` says happened at `stage` with `host` (NULL:
 * nobody was reached). */
void attempt_fail(const struct route *route, const struct route_host *host, const struct addr *to,
                  const struct err *why, enum smtp_stage stage, struct attempt *a);
/* Verdicts for a route that leads nowhere. */
void attempt_no_route(const struct route *route, struct attempt *a);
/* The record as one line of JSON into `out`. `attempt_number` from 1. */
void verdict_json(const struct verdict *v, unsigned attempt_number, wall_t now, struct buf *out);
/* "250 2.0.0 text", or our words. In `out`. */
struct slice verdict_reply(const struct verdict *v, struct buf *out);

#endif
