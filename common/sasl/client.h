/* sasl/client: the client's side of one SASL exchange in base64 lines. Mechanisms are rows of a
 * table in client.c, best first.
 *
 *     if (sasl_client_start(&x, caps.auth, SASL_WITH_PASSWORD, user, password, env))
 *         send("AUTH %s %s", sasl_client_name(&x), x.out);
 *     if (sasl_client_step(&x, challenge)) send(x.out); else cancel("*");
 */
#ifndef SASL_CLIENT_H
#define SASL_CLIENT_H

#include "base/buf.h"
#include "sasl/sasl.h"

struct sasl_client_mechanism;
struct scram_client;
struct sasl_client {
    const struct sasl_client_mechanism *mechanism;
    const struct sasl_env *env;
    struct scram_client *scram; /* while SCRAM runs */
    unsigned offered;
    int state;
    bool is_satisfied;           /* SCRAM: the server proved that it knows the keys */
    bool has_initial;            /* `out` is an initial response */
    struct slice user, password; /* or access token; borrowed until release */
    struct buf out;              /* base64 to send, without CRLF */
};

/* Choose the best of `offered` (bits) that is also in `wanted`, and prepare the initial response.
 * `wanted` says what `password` is: of SASL_WITH_PASSWORD, or of SASL_WITH_TOKEN an access token
 * (RFC 6750); never of both. SCRAM needs an `env`, which lives until release; NULL: no SCRAM.
 * False: none fits, name or password too long or with NUL, a token of other than printable ASCII,
 * or no memory. */
bool sasl_client_start(struct sasl_client *x, unsigned offered, unsigned wanted, struct slice user,
                       struct slice password, const struct sasl_env *env);
/* Answer one challenge (base64, without "334 " or "+ "). False: give up and send "*". */
bool sasl_client_step(struct sasl_client *x, struct slice challenge);
/* Wipe and free. A zeroed struct is allowed. */
void sasl_client_release(struct sasl_client *x);
/* The server said that all is well: may it be believed? False: the mechanism wants the server to
 * prove itself too, and it did not. */
bool sasl_client_is_satisfied(const struct sasl_client *x);
const char *sasl_client_name(const struct sasl_client *x);

#endif
