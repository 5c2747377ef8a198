/* sasl/server: the server's side of one SASL exchange, in base64 lines as SMTP, POP3 and IMAP carry
 * it (RFC 4422; RFC 4954 4). It gathers what the client claims; whether it is true is the host's
 * question. Mechanisms are rows of a table in server.c.
 *
 *     switch (sasl_server_start(&x, S("PLAIN"), has_initial, initial)) {
 *         case SASL_CHALLENGE: send("334 ", x.out); ...; sasl_server_step(&x, line) ...
 *         case SASL_VERIFY: check(x.authcid, x.password) ...
 *     }
 *     sasl_server_release(&x);
 */
#ifndef SASL_SERVER_H
#define SASL_SERVER_H

#include "base/buf.h"
#include "sasl/sasl.h"

enum sasl_step {
    SASL_CHALLENGE,  /* send `out` (base64, maybe empty) and wait for a line */
    SASL_VERIFY,     /* authzid, authcid and password are complete */
    SASL_CANCELLED,  /* the client said "*" */
    SASL_MALFORMED,  /* not base64, or not what the mechanism asks for, or too long */
    SASL_UNSUPPORTED /* no such mechanism */
};

struct sasl_server_mechanism;
struct sasl_server {
    const struct sasl_server_mechanism *mechanism;
    int state;
    struct buf out, authzid, authcid, password;
};

/* Begin. `initial` is base64 as it came; "=" is an empty one (RFC 4954 4). Zeroed or released
 * storage; no memory counts as MALFORMED. */
enum sasl_step sasl_server_start(struct sasl_server *x, struct slice mechanism, bool has_initial,
                                 struct slice initial);
/* The next line of the client, without CRLF. Only after SASL_CHALLENGE. */
enum sasl_step sasl_server_step(struct sasl_server *x, struct slice line);
/* Wipe and free. A zeroed struct is allowed. */
void sasl_server_release(struct sasl_server *x);
/* "PLAIN"; static, "" before start. */
const char *sasl_server_name(const struct sasl_server *x);

#endif
