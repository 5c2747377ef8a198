#include "deliver/outbound.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "deliver/connector.h"
#include "deliver/dest.h"
#include "deliver/job.h"
#include "sys/clock.h"
#include "sys/cond.h"
#include "sys/file.h"

enum {
    TRIP_ARENA_MAX = 1024 * 1024,
    IDLE_MS = 10 * 1000, /* a worker without work ends */
    TICK_MS = 250,       /* the filler looks after lines that wait for time or room */
    REST_MS = 60 * 1000,
    PUT_OFF_S = 5,
    PER_LINK = 2 /* messages waiting per connection before one more is made */
};

/* A message on its way to all its destinations. */
struct parcel {
    struct queue_msg *msg;
    struct job job;
    pthread_mutex_t lock; /* of all below, and of the job */
    bool is_open;
    unsigned left; /* tasks that are not done */
    wall_t not_before;
};

enum work_kind { WORK_ROUTE, WORK_SEND, WORK_FAIL };
struct work {
    struct work *next;
    enum work_kind kind;
    struct dest *dest;
    struct trip *trip;
    struct connect_op op; /* SEND: its connection; FAIL: why there is none */
    enum smtp_stage stage;
};

struct list {
    struct work *first, **end;
};

struct outbound {
    struct runner *r;
    struct connector *connector;
    char reach_dir[4096];
    pthread_t filler;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t wake;  /* workers */
    pthread_cond_t room;  /* the filler, and who waits for the last worker */
    struct dests dests;
    struct list ready, routes; /* what workers do: sessions and failures first, then questions */
    unsigned workers, idle, workers_max, routing, queued;
    size_t parcels, opening, opening_max;
    uint64_t mark;
    unsigned flushes;
    bool is_stopping, is_dirty;
};

/* --- work; all with `lock` held
 * --------------------------------------------------------------------------------- */

static void *worker(void *p);

static void push(struct outbound *o, struct list *l, struct work *w) {
    pthread_attr_t small;
    pthread_t thread;

    w->next = NULL;
    *l->end = w;
    l->end = &w->next;
    o->queued++;
    /* One that was woken a moment ago still counts as idle, and so does what it will take. */
    if (o->idle >= o->queued || o->workers >= o->workers_max + o->routing) {
        pthread_cond_signal(&o->wake);
        return;
    }
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 512 * 1024);
    pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &small, worker, o) == 0) o->workers++;
    pthread_attr_destroy(&small);
}

static struct work *pop(struct outbound *o, struct list *l) {
    struct work *w = l->first;

    if (!w) return NULL;
    l->first = w->next;
    if (!l->first) l->end = &l->first;
    o->queued--;
    return w;
}

static struct work *new_work(struct dest *d, enum work_kind kind) {
    struct work *w = calloc(1, sizeof *w);

    if (!w) return NULL;
    w->kind = kind;
    w->dest = d;
    w->op.fd = -1;
    if (d->trip) {
        w->trip = d->trip;
        w->trip->refs++;
    }
    d->users++;
    return w;
}

static void free_work(struct outbound *o, struct work *w) {
    struct dest *d = w->dest;

    fd_close(&w->op.fd);
    trip_drop(w->trip);
    free(w);
    d->users--;
    dest_free_if_idle(&o->dests, d);
}

/* On the connector's thread. */
static void connected(struct connect_op *op) {
    struct work *w = op->user;
    struct outbound *o = (struct outbound *)w->next; /* parked there meanwhile */

    pthread_mutex_lock(&o->lock);
    w->kind = op->fd >= 0 ? WORK_SEND : WORK_FAIL;
    w->stage = SMTP_STAGE_CONNECT;
    push(o, &o->ready, w);
    pthread_mutex_unlock(&o->lock);
}

static void open_one(struct outbound *o, struct dest *d) {
    const struct route *route = &d->trip->route;
    struct work *w = new_work(d, WORK_SEND);

    if (!w) return;
    d->opening++;
    o->opening++;
    w->op.route = route;
    w->op.speaks_first = !(route->kind == ROUTE_RELAY && o->r->conf->relay.is_tls);
    w->op.done = connected;
    w->op.user = w;
    w->next = (struct work *)o;
    connector_open(o->connector, &w->op);
}

/* Do for `d` what can be done now. */
static void kick(struct outbound *o, struct dest *d) {
    struct work *w;

    if (d->waiting == 0 || o->is_stopping || dest_must_wait(d)) return;
    if (d->active + d->opening == 0 && !d->is_routing && d->reach.until > clock_wall()) {
        /* Left alone for now: all that waits is put off. */
        if (d->users > 0 || !(w = new_work(d, WORK_FAIL))) return;
        err_mail(&w->op.err, ERR_NET, STATUS(4, 4, 1), "not tried: it failed a moment ago: %s",
                 d->reach.text);
        push(o, &o->ready, w);
        return;
    }
    if (d->trip && d->active + d->opening == 0 && clock_mono() - d->routed_at > OUTBOUND_ROUTE_MS) {
        trip_drop(d->trip);
        d->trip = NULL;
    }
    if (!d->trip) {
        if (d->is_routing || !(w = new_work(d, WORK_ROUTE))) return;
        d->is_routing = true;
        push(o, &o->routes, w);
        return;
    }
    if (d->trip->route.code != OK) return;
    while (d->active + d->opening < d->limit && o->opening < o->opening_max &&
           (d->active + d->opening == 0 || d->waiting > PER_LINK * (d->active + d->opening)))
        open_one(o, d);
}

/* --- messages
 * ------------------------------------------------------------------------------------------ */

/* The last task of a parcel is done. */
static void finish_parcel(struct outbound *o, struct parcel *p) {
    bool tried = false;

    for (size_t i = 0; p->is_open && i < p->job.env.rcpt_count; i++) tried |= p->job.touched[i];
    if (tried || (p->is_open && p->job.bad)) {
        wall_t now = clock_wall();

        if (!p->job.bad) job_settle(o->r, &p->job, now);
        job_give_back(o->r, &p->job, false, p->not_before, now);
    } else {
        queue_done(o->r->queue, p->msg, QUEUE_REMOTE, p->not_before);
    }
    if (p->is_open) job_close(&p->job);
    pthread_mutex_destroy(&p->lock);
    free(p);
    pthread_mutex_lock(&o->lock);
    o->is_dirty |= tried;
    if (o->parcels-- == OUTBOUND_MESSAGES_MAX) pthread_cond_broadcast(&o->room);
    pthread_mutex_unlock(&o->lock);
}

static void end_task(struct outbound *o, struct task *t) {
    struct parcel *p = t->parcel;
    bool last;

    free(t);
    pthread_mutex_lock(&p->lock);
    last = --p->left == 0;
    pthread_mutex_unlock(&p->lock);
    if (last) finish_parcel(o, p);
}

/* Nothing is done now that cannot be noted, or that somebody asked not to do. */
static void put_off(struct outbound *o, struct parcel *p, const struct err *why) {
    if (why->code == ERR_BUSY) return;
    log_event(o->r->log, LEVEL_ERROR, "not sent now", "id", slice_str(queue_msg_id(p->msg)), "why",
              slice_str(why->msg), NULL);
    pthread_mutex_lock(&p->lock);
    p->not_before = clock_wall() + PUT_OFF_S;
    pthread_mutex_unlock(&p->lock);
}

/* The recipients of the message that `d` stands for. Opens the job when nobody has yet; count 0:
 * there is nothing to do. ERR_BUSY: somebody stopped it; else nothing can be sent now. */
static enum err_code open_task(struct outbound *o, const struct dest *d, struct parcel *p,
                               struct attempt *a) {
    char name[300];
    struct err why = {0};
    size_t *rcpts;

    *a = (struct attempt){0};
    if (queue_may_begin(o->r->queue, p->msg, &why) != OK) {
        put_off(o, p, &why);
        return why.code;
    }
    pthread_mutex_lock(&p->lock);
    if (!p->is_open) {
        p->is_open = true;
        job_open(o->r, &p->job, p->msg);
    }
    pthread_mutex_unlock(&p->lock);
    if (p->job.bad) return OK;
    rcpts = calloc(p->job.env.rcpt_count, sizeof *rcpts);
    a->verdicts = calloc(p->job.env.rcpt_count, sizeof *a->verdicts);
    a->rcpts = rcpts;
    a->env = &p->job.env;
    queue_msg_body(p->msg, &a->body.fd, &a->body.offset, &a->body.size);
    for (size_t i = 0; rcpts && a->verdicts && i < p->job.env.rcpt_count; i++) {
        if (!job_is_pending(&p->job, i) || job_is_local(o->r, &p->job, i)) continue;
        if (dest_name(o->r->conf, &p->job.env, i, name, sizeof name) && strcmp(name, d->name) == 0)
            rcpts[a->count++] = i;
    }
    return OK;
}

static void close_task(struct attempt *a) {
    free((void *)(uintptr_t)a->rcpts);
    free(a->verdicts);
}

static void note_task(struct outbound *o, struct parcel *p, const struct attempt *a,
                      wall_t not_before) {
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < a->count; i++) p->job.verdicts[a->rcpts[i]] = a->verdicts[i];
    job_note(o->r, &p->job, a->rcpts, a->count, clock_wall());
    if (not_before > p->not_before) p->not_before = not_before;
    pthread_mutex_unlock(&p->lock);
}

/* No host took the attempt, and that may pass. */
static bool is_down(const struct attempt *a) {
    for (size_t i = 0; i < a->count; i++)
        if (!a->verdicts[i].is_hop_failure || a->verdicts[i].class != SMTP_CLASS_TEMPORARY)
            return false;
    return a->count > 0;
}

static bool is_taken(const struct attempt *a) {
    for (size_t i = 0; i < a->count; i++)
        if (a->verdicts[i].class == SMTP_CLASS_OK) return true;
    return false;
}

/* Everything that waits for `d` gets the same verdict. Without the lock. */
static void fail_all(struct outbound *o, struct dest *d, const struct route *route,
                     const struct route_host *host, const struct addr *to, const struct err *why,
                     enum smtp_stage stage, wall_t not_before) {
    struct task *t;

    for (;;) {
        struct attempt a;

        pthread_mutex_lock(&o->lock);
        t = o->is_stopping ? NULL : dest_take(d);
        pthread_mutex_unlock(&o->lock);
        if (!t) return;
        if (open_task(o, d, t->parcel, &a) != OK) {
            end_task(o, t);
            continue;
        }
        attempt_fail(route, host, to, why, stage, &a);
        note_task(o, t->parcel, &a, not_before);
        close_task(&a);
        end_task(o, t);
    }
}

/* `d` cannot be reached: remember it. Gives when it may be tried again. */
static wall_t remember(struct outbound *o, struct dest *d, struct slice why) {
    struct reach r;

    pthread_mutex_lock(&o->lock);
    r = d->reach;
    pthread_mutex_unlock(&o->lock);
    reach_failed(o->reach_dir, d->name, clock_wall(), o->r->conf->retry, random_below(1000000), why,
                 &r);
    pthread_mutex_lock(&o->lock);
    d->reach = r;
    d->limit = dest_limit_first(d);
    pthread_mutex_unlock(&o->lock);
    return r.until;
}

static void forget(struct outbound *o, struct dest *d) {
    struct reach r;

    pthread_mutex_lock(&o->lock);
    r = d->reach;
    d->reach = (struct reach){0};
    if (d->limit < dest_limit_max(d)) d->limit++;
    pthread_mutex_unlock(&o->lock);
    reach_good(o->reach_dir, d->name, &r);
}

/* --- what workers do
 * ---------------------------------------------------------------------------------- */

static void do_route(struct outbound *o, struct work *w) {
    struct dest *d = w->dest;
    struct trip *t = calloc(1, sizeof *t);
    struct err e = {0};
    struct slice name = slice_str(d->name);
    bool failed = true;

    if (t) {
        t->refs = 1;
        arena_init(&t->arena, TRIP_ARENA_MAX);
        if (route_find(o->r->courier->resolver, o->r->conf, name, true, &t->arena, &t->route, &e) !=
            OK) {
            t->route.code = e.code;
            t->route.err = e;
        }
        failed = t->route.code != OK;
    } else {
        err_mail(&e, ERR_MEMORY, STATUS(4, 3, 0), "no memory for a route");
    }
    if (failed) {
        const struct err *why = t ? &t->route.err : &e;
        wall_t until = err_is_temporary(why) && t ? remember(o, d, slice_str(why->msg)) : 0;

        fail_all(o, d, t ? &t->route : NULL, NULL, NULL, why, SMTP_STAGE_NONE, until);
    }
    pthread_mutex_lock(&o->lock);
    d->is_routing = false;
    o->routing--;
    if (failed) {
        trip_drop(t);
    } else {
        trip_drop(d->trip);
        d->trip = t;
        d->routed_at = clock_mono();
    }
    kick(o, d);
    pthread_mutex_unlock(&o->lock);
}

static void do_fail(struct outbound *o, struct work *w) {
    struct dest *d = w->dest;
    const struct route *route = w->trip ? &w->trip->route : NULL;
    const struct route_host *host =
        w->stage == SMTP_STAGE_CONNECT && route ? &route->hosts[w->op.host] : NULL;
    wall_t until;
    bool alone;

    pthread_mutex_lock(&o->lock);
    until = d->reach.until;
    if (host) d->opening--, o->opening--;
    alone = d->active + d->opening == 0;
    if (!alone && d->limit > d->active + d->opening) d->limit = d->active + d->opening;
    pthread_mutex_unlock(&o->lock);
    /* Others still speak with it: they go on with what waits. */
    if (!alone || w->op.err.code == ERR_CLOSED) return;
    if (host) until = remember(o, d, slice_str(w->op.err.msg));
    fail_all(o, d, route, host, host ? &w->op.to : NULL, &w->op.err, w->stage, until);
}

/* The next message for an open connection; waits a little for one. With `lock` held. */
static struct task *next_task(struct outbound *o, struct dest *d, const struct link *link) {
    mono_t until = clock_mono() + OUTBOUND_LINGER_MS, now;

    while ((!d->waiting || dest_must_wait(d)) && !o->is_stopping && link->is_open &&
           !o->ready.first && !o->routes.first && (now = clock_mono()) < until)
        cond_wait_ms(&d->more, &o->lock, until - now);
    return o->is_stopping || dest_must_wait(d) ? NULL : dest_take(d);
}

/* One message. False: the destination is down, or has too many connections. */
static bool send_one(struct outbound *o, struct dest *d, const struct route *route,
                     struct link *link, struct task *t) {
    struct attempt a;
    struct err why = {0};
    bool down, alone, pass_on;
    wall_t until = 0;
    enum err_code code = open_task(o, d, t->parcel, &a);

    if (code != OK) {
        end_task(o, t);
        return code == ERR_BUSY;
    }
    if (a.count > 0) attempt_run(o->r->courier, route, link, &a);
    down = is_down(&a);
    pthread_mutex_lock(&o->lock);
    alone = d->active == 1;
    pass_on = down && !alone && t->passes < DEST_PASSES_MAX;
    if (down && !alone && d->limit >= d->active) d->limit = d->active - 1;
    if (pass_on) {
        t->passes++;
        dest_put(d, t, true); /* another connection sends it */
    }
    pthread_mutex_unlock(&o->lock);
    if (pass_on) {
        close_task(&a);
        return false;
    }
    if (down && alone) until = remember(o, d, slice_str(a.verdicts[0].text));
    else if (is_taken(&a)) forget(o, d);
    note_task(o, t->parcel, &a, until);
    if (down && alone) {
        err_mail(&why, ERR_NET, a.verdicts[0].status, "%s", a.verdicts[0].text);
        fail_all(o, d, route, &route->hosts[link->host], &link->to, &why, a.verdicts[0].stage,
                 until);
    }
    close_task(&a);
    end_task(o, t);
    return !down;
}

static void do_send(struct outbound *o, struct work *w) {
    struct dest *d = w->dest;
    struct link link;
    struct task *t;

    link_init(&link);
    link.fd = w->op.fd;
    link.host = w->op.host;
    link.to = w->op.to;
    w->op.fd = -1;
    pthread_mutex_lock(&o->lock);
    d->opening--;
    o->opening--;
    d->active++;
    for (t = dest_must_wait(d) ? NULL : dest_take(d); t; t = next_task(o, d, &link)) {
        bool go_on;

        kick(o, d);
        pthread_mutex_unlock(&o->lock);
        go_on = send_one(o, d, &w->trip->route, &link, t);
        pthread_mutex_lock(&o->lock);
        if (!go_on || !link.is_open || link.sent >= OUTBOUND_LINK_MESSAGES_MAX) break;
    }
    pthread_mutex_unlock(&o->lock);
    link_close(&link);
    pthread_mutex_lock(&o->lock);
    d->active--;
    kick(o, d);
    pthread_mutex_unlock(&o->lock);
}

static struct work *next_work(struct outbound *o) {
    struct work *w = pop(o, &o->ready);

    /* Workers that wait for a name server are beside those that send: neither stops the other. */
    if (!w && o->routing < OUTBOUND_ROUTING_MAX && (w = pop(o, &o->routes))) o->routing++;
    return w;
}

static void *worker(void *p) {
    struct outbound *o = p;
    mono_t idle_since = 0;

    pthread_mutex_lock(&o->lock);
    while (!o->is_stopping) {
        struct work *w = next_work(o);

        if (!w) {
            if (!idle_since) idle_since = clock_mono();
            if (clock_mono() - idle_since >= IDLE_MS) break;
            o->idle++;
            cond_wait_ms(&o->wake, &o->lock, IDLE_MS);
            o->idle--;
            continue;
        }
        idle_since = 0;
        pthread_mutex_unlock(&o->lock);
        if (w->kind == WORK_ROUTE) do_route(o, w);
        else if (w->kind == WORK_SEND) do_send(o, w);
        else do_fail(o, w);
        pthread_mutex_lock(&o->lock);
        free_work(o, w);
    }
    o->workers--;
    pthread_cond_broadcast(&o->room);
    pthread_mutex_unlock(&o->lock);
    return NULL;
}

/* --- the filler
 * ---------------------------------------------------------------------------------------- */

/* Line up a message under every destination that it has. */
static void take_in(struct outbound *o, struct queue_msg *m) {
    struct parcel *p = calloc(1, sizeof *p);
    struct job j;
    char name[300];
    wall_t now = clock_wall();
    size_t lined = 0;

    if (!job_open(o->r, &j, m) || !p) {
        j.bad = true;
        job_give_back(o->r, &j, false, 0, now);
        job_close(&j);
        free(p);
        return;
    }
    p->msg = m;
    p->left = 1; /* this function's own */
    pthread_mutex_init(&p->lock, NULL);
    pthread_mutex_lock(&o->lock);
    o->parcels++;
    o->mark++;
    for (size_t i = 0; i < j.env.rcpt_count; i++) {
        struct dest *d;
        struct task *t;

        if (!job_is_pending(&j, i) || job_is_local(o->r, &j, i)) continue;
        d = dest_name(o->r->conf, &j.env, i, name, sizeof name) ? dest_of(&o->dests, name) : NULL;
        if (!d || d->mark == o->mark) continue;
        t = calloc(1, sizeof *t);
        if (!t) continue;
        d->mark = o->mark;
        t->parcel = p;
        t->priority = j.env.priority;
        pthread_mutex_lock(&p->lock);
        p->left++;
        pthread_mutex_unlock(&p->lock);
        lined++;
        dest_put(d, t, false);
        pthread_cond_signal(&d->more);
        kick(o, d);
    }
    pthread_mutex_unlock(&o->lock);
    job_close(&j);
    pthread_mutex_lock(&p->lock);
    /* Not `left`: the tasks may all be done by now. */
    if (lined == 0) {
        /* Nobody here is for elsewhere, or memory is short: back by the schedule. */
        p->is_open = true;
        job_open(o->r, &p->job, m);
        job_give_back(o->r, &p->job, false, 0, now);
        job_close(&p->job);
        pthread_mutex_unlock(&p->lock);
        pthread_mutex_destroy(&p->lock);
        free(p);
        pthread_mutex_lock(&o->lock);
        o->parcels--;
        pthread_mutex_unlock(&o->lock);
        return;
    }
    if (--p->left > 0) {
        pthread_mutex_unlock(&p->lock);
        return;
    }
    pthread_mutex_unlock(&p->lock);
    finish_parcel(o, p);
}

/* Somebody asked for a try now: what was unreachable is asked again. */
static void obey_flush(struct outbound *o) {
    unsigned flushes = queue_flushes(o->r->queue);

    if (flushes == o->flushes) return;
    o->flushes = flushes;
    reach_clear(o->reach_dir);
    pthread_mutex_lock(&o->lock);
    for (size_t i = 0; i < DEST_BUCKETS; i++)
        for (struct dest *d = o->dests.buckets[i]; d; d = d->next) d->reach.until = 0;
    pthread_mutex_unlock(&o->lock);
}

static void *fill(void *p) {
    struct outbound *o = p;
    struct queue_msg *m = NULL;
    mono_t synced = 0;

    for (;;) {
        unsigned wakes = queue_wakes(o->r->queue);
        bool stop, full, busy, dirty = false;

        obey_flush(o);
        pthread_mutex_lock(&o->lock);
        stop = o->is_stopping;
        full = o->parcels >= OUTBOUND_MESSAGES_MAX;
        pthread_mutex_unlock(&o->lock);
        if (!stop && !full && (m = queue_next(o->r->queue, QUEUE_REMOTE, clock_wall()))) {
            take_in(o, m);
            continue;
        }
        pthread_mutex_lock(&o->lock);
        for (size_t i = 0; i < DEST_BUCKETS; i++)
            for (struct dest *d = o->dests.buckets[i]; d; d = d->next) kick(o, d);
        busy = o->parcels > 0;
        if (o->is_dirty && (stop || clock_mono() - synced >= OUTBOUND_SYNC_MS)) {
            dirty = true;
            o->is_dirty = false;
        }
        pthread_mutex_unlock(&o->lock);
        if (dirty) {
            queue_sync_all(o->r->queue, NULL);
            synced = clock_mono();
        }
        if (stop) return NULL;
        if (full) {
            pthread_mutex_lock(&o->lock);
            if (o->parcels >= OUTBOUND_MESSAGES_MAX && !o->is_stopping)
                cond_wait_ms(&o->room, &o->lock, TICK_MS);
            pthread_mutex_unlock(&o->lock);
        } else {
            queue_wait(o->r->queue, QUEUE_REMOTE, wakes, busy || o->is_dirty ? TICK_MS : REST_MS);
        }
    }
}

/* --- start and stop
 * ------------------------------------------------------------------------------------ */

enum err_code outbound_start(struct runner *r, unsigned workers, struct outbound **out,
                             struct err *e) {
    struct outbound *o = calloc(1, sizeof *o);
    enum err_code code;

    if (!o) return err_set(e, ERR_MEMORY, "no memory for delivery");
    o->r = r;
    o->workers_max = workers < 1                      ? 1
                     : workers > OUTBOUND_WORKERS_MAX ? OUTBOUND_WORKERS_MAX
                                                      : workers;
    o->opening_max = fd_raise_limit(65536) / 8;
    o->ready.end = &o->ready.first;
    o->routes.end = &o->routes.first;
    snprintf(o->reach_dir, sizeof o->reach_dir, "%s/state/unreachable", r->conf->data);
    o->dests.conf = r->conf;
    o->dests.reach_dir = o->reach_dir;
    pthread_mutex_init(&o->lock, NULL);
    cond_init(&o->wake);
    cond_init(&o->room);
    code = connector_new(&o->connector, e);
    if (code == OK && pthread_create(&o->filler, NULL, fill, o) != 0) {
        connector_stop(o->connector);
        connector_free(o->connector);
        code = err_set(e, ERR_MEMORY, "cannot start a thread for delivery");
    }
    if (code == OK) *out = o;
    else free(o);
    return code;
}

void outbound_stop(struct outbound *o) {
    struct work *w;

    pthread_mutex_lock(&o->lock);
    o->is_stopping = true;
    pthread_cond_broadcast(&o->wake);
    pthread_cond_broadcast(&o->room);
    for (size_t i = 0; i < DEST_BUCKETS; i++)
        for (struct dest *d = o->dests.buckets[i]; d; d = d->next) pthread_cond_broadcast(&d->more);
    pthread_mutex_unlock(&o->lock);
    queue_wake(o->r->queue);
    connector_stop(o->connector);
    /* First of all who lines up: what he added after the sweep would never be given back. */
    pthread_join(o->filler, NULL);
    pthread_mutex_lock(&o->lock);
    while (o->workers > 0) cond_wait_ms(&o->room, &o->lock, TICK_MS);
    for (size_t i = 0; i < DEST_BUCKETS; i++) {
        for (struct dest *d = o->dests.buckets[i]; d; d = d->next) {
            struct task *t;

            while ((t = dest_take(d))) {
                pthread_mutex_unlock(&o->lock);
                end_task(o, t);
                pthread_mutex_lock(&o->lock);
            }
        }
    }
    while ((w = pop(o, &o->ready)) || (w = pop(o, &o->routes))) free_work(o, w);
    for (size_t i = 0; i < DEST_BUCKETS; i++) {
        struct dest *next;

        for (struct dest *d = o->dests.buckets[i]; d; d = next) {
            next = d->next;
            dest_free_if_idle(&o->dests, d);
        }
    }
    pthread_mutex_unlock(&o->lock);
    connector_free(o->connector);
    pthread_mutex_destroy(&o->lock);
    pthread_cond_destroy(&o->wake);
    pthread_cond_destroy(&o->room);
    free(o);
}
