#include "serve/session.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "serve/loop.h"
#include "serve/proxy.h"
#include "serve/server.h"
#include "sys/clock.h"

enum { RUN_ROUNDS_MAX = 256 };

struct session *session_new(struct server *server, enum conf_service service, int in, int out) {
    struct session *s = calloc(1, sizeof *s);

    if (!s) return NULL;
    s->server = server;
    s->service = service;
    s->in = in;
    s->out = out;
    s->watch = s->watch_armed = -1;
    buf_init(&s->left, SESSION_READ);
    return s;
}

void session_free(struct session *s) {
    if (!s) return;
    if (s->ops) s->ops->free(s);
    if (s->tls) {
        if (!s->is_broken) tls_bye(s->tls);
        tls_free(s->tls);
    }
    if (s->in > 2) close(s->in);
    deflate_free(s->deflate);
    buf_release(&s->left);
    free(s);
}

/* --- moving bytes
 * ------------------------------------------------------------------------------------ */

enum io { IO_OK, IO_READ, IO_WRITE, IO_EOF };

static enum io of_tls(enum tls_io r) {
    return r == TLS_OK           ? IO_OK
           : r == TLS_WANT_READ  ? IO_READ
           : r == TLS_WANT_WRITE ? IO_WRITE
                                 : IO_EOF;
}

static enum io read_wire(struct session *s, char *p, size_t n, size_t *got) {
    ssize_t r;

    if (s->tls) return of_tls(tls_read(s->tls, p, n, got, NULL));
    do r = read(s->in, p, n);
    while (r < 0 && errno == EINTR);
    *got = r > 0 ? (size_t)r : 0;
    return r > 0 ? IO_OK : r < 0 && errno == EAGAIN ? IO_READ : IO_EOF;
}

static enum io read_some(struct session *s, char *p, size_t n, size_t *got) {
    if (!s->deflate || s->wants_deflate) return read_wire(s, p, n, got);
    for (;;) {
        size_t room = 0, came = 0;
        char *to;
        enum io r;

        if (deflate_next(s->deflate, p, n, got) != OK) return IO_EOF;
        if (*got > 0) return IO_OK;
        to = deflate_room(s->deflate, &room);
        if (!to) return IO_EOF;
        r = read_wire(s, to, room, &came);
        if (r != IO_OK) return r;
        deflate_took(s->deflate, came);
    }
}

static enum io write_wire(struct session *s, struct slice out, size_t *sent) {
    ssize_t r;

    if (s->tls) return of_tls(tls_write(s->tls, out.p, out.n, sent, NULL));
    do r = write(s->out, out.p, out.n);
    while (r < 0 && errno == EINTR);
    *sent = r > 0 ? (size_t)r : 0;
    return r >= 0 ? IO_OK : errno == EAGAIN ? IO_WRITE : IO_EOF;
}

/* Compressed, `out` is sent when all of its packed bytes are: until then the engine keeps it. */
static enum io write_some(struct session *s, struct slice out, size_t *sent) {
    struct slice packed;
    enum io r = IO_OK;

    if (!s->deflate || s->wants_deflate) return write_wire(s, out, sent);
    if (s->packed == 0) s->packed = deflate_put(s->deflate, out);
    if (s->packed == 0) return IO_EOF;
    while (r == IO_OK && (packed = deflate_out(s->deflate)).n > 0) {
        size_t n = 0;

        r = write_wire(s, packed, &n);
        if (r == IO_OK) deflate_sent(s->deflate, n);
    }
    if (r != IO_OK) return r;
    *sent = s->packed;
    s->packed = 0;
    return IO_OK;
}

static void end_input(struct session *s, mono_t now) {
    if (s->is_eof) return;
    s->is_eof = true;
    s->left.n = 0;
    s->engine.ops->eof(s->engine.self, now);
}

/* Write all there is. IO_OK: nothing is left. */
static enum io flush(struct session *s, mono_t now) {
    for (;;) {
        struct slice out = s->engine.ops->out(s->engine.self);
        size_t sent = 0;
        enum io r;

        if (out.n == 0) return IO_OK;
        if (s->is_broken) {
            s->engine.ops->sent(s->engine.self, out.n, now);
            continue;
        }
        r = write_some(s, out, &sent);
        if (r == IO_EOF) {
            s->is_broken = true;
            end_input(s, now);
            continue;
        }
        if (r != IO_OK) return r;
        s->engine.ops->sent(s->engine.self, sent, now);
        return IO_OK; /* events may have come of it: an engine makes more output after `sent` */
    }
}

/* What was read already came behind the command: it is packed. */
static bool deflate_begin(struct session *s, mono_t now) {
    size_t room = 0;
    char *to = deflate_room(s->deflate, &room);

    if (!to || room < s->left.n) return false;
    memcpy(to, s->left.p, s->left.n);
    deflate_took(s->deflate, s->left.n);
    buf_reset(&s->left);
    s->wants_deflate = false;
    s->ops->deflate_up(s, now);
    return true;
}

/* The client's next words wait for the kernel to acknowledge its last of the handshake (Nagle), and
 * we have nothing to say on which that could ride: without this each STARTTLS takes 40 ms more. */
static void quick_ack(int fd) {
    int on = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
}

/* One step of a handshake. IO_OK: it is done, and the host knows. */
static enum io shake(struct session *s, mono_t now) {
    struct err e = {0};
    enum io r;

    /* Clear text behind STARTTLS was not read by the engine: nobody may take it for protected. */
    if (!s->is_shaking && s->left.n > 0) return IO_EOF;
    if (!s->tls) {
        if (tls_server_new(s->server->creds, TLS_LOOSE, s->in, &s->tls, &e) != OK) return IO_EOF;
        if (s->sasl.certificate) tls_ask_certificate(s->tls);
    }
    if (!s->is_shaking) {
        s->is_shaking = true;
        s->shake_deadline = now + SESSION_TLS_MS;
    }
    r = of_tls(tls_handshake(s->tls, &e));
    if (r == IO_EOF) {
        char text[ADDR_TEXT_MAX];

        log_event(s->server->log, e.code == ERR_CLOSED ? LEVEL_DEBUG : LEVEL_NOTE,
                  "TLS handshake failed", "service", slice_str(conf_service_name(s->service)),
                  "client", slice_str(addr_host(&s->peer, text)), "why", slice_str(e.msg), NULL);
        s->is_broken = true;
    }
    if (r != IO_OK) return r;
    quick_ack(s->in);
    s->wants_tls = s->is_shaking = false;
    if (s->is_implicit_tls) s->is_implicit_tls = false;
    else s->ops->tls_up(s, now);
    return IO_OK;
}

/* Offer bytes to the engine. True: some were taken, or the end was told. */
static enum io take_in(struct session *s, mono_t now, bool *moved) {
    size_t got = 0, took;
    char *room;
    enum io r;

    *moved = false;
    if (s->left.n > 0) {
        took = s->engine.ops->feed(s->engine.self, buf_slice(&s->left), now);
        buf_drop(&s->left, took);
        *moved = took > 0;
        if (*moved) return IO_OK;
    }
    if (s->is_eof || s->left.n == SESSION_READ) return IO_OK;
    room = buf_room(&s->left, SESSION_READ - s->left.n);
    if (!room) {
        s->is_broken = true;
        end_input(s, now);
        *moved = true;
        return IO_OK;
    }
    r = read_some(s, room, SESSION_READ - s->left.n, &got);
    if (r == IO_EOF) {
        end_input(s, now);
        *moved = true;
        return IO_OK;
    }
    if (r != IO_OK) return r;
    buf_grown(&s->left, got);
    buf_drop(&s->left, s->engine.ops->feed(s->engine.self, buf_slice(&s->left), now));
    *moved = true;
    return IO_OK;
}

/* Read the header of a proxy, and not a byte more. IO_OK: it is there. */
static enum io read_proxy(struct session *s) {
    struct proxy p;
    char text[ADDR_TEXT_MAX];

    for (;;) {
        size_t want = 0;
        enum step step = proxy_parse(buf_slice(&s->left), &p, &want);
        char *room;
        ssize_t r;

        if (step == STEP_BAD) {
            log_event(s->server->log, LEVEL_WARN, "refused", "client",
                      slice_str(addr_host(&s->peer, text)), "why",
                      S("no PROXY header where proxy-from demands one"), NULL);
            return IO_EOF;
        }
        if (step == STEP_DONE) break;
        room = buf_room(&s->left, want);
        if (!room) return IO_EOF;
        do r = read(s->in, room, want);
        while (r < 0 && errno == EINTR);
        if (r <= 0) return r < 0 && errno == EAGAIN ? IO_READ : IO_EOF;
        buf_grown(&s->left, (size_t)r);
    }
    buf_reset(&s->left);
    s->wants_proxy = false;
    if (p.has_addresses) {
        s->peer = p.client;
        s->local = p.local;
        s->is_proxied = true;
    }
    return IO_OK;
}

enum session_wish session_run(struct session *s, mono_t now) {
    if (s->wants_proxy) {
        enum io r = s->is_broken ? IO_EOF : read_proxy(s);

        if (r != IO_OK) return r == IO_READ ? WISH_READ : WISH_CLOSE;
        return WISH_ADMIT;
    }
    for (int i = 0; i < RUN_ROUNDS_MAX; i++) {
        bool moved;
        enum io r;

        if (!s->is_shaking) {
            s->ops->events(s, now);
            if (s->waits) return WISH_WAIT;
            if (s->engine.ops->out(s->engine.self).n > 0) {
                r = flush(s, now);
                if (r != IO_OK) return r == IO_READ ? WISH_READ : WISH_WRITE;
                continue;
            }
        }
        if (s->engine.ops->done(s->engine.self)) return WISH_CLOSE;
        if (s->wants_tls) {
            r = s->is_broken ? IO_EOF : shake(s, now);
            if (r == IO_EOF) return WISH_CLOSE;
            if (r != IO_OK) return r == IO_READ ? WISH_READ : WISH_WRITE;
            continue;
        }
        if (s->wants_deflate) {
            if (!deflate_begin(s, now)) return WISH_CLOSE;
            continue;
        }
        r = take_in(s, now, &moved);
        if (r != IO_OK) {
            if (s->left.n == 0) buf_release(&s->left); /* an idle session holds no buffer */
            return r == IO_READ ? WISH_READ : WISH_WRITE;
        }
        if (moved) continue;
        /* The engine neither takes nor gives nor waits: only a broken peer is left to see. */
        return s->is_eof ? WISH_CLOSE : WISH_READ;
    }
    return WISH_WRITE; /* let others run; a writable socket comes back at once */
}

mono_t session_deadline(const struct session *s) {
    if (s->waits) return MONO_NEVER;
    if (s->wants_proxy) return s->proxy_deadline;
    return s->is_shaking ? s->shake_deadline : s->engine.ops->deadline(s->engine.self);
}

void session_tick(struct session *s, mono_t now) {
    if (s->is_shaking || s->wants_proxy) {
        s->is_broken = true;
        return;
    }
    s->engine.ops->tick(s->engine.self, now);
}

/* --- waiting
 * ----------------------------------------------------------------------------------------- */

void session_start_tls(struct session *s, mono_t now) {
    s->wants_tls = s->is_shaking = s->is_implicit_tls = true;
    s->shake_deadline = now + SESSION_TLS_MS;
}

enum err_code session_start_deflate(struct session *s, struct err *e) {
    enum err_code code = deflate_new(&s->deflate, e);

    s->wants_deflate = code == OK;
    return code;
}

void session_rest(struct session *s) {
    if (s->ops->rest) s->ops->rest(s);
    deflate_rest(s->deflate);
}

struct blocking {
    pthread_mutex_t lock;
    pthread_cond_t resumed;
    bool is_resumed;
};

void session_wait(struct session *s) { s->waits = true; }

void session_resume(struct session *s) {
    struct blocking *b = s->blocking;

    if (!b) {
        loop_resume(s);
        return;
    }
    pthread_mutex_lock(&b->lock);
    b->is_resumed = true;
    pthread_cond_signal(&b->resumed);
    pthread_mutex_unlock(&b->lock);
}

void session_run_blocking(struct session *s) {
    struct blocking b = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
    enum session_wish wish;

    s->blocking = &b;
    fcntl(s->in, F_SETFL, fcntl(s->in, F_GETFL) | O_NONBLOCK);
    while ((wish = session_run(s, clock_mono())) != WISH_CLOSE) {
        struct pollfd p[2] = {{.fd = wish == WISH_WRITE ? s->out : s->in,
                               .events = wish == WISH_WRITE ? POLLOUT : POLLIN},
                              {.fd = s->watch, .events = POLLIN}};
        mono_t left = session_deadline(s);

        if (wish == WISH_WAIT) {
            pthread_mutex_lock(&b.lock);
            while (!b.is_resumed) pthread_cond_wait(&b.resumed, &b.lock);
            b.is_resumed = false;
            pthread_mutex_unlock(&b.lock);
            s->waits = false;
            continue;
        }
        if (left != MONO_NEVER) left -= clock_mono();
        if (left <= 0 || poll(p, 2, left > 60000 ? 60000 : (int)left) == 0)
            if (clock_mono() >= session_deadline(s)) session_tick(s, clock_mono());
    }
    fcntl(s->in, F_SETFL, fcntl(s->in, F_GETFL) & ~O_NONBLOCK);
    session_free(s);
}
