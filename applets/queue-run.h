/* queue-run: what its two files share: the request as the options give it, and looking. */
#ifndef APPLETS_QUEUE_RUN_H
#define APPLETS_QUEUE_RUN_H

#include "cli/applet.h"
#include "queue/filter.h"

/* Each returns an exit status. `mailq`: in the form of sendmail(8)'s mailq. */
int queue_run_list(struct context *ctx, struct queue *q, const struct filter *f, bool json,
                   bool mailq);
int queue_run_show(struct context *ctx, struct queue *q, const char *id);
/* The story of every message that `f` means. */
int queue_run_explain(struct context *ctx, struct queue *q, const struct filter *f, bool json);
/* Pending recipients by domain and age. */
int queue_run_histogram(struct context *ctx, struct queue *q, const struct filter *f, bool json);

#endif
