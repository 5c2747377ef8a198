#include "imap/rows.h"

#include <stdlib.h>

struct imap_rows *imap_rows_new(size_t cap) {
    struct imap_rows *r;

    if (cap > (SIZE_MAX - sizeof *r) / sizeof *r->v) return NULL;
    r = malloc(sizeof *r + cap * sizeof *r->v);
    if (!r) return NULL;
    atomic_init(&r->shares, 1);
    r->n = 0;
    r->cap = cap;
    return r;
}

struct imap_rows *imap_rows_share(struct imap_rows *r) {
    atomic_fetch_add(&r->shares, 1);
    return r;
}

void imap_rows_drop(struct imap_rows *r) {
    if (r && atomic_fetch_sub(&r->shares, 1) == 1) free(r);
}

bool imap_rows_own(struct imap_rows **at, size_t cap) {
    struct imap_rows *r = *at, *own;

    if (cap < r->n) cap = r->n;
    if (atomic_load(&r->shares) == 1) {
        if (cap <= r->cap) return true;
        if (cap > (SIZE_MAX - sizeof *r) / sizeof *r->v) return false;
        own = realloc(r, sizeof *r + cap * sizeof *r->v);
        if (!own) return false;
        own->cap = cap;
    } else {
        own = imap_rows_new(cap);
        if (!own) return false;
        own->n = r->n;
        memcpy(own->v, r->v, r->n * sizeof *r->v);
        imap_rows_drop(r);
    }
    *at = own;
    return true;
}

size_t imap_rows_find(const struct imap_rows *r, uint32_t uid) {
    size_t lo = 0, hi = r->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (r->v[mid].uid < uid) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}
