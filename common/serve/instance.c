#include "serve/instance.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "deliver/drop.h"
#include "imap/caps.h"
#include "net/dial.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/lock.h"
#include "sys/notify.h"

enum {
    PASSWORDS_WAITING = 256,
    CERT_WAIT_MS = 30 * 1000,
    LEASE_EVERY_MS = 30 * 1000,
    OBEY_EVERY_MS = 5000,
    AGAIN_MS = 50,
    AGAIN_MAX = 20
};

static bool is_named(const char *const *names, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0) return true;
    return false;
}

static enum err_code open_creds(struct instance *i, const struct conf_pair *pairs, size_t n,
                                struct err *e) {
    enum err_code code = tls_creds_server(pairs, n, &i->server.creds, e);

    if (code == OK && i->conf->tls_client_ca)
        code = tls_creds_clients(i->server.creds, i->conf->tls_client_ca, e);
    return code;
}

static enum err_code open_tls(struct instance *i, bool *made, struct err *e) {
    struct conf *c = i->conf;
    struct conf_pair own = {conf_path(c, "tls/cert.pem"), conf_path(c, "tls/key.pem")};
    const char *names[2 * CONF_LIST_MAX + 2];
    size_t n = 0;
    enum err_code code = OK;

    *made = false;
    if (c->tls_pairs) return open_creds(i, c->tls, c->tls_pairs, e);
    if (!own.cert || !own.key) return err_set(e, ERR_MEMORY, "no memory for settings");
    if (access(own.key, F_OK) < 0 || access(own.cert, F_OK) < 0) {
        int fd = -1;

        names[n++] = c->hostname;
        for (size_t k = 0; k < c->domain.n; k++)
            if (strcmp(c->domain.v[k], c->hostname) != 0) names[n++] = c->domain.v[k];
        /* Who connects to an address can be given this certificate to trust. */
        for (size_t k = 0; k < c->listens; k++) {
            struct addr a;

            if (addr_parse(c->listen[k].host, 0, &a) && !is_named(names, n, c->listen[k].host))
                names[n++] = c->listen[k].host;
        }
        code = file_mkdirs(conf_path(c, "tls"), 0700, e);
        /* Several may start for the first time at once: one makes it, the others wait. */
        if (code == OK) {
            fd = open(conf_path(c, "tls/lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
            code = fd < 0 ? err_sys(e, "cannot open tls/lock")
                          : lock_wait(fd, 0, true, CERT_WAIT_MS, "tls/lock", e);
        }
        if (code == OK && (access(own.key, F_OK) < 0 || access(own.cert, F_OK) < 0)) {
            code = tls_make_self_signed(names, n, own.cert, own.key, e);
            *made = code == OK;
        }
        fd_close(&fd);
    }
    return code != OK ? code : open_creds(i, &own, 1, e);
}

static enum err_code check_hidden(const struct conf *c, struct err *e) {
    for (size_t k = 0; k < c->imap_hide.n; k++)
        if (!imap_capability_rfc(slice_str(c->imap_hide.v[k])))
            return err_set(e, ERR_CONFIG, "imap-hide: \"%s\" is no IMAP capability known here",
                           c->imap_hide.v[k]);
    return OK;
}

enum err_code instance_open(struct conf *c, const struct log *log, bool with_tls,
                            struct instance *i, bool *made_cert, struct err *e) {
    enum err_code code;

    *i = (struct instance){.conf = c, .log = log};
    *made_cert = false;
    code = check_hidden(c, e);
    if (code == OK) code = file_mkdirs(c->data, 0700, e);
    if (code == OK) code = directory_open(c, &i->directory, e);
    if (code == OK && with_tls) code = open_tls(i, made_cert, e);
    if (code == OK) code = queue_open(conf_path(c, "queue"), log, &i->server.queue, e);
    if (code == OK) {
        struct err why = {0};
        size_t n;

        if (aliases_check(i->directory.aliases, &n, &why) != OK)
            log_event(log, LEVEL_ERROR, "mail for this alias waits", "why", slice_str(why.msg),
                      NULL);
    }
    i->server.conf = c;
    i->server.log = log;
    i->server.directory = &i->directory;
    if (code != OK) instance_close(i);
    return code;
}

void instance_close(struct instance *i) {
    if (i->has_courier) courier_close(&i->courier);
    lane_free(i->server.passwords);
    gate_free(i->server.gate);
    queue_close(i->server.queue);
    tls_creds_unref(i->server.creds);
    directory_close(&i->directory);
    *i = (struct instance){0};
}

static enum err_code drop_to(const char *name, const char *data, struct err *e) {
    struct passwd *pw = getpwnam(name);

    (void)data;
    if (!pw) return err_set(e, ERR_CONFIG, "there is no user \"%s\"", name);
    if (geteuid() == pw->pw_uid) return OK;
    if (initgroups(name, pw->pw_gid) < 0 || setgid(pw->pw_gid) < 0 || setuid(pw->pw_uid) < 0)
        return err_sys(e, "cannot become user %s", name);
    return OK;
}

/* --- helpers beside the loop
 * ---------------------------------------------------------------------------- */

struct keeper {
    struct instance *i;
    struct loop *loop;
    bool works; /* on the queue */
    _Atomic bool is_over;
};

/* What users who may not write the queue left. */
static void take_drop(struct keeper *k) {
    struct err e = {0};
    unsigned taken;

    do {
        if (drop_collect(k->i->conf, k->i->server.queue, k->i->log, &taken, &e) == OK) continue;
        log_event(k->i->log, LEVEL_ERROR, "cannot take mail from the drop directory", "why",
                  slice_str(e.msg), NULL);
        return;
    } while (taken == DROP_BATCH && !k->is_over);
}

/* Finds what others put into the queue, and does what they ask for. */
static void *keep_queue(void *p) {
    struct keeper *k = p;
    int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    mono_t next = 0, obey = 0;
    unsigned again = 0;
    bool waits = false;

    if (watch >= 0) {
        inotify_add_watch(watch, queue_dir(k->i->server.queue), IN_MOVED_TO | IN_CREATE);
        inotify_add_watch(watch, drop_dir(k->i->conf), IN_MOVED_TO);
    }
    while (!k->is_over) {
        struct pollfd f = {.fd = watch, .events = POLLIN};
        bool woken = poll(&f, 1, again || waits ? AGAIN_MS : 500) > 0;
        unsigned held = 0;
        char events[4096];
        struct err e = {0};

        while (watch >= 0 && read(watch, events, sizeof events) > 0) {
        }
        /* Requests and segments announce themselves; now and then it is looked all the same. */
        if (woken || again || waits || clock_mono() >= obey) {
            waits = queue_obey(k->i->server.queue);
            obey = clock_mono() + OBEY_EVERY_MS;
        }
        if (!woken && !again && clock_mono() < next) continue;
        next = clock_mono() + LEASE_EVERY_MS;
        take_drop(k);
        /* A segment is seen when it is made, while sendmail still holds it: look again soon. */
        again = woken ? AGAIN_MAX : again ? again - 1 : 0;
        if (queue_lease(k->i->server.queue, &held, &e) == OK) again = held ? again : 0;
        else
            log_event(k->i->log, LEVEL_ERROR, "cannot read the queue", "why", slice_str(e.msg),
                      NULL);
    }
    fd_close(&watch);
    return NULL;
}

static void *wait_signals(void *p) {
    struct keeper *k = p;
    sigset_t set;
    int signal_number, stops = 0;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR2); /* from instance_run: the end */
    while (sigwait(&set, &signal_number) == 0 && !k->is_over) {
        if (signal_number == SIGHUP) {
            log_event(k->i->log, LEVEL_NOTE,
                      "SIGHUP: accounts and aliases are read when they change; other settings need "
                      "a restart",
                      NULL);
            continue;
        }
        if (signal_number == SIGUSR2) continue;
        if (stops++ > 0) _exit(0); /* the queue needs no good-bye */
        log_event(k->i->log, LEVEL_NOTE, "stopping", NULL);
        notify_state("STOPPING=1");
        loop_stop(k->loop);
    }
    return NULL;
}

static enum err_code listen_all(struct instance *i, struct loop *loop, struct err *e) {
    for (size_t k = 0; k < i->conf->listens; k++) {
        const struct conf_listen *want = &i->conf->listen[k];
        struct addr at;
        char text[ADDR_TEXT_MAX];
        int fd = -1;
        enum err_code code;

        if ((want->service == SERVICE_SUBMISSIONS || want->service == SERVICE_POP3S ||
             want->service == SERVICE_IMAPS) &&
            !i->server.creds)
            return err_set(e, ERR_CONFIG, "%s needs a certificate",
                           conf_service_name(want->service));
        code = dial_listen(want->host, want->port, &fd, e);
        if (code == OK) {
            bool known = dial_local(fd, &at);

            code = loop_listen(loop, fd, want->service, e);
            if (code == OK && known)
                log_event(i->log, LEVEL_NOTE, "listening", "service",
                          slice_str(conf_service_name(want->service)), "address",
                          slice_str(addr_text(&at, text)), NULL);
            /* What port 0 became is what the caller prints. */
            if (known) i->conf->listen[k].port = addr_port(&at);
        }
        if (code != OK) return code;
    }
    return OK;
}

enum err_code instance_run(struct instance *i, unsigned jobs,
                           void (*ready)(struct instance *, void *), void *user, struct err *e) {
    struct keeper k = {.i = i, .works = jobs > 0};
    struct runner_threads *threads = NULL;
    struct loop *loop = NULL;
    pthread_t queue_thread, signal_thread;
    bool has_queue = false, has_signals = false;
    sigset_t set;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    enum err_code code;

    if (cpus < 1) cpus = 1;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    code = loop_new(&i->server, cpus < 2 ? 4 : (unsigned)cpus * 2, &loop, e);
    if (code == OK) code = listen_all(i, loop, e);
    if (code == OK) code = drop_prepare(i->conf, e);
    if (code == OK && i->conf->user) code = drop_to(i->conf->user, i->conf->data, e);
    if (code == OK) i->server.passwords = lane_new((unsigned)cpus, PASSWORDS_WAITING);
    if (code == OK && !i->server.passwords) code = err_set(e, ERR_MEMORY, "cannot start threads");
    if (code == OK && !(i->server.gate = gate_new(i->conf->auth_failure_delay * 1000)))
        code = err_set(e, ERR_MEMORY, "no memory for the server");
    if (code == OK && jobs > 0) {
        unsigned held = 0;
        char n[24];

        code = courier_open(i->conf, i->log, &i->courier, e);
        i->has_courier = code == OK;
        if (code == OK) code = queue_lease(i->server.queue, &held, e);
        if (held)
            log_event(i->log, LEVEL_NOTE, "another process works on part of the queue", "segments",
                      log_num(n, held), NULL);
        i->runner.conf = i->conf;
        i->runner.log = i->log;
        i->runner.queue = i->server.queue;
        i->runner.directory = &i->directory;
        i->runner.courier = &i->courier;
        if (code == OK) code = runner_start(&i->runner, jobs, &threads, e);
    }
    k.loop = loop;
    if (code == OK) {
        has_signals = pthread_create(&signal_thread, NULL, wait_signals, &k) == 0;
        has_queue = k.works && pthread_create(&queue_thread, NULL, keep_queue, &k) == 0;
        if (!has_signals || (k.works && !has_queue))
            code = err_set(e, ERR_MEMORY, "cannot start threads");
    }
    if (code == OK) {
        if (ready) ready(i, user);
        log_event(i->log, LEVEL_NOTE, "ready", "hostname", slice_str(i->conf->hostname), "data",
                  slice_str(i->conf->data), NULL);
        notify_state("READY=1");
        loop_run(loop);
    }
    k.is_over = true;
    if (threads) runner_stop(&i->runner, threads);
    if (has_queue) pthread_join(queue_thread, NULL);
    if (has_signals) {
        pthread_kill(signal_thread, SIGUSR2);
        pthread_join(signal_thread, NULL);
    }
    loop_free(loop);
    if (code == OK) log_event(i->log, LEVEL_NOTE, "stopped", NULL);
    return code;
}

enum err_code instance_stdio(struct instance *i, enum conf_service service, const char *user,
                             struct err *e) {
    struct session *s;
    enum err_code code;

    i->server.stdio_user = slice_str(user);
    s = session_new(&i->server, service, STDIN_FILENO, STDOUT_FILENO);
    if (!s) return err_set(e, ERR_MEMORY, "no memory for a session");
    code = server_host(s, clock_mono(), e);
    if (code == OK) session_run_blocking(s);
    else session_free(s);
    return code;
}
