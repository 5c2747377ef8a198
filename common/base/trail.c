#include "base/trail.h"

const char *trail_find_far(struct trail *t, struct slice in, char c) {
    while (in.n) {
        size_t n = in.n < TRAIL_STEP ? in.n : TRAIL_STEP;
        const char *hit = memchr(in.p, c, n);

        trail_at(t, in.p);
        if (hit) return hit;
        in = slice_from(in, n);
    }
    return NULL;
}
