#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/maildir.h"
#include "store/quota.h"
#include "sys/clock.h"
#include "sys/file.h"

enum { COPY_BLOCK = 64 * 1024 };

static enum err_code no_memory(struct err *e) {
    return err_set(e, ERR_MEMORY, "no memory for a list of messages");
}

static enum err_code read_only(const struct mailbox *m, struct err *e) {
    return m->mode == MAILBOX_WRITE
               ? OK
               : err_set(e, ERR_DENIED, "the mailbox is open for reading only");
}

void mailbox_file(const struct mailbox *m, size_t i, char out[FILE_NAME_MAX + 8]) {
    size_t n = strnlen(m->f[i].name, FILE_NAME_MAX - 1);

    memcpy(out, m->f[i].in_new ? "new/" : "cur/", 4);
    memcpy(out + 4, m->f[i].name, n);
    out[4 + n] = '\0';
}

uint64_t mailbox_stored_size(const struct mailbox *m, size_t i) {
    uint64_t size = maildir_number(m->f[i].name, 'S');
    char path[FILE_NAME_MAX + 8];
    struct stat st;

    if (size != STORE_SIZE_UNKNOWN) return size;
    mailbox_file(m, i, path);
    return fstatat(m->fd, path, &st, 0) == 0 ? (uint64_t)st.st_size : 0;
}

bool mailbox_refind(struct mailbox *m, size_t i) {
    const char *old = m->f[i].name;
    size_t n = maildir_base(old);
    char *name = NULL;
    bool in_new = false;

    for (int sub = 0; sub < 2 && !name; sub++) {
        int fd = openat(m->fd, sub ? "new" : "cur", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
        struct dirent *d;

        if (!dir) {
            fd_close(&fd);
            continue;
        }
        while (!name && (d = readdir(dir)))
            if (strncmp(d->d_name, old, n) == 0 && maildir_base(d->d_name) == n)
                name = strdup(d->d_name);
        closedir(dir);
        in_new = sub == 1;
    }
    if (!name) return false;
    free(m->f[i].name);
    m->f[i] = (struct mailfile){.name = name, .in_new = in_new};
    return true;
}

void mailbox_sweep(struct mailbox *m) {
    size_t to = 0;

    for (size_t i = 0; i < m->n; i++) {
        if (!m->f[i].name) continue;
        m->v[to] = m->v[i];
        m->f[to++] = m->f[i];
    }
    m->n = m->rows->n = to;
}

static void fsync_sub(struct mailbox *m, const char *sub, enum err_code *code, struct err *e) {
    int fd = openat(m->fd, sub, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if ((fd < 0 || fsync(fd) != 0) && *code == OK) *code = err_sys(e, "cannot sync a mailbox");
    fd_close(&fd);
}

/* --- flags ------------------------------------------------------------------------------------ */

static uint64_t apply(uint64_t now, enum mailbox_flags_mode mode, uint64_t flags) {
    uint64_t kept = now & (STORE_PASSED | STORE_RECENT);

    flags &= ~(STORE_PASSED | STORE_RECENT);
    if (mode == MAILBOX_FLAGS_ADD) return now | flags;
    if (mode == MAILBOX_FLAGS_REMOVE) return now & ~flags;
    return kept | flags;
}

/* Rename one file to carry the flags. ERR_NOT_FOUND: it vanished. */
static enum err_code set_one(struct mailbox *m, size_t i, enum mailbox_flags_mode mode,
                             uint64_t flags, bool *is_changed, struct err *e) {
    *is_changed = false;
    for (int tries = 0; tries < RENAME_TRIES_MAX; tries++) {
        uint64_t now = maildir_flags(m->f[i].name) | (m->v[i].flags & STORE_RECENT);
        uint64_t want = apply(now, mode, flags);
        char from[FILE_NAME_MAX + 8], to[FILE_NAME_MAX + 64], letters[48], *name;

        if (want == now && !m->f[i].in_new) {
            *is_changed = want != m->v[i].flags;
            m->v[i].flags = want;
            return OK;
        }
        maildir_letters(want, letters);
        if ((size_t)snprintf(to, sizeof to, "cur/%.*s:2,%s", (int)maildir_base(m->f[i].name),
                             m->f[i].name, letters) > FILE_NAME_MAX + 2)
            return err_set(e, ERR_LIMIT, "a file name has no room for more flags");
        mailbox_file(m, i, from);
        if (renameat(m->fd, from, m->fd, to) == 0) {
            name = strdup(to + 4);
            if (!name) return no_memory(e);
            free(m->f[i].name);
            m->f[i] = (struct mailfile){.name = name};
            *is_changed = want != m->v[i].flags;
            m->v[i].flags = want;
            return OK;
        }
        if (errno != ENOENT) return err_sys(e, "cannot change flags");
        if (!mailbox_refind(m, i)) {
            m->v[i].flags = want; /* as if, until it is told that it is gone (RFC 2180 4.2) */
            return ERR_NOT_FOUND;
        }
    }
    return err_set(e, ERR_BUSY, "another program keeps renaming a message");
}

/* The rows of many messages are written by a thread beside while the next files are renamed, each
 * PUT_PORTION of them; nothing else is done with the index meanwhile, and nothing with those rows.
 */
enum { PUT_PORTION = 500 };

struct putting {
    struct mailbox *m;
    uint32_t *at, *put; /* indexes of the snapshot: gathered, being put */
    size_t n, n_put;
    pthread_t thread;
    bool has_thread;
};

static void *put_rows(void *ctx) {
    struct putting *p = ctx;

    for (size_t k = 0; k < p->n_put; k++) mailbox_index_put(p->m, p->put[k]);
    p->n_put = 0;
    return NULL;
}

/* Put what was gathered; `is_last`: all is there on return. */
static void put_portion(struct putting *p, bool is_last) {
    uint32_t *swap = p->put;

    if (p->has_thread) pthread_join(p->thread, NULL);
    p->put = p->at;
    p->n_put = p->n;
    p->at = swap;
    p->n = 0;
    p->has_thread = !is_last && pthread_create(&p->thread, NULL, put_rows, p) == 0;
    if (!p->has_thread) put_rows(p);
}

/* Under the lock: know what others did before it is asked what has changed. */
static enum err_code look_first(struct mailbox *m, struct mailbox_condition *only_if, size_t n,
                                struct err *e) {
    only_if->failed = calloc(n + 1, sizeof *only_if->failed);
    if (!only_if->failed) return no_memory(e);
    return mailbox_sync_locked(m, &only_if->seen, false, e);
}

enum err_code mailbox_set_flags(struct mailbox *m, const uint32_t *uids, size_t n,
                                enum mailbox_flags_mode mode, uint64_t flags,
                                struct mailbox_condition *only_if, struct err *e) {
    enum err_code code = read_only(m, e);
    uint32_t rows[2][PUT_PORTION];
    struct putting put = {.m = m, .at = rows[0], .put = rows[1]};
    uint64_t modseq = 0;
    bool was_current, has_long = false;

    if (code == OK) code = mailbox_lock(m, e);
    if (code != OK) return code;
    if (only_if) code = look_first(m, only_if, n, e);
    if (code == OK) code = mailbox_own(m, e);
    if (code != OK) {
        mailbox_unlock(m);
        return code;
    }
    was_current = mailbox_is_current(m);
    mailbox_index(m);
    index_begin(m->index);
    for (size_t k = 0; k < n && code == OK; k++) {
        size_t i = mailbox_at(m, uids[k]);
        bool is_changed;

        if (i == SIZE_MAX) continue;
        if (only_if && m->v[i].modseq > only_if->since) {
            only_if->failed[only_if->n_failed++] = uids[k];
            continue;
        }
        code = set_one(m, i, mode, flags, &is_changed, e);
        if (code == ERR_LIMIT) has_long = true;
        if (code == ERR_NOT_FOUND || code == ERR_LIMIT) code = OK;
        else if (code == OK && is_changed) {
            if (!modseq) modseq = mailbox_bump(m);
            m->v[i].modseq = modseq;
            put.at[put.n++] = (uint32_t)i;
            if (put.n == PUT_PORTION) put_portion(&put, false);
        }
    }
    put_portion(&put, true);
    index_end(m->index);
    mailbox_adopt_times(m, was_current);
    mailbox_unlock(m);
    return code == OK && has_long ? ERR_LIMIT : code;
}

/* --- expunge ---------------------------------------------------------------------------------- */

/* Remove one file; true when it is gone, by us or before. */
static bool remove_one(struct mailbox *m, size_t i, bool only_deleted, enum err_code *code,
                       struct err *e) {
    for (int tries = 0; tries < RENAME_TRIES_MAX; tries++) {
        char path[FILE_NAME_MAX + 8];

        if (only_deleted && !(maildir_flags(m->f[i].name) & STORE_DELETED)) return false;
        mailbox_file(m, i, path);
        if (unlinkat(m->fd, path, 0) == 0) return true;
        if (errno != ENOENT) {
            *code = err_sys(e, "cannot remove a message");
            return false;
        }
        if (!mailbox_refind(m, i)) return true;
    }
    return false;
}

enum err_code mailbox_expunge(struct mailbox *m, const uint32_t *uids, size_t n, bool only_deleted,
                              uint32_t *gone, size_t *n_gone, struct err *e) {
    enum err_code code = read_only(m, e);
    uint64_t octets = 0;
    bool was_current;

    *n_gone = 0;
    if (code == OK) code = mailbox_own(m, e);
    if (code == OK) code = mailbox_lock(m, e);
    if (code != OK) return code;
    was_current = mailbox_is_current(m);
    for (size_t k = 0; k < n && code == OK; k++) {
        size_t i = mailbox_at(m, uids[k]);
        uint64_t size = i == SIZE_MAX || !m->f[i].name ? 0 : mailbox_stored_size(m, i);

        if (i == SIZE_MAX || !m->f[i].name || !remove_one(m, i, only_deleted, &code, e)) continue;
        octets += size;
        free(m->f[i].name);
        m->f[i].name = NULL;
        gone[(*n_gone)++] = uids[k];
    }
    if (*n_gone) {
        enum err_code sync_code = OK;

        quota_add(m->store, -(int64_t)octets, -(int64_t)*n_gone);
        mailbox_bump(m);
        index_begin(mailbox_index(m));
        index_adopt(m->index, m->validity, m->highest - 1);
        for (size_t k = 0; k < *n_gone; k++)
            index_remove(m->index, m->validity, gone[k], m->highest);
        index_end(m->index);
        mailbox_sweep(m);
        mailbox_adopt_times(m, was_current);
        fsync_sub(m, "cur", &sync_code, NULL); /* it is removed either way */
    }
    mailbox_unlock(m);
    return code;
}

/* --- what went -------------------------------------------------------------------------------- */

void uids_take(void *ctx, uint32_t uid) {
    struct uids *l = ctx;

    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 64;
        uint32_t *v = realloc(l->v, cap * sizeof *v);

        l->bad |= !v;
        if (!v) return;
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = uid;
}

enum err_code mailbox_vanished(struct mailbox *m, uint64_t since, uint32_t **uids, size_t *n,
                               bool *is_all, struct err *e) {
    struct uids l = {0};
    uint64_t known_from;

    index_read_gone(mailbox_index(m), m->validity, since, &known_from, uids_take, &l);
    *is_all = since < known_from;
    *uids = l.v;
    *n = l.n;
    return l.bad ? no_memory(e) : OK;
}

/* --- copy and move ---------------------------------------------------------------------------- */

/* The flags as the letters of the target mean them. A keyword for which it has no room is lost. */
static enum err_code translate(struct mailbox *m, struct mailbox *t, uint64_t flags,
                               uint64_t map[STORE_KEYWORDS_MAX], uint64_t *out, struct err *e) {
    enum err_code code = OK;

    *out = flags & (STORE_SEEN | STORE_ANSWERED | STORE_FLAGGED | STORE_DELETED | STORE_DRAFT |
                    STORE_PASSED);

    for (size_t k = 0; k < m->n_keywords && code == OK; k++) {
        if (!(flags >> (STORE_KEYWORD_FIRST + k) & 1) || !m->keywords[k]) continue;
        if (!map[k]) code = mailbox_keyword_make(t, slice_str(m->keywords[k]), true, &map[k], e);
        *out |= map[k];
    }
    return code;
}

static void remove_links(struct mailbox *t, const struct newcomer *v, size_t n) {
    for (size_t k = 0; k < n; k++) {
        char path[FILE_NAME_MAX + 8];

        snprintf(path, sizeof path, "cur/%s", v[k].name);
        unlinkat(t->fd, path, 0);
    }
}

/* What a copy of message `i` will be in the target, which is not locked yet. */
static enum err_code copy_plan(struct mailbox *m, size_t i, uint64_t flags, struct newcomer *out,
                               struct err *e) {
    char path[FILE_NAME_MAX + 8], base[FILE_NAME_MAX], letters[48];
    enum err_code code;
    struct stat st;

    code = mailbox_size(m, m->v[i].uid, &out->size_wire, e);
    if (code != OK) return code;
    mailbox_file(m, i, path);
    if (fstatat(m->fd, path, &st, 0) != 0) return ERR_NOT_FOUND;
    maildir_new_name(m->store, 0, S(""), (uint64_t)st.st_size, out->size_wire, base);
    maildir_letters(flags, letters);
    out->date = st.st_mtim.tv_sec;
    out->flags = flags;
    return asprintf(&out->name, "%s:2,%s", base, letters) < 0 ? no_memory(e) : OK;
}

/* Another file system, or one without links: the octets as they are, through tmp/. */
static enum err_code copy_octets(int fd, struct mailbox *t, const char *name, struct err *e) {
    char tmp[FILE_NAME_MAX + 64], now[FILE_NAME_MAX + 64], block[COPY_BLOCK];
    struct timespec times[2] = {{.tv_nsec = UTIME_NOW}};
    enum err_code code = OK;
    struct stat st;
    ssize_t n;
    int out;

    snprintf(tmp, sizeof tmp, "tmp/%s", name);
    snprintf(now, sizeof now, "cur/%s", name);
    out = openat(t->fd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (out < 0) return err_sys(e, "cannot copy a message");
    fd_own_like(out, t->fd);
    while (code == OK && (n = read(fd, block, sizeof block)) != 0) {
        if (n > 0) code = file_write(out, slice_of(block, (size_t)n), "a message", e);
        else if (errno != EINTR) code = err_sys(e, "cannot read a message");
    }
    if (code == OK && fstat(fd, &st) != 0) code = err_sys(e, "cannot read a message");
    if (code == OK) {
        times[1] = st.st_mtim;
        if (futimens(out, times) != 0) code = err_sys(e, "cannot date a message");
    }
    if (code == OK) code = file_sync(out, "a message", e);
    if (close(out) != 0 && code == OK) code = err_sys(e, "cannot write a message");
    if (code == OK && renameat(t->fd, tmp, t->fd, now) != 0)
        code = err_sys(e, "cannot copy a message");
    if (code != OK) unlinkat(t->fd, tmp, 0);
    return code;
}

/* ERR_NOT_FOUND: it vanished. */
static enum err_code copy_one(struct mailbox *m, size_t i, struct mailbox *t, const char *name,
                              struct err *e) {
    for (int tries = 0; tries < RENAME_TRIES_MAX; tries++) {
        char old[FILE_NAME_MAX + 8], now[FILE_NAME_MAX + 64];

        mailbox_file(m, i, old);
        snprintf(now, sizeof now, "cur/%s", name);
        if (linkat(m->fd, old, t->fd, now, 0) == 0) return OK;
        if (errno == EXDEV || errno == EPERM || errno == EMLINK) {
            int fd = openat(m->fd, old, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

            if (fd >= 0) {
                enum err_code code = copy_octets(fd, t, name, e);

                fd_close(&fd);
                return code;
            }
        }
        if (errno != ENOENT) return err_sys(e, "cannot copy a message");
        if (!mailbox_refind(m, i)) return ERR_NOT_FOUND;
    }
    return err_set(e, ERR_BUSY, "another program keeps renaming a message");
}

/* With the target locked: link or copy all, give them UIDs, durable. */
static enum err_code copy_all(struct mailbox *m, struct mailbox *t, struct newcomer *v, size_t n,
                              uint32_t *from, uint32_t *to, size_t *n_done, struct err *e) {
    const char **names = calloc(n + 1, sizeof *names);
    size_t done = 0;
    uint32_t first = 0;
    bool was_current = mailbox_is_current(t);
    enum err_code code = names ? uidlist_load(t, e) : no_memory(e);

    for (size_t k = 0; k < n && code == OK; k++) {
        size_t i = mailbox_at(m, from[k]);

        code = i == SIZE_MAX ? ERR_NOT_FOUND : copy_one(m, i, t, v[k].name, e);
        if (code == ERR_NOT_FOUND) { /* vanished */
            code = OK;
            continue;
        }
        if (code != OK) break;
        if (done < k) {
            char *name = v[done].name;

            v[done].name = v[k].name;
            v[k].name = name;
            v[done].flags = v[k].flags;
            v[done].size_wire = v[k].size_wire;
            v[done].date = v[k].date;
        }
        from[done++] = from[k];
    }
    if (code == OK && done) fsync_sub(t, "cur", &code, e);
    for (size_t k = 0; k < done; k++) names[k] = v[k].name;
    if (code == OK && done) code = mailbox_assign(t, names, done, &first, e);
    free(names);
    if (code != OK) {
        remove_links(t, v, done);
        return code;
    }
    for (size_t k = 0; k < done; k++) to[k] = first + (uint32_t)k;
    *n_done = done;
    if (done) mailbox_adopt_times(t, was_current && mailbox_insert(t, v, done, first));
    return OK;
}

enum err_code mailbox_copy(struct mailbox *m, const uint32_t *uids, size_t n, struct store *s,
                           struct slice target, uint64_t keep, bool is_move, uint32_t *uidvalidity,
                           uint32_t *from, uint32_t *to, size_t *n_done, struct err *e) {
    uint64_t map[STORE_KEYWORDS_MAX] = {0};
    struct newcomer *v = calloc(n + 1, sizeof *v);
    size_t planned = 0, n_gone;
    uint64_t octets = 0;
    struct mailbox *t = NULL;
    enum err_code code = is_move ? read_only(m, e) : OK;

    *n_done = 0;
    if (!v) code = no_memory(e);
    if (code == OK) code = mailbox_open(s, target, MAILBOX_READ, &t, e);
    for (size_t k = 0; k < n && code == OK; k++) {
        size_t i = mailbox_at(m, uids[k]);

        if (i == SIZE_MAX) continue;
        for (int tries = 0; tries < RENAME_TRIES_MAX; tries++) {
            uint64_t flags;

            code = translate(m, t, maildir_flags(m->f[i].name) & keep, map, &flags, e);
            if (code != OK) break;
            code = copy_plan(m, i, flags, &v[planned], e);
            if (code != ERR_NOT_FOUND || !mailbox_refind(m, i)) break;
        }
        if (code == OK) {
            octets += mailbox_stored_size(m, i);
            from[planned++] = uids[k];
        } else if (code == ERR_NOT_FOUND) code = OK; /* vanished */
    }
    if (code == OK && (!is_move || s != m->store)) code = quota_check(s, octets, planned, e);
    if (t) {
        *uidvalidity = t->validity;
        if (code == OK && planned) {
            code = mailbox_lock(t, e);
            if (code == OK) {
                code = copy_all(m, t, v, planned, from, to, n_done, e);
                *uidvalidity = t->validity;
                mailbox_unlock(t);
            }
        }
        mailbox_leave(t);
    }
    for (size_t k = 0; v && k < n; k++) free(v[k].name);
    free(v);
    if (code != OK) return code;
    /* What vanished meanwhile is counted: a moment, until it is counted anew. */
    if (*n_done) quota_add(s, (int64_t)octets, (int64_t)*n_done);
    if (is_move && *n_done) {
        uint32_t *removed = malloc(*n_done * sizeof *removed);

        if (!removed) return no_memory(e);
        code = mailbox_expunge(m, from, *n_done, false, removed, &n_gone, e);
        free(removed);
    }
    return code;
}
