#include "sys/clock.h"

#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

mono_t clock_mono(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (mono_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

wall_t clock_wall(void) { return (wall_t)time(NULL); }

int64_t clock_wall_us(void) {
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int clock_offset(wall_t t) {
    time_t at = (time_t)t;
    struct tm tm;

    if (!localtime_r(&at, &tm)) return 0;
    return (int)(tm.tm_gmtoff / 60);
}

void random_bytes(void *p, size_t n) {
    char *at = p;

    while (n > 0) {
        ssize_t got = getrandom(at, n > 256 ? 256 : n, 0);

        if (got < 0) abort();
        at += got;
        n -= (size_t)got;
    }
}

uint32_t random_below(uint32_t below) {
    uint32_t v, limit = UINT32_MAX - UINT32_MAX % below;

    do random_bytes(&v, sizeof v);
    while (v >= limit);
    return v % below;
}
