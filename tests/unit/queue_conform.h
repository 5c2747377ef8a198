/* queue_conform: what any queue must do, whatever it is made of. A back end's test makes a bed and
 * runs these. */
#ifndef QUEUE_CONFORM_H
#define QUEUE_CONFORM_H

#include "queue/queue.h"

struct queue_bed {
    struct queue *(*open)(struct queue_bed *b); /* the same queue again, as another process would */
    char dir[64];
};

void conform_put_and_take(struct queue_bed *b);
void conform_survives_reopening(struct queue_bed *b);
void conform_states_are_kept(struct queue_bed *b);
void conform_defers_until_due(struct queue_bed *b);
void conform_leases_are_exclusive(struct queue_bed *b);
void conform_hold_release_drop(struct queue_bed *b);
void conform_large_message(struct queue_bed *b);
void conform_many_writers(struct queue_bed *b);
void conform_list_and_story(struct queue_bed *b);
void conform_limits(struct queue_bed *b);

#endif
