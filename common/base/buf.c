#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>

void buf_init(struct buf *b, size_t max) { *b = (struct buf){.max = max}; }

void buf_release(struct buf *b) {
    free(b->p);
    *b = (struct buf){.max = b->max};
}

void buf_reset(struct buf *b) {
    b->n = 0;
    b->bad = false;
}

/* Capacity for `n` more bytes and a NUL beyond them. */
static bool reserve(struct buf *b, size_t n) {
    size_t cap;
    char *p;

    if (b->bad) return false;
    if (n > b->max || b->n > b->max - n) {
        b->bad = true;
        return false;
    }
    if (b->n + n < b->cap) return true;
    cap = b->cap ? b->cap : 64;
    while (cap < b->n + n + 1) cap = cap > SIZE_MAX / 2 ? SIZE_MAX : cap * 2;
    if (cap > b->max + 1) cap = b->max + 1;
    p = realloc(b->p, cap);
    if (!p) {
        b->bad = true;
        return false;
    }
    b->p = p;
    b->cap = cap;
    return true;
}

bool buf_add(struct buf *b, struct slice s) {
    if (!reserve(b, s.n)) return false;
    if (s.n) memcpy(b->p + b->n, s.p, s.n);
    b->n += s.n;
    return true;
}

bool buf_addc(struct buf *b, char c) {
    if (!reserve(b, 1)) return false;
    b->p[b->n++] = c;
    return true;
}

bool buf_addu(struct buf *b, uint64_t number) {
    char digits[20];
    size_t at = sizeof digits;

    do digits[--at] = (char)('0' + number % 10);
    while (number /= 10);
    return buf_add(b, slice_of(digits + at, sizeof digits - at));
}

bool buf_vaddf(struct buf *b, const char *fmt, va_list ap) {
    size_t room = b->cap - b->n;
    va_list again;
    int n;

    if (b->bad) return false;
    va_copy(again, ap);
    n = vsnprintf(room ? b->p + b->n : NULL, room, fmt, again);
    va_end(again);
    if (n < 0) b->bad = true;
    if (n >= 0 && (size_t)n < room) { // with its NUL
        b->n += (size_t)n;
        return true;
    }
    if (n < 0 || !reserve(b, (size_t)n)) return false;
    vsnprintf(b->p + b->n, (size_t)n + 1, fmt, ap);
    b->n += (size_t)n;
    return true;
}

bool buf_addf(struct buf *b, const char *fmt, ...) {
    va_list ap;
    bool ok;

    va_start(ap, fmt);
    ok = buf_vaddf(b, fmt, ap);
    va_end(ap);
    return ok;
}

char *buf_room(struct buf *b, size_t n) { return reserve(b, n) ? b->p + b->n : NULL; }

void buf_grown(struct buf *b, size_t n) { b->n += n; }

void buf_drop(struct buf *b, size_t n) {
    if (n >= b->n) {
        b->n = 0;
        return;
    }
    if (n == 0) return;
    memmove(b->p, b->p + n, b->n - n);
    b->n -= n;
}

void buf_cut(struct buf *b, size_t n) {
    if (n < b->n) b->n = n;
}

const char *buf_cstr(struct buf *b) {
    if (!reserve(b, 0)) return NULL;
    if (!b->p) return "";
    b->p[b->n] = 0;
    return b->p;
}

char *buf_take(struct buf *b, size_t *n) {
    char *p = NULL;

    if (reserve(b, 0) && b->p) {
        p = b->p;
        p[b->n] = 0;
        if (n) *n = b->n;
        *b = (struct buf){.max = b->max};
    } else if (n) {
        *n = 0;
    }
    buf_release(b);
    return p;
}
