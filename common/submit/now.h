/* now: a submission tried at once, straight to its hosts or the relay (`sendmail --now`). Blocking.
 */
#ifndef SUBMIT_NOW_H
#define SUBMIT_NOW_H

#include "deliver/attempt.h"
#include "submit/submission.h"

struct now_result {
    size_t delivered, failed;
    size_t later; /* recipients that failed for now, or are of this host: they alone are left in
                     the envelope, for submission_store */
};

/* Try every recipient, domain by domain; mailboxes of this host are the queue's business, unless a
 * relay takes all. `each` is told of every recipient in turn: `v` NULL for one that the queue
 * delivers. `on_bytes` (may be NULL) sees the dialogue. ERR_CONFIG, ERR_DENIED, ERR_LIBRARY:
 * nothing was tried, all recipients are left. */
enum err_code now_send(struct submission *s, void (*on_bytes)(void *, bool, struct slice),
                       void *bytes_user,
                       void (*each)(void *user, struct slice rcpt, const struct verdict *v),
                       void *user, struct now_result *out, struct err *e);

#endif
