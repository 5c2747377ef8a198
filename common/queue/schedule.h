/* schedule: when a message is tried again (RFC 5321 4.5.4.1). No I/O. */
#ifndef QUEUE_SCHEDULE_H
#define QUEUE_SCHEDULE_H

#include "base/moment.h"

enum { SCHEDULE_MAX_S = 4 * 3600, SCHEDULE_DELAY_NOTICE_S = 4 * 3600 };

/* The time of the next attempt after `attempts` failed ones: `first_s` doubled each time up to
 * SCHEDULE_MAX_S (or `first_s` when that is more), a tenth more or less by `random` so that mail
 * that failed together does not come back together, and never after `give_up`. */
wall_t schedule_next(wall_t now, unsigned attempts, uint32_t first_s, uint32_t random,
                     wall_t give_up);

#endif
