#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imap/section.h"
#include "store/mapping.h"
#include "store/maildir.h"
#include "sys/file.h"

static enum err_code gone(struct err *e) {
    return err_set(e, ERR_NOT_FOUND, "the message is gone");
}

static enum err_code load(int fd, struct message *out, struct err *e) {
    struct stat st;
    size_t n, got = 0;
    char *p;

    if (fstat(fd, &st) != 0) return err_sys(e, "cannot read a message");
    n = (size_t)st.st_size;
    if (n > SMALL_MESSAGE_MAX) {
        void *map = mapping_open(fd, n);

        if (!map) return err_sys(e, "cannot map a message");
        *out = (struct message){.bytes = slice_of(map, n),
                                .trail = {.behind = mapping_behind, .ctx = map},
                                .map = map,
                                .map_n = n};
        return OK;
    }
    p = malloc(n + 1);
    if (!p) return err_set(e, ERR_MEMORY, "no memory for a message");
    while (got < n) {
        ssize_t k = pread(fd, p + got, n - got, (off_t)got);

        if (k < 0 && errno == EINTR) continue;
        if (k < 0) {
            free(p);
            return err_sys(e, "cannot read a message");
        }
        if (k == 0) break;
        got += (size_t)k;
    }
    *out = (struct message){.bytes = slice_of(p, got), .map = p};
    return OK;
}

/* Reading is no news to the file system, where it lets us; and a pipe that somebody put there does
 * not hold us. */
static int open_quietly(int dir_fd, const char *path) {
    const int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    int fd = openat(dir_fd, path, flags | O_NOATIME);

    return fd >= 0 || errno != EPERM ? fd : openat(dir_fd, path, flags);
}

enum err_code message_open(struct mailbox *m, uint32_t uid, struct message *out, struct err *e) {
    size_t i = mailbox_at(m, uid);

    *out = (struct message){.map = NULL};
    if (i == SIZE_MAX) return gone(e);
    for (int tries = 0; tries < RENAME_TRIES_MAX; tries++) {
        char path[FILE_NAME_MAX + 8];
        int fd;

        mailbox_file(m, i, path);
        fd = open_quietly(m->fd, path);
        if (fd >= 0) {
            enum err_code code = load(fd, out, e);

            fd_close(&fd);
            return code;
        }
        if (errno != ENOENT) return err_sys(e, "cannot open a message");
        /* renamed for its flags: sync will tell of them */
        if (!mailbox_refind(m, i)) return gone(e);
    }
    return err_set(e, ERR_BUSY, "another program keeps renaming a message");
}

void message_close(struct message *msg) {
    if (msg->map_n) mapping_close(msg->map, msg->map_n);
    else free(msg->map);
    *msg = (struct message){.map = NULL};
}

/* --- sizes and dates -------------------------------------------------------------------------- */

/* The index hears of it with others. */
static void note_found(struct mailbox *m, uint32_t uid) {
    if (!m->dirty) m->dirty = malloc(DIRTY_MAX * sizeof *m->dirty);
    if (!m->dirty) return;
    m->dirty[m->n_dirty++] = uid;
    if (m->n_dirty == DIRTY_MAX) mailbox_cache_flush(m);
}

enum err_code mailbox_size(struct mailbox *m, uint32_t uid, uint64_t *size, struct err *e) {
    size_t i = mailbox_at(m, uid);
    struct message msg;
    enum err_code code;

    if (i == SIZE_MAX) return gone(e);
    *size = m->v[i].size_bytes;
    if (*size != STORE_SIZE_UNKNOWN) return OK;
    code = message_open(m, uid, &msg, e);
    if (code != OK) return code;
    *size = mailbox_size_of(m, uid, &msg);
    message_close(&msg);
    return OK;
}

void mailbox_size_is(struct mailbox *m, uint32_t uid, uint64_t size) {
    size_t i = mailbox_at(m, uid);

    if (i == SIZE_MAX || m->v[i].size_bytes != STORE_SIZE_UNKNOWN || mailbox_own(m, NULL) != OK)
        return;
    m->v[i].size_bytes = size;
    note_found(m, uid);
}

uint64_t mailbox_size_of(struct mailbox *m, uint32_t uid, struct message *msg) {
    size_t i = mailbox_at(m, uid);
    uint64_t size = i == SIZE_MAX ? STORE_SIZE_UNKNOWN : m->v[i].size_bytes;

    if (size != STORE_SIZE_UNKNOWN) return size;
    size = imap_wire_size(msg->bytes, &msg->trail);
    if (i != SIZE_MAX && mailbox_own(m, NULL) == OK) {
        m->v[i].size_bytes = size;
        note_found(m, uid);
    }
    return size;
}

enum err_code mailbox_date(struct mailbox *m, uint32_t uid, wall_t *date, struct err *e) {
    size_t i = mailbox_at(m, uid);
    enum err_code code;

    if (i == SIZE_MAX) return gone(e);
    *date = m->v[i].internal_date;
    for (int tries = 0; *date == STORE_DATE_UNKNOWN; tries++) {
        char path[FILE_NAME_MAX + 8];
        struct stat st;

        mailbox_file(m, i, path);
        if (fstatat(m->fd, path, &st, 0) == 0) {
            *date = st.st_mtim.tv_sec;
            code = mailbox_own(m, e);
            if (code != OK) return code;
            m->v[i].internal_date = *date;
            note_found(m, uid);
        } else if (tries == RENAME_TRIES_MAX || !mailbox_refind(m, i)) {
            return gone(e);
        }
    }
    return OK;
}

wall_t mailbox_saved(struct mailbox *m, uint32_t uid) {
    return index_saved(mailbox_index(m), m->validity, uid);
}

/* --- many at once ----------------------------------------------------------------------------- */

enum {
    READ_PORTION = 8,
    READ_THREADS_MIN = 4, /* more than there are processors where there are few: they wait for the
                             disk */
    READ_THREADS_MAX = 8
};

/* Threads that each take the next portion. */
struct mailbox_reading {
    struct mailbox *m; /* NULL: the names are in `names`, and the mailbox is not touched */
    int fd;
    struct buf names; /* each with a NUL; "": not wanted */
    size_t *name_at;
    atomic_size_t next;
    size_t from, end;
    bool (*wants)(void *ctx, size_t i);
    void (*visit)(void *ctx, size_t i, struct message *msg);
    void *ctx;
    pthread_t threads[READ_THREADS_MAX];
    size_t n_threads;
};

/* Read into `room`, SMALL_MESSAGE_MAX bytes and one that are used again for each; NULL or a larger
 * message: as anywhere. */
static enum err_code load_into(char *room, int fd, struct message *out) {
    ssize_t n = room ? pread(fd, room, SMALL_MESSAGE_MAX + 1, 0) : -1;

    if (n < 0 || n > SMALL_MESSAGE_MAX) return load(fd, out, NULL);
    *out = (struct message){.bytes = slice_of(room, (size_t)n)};
    return OK;
}

static void read_one(struct mailbox_reading *r, size_t i, char *room) {
    char path[FILE_NAME_MAX + 8];
    const char *name = path;
    struct message msg;
    int fd;

    if (!r->m) {
        name = r->names.p + r->name_at[i - r->from];
        if (!*name) return;
    } else if (r->wants(r->ctx, i)) {
        mailbox_file(r->m, i, path);
    } else {
        return;
    }
    fd = open_quietly(r->fd, name);
    if (fd < 0) return; /* it was renamed or removed: who asks for it alone looks where it went */
    if (load_into(room, fd, &msg) == OK) {
        r->visit(r->ctx, i, &msg);
        message_close(&msg);
    }
    close(fd);
}

static void *read_some(void *p) {
    struct mailbox_reading *r = p;
    char *room = malloc(SMALL_MESSAGE_MAX + 1);
    size_t from;

    while ((from = atomic_fetch_add(&r->next, READ_PORTION)) < r->end)
        for (size_t i = from; i < r->end && i < from + READ_PORTION; i++) read_one(r, i, room);
    free(room);
    return NULL;
}

static void start_threads(struct mailbox_reading *r) {
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    size_t most = cpus < READ_THREADS_MIN   ? READ_THREADS_MIN
                  : cpus > READ_THREADS_MAX ? READ_THREADS_MAX
                                            : (size_t)cpus;
    pthread_attr_t small;

    atomic_store(&r->next, r->from);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 512 * 1024);
    while (r->n_threads + 1 < most &&
           pthread_create(&r->threads[r->n_threads], &small, read_some, r) == 0)
        r->n_threads++;
    pthread_attr_destroy(&small);
}

static void join_threads(struct mailbox_reading *r) {
    read_some(r);
    while (r->n_threads > 0) pthread_join(r->threads[--r->n_threads], NULL);
}

void mailbox_read_many(struct mailbox *m, size_t from, size_t to,
                       bool (*wants)(void *ctx, size_t i),
                       void (*visit)(void *ctx, size_t i, struct message *msg), void *ctx) {
    struct mailbox_reading r = {.m = m,
                                .fd = m->fd,
                                .from = from,
                                .end = to < m->n ? to : m->n,
                                .wants = wants,
                                .visit = visit,
                                .ctx = ctx};

    start_threads(&r);
    join_threads(&r);
}

struct mailbox_reading *mailbox_read_begin(struct mailbox *m, size_t from, size_t to,
                                           void (*visit)(void *ctx, size_t i, struct message *msg),
                                           void *ctx) {
    struct mailbox_reading *r = calloc(1, sizeof *r);

    if (!r) return NULL;
    *r = (struct mailbox_reading){
        .from = from, .end = to < m->n ? to : m->n, .visit = visit, .ctx = ctx};
    r->fd = fcntl(m->fd, F_DUPFD_CLOEXEC, 3);
    r->name_at = calloc(to - from + 1, sizeof *r->name_at);
    buf_init(&r->names, (to - from + 1) * (size_t)(FILE_NAME_MAX + 8));
    for (size_t i = r->from; r->name_at && i < r->end; i++) {
        char path[FILE_NAME_MAX + 8];

        mailbox_file(m, i, path);
        r->name_at[i - r->from] = r->names.n;
        buf_add(&r->names, slice_of(path, strlen(path) + 1));
    }
    if (r->fd < 0 || !r->name_at || r->names.bad) {
        r->end = r->from; /* nothing is read */
        mailbox_read_end(r, false);
        return NULL;
    }
    start_threads(r);
    return r;
}

void mailbox_read_end(struct mailbox_reading *r, bool is_wanted) {
    if (!r) return;
    if (!is_wanted) atomic_store(&r->next, r->end);
    join_threads(r);
    fd_close(&r->fd);
    buf_release(&r->names);
    free(r->name_at);
    free(r);
}

struct sizing {
    struct mailbox *m;
    uint64_t *sizes;
};

static bool wants_size(void *ctx, size_t i) {
    struct sizing *s = ctx;

    return s->m->v[i].size_bytes == STORE_SIZE_UNKNOWN;
}

static void note_size(void *ctx, size_t i, struct message *msg) {
    struct sizing *s = ctx;

    s->sizes[i] = imap_wire_size(msg->bytes, &msg->trail);
}

enum err_code mailbox_sizes(struct mailbox *m, struct err *e) {
    enum { MANY = 256 };
    struct sizing s = {.m = m};
    size_t unknown = 0;
    enum err_code code = OK;

    for (size_t i = 0; i < m->n; i++) unknown += m->v[i].size_bytes == STORE_SIZE_UNKNOWN;
    if (unknown < MANY) return OK; /* one by one */
    s.sizes = malloc(m->n * sizeof *s.sizes);
    if (!s.sizes) return err_set(e, ERR_MEMORY, "no memory for the sizes");
    for (size_t i = 0; i < m->n; i++) s.sizes[i] = m->v[i].size_bytes;
    mailbox_read_many(m, 0, m->n, wants_size, note_size, &s);
    code = mailbox_own(m, e);
    if (code == OK) {
        index_begin(mailbox_index(m));
        for (size_t i = 0; i < m->n; i++) {
            if (m->v[i].size_bytes == s.sizes[i]) continue;
            m->v[i].size_bytes = s.sizes[i];
            mailbox_index_put(m, i);
        }
        index_end(m->index);
    }
    free(s.sizes);
    return code;
}

struct slice mailbox_uidl(const struct mailbox *m, uint32_t uid, char out[STORE_UIDL_MAX]) {
    snprintf(out, STORE_UIDL_MAX, "%08x%08x", uid, m->validity);
    return slice_of(out, STORE_UIDL_MAX - 1);
}

/* --- cached texts ----------------------------------------------------------------------------- */

/* Who asks for one message after the other is read to ahead: a text costs a fraction then. */
struct ahead {
    char what[AHEAD_WHAT_MAX];
    size_t what_n;
    uint32_t last; /* uid that was asked for last */
    uint32_t from; /* what is in `text`: all there is from this uid ... */
    uint32_t to;   /* ... up to this one */
    struct buf text;
    struct {
        uint32_t uid;
        size_t at, n;
    } row[AHEAD_ROWS];
    size_t n, next;
    bool is_cut; /* there may be more behind `to` */
};

static bool keep_row(void *ctx, uint32_t uid, struct slice text) {
    struct ahead *h = ctx;

    if (h->n == AHEAD_ROWS || h->text.n + text.n > AHEAD_BYTES_MAX) {
        h->is_cut = true;
        return false;
    }
    h->row[h->n].uid = uid;
    h->row[h->n].at = h->text.n;
    h->row[h->n].n = text.n;
    if (!buf_add(&h->text, text)) {
        h->is_cut = true;
        return false;
    }
    h->to = uid;
    h->n++;
    return true;
}

/* True: `*has` says whether there is such a text, and it was added. */
static bool get_ahead(struct mailbox *m, uint32_t uid, struct slice what, struct buf *out,
                      bool *has) {
    struct ahead *h = m->ahead;
    size_t i;
    bool is_next;

    if (what.n > AHEAD_WHAT_MAX) return false;
    if (!h) {
        h = m->ahead = calloc(1, sizeof *h);
        if (!h) return false;
        buf_init(&h->text, AHEAD_BYTES_MAX);
    }
    i = mailbox_at(m, uid);
    is_next = i != SIZE_MAX && i > 0 && m->v[i - 1].uid == h->last &&
              slice_eq(what, slice_of(h->what, h->what_n));
    h->last = uid;
    if (!is_next) {
        memcpy(h->what, what.p, what.n);
        h->what_n = what.n;
        h->n = h->to = 0;
        return false;
    }
    if (!h->to || uid < h->from || uid > h->to) {
        buf_reset(&h->text);
        h->n = h->next = 0;
        h->from = h->to = uid;
        h->is_cut = false;
        index_cache_each(mailbox_index(m), m->validity, uid, what, AHEAD_ROWS + 1, keep_row, h);
        /* What others put there meanwhile is made again rather than seen. */
        if (!h->is_cut) h->to = UINT32_MAX;
        else if (!h->n) return false;
    }
    while (h->next < h->n && h->row[h->next].uid < uid) h->next++;
    *has = h->next < h->n && h->row[h->next].uid == uid &&
           buf_add(out, slice_first(slice_from(buf_slice(&h->text), h->row[h->next].at),
                                    h->row[h->next].n));
    return true;
}

void mailbox_ahead_free(struct mailbox *m) {
    if (!m->ahead) return;
    buf_release(&m->ahead->text);
    free(m->ahead);
    m->ahead = NULL;
}

bool mailbox_cache_get(struct mailbox *m, uint32_t uid, struct slice what, struct buf *out) {
    bool has;

    for (size_t i = 0; i < m->n_cached && uid <= m->cached_top; i++) {
        const struct cached *c = &m->cached[i];

        if (c->uid == uid && slice_eq(slice_of(c->what, c->what_n), what))
            return buf_add(out, slice_of(c->text, c->text_n));
    }
    if (get_ahead(m, uid, what, out, &has)) return has;
    return index_cache_get(mailbox_index(m), m->validity, uid, what, out);
}

void mailbox_cache_put(struct mailbox *m, uint32_t uid, struct slice what, struct slice text) {
    struct cached c = {.uid = uid, .what_n = what.n, .text_n = text.n};

    if (text.n == 0 || text.n > STORE_CACHE_MAX || !mailbox_index(m)) return;
    if (!m->cached) m->cached = calloc(CACHE_PENDING_MAX, sizeof *m->cached);
    if (!m->cached) return;
    c.what = strndup(what.p, what.n);
    c.text = malloc(text.n);
    if (!c.what || !c.text) {
        free(c.what);
        free(c.text);
        return;
    }
    memcpy(c.text, text.p, text.n);
    m->cached[m->n_cached++] = c;
    m->cached_bytes += text.n;
    if (uid > m->cached_top) m->cached_top = uid;
    if (m->n_cached == CACHE_PENDING_MAX || m->cached_bytes >= CACHE_PENDING_BYTES) mailbox_cache_flush(m);
}

void mailbox_cache_flush(struct mailbox *m) {
    if (m->n_cached == 0 && m->n_dirty == 0) return;
    index_begin(mailbox_index(m));
    for (size_t i = 0; i < m->n_dirty; i++) {
        size_t at = mailbox_at(m, m->dirty[i]);

        if (at != SIZE_MAX) mailbox_index_put(m, at);
    }
    m->n_dirty = 0;
    for (size_t i = 0; i < m->n_cached; i++) {
        struct cached *c = &m->cached[i];

        /* not for what was expunged since */
        if (mailbox_at(m, c->uid) != SIZE_MAX)
            index_cache_put(m->index, m->validity, c->uid, slice_of(c->what, c->what_n),
                            slice_of(c->text, c->text_n));
        free(c->what);
        free(c->text);
    }
    index_end(m->index);
    m->n_cached = m->cached_bytes = m->cached_top = 0;
}
