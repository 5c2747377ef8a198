/* dest: the destinations of deliver/outbound: what waits for each, how it is reached, how many
 * connections it may have. Everything is guarded by the lock of the outbound that has them. */
#ifndef DELIVER_DEST_H
#define DELIVER_DEST_H

#include <pthread.h>

#include "deliver/reach.h"
#include "deliver/route.h"
#include "queue/envelope.h"

enum {
    DEST_BUCKETS = 4096,
    DEST_LIMIT_FIRST = 4, /* connections at first, grows with success */
    DEST_PASSES_MAX = 2,  /* of a task from a failed connection to another */
    DEST_LIMIT_MAX = 20   /* unless the settings say otherwise */
};

struct parcel;
/* A message's part for one destination. */
struct task {
    struct task *next;
    struct parcel *parcel;
    int8_t priority; /* RFC 6710 */
    uint8_t passes;  /* how often a failed connection gave it to another one */
};

/* A route, counted by who uses it. */
struct trip {
    unsigned refs;
    struct arena arena;
    struct route route;
};

struct dest {
    struct dest *next; /* in its bucket */
    char *name;        /* domain in lower case, or "host:port" of the relay */
    struct task *first, **end;
    size_t waiting;
    unsigned active, opening, limit; /* sessions, connections being made, bound of both */
    unsigned users;                  /* works that point here */
    bool is_routing;
    struct trip *trip; /* NULL: to be looked up */
    mono_t routed_at;
    const struct conf_dest *rule; /* of the settings, or NULL */
    mono_t not_before;            /* of its next message, by the rule's rate */
    struct reach reach;
    uint64_t mark; /* of the message that was sorted in last */
    pthread_cond_t more;
};

struct dests {
    struct dest *buckets[DEST_BUCKETS];
    const struct conf *conf;
    const char *reach_dir;
};

/* The name that mail for recipient `rcpt` is lined up under: domain in lower case, "host:port" of
 * the relay, "=host:port" of a message that was sent elsewhere by hand. False: it has none. */
bool dest_name(const struct conf *c, const struct envelope *env, size_t rcpt, char *out, size_t n);
/* The destination of that name, made when there is none. NULL without memory. */
struct dest *dest_of(struct dests *all, const char *name);
/* Gone, when nothing waits for it and nobody works on it. */
void dest_free_if_idle(struct dests *all, struct dest *d);
/* Not yet, says the rule's rate. */
bool dest_must_wait(const struct dest *d);
/* The next task, or NULL. */
struct task *dest_take(struct dest *d);
/* Line `t` up behind all that have at least its priority. */
void dest_put(struct dest *d, struct task *t, bool at_front);
unsigned dest_limit_max(const struct dest *d);
unsigned dest_limit_first(const struct dest *d);
/* One user of the route fewer. NULL is allowed. */
void trip_drop(struct trip *t);

#endif
