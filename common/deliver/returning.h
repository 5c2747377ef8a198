/* returning: the administrator gives a message back to its sender, or sends it another way. Both
 * make a new message durable first and only then drop the old one: a crash between leaves both, the
 * old one held, and none is lost. */
#ifndef DELIVER_RETURNING_H
#define DELIVER_RETURNING_H

#include "conf/conf.h"
#include "queue/queue.h"

/* What is done with many messages is done in portions, each held first. `done` (may be NULL) is told
 * of each that was, with the name of the new message (empty: nobody was told). The codes of `asks`
 * say what came of each (queue_request_many); an error of the queue itself ends it. */
typedef void return_fn(const char *id, const char *new_id, void *user);

/* Tell the senders that the pending recipients of these messages failed (5.0.0, `why`), and drop
 * them. With the null sender, or NOTIFY=NEVER for all, nobody is told. `timeout_ms`: for the
 * processes that hold them, for each portion. */
enum err_code return_messages(const struct conf *c, struct queue *q, struct queue_ask *asks,
                              size_t n, const char *why, unsigned timeout_ms, return_fn *done,
                              void *user, struct err *e);
/* Queue the messages anew for their pending recipients, to go to `via` ("host:port") whatever DNS
 * and `relay` say; the old ones are dropped. */
enum err_code reroute_messages(struct queue *q, struct queue_ask *asks, size_t n, struct slice via,
                               unsigned timeout_ms, return_fn *done, void *user, struct err *e);

#endif
