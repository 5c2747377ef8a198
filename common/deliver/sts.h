/* sts: the MTA-STS policy of a domain (RFC 8461): record, policy by HTTPS, and the cache of
 * policies in DATA/state/mta-sts, which `serve` and every queue run share. Blocking; any thread. */
#ifndef DELIVER_STS_H
#define DELIVER_STS_H

#include "net/resolve.h"
#include "policy/sts.h"

enum sts_source { STS_NO_POLICY, STS_CACHED, STS_FETCHED };
struct sts_found {
    enum sts_source source;
    struct sts_policy policy; /* when there is one */
    struct slice why;         /* what went wrong with record or policy, or empty; in the arena */
};

/* Find it for `domain` (A-labels). A policy whose record is gone or cannot be fetched anew holds
 * until its max_age has passed (5.1). Returns OK also without one; ERR_MEMORY. */
enum err_code sts_find(struct resolver *r, const struct conf *c, struct slice domain,
                       struct arena *a, struct sts_found *out, struct err *e);

#endif
