#include "serve/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "serve/server.h"
#include "sys/clock.h"
#include "sys/file.h"

enum {
    TRIM_SESSIONS = 16,
    ACCEPT_AT_ONCE = 64,
    SLOT_CHUNK = 256,
    HOSTS = 4096,
    PROBES = 64,
    EXHAUSTED_MS = 50
};
/* What an epoll event means: the low bits of its data; slot number and generation are above. */
enum event_kind { KIND_SOCKET, KIND_WATCH, KIND_LISTENER, KIND_READY, KIND_COUNT };

struct slot {
    pthread_mutex_t lock;    /* held by whoever runs the session */
    struct session *session; /* NULL: free */
    struct loop *loop;
    uint32_t number, generation;
    _Atomic mono_t deadline;
    _Atomic mono_t rest_at; /* when an idle session gives memory back; MONO_NEVER: it has */
    struct slot *next_free, *next_ready;
    uint32_t ready_generation;
    uint64_t host; /* where it counts in hosts[] */
    bool counts;
};

struct host_count {
    uint64_t host;
    unsigned count;
};

struct listener {
    int fd;
    enum conf_service service;
};

struct loop {
    struct server *server;
    int epoll, ready_fd, stop_fd, reserve;
    unsigned threads;
    struct listener listeners[CONF_LIST_MAX];
    size_t listener_count;
    pthread_mutex_t lock; /* guards what is below */
    struct slot **slots;
    size_t slot_count, slot_max;
    int fd_max; /* a connection that gets a higher descriptor is one too many */
    struct slot *free_slots;
    struct slot *ready, **ready_end;
    size_t session_count;
    struct host_count hosts[HOSTS];
    atomic_bool is_stopping, is_over;
};

static uint64_t pack(enum event_kind kind, uint32_t number, uint32_t generation) {
    return (uint64_t)generation << 32 | (uint64_t)number << 3 | kind;
}

enum err_code loop_new(struct server *server, unsigned threads, struct loop **out, struct err *e) {
    struct loop *l = calloc(1, sizeof *l);
    size_t files;
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = KIND_READY};

    if (!l) return err_set(e, ERR_MEMORY, "no memory for the server");
    l->server = server;
    l->threads = threads;
    l->ready_end = &l->ready;
    pthread_mutex_init(&l->lock, NULL);
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->ready_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC | EFD_SEMAPHORE);
    l->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    l->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
    files = fd_raise_limit(65536);
    /* The queue, the store and the deliveries need descriptors too. */
    l->slot_max = files > 1024 ? files - 512 : files / 2;
    /* A session may have five or more: what is left over is known by the number of the next one. */
    l->fd_max = (int)(files > 2048 ? files - 512 : files - files / 4);
    if (l->slot_max > server->conf->connection_limit) l->slot_max = server->conf->connection_limit;
    l->slots = calloc(l->slot_max, sizeof *l->slots);
    if (!l->slots || l->epoll < 0 || l->ready_fd < 0 || l->stop_fd < 0 ||
        epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->ready_fd, &ev) < 0) {
        enum err_code code = err_sys(e, "cannot set up the event loop");

        loop_free(l);
        return code;
    }
    *out = l;
    return OK;
}

void loop_free(struct loop *l) {
    if (!l) return;
    for (size_t i = 0; i < l->listener_count; i++) close(l->listeners[i].fd);
    for (size_t i = 0; i < l->slot_count; i++) {
        if (l->slots[i]->session) session_free(l->slots[i]->session);
        pthread_mutex_destroy(&l->slots[i]->lock);
        free(l->slots[i]);
    }
    free(l->slots);
    fd_close(&l->epoll);
    fd_close(&l->ready_fd);
    fd_close(&l->stop_fd);
    fd_close(&l->reserve);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

enum err_code loop_listen(struct loop *l, int fd, enum conf_service service, struct err *e) {
    struct epoll_event ev = {.events = EPOLLIN | EPOLLEXCLUSIVE};

    if (l->listener_count == CONF_LIST_MAX) {
        close(fd);
        return err_set(e, ERR_LIMIT, "more than %d listeners", CONF_LIST_MAX);
    }
    ev.data.u64 = pack(KIND_LISTENER, (uint32_t)l->listener_count, 0);
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &ev) < 0) {
        enum err_code code = err_sys(e, "cannot watch a listening socket");

        close(fd);
        return code;
    }
    l->listeners[l->listener_count++] = (struct listener){fd, service};
    return OK;
}

/* --- slots
 * ------------------------------------------------------------------------------------------- */

/* Connections from one host: an IPv4 address or an IPv6 /64. 0: loopback, which is not counted. */
static uint64_t host_of(const struct addr *a) {
    uint64_t h = 14695981039346656037u;
    struct slice net = addr_network(a);

    if (addr_is_loopback(a)) return 0;
    for (size_t i = 0; i < net.n; i++) h = (h ^ (unsigned char)net.p[i]) * 1099511628211u;
    return h ? h : 1;
}

/* Count a connection; false: there are too many of that host. A full table lets pass. With `lock`
 * held. */
static bool count_host(struct loop *l, uint64_t host, bool *counts) {
    struct host_count *mine = NULL, *empty = NULL;

    *counts = false;
    if (host == 0) return true;
    /* Its place may lie behind one that is free again by now: look at all of them. */
    for (size_t i = 0; i < PROBES && !mine; i++) {
        struct host_count *p = &l->hosts[(host + i) % HOSTS];

        if (p->count > 0 && p->host == host) mine = p;
        if (p->count == 0 && !empty) empty = p;
    }
    if (!mine) mine = empty;
    if (!mine) return true;
    if (mine->count >= l->server->conf->client_limit) return false;
    mine->host = host;
    mine->count++;
    *counts = true;
    return true;
}

static void uncount_host(struct loop *l, uint64_t host) {
    size_t at = host % HOSTS;

    for (size_t i = 0; i < PROBES; i++, at = (at + 1) % HOSTS) {
        if (l->hosts[at].host != host || l->hosts[at].count == 0) continue;
        l->hosts[at].count--;
        return;
    }
}

static struct slot *take_slot(struct loop *l) {
    struct slot *s = l->free_slots;

    if (s) {
        l->free_slots = s->next_free;
        return s;
    }
    if (l->slot_count == l->slot_max) return NULL;
    s = calloc(1, sizeof *s);
    if (!s) return NULL;
    pthread_mutex_init(&s->lock, NULL);
    s->loop = l;
    s->number = (uint32_t)l->slot_count;
    s->deadline = s->rest_at = MONO_NEVER;
    l->slots[l->slot_count++] = s;
    return s;
}

/* End a session. With the slot's lock held; it is given up. */
static void end_session(struct loop *l, struct slot *slot) {
    struct session *s = slot->session;

    slot->session = NULL;
    slot->generation++;
    slot->deadline = slot->rest_at = MONO_NEVER;
    pthread_mutex_unlock(&slot->lock);
    session_free(s);
    pthread_mutex_lock(&l->lock);
    if (slot->counts) uncount_host(l, slot->host);
    slot->counts = false;
    slot->next_free = l->free_slots;
    l->free_slots = slot;
    l->session_count--;
    pthread_mutex_unlock(&l->lock);
}

static void arm(struct loop *l, struct slot *slot, uint32_t events) {
    struct epoll_event ev = {.events = events | EPOLLONESHOT | EPOLLRDHUP,
                             .data.u64 = pack(KIND_SOCKET, slot->number, slot->generation)};

    epoll_ctl(l->epoll, EPOLL_CTL_MOD, slot->session->in, &ev);
}

/* Keep the host's own descriptor in the epoll set as the session wants it now. */
static void arm_watch(struct loop *l, struct slot *slot) {
    struct session *s = slot->session;
    struct epoll_event ev = {.events = EPOLLIN | EPOLLONESHOT,
                             .data.u64 = pack(KIND_WATCH, slot->number, slot->generation)};

    if (s->watch < 0) return; /* a closed descriptor left the set by itself */
    if (epoll_ctl(l->epoll, EPOLL_CTL_MOD, s->watch, &ev) < 0 && errno == ENOENT)
        epoll_ctl(l->epoll, EPOLL_CTL_ADD, s->watch, &ev);
}

static void say_refused(int fd, enum conf_service service) {
    static const char smtp[] = "421 4.3.2 too many connections, try later\r\n",
                      pop3[] = "-ERR [SYS/TEMP] too many connections\r\n",
                      imap[] = "* BYE [UNAVAILABLE] too many connections\r\n";
    const char *text = service <= SERVICE_LMTP ? smtp : service <= SERVICE_POP3S ? pop3 : imap;

    if (service != SERVICE_SUBMISSIONS && service != SERVICE_POP3S && service != SERVICE_IMAPS)
        if (write(fd, text, strlen(text)) < 0) {
        } /* it goes away in any case */
}

static void log_refused(const struct loop *l, const struct addr *peer, enum conf_service service) {
    char text[ADDR_TEXT_MAX];

    log_event(l->server->log, LEVEL_WARN, "refused", "service",
              slice_str(conf_service_name(service)), "client", slice_str(addr_host(peer, text)),
              "why", S("too many connections"), NULL);
}

/* The client behind a proxy is known now: it counts like one that came by itself. */
static bool admit(struct loop *l, struct slot *slot) {
    const struct session *s = slot->session;
    bool ok;

    pthread_mutex_lock(&l->lock);
    slot->host = host_of(&s->peer);
    ok = count_host(l, slot->host, &slot->counts);
    pthread_mutex_unlock(&l->lock);
    if (ok) return true;
    log_refused(l, &s->peer, s->service);
    say_refused(s->in, s->service);
    return false;
}

/* Run the session of a slot whose lock is held, and park it. Gives the lock up. */
static void run_slot(struct loop *l, struct slot *slot) {
    struct session *s = slot->session;
    enum session_wish wish = session_run(s, clock_mono());

    if (wish == WISH_ADMIT) wish = admit(l, slot) ? session_run(s, clock_mono()) : WISH_CLOSE;
    if (wish == WISH_CLOSE) {
        end_session(l, slot);
        return;
    }
    slot->deadline = session_deadline(s);
    slot->rest_at = wish == WISH_READ && s->ops->rest ? clock_mono() + LOOP_REST_MS : MONO_NEVER;
    if (wish == WISH_READ) arm(l, slot, EPOLLIN);
    if (wish == WISH_WRITE) arm(l, slot, EPOLLOUT);
    if (wish != WISH_WAIT) arm_watch(l, slot);
    pthread_mutex_unlock(&slot->lock);
}

/* The slot of an event with its lock held, or NULL when the session it was for is gone. */
static struct slot *enter(struct loop *l, uint64_t data) {
    uint32_t number = (uint32_t)data >> 3, generation = (uint32_t)(data >> 32);
    struct slot *slot;

    pthread_mutex_lock(&l->lock);
    slot = number < l->slot_count ? l->slots[number] : NULL;
    pthread_mutex_unlock(&l->lock);
    if (!slot) return NULL;
    pthread_mutex_lock(&slot->lock);
    if (slot->session && slot->generation == generation) return slot;
    pthread_mutex_unlock(&slot->lock);
    return NULL;
}

void loop_resume(struct session *s) {
    struct slot *slot = s->slot;
    struct loop *l = slot->loop;
    uint64_t one = 1;

    pthread_mutex_lock(&l->lock);
    slot->next_ready = NULL;
    *l->ready_end = slot;
    l->ready_end = &slot->next_ready;
    pthread_mutex_unlock(&l->lock);
    if (write(l->ready_fd, &one, sizeof one) < 0) {
    } /* full only after 2^64 */
}

static void run_ready(struct loop *l) {
    struct slot *slot;
    uint64_t one;

    if (read(l->ready_fd, &one, sizeof one) < 0) return;
    pthread_mutex_lock(&l->lock);
    slot = l->ready;
    if (slot) l->ready = slot->next_ready;
    if (!l->ready) l->ready_end = &l->ready;
    pthread_mutex_unlock(&l->lock);
    if (!slot) return;
    /* A waiting session is never freed, so the slot still has it. */
    pthread_mutex_lock(&slot->lock);
    slot->session->waits = false;
    run_slot(l, slot);
}

/* --- new connections
 * ----------------------------------------------------------------------------------- */

static void start_session(struct loop *l, int fd, const struct addr *peer,
                          enum conf_service service) {
    struct epoll_event ev = {.events = EPOLLONESHOT};
    bool is_proxy = server_in_nets(&l->server->conf->proxy_from, peer);
    uint64_t host = is_proxy ? 0 : host_of(peer);
    struct session *s = NULL;
    struct slot *slot = NULL;
    struct err e;
    bool counts = false, ok;
    int on = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    pthread_mutex_lock(&l->lock);
    ok = fd <= l->fd_max && count_host(l, host, &counts);
    if (ok) slot = take_slot(l);
    if (ok && !slot && counts) uncount_host(l, host);
    if (slot) l->session_count++;
    pthread_mutex_unlock(&l->lock);
    if (!slot) {
        log_refused(l, peer, service);
        say_refused(fd, service);
        close(fd);
        return;
    }
    pthread_mutex_lock(&slot->lock);
    slot->host = host;
    slot->counts = counts;
    s = session_new(l->server, service, fd, fd);
    if (s) {
        s->slot = slot;
        s->peer = *peer;
        s->wants_proxy = is_proxy;
        s->proxy_deadline = clock_mono() + SESSION_PROXY_MS;
        s->local.len = sizeof s->local.u;
        getsockname(fd, &s->local.u.sa, &s->local.len);
        slot->session = s;
        ev.data.u64 = pack(KIND_SOCKET, slot->number, slot->generation);
        ok = server_host(s, clock_mono(), &e) == OK &&
             epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &ev) == 0;
        if (ok) run_slot(l, slot);
        else end_session(l, slot);
        return;
    }
    close(fd);
    slot->session = NULL;
    pthread_mutex_unlock(&slot->lock);
    pthread_mutex_lock(&l->lock);
    if (counts) uncount_host(l, host);
    slot->next_free = l->free_slots;
    l->free_slots = slot;
    l->session_count--;
    pthread_mutex_unlock(&l->lock);
}

static void accept_some(struct loop *l, const struct listener *from) {
    for (int i = 0; i < ACCEPT_AT_ONCE && !l->is_stopping; i++) {
        struct addr peer = {.len = sizeof peer.u};
        int fd = accept4(from->fd, &peer.u.sa, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            start_session(l, fd, &peer, from->service);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE) {
            /* Take the connection with the descriptor kept for this, to say why it ends. */
            pthread_mutex_lock(&l->lock);
            fd_close(&l->reserve);
            fd = accept4(from->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (fd >= 0) {
                say_refused(fd, from->service);
                close(fd);
            }
            l->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
            pthread_mutex_unlock(&l->lock);
            if (fd >= 0) continue;
            /* Somebody else took the descriptor. The socket stays readable, so do not spin. */
            poll(NULL, 0, EXHAUSTED_MS);
            return;
        }
        if (errno == EINTR || errno == ECONNABORTED) continue;
        return;
    }
}

/* --- threads
 * ------------------------------------------------------------------------------------------- */

static void handle(struct loop *l, uint64_t data) {
    struct slot *slot;

    switch ((enum event_kind)(data & 7)) {
    case KIND_LISTENER: accept_some(l, &l->listeners[(uint32_t)data >> 3]); break;
    case KIND_READY: run_ready(l); break;
    case KIND_SOCKET:
    case KIND_WATCH:
        slot = enter(l, data);
        if (!slot) break;
        /* Someone waits for an answer: the socket can wait too. It is armed again after the answer.
         */
        if (slot->session->waits) pthread_mutex_unlock(&slot->lock);
        else run_slot(l, slot);
        break;
    case KIND_COUNT: break;
    }
}

static void *work(void *p) {
    struct loop *l = p;

    while (!l->is_over) {
        struct epoll_event ev;

        if (epoll_wait(l->epoll, &ev, 1, -1) == 1) handle(l, ev.data.u64);
    }
    return NULL;
}

/* A session that says nothing is woken by nobody; it only gets smaller. */
static bool rest(struct slot *slot, mono_t now) {
    bool rested = false;

    pthread_mutex_lock(&slot->lock);
    if (slot->session && !slot->session->waits && slot->rest_at <= now) {
        session_rest(slot->session);
        slot->rest_at = MONO_NEVER;
        rested = true;
    }
    pthread_mutex_unlock(&slot->lock);
    return rested;
}

/* Call the sessions whose time has come. `stopping`: tell every one to end; `cut`: end those that
 * are left. */
static size_t sweep(struct loop *l, mono_t now, bool stopping, bool cut) {
    size_t count, left = 0, rested = 0;

    pthread_mutex_lock(&l->lock);
    count = l->slot_count;
    pthread_mutex_unlock(&l->lock);
    for (size_t i = 0; i < count; i++) {
        struct slot *slot;

        pthread_mutex_lock(&l->lock);
        slot = l->slots[i];
        pthread_mutex_unlock(&l->lock);
        if (!stopping && slot->deadline > now) {
            if (slot->rest_at <= now) rested += rest(slot, now);
            continue;
        }
        pthread_mutex_lock(&slot->lock);
        if (!slot->session) {
            pthread_mutex_unlock(&slot->lock);
            continue;
        }
        left++;
        if (slot->session->waits) {
            pthread_mutex_unlock(&slot->lock);
        } else if (cut) {
            end_session(l, slot);
        } else {
            if (stopping) slot->session->ops->shutdown(slot->session, now);
            else if (session_deadline(slot->session) <= now) session_tick(slot->session, now);
            run_slot(l, slot);
        }
    }
    /* What they gave back lies between what they kept: the allocator does not look there by itself.
     */
    if (rested >= TRIM_SESSIONS) malloc_trim(0);
    return left;
}

void loop_run(struct loop *l) {
    pthread_t *threads = calloc(l->threads, sizeof *threads);
    unsigned started = 0;
    uint64_t wakes;
    mono_t until;

    while (threads && started < l->threads && pthread_create(&threads[started], NULL, work, l) == 0)
        started++;
    while (started > 0 && !l->is_stopping) {
        struct pollfd p = {.fd = l->stop_fd, .events = POLLIN};

        poll(&p, 1, 1000);
        sweep(l, clock_mono(), false, false);
    }
    for (size_t i = 0; i < l->listener_count; i++)
        epoll_ctl(l->epoll, EPOLL_CTL_DEL, l->listeners[i].fd, NULL);
    if (l->server->passwords) lane_hurry(l->server->passwords);
    until = clock_mono() + LOOP_DRAIN_MS;
    sweep(l, clock_mono(), true, false);
    for (;;) {
        size_t left;

        pthread_mutex_lock(&l->lock);
        left = l->session_count;
        pthread_mutex_unlock(&l->lock);
        if (left == 0) break;
        if (clock_mono() > until) sweep(l, clock_mono(), true, true);
        poll(NULL, 0, 20);
    }
    l->is_over = true;
    wakes = started; /* each worker takes one */
    if (write(l->ready_fd, &wakes, sizeof wakes) < 0) {
    }
    for (unsigned i = 0; i < started; i++) pthread_join(threads[i], NULL);
    free(threads);
}

void loop_stop(struct loop *l) {
    uint64_t one = 1;

    l->is_stopping = true;
    if (write(l->stop_fd, &one, sizeof one) < 0) {
    } /* it is readable already */
}
