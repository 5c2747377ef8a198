/* sasl/server: the server's side of one SASL exchange, in base64 lines as SMTP, POP3 and IMAP carry
 * it (RFC 4422; RFC 4954 4). It gathers what the client claims; what it cannot prove by itself is
 * the host's question. Mechanisms are rows of a table in server.c.
 *
 *     switch (sasl_server_start(&x, S("PLAIN"), has_initial, initial, env)) {
 *         case SASL_CHALLENGE: send("334 ", x.out); ...; sasl_server_step(&x, line) ...
 *         case SASL_CLAIMED: check(x.claim, x.authcid, x.password) ...
 *     }
 *     sasl_server_release(&x);
 */
#ifndef SASL_SERVER_H
#define SASL_SERVER_H

#include "base/buf.h"
#include "sasl/sasl.h"

enum sasl_step {
    SASL_CHALLENGE,  /* send `out` (base64, maybe empty) and wait for a line */
    SASL_CLAIMED,    /* `claim`, authzid and authcid are complete */
    SASL_CANCELLED,  /* the client said "*" */
    SASL_MALFORMED,  /* not base64, or not what the mechanism asks for, or too long */
    SASL_UNSUPPORTED /* no such mechanism, or not for this connection */
};

struct sasl_server_mechanism;
struct scram_server;
struct sasl_server {
    const struct sasl_server_mechanism *mechanism;
    const struct sasl_env *env;
    struct scram_server *scram; /* while SCRAM runs */
    enum sasl_claim claim;
    int state;
    struct buf out, authzid, authcid, password; /* or token */
};

/* The set of mechanisms that `env` allows now. */
unsigned sasl_server_offers(const struct sasl_env *env);
/* Begin. `initial` is base64 as it came; "=" is an empty one (RFC 4954 4). Zeroed or released
 * storage; no memory counts as MALFORMED. */
enum sasl_step sasl_server_start(struct sasl_server *x, struct slice mechanism, bool has_initial,
                                 struct slice initial, const struct sasl_env *env);
/* The next line of the client, without CRLF. Only after SASL_CHALLENGE. */
enum sasl_step sasl_server_step(struct sasl_server *x, struct slice line);
/* The host refused the claim. SASL_CHALLENGE: the mechanism says why first (RFC 7628 3.2.2): send
 * `out`; whatever the client answers leads to SASL_CLAIMED with SASL_IS_DENIED, and then this is no
 * question for the host again. Else SASL_CLAIMED: nothing is left to say. */
enum sasl_step sasl_server_denied(struct sasl_server *x);
/* Has the client been told why, so that a claim is only the end of it? */
bool sasl_server_was_told(const struct sasl_server *x);
/* Wipe and free. A zeroed struct is allowed. */
void sasl_server_release(struct sasl_server *x);
/* "PLAIN"; static, "" before start. */
const char *sasl_server_name(const struct sasl_server *x);

#endif
