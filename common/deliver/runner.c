#include "deliver/runner.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "deliver/local.h"
#include "queue/dsn.h"
#include "queue/schedule.h"
#include "sys/clock.h"

enum { RUNNER_WAIT_MS = 60 * 1000, ARENA_MAX = 64 * 1024 * 1024, LOCAL_MESSAGE_MAX = 0x7fffffff };

/* A message in hand: its envelope, octets, and what became of each recipient now. */
struct job {
    struct queue_msg *msg;
    struct arena arena;
    struct envelope env;
    char *octets; /* local lane: all of it */
    uint64_t size;
    struct verdict *verdicts; /* per recipient */
    bool *touched;            /* per recipient: has a verdict now */
    const struct route **routes;
    struct local_item *items;
    size_t item_count, item_cap;
    bool bad; /* the envelope could not be read */
};

/* One delivery of a recipient into one mailbox. */
struct local_item {
    size_t rcpt, item;
    bool is_added;
    struct err err;
};

static struct slice rcpt_domain(struct slice address) {
    size_t at = slice_rchr(address, '@');

    return at == SLICE_NONE ? S("") : slice_from(address, at + 1);
}

static bool is_pending(const struct job *j, size_t i) {
    return queue_msg_state(j->msg, i) == QUEUE_PENDING;
}

static bool is_local(const struct runner *r, const struct job *j, size_t i) {
    return directory_is_local(r->directory, rcpt_domain(j->env.rcpts[i].address));
}

static void set_text(struct verdict *v, const char *text) {
    snprintf(v->text, sizeof v->text, "%s", text);
}

static void set_verdict(struct job *j, size_t i, enum smtp_class class, struct mail_status st,
                        const char *text) {
    j->verdicts[i] = (struct verdict){.class = class, .status = st};
    set_text(&j->verdicts[i], text);
    j->touched[i] = true;
}

static void set_err(struct job *j, size_t i, const struct err *e) {
    bool temporary = err_is_temporary(e);
    struct mail_status st = e->status;

    if (st.cls == 0) st = temporary ? STATUS(4, 3, 0) : STATUS(5, 3, 0);
    set_verdict(j, i, temporary ? SMTP_CLASS_TEMPORARY : SMTP_CLASS_PERMANENT, st, e->msg);
}

static bool open_job(struct runner *r, struct job *j, struct queue_msg *m) {
    struct err e = {0};
    size_t n;

    *j = (struct job){.msg = m};
    arena_init(&j->arena, ARENA_MAX);
    if (queue_msg_envelope(r->queue, m, &j->arena, &j->env, &e) != OK) {
        log_event(r->log, LEVEL_ERROR, "cannot read an envelope", "id", slice_str(queue_msg_id(m)),
                  "why", slice_str(e.msg), NULL);
        j->bad = true;
        return false;
    }
    n = j->env.rcpt_count;
    j->verdicts = arena_new(&j->arena, n * sizeof *j->verdicts);
    j->touched = arena_new(&j->arena, n * sizeof *j->touched);
    j->routes = arena_new(&j->arena, n * sizeof *j->routes);
    j->bad = j->arena.bad;
    return !j->bad;
}

static enum err_code load_octets(struct job *j, struct err *e) {
    uint64_t at, done = 0;
    int fd;

    if (j->octets) return OK;
    queue_msg_body(j->msg, &fd, &at, &j->size);
    if (j->size > LOCAL_MESSAGE_MAX)
        return err_mail(e, ERR_LIMIT, STATUS(5, 3, 4), "the message is too large");
    j->octets = malloc((size_t)j->size + 1);
    if (!j->octets) return err_mail(e, ERR_MEMORY, STATUS(4, 3, 0), "no memory for the message");
    while (done < j->size) {
        ssize_t n = pread(fd, j->octets + done, (size_t)(j->size - done), (off_t)(at + done));

        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            free(j->octets);
            j->octets = NULL;
            return err_sys(e, "cannot read the queue");
        }
        done += (uint64_t)n;
    }
    return OK;
}

static void close_job(struct job *j) {
    free(j->octets);
    free(j->items);
    arena_release(&j->arena);
}

/* --- telling the sender
 * ---------------------------------------------------------------------------- */

static bool wants(const struct job *j, size_t i, unsigned what) {
    unsigned notify = j->env.rcpts[i].notify;

    if (notify == 0) return what != NOTIFY_SUCCESS;
    return !(notify & NOTIFY_NEVER) && (notify & what);
}

/* The header of the message, or all of it when small. */
static struct slice original(struct job *j, bool *whole) {
    uint64_t at, size;
    size_t n, done = 0;
    char *p;
    int fd;

    queue_msg_body(j->msg, &fd, &at, &size);
    n = size < DSN_FULL_MAX                                  ? (size_t)size
        : j->env.ret == RET_FULL && size < LOCAL_MESSAGE_MAX ? (size_t)size
                                                             : DSN_FULL_MAX;
    *whole = n == size;
    p = arena_new(&j->arena, n);
    while (p && done < n) {
        ssize_t got = pread(fd, p + done, n - done, (off_t)(at + done));

        if (got <= 0) break;
        done += (size_t)got;
    }
    return slice_of(p, p ? done : 0);
}

/* Put a notification for the recipients that `pick` chose into the queue. */
static enum err_code notify(struct runner *r, struct job *j, const struct dsn_rcpt *rcpts,
                            size_t count, wall_t now, wall_t retry_until, struct err *e) {
    uint8_t random[DSN_RANDOM];
    struct envelope_rcpt to = {.address = j->env.sender, .notify = NOTIFY_NEVER};
    struct envelope env = {.proto = S("local"),
                           .arrived = now,
                           .rcpts = &to,
                           .rcpt_count = 1,
                           .is_smtputf8 = j->env.is_smtputf8};
    struct dsn d = {.hostname = slice_str(r->conf->hostname),
                    .id = slice_str(queue_msg_id(j->msg)),
                    .env = &j->env,
                    .rcpts = rcpts,
                    .rcpt_count = count,
                    .now = now,
                    .retry_until = retry_until,
                    .random = random};
    struct buf text;
    char id[QUEUE_ID_MAX] = "";
    enum err_code code;

    random_bytes(random, sizeof random);
    d.message = original(j, &d.is_whole);
    buf_init(&text, (size_t)LOCAL_MESSAGE_MAX);
    code = dsn_build(&d, &text, e);
    for (size_t i = 0; i < text.n && !env.is_8bit; i++)
        env.is_8bit = (unsigned char)text.p[i] > 127;
    if (code == OK) code = queue_put(r->queue, &env, buf_slice(&text), NULL, id, e);
    if (code == OK)
        log_event(r->log, LEVEL_NOTE, "notified sender", "id", slice_str(queue_msg_id(j->msg)),
                  "notice", slice_str(id), "to", j->env.sender, NULL);
    buf_release(&text);
    return code;
}

/* Collect the recipients that sender is to be told of, and tell. OK also when there was nobody. */
static enum err_code tell(struct runner *r, struct job *j, enum smtp_class class, wall_t now,
                          struct err *e) {
    static const unsigned what[] = {[SMTP_CLASS_OK] = NOTIFY_SUCCESS,
                                    [SMTP_CLASS_TEMPORARY] = NOTIFY_DELAY,
                                    [SMTP_CLASS_PERMANENT] = NOTIFY_FAILURE};
    struct dsn_rcpt *list;
    size_t n = 0;

    if (j->env.sender.n == 0) return OK;
    list = arena_new(&j->arena, j->env.rcpt_count * sizeof *list);
    if (!list) return err_mail(e, ERR_MEMORY, STATUS(4, 3, 0), "no memory for a notification");
    for (size_t i = 0; i < j->env.rcpt_count; i++) {
        const struct verdict *v = &j->verdicts[i];
        struct buf reply;

        if (!j->touched[i] || v->class != class || !wants(j, i, what[class])) continue;
        /* Who understands DSN sends its own notice. */
        if (class == SMTP_CLASS_OK && v->host[0] && v->peer_does_dsn) continue;
        buf_init(&reply, 1024);
        verdict_reply(v, &reply);
        list[n++] = (struct dsn_rcpt){
            .address = j->env.rcpts[i].address,
            .orcpt = j->env.rcpts[i].orcpt,
            .action = class == SMTP_CLASS_PERMANENT   ? DSN_FAILED
                      : class == SMTP_CLASS_TEMPORARY ? DSN_DELAYED
                      : v->host[0]                    ? DSN_RELAYED
                                                      : DSN_DELIVERED,
            .status = v->status,
            .remote = slice_str(v->code ? v->host : ""),
            .reply = v->code ? arena_copy(&j->arena, buf_slice(&reply)) : S(""),
            .text = slice_str(v->code ? "the receiving host answered:" : v->text),
        };
        buf_release(&reply);
    }
    if (n == 0) return OK;
    return notify(
        r, j, list, n, now,
        class == SMTP_CLASS_TEMPORARY ? j->env.arrived + (wall_t)r->conf->queue_lifetime : 0, e);
}

/* --- settling
 * --------------------------------------------------------------------------------------- */

static void log_verdict(struct runner *r, const struct job *j, size_t i, wall_t now) {
    static const char *const words[] = {"sent", "deferred", "bounced"};
    const struct verdict *v = &j->verdicts[i];
    char delay[24], where[400] = "local";
    struct buf reply;

    if (v->host[0]) snprintf(where, sizeof where, "%s[%s]", v->host, v->address);
    buf_init(&reply, 1024);
    log_event(r->log, v->class == SMTP_CLASS_OK ? LEVEL_NOTE : LEVEL_WARN, words[v->class], "id",
              slice_str(queue_msg_id(j->msg)), "from", j->env.sender.n ? j->env.sender : S("<>"),
              "to", j->env.rcpts[i].address, "relay",
              v->host[0] || v->class == SMTP_CLASS_OK ? slice_str(where) : S("none"), "delay",
              log_num(delay, now - j->env.arrived), "tls", slice_str(v->tls), "reply",
              verdict_reply(v, &reply), NULL);
    buf_release(&reply);
}

/* Old messages are given up: what is temporary becomes final. */
static void age(struct runner *r, struct job *j, wall_t now) {
    if (now - j->env.arrived < (wall_t)r->conf->queue_lifetime) return;
    for (size_t i = 0; i < j->env.rcpt_count; i++) {
        struct verdict *v = &j->verdicts[i];
        char was[sizeof v->text];

        if (!j->touched[i] || v->class != SMTP_CLASS_TEMPORARY) continue;
        snprintf(was, sizeof was, "%s", v->text);
        snprintf(v->text, sizeof v->text, "given up after %lld hours; last: %.400s",
                 (long long)(now - j->env.arrived) / 3600, was);
        v->class = SMTP_CLASS_PERMANENT;
        v->status = STATUS(4, 4, 7);
    }
}

/* Note every verdict in the journal. The sender is told of failures first: a crash between the two
 * tells twice, never not at all. */
static void settle(struct runner *r, struct job *j, wall_t now) {
    struct err e = {0};
    struct buf detail;
    bool told;

    age(r, j, now);
    told = tell(r, j, SMTP_CLASS_PERMANENT, now, &e) == OK;
    if (!told)
        log_event(r->log, LEVEL_ERROR, "cannot queue a notification; trying later", "id",
                  slice_str(queue_msg_id(j->msg)), "why", slice_str(e.msg), NULL);
    buf_init(&detail, ATTEMPT_DETAIL_MAX);
    for (size_t i = 0; i < j->env.rcpt_count; i++) {
        const struct verdict *v = &j->verdicts[i];
        struct queue_outcome o;

        if (!j->touched[i]) continue;
        log_verdict(r, j, i, now);
        if (r->on_verdict)
            r->on_verdict(r->on_user, queue_msg_id(j->msg), j->env.rcpts[i].address, v);
        if (v->class == SMTP_CLASS_OK) r->delivered++;
        else if (v->class == SMTP_CLASS_TEMPORARY) r->deferred++;
        else r->failed++;
        buf_reset(&detail);
        verdict_json(v, j->routes[i], queue_msg_attempts(j->msg) + 1, now, &detail);
        o.state = v->class == SMTP_CLASS_OK                  ? QUEUE_DELIVERED
                  : v->class == SMTP_CLASS_PERMANENT && told ? QUEUE_FAILED
                                                             : QUEUE_PENDING;
        o.detail = buf_slice(&detail);
        if (queue_note(r->queue, j->msg, i, &o, &e) != OK)
            log_event(r->log, LEVEL_ERROR, "cannot write the journal", "id",
                      slice_str(queue_msg_id(j->msg)), "why", slice_str(e.msg), NULL);
    }
    buf_release(&detail);
    if (tell(r, j, SMTP_CLASS_OK, now, &e) != OK)
        log_event(r->log, LEVEL_ERROR, "cannot queue a notification", "id",
                  slice_str(queue_msg_id(j->msg)), "why", slice_str(e.msg), NULL);
    if (now - j->env.arrived >= SCHEDULE_DELAY_NOTICE_S && !queue_msg_delay_told(j->msg)) {
        bool any = false;

        for (size_t i = 0; i < j->env.rcpt_count; i++)
            any |= j->touched[i] && j->verdicts[i].class == SMTP_CLASS_TEMPORARY;
        if (any && tell(r, j, SMTP_CLASS_TEMPORARY, now, &e) == OK)
            queue_note_delay(r->queue, j->msg, NULL);
    }
}

static wall_t next_time(struct runner *r, const struct queue_msg *m, wall_t now) {
    return schedule_next(now, queue_msg_attempts(m) + 1, r->conf->retry, random_below(UINT32_MAX),
                         queue_msg_arrived(m) + (wall_t)r->conf->queue_lifetime);
}

/* Give the message back: to the remote lane when somebody there waits and `to_remote`, else later.
 */
static void give_back(struct runner *r, struct job *j, bool to_remote, wall_t now) {
    bool remote = false;

    if (j->bad) {
        queue_done(r->queue, j->msg, QUEUE_LOCAL, now + 3600);
        return;
    }
    for (size_t i = 0; to_remote && i < j->env.rcpt_count; i++)
        remote |= is_pending(j, i) && !is_local(r, j, i);
    if (remote) queue_done(r->queue, j->msg, QUEUE_REMOTE, 0);
    else queue_done(r->queue, j->msg, QUEUE_LOCAL, next_time(r, j->msg, now));
}

/* --- local lane
 * -------------------------------------------------------------------------------------- */

static bool add_item(struct job *j, size_t rcpt, struct local_item **out) {
    if (j->item_count == j->item_cap) {
        size_t cap = j->item_cap ? j->item_cap * 2 : 4;
        struct local_item *v = realloc(j->items, cap * sizeof *v);

        if (!v) return false;
        j->items = v;
        j->item_cap = cap;
    }
    *out = &j->items[j->item_count++];
    **out = (struct local_item){.rcpt = rcpt};
    return true;
}

/* Remote ends of an alias become a message of their own, with the same sender. */
static enum err_code forward(struct runner *r, struct job *j, const struct envelope_rcpt *was,
                             const struct rcpt_end *ends, size_t count, struct err *e) {
    struct envelope env = j->env;
    struct envelope_rcpt *rcpts = arena_new(&j->arena, count * sizeof *rcpts);
    char id[QUEUE_ID_MAX] = "";
    size_t n = 0;
    enum err_code code;

    if (!rcpts) return err_mail(e, ERR_MEMORY, STATUS(4, 3, 0), "no memory to forward");
    for (size_t i = 0; i < count; i++) {
        if (ends[i].is_local || ends[i].is_dead) continue;
        rcpts[n] = *was;
        rcpts[n++].address = ends[i].address;
    }
    if (n == 0) return OK;
    env.rcpts = rcpts;
    env.rcpt_count = n;
    code = queue_put(r->queue, &env, slice_of(j->octets, (size_t)j->size), NULL, id, e);
    if (code == OK)
        log_event(r->log, LEVEL_NOTE, "forwarded", "id", slice_str(queue_msg_id(j->msg)), "to",
                  was->address, "as", slice_str(id), NULL);
    return code;
}

/* A short name of an account for the delivery key: the same account twice is one delivery. */
static uint64_t account_hash(const char *name) {
    uint64_t h = 14695981039346656037u;

    for (; *name; name++) h = (h ^ (unsigned char)*name) * 1099511628211u;
    return h;
}

static void deliver_rcpt(struct runner *r, struct job *j, size_t i, struct local_batch *batch) {
    const struct envelope_rcpt *rcpt = &j->env.rcpts[i];
    struct rcpt_end *ends = NULL;
    struct err e = {0};
    size_t count = 0;
    enum err_code code =
        directory_expand(r->directory, rcpt->address, &j->arena, &ends, &count, &e);

    if (code == OK) code = load_octets(j, &e);
    if (code == OK) code = forward(r, j, rcpt, ends, count, &e);
    if (code != OK) {
        set_err(j, i, &e);
        return;
    }
    set_verdict(j, i, SMTP_CLASS_OK, STATUS(2, 1, 5),
                count == 1 && ends[0].is_local ? "delivered" : "expanded");
    for (size_t k = 0; k < count; k++) {
        struct slice message = slice_of(j->octets, (size_t)j->size);
        struct local_item *item;
        char key[64];

        if (!ends[k].is_local && !ends[k].is_dead) continue;
        if (!add_item(j, i, &item)) {
            err_mail(&e, ERR_MEMORY, STATUS(4, 3, 0), "no memory to deliver");
            set_err(j, i, &e);
            return;
        }
        if (ends[k].is_dead) {
            err_mail(&item->err, ERR_NOT_FOUND, STATUS(5, 1, 1), "no such user: %.*s",
                     SP(ends[k].address));
            continue;
        }
        if (local_is_loop(message, ends[k].account)) {
            err_mail(&item->err, ERR_LIMIT, STATUS(5, 4, 6),
                     "mail loop: it was delivered to %s before", ends[k].account->name);
            continue;
        }
        snprintf(key, sizeof key, "%s-%016llx", queue_msg_id(j->msg),
                 (unsigned long long)account_hash(ends[k].account->name));
        item->is_added =
            local_batch_add(batch, ends[k].account, j->env.sender, message, slice_str(key),
                            j->env.arrived, queue_msg_attempts(j->msg) > 0, &item->item,
                            &item->err) == OK;
    }
}

bool runner_local(struct runner *r, wall_t now) {
    struct job *jobs = calloc(RUNNER_BATCH, sizeof *jobs);
    struct local_batch *batch = local_batch_new();
    struct queue_msg *m;
    uint64_t bytes = 0;
    size_t n = 0;

    while (jobs && batch && n < RUNNER_BATCH && bytes < RUNNER_BATCH_BYTES &&
           (m = queue_next(r->queue, QUEUE_LOCAL, now))) {
        struct job *j = &jobs[n++];

        if (!open_job(r, j, m)) continue;
        for (size_t i = 0; i < j->env.rcpt_count; i++)
            if (is_pending(j, i) && is_local(r, j, i)) deliver_rcpt(r, j, i, batch);
        bytes += j->size;
        /* The batch has what it needs. */
        free(j->octets);
        j->octets = NULL;
    }
    if (n > 0) local_batch_commit(batch);
    for (size_t k = 0; k < n; k++) {
        struct job *j = &jobs[k];

        for (size_t i = 0; i < j->item_count; i++) {
            struct local_item *item = &j->items[i];
            struct err e = item->err;

            if (item->is_added && local_batch_result(batch, item->item, &e) == OK) continue;
            /* A failure that may pass outweighs one that will not: nothing is lost by trying again.
             */
            if (j->verdicts[item->rcpt].class != SMTP_CLASS_TEMPORARY) set_err(j, item->rcpt, &e);
        }
        if (!j->bad) settle(r, j, now);
        give_back(r, j, true, now);
        close_job(j);
    }
    local_batch_free(batch);
    free(jobs);
    return n > 0;
}

/* --- remote lane
 * ------------------------------------------------------------------------------------- */

/* One attempt for all pending recipients that share the route of `first`. */
static void attempt_group(struct runner *r, struct job *j, size_t first) {
    struct slice domain = rcpt_domain(j->env.rcpts[first].address);
    size_t *rcpts = arena_new(&j->arena, j->env.rcpt_count * sizeof *rcpts);
    struct verdict *verdicts = arena_new(&j->arena, j->env.rcpt_count * sizeof *verdicts);
    struct route *route = arena_new(&j->arena, sizeof *route);
    struct attempt a = {.env = &j->env, .rcpts = rcpts, .verdicts = verdicts};
    struct err e = {0};

    if (!rcpts || !verdicts || !route) {
        err_mail(&e, ERR_MEMORY, STATUS(4, 3, 0), "no memory for an attempt");
        set_err(j, first, &e);
        return;
    }
    for (size_t i = first; i < j->env.rcpt_count; i++) {
        struct slice other = rcpt_domain(j->env.rcpts[i].address);

        if (!is_pending(j, i) || j->touched[i] || is_local(r, j, i)) continue;
        if (r->conf->relay.host || slice_ieq(other, domain)) rcpts[a.count++] = i;
    }
    queue_msg_body(j->msg, &a.body.fd, &a.body.offset, &a.body.size);
    if (route_find(r->courier->resolver, r->conf, domain, true, &j->arena, route, &e) != OK) {
        route->code = e.code;
        route->err = e;
    }
    if (route->code == OK) attempt_run(r->courier, route, &a);
    else attempt_no_route(route, &a);
    for (size_t i = 0; i < a.count; i++) {
        j->verdicts[rcpts[i]] = verdicts[i];
        j->touched[rcpts[i]] = true;
        j->routes[rcpts[i]] = route;
    }
}

bool runner_remote(struct runner *r, wall_t now) {
    struct queue_msg *m = queue_next(r->queue, QUEUE_REMOTE, now);
    struct job j;

    if (!m) return false;
    if (open_job(r, &j, m)) {
        for (size_t i = 0; i < j.env.rcpt_count; i++)
            if (is_pending(&j, i) && !j.touched[i] && !is_local(r, &j, i)) attempt_group(r, &j, i);
        now = clock_wall();
        settle(r, &j, now);
        queue_sync(r->queue, m, NULL);
    }
    give_back(r, &j, false, now);
    close_job(&j);
    return true;
}

/* --- threads
 * ------------------------------------------------------------------------------------------- */

struct runner_threads {
    pthread_t local, remote[RUNNER_JOBS_MAX];
    unsigned jobs;
    bool has_local;
};

static void *local_loop(void *p) {
    struct runner *r = p;

    for (;;) {
        unsigned wakes = queue_wakes(r->queue);

        if (r->is_stopping) return NULL;
        if (!runner_local(r, clock_wall()))
            queue_wait(r->queue, QUEUE_LOCAL, wakes, RUNNER_WAIT_MS);
    }
}

static void *remote_loop(void *p) {
    struct runner *r = p;

    for (;;) {
        unsigned wakes = queue_wakes(r->queue);

        if (r->is_stopping) return NULL;
        if (!runner_remote(r, clock_wall()))
            queue_wait(r->queue, QUEUE_REMOTE, wakes, RUNNER_WAIT_MS);
    }
}

enum err_code runner_start(struct runner *r, unsigned jobs, struct runner_threads **out,
                           struct err *e) {
    struct runner_threads *t = calloc(1, sizeof *t);
    pthread_attr_t small;

    if (!t) return err_set(e, ERR_MEMORY, "no memory for delivery threads");
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 512 * 1024);
    t->has_local = pthread_create(&t->local, &small, local_loop, r) == 0;
    while (t->has_local && t->jobs < jobs && t->jobs < RUNNER_JOBS_MAX &&
           pthread_create(&t->remote[t->jobs], &small, remote_loop, r) == 0)
        t->jobs++;
    pthread_attr_destroy(&small);
    *out = t;
    if (t->has_local && t->jobs > 0) return OK;
    runner_stop(r, t);
    return err_set(e, ERR_MEMORY, "cannot start delivery threads");
}

void runner_stop(struct runner *r, struct runner_threads *t) {
    mono_t last = clock_mono() + RUNNER_STOP_MS;

    if (r->courier->give_up == 0 || r->courier->give_up > last) r->courier->give_up = last;
    r->is_stopping = true;
    queue_wake(r->queue);
    if (t->has_local) pthread_join(t->local, NULL);
    for (unsigned i = 0; i < t->jobs; i++) pthread_join(t->remote[i], NULL);
    free(t);
}

enum err_code runner_pass(struct runner *r, unsigned jobs, mono_t deadline, struct err *e) {
    struct runner_threads *t;
    enum err_code code;

    r->courier->give_up = deadline;
    code = runner_start(r, jobs, &t, e);
    if (code != OK) return code;
    while (clock_mono() < deadline && !r->is_stopping && !queue_is_idle(r->queue, clock_wall()))
        poll(NULL, 0, 5);
    runner_stop(r, t);
    return OK;
}
