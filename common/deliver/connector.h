/* connector: the connections that are being made, all of them by one thread: a host that does not
 * answer costs a socket here, and no thread elsewhere. A connection is done when its host has
 * spoken (SMTP servers speak first), so whoever takes it over does not wait for a dead one.
 *
 * The hosts of a route are tried in order; within one preference the next address is tried beside
 * the first after CONNECTOR_STAGGER_MS (S-15), so a family that is broken costs two seconds. */
#ifndef DELIVER_CONNECTOR_H
#define DELIVER_CONNECTOR_H

#include "base/moment.h"
#include "deliver/route.h"

enum {
    CONNECTOR_STAGGER_MS = 2000,
    CONNECTOR_CONNECT_MS = 30 * 1000,
    CONNECTOR_BANNER_MS = 300 * 1000, /* RFC 5321 4.5.3.2.1 */
    CONNECTOR_NEXT_MS = 60 * 1000,    /* silent for so long: another is tried beside it */
    CONNECTOR_ADDRS_MAX = 5           /* addresses tried for one connection */
};

struct connector;
/* What is wanted, and then what came of it. The caller keeps it until `done` was called, once, on
 * the connector's thread: it must not block. */
struct connect_op {
    const struct route *route; /* borrowed; its code is OK */
    bool speaks_first;         /* false for implicit TLS: connected is enough */
    void (*done)(struct connect_op *op);
    void *user;
    /* the answer */
    int fd; /* the caller's; -1: none of the addresses */
    size_t host;
    struct addr to; /* of `fd`, or of the last failure */
    struct err err; /* fd -1: why the last address failed; ERR_CLOSED: the connector stops */
    /* the connector's own */
    struct connect_op *next;
    struct connect_try *tries;
    size_t try_count, next_host, next_addr, started;
    mono_t next_at;
};

/* ERR_MEMORY, ERR_NET (no descriptors). */
enum err_code connector_new(struct connector **out, struct err *e);
/* Any thread. */
void connector_open(struct connector *c, struct connect_op *op);
/* All that is being made ends with ERR_CLOSED; what is asked for later too. */
void connector_stop(struct connector *c);
/* After connector_stop, when all operations are done. NULL is allowed. */
void connector_free(struct connector *c);

#endif
