/* queue: messages that were promised to be delivered.
 *
 * On disk (postbag-queue(5)) the queue is a directory of segments. NAME.seg is an append-only file
 * of records, written by the one process that holds a lock on its byte 0; a record is
 *
 *     PBM1 ID ENVELOPE-BYTES MESSAGE-BYTES CRC32C LF  envelope text  message octets  LF
 *
 * whose checksum is over the header line before it, the envelope and the message.
 * NAME.jnl tells what happened to each recipient, one line each, written by the one process that
 * holds the lease: a lock on byte 1 of NAME.seg. When every message of a segment that has no writer
 * is finished the segment is unlinked, then its journal. After a crash the torn tail of a segment,
 * which was never acknowledged, is cut. A damaged record in the middle is set aside and reported,
 * never sent.
 *
 *     queue_open(dir, &q, &e);
 *     queue_put(q, &env, head, &body, id, &e);       // durable when it returns OK
 *     queue_lease(q, &e);                            // take what no other process works on
 *     while ((m = queue_next(q, QUEUE_LOCAL, now))) { ... queue_note(q, m, 0, &outcome, &e);
 * queue_done(q, m, next); }
 *
 * A struct queue may be used from any thread. A struct queue_msg that queue_next gave belongs to
 * the caller until queue_done. */
#ifndef QUEUE_QUEUE_H
#define QUEUE_QUEUE_H

#include "queue/envelope.h"
#include "queue/spool.h"
#include "sys/log.h"

enum {
    QUEUE_ID_MAX = 16,                      /* an id with its NUL */
    QUEUE_SEGMENT_BYTES = 64 * 1024 * 1024, /* a segment is closed when it has grown past this */
    QUEUE_SEGMENT_MESSAGES = 20000
};

struct queue;
struct queue_msg;

/* Open the queue in `dir` (made with 0700 when missing). Takes no lease. `log` is borrowed, may be
 * NULL. */
enum err_code queue_open(const char *dir, const struct log *log, struct queue **out, struct err *e);
/* The same only to look: for who may read the directory and its files but not write them; nothing
 * is made. For queue_walk, queue_read, queue_story and their like, and nothing else. DENIED says
 * whose it is; NOT_FOUND. */
enum err_code queue_open_to_look(const char *dir, const struct log *log, struct queue **out,
                                 struct err *e);
/* Commit what is pending, give back leases, free. Messages that are still out must not be used. */
void queue_close(struct queue *q);

/* The directory; lives as long as the queue. */
const char *queue_dir(const struct queue *q);

/* --- putting in --------------------------------------------------------------------------------
 */

/* Store one message: `head` (header fields added here) and `body` after it. Returns when it is
 * durable; `id` then names it. FULL (4.3.1), IO, MEMORY: nothing was stored. */
enum err_code queue_put(struct queue *q, const struct envelope *env, struct slice head,
                        const struct spool *body, char id[QUEUE_ID_MAX], struct err *e);

/* The same without waiting: group commit. The caller fills the first part and keeps everything
 * alive until `done` is called, on the committer's thread, once. */
struct queue_op {
    const struct envelope *env;
    struct slice head;
    const struct spool *body;
    void (*done)(struct queue_op *op);
    void *user;
    /* the answer */
    enum err_code code;
    struct err err;
    char id[QUEUE_ID_MAX];
    struct queue_op *next; /* the queue's own */
};
/* Commit it here and now, when nobody else is at it and the last commit was for one message too:
 * who sends alone does not pay for two changes of thread. True: the answer is in `op`, `done` is
 * not called. False: nothing was done, use queue_submit. */
bool queue_try(struct queue *q, struct queue_op *op);
/* `id` is filled at once, so that a Received field in `head` can name it: call queue_new_id first.
 */
void queue_submit(struct queue *q, struct queue_op *op);
/* A new id, unique on this host. */
void queue_new_id(char id[QUEUE_ID_MAX]);

/* --- working on it ------------------------------------------------------------------------------
 */

/* A message goes through two lanes: QUEUE_LOCAL looks at the recipients that are here, QUEUE_REMOTE
 * at the rest. */
enum queue_lane { QUEUE_LOCAL, QUEUE_REMOTE, QUEUE_LANES };
enum queue_state { QUEUE_PENDING, QUEUE_DELIVERED, QUEUE_FAILED };

/* Lease every segment that nobody else works on, read it, and line its messages up; at most as many
 * segments as a quarter of the descriptors; many small segments are made one first, and one that
 * cannot be read does not keep the others (the error is that of the first). May be called again to
 * find new segments. `*held` (may be NULL) gets the number of segments others hold. From then on
 * messages that are put in by this process are lined up too. */
enum err_code queue_lease(struct queue *q, unsigned *held, struct err *e);
/* From now on only these messages are lined up, whatever else is leased; they are copied. For a
 * pass over some messages; call it before queue_lease, once. ERR_MEMORY. */
enum err_code queue_only(struct queue *q, const char (*ids)[QUEUE_ID_MAX], size_t n, struct err *e);
/* The next message of `lane` whose time has come, or NULL; none while a journal cannot be written.
 */
struct queue_msg *queue_next(struct queue *q, enum queue_lane lane, wall_t now);
/* When the next message of `lane` is due; INT64_MAX: none. */
wall_t queue_due(struct queue *q, enum queue_lane lane);
/* How often queue_wake was called: ask before looking whether to go on, and give it to queue_wait.
 */
unsigned queue_wakes(struct queue *q);
/* Wait until a message is due in `lane`, queue_wake was called since `wakes`, or `timeout_ms`
 * passed. */
void queue_wait(struct queue *q, enum queue_lane lane, unsigned wakes, unsigned timeout_ms);
void queue_wake(struct queue *q);

const char *queue_msg_id(const struct queue_msg *m);
/* The file that it is in, without its ending: for errors. While the message is out. */
const char *queue_msg_segment(const struct queue_msg *m);
wall_t queue_msg_arrived(const struct queue_msg *m);
/* It may have been delivered by a process that died before it could note that, or not in full. */
bool queue_msg_was_begun(const struct queue_msg *m);
/* Attempts so far in the remote lane, and the state of a recipient. */
unsigned queue_msg_attempts(const struct queue_msg *m);
enum queue_state queue_msg_state(const struct queue_msg *m, size_t rcpt);
bool queue_msg_delay_told(const struct queue_msg *m);
/* The envelope, in `a`. */
enum err_code queue_msg_envelope(struct queue *q, const struct queue_msg *m, struct arena *a,
                                 struct envelope *env, struct err *e);
/* Where the octets are: a descriptor (borrowed while the message is out), offset and size. */
void queue_msg_body(const struct queue_msg *m, int *fd, uint64_t *offset, uint64_t *size);

/* Ask before anything is done with a message of QUEUE_REMOTE: OK when it can be noted what happens,
 * as far as can be known; from then on requests wait for queue_done. Else it is to come back:
 * ERR_BUSY when somebody holds or dropped it, ERR_FULL, ERR_IO when the journal cannot be written
 * (later). */
enum err_code queue_may_begin(struct queue *q, struct queue_msg *m, struct err *e);
/* What happened to a recipient. `detail` is one line of JSON: the decision record. */
struct queue_outcome {
    enum queue_state state; /* QUEUE_PENDING: deferred */
    struct slice detail;    /* without line breaks; at most 16 KiB */
};
/* Write it to the journal. On an error the far side may get the message again. */
enum err_code queue_note(struct queue *q, struct queue_msg *m, size_t rcpt,
                         const struct queue_outcome *o, struct err *e);
/* Remember that the sender was told of the delay. */
enum err_code queue_note_delay(struct queue *q, struct queue_msg *m, struct err *e);
/* Make what was noted of the message's segment durable. */
enum err_code queue_sync(struct queue *q, struct queue_msg *m, struct err *e);
/* The same for all segments. */
enum err_code queue_sync_all(struct queue *q, struct err *e);
/* How often somebody asked for a try now (QUEUE_FLUSH). */
unsigned queue_flushes(const struct queue *q);
/* The message comes back: finished when no recipient is pending, else due again in `lane` at
 * `next`. */
void queue_done(struct queue *q, struct queue_msg *m, enum queue_lane lane, wall_t next);
/* Count of messages lined up or out, and of those out. */
void queue_count(struct queue *q, size_t *all, size_t *out);
/* True when nothing is out and nothing is due in any lane. */
bool queue_is_idle(struct queue *q, wall_t now);

/* --- looking and steering -----------------------------------------------------------------------
 */

struct queue_entry {
    const char *id;
    const struct envelope *env;
    uint64_t size;
    wall_t next; /* next attempt, 0: as soon as possible */
    unsigned attempts;
    bool is_held, is_leased;
    const uint8_t *state;       /* enum queue_state per recipient */
    const struct slice *detail; /* the last decision record per recipient, or empty */
    int fd;                     /* for queue_entry_read */
    uint64_t at;
};
/* Call `visit` for every unfinished message, by arrival within a segment, without taking a lease;
 * other processes may work meanwhile. A false from `visit` ends the walk. With `finished`, those
 * that are finished and still there too. */
enum err_code queue_walk(struct queue *q, bool finished,
                         bool (*visit)(const struct queue_entry *, void *), void *user,
                         struct err *e);
/* A message that is meant, and what came of it. */
struct queue_ask {
    char id[QUEUE_ID_MAX];
    enum err_code code; /* OK, ERR_NOT_FOUND, ERR_TIMEOUT */
};
/* In `asks` that are sorted by id (strcmp), or NULL. */
struct queue_ask *queue_ask_find(struct queue_ask *asks, size_t n, const char *id);
/* queue_walk over the unfinished ones of `asks`, which are sorted by id. */
enum err_code queue_walk_asked(struct queue *q, const struct queue_ask *asks, size_t n,
                               bool (*visit)(const struct queue_entry *, void *), void *user,
                               struct err *e);
/* The octets of the message that is visited, appended to `out`. ERR_IO, ERR_LIMIT. */
enum err_code queue_entry_read(const struct queue_entry *entry, struct buf *out, struct err *e);
/* The journal lines of one message, oldest first: wall time, recipient, word, detail. */
enum err_code queue_story(struct queue *q, const char *id,
                          void (*line)(wall_t at, int rcpt, struct slice word, struct slice detail,
                                       void *user),
                          void *user, struct err *e);
/* The octets of one message appended to `out`. ERR_NOT_FOUND. */
enum err_code queue_read(struct queue *q, const char *id, struct buf *out, struct err *e);

/* Requests, carried out by whoever holds the lease: this process when nobody does, else they are
 * left in the directory for the holder, which looks at queue_obey. What was begun with a message is
 * brought to its end first: after the answer to QUEUE_HOLD and QUEUE_DROP nothing more happens to
 * it. */
enum queue_verb { QUEUE_HOLD, QUEUE_RELEASE, QUEUE_DROP, QUEUE_FLUSH };
/* Ask for `n` messages at once; sorts `asks` by id and fills each code. Waits up to `timeout_ms`
 * for holders: ERR_TIMEOUT, of a message whose delivery did not end in time or whose holder did not
 * answer; a hold or drop then comes into force when it ends. The first error that is not of one
 * message ends it. Durable when it returns. */
enum err_code queue_request_many(struct queue *q, enum queue_verb verb, struct queue_ask *asks,
                                 size_t n, unsigned timeout_ms, struct err *e);
/* The same for one; `id` NULL only for QUEUE_FLUSH: all that this process has and, unless
 * `timeout_ms` is 0, all that others have. ERR_TIMEOUT: nobody else works on the queue. */
enum err_code queue_request(struct queue *q, enum queue_verb verb, const char *id,
                            unsigned timeout_ms, struct err *e);
/* The error of a message that a request did not do: for people. */
enum err_code queue_ask_error(const struct queue_ask *ask, struct err *e);
/* Carry out what others asked for, and write anew what is mostly finished. Called by the process
 * that holds leases, now and then; soon again when true: something asked for waits for the end of a
 * delivery. */
bool queue_obey(struct queue *q);

#endif
