/* sink: where fetched messages go: a Maildir, an mbox, local users, a command, a stream. Messages
 * are added and become durable together by a commit; then each has its own result.
 *
 *     sink_open(&(struct sink_to){.maildir = "/home/jo/Maildir"}, conf, out, &sink, &e);
 *     sink_add(sink, message, key, &item, &e);
 *     sink_commit(sink);
 *     if (sink_result(sink, item, &e) == OK) ...it is safe...
 *     sink_begin(sink);                             // the next batch
 *
 * One thread. */
#ifndef DELIVER_SINK_H
#define DELIVER_SINK_H

#include <stdio.h>

#include "conf/conf.h"

enum { SINK_BATCH_MAX = 256, SINK_LOCK_MS = 10 * 1000 };

/* Exactly one is set. */
struct sink_to {
    const char *maildir; /* DIR with tmp, new, cur; made when missing */
    const char *mbox;    /* appended to under fcntl(2) and FILE.lock; ">From " lines (mboxrd) */
    const char *user;    /* a local recipient; aliases are followed, all ends must be here */
    const char *command; /* sh -c, the message (LF lines) on standard input; 0: it has it */
    FILE *stream;        /* as an mbox; durable is only what flushes */
};

struct sink;
/* ERR_NOT_FOUND: no such user; errors of the files. */
enum err_code sink_open(const struct sink_to *to, const struct conf *conf, struct sink **out,
                        struct err *e);
/* Add a message with CRLF or LF lines. `key` (STORE_KEY_MAX letters and digits, may be empty) names
 * it: a Maildir that has the same key and date has the message and does not get it twice;
 * `may_be_there` makes it look among read messages too. An error is this message's; the batch can
 * go on. ERR_LIMIT: SINK_BATCH_MAX are there. */
enum err_code sink_add(struct sink *s, struct slice message, struct slice key, bool may_be_there,
                       size_t *item, struct err *e);
/* Make all durable. */
void sink_commit(struct sink *s);
/* Of one item after the commit. ERR_EXISTS counts as OK. */
enum err_code sink_result(struct sink *s, size_t item, struct err *e);
/* Forget the batch, committed or not: what was not committed leaves no trace (but a command has
 * run). */
void sink_begin(struct sink *s);
void sink_close(struct sink *s);

#endif
