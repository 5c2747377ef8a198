#include "deliver/runner.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "deliver/job.h"
#include "deliver/local.h"
#include "deliver/outbound.h"
#include "deliver/program.h"
#include "sys/clock.h"

enum { RUNNER_WAIT_MS = 60 * 1000 };

/* One delivery of a recipient into one mailbox. */
struct local_item {
    size_t rcpt, item;
    bool is_added, is_done; /* in the batch; delivered without it */
    struct err err;
};

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

/* Remote ends of an alias become a message of their own, with the same sender, or with the owner of
 * the list they are in. What has no sender keeps none, so that notifications cannot loop. */
static enum err_code forward(struct runner *r, struct job *j, const struct envelope_rcpt *was,
                             const struct rcpt_end *ends, size_t count, struct err *e) {
    struct envelope env = j->env;
    struct envelope_rcpt *rcpts = arena_new(&j->arena, count * sizeof *rcpts);
    bool *done = arena_new(&j->arena, count * sizeof *done);
    enum err_code code = OK;

    if (!rcpts || !done) return err_mail(e, ERR_MEMORY, STATUS(4, 3, 0), "no memory to forward");
    env.rcpts = rcpts;
    for (size_t first = 0; code == OK && first < count; first++) {
        char id[QUEUE_ID_MAX] = "";

        if (done[first] || !rcpt_end_is_remote(&ends[first])) continue;
        env.rcpt_count = 0;
        for (size_t i = first; i < count; i++) {
            if (!rcpt_end_is_remote(&ends[i]) || !slice_eq(ends[i].owner, ends[first].owner))
                continue;
            rcpts[env.rcpt_count] = *was;
            rcpts[env.rcpt_count++].address = ends[i].address;
            done[i] = true;
        }
        env.sender = ends[first].owner.n && j->env.sender.n ? ends[first].owner : j->env.sender;
        code = queue_put(r->queue, &env, slice_of(j->octets, (size_t)j->size), NULL, id, e);
        if (code == OK)
            log_event(r->log, LEVEL_NOTE, "forwarded", "id", slice_str(queue_msg_id(j->msg)), "to",
                      was->address, "as", slice_str(id), NULL);
    }
    return code;
}

/* A command or a file of an alias. */
static void run_program(struct runner *r, const struct job *j, size_t rcpt,
                        const struct rcpt_end *end, struct err *e) {
    struct program p = {.target = end->address,
                        .sender = end->owner.n && j->env.sender.n ? end->owner : j->env.sender,
                        .recipient = j->env.rcpts[rcpt].address,
                        .message = slice_of(j->octets, (size_t)j->size),
                        .date = j->env.arrived,
                        .is_stopping = &r->is_stopping};

    program_deliver(r->conf, &p, e);
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

    if (code == OK) code = job_load(j, &e);
    if (code == OK) code = forward(r, j, rcpt, ends, count, &e);
    if (code != OK) {
        job_set_err(j, i, &e);
        return;
    }
    job_set(j, i, SMTP_CLASS_OK, STATUS(2, 1, 5),
            count == 1 && ends[0].is_local ? "delivered" : "expanded");
    for (size_t k = 0; k < count; k++) {
        struct slice message = slice_of(j->octets, (size_t)j->size);
        struct local_item *item;
        char key[64];

        if (rcpt_end_is_remote(&ends[k])) continue;
        if (!add_item(j, i, &item)) {
            err_mail(&e, ERR_MEMORY, STATUS(4, 3, 0), "no memory to deliver");
            job_set_err(j, i, &e);
            return;
        }
        if (ends[k].is_dead) {
            err_mail(&item->err, ERR_NOT_FOUND, STATUS(5, 1, 1), "no such user: %.*s",
                     SP(ends[k].address));
            continue;
        }
        if (ends[k].is_program) {
            run_program(r, j, i, &ends[k], &item->err);
            item->is_done = item->err.code == OK;
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
            local_batch_add(batch, ends[k].account,
                            ends[k].owner.n && j->env.sender.n ? ends[k].owner : j->env.sender,
                            message, slice_str(key), j->env.arrived, queue_msg_was_begun(j->msg),
                            &item->item, &item->err) == OK;
    }
}

/* Deliver what of these jobs stays here, settle them and give them back. */
static void work_local(struct runner *r, struct job *jobs, size_t n, wall_t now) {
    struct local_batch *batch = local_batch_new();

    for (size_t k = 0; k < n; k++) {
        struct job *j = &jobs[k];

        for (size_t i = 0; !j->bad && i < j->env.rcpt_count; i++) {
            if (!job_is_pending(j, i) || !job_is_local(r, j, i)) continue;
            if (batch) deliver_rcpt(r, j, i, batch);
            else job_set(j, i, SMTP_CLASS_TEMPORARY, STATUS(4, 3, 0), "no memory to deliver");
        }
        /* The batch has what it needs. */
        free(j->octets);
        j->octets = NULL;
    }
    if (batch) local_batch_commit(batch);
    for (size_t k = 0; k < n; k++) {
        struct job *j = &jobs[k];

        for (size_t i = 0; i < j->item_count; i++) {
            struct local_item *item = &j->items[i];
            struct err e = item->err;

            if (item->is_done) continue;
            if (item->is_added && local_batch_result(batch, item->item, &e) == OK) continue;
            /* A failure that may pass outweighs one that will not: nothing is lost by trying again.
             */
            if (j->verdicts[item->rcpt].class != SMTP_CLASS_TEMPORARY)
                job_set_err(j, item->rcpt, &e);
        }
        if (!j->bad) {
            size_t count = 0;

            for (size_t i = 0; i < j->env.rcpt_count; i++)
                if (j->touched[i]) j->noted[count++] = i;
            job_note(r, j, j->noted, count, now);
            job_settle(r, j, now);
        }
        job_give_back(r, j, true, 0, now);
        job_close(j);
    }
    local_batch_free(batch);
}

/* Does a recipient of this host lead to a command or a file? */
static bool has_program(struct runner *r, struct job *j) {
    bool found = false;

    if (!r->conf->alias_commands || j->bad) return false;
    for (size_t i = 0; !found && i < j->env.rcpt_count; i++) {
        struct rcpt_end *ends;
        size_t count;

        if (!job_is_pending(j, i) || !job_is_local(r, j, i) ||
            directory_expand(r->directory, j->env.rcpts[i].address, &j->arena, &ends, &count,
                             NULL) != OK)
            continue;
        for (size_t k = 0; k < count; k++)
            found |= ends[k].is_program && program_is_slow(ends[k].address);
    }
    return found;
}

struct aside {
    struct runner *r;
    struct job job;
};

static void *work_aside(void *p) {
    struct aside *a = p;
    struct runner *r = a->r;

    work_local(r, &a->job, 1, clock_wall());
    free(a);
    r->programs--;
    return NULL;
}

/* A command may take minutes: the others do not wait for it. True: the job is taken over. */
static bool put_aside(struct runner *r, const struct job *j) {
    struct aside *a = NULL;
    pthread_t thread;

    if (r->programs < RUNNER_PROGRAMS_MAX) a = malloc(sizeof *a);
    if (!a) return false;
    *a = (struct aside){r, *j};
    r->programs++;
    if (pthread_create(&thread, NULL, work_aside, a) == 0) {
        pthread_detach(thread);
        return true;
    }
    r->programs--;
    free(a);
    return false;
}

static bool runner_local(struct runner *r, wall_t now) {
    struct job *jobs = calloc(RUNNER_BATCH, sizeof *jobs);
    struct queue_msg *m;
    uint64_t bytes = 0;
    size_t n = 0;
    bool some = false;

    while (jobs && n < RUNNER_BATCH && bytes < RUNNER_BATCH_BYTES &&
           (m = queue_next(r->queue, QUEUE_LOCAL, now))) {
        struct job *j = &jobs[n];
        uint64_t size;

        some = true;
        job_open(r, j, m);
        queue_msg_body(m, &(int){0}, &(uint64_t){0}, &size);
        if (has_program(r, j) && put_aside(r, j)) {
            *j = (struct job){0};
            continue;
        }
        n++;
        bytes += size;
    }
    if (n > 0) work_local(r, jobs, n, now);
    free(jobs);
    return some;
}

/* --- threads
 * ------------------------------------------------------------------------------------------- */

struct runner_threads {
    pthread_t local;
    bool has_local;
    struct outbound *outbound;
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

enum err_code runner_start(struct runner *r, unsigned jobs, struct runner_threads **out,
                           struct err *e) {
    struct runner_threads *t = calloc(1, sizeof *t);
    pthread_attr_t small;
    enum err_code code;

    if (!t) return err_set(e, ERR_MEMORY, "no memory for delivery threads");
    code = outbound_start(r, jobs, &t->outbound, e);
    if (code != OK) {
        free(t);
        return code;
    }
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 512 * 1024);
    t->has_local = pthread_create(&t->local, &small, local_loop, r) == 0;
    pthread_attr_destroy(&small);
    *out = t;
    if (t->has_local) return OK;
    runner_stop(r, t);
    return err_set(e, ERR_MEMORY, "cannot start delivery threads");
}

void runner_stop(struct runner *r, struct runner_threads *t) {
    mono_t last = clock_mono() + RUNNER_STOP_MS;
    struct err e = {0};

    if (r->courier->give_up == 0 || r->courier->give_up > last) r->courier->give_up = last;
    r->is_stopping = true;
    queue_wake(r->queue);
    outbound_stop(t->outbound);
    if (t->has_local) pthread_join(t->local, NULL);
    while (r->programs > 0) poll(NULL, 0, 10); /* they see is_stopping */
    /* Nobody notes any more: what was noted last becomes durable too. */
    if (queue_sync_all(r->queue, &e) != OK)
        log_event(r->log, LEVEL_ERROR, "cannot sync the journals", "why", slice_str(e.msg), NULL);
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
