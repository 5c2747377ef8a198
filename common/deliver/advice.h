/* advice: what an enhanced status (RFC 3463) means, and what who runs the queue can do. No I/O. */
#ifndef DELIVER_ADVICE_H
#define DELIVER_ADVICE_H

#include "base/err.h"

struct advice {
    const char *meaning, *remedy; /* sentences without full stop; static */
};
/* For a failed attempt; `text` is the reply's, which tells apart what the numbers do not. Never
 * NULL members. */
struct advice advice_of(struct mail_status st, struct slice text);

#endif
