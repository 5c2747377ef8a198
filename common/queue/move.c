/* move: segments and journals written anew, so that what is finished does not stay on disk and a
 * segment for each message does not take a descriptor each. A crash at any step leaves each message
 * once. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue/impl.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/lock.h"

enum { CHUNK = 128 * 1024, DEFERRED_KEPT = 3 /* decision records per recipient */ };

/* --- many small segments become one --------------------------------------------------------------
 *
 * The copies are made durable in a .new file, which is then called "moving"; the small segments are
 * removed, and "moving" becomes a segment. While it is there nobody takes a lease. Who finds it
 * without its maker removes those segments whose messages are all in it, and goes on. */

bool segments_are_moving(const struct queue *q) {
    char path[PATH_MAX];

    queue_path(q, path, "moving", "");
    return access(path, F_OK) == 0;
}

struct ids {
    char (*v)[QUEUE_ID_MAX];
    size_t n, cap;
};

static int by_id(const void *a, const void *b) { return strcmp(a, b); }

static bool ids_add(struct ids *l, const char *id) {
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 256;
        void *v = realloc(l->v, cap * sizeof *l->v);

        if (!v) return false;
        l->v = v;
        l->cap = cap;
    }
    memcpy(l->v[l->n++], id, QUEUE_ID_MAX);
    return true;
}

/* Go over the records of a file. OK when it is records to the end, and each is in `known` (when
 * given); they are added to `out` (when given). ERR_SYNTAX when not; ERR_IO: nobody knows. */
static enum err_code all_records(int fd, const struct ids *known, struct ids *out, bool check) {
    struct stat st;
    struct record r;
    uint64_t at = 0;

    if (fstat(fd, &st) < 0) return ERR_IO;
    if (st.st_size == 0) return ERR_SYNTAX;
    while (at < (uint64_t)st.st_size) {
        enum step step = record_read(fd, at, (uint64_t)st.st_size, &r);
        enum err_code code = step == STEP_DONE ? OK : r.is_unread ? ERR_IO : ERR_SYNTAX;

        if (code == OK && check) code = record_check(fd, &r);
        if (code != OK) return code;
        if (known && !(known->n && bsearch(r.id, known->v, known->n, sizeof *known->v, by_id)))
            return ERR_SYNTAX;
        if (out && !ids_add(out, r.id)) return ERR_MEMORY;
        at = r.at + r.env_size + r.size + 1;
    }
    return OK;
}

/* "moving" is the only place of its messages now: give it a segment's name. */
static bool name_moving(struct queue *q) {
    char from[PATH_MAX], to[PATH_MAX], id[QUEUE_ID_MAX];

    queue_new_id(id);
    queue_path(q, from, "moving", "");
    queue_path(q, to, id, ".seg");
    return file_sync_dir(q->dir, NULL) == OK && rename(from, to) == 0 &&
           file_sync_dir(q->dir, NULL) == OK;
}

/* Finish what a process began that died over it. True when it is done. */
static bool recover(struct queue *q, char **names, size_t count) {
    struct ids ids = {0};
    char path[PATH_MAX];
    bool ok;
    int fd;

    queue_path(q, path, "moving", "");
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return false;
    ok = lock_try(fd, LOCK_LEASE, true, path, NULL) == OK && access(path, F_OK) == 0 &&
         all_records(fd, NULL, &ids, false) == OK;
    if (ok) qsort(ids.v, ids.n, sizeof *ids.v, by_id);
    for (size_t i = 0; ok && i < count; i++) {
        enum err_code code;
        int one;

        queue_path(q, path, names[i], ".seg");
        one = open(path, O_RDWR | O_CLOEXEC);
        if (one < 0) {
            ok = errno == ENOENT || errno == EACCES;
            continue;
        }
        /* Somebody who is about to see that he may not lease it yet ends it: the next time. */
        code = all_records(one, &ids, NULL, false);
        if (code != ERR_SYNTAX)
            ok = code == OK && lock_try(one, LOCK_LEASE, true, path, NULL) == OK &&
                 unlink(path) == 0;
        close(one);
    }
    ok = ok && name_moving(q);
    free(ids.v);
    close(fd);
    return ok;
}

static bool copy_octets(int from, uint64_t at, int to, uint64_t to_at, uint64_t n, char *chunk) {
    while (n > 0) {
        ssize_t got = pread(from, chunk, n < CHUNK ? (size_t)n : CHUNK, (off_t)at);

        if (got < 0 && errno == EINTR) continue;
        if (got <= 0 ||
            file_write_at(to, slice_of(chunk, (size_t)got), (off_t)to_at, "the queue", NULL) != OK)
            return false;
        at += (uint64_t)got;
        to_at += (uint64_t)got;
        n -= (uint64_t)got;
    }
    return true;
}

/* A small segment that is ours now: nobody writes it or works on it, nothing was noted of it, and
 * it is whole. Its descriptor, or -1. */
static int take_small(struct queue *q, const char *name, struct stat *st) {
    char path[PATH_MAX];
    int fd;

    queue_path(q, path, name, ".jnl");
    if (access(path, F_OK) == 0) return -1;
    queue_path(q, path, name, ".seg");
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return -1;
    if (fstat(fd, st) == 0 && st->st_size <= ABSORB_BYTES_MAX &&
        lock_try(fd, LOCK_LEASE, true, path, NULL) == OK && !lock_is_held(fd, LOCK_WRITER) &&
        fstat(fd, st) == 0 && st->st_nlink > 0 && all_records(fd, NULL, NULL, true) == OK) {
        queue_path(q, path, name, ".jnl"); /* once more, with the lease */
        if (access(path, F_OK) < 0) return fd;
    }
    close(fd);
    return -1;
}

struct small {
    const char *name;
    int fd;
};

static bool absorb_some(struct queue *q, struct segment *into, const struct small *v, size_t n,
                        uint64_t size) {
    char from[PATH_MAX], path[PATH_MAX];
    bool ok = file_sync(into->fd, "the queue", NULL) == OK && size > 0;

    queue_path(q, from, into->name, ".new");
    queue_path(q, path, "moving", "");
    if (!ok || renameat2(AT_FDCWD, from, AT_FDCWD, path, RENAME_NOREPLACE) < 0) {
        unlink(from);
        return false;
    }
    /* From here on it only goes forward, by whoever comes next if not by us. */
    if (file_sync_dir(q->dir, NULL) != OK) return false;
    for (size_t i = 0; i < n; i++) {
        queue_path(q, path, v[i].name, ".seg");
        if (unlink(path) < 0) return false;
    }
    return name_moving(q);
}

bool segments_absorb(struct queue *q, char **names, size_t count) {
    size_t max = q->segment_max < ABSORB_AT_ONCE ? q->segment_max : ABSORB_AT_ONCE, n = 0, want;
    struct segment into = {.fd = -1};
    struct small *v = NULL;
    char *chunk = NULL, path[PATH_MAX];
    uint64_t size = 0;
    bool done = false;

    if (segments_are_moving(q)) return recover(q, names, count);
    want = q->segment_max / 2 < ABSORB_MIN ? q->segment_max / 2 : ABSORB_MIN;
    if (want < 2 || count < want) return false;
    v = malloc(max * sizeof *v);
    chunk = malloc(CHUNK);
    for (size_t i = 0; v && chunk && i < count && n < max && size < QUEUE_SEGMENT_BYTES; i++) {
        struct stat st;

        v[n] = (struct small){names[i], take_small(q, names[i], &st)};
        if (v[n].fd < 0) {
            if (errno == EMFILE || errno == ENFILE) break;
            continue;
        }
        n++;
        if (n == 1 && segment_create(q, &into, true, NULL) != OK) break;
        if (!copy_octets(v[n - 1].fd, 0, into.fd, size, (uint64_t)st.st_size, chunk)) {
            size = 0; /* without room nothing is moved */
            break;
        }
        size += (uint64_t)st.st_size;
    }
    if (n >= want / 2 && size > 0) {
        done = absorb_some(q, &into, v, n, size);
    } else if (into.fd >= 0) {
        queue_path(q, path, into.name, ".new");
        unlink(path);
    }
    for (size_t i = 0; i < n; i++) close(v[i].fd);
    fd_close(&into.fd);
    free(v);
    free(chunk);
    return done;
}

/* --- one segment without what is finished --------------------------------------------------------
 *
 * The file takes the old one's place and name in one rename. The journal stays: its lines name
 * messages, and those of messages that are gone say nothing. */

/* Where the header line of a message's record begins. */
static bool record_start(const struct queue_msg *m, uint64_t *start) {
    char text[RECORD_HEADER_MAX];
    uint64_t from = m->at > sizeof text ? m->at - sizeof text : 0;
    ssize_t n = pread(m->seg->fd, text, (size_t)(m->at - from), (off_t)from);
    struct record r;
    size_t i;

    if (n != (ssize_t)(m->at - from) || n < 2 || text[n - 1] != '\n') return false;
    for (i = (size_t)n - 1; i > 0 && text[i - 1] != '\n'; i--) {
    }
    *start = from + i;
    return record_read(m->seg->fd, *start, UINT64_MAX, &r) == STEP_DONE && r.at == m->at &&
           strcmp(r.id, m->id) == 0 && record_check(m->seg->fd, &r) == OK;
}

static bool copy_live(struct segment *fresh, struct queue_msg **v, uint64_t *at, size_t n) {
    char *chunk = malloc(CHUNK);
    bool ok = chunk != NULL;

    for (size_t i = 0; ok && i < n; i++) {
        uint64_t start, end = v[i]->at + v[i]->env_size + v[i]->size + 1;

        ok = record_start(v[i], &start) &&
             copy_octets(v[i]->seg->fd, start, fresh->fd, fresh->size, end - start, chunk);
        if (!ok) break;
        at[i] = fresh->size + (v[i]->at - start);
        fresh->size += end - start;
    }
    free(chunk);
    return ok && file_sync(fresh->fd, "the queue", NULL) == OK;
}

/* With `lock` held, which is given up meanwhile: the messages are out. */
static void move_segment(struct queue *q, struct segment *s) {
    size_t count = s->messages - s->finished, n = 0;
    struct queue_msg **v = calloc(count + 1, sizeof *v);
    uint64_t *at = calloc(count + 1, sizeof *at);
    struct segment fresh = {.fd = -1};
    char from[PATH_MAX], to[PATH_MAX];
    bool ok = false;

    for (struct queue_msg *m = q->messages; v && at && m && n < count; m = m->next)
        if (m->seg == s) v[n++] = m;
    if (!v || !at || n != count) {
        free(v);
        free(at);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        queue_line_out(q, v[i]);
        v[i]->is_out = true;
        q->out_count++;
    }
    s->is_moving = true;
    pthread_mutex_unlock(&q->lock);
    if (segment_create(q, &fresh, true, NULL) == OK) {
        queue_path(q, from, fresh.name, ".new");
        queue_path(q, to, s->name, ".seg");
        ok = copy_live(&fresh, v, at, n) && rename(from, to) == 0;
        if (!ok) unlink(from);
        else file_sync_dir(q->dir, NULL); /* the old file and the new one say the same */
    }
    pthread_mutex_lock(&q->lock);
    if (ok) {
        lock_drop(fresh.fd, LOCK_WRITER);
        fd_close(&s->fd);
        s->fd = fresh.fd;
        s->size = fresh.size;
        s->messages = n;
        s->finished = 0;
    } else {
        fd_close(&fresh.fd);
    }
    s->is_moving = false;
    for (size_t i = 0; i < n; i++) {
        bool pending = false;

        if (ok) v[i]->at = at[i];
        v[i]->is_out = false;
        q->out_count--;
        for (size_t r = 0; r < v[i]->rcpt_count; r++) pending |= v[i]->state[r] == QUEUE_PENDING;
        if (pending) queue_line_up(q, v[i]);
        else queue_finish(q, v[i]); /* dropped meanwhile; the last may end the segment */
    }
    free(v);
    free(at);
}

/* --- a journal without what no longer matters --------------------------------------------------
 */

/* How many decision records there are of a recipient, and how many times of a next attempt of a
 * message (with its first recipient). */
struct tally {
    uint32_t deferred, next;
};

struct live {
    struct queue_msg **v; /* by id */
    size_t n;
    size_t *first; /* of each, in `tally` */
    struct tally *tally;
};

static int by_msg_id(const void *a, const void *b) {
    return strcmp((*(struct queue_msg *const *)a)->id, (*(struct queue_msg *const *)b)->id);
}

/* Where the message of a line is in `l`; l->n: it is gone. */
static size_t live_find(const struct live *l, struct slice id) {
    size_t low = 0, high = l->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = slice_cmp(slice_str(l->v[mid]->id), id);

        if (order == 0) return mid;
        if (order < 0) low = mid + 1;
        else high = mid;
    }
    return l->n;
}

static bool live_of(struct queue *q, const struct segment *s, struct live *l) {
    size_t max = s->messages - s->finished, rcpts = 0;

    l->v = calloc(max + 1, sizeof(struct queue_msg *));
    l->first = calloc(max + 1, sizeof *l->first);
    for (struct queue_msg *m = q->messages; l->v && m && l->n < max; m = m->next)
        if (m->seg == s) l->v[l->n++] = m;
    if (!l->v || !l->first || l->n != max) return false;
    if (max) qsort(l->v, l->n, sizeof *l->v, by_msg_id);
    for (size_t i = 0; i < l->n; i++) {
        l->first[i] = rcpts;
        rcpts += l->v[i]->rcpt_count;
    }
    l->tally = calloc(rcpts + 1, sizeof *l->tally);
    return l->tally != NULL;
}

/* The lines that still matter: what is final, requests, the last decision records of each
 * recipient, and the last time of a next attempt with the number of those before it. */
static void journal_shorten(struct slice text, const struct live *l, struct buf *out) {
    struct journal_line line;

    for (int pass = 0; pass < 2; pass++) { /* count, then write */
        struct slice rest = text;

        while (journal_next(&rest, &line)) {
            bool is_next = slice_eq(line.word, S("next"));
            bool is_deferred = slice_eq(line.word, S("deferred"));
            char id[QUEUE_ID_MAX], word[32], next[48];
            size_t i = live_find(l, line.id);
            struct slice time;
            struct tally *t;

            if (i == l->n) continue;
            t = &l->tally[l->first[i]];
            if (line.rcpt > 0 && (size_t)line.rcpt < l->v[i]->rcpt_count) t += line.rcpt;
            if (pass == 0) {
                t->deferred += is_deferred;
                t->next += is_next;
                continue;
            }
            if (is_deferred && t->deferred-- > DEFERRED_KEPT) continue;
            if (is_next && --t->next > 0) continue;
            if (is_next) {
                slice_word(&line.detail, &time);
                snprintf(next, sizeof next, "%.*s %u", SP(time), (unsigned)l->v[i]->attempts);
                line.detail = slice_str(next);
            }
            snprintf(id, sizeof id, "%.*s", SP(line.id));
            snprintf(word, sizeof word, "%.*s", SP(line.word));
            journal_format(out, line.at, id, line.rcpt, word, line.detail);
        }
    }
}

/* With `lock` held: nobody else writes to the journal. */
static void shorten(struct queue *q, struct segment *s) {
    struct live live = {0};
    struct buf text, out;
    char from[PATH_MAX], to[PATH_MAX];
    int fd = -1;
    bool ok;

    buf_init(&text, JOURNAL_BYTES_MAX);
    buf_init(&out, JOURNAL_BYTES_MAX);
    ok = journal_read(q, s->name, &text, NULL) == OK && live_of(q, s, &live);
    if (ok) journal_shorten(buf_slice(&text), &live, &out);
    ok = ok && !out.bad;
    if (ok) {
        queue_path(q, from, s->name, ".jnl.new");
        queue_path(q, to, s->name, ".jnl");
        fd = open(from, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
        ok = fd >= 0;
    }
    if (ok) {
        fd_own_like_path(fd, q->dir);
        ok = lock_try(fd, LOCK_WRITER, true, from, NULL) == OK &&
             file_write(fd, buf_slice(&out), from, NULL) == OK && file_sync(fd, from, NULL) == OK &&
             rename(from, to) == 0;
        if (!ok) unlink(from);
    }
    if (ok) {
        fd_close(&s->journal_fd);
        s->journal_fd = fd;
        s->journal_bytes = s->journal_kept = out.n;
        s->journal_room = 0; /* that was the old file's */
        s->is_journal_durable = s->is_journal_dirty = false;
        file_sync_dir(q->dir, NULL);
    } else {
        fd_close(&fd);
        s->journal_kept = s->journal_bytes; /* not at once again */
    }
    free(live.v);
    free(live.first);
    free(live.tally);
    buf_release(&text);
    buf_release(&out);
}

void queue_tidy(struct queue *q) {
    pthread_mutex_lock(&q->lock);
    for (struct segment *s = q->segments; s; s = s->next) {
        journal_pay(q, s, NULL);
        if (s->is_moving || s->out > 0 || s->owed.n > 0 || s->messages == s->finished) continue;
        if (s->journal_bytes > MOVE_BYTES_MIN && s->journal_bytes / 4 > s->journal_kept)
            shorten(q, s);
        if (!s->is_writer && !s->is_damaged && s->size > MOVE_BYTES_MIN && s->live < s->size / 4) {
            move_segment(q, s);
            break; /* the list may have changed */
        }
    }
    pthread_mutex_unlock(&q->lock);
}
