#include "net/pump.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "sys/clock.h"

void pump_init(struct pump *p, struct engine engine, int in, int out) {
    *p = (struct pump){.engine = engine, .in = in, .out = out};
    buf_init(&p->left, PUMP_READ);
}

void pump_init_io(struct pump *p, struct engine engine, struct pump_io io) {
    pump_init(p, engine, io.fd, io.fd);
    p->io = io;
}

void pump_release(struct pump *p) {
    if (p->tls) {
        if (!p->is_broken) tls_bye(p->tls);
        tls_free(p->tls);
        p->tls = NULL;
    }
    buf_release(&p->left);
}

enum { GIVE_UP_LOOK_MS = 250, WAIT_MAX_MS = 3600 * 1000 };

static bool is_given_up(const struct pump *p) {
    mono_t at = p->give_up ? *p->give_up : 0;

    return at != 0 && clock_mono() >= at;
}

/* Wait for `events` on `fd`. False: the deadline passed, or another thread gave up. */
static bool wait_for(const struct pump *p, int fd, short events, mono_t deadline) {
    mono_t most = p->give_up ? GIVE_UP_LOOK_MS : WAIT_MAX_MS;

    for (;;) {
        struct pollfd f = {.fd = fd, .events = events};
        mono_t left = deadline == MONO_NEVER ? WAIT_MAX_MS : deadline - clock_mono();
        int r;

        if (left <= 0 || is_given_up(p)) return false;
        r = poll(&f, 1, (int)(left > most ? most : left));
        if (r > 0 || (r < 0 && errno != EINTR)) return true;
    }
}

enum io { IO_OK, IO_TIMEOUT, IO_EOF, IO_FAILED };

static enum io write_some(struct pump *p, struct slice s, mono_t deadline, size_t *sent) {
    for (;;) {
        short want = POLLOUT;

        if (p->tls || p->io.self) {
            enum tls_io r = p->tls ? tls_write(p->tls, s.p, s.n, sent, &p->err)
                                   : p->io.write(p->io.self, s.p, s.n, sent, &p->err);

            if (r == TLS_OK) return IO_OK;
            if (r == TLS_FAIL || r == TLS_EOF) return IO_FAILED;
            want = r == TLS_WANT_READ ? POLLIN : POLLOUT;
        } else {
            ssize_t n = write(p->out, s.p, s.n);

            if (n >= 0) {
                *sent = (size_t)n;
                return IO_OK;
            }
            if (errno == EINTR) continue;
            if (errno != EAGAIN) {
                err_sys(&p->err, "writing");
                return IO_FAILED;
            }
        }
        if (!wait_for(p, want == POLLIN ? p->in : p->out, want, deadline)) {
            err_set(&p->err, ERR_TIMEOUT, "the peer takes no data");
            return IO_TIMEOUT;
        }
    }
}

static enum io read_some(struct pump *p, char *at, size_t room, mono_t deadline, size_t *got) {
    for (;;) {
        short want = POLLIN;

        if (p->tls || p->io.self) {
            enum tls_io r = p->tls ? tls_read(p->tls, at, room, got, &p->err)
                                   : p->io.read(p->io.self, at, room, got, &p->err);

            if (r == TLS_OK) return IO_OK;
            if (r == TLS_EOF) return IO_EOF;
            if (r == TLS_FAIL) return IO_FAILED;
            want = r == TLS_WANT_WRITE ? POLLOUT : POLLIN;
            if (!wait_for(p, want == POLLIN ? p->in : p->out, want, deadline)) return IO_TIMEOUT;
        } else {
            ssize_t n;

            if (!wait_for(p, p->in, POLLIN, deadline)) return IO_TIMEOUT;
            n = read(p->in, at, room);
            if (n > 0) {
                *got = (size_t)n;
                return IO_OK;
            }
            if (n == 0) return IO_EOF;
            if (errno == EINTR || errno == EAGAIN) continue;
            err_sys(&p->err, "reading");
            return IO_FAILED;
        }
    }
}

static void broken(struct pump *p) {
    p->is_broken = true;
    if (!p->is_eof) {
        p->is_eof = true;
        p->left.n = 0;
        p->engine.ops->eof(p->engine.self, clock_mono());
    }
}

/* Write one piece of output. False: there was none. */
static bool step_out(struct pump *p) {
    const struct engine_ops *ops = p->engine.ops;
    struct slice out = ops->out(p->engine.self);
    size_t sent = 0;

    if (out.n == 0) return false;
    if (p->is_broken) {
        ops->sent(p->engine.self, out.n, clock_mono());
        return true;
    }
    if (write_some(p, out, clock_mono() + 300000, &sent) != IO_OK) {
        broken(p);
        return true;
    }
    if (p->trace) p->trace(p->trace_user, true, slice_first(out, sent));
    ops->sent(p->engine.self, sent, clock_mono());
    return true;
}

static bool step_in(struct pump *p) {
    const struct engine_ops *ops = p->engine.ops;
    mono_t deadline;
    char *room;
    size_t got = 0;

    if (p->left.n > 0) {
        size_t took = ops->feed(p->engine.self, buf_slice(&p->left), clock_mono());

        buf_drop(&p->left, took);
        if (took > 0) return true;
    }
    if (p->is_eof) return false;
    room = buf_room(&p->left, PUMP_READ - p->left.n);
    if (PUMP_READ == p->left.n || !room) {
        /* The buffer is full and the engine takes nothing: it waits for an answer that does not
         * come. */
        broken(p);
        return true;
    }
    deadline = ops->deadline(p->engine.self);
    if (p->cap && p->cap < deadline) deadline = p->cap;
    switch (read_some(p, room, PUMP_READ - p->left.n, deadline, &got)) {
    case IO_OK:
        if (p->trace) p->trace(p->trace_user, false, slice_of(room, got));
        buf_grown(&p->left, got);
        buf_drop(&p->left, ops->feed(p->engine.self, buf_slice(&p->left), clock_mono()));
        break;
    case IO_TIMEOUT:
        if ((p->cap && clock_mono() >= p->cap) || is_given_up(p)) {
            err_mail(&p->err, ERR_TIMEOUT, STATUS(4, 4, 2), "no answer in time");
            broken(p);
        } else {
            ops->tick(p->engine.self, clock_mono());
        }
        break;
    case IO_EOF:
        p->is_eof = true;
        ops->eof(p->engine.self, clock_mono());
        break;
    case IO_FAILED: broken(p); break;
    }
    return true;
}

bool pump_step(struct pump *p) {
    if (step_out(p)) return true;
    if (p->engine.ops->done(p->engine.self)) return false;
    return step_in(p);
}

enum err_code pump_tls(struct pump *p, struct tls *t, mono_t deadline, struct err *e) {
    while (step_out(p)) {
    }
    p->tls = t;
    for (;;) {
        enum tls_io r = p->is_broken ? TLS_FAIL : tls_handshake(t, &p->err);

        if (r == TLS_OK) return OK;
        if (r == TLS_FAIL || r == TLS_EOF) {
            if (r == TLS_EOF)
                err_set(&p->err, ERR_CLOSED, "the peer closed during the TLS handshake");
            p->is_broken = true;
            if (e) *e = p->err;
            return p->err.code;
        }
        if (!wait_for(p, r == TLS_WANT_WRITE ? p->out : p->in,
                      r == TLS_WANT_WRITE ? POLLOUT : POLLIN, deadline)) {
            p->is_broken = true;
            return err_mail(e, ERR_TIMEOUT, STATUS(4, 4, 2),
                            "the TLS handshake was not done in time");
        }
    }
}
