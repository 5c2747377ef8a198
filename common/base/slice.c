#include "base/slice.h"

#include "base/ascii.h"

bool slice_ieq(struct slice a, struct slice b) { return a.n == b.n && slice_icmp(a, b) == 0; }

int slice_cmp(struct slice a, struct slice b) {
    size_t n = a.n < b.n ? a.n : b.n;
    int d = n ? memcmp(a.p, b.p, n) : 0;

    if (d != 0) return d;
    return a.n == b.n ? 0 : a.n < b.n ? -1 : 1;
}

int slice_icmp(struct slice a, struct slice b) {
    size_t n = a.n < b.n ? a.n : b.n;

    for (size_t i = 0; i < n; i++) {
        int d = (unsigned char)ascii_lower(a.p[i]) - (unsigned char)ascii_lower(b.p[i]);
        if (d != 0) return d;
    }
    return a.n == b.n ? 0 : a.n < b.n ? -1 : 1;
}

bool slice_starts(struct slice s, struct slice prefix) {
    return s.n >= prefix.n && slice_eq(slice_first(s, prefix.n), prefix);
}

bool slice_istarts(struct slice s, struct slice prefix) {
    return s.n >= prefix.n && slice_ieq(slice_first(s, prefix.n), prefix);
}

bool slice_ends(struct slice s, struct slice suffix) {
    return s.n >= suffix.n && slice_eq(slice_from(s, s.n - suffix.n), suffix);
}

bool slice_iends(struct slice s, struct slice suffix) {
    return s.n >= suffix.n && slice_ieq(slice_from(s, s.n - suffix.n), suffix);
}

size_t slice_chr(struct slice s, char c) {
    const char *at = s.n ? memchr(s.p, c, s.n) : NULL;

    return at ? (size_t)(at - s.p) : SLICE_NONE;
}

size_t slice_rchr(struct slice s, char c) {
    for (size_t i = s.n; i > 0; i--)
        if (s.p[i - 1] == c) return i - 1;
    return SLICE_NONE;
}

size_t slice_find(struct slice s, struct slice needle) {
    if (needle.n == 0) return 0;
    for (size_t at = 0; at + needle.n <= s.n;) {
        const char *hit = memchr(s.p + at, needle.p[0], s.n - at - needle.n + 1);

        if (!hit) return SLICE_NONE;
        at = (size_t)(hit - s.p);
        if (memcmp(hit, needle.p, needle.n) == 0) return at;
        at++;
    }
    return SLICE_NONE;
}

size_t slice_ifind(struct slice s, struct slice needle) {
    for (size_t at = 0; at + needle.n <= s.n; at++)
        if (slice_ieq(slice_of(s.p + at, needle.n), needle)) return at;
    return needle.n == 0 ? 0 : SLICE_NONE;
}

struct slice slice_from(struct slice s, size_t at) {
    if (at >= s.n) return slice_of(s.p ? s.p + s.n : NULL, 0);
    return slice_of(s.p + at, s.n - at);
}

struct slice slice_first(struct slice s, size_t n) {
    if (n < s.n) s.n = n;
    return s;
}

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

struct slice slice_trim(struct slice s) {
    while (s.n > 0 && is_space(s.p[0])) s.p++, s.n--;
    while (s.n > 0 && is_space(s.p[s.n - 1])) s.n--;
    return s;
}

struct slice slice_chomp(struct slice s) {
    if (s.n > 0 && s.p[s.n - 1] == '\n') s.n--;
    else return s;
    if (s.n > 0 && s.p[s.n - 1] == '\r') s.n--;
    return s;
}

bool slice_cut(struct slice s, char c, struct slice *before, struct slice *after) {
    size_t at = slice_chr(s, c);

    if (at == SLICE_NONE) {
        *before = s;
        *after = slice_from(s, s.n);
        return false;
    }
    *before = slice_first(s, at);
    *after = slice_from(s, at + 1);
    return true;
}

bool slice_word(struct slice *s, struct slice *word) {
    size_t i = 0, start;

    while (i < s->n && (s->p[i] == ' ' || s->p[i] == '\t')) i++;
    start = i;
    while (i < s->n && s->p[i] != ' ' && s->p[i] != '\t') i++;
    *word = i > start ? slice_of(s->p + start, i - start) : slice_from(*s, s->n);
    *s = slice_from(*s, i);
    return word->n > 0;
}

bool slice_line(struct slice *s, struct slice *line) {
    size_t at;

    if (s->n == 0) return false;
    at = slice_chr(*s, '\n');
    if (at == SLICE_NONE) {
        *line = *s;
        *s = slice_from(*s, s->n);
        return true;
    }
    *line = slice_chomp(slice_first(*s, at + 1));
    *s = slice_from(*s, at + 1);
    return true;
}
