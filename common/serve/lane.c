#include "serve/lane.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sys/clock.h"

struct task {
    mono_t when; /* of a later one */
    void (*run)(void *);
    void *arg;
};

struct lane {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct task *ring;
    size_t limit, first, count;
    struct task *later; /* in no order */
    size_t later_count, later_max;
    pthread_t *threads;
    unsigned width;
    bool is_closing, is_hurried;
};

/* The next task there is. False: none now; `until` is when there will be one. With the lock held.
 */
static bool take(struct lane *l, struct task *t, mono_t *until) {
    struct task *first = NULL;

    if (l->count > 0) {
        *t = l->ring[l->first];
        l->first = (l->first + 1) % l->limit;
        l->count--;
        return true;
    }
    for (size_t i = 0; i < l->later_count; i++)
        if (!first || l->later[i].when < first->when) first = &l->later[i];
    *until = first ? first->when : MONO_NEVER;
    if (!first || (!l->is_hurried && !l->is_closing && first->when > clock_mono())) return false;
    *t = *first;
    *first = l->later[--l->later_count];
    return true;
}

static void await(struct lane *l, mono_t until) {
    struct timespec at = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};

    if (until == MONO_NEVER) pthread_cond_wait(&l->more, &l->lock);
    else pthread_cond_timedwait(&l->more, &l->lock, &at);
}

static void *work(void *p) {
    struct lane *l = p;

    for (;;) {
        struct task t;
        mono_t until;
        bool has;

        pthread_mutex_lock(&l->lock);
        while (!(has = take(l, &t, &until)) && !l->is_closing) await(l, until);
        pthread_mutex_unlock(&l->lock);
        if (!has) return NULL;
        t.run(t.arg);
    }
}

struct lane *lane_new(unsigned width, size_t limit) {
    struct lane *l = calloc(1, sizeof *l);
    pthread_attr_t small;
    pthread_condattr_t mono;

    if (!l) return NULL;
    pthread_mutex_init(&l->lock, NULL);
    pthread_condattr_init(&mono);
    pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
    pthread_cond_init(&l->more, &mono);
    pthread_condattr_destroy(&mono);
    l->limit = limit;
    l->ring = calloc(limit, sizeof *l->ring);
    l->threads = calloc(width, sizeof *l->threads);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 256 * 1024);
    while (l->ring && l->threads && l->width < width &&
           pthread_create(&l->threads[l->width], &small, work, l) == 0)
        l->width++;
    pthread_attr_destroy(&small);
    if (l->width > 0) return l;
    lane_free(l);
    return NULL;
}

void lane_free(struct lane *l) {
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    l->is_closing = true;
    pthread_cond_broadcast(&l->more);
    pthread_mutex_unlock(&l->lock);
    for (unsigned i = 0; i < l->width; i++) pthread_join(l->threads[i], NULL);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->more);
    free(l->ring);
    free(l->later);
    free(l->threads);
    free(l);
}

bool lane_submit(struct lane *l, void (*run)(void *), void *arg) {
    bool ok;

    pthread_mutex_lock(&l->lock);
    ok = l->count < l->limit && !l->is_closing;
    if (ok) {
        l->ring[(l->first + l->count) % l->limit] = (struct task){0, run, arg};
        l->count++;
        pthread_cond_signal(&l->more);
    }
    pthread_mutex_unlock(&l->lock);
    return ok;
}

bool lane_submit_at(struct lane *l, mono_t when, void (*run)(void *), void *arg) {
    bool ok;

    pthread_mutex_lock(&l->lock);
    if (l->later_count == l->later_max && l->later_max < LANE_LATER_MAX) {
        size_t max = l->later_max ? 2 * l->later_max : 16;
        struct task *more = realloc(l->later, max * sizeof *more);

        if (more) {
            l->later = more;
            l->later_max = max;
        }
    }
    ok = l->later_count < l->later_max && !l->is_closing;
    if (ok) {
        l->later[l->later_count++] = (struct task){when, run, arg};
        pthread_cond_signal(&l->more);
    }
    pthread_mutex_unlock(&l->lock);
    return ok;
}

void lane_hurry(struct lane *l) {
    pthread_mutex_lock(&l->lock);
    l->is_hurried = true;
    pthread_cond_broadcast(&l->more);
    pthread_mutex_unlock(&l->lock);
}
