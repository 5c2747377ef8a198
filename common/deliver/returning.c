#include "deliver/returning.h"

#include "queue/dsn.h"
#include "sys/clock.h"

enum { COPY_ARENA_MAX = 64 * 1024 * 1024, MESSAGE_MAX = 0x7fffffff };

/* A copy of what the queue says of a message, with the recipients that are still pending alone. */
struct copy {
    const char *id;
    struct arena arena;
    struct envelope env;
    struct buf octets;
    bool is_found;
};

static bool copy_entry(const struct queue_entry *q, void *p) {
    struct copy *c = p;
    struct arena *a = &c->arena;
    size_t n = 0;

    if (strcmp(q->id, c->id) != 0) return true;
    c->is_found = true;
    c->env = *q->env;
    c->env.sender = arena_copy(a, q->env->sender);
    c->env.envid = arena_copy(a, q->env->envid);
    c->env.user = arena_copy(a, q->env->user);
    c->env.client = arena_copy(a, q->env->client);
    c->env.proto = arena_copy(a, q->env->proto);
    c->env.rcpts = arena_new(a, q->env->rcpt_count * sizeof *c->env.rcpts);
    for (size_t i = 0; c->env.rcpts && i < q->env->rcpt_count; i++) {
        const struct envelope_rcpt *r = &q->env->rcpts[i];

        if (q->state[i] != QUEUE_PENDING) continue;
        c->env.rcpts[n++] =
            (struct envelope_rcpt){arena_copy(a, r->address), arena_copy(a, r->orcpt), r->notify};
    }
    c->env.rcpt_count = n;
    return false;
}

/* Hold it, so that no new attempt begins, and read it. The caller calls copy_release. */
static enum err_code copy_held(struct queue *q, const char *id, unsigned timeout_ms, struct copy *c,
                               struct err *e) {
    enum err_code code;

    *c = (struct copy){.id = id};
    arena_init(&c->arena, COPY_ARENA_MAX);
    buf_init(&c->octets, MESSAGE_MAX);
    code = queue_request(q, QUEUE_HOLD, id, timeout_ms, e);
    if (code == OK) code = queue_walk(q, false, copy_entry, c, e);
    if (code == OK && !c->is_found)
        code = err_set(e, ERR_NOT_FOUND, "no message %s in the queue", id);
    if (code == OK && (c->arena.bad || !c->env.rcpts))
        code = err_set(e, ERR_MEMORY, "no memory for the message");
    if (code == OK) code = queue_read(q, id, &c->octets, e);
    return code;
}

static void copy_release(struct copy *c) {
    buf_release(&c->octets);
    arena_release(&c->arena);
}

static enum err_code tell_sender(const struct conf *conf, struct queue *q, struct copy *c,
                                 const char *why, struct err *e) {
    struct dsn_rcpt *list = arena_new(&c->arena, c->env.rcpt_count * sizeof *list);
    struct envelope_rcpt to = {.address = c->env.sender, .notify = NOTIFY_NEVER};
    struct envelope env = {.proto = S("local"),
                           .arrived = clock_wall(),
                           .rcpts = &to,
                           .rcpt_count = 1,
                           .is_smtputf8 = c->env.is_smtputf8};
    uint8_t random[DSN_RANDOM];
    struct dsn d = {.hostname = slice_str(conf->hostname),
                    .id = slice_str(c->id),
                    .env = &c->env,
                    .rcpts = list,
                    .message = buf_slice(&c->octets),
                    .is_whole = true,
                    .now = env.arrived,
                    .random = random};
    struct buf text;
    char id[QUEUE_ID_MAX] = "";
    enum err_code code;

    if (!list) return err_set(e, ERR_MEMORY, "no memory for a notification");
    for (size_t i = 0; i < c->env.rcpt_count; i++) {
        const struct envelope_rcpt *r = &c->env.rcpts[i];

        if (r->notify && !(r->notify & NOTIFY_FAILURE)) continue;
        list[d.rcpt_count++] = (struct dsn_rcpt){.address = r->address,
                                                 .orcpt = r->orcpt,
                                                 .action = DSN_FAILED,
                                                 .status = STATUS(5, 0, 0),
                                                 .text = slice_str(why)};
    }
    if (c->env.sender.n == 0 || d.rcpt_count == 0) return OK;
    random_bytes(random, sizeof random);
    buf_init(&text, MESSAGE_MAX);
    code = dsn_build(&d, &text, e);
    for (size_t i = 0; i < text.n && !env.is_8bit; i++)
        env.is_8bit = (unsigned char)text.p[i] > 127;
    if (code == OK) code = queue_put(q, &env, buf_slice(&text), NULL, id, e);
    buf_release(&text);
    return code;
}

enum err_code return_message(const struct conf *conf, struct queue *q, const char *id,
                             const char *why, unsigned timeout_ms, struct err *e) {
    struct copy c;
    enum err_code code = copy_held(q, id, timeout_ms, &c, e);

    if (code == OK) code = tell_sender(conf, q, &c, why, e);
    if (code == OK) code = queue_request(q, QUEUE_DROP, id, timeout_ms, e);
    copy_release(&c);
    return code;
}

enum err_code reroute_message(struct queue *q, const char *id, struct slice via,
                              unsigned timeout_ms, char new_id[QUEUE_ID_MAX], struct err *e) {
    struct copy c;
    enum err_code code = copy_held(q, id, timeout_ms, &c, e);

    new_id[0] = 0;
    c.env.via = via;
    if (code == OK) code = queue_put(q, &c.env, buf_slice(&c.octets), NULL, new_id, e);
    if (code == OK) code = queue_request(q, QUEUE_DROP, id, timeout_ms, e);
    copy_release(&c);
    return code;
}
