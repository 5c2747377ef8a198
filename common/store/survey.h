/* survey: what changes in many mailboxes of an account at once (for RFC 5465 NOTIFY): new messages,
 * removed ones, flags, mailboxes that come and go, and subscriptions to them. One descriptor, no
 * thread of its own. */
#ifndef STORE_SURVEY_H
#define STORE_SURVEY_H

#include "store/store.h"

enum { SURVEY_MAILBOXES_MAX = 20000 };

struct survey;

enum survey_kind {
    SURVEY_STATUS,      /* messages of `name` came, went or changed: `status` */
    SURVEY_NEW,         /* there is a mailbox `name` */
    SURVEY_GONE,        /* there is none any more */
    SURVEY_RENAMED,     /* there is a mailbox `name`, which was `old_name` */
    SURVEY_SUBSCRIPTION /* it was subscribed to, or is not any more */
};

struct survey_event {
    enum survey_kind kind;
    struct slice name, old_name; /* until the next call */
    struct mailbox_status status;
    bool is_flags_only; /* no message came or went */
    bool is_subscribed; /* of SURVEY_SUBSCRIPTION */
};

/* Look at all mailboxes that are there from now on. `*fd` is readable after something happened, and
 * belongs to the survey. ERR_LIMIT: too many mailboxes, or the system watches no more. */
enum err_code survey_new(struct store *s, struct survey **out, int *fd, struct err *e);
/* The next thing that happened since it was asked last; false: nothing more. One thread at a time.
 */
bool survey_next(struct survey *v, struct survey_event *ev);
/* The descriptor now: it may be another after mailboxes came or went; -1: there is none. */
int survey_fd(const struct survey *v);
/* NULL is fine. */
void survey_free(struct survey *v);

#endif
