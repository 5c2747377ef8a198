/* returning: the administrator gives a message back to its sender, or sends it another way. Both
 * make a new message durable first and only then drop the old one: a crash between leaves both, the
 * old one held, and none is lost. */
#ifndef DELIVER_RETURNING_H
#define DELIVER_RETURNING_H

#include "conf/conf.h"
#include "queue/queue.h"

/* Tell the sender that the pending recipients of message `id` failed (5.0.0, `why`), and drop it.
 * With the null sender, or NOTIFY=NEVER for all, nobody is told. `timeout_ms`: for the process that
 * holds the message. ERR_NOT_FOUND, ERR_TIMEOUT. */
enum err_code return_message(const struct conf *c, struct queue *q, const char *id, const char *why,
                             unsigned timeout_ms, struct err *e);
/* Queue the message anew for its pending recipients, to go to `via` ("host:port") whatever DNS and
 * `relay` say; the old one is dropped. `new_id` gets the name of the new one. */
enum err_code reroute_message(struct queue *q, const char *id, struct slice via,
                              unsigned timeout_ms, char new_id[QUEUE_ID_MAX], struct err *e);

#endif
