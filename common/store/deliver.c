#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ascii.h"
#include "store/maildir.h"
#include "store/quota.h"
#include "sys/clock.h"
#include "sys/file.h"

enum { BLOCK = 64 * 1024, FSYNC_FEW = 8 };

/* --- writing one file ------------------------------------------------------------------------- */

enum err_code writer_open(struct writer *w, int dir_fd, struct store *s, struct err *e) {
    uint64_t random[2];

    *w = (struct writer){.dir_fd = dir_fd, .fd = -1};
    random_bytes(random, sizeof random);
    snprintf(w->tmp, sizeof w->tmp, "tmp/%lld.P%ld_%016llx.%s", (long long)clock_wall(),
             (long)getpid(), (unsigned long long)random[0], s->host);
    w->block = malloc(BLOCK);
    if (!w->block) return err_set(e, ERR_MEMORY, "no memory to write a message");
    w->fd = openat(dir_fd, w->tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (w->fd >= 0) fd_own_like(w->fd, dir_fd);
    if (w->fd < 0) {
        enum err_code code = err_sys(e, "cannot write a message");

        writer_abort(w);
        return code;
    }
    return OK;
}

static enum err_code flush(struct writer *w, struct err *e) {
    enum err_code code = file_write(w->fd, slice_of(w->block, w->n_block), "a message", e);

    w->n_block = 0;
    return code;
}

static enum err_code put(struct writer *w, const char *p, size_t n, struct err *e) {
    w->stored += n;
    w->wire += n;
    for (const char *lf = p; n > 0 && (lf = memchr(lf, '\n', n - (size_t)(lf - p))); lf++)
        w->wire += (lf > p ? lf[-1] : w->last) != '\r';
    if (n > 0) w->last = p[n - 1];
    while (n > 0) {
        size_t room = BLOCK - w->n_block, part = n < room ? n : room;

        memcpy(w->block + w->n_block, p, part);
        w->n_block += part;
        p += part;
        n -= part;
        if (w->n_block == BLOCK) {
            enum err_code code = flush(w, e);

            if (code != OK) return code;
        }
    }
    return OK;
}

/* CRLF becomes LF; a CR elsewhere stays. */
enum err_code writer_add(struct writer *w, struct slice in, struct err *e) {
    enum err_code code = OK;
    size_t i = 0;

    while (i < in.n && code == OK) {
        const char *cr;
        size_t n;

        if (w->has_cr) {
            w->has_cr = false;
            if (in.p[i] != '\n') {
                code = put(w, "\r", 1, e);
                continue;
            }
        }
        cr = memchr(in.p + i, '\r', in.n - i);
        n = cr ? (size_t)(cr - in.p) - i : in.n - i;
        code = put(w, in.p + i, n, e);
        i += n;
        if (cr) {
            w->has_cr = true;
            i++;
        }
    }
    return code;
}

enum err_code writer_end(struct writer *w, wall_t date, struct err *e) {
    struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_sec = date}};
    enum err_code code = OK;

    if (w->has_cr) code = put(w, "\r", 1, e);
    w->has_cr = false;
    if (code == OK) code = flush(w, e);
    if (code == OK && futimens(w->fd, times) != 0) code = err_sys(e, "cannot date a message");
    if (close(w->fd) != 0 && code == OK) code = err_sys(e, "cannot write a message");
    w->fd = -1;
    free(w->block);
    w->block = NULL;
    return code;
}

void writer_abort(struct writer *w) {
    fd_close(&w->fd);
    free(w->block);
    w->block = NULL;
    if (w->tmp[0] && w->dir_fd >= 0) unlinkat(w->dir_fd, w->tmp, 0);
    w->tmp[0] = '\0';
}

/* Keeps names of one process in order within a microsecond. */
static atomic_uint sequence;

void maildir_new_name(struct store *s, wall_t date, struct slice key, uint64_t stored,
                      uint64_t wire, char out[FILE_NAME_MAX]) {
    if (key.n) {
        snprintf(out, FILE_NAME_MAX, "%lld.K%.*s.%.40s,S=%llu,W=%llu", (long long)date, SP(key),
                 s->host, (unsigned long long)stored, (unsigned long long)wire);
    } else {
        uint64_t random;
        int64_t us = clock_wall_us();
        unsigned q = atomic_fetch_add(&sequence, 1) % 1000000;

        random_bytes(&random, sizeof random);
        snprintf(out, FILE_NAME_MAX, "%lld.M%06lldP%ldQ%06uR%016llx.%.40s,S=%llu,W=%llu",
                 (long long)(us / 1000000), (long long)(us % 1000000), (long)getpid(), q,
                 (unsigned long long)random, s->host, (unsigned long long)stored,
                 (unsigned long long)wire);
    }
}

/* --- batches ---------------------------------------------------------------------------------- */

struct item {
    struct store *s;
    char tmp[FILE_NAME_MAX + 8], name[FILE_NAME_MAX + 64];
    size_t dir; /* into dirs */
    uint64_t flags, stored;
    bool may_be_there;
    struct err err; /* code OK: fine so far */
};

/* A mailbox of the batch. No descriptor is kept: a batch may span thousands. */
struct dir {
    struct store *s;
    char name[FILE_NAME_MAX];
};

struct store_batch {
    struct item **items;
    size_t n, cap;
    struct dir *dirs;
    size_t n_dirs;
    bool is_committed;
};

struct store_batch *store_batch_new(void) {
    return calloc(1, sizeof(struct store_batch));
}

static enum err_code find_dir(struct store_batch *b, struct store *s, struct slice mailbox,
                              size_t *at, struct err *e) {
    struct dir d = {.s = s}, *more;
    enum err_code code = maildir_name(mailbox.n ? mailbox : S("INBOX"), d.name, e);

    if (code != OK) return code;
    for (size_t i = 0; i < b->n_dirs; i++) {
        if (b->dirs[i].s != s || strcmp(b->dirs[i].name, d.name) != 0) continue;
        *at = i;
        return OK;
    }
    if (b->n_dirs == STORE_BATCH_MAILBOXES_MAX)
        return err_set(e, ERR_LIMIT, "too many mailboxes in one batch");
    if (d.name[1] && !store_has(s, mailbox)) {
        code = store_create(s, mailbox, e);
        if (code != OK && code != ERR_EXISTS) return code;
    }
    more = realloc(b->dirs, (b->n_dirs + 1) * sizeof *more);
    if (!more) return err_set(e, ERR_MEMORY, "no memory for a delivery");
    b->dirs = more;
    *at = b->n_dirs++;
    b->dirs[*at] = d;
    return OK;
}

static bool is_key(struct slice key) {
    for (size_t i = 0; i < key.n; i++)
        if (!ascii_is_alnum(key.p[i]) && key.p[i] != '-' && key.p[i] != '_') return false;
    return key.n <= STORE_KEY_MAX;
}

enum err_code store_batch_add(struct store_batch *b, struct store *s, const struct delivery *d,
                              size_t *item, struct err *e) {
    struct item *it = calloc(1, sizeof *it);
    struct writer w = {.dir_fd = -1, .fd = -1};
    int dir_fd = -1;
    uint64_t octets = 0;
    wall_t date = d->date ? d->date : clock_wall();
    enum err_code code = OK;

    if (!it) return err_set(e, ERR_MEMORY, "no memory for a delivery");
    if (b->n == STORE_BATCH_MAX) code = err_set(e, ERR_LIMIT, "too many deliveries in one batch");
    else if (!is_key(d->key)) code = err_set(e, ERR_SYNTAX, "a delivery key has strange bytes");
    if (code == OK && b->n == b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 16;
        struct item **v = realloc(b->items, cap * sizeof(struct item *));

        if (v) {
            b->items = v;
            b->cap = cap;
        } else {
            code = err_set(e, ERR_MEMORY, "no memory for a delivery");
        }
    }
    for (size_t i = 0; i < d->n_parts; i++) octets += d->parts[i].n;
    if (code == OK) code = quota_check(s, octets, 1, e);
    if (code == OK) code = find_dir(b, s, d->mailbox, &it->dir, e);
    if (code == OK) code = maildir_open(s, b->dirs[it->dir].name, &dir_fd, e);
    if (code == OK) code = writer_open(&w, dir_fd, s, e);
    for (size_t i = 0; i < d->n_parts && code == OK; i++) code = writer_add(&w, d->parts[i], e);
    if (code == OK) code = writer_end(&w, date, e);
    if (code != OK) writer_abort(&w);
    fd_close(&dir_fd);
    if (code != OK) {
        free(it);
        return code;
    }
    it->s = s;
    it->flags = d->flags & ~(STORE_RECENT);
    it->may_be_there = d->may_be_there && d->key.n;
    it->stored = w.stored;
    memcpy(it->tmp, w.tmp, sizeof it->tmp);
    maildir_new_name(s, date, d->key, w.stored, w.wire, it->name);
    if (item) *item = b->n;
    b->items[b->n++] = it;
    return OK;
}

/* Open root/mailbox/`path`; -1 with errno. */
static int open_below(const struct dir *d, const char *path, int flags) {
    char full[2 * FILE_NAME_MAX + 80];

    snprintf(full, sizeof full, "%s/%s", d->name, path);
    return openat(d->s->root_fd, full, flags | O_CLOEXEC);
}

/* File systems that were synced whole. */
struct synced {
    dev_t done[8];
    size_t n;
};

/* Sync the file system of `fd`, once. False: it must be done file by file, or (with errno) it
 * failed. */
static bool sync_whole(struct synced *s, int fd) {
    struct stat st;

    errno = 0;
    if (fstat(fd, &st) < 0) return false;
    for (size_t k = 0; k < s->n; k++)
        if (s->done[k] == st.st_dev) return true;
    if (s->n == COUNT_OF(s->done) || syncfs(fd) < 0) return false;
    s->done[s->n++] = st.st_dev;
    return true;
}

/* Make the contents durable: few files one by one, many by one call for the file system. */
static void sync_items(struct store_batch *b) {
    struct synced whole = {0};

    for (size_t i = 0; i < b->n; i++) {
        struct item *it = b->items[i];
        const struct dir *d = &b->dirs[it->dir];
        int fd;

        if (it->err.code) continue;
        if (b->n > FSYNC_FEW) {
            if (sync_whole(&whole, d->s->root_fd)) continue;
            if (errno) {
                /* nobody knows whose data it was: none is promised */
                for (size_t k = 0; k < b->n; k++)
                    if (!b->items[k]->err.code) err_sys(&b->items[k]->err, "cannot sync messages");
                return;
            }
        }
        fd = open_below(d, it->tmp, O_RDONLY);
        if (fd < 0 || fsync(fd) != 0) err_sys(&it->err, "cannot sync a message");
        fd_close(&fd);
    }
}

/* Is a message of that key in new/ or cur/, whatever flags it has by now? */
static bool is_there(int dir_fd, const char *name) {
    static const char *const subs[] = {"new", "cur"};
    size_t n = maildir_base(name);
    bool has = false;

    for (size_t i = 0; i < 2 && !has; i++) {
        int fd = openat(dir_fd, subs[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
        struct dirent *d;

        if (!dir) {
            fd_close(&fd);
            continue;
        }
        while (!has && (d = readdir(dir)))
            has = strncmp(d->d_name, name, n) == 0 && (d->d_name[n] == '\0' || d->d_name[n] == ':');
        closedir(dir);
    }
    return has;
}

static void publish_in(int dir_fd, struct item *it) {
    char to[sizeof it->name + 64];
    char flags[48];

    if (it->may_be_there && is_there(dir_fd, it->name)) {
        err_set(&it->err, ERR_EXISTS, "the message was delivered before");
        return;
    }
    maildir_letters(it->flags, flags);
    if (it->flags) snprintf(to, sizeof to, "cur/%s:2,%s", it->name, flags);
    else snprintf(to, sizeof to, "new/%s", it->name);
    if (renameat2(dir_fd, it->tmp, dir_fd, to, RENAME_NOREPLACE) == 0) {
        it->tmp[0] = '\0';
        quota_add(it->s, (int64_t)it->stored, 1);
        return;
    }
    /* EINVAL: a file system without it; the link refuses to replace as well */
    if (errno == EINVAL && linkat(dir_fd, it->tmp, dir_fd, to, 0) == 0) {
        quota_add(it->s, (int64_t)it->stored, 1);
        return;
    }
    if (errno == EEXIST) err_set(&it->err, ERR_EXISTS, "the message was delivered before");
    else err_sys(&it->err, "cannot deliver a message");
}

static void publish(struct store_batch *b, struct item *it) {
    const struct dir *d = &b->dirs[it->dir];
    int fd;

    if (maildir_open(d->s, d->name, &fd, &it->err) != OK) return;
    publish_in(fd, it);
    fd_close(&fd);
}

enum err_code store_batch_commit(struct store_batch *b, struct err *e) {
    const struct err *first = NULL;
    struct synced whole = {0};

    if (b->is_committed) return err_set(e, ERR_BUG, "a batch is committed once");
    b->is_committed = true;
    sync_items(b);
    for (size_t i = 0; i < b->n; i++)
        if (!b->items[i]->err.code) publish(b, b->items[i]);
    for (size_t k = 0; k < b->n_dirs; k++) {
        int sys = 0;
        bool is_whole = b->n_dirs > FSYNC_FEW && sync_whole(&whole, b->dirs[k].s->root_fd);

        if (b->n_dirs > FSYNC_FEW && !is_whole) sys = errno;
        for (int sub = 0; sub < 2 && !is_whole; sub++) {
            int fd = open_below(&b->dirs[k], sub ? "cur" : "new", O_RDONLY | O_DIRECTORY);
            bool is_used = sub == 0;

            for (size_t i = 0; i < b->n && !is_used; i++)
                is_used = b->items[i]->dir == k && b->items[i]->flags;
            if (is_used && (fd < 0 || fsync(fd) != 0)) sys = errno ? errno : EIO;
            fd_close(&fd);
        }
        for (size_t i = 0; i < b->n && sys; i++) {
            if (b->items[i]->dir != k || b->items[i]->err.code) continue;
            errno = sys;
            err_sys(&b->items[i]->err, "cannot sync a mailbox");
        }
    }
    for (size_t i = 0; i < b->n && !first; i++)
        if (b->items[i]->err.code && b->items[i]->err.code != ERR_EXISTS) first = &b->items[i]->err;
    if (!first) return OK;
    if (e) *e = *first;
    return first->code;
}

enum err_code store_batch_result(const struct store_batch *b, size_t item, struct err *e) {
    if (item >= b->n || !b->is_committed) return err_set(e, ERR_BUG, "no such delivery");
    if (b->items[item]->err.code && e) *e = b->items[item]->err;
    return b->items[item]->err.code;
}

void store_batch_free(struct store_batch *b) {
    if (!b) return;
    for (size_t i = 0; i < b->n; i++) {
        struct item *it = b->items[i];

        if (it->tmp[0]) {
            const struct dir *d = &b->dirs[it->dir];
            char full[2 * FILE_NAME_MAX + 80];

            snprintf(full, sizeof full, "%s/%s", d->name, it->tmp);
            unlinkat(d->s->root_fd, full, 0);
        }
        free(it);
    }
    free(b->items);
    free(b->dirs);
    free(b);
}

enum err_code store_deliver(struct store *s, const struct delivery *d, struct err *e) {
    struct store_batch *b = store_batch_new();
    enum err_code code;

    if (!b) return err_set(e, ERR_MEMORY, "no memory for a delivery");
    code = store_batch_add(b, s, d, NULL, e);
    if (code == OK) code = store_batch_commit(b, e);
    if (code == OK) code = store_batch_result(b, 0, e);
    store_batch_free(b);
    return code;
}
