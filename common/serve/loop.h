/* loop: the runtime of `serve`. Every worker waits on one epoll descriptor with EPOLLONESHOT, takes
 * one ready session, runs it until it would block, and parks it again. A slot outlives its session,
 * so that an event that comes late finds a number that does not fit and not freed memory.
 *
 * `connection-limit` bounds the sessions, and never are there more than the descriptors that are
 * left allow; `client-limit` those of one address (IPv6: one /64) other than loopback. Behind a
 * proxy the address that its PROXY header names counts. */
#ifndef SERVE_LOOP_H
#define SERVE_LOOP_H

#include "serve/session.h"

enum {
    LOOP_REST_MS = 2000,      /* an idle session gives memory back after this long */
    LOOP_DRAIN_MS = 10 * 1000 /* for sessions to end after loop_stop */
};

struct loop;

/* `threads` workers; they start with loop_run. */
enum err_code loop_new(struct server *server, unsigned threads, struct loop **out, struct err *e);
/* Accept on `fd`, which is taken over, for `service`. Before loop_run. */
enum err_code loop_listen(struct loop *l, int fd, enum conf_service service, struct err *e);
/* Run until loop_stop; then sessions are told, and after LOOP_DRAIN_MS cut off. */
void loop_run(struct loop *l);
/* From any thread, and from a signal handler's thread. */
void loop_stop(struct loop *l);
void loop_free(struct loop *l);
/* For session_resume. */
void loop_resume(struct session *s);

#endif
