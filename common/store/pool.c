/* pool: mailboxes that a session left and the next one takes as they are. */
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "store/maildir.h"
#include "sys/clock.h"
#include "sys/file.h"

enum {
    POOL_MAX = 64,                            /* two descriptors each */
    POOL_AGE_MS = 10 * 60 * 1000,             /* then it goes when another comes */
    POOL_BYTES_MAX = 256 * 1024 * 1024,       /* estimated, of all together */
    ROW_BYTES = sizeof(struct imap_msg) + 128 /* of one message: row, name and what malloc adds */
};

static struct {
    pthread_mutex_t lock;
    struct left {
        struct mailbox *m;
        char *root;
        mono_t at;
    } v[POOL_MAX];
    size_t n, bytes;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

static size_t bytes_of(const struct mailbox *m) { return m->n * ROW_BYTES + 4096; }

/* Take entry `i` out. With the lock held. */
static struct mailbox *take(size_t i) {
    struct mailbox *m = pool.v[i].m;

    free(pool.v[i].root);
    pool.bytes -= bytes_of(m);
    memmove(&pool.v[i], &pool.v[i + 1], (pool.n - i - 1) * sizeof *pool.v);
    pool.n--;
    return m;
}

static bool is_same(const struct mailbox *m, const struct stat *now) {
    struct stat was;

    return fstat(m->fd, &was) == 0 && was.st_dev == now->st_dev && was.st_ino == now->st_ino;
}

struct mailbox *pool_take(struct store *s, const char *dir, int fd) {
    struct mailbox *m = NULL;
    struct stat st;

    if (fstat(fd, &st) != 0) return NULL;
    pthread_mutex_lock(&pool.lock);
    for (size_t i = pool.n; i-- > 0 && !m;) /* the last that was left is the warmest */
        if (strcmp(pool.v[i].root, s->root) == 0 && strcmp(pool.v[i].m->dir, dir) == 0 &&
            is_same(pool.v[i].m, &st))
            m = take(i);
    pthread_mutex_unlock(&pool.lock);
    if (!m) return NULL;
    m->store = s;
    if (!m->has_recent) return m;
    /* It was recent to who had it before. */
    if (mailbox_own(m, NULL) != OK) {
        mailbox_free(m);
        return NULL;
    }
    for (size_t i = 0; i < m->n; i++) m->v[i].flags &= ~STORE_RECENT;
    m->has_recent = false;
    return m;
}

void mailbox_leave(struct mailbox *m) {
    struct mailbox *old[POOL_MAX];
    size_t n_old = 0;
    mono_t now = clock_mono();
    char *root;

    if (!m) return;
    root = m->is_replaced ? NULL : strdup(m->store->root);
    if (!root || bytes_of(m) > POOL_BYTES_MAX) {
        free(root);
        mailbox_free(m);
        return;
    }
    mailbox_rest(m);
    watch_free(m->watch);
    m->watch = NULL;
    m->watch_fd = -1;
    m->store = NULL;
    pthread_mutex_lock(&pool.lock);
    while (pool.n > 0 && (pool.n == POOL_MAX || pool.bytes + bytes_of(m) > POOL_BYTES_MAX ||
                          pool.v[0].at + POOL_AGE_MS < now))
        old[n_old++] = take(0);
    pool.v[pool.n++] = (struct left){m, root, now};
    pool.bytes += bytes_of(m);
    pthread_mutex_unlock(&pool.lock);
    while (n_old > 0) mailbox_free(old[--n_old]);
}

void mailbox_forget_left(void) {
    pthread_mutex_lock(&pool.lock);
    while (pool.n > 0) mailbox_free(take(pool.n - 1));
    pthread_mutex_unlock(&pool.lock);
}
