/* outbound: the messages for elsewhere, gathered by destination. A destination is a domain, or the
 * relay that stands for all. Each has its line of messages, its route, its connections (kept open
 * while there is more to send), its bound on connections, and its memory of having been unreachable
 * (deliver/reach). So a dead one costs one attempt, not one per message, and holds up nobody else.
 *
 * Threads: one fills the lines from the queue's remote lane, one makes connections
 * (deliver/connector), and a worker per open session, started when needed. */
#ifndef DELIVER_OUTBOUND_H
#define DELIVER_OUTBOUND_H

#include "deliver/runner.h"

enum {
    OUTBOUND_MESSAGES_MAX = 20000, /* taken from the queue at once */
    OUTBOUND_WORKERS_MAX = 256,
    OUTBOUND_ROUTING_MAX = 200,       /* questions to name servers at once */
    OUTBOUND_LINGER_MS = 1000,        /* an idle connection waits so long for the next message */
    OUTBOUND_LINK_MESSAGES_MAX = 200, /* messages over one connection */
    OUTBOUND_ROUTE_MS = 60 * 1000,    /* a route is looked up anew after this long */
    OUTBOUND_SYNC_MS = 500            /* the journals are made durable so often */
};

struct outbound;
/* Begin to work with at most `workers` threads. ERR_MEMORY. */
enum err_code outbound_start(struct runner *r, unsigned workers, struct outbound **out,
                             struct err *e);
/* No more is begun; what runs ends by the courier's give_up. Messages that were not tried go back
 * to the queue as they were. Frees. */
void outbound_stop(struct outbound *o);

#endif
