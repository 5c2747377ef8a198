#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { ARENA_BLOCK = 4096 - 64, ARENA_ALIGN = _Alignof(max_align_t) };

struct arena_block {
    struct arena_block *next;
    size_t used, size;
    _Alignas(max_align_t) char data[];
};

void arena_init(struct arena *a, size_t max) { *a = (struct arena){.max = max}; }

void arena_release(struct arena *a) {
    while (a->blocks) {
        struct arena_block *b = a->blocks;

        a->blocks = b->next;
        free(b);
    }
    a->used = 0;
    a->bad = false;
}

void arena_reset(struct arena *a) {
    struct arena_block *keep = a->blocks;

    if (keep && keep->size == ARENA_BLOCK) {
        a->blocks = keep->next;
        arena_release(a);
        keep->next = NULL;
        keep->used = 0;
        a->blocks = keep;
    } else {
        arena_release(a);
    }
}

void *arena_new(struct arena *a, size_t n) {
    struct arena_block *b = a->blocks;
    size_t want;
    char *p;

    if (a->bad) return NULL;
    if (n > a->max || a->used > a->max - n) {
        a->bad = true;
        return NULL;
    }
    want = (n + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    if (!b || b->size - b->used < want) {
        size_t size = want > ARENA_BLOCK ? want : ARENA_BLOCK;

        b = malloc(sizeof *b + size);
        if (!b) {
            a->bad = true;
            return NULL;
        }
        b->used = 0;
        b->size = size;
        /* A block for one large request goes behind the open one, which keeps its free space. */
        if (a->blocks && want > ARENA_BLOCK / 2) {
            b->next = a->blocks->next;
            a->blocks->next = b;
        } else {
            b->next = a->blocks;
            a->blocks = b;
        }
    }
    p = b->data + b->used;
    b->used += want;
    a->used += n;
    memset(p, 0, n);
    return p;
}

struct slice arena_copy(struct arena *a, struct slice s) {
    char *p = arena_new(a, s.n + 1);

    if (!p) return slice_of(NULL, 0);
    if (s.n) memcpy(p, s.p, s.n);
    return slice_of(p, s.n);
}

char *arena_cstr(struct arena *a, struct slice s) { return (char *)(uintptr_t)arena_copy(a, s).p; }

struct slice arena_printf(struct arena *a, const char *fmt, ...) {
    va_list ap;
    char *p;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    p = n < 0 ? NULL : arena_new(a, (size_t)n + 1);
    if (!p) {
        a->bad = true;
        return slice_of(NULL, 0);
    }
    va_start(ap, fmt);
    vsnprintf(p, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return slice_of(p, (size_t)n);
}
