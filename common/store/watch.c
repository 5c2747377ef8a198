#include "store/watch.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "sys/file.h"

enum {
    BUCKETS = 4096,
    MASK = IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF
};

/* One directory that one watch looks at. */
struct node {
    struct node *next;
    struct watch *watch;
    int wd; /* -1: none */
};

struct watch {
    int fd;
    size_t n;
    struct node nodes[];
};

static struct {
    pthread_mutex_t lock;
    int fd; /* inotify; 0: not begun, -1: there is none */
    struct node *buckets[BUCKETS];
} all = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void signal_node(const struct node *n) {
    uint64_t one = 1;

    /* It can only fail when it is readable already. */
    if (write(n->watch->fd, &one, sizeof one) < 0) return;
}

static void tell(int wd) {
    for (const struct node *n = all.buckets[(unsigned)wd % BUCKETS]; n; n = n->next)
        if (n->wd == wd) signal_node(n);
}

static void *watch_loop(void *p) {
    char events[64 * 1024] __attribute__((aligned(8)));

    (void)p;
    for (;;) {
        ssize_t got = read(all.fd, events, sizeof events);

        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return NULL;
        pthread_mutex_lock(&all.lock);
        for (char *at = events; at < events + got;) {
            const struct inotify_event *ev = (const void *)at;

            if (ev->mask & IN_Q_OVERFLOW) /* whatever it was */
                for (size_t i = 0; i < BUCKETS; i++)
                    for (const struct node *n = all.buckets[i]; n; n = n->next) signal_node(n);
            else tell(ev->wd);
            at += sizeof *ev + ev->len;
        }
        pthread_mutex_unlock(&all.lock);
        poll(NULL, 0, WATCH_PAUSE_MS); /* what comes in a row wakes once */
    }
}

/* With the lock held. */
static bool begin(void) {
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t none, was;

    if (all.fd != 0) return all.fd > 0;
    all.fd = inotify_init1(IN_CLOEXEC);
    if (all.fd < 0) return false;
    sigfillset(&none);
    pthread_sigmask(SIG_SETMASK, &none, &was);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256 * 1024);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &attr, watch_loop, NULL) != 0) {
        close(all.fd);
        all.fd = -1;
    }
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &was, NULL);
    return all.fd > 0;
}

static void node_remove(struct node *gone) {
    struct node **at = &all.buckets[(unsigned)gone->wd % BUCKETS];
    bool is_shared = false;

    while (*at && *at != gone) at = &(*at)->next;
    if (*at) *at = gone->next;
    for (const struct node *n = all.buckets[(unsigned)gone->wd % BUCKETS]; n; n = n->next)
        is_shared |= n->wd == gone->wd;
    if (!is_shared) inotify_rm_watch(all.fd, gone->wd);
}

struct watch *watch_new(const char *const *dirs, size_t n, size_t n_needed, int *fd) {
    struct watch *w = n > WATCH_DIRS_MAX ? NULL : calloc(1, sizeof *w + n * sizeof(struct node));
    bool is_good;

    *fd = -1;
    if (!w) return NULL;
    w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_lock(&all.lock);
    is_good = w->fd >= 0 && begin();
    for (size_t i = 0; is_good && i < n; i++) {
        struct node *node = &w->nodes[w->n];

        node->wd = inotify_add_watch(all.fd, dirs[i], MASK);
        if (node->wd < 0 && errno == ENOENT && i >= n_needed) continue;
        is_good = node->wd >= 0;
        if (!is_good) break;
        node->watch = w;
        node->next = all.buckets[(unsigned)node->wd % BUCKETS];
        all.buckets[(unsigned)node->wd % BUCKETS] = node;
        w->n++;
    }
    pthread_mutex_unlock(&all.lock);
    if (!is_good) {
        watch_free(w);
        return NULL;
    }
    *fd = w->fd;
    return w;
}

void watch_free(struct watch *w) {
    if (!w) return;
    pthread_mutex_lock(&all.lock);
    for (size_t i = 0; i < w->n; i++) node_remove(&w->nodes[i]);
    pthread_mutex_unlock(&all.lock);
    fd_close(&w->fd);
    free(w);
}
