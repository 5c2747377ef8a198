/* local: a message into the mailboxes of this host. */
#ifndef DELIVER_LOCAL_H
#define DELIVER_LOCAL_H

#include "auth/accounts.h"
#include "store/store.h"

enum { LOCAL_HOMES_MAX = 256 };

/* A batch of deliveries to any number of accounts, durable together. One thread at a time. */
struct local_batch;
struct local_batch *local_batch_new(void);
void local_batch_free(struct local_batch *b);
/* Write `message` for `to` with Return-Path and Delivered-To in front (RFC 5321 4.4). `key` names
 * the delivery: the same key again is the same message. `retried`: it may have been delivered and
 * read already. */
enum err_code local_batch_add(struct local_batch *b, const struct account *to, struct slice sender,
                              struct slice message, struct slice key, wall_t date, bool retried,
                              size_t *item, struct err *e);
/* Make all durable and visible. Then ask local_batch_result for each. */
void local_batch_commit(struct local_batch *b);
/* OK also when the key was there before. */
enum err_code local_batch_result(const struct local_batch *b, size_t item, struct err *e);
/* True when the header says that `message` was delivered to `to` before: a loop. */
bool local_is_loop(struct slice message, const struct account *to);

#endif
