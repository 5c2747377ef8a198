#include "deliver/dest.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/ascii.h"
#include "deliver/job.h"
#include "sys/clock.h"
#include "sys/cond.h"

void trip_drop(struct trip *t) {
    if (!t || --t->refs > 0) return;
    arena_release(&t->arena);
    free(t);
}

static size_t bucket_of(const char *name) {
    uint64_t h = 14695981039346656037u;

    for (; *name; name++) h = (h ^ (unsigned char)*name) * 1099511628211u;
    return (size_t)(h ^ h >> 29) % DEST_BUCKETS;
}

bool dest_name(const struct conf *c, const struct envelope *env, size_t rcpt, char *out, size_t n) {
    struct slice domain = job_domain(env->rcpts[rcpt].address);
    const struct conf_dest *rule = conf_dest(c, domain);

    if (env->via.n) return snprintf(out, n, "=%.*s", SP(env->via)) < (int)n;
    if (c->relay.host && !(rule && (rule->host || rule->via == VIA_MX)))
        return snprintf(out, n, "%s:%u", c->relay.host, c->relay.port) < (int)n;
    if (domain.n == 0 || domain.n >= n) return false;
    for (size_t i = 0; i < domain.n; i++) out[i] = ascii_lower(domain.p[i]);
    out[domain.n] = 0;
    return true;
}

unsigned dest_limit_max(const struct dest *d) {
    return d->rule && d->rule->concurrency ? d->rule->concurrency : DEST_LIMIT_MAX;
}

unsigned dest_limit_first(const struct dest *d) {
    unsigned max = dest_limit_max(d);

    return max < DEST_LIMIT_FIRST ? max : DEST_LIMIT_FIRST;
}

struct dest *dest_of(struct dests *all, const char *name) {
    struct dest **bucket = &all->buckets[bucket_of(name)], *d;

    for (d = *bucket; d; d = d->next)
        if (strcmp(d->name, name) == 0) return d;
    d = calloc(1, sizeof *d);
    if (d) d->name = strdup(name);
    if (!d || !d->name) {
        free(d);
        return NULL;
    }
    d->end = &d->first;
    d->rule = conf_dest(all->conf, slice_str(name));
    d->limit = dest_limit_first(d);
    reach_load(all->reach_dir, name, &d->reach);
    cond_init(&d->more);
    d->next = *bucket;
    *bucket = d;
    return d;
}

void dest_free_if_idle(struct dests *all, struct dest *d) {
    struct dest **at = &all->buckets[bucket_of(d->name)];

    if (d->waiting || d->users) return;
    while (*at != d) at = &(*at)->next;
    *at = d->next;
    trip_drop(d->trip);
    pthread_cond_destroy(&d->more);
    free(d->name);
    free(d);
}

bool dest_must_wait(const struct dest *d) {
    return d->rule && d->rule->interval_ms && clock_mono() < d->not_before;
}

struct task *dest_take(struct dest *d) {
    struct task *t = d->first;

    if (!t) return NULL;
    if (d->rule && d->rule->interval_ms) d->not_before = clock_mono() + d->rule->interval_ms;
    d->first = t->next;
    if (!d->first) d->end = &d->first;
    d->waiting--;
    return t;
}

void dest_put(struct dest *d, struct task *t, bool at_front) {
    struct task **at = at_front || t->priority > 0 ? &d->first : d->end;

    while (!at_front && t->priority > 0 && *at && (*at)->priority >= t->priority) at = &(*at)->next;
    t->next = *at;
    *at = t;
    if (!t->next) d->end = &t->next;
    d->waiting++;
}
