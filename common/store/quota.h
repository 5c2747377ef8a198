/* quota: how much an account may keep (RFC 9208). What is used is counted in
 * HOME/Maildir/maildirsize as other programs that know Maildir++ do it: the limits in the first
 * line, then a line "OCTETS MESSAGES" for each change. Counted anew from the files when there is
 * none, when it is long, when the limits are others, and, over the limit, when it is older than
 * QUOTA_AGE_S: other programs may have removed mail without saying so. Without limits nothing is
 * counted.
 *
 * Any thread, any process; two deliveries at the same moment may go over the limit by one message.
 */
#ifndef STORE_QUOTA_H
#define STORE_QUOTA_H

#include "store/store.h"

enum { QUOTA_FILE_MAX = 5120, QUOTA_AGE_S = 15 * 60 };

/* 0: no such limit. Once, before other threads use `s`. */
void store_limit(struct store *s, uint64_t octets, uint64_t messages);

struct quota {
    uint64_t octets, messages;         /* used; octets as stored */
    uint64_t octets_max, messages_max; /* 0: no limit */
};
/* What is used now. False: there is no limit. */
bool quota_read(struct store *s, struct quota *out);
/* ERR_FULL, with EDQUOT and 5.2.2, when so much more would be too much. */
enum err_code quota_check(struct store *s, uint64_t octets, uint64_t messages, struct err *e);
/* Came, or with negative numbers went. */
void quota_add(struct store *s, int64_t octets, int64_t messages);
/* Much has changed: count anew the next time. */
void quota_forget(struct store *s);

#endif
