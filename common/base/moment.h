/* moment: points in time as numbers. Nothing here reads a clock (that is sys/clock). */
#ifndef BASE_MOMENT_H
#define BASE_MOMENT_H

#include "base/slice.h"

typedef int64_t mono_t; /* milliseconds on the monotonic clock: for timeouts */
typedef int64_t wall_t; /* seconds since 1970-01-01T00:00:00Z: for schedules and dates */

#define MONO_NEVER INT64_MAX

/* A date in the proleptic Gregorian calendar at an offset from UTC. */
struct civil {
    int year;    /* 1..9999 */
    int month;   /* 1..12 */
    int day;     /* 1..31 */
    int hour;    /* 0..23 */
    int minute;  /* 0..59 */
    int second;  /* 0..60, 60 only for a leap second */
    int offset;  /* minutes east of UTC, -5999..5999 */
    int weekday; /* 0 Sunday .. 6 Saturday; filled by civil_of, ignored by civil_to_wall */
};

/* The calendar date of `t` at `offset` minutes. Years outside 1..9999 are clamped. */
struct civil civil_of(wall_t t, int offset);
/* The instant; fields must be in range (day 31 in a short month runs over). */
wall_t civil_to_wall(const struct civil *c);
/* Days in a month of a year. */
int civil_days_in_month(int year, int month);

enum { MOMENT_RFC3339_MAX = sizeof "9999-12-31T23:59:60Z", MOMENT_RFC5322_MAX = 40 };
/* "2026-11-23T01:02:03Z" (RFC 3339 5.6) with a NUL; returns a slice of `out`. */
struct slice moment_rfc3339(wall_t t, char out[MOMENT_RFC3339_MAX]);
/* "Mon, 23 Nov 2026 01:02:03 +0000" (RFC 5322 3.3) with a NUL; returns a slice of `out`. */
struct slice moment_rfc5322(wall_t t, int offset, char out[MOMENT_RFC5322_MAX]);
/* "Sun".."Sat" and "Jan".."Dec" by 0..6 and 1..12. Static. */
const char *moment_weekday(int weekday);
const char *moment_month(int month);

#endif
