#include "deliver/returning.h"

#include <stdlib.h>

#include "queue/dsn.h"
#include "sys/clock.h"

enum {
    PORTION = 1024, /* so many are held, done and dropped together */
    WORK_ARENA_MAX = 64 * 1024 * 1024,
    MESSAGE_MAX = 0x7fffffff
};

struct work {
    struct queue *q;
    const struct conf *conf;
    const char *why;  /* returned */
    struct slice via; /* rerouted */
    struct queue_ask *asks;
    size_t n;
    char (*new_ids)[QUEUE_ID_MAX];
    bool *is_done;
    enum err_code code;
    struct err *e;
};

static enum err_code tell_sender(const struct work *w, struct arena *a, const char *old_id,
                                 const struct envelope *old, struct slice octets,
                                 char id[QUEUE_ID_MAX]) {
    struct dsn_rcpt *list = arena_new(a, old->rcpt_count * sizeof *list);
    struct envelope_rcpt to = {.address = old->sender, .notify = NOTIFY_NEVER};
    struct envelope env = {.proto = S("local"),
                           .arrived = clock_wall(),
                           .rcpts = &to,
                           .rcpt_count = 1,
                           .is_smtputf8 = old->is_smtputf8};
    uint8_t random[DSN_RANDOM];
    struct dsn d = {.hostname = slice_str(w->conf->hostname),
                    .id = slice_str(old_id),
                    .env = old,
                    .rcpts = list,
                    .message = octets,
                    .is_whole = true,
                    .now = env.arrived,
                    .random = random};
    struct buf text;
    enum err_code code;

    if (!list) return err_set(w->e, ERR_MEMORY, "no memory for a notification");
    for (size_t i = 0; i < old->rcpt_count; i++) {
        const struct envelope_rcpt *r = &old->rcpts[i];

        if (r->notify && !(r->notify & NOTIFY_FAILURE)) continue;
        list[d.rcpt_count++] = (struct dsn_rcpt){.address = r->address,
                                                 .orcpt = r->orcpt,
                                                 .action = DSN_FAILED,
                                                 .status = STATUS(5, 0, 0),
                                                 .text = slice_str(w->why)};
    }
    if (old->sender.n == 0 || d.rcpt_count == 0) return OK;
    random_bytes(random, sizeof random);
    buf_init(&text, MESSAGE_MAX);
    code = dsn_build(&d, &text, w->e);
    for (size_t i = 0; i < text.n && !env.is_8bit; i++)
        env.is_8bit = (unsigned char)text.p[i] > 127;
    if (code == OK) code = queue_put(w->q, &env, buf_slice(&text), NULL, id, w->e);
    buf_release(&text);
    return code;
}

/* One message that is held: what takes its place, durable. */
static bool replace(const struct queue_entry *entry, void *p) {
    struct work *w = p;
    const struct queue_ask *ask = queue_ask_find(w->asks, w->n, entry->id);
    struct envelope env = *entry->env;
    struct arena a;
    struct buf octets;
    size_t k, n = 0;

    if (!ask || ask->code != OK) return true;
    k = (size_t)(ask - w->asks);
    arena_init(&a, WORK_ARENA_MAX);
    buf_init(&octets, MESSAGE_MAX);
    env.rcpts = arena_new(&a, env.rcpt_count * sizeof *env.rcpts);
    if (!env.rcpts) w->code = err_set(w->e, ERR_MEMORY, "no memory for the message");
    for (size_t i = 0; env.rcpts && i < env.rcpt_count; i++)
        if (entry->state[i] == QUEUE_PENDING) env.rcpts[n++] = entry->env->rcpts[i];
    env.rcpt_count = n;
    if (w->code == OK) w->code = queue_entry_read(entry, &octets, w->e);
    if (w->code == OK && w->why) {
        w->code = tell_sender(w, &a, entry->id, &env, buf_slice(&octets), w->new_ids[k]);
    } else if (w->code == OK) {
        env.via = w->via;
        w->code = queue_put(w->q, &env, buf_slice(&octets), NULL, w->new_ids[k], w->e);
    }
    w->is_done[k] = w->code == OK;
    buf_release(&octets);
    arena_release(&a);
    return w->code == OK;
}

/* Hold `n` messages, put what is to take their place into the queue, and drop them. */
static enum err_code do_portion(struct work *w, unsigned timeout_ms, return_fn *done, void *user) {
    struct queue_ask *drop = calloc(w->n, sizeof *drop);
    enum err_code code, dropped;
    size_t count = 0;

    if (!drop) return err_set(w->e, ERR_MEMORY, "no memory for the list");
    code = queue_request_many(w->q, QUEUE_HOLD, w->asks, w->n, timeout_ms, w->e);
    if (code == OK) code = queue_walk_asked(w->q, w->asks, w->n, replace, w, w->e);
    if (code == OK) code = w->code;
    /* What was done is dropped even when the next could not be done. */
    for (size_t i = 0; i < w->n; i++)
        if (w->is_done[i]) drop[count++] = w->asks[i];
    dropped = count ? queue_request_many(w->q, QUEUE_DROP, drop, count, timeout_ms, w->e) : OK;
    /* Both would be sent: not for a read that failed once. */
    if (dropped == ERR_IO)
        dropped = queue_request_many(w->q, QUEUE_DROP, drop, count, timeout_ms, w->e);
    for (size_t i = 0, k = 0; i < w->n; i++) {
        if (!w->is_done[i]) {
            /* It ended between the two looks. */
            if (code == OK && w->asks[i].code == OK) w->asks[i].code = ERR_NOT_FOUND;
            continue;
        }
        if (drop[k++].code == OK && done) done(w->asks[i].id, w->new_ids[i], user);
    }
    free(drop);
    return code != OK ? code : dropped;
}

static enum err_code do_all(struct work *w, struct queue_ask *asks, size_t n, unsigned timeout_ms,
                            return_fn *done, void *user) {
    enum err_code code = OK;

    for (size_t at = 0; code == OK && at < n; at += PORTION) {
        w->asks = asks + at;
        w->n = n - at < PORTION ? n - at : PORTION;
        w->new_ids = calloc(w->n, sizeof *w->new_ids);
        w->is_done = calloc(w->n, sizeof *w->is_done);
        code = w->new_ids && w->is_done ? do_portion(w, timeout_ms, done, user)
                                        : err_set(w->e, ERR_MEMORY, "no memory for the list");
        free(w->new_ids);
        free(w->is_done);
    }
    return code;
}

enum err_code return_messages(const struct conf *conf, struct queue *q, struct queue_ask *asks,
                              size_t n, const char *why, unsigned timeout_ms, return_fn *done,
                              void *user, struct err *e) {
    struct work w = {.q = q, .conf = conf, .why = why, .e = e};

    return do_all(&w, asks, n, timeout_ms, done, user);
}

enum err_code reroute_messages(struct queue *q, struct queue_ask *asks, size_t n, struct slice via,
                               unsigned timeout_ms, return_fn *done, void *user, struct err *e) {
    struct work w = {.q = q, .via = via, .e = e};

    return do_all(&w, asks, n, timeout_ms, done, user);
}
