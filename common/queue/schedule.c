#include "queue/schedule.h"

wall_t schedule_next(wall_t now, unsigned attempts, uint32_t first_s, uint32_t random,
                     wall_t give_up) {
    uint64_t wait = first_s ? first_s : 1,
             max = first_s > SCHEDULE_MAX_S ? first_s : SCHEDULE_MAX_S;
    wall_t next;

    for (unsigned i = 1; i < attempts && wait < max; i++) wait *= 2;
    if (wait > max) wait = max;
    wait = wait - wait / 10 + random % (wait / 5 + 1);
    next = now + (wall_t)(wait ? wait : 1);
    return next > give_up && give_up > now ? give_up : next;
}
