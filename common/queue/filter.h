/* filter: which messages of the queue are meant. All conditions that are set must hold. No I/O. */
#ifndef QUEUE_FILTER_H
#define QUEUE_FILTER_H

#include "queue/queue.h"

struct filter {
    char *const *ids; /* any of them; `id_count` 0: every message */
    size_t id_count;
    const char *sender;    /* an address, "@domain" or a domain, any case; "<>": the null sender */
    const char *recipient; /* the same, of one that is still pending */
    const char *reason;    /* text that the last reply to a pending recipient holds, any case */
    uint32_t older_s, younger_s; /* age since arrival; 0: any */
    bool is_held;
};

/* True when no condition is set. */
bool filter_is_empty(const struct filter *f);
bool filter_matches(const struct filter *f, const struct queue_entry *q, wall_t now);

#endif
