/* sasl/client: the client's side of one SASL exchange in base64 lines. Mechanisms are rows of a
 * table in client.c, best first.
 *
 *     if (sasl_client_start(&x, caps.auth, user, password))
 *         send("AUTH %s %s", sasl_client_name(&x), x.out);
 *     if (sasl_client_step(&x, challenge)) send(x.out); else cancel("*");
 */
#ifndef SASL_CLIENT_H
#define SASL_CLIENT_H

#include "base/buf.h"
#include "sasl/sasl.h"

struct sasl_client_mechanism;
struct sasl_client {
    const struct sasl_client_mechanism *mechanism;
    int state;
    bool has_initial;            /* `out` is an initial response */
    struct slice user, password; /* borrowed until release */
    struct buf out;              /* base64 to send, without CRLF */
};

/* Choose the best of `offered` (bits) and prepare the initial response. False: none fits, name or
 * password too long or with NUL, or no memory. */
bool sasl_client_start(struct sasl_client *x, unsigned offered, struct slice user,
                       struct slice password);
/* Answer one challenge (base64, without "334 " or "+ "). False: give up and send "*". */
bool sasl_client_step(struct sasl_client *x, struct slice challenge);
/* Wipe and free. A zeroed struct is allowed. */
void sasl_client_release(struct sasl_client *x);
const char *sasl_client_name(const struct sasl_client *x);

#endif
