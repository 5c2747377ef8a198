/* session: an engine, a transport and a host that answers the engine's events. The same session
 * runs in the event loop (serve/loop) and, blocking, on descriptors 0 and 1 (session_run_blocking).
 *
 * A session is run by one thread at a time, under its slot's lock; so a host needs no lock for its
 * own state. A host that must wait for an answer from outside (a commit, a password check) calls
 * session_wait, returns from `events`, and whoever has the answer calls session_resume, from any
 * thread, once; then `events` is called again. */
#ifndef SERVE_SESSION_H
#define SERVE_SESSION_H

#include "base/buf.h"
#include "base/engine.h"
#include "conf/conf.h"
#include "net/addr.h"
#include "net/deflate.h"
#include "net/tls.h"
#include "sasl/server.h"
#include "sys/log.h"

enum { SESSION_READ = 16 * 1024, SESSION_TLS_MS = 60 * 1000, SESSION_PROXY_MS = 10 * 1000 };

struct session;
struct server;
struct slot;

struct session_ops {
    /* Pull the engine's events and answer them, until there is none or the host waits. */
    void (*events)(struct session *s, mono_t now);
    /* The handshake is done. */
    void (*tls_up)(struct session *s, mono_t now);
    /* From now on all is compressed. NULL where session_start_deflate is not called. */
    void (*deflate_up)(struct session *s, mono_t now);
    /* The server stops: say so and end soon. */
    void (*shutdown)(struct session *s, mono_t now);
    /* Nothing was said for LOOP_REST_MS: give back memory that only a busy session needs. May be
     * NULL. */
    void (*rest)(struct session *s);
    /* Free the engine and all of the host. Never called while the session waits. */
    void (*free)(struct session *s);
};

struct session {
    const struct session_ops *ops;
    struct engine engine;
    void *host;            /* the host's own */
    struct server *server; /* shared things: settings, queue, directory (serve/server.h) */
    enum conf_service service;
    struct addr peer, local; /* len 0: standard input */
    int in, out;             /* the same descriptor for a socket */
    struct tls *tls;
    struct deflate *deflate; /* NULL: bytes are as they are */
    struct sasl_env sasl; /* what a login can be proved by (server_sasl) */
    bool wants_tls;       /* set by the host: shake hands once all output is written */
    bool waits;           /* between session_wait and session_resume */
    int watch; /* a descriptor of the host that wakes the session when readable (IMAP IDLE), or -1
                */
    bool wants_proxy; /* a PROXY header comes first (serve/proxy); then `peer` and `local` are what
                       * it says */
    bool is_proxied;  /* they are */
    mono_t proxy_deadline;
    /* private to the runner */
    struct buf left;
    size_t packed; /* of the engine's output, what lies in `deflate` */
    bool wants_deflate;
    bool is_eof, is_shaking, is_implicit_tls, is_broken;
    mono_t shake_deadline;
    int watch_armed;
    struct slot *slot;
    void *blocking; /* session_run_blocking's */
};

/* A new session that takes `fd` (a non-blocking socket). The host sets engine, ops and host. NULL:
 * no memory. */
struct session *session_new(struct server *server, enum conf_service service, int in, int out);
/* Frees all, closes a socket (not 0 and 1). */
void session_free(struct session *s);
/* Implicit TLS: shake hands before anything is said. The host calls it when it is made; tls_up is
 * not called. */
void session_start_tls(struct session *s, mono_t now);
/* Compress both ways (RFC 4978) once all output is written; deflate_up is called then. The engine
 * takes and gives nothing between. ERR_LIBRARY, ERR_MEMORY: it stays as it is. */
enum err_code session_start_deflate(struct session *s, struct err *e);
/* Give back memory that only a busy session needs. For the runner. */
void session_rest(struct session *s);
/* The host goes to wait. Only from within `events`. */
void session_wait(struct session *s);
/* The answer is there. From any thread. */
void session_resume(struct session *s);

/* WISH_ADMIT: a PROXY header told who the peer is: count it, and run on. */
enum session_wish { WISH_READ, WISH_WRITE, WISH_WAIT, WISH_CLOSE, WISH_ADMIT };
/* Run until it would block. What it wants next. For the runners. */
enum session_wish session_run(struct session *s, mono_t now);
/* When session_tick must be called; MONO_NEVER. */
mono_t session_deadline(const struct session *s);
void session_tick(struct session *s, mono_t now);

/* Run to the end on its descriptors. Frees the session. */
void session_run_blocking(struct session *s);

#endif
