/* job: a message of the queue in hand: its envelope, what became of each recipient this time, and
 * how that is written down: log, journal, notifications, next attempt. The local lane and the
 * destinations share it. A job is used by one thread at a time. */
#ifndef DELIVER_JOB_H
#define DELIVER_JOB_H

#include "deliver/runner.h"

enum { LOCAL_MESSAGE_MAX = 0x7fffffff };

struct job {
    struct queue_msg *msg;
    struct arena arena;
    struct envelope env;
    char *octets; /* after job_load: all of the message */
    uint64_t size;
    struct verdict *verdicts; /* per recipient */
    bool *touched;            /* per recipient: has a verdict now */
    size_t *noted;            /* room for as many indices */
    struct local_item *items; /* the local lane's own */
    size_t item_count, item_cap;
    bool bad; /* the envelope could not be read */
};

/* Read the envelope of `m`. False: it cannot be read (logged); the job is `bad` and is still to be
 * given back and closed. */
bool job_open(struct runner *r, struct job *j, struct queue_msg *m);
/* Read the octets, at most LOCAL_MESSAGE_MAX. */
enum err_code job_load(struct job *j, struct err *e);
void job_close(struct job *j);

/* The part behind the last "@", or empty. */
struct slice job_domain(struct slice address);
bool job_is_pending(const struct job *j, size_t rcpt);
/* Is the recipient's domain one of this host's? */
bool job_is_local(const struct runner *r, const struct job *j, size_t rcpt);

/* A verdict made here. */
void job_set(struct job *j, size_t rcpt, enum smtp_class class, struct mail_status st,
             const char *text);
void job_set_err(struct job *j, size_t rcpt, const struct err *e);

/* The verdicts of these recipients stand: those that are delivered or deferred are logged and go
 * into the journal now, so that a crash repeats as little as can be. What is older than
 * queue-lifetime becomes a failure. */
void job_note(struct runner *r, struct job *j, const size_t *rcpts, size_t count, wall_t now);
/* All that was tried has its verdict: tell the sender, then note the failures. In this order: a
 * crash between tells twice, never not at all. */
void job_settle(struct runner *r, struct job *j, wall_t now);
/* Back to the queue: to the remote lane at once when `to_remote` and somebody there waits, else
 * (when a recipient is still pending) due by the schedule, but not before `not_before`. */
void job_give_back(struct runner *r, struct job *j, bool to_remote, wall_t not_before, wall_t now);

#endif
