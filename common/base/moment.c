#include "base/moment.h"

#include <stdio.h>

static const char weekdays[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

const char *moment_weekday(int weekday) { return weekdays[((weekday % 7) + 7) % 7]; }
const char *moment_month(int month) { return months[month < 1 ? 0 : month > 12 ? 11 : month - 1]; }

int civil_days_in_month(int year, int month) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    if (month < 1 || month > 12) return 0;
    return days[month - 1] + (month == 2 && leap);
}

/* Days since 1970-01-01, with years that begin in March so that the leap day comes last. */
static int64_t days_of(int64_t y, int m, int d) {
    int64_t era, yoe, doy, doe;

    y -= m <= 2;
    era = (y >= 0 ? y : y - 399) / 400;
    yoe = y - era * 400;
    doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

wall_t civil_to_wall(const struct civil *c) {
    return days_of(c->year, c->month, c->day) * 86400 + c->hour * 3600 + c->minute * 60 +
           c->second - (int64_t)c->offset * 60;
}

struct civil civil_of(wall_t t, int offset) {
    const wall_t min = -62135596800, max = 253402300799;
    struct civil c = {.offset = offset};
    int64_t days, rest, era, doe, yoe, doy, mp;

    if (t < min) t = min;
    if (t > max) t = max;
    t += (int64_t)offset * 60;
    if (t < min) t = min;
    if (t > max) t = max;
    days = t / 86400;
    rest = t % 86400;
    if (rest < 0) rest += 86400, days--;
    c.weekday = (int)(((days + 4) % 7 + 7) % 7);
    days += 719468;
    era = (days >= 0 ? days : days - 146096) / 146097;
    doe = days - era * 146097;
    yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    mp = (5 * doy + 2) / 153;
    c.day = (int)(doy - (153 * mp + 2) / 5 + 1);
    c.month = (int)(mp < 10 ? mp + 3 : mp - 9);
    c.year = (int)(yoe + era * 400 + (c.month <= 2));
    c.hour = (int)(rest / 3600);
    c.minute = (int)(rest / 60 % 60);
    c.second = (int)(rest % 60);
    return c;
}

/* Digits of a number known to be small, without the warnings that "%02d" into a tight array gives.
 */
static char *put(char *p, int v, int width) {
    for (int i = width - 1; i >= 0; i--, v /= 10) p[i] = (char)('0' + v % 10);
    return p + width;
}

struct slice moment_rfc3339(wall_t t, char out[MOMENT_RFC3339_MAX]) {
    struct civil c = civil_of(t, 0);
    char *p = put(out, c.year, 4);

    *p++ = '-';
    p = put(p, c.month, 2);
    *p++ = '-';
    p = put(p, c.day, 2);
    *p++ = 'T';
    p = put(p, c.hour, 2);
    *p++ = ':';
    p = put(p, c.minute, 2);
    *p++ = ':';
    p = put(p, c.second, 2);
    *p++ = 'Z';
    *p = 0;
    return slice_of(out, (size_t)(p - out));
}

struct slice moment_rfc5322(wall_t t, int offset, char out[MOMENT_RFC5322_MAX]) {
    struct civil c = civil_of(t, offset);
    int off = offset < 0 ? -offset : offset;
    int n = snprintf(out, MOMENT_RFC5322_MAX, "%s, %d %s %04d %02d:%02d:%02d %c%02d%02d",
                     moment_weekday(c.weekday), c.day, moment_month(c.month), c.year, c.hour,
                     c.minute, c.second, offset < 0 ? '-' : '+', off / 60 % 100, off % 60);

    return slice_of(out, n < 0 ? 0 : n >= MOMENT_RFC5322_MAX ? MOMENT_RFC5322_MAX - 1 : (size_t)n);
}
