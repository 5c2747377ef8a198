/* instance: a whole server: data directory, keys, listeners, queue runner, event loop. */
#ifndef SERVE_INSTANCE_H
#define SERVE_INSTANCE_H

#include "deliver/runner.h"
#include "serve/loop.h"
#include "serve/server.h"

enum { INSTANCE_JOBS = 100 };

struct instance {
    struct conf *conf;
    const struct log *log;
    struct directory directory;
    struct server server;
    struct courier courier;
    struct runner runner;
    bool has_courier;
};

/* Open data directory, accounts, queue, and certificate (a self-signed pair in DATA/tls when none
 * is set; `*made_cert` says that it was made now). ERR_CONFIG, ERR_IO ... */
enum err_code instance_open(struct conf *c, const struct log *log, bool with_tls,
                            struct instance *i, bool *made_cert, struct err *e);
void instance_close(struct instance *i);
/* Bind the listeners of the settings, drop to the user of the settings, call `ready`, and run until
 * SIGTERM or SIGINT. `jobs`: threads for outgoing mail; 0: none, mail is kept (hold). The caller
 * must not have started threads. */
enum err_code instance_run(struct instance *i, unsigned jobs,
                           void (*ready)(struct instance *, void *), void *user, struct err *e);
/* One session on descriptors 0 and 1. `user`: already logged in (IMAP), or NULL. */
enum err_code instance_stdio(struct instance *i, enum conf_service service, const char *user,
                             struct err *e);

#endif
