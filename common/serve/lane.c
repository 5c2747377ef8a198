#include "serve/lane.h"

#include <pthread.h>
#include <stdlib.h>

struct task {
    void (*run)(void *);
    void *arg;
};

struct lane {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct task *ring;
    size_t limit, first, count;
    pthread_t *threads;
    unsigned width;
    bool is_closing;
};

static void *work(void *p) {
    struct lane *l = p;

    for (;;) {
        struct task t;

        pthread_mutex_lock(&l->lock);
        while (l->count == 0 && !l->is_closing) pthread_cond_wait(&l->more, &l->lock);
        if (l->count == 0) {
            pthread_mutex_unlock(&l->lock);
            return NULL;
        }
        t = l->ring[l->first];
        l->first = (l->first + 1) % l->limit;
        l->count--;
        pthread_mutex_unlock(&l->lock);
        t.run(t.arg);
    }
}

struct lane *lane_new(unsigned width, size_t limit) {
    struct lane *l = calloc(1, sizeof *l);
    pthread_attr_t small;

    if (!l) return NULL;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->more, NULL);
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
    free(l->threads);
    free(l);
}

bool lane_submit(struct lane *l, void (*run)(void *), void *arg) {
    bool ok;

    pthread_mutex_lock(&l->lock);
    ok = l->count < l->limit && !l->is_closing;
    if (ok) {
        l->ring[(l->first + l->count) % l->limit] = (struct task){run, arg};
        l->count++;
        pthread_cond_signal(&l->more);
    }
    pthread_mutex_unlock(&l->lock);
    return ok;
}
