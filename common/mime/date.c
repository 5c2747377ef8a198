#include "mime/date.h"

#include "base/ascii.h"
#include "base/attr.h"
#include "base/num.h"

#include <stdio.h>

enum { TOKENS_MAX = 16, COMMENT_DEPTH_MAX = 16 };

/* Split into words: runs of letters, of digits with colons and dots, signs with digits. Commas and
 * comments separate. */
static size_t split(struct slice in, struct slice tok[TOKENS_MAX]) {
    size_t n = 0, i = 0;

    in = slice_first(in, DATE_INPUT_MAX);
    while (i < in.n && n < TOKENS_MAX) {
        char c = in.p[i];
        size_t from = i;

        if (c == '(') {
            int depth = 0;

            for (; i < in.n; i++) {
                if (in.p[i] == '\\') i++;
                else if (in.p[i] == '(') depth++;
                else if (in.p[i] == ')' && --depth == 0) break;
                if (depth > COMMENT_DEPTH_MAX) return 0;
            }
            i++;
        } else if (ascii_is_alpha(c)) {
            while (i < in.n && ascii_is_alpha(in.p[i])) i++;
            tok[n++] = slice_of(in.p + from, i - from);
        } else if (ascii_is_digit(c)) {
            while (i < in.n && (ascii_is_digit(in.p[i]) || in.p[i] == ':' || in.p[i] == '.')) i++;
            tok[n++] = slice_of(in.p + from, i - from);
        } else if ((c == '+' || c == '-') && i + 2 < in.n && ascii_is_digit(in.p[i + 1]) &&
                   ascii_is_digit(in.p[i + 2])) {
            i++;
            while (i < in.n && (ascii_is_digit(in.p[i]) || in.p[i] == ':')) i++;
            tok[n++] = slice_of(in.p + from, i - from);
        } else {
            i++;
        }
    }
    return n;
}

static int month_of(struct slice w) {
    if (w.n < 3) return 0;
    for (int m = 1; m <= 12; m++)
        if (slice_ieq(slice_first(w, 3), slice_str(moment_month(m)))) return m;
    return 0;
}

static bool small(struct slice s, uint64_t max, int *out) {
    uint64_t v;

    if (!num_parse(s, max, &v)) return false;
    *out = (int)v;
    return true;
}

/* "hh:mm", "hh:mm:ss", "hh:mm:ss.frac", "hh.mm.ss" */
static bool clock_of(struct slice s, struct civil *c) {
    char sep = slice_chr(s, ':') != SLICE_NONE ? ':' : '.';
    struct slice h, m, rest;

    c->second = 0;
    if (!slice_cut(s, sep, &h, &rest)) return false;
    if (slice_cut(rest, sep, &m, &rest)) {
        slice_cut(rest, '.', &rest, &s); /* fractions are dropped */
        if (!small(rest, 60, &c->second)) return false;
    }
    return small(h, 23, &c->hour) && small(m, 59, &c->minute);
}

/* "+hhmm", "+hh:mm", "-hh" */
static bool zone_of(struct slice s, int *offset) {
    struct slice d = slice_from(s, 1), h, m;
    int hh, mm = 0;

    if (s.n == 0 || (s.p[0] != '+' && s.p[0] != '-')) return false;
    if (!slice_cut(d, ':', &h, &m)) {
        h = slice_first(d, 2);
        m = slice_from(d, 2);
    }
    if (!small(h, 99, &hh)) return false;
    if (m.n > 0 && !small(m, 99, &mm)) return false;
    if (mm > 59 || hh > 23) { /* nonsense such as +9999: the local time stands as UTC */
        *offset = 0;
        return true;
    }
    *offset = (hh * 60 + mm) * (s.p[0] == '-' ? -1 : 1);
    return true;
}

/* RFC 5322 4.3: North American names and UT; military letters count as +0000. */
static int zone_name(struct slice s) {
    static const struct {
        struct slice name;
        int hours;
    } zones[] = {
        {S_INIT("EDT"), -4}, {S_INIT("EST"), -5}, {S_INIT("CDT"), -5}, {S_INIT("CST"), -6},
        {S_INIT("MDT"), -6}, {S_INIT("MST"), -7}, {S_INIT("PDT"), -7}, {S_INIT("PST"), -8},
        {S_INIT("CET"), 1},  {S_INIT("MET"), 1},  {S_INIT("CEST"), 2}, {S_INIT("MEST"), 2},
        {S_INIT("BST"), 1},  {S_INIT("EET"), 2},  {S_INIT("EEST"), 3}, {S_INIT("MSK"), 3},
        {S_INIT("JST"), 9},
    };

    for (size_t i = 0; i < COUNT_OF(zones); i++)
        if (slice_ieq(s, zones[i].name)) return zones[i].hours * 60;
    return 0;
}

static int full_year(struct slice s) {
    int y;

    if (!small(s, 9999, &y)) return 0;
    if (s.n == 2) return y < 50 ? 2000 + y : 1900 + y; /* RFC 5322 4.3 */
    if (s.n == 3) return 1900 + y;
    return s.n == 4 ? y : 0;
}

static bool finish(const struct civil *c, wall_t *t, int *offset) {
    if (c->year < 1900 || c->month < 1 || c->day < 1 ||
        c->day > civil_days_in_month(c->year, c->month))
        return false;
    *t = civil_to_wall(c);
    if (offset) *offset = c->offset;
    return true;
}

bool date_parse(struct slice in, wall_t *t, int *offset) {
    struct slice tok[TOKENS_MAX];
    struct civil c = {0};
    size_t n = split(in, tok), i = 0;
    bool has_clock = false;

    /* weekday, if any */
    if (n > 0 && ascii_is_alpha(tok[0].p[0]) &&
        (month_of(tok[0]) == 0 || (n > 1 && month_of(tok[1]))))
        i++;
    if (i < n && month_of(tok[i])) { /* asctime: Mon Nov 23 01:02:03 [zone] 2026 */
        c.month = month_of(tok[i++]);
        if (i >= n || !small(tok[i++], 31, &c.day)) return false;
        if (i >= n || !clock_of(tok[i++], &c)) return false;
        if (i < n && !ascii_is_digit(tok[i].p[0])) {
            if (!zone_of(tok[i], &c.offset)) c.offset = zone_name(tok[i]);
            i++;
        }
        if (i >= n || !(c.year = full_year(tok[i++]))) return false;
        if (i < n) zone_of(tok[i], &c.offset);
        return finish(&c, t, offset);
    }
    if (i >= n || !small(tok[i++], 31, &c.day)) return false;
    if (i >= n || !(c.month = month_of(tok[i++]))) return false;
    if (i >= n) return false;
    /* "23-Nov-2026": the dash sticks to the year */
    if (tok[i].p[0] == '-') tok[i] = slice_from(tok[i], 1);
    if (!(c.year = full_year(tok[i++]))) return false;
    if (i < n && clock_of(tok[i], &c)) {
        has_clock = true;
        i++;
    }
    if (!has_clock && i < n && ascii_is_digit(tok[i].p[0])) return false;
    if (i < n && (slice_ieq(tok[i], S("AM")) || slice_ieq(tok[i], S("PM")))) {
        c.hour = c.hour % 12 + (ascii_upper(tok[i].p[0]) == 'P' ? 12 : 0);
        i++;
    }
    if (i < n && !zone_of(tok[i], &c.offset)) {
        c.offset = zone_name(tok[i]);
        /* "GMT+0100" and "UTC -0500" */
        if (i + 1 < n) zone_of(tok[i + 1], &c.offset);
    }
    return finish(&c, t, offset);
}

/* "dd-Mon-yyyy" with one or two digits, or blank and digit, taken off `*s`. */
static bool imap_day(struct slice *s, struct civil *c) {
    struct slice d, m, y;

    if (!slice_cut(*s, '-', &d, s) || !slice_cut(*s, '-', &m, s) || s->n < 4) return false;
    y = slice_first(*s, 4);
    *s = slice_from(*s, 4);
    if (d.n == 2 && d.p[0] == ' ') d = slice_from(d, 1);
    if (d.n > 2 || m.n != 3 || !small(d, 31, &c->day) || !small(y, 9999, &c->year)) return false;
    c->month = month_of(m);
    return c->month > 0 && c->year > 0;
}

bool date_parse_imap(struct slice in, wall_t *t, int *offset) {
    struct civil c = {0};
    int hhmm;

    if (in.n != DATE_IMAP_MAX - 1) return false;
    if (!imap_day(&in, &c) || in.n != 15) return false;
    if (in.p[0] != ' ' || in.p[3] != ':' || in.p[6] != ':' || in.p[9] != ' ') return false;
    if (in.p[10] != '+' && in.p[10] != '-') return false;
    if (!small(slice_of(in.p + 1, 2), 23, &c.hour) ||
        !small(slice_of(in.p + 4, 2), 59, &c.minute) ||
        !small(slice_of(in.p + 7, 2), 60, &c.second) || !small(slice_of(in.p + 11, 4), 2359, &hhmm))
        return false;
    if (hhmm % 100 > 59) return false;
    c.offset = (hhmm / 100 * 60 + hhmm % 100) * (in.p[10] == '-' ? -1 : 1);
    if (c.day < 1 || c.day > civil_days_in_month(c.year, c.month)) return false;
    *t = civil_to_wall(&c);
    if (offset) *offset = c.offset;
    return true;
}

struct slice date_format_imap(wall_t t, int offset, char out[DATE_IMAP_MAX]) {
    struct civil c;
    unsigned zone;

    if (offset < -1439 || offset > 1439) offset = 0;
    c = civil_of(t, offset);
    zone = (unsigned)(offset < 0 ? -offset : offset);
    snprintf(out, DATE_IMAP_MAX, "%02u-%.3s-%04u %02u:%02u:%02u %c%02u%02u", (unsigned)c.day % 100,
             moment_month(c.month), (unsigned)c.year % 10000, (unsigned)c.hour % 100,
             (unsigned)c.minute % 100, (unsigned)c.second % 100, offset < 0 ? '-' : '+',
             zone / 60 % 100, zone % 60);
    return slice_of(out, DATE_IMAP_MAX - 1);
}

bool date_parse_imap_day(struct slice in, wall_t *t) {
    struct civil c = {0};

    if (!imap_day(&in, &c) || in.n != 0) return false;
    if (c.day < 1 || c.day > civil_days_in_month(c.year, c.month)) return false;
    *t = civil_to_wall(&c);
    return true;
}
