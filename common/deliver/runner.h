/* runner: works on the queue: local recipients into mailboxes, the others to their hosts, and tells
 * senders what failed. `serve` runs it all the time, `queue-run` once; it is the same code. */
#ifndef DELIVER_RUNNER_H
#define DELIVER_RUNNER_H

#include "deliver/attempt.h"
#include "deliver/rcpt.h"
#include "queue/queue.h"

enum {
    RUNNER_BATCH = 256, /* local messages made durable together */
    RUNNER_BATCH_BYTES = 32 * 1024 * 1024,
    RUNNER_PROGRAMS_MAX = 16, /* messages at once that wait for a command of an alias */
    RUNNER_STOP_MS = 5000,
    RUNNER_HOPS_MAX = 50 /* Received fields; more is a loop (RFC 5321 6.3) */
};

struct runner_counts {
    unsigned delivered, deferred, failed; /* recipients */
};

struct runner {
    const struct conf *conf;
    const struct log *log;
    struct queue *queue;
    struct directory *directory;
    struct courier *courier;
    _Atomic bool is_stopping;
    _Atomic unsigned programs; /* threads that wait for a command of an alias */
    _Atomic unsigned delivered, deferred, failed;
    /* Told of every verdict, from the thread that made it; may be NULL. */
    void (*on_verdict)(void *user, const char *id, struct slice rcpt, const struct verdict *v);
    void *on_user;
};

/* Work until runner_stop: one thread for what stays here, at most `jobs` sessions to elsewhere
 * (deliver/outbound). */
struct runner_threads;
enum err_code runner_start(struct runner *r, unsigned jobs, struct runner_threads **out,
                           struct err *e);
/* Let running attempts end, at most for RUNNER_STOP_MS (a connection that is being made: 30 s);
 * then they are broken off and their messages stay in the queue. Frees `t`. */
void runner_stop(struct runner *r, struct runner_threads *t);
/* Work with `jobs` threads until nothing is due, or `deadline`. */
enum err_code runner_pass(struct runner *r, unsigned jobs, mono_t deadline, struct err *e);

#endif
