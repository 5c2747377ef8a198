/* pump: the blocking driver of one engine (base/engine.h) over a socket with TLS, or over
 * descriptors 0 and 1. For one-shot applets, `sendmail -bs`, `serve --stdio`, and delivery threads.
 *
 *     struct pump p;
 *     pump_init(&p, smtp_client_engine(c), fd, fd);
 *     for (;;) {
 *         while (smtp_client_next(c, &ev)) answer(ev);
 *         if (!pump_step(&p)) break;
 *     }
 *     pump_release(&p);
 *
 * The engine's deadline bounds every wait. Not for use by two threads at once. */
#ifndef NET_PUMP_H
#define NET_PUMP_H

#include "base/buf.h"
#include "base/engine.h"
#include "net/tls.h"

enum { PUMP_READ = 16 * 1024 };

/* A stream that somebody else opened (net/dial_url): non-blocking, in clear for us. The functions
 * are as tls_read and tls_write, with `fd` to wait on after a WANT; bytes that the stream holds
 * inside are given before it says WANT_READ. */
struct pump_io {
    void *self; /* NULL: none */
    int fd;
    enum tls_io (*read)(void *self, char *p, size_t n, size_t *got, struct err *e);
    enum tls_io (*write)(void *self, const char *p, size_t n, size_t *sent, struct err *e);
};

struct pump {
    struct engine engine;
    int in, out;       /* borrowed */
    struct tls *tls;   /* owned, or NULL */
    struct pump_io io; /* instead of both, when its self is set; borrowed */
    struct buf left;   /* bytes read that the engine did not take yet */
    bool is_eof;       /* the peer ended, and the engine was told */
    bool is_broken;    /* writing failed: what is in `out` is thrown away */
    struct err err;    /* why, when is_broken */
    mono_t cap;        /* when all must be over, whatever the engine says; 0: no cap */
    /* The same, set by another thread while this one waits; NULL or 0: no cap. Borrowed. */
    const _Atomic mono_t *give_up;
    /* A copy of all bytes in clear, when set; `is_out` says from us. */
    void (*trace)(void *user, bool is_out, struct slice bytes);
    void *trace_user;
};

void pump_init(struct pump *p, struct engine engine, int in, int out);
/* Over a stream of another kind. */
void pump_init_io(struct pump *p, struct engine engine, struct pump_io io);
/* Says close_notify, frees; closes no descriptor. */
void pump_release(struct pump *p);
/* Move what can be moved, then return so that events can be pulled: writes all output, or offers
 * what the engine did not take, or waits for input until the deadline. False: the dialogue is over.
 */
bool pump_step(struct pump *p);
/* The engine asked for TLS: write what is left, shake hands until `deadline`. On success the caller
 * tells the engine. `t` is taken over in any case. */
enum err_code pump_tls(struct pump *p, struct tls *t, mono_t deadline, struct err *e);

#endif
