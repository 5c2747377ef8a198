#include "deliver/connector.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "net/dial.h"
#include "sys/clock.h"
#include "sys/file.h"

/* One address that is being tried. */
struct connect_try {
    int fd;
    bool is_connected;
    size_t host;
    struct addr to;
    mono_t until;
};

struct connector {
    pthread_t thread;
    pthread_mutex_t lock; /* guards `fresh` */
    struct connect_op *fresh;
    struct connect_op *ops; /* the thread's own */
    size_t op_count;
    struct pollfd *fds;
    size_t fd_cap;
    int wake;
    _Atomic bool is_stopping;
};

/* The next address of the route that may be tried, without taking it. */
static bool has_next(const struct connect_op *op, size_t *host, size_t *addr) {
    size_t h = op->next_host, a = op->next_addr;

    if (op->started == CONNECTOR_ADDRS_MAX) return false;
    while (h < op->route->host_count &&
           (a >= op->route->hosts[h].addr_count || op->route->hosts[h].tls.skip))
        h++, a = 0;
    if (h == op->route->host_count || op->route->hosts[h].is_self) return false;
    *host = h;
    *addr = a;
    return true;
}

static void end_try(struct connect_op *op, size_t i) {
    fd_close(&op->tries[i].fd);
    op->tries[i] = op->tries[--op->try_count];
}

/* Start the next address. False: there is none left. */
static bool start_next(struct connect_op *op, mono_t now) {
    size_t h, a;

    while (has_next(op, &h, &a)) {
        struct connect_try *t = &op->tries[op->try_count];
        const struct conf_dest *rule = op->route->rule;
        const char *from = !rule                                         ? NULL
                           : addr_is_ipv6(&op->route->hosts[h].addrs[a]) ? rule->source_v6
                                                                         : rule->source_v4;
        struct addr own;
        const struct addr *source = from && addr_parse(from, 0, &own) ? &own : NULL;
        size_t other_host, other_addr;

        op->next_host = h;
        op->next_addr = a + 1;
        op->started++;
        *t = (struct connect_try){.fd = -1,
                                  .host = h,
                                  .to = op->route->hosts[h].addrs[a],
                                  .until = now + CONNECTOR_CONNECT_MS};
        if (dial_start(&t->to, source, &t->fd, &op->err) != OK) {
            op->host = h;
            op->to = t->to;
            continue;
        }
        op->try_count++;
        /* Beside it only what is as good: another address of the same preference. */
        op->next_at =
            has_next(op, &other_host, &other_addr) &&
                    op->route->hosts[other_host].preference == op->route->hosts[h].preference
                ? now + CONNECTOR_STAGGER_MS
                : now + CONNECTOR_NEXT_MS;
        return true;
    }
    op->next_at = INT64_MAX;
    return false;
}

static void finish(struct connect_op *op, size_t winner) {
    op->fd = -1;
    if (winner < op->try_count) {
        op->fd = op->tries[winner].fd;
        op->host = op->tries[winner].host;
        op->to = op->tries[winner].to;
        op->tries[winner].fd = -1;
    }
    while (op->try_count > 0) end_try(op, 0);
    free(op->tries);
    op->tries = NULL;
    op->done(op);
}

static void fail_try(struct connect_op *op, size_t i) {
    op->host = op->tries[i].host;
    op->to = op->tries[i].to;
    end_try(op, i);
}

/* Look at try `i`. True: it is the one. */
static bool advance(struct connect_op *op, size_t i, short events, mono_t now) {
    struct connect_try *t = &op->tries[i];
    char text[ADDR_TEXT_MAX];

    if (events && !t->is_connected) {
        if (dial_result(t->fd, &t->to, &op->err) != OK) {
            fail_try(op, i);
            return false;
        }
        t->is_connected = true;
        t->until = now + CONNECTOR_BANNER_MS;
        return !op->speaks_first;
    }
    /* It spoke, or it hung up: the session will see which. */
    if (events) return true;
    if (now >= t->until) {
        err_mail(&op->err, ERR_TIMEOUT, STATUS(4, 4, 1), "%s %s in time", addr_text(&t->to, text),
                 t->is_connected ? "said nothing" : "did not answer");
        fail_try(op, i);
    }
    return false;
}

/* Everything of one operation; `fds` are what poll said of its tries, as many as it has. True: it
 * is over. */
static bool work(struct connector *c, struct connect_op *op, const struct pollfd *fds, mono_t now) {
    if (c->is_stopping) {
        err_mail(&op->err, ERR_CLOSED, STATUS(4, 3, 2), "stopped");
        finish(op, SIZE_MAX);
        return true;
    }
    for (size_t i = op->try_count; i-- > 0;) {
        if (!advance(op, i, fds ? fds[i].revents : 0, now)) continue;
        finish(op, i);
        return true;
    }
    while (op->try_count == 0 || now >= op->next_at) {
        if (start_next(op, now)) continue;
        if (op->try_count > 0) return false;
        finish(op, SIZE_MAX);
        return true;
    }
    return false;
}

static void take_fresh(struct connector *c, mono_t now) {
    struct connect_op *op, *next;

    pthread_mutex_lock(&c->lock);
    op = c->fresh;
    c->fresh = NULL;
    pthread_mutex_unlock(&c->lock);
    for (; op; op = next) {
        next = op->next;
        op->tries = calloc(CONNECTOR_ADDRS_MAX, sizeof *op->tries);
        if (!op->tries) {
            err_mail(&op->err, ERR_MEMORY, STATUS(4, 3, 0), "no memory to connect");
            finish(op, SIZE_MAX);
            continue;
        }
        if (work(c, op, NULL, now)) continue;
        op->next = c->ops;
        c->ops = op;
        c->op_count++;
    }
}

static void *connect_all(void *p) {
    struct connector *c = p;

    for (;;) {
        size_t n = 1;
        mono_t now = clock_mono(), first = now + 60 * 1000;
        struct connect_op **at;

        take_fresh(c, now);
        if (c->is_stopping && !c->ops) return NULL;
        if (c->fd_cap < 1 + c->op_count * CONNECTOR_ADDRS_MAX) {
            size_t cap = 64 + 2 * c->op_count * CONNECTOR_ADDRS_MAX;
            struct pollfd *more = realloc(c->fds, cap * sizeof *more);

            if (more) c->fds = more, c->fd_cap = cap;
        }
        c->fds[0] = (struct pollfd){.fd = c->wake, .events = POLLIN};
        for (struct connect_op *op = c->ops; op; op = op->next) {
            if (op->next_at < first) first = op->next_at;
            if (n + op->try_count > c->fd_cap) break;
            for (size_t i = 0; i < op->try_count; i++) {
                const struct connect_try *t = &op->tries[i];

                c->fds[n++] =
                    (struct pollfd){.fd = t->fd, .events = t->is_connected ? POLLIN : POLLOUT};
                if (t->until < first) first = t->until;
            }
        }
        now = clock_mono();
        poll(c->fds, n, first > now ? (int)(first - now) : 0);
        now = clock_mono();
        if (c->fds[0].revents) {
            uint64_t ignored;

            if (read(c->wake, &ignored, sizeof ignored) < 0) errno = 0;
        }
        n = 1;
        for (at = &c->ops; *at;) {
            struct connect_op *op = *at, *next = op->next;
            const struct pollfd *mine = n + op->try_count <= c->fd_cap ? c->fds + n : NULL;

            n += op->try_count;
            if (work(c, op, mine, now)) { /* `op` is its owner's again */
                *at = next;
                c->op_count--;
            } else {
                at = &op->next;
            }
        }
    }
}

enum err_code connector_new(struct connector **out, struct err *e) {
    struct connector *c = calloc(1, sizeof *c);
    pthread_attr_t small;
    bool started;

    if (!c) return err_set(e, ERR_MEMORY, "no memory for connections");
    c->fd_cap = 64;
    c->fds = malloc(c->fd_cap * sizeof *c->fds);
    c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&c->lock, NULL);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 128 * 1024);
    started = c->fds && c->wake >= 0 && pthread_create(&c->thread, &small, connect_all, c) == 0;
    pthread_attr_destroy(&small);
    if (started) {
        *out = c;
        return OK;
    }
    fd_close(&c->wake);
    pthread_mutex_destroy(&c->lock);
    free(c->fds);
    free(c);
    return err_set(e, ERR_MEMORY, "cannot start the thread for connections");
}

static void wake(struct connector *c) {
    uint64_t one = 1;

    if (write(c->wake, &one, sizeof one) < 0) errno = 0; /* full: it is awake */
}

void connector_open(struct connector *c, struct connect_op *op) {
    op->tries = NULL;
    op->try_count = op->next_host = op->next_addr = op->started = 0;
    op->next_at = 0;
    op->fd = -1;
    op->err = (struct err){0};
    pthread_mutex_lock(&c->lock);
    op->next = c->fresh;
    c->fresh = op;
    pthread_mutex_unlock(&c->lock);
    wake(c);
}

void connector_stop(struct connector *c) {
    c->is_stopping = true;
    wake(c);
    pthread_join(c->thread, NULL);
    take_fresh(c, clock_mono());
}

void connector_free(struct connector *c) {
    if (!c) return;
    fd_close(&c->wake);
    pthread_mutex_destroy(&c->lock);
    free(c->fds);
    free(c);
}
