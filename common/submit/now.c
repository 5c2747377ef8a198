#include "submit/now.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "deliver/rcpt.h"
#include "sys/file.h"

enum { COPY_BYTES = 16 * 1024 };

struct now {
    struct submission *s;
    struct courier courier;
    void (*each)(void *user, struct slice rcpt, const struct verdict *v);
    void *user;
    int fd;
    bool *done, *later;
    struct verdict *verdicts;
    struct now_result *out;
};

/* The message in one file without a name, for the hop that reads it. */
static int make_file(struct submission *s, struct err *e) {
    char path[] = "/tmp/postbag.XXXXXX", chunk[COPY_BYTES];
    const char *tmp = getenv("TMPDIR");
    int fd = open(tmp && *tmp ? tmp : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    uint64_t at = 0;
    size_t got = 1;
    enum err_code code;

    if (fd < 0) {
        fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0) unlink(path);
    }
    if (fd < 0) {
        err_sys(e, "cannot make a temporary file");
        return -1;
    }
    code = file_write(fd, buf_slice(&s->head), "a temporary file", e);
    while (code == OK && got > 0) {
        code = spool_read(&s->body, at, chunk, sizeof chunk, &got, e);
        if (code == OK) code = file_write(fd, slice_of(chunk, got), "a temporary file", e);
        at += got;
    }
    if (code == OK) return fd;
    close(fd);
    return -1;
}

static struct slice domain_of(struct slice address) {
    return slice_from(address, slice_rchr(address, '@') + 1);
}

/* One route, and all recipients that take it. */
static enum err_code try_domain(struct now *n, size_t first, struct err *e) {
    struct submission *s = n->s;
    const struct conf *c = s->conf;
    struct slice domain = domain_of(s->env.rcpts[first].address);
    size_t *rcpts = arena_new(&s->arena, s->env.rcpt_count * sizeof *rcpts);
    struct attempt a = {.env = &s->env,
                        .rcpts = rcpts,
                        .verdicts = n->verdicts,
                        .body = {n->fd, 0, s->head.n + s->body.size}};
    struct route route;
    struct err why = {0};

    if (!rcpts) return err_set(e, ERR_MEMORY, "no memory for an attempt");
    for (size_t i = first; i < s->env.rcpt_count; i++) {
        if (n->done[i] ||
            (!c->relay.host && !slice_ieq(domain_of(s->env.rcpts[i].address), domain)))
            continue;
        n->done[i] = true;
        rcpts[a.count++] = i;
    }
    if (route_find(n->courier.resolver, c, domain, true, &s->arena, &route, &why) != OK) {
        route.code = why.code;
        route.err = why;
    }
    if (route.code == OK) attempt_run(&n->courier, &route, NULL, &a);
    else attempt_no_route(&route, &a);
    for (size_t k = 0; k < a.count; k++) {
        const struct verdict *v = &n->verdicts[k];

        n->each(n->user, s->env.rcpts[rcpts[k]].address, v);
        if (v->class == SMTP_CLASS_OK) n->out->delivered++;
        else if (v->class == SMTP_CLASS_PERMANENT) n->out->failed++;
        else n->later[rcpts[k]] = true;
    }
    return OK;
}

enum err_code now_send(struct submission *s, void (*on_bytes)(void *, bool, struct slice),
                       void *bytes_user,
                       void (*each)(void *user, struct slice rcpt, const struct verdict *v),
                       void *user, struct now_result *out, struct err *e) {
    size_t count = s->env.rcpt_count, kept = 0;
    struct now n = {.s = s, .each = each, .user = user, .fd = -1, .out = out};
    struct directory d;
    enum err_code code;

    *out = (struct now_result){0};
    n.done = arena_new(&s->arena, count * sizeof *n.done);
    n.later = arena_new(&s->arena, count * sizeof *n.later);
    n.verdicts = arena_new(&s->arena, count * sizeof *n.verdicts);
    if (!n.done || !n.later || !n.verdicts)
        return err_set(e, ERR_MEMORY, "no memory for an attempt");
    code = courier_open(s->conf, s->log, &n.courier, e);
    if (code != OK) return code;
    n.courier.on_bytes = on_bytes;
    n.courier.on_user = bytes_user;
    code = directory_open(s->conf, &d, e);
    if (code == OK) {
        n.fd = make_file(s, e);
        if (n.fd < 0) code = e ? e->code : ERR_IO;
        for (size_t i = 0; code == OK && i < count; i++) {
            struct slice address = s->env.rcpts[i].address;

            if (n.done[i]) continue;
            if (s->conf->relay.host || !directory_is_local(&d, domain_of(address))) {
                code = try_domain(&n, i, e);
                continue;
            }
            n.done[i] = n.later[i] = true;
            each(user, address, NULL);
        }
        directory_close(&d);
    }
    courier_close(&n.courier);
    fd_close(&n.fd);
    /* After an error in the middle what was not tried is left as well. */
    for (size_t i = 0; i < count; i++)
        if (n.later[i] || !n.done[i]) s->env.rcpts[kept++] = s->env.rcpts[i];
    s->env.rcpt_count = out->later = kept;
    return code;
}
