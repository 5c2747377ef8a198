#include "imap/set.h"

#include <stdlib.h>

static bool take_one(struct imap_cursor *c, uint32_t *out) {
    uint64_t n;

    if (imap_take(c, '*')) {
        *out = IMAP_STAR;
        return true;
    }
    if (!imap_take_number(c, UINT32_MAX, &n) || n == 0) return false;
    *out = (uint32_t)n;
    return true;
}

bool imap_take_set(struct imap_cursor *c, size_t max, struct imap_set *out) {
    struct imap_cursor save = *c;
    size_t n = 1, at = 0;

    for (; at < c->in.n && c->in.p[at] != ' ' && c->in.p[at] != ')'; at++) n += c->in.p[at] == ',';
    *out = (struct imap_set){0};
    if (imap_take(c, '$')) {
        out->is_saved = true;
        return true;
    }
    if (n > max || !(out->v = arena_new(c->arena, n * sizeof *out->v))) {
        c->why = "sequence set too large";
        return false;
    }
    do {
        struct imap_range r;

        if (!take_one(c, &r.first)) goto bad;
        r.last = r.first;
        if (imap_take(c, ':') && !take_one(c, &r.last)) goto bad;
        out->v[out->n++] = r;
    } while (imap_take(c, ','));
    return true;
bad:
    *c = save;
    c->why = "malformed sequence set";
    return false;
}

static int by_first(const void *a, const void *b) {
    const struct imap_range *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

void imap_set_resolve(struct imap_set *s, uint32_t star) {
    size_t n = 0;

    for (size_t i = 0; i < s->n; i++) {
        struct imap_range r = s->v[i];

        if ((r.first == IMAP_STAR || r.last == IMAP_STAR) && !star) continue;
        if (r.first == IMAP_STAR) r.first = star;
        if (r.last == IMAP_STAR) r.last = star;
        if (r.first > r.last) r = (struct imap_range){r.last, r.first};
        s->v[n++] = r;
    }
    s->n = n;
    if (n > 1) qsort(s->v, n, sizeof *s->v, by_first);
    for (size_t i = n = 0; i < s->n; i++) {
        if (n && s->v[n - 1].last >= s->v[i].first - 1) {
            if (s->v[n - 1].last < s->v[i].last) s->v[n - 1].last = s->v[i].last;
        } else {
            s->v[n++] = s->v[i];
        }
    }
    s->n = n;
}

uint32_t imap_set_next(const struct imap_set *s, uint32_t x) {
    size_t lo = 0, hi = s->n;

    while (lo < hi) { // the first range that ends at x or later
        size_t mid = lo + (hi - lo) / 2;
        if (s->v[mid].last < x) lo = mid + 1;
        else hi = mid;
    }
    if (lo == s->n) return 0;
    return s->v[lo].first > x ? s->v[lo].first : x;
}

bool imap_set_has(const struct imap_set *s, uint32_t x) { return x && imap_set_next(s, x) == x; }

uint32_t imap_set_max(const struct imap_set *s) { return s->n ? s->v[s->n - 1].last : 0; }

bool imap_set_put(struct buf *out, const uint32_t *v, size_t n) {
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && v[end - 1] != UINT32_MAX && v[end] == v[end - 1] + 1;) end++;
        if (i) buf_addc(out, ',');
        buf_addf(out, "%u", v[i]);
        if (end > i + 1) buf_addf(out, ":%u", v[end - 1]);
    }
    return !out->bad;
}
