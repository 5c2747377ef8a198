/* commit: putting messages in. Many at once share one fdatasync. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "queue/impl.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/lock.h"

enum {
    COPY_CHUNK = 128 * 1024,
    PREPARE_AFTER = 16, /* records */
    PREPARE_BYTES = 1024 * 1024,
    PREPARE_LOW = 128 * 1024, /* fewer ahead: more are written */
    PREPARE_BATCH_MAX = 48 * 1024
};

void queue_new_id(char id[QUEUE_ID_MAX]) {
    /* Microseconds never repeat within the process; random bits part the processes. */
    static _Atomic int64_t last;
    static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    int64_t now = clock_wall_us(), was = atomic_load(&last);
    uint64_t v;

    do {
        if (now <= was) now = was + 1;
    } while (!atomic_compare_exchange_weak(&last, &was, now));
    v = (uint64_t)now;
    for (int i = 10; i >= 0; i--, v >>= 5) id[i] = digits[v & 31];
    v = random_below(32768);
    for (int i = 13; i >= 11; i--, v >>= 5) id[i] = digits[v & 31];
    id[14] = 0;
}

/* A new file with the writer's lock. Between its making and its locking it looks like what a crash
 * left; queue_sweep waits for that moment to pass by the lock on the directory. */
enum err_code segment_create(struct queue *q, struct segment *s, bool with_lease, struct err *e) {
    char path[PATH_MAX];
    int dir = -1;
    enum err_code code = lock_dir(q->dir, false, &dir, e);

    if (code != OK) return code;
    queue_new_id(s->name);
    queue_path(q, path, s->name, ".new");
    s->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (s->fd < 0) {
        code = err_sys(e, "cannot create %s", path);
    } else {
        fd_own_like_path(s->fd, q->dir);
        code = lock_try(s->fd, LOCK_WRITER, true, path, e);
        if (code == OK && with_lease) code = lock_try(s->fd, LOCK_LEASE, true, path, e);
    }
    close(dir);
    if (code == OK || s->fd < 0) return code;
    unlink(path);
    fd_close(&s->fd);
    return code;
}

/* A new segment under a name that nobody delivers from, with the writer's lock taken before it gets
 * its own; else another process could take it for one whose writer is dead. */
static enum err_code open_writer(struct queue *q, struct err *e) {
    struct segment *s = calloc(1, sizeof *s);
    enum err_code code;

    if (!s) return err_mail(e, ERR_MEMORY, STATUS(4, 3, 0), "no memory for the queue");
    s->journal_fd = -1;
    s->is_writer = true;
    code = segment_create(q, s, q->is_leasing, e);
    if (code != OK) free(s);
    else q->writer = s;
    return code;
}

static enum err_code publish(struct queue *q, struct segment *s, struct err *e) {
    char from[PATH_MAX], to[PATH_MAX];
    enum err_code code;

    if (s->is_published) return OK;
    queue_path(q, from, s->name, ".new");
    queue_path(q, to, s->name, ".seg");
    if (rename(from, to) < 0) return err_sys(e, "cannot rename %s", from);
    s->is_published = true;
    code = file_sync_dir(q->dir, e);
    if (code != OK) return code;
    if (q->is_leasing) {
        pthread_mutex_lock(&q->lock);
        s->next = q->segments;
        q->segments = s;
        pthread_mutex_unlock(&q->lock);
    }
    return OK;
}

/* Take away a segment of which nothing was acknowledged. */
static void discard(struct queue *q, struct segment *s) {
    char path[PATH_MAX];

    queue_path(q, path, s->name, s->is_published ? ".seg" : ".new");
    if (unlink(path) == 0 || ftruncate(s->fd, 0) == 0) return;
    log_event(q->log, LEVEL_ERROR, "cannot take back what was refused", "segment",
              slice_str(s->name), NULL);
}

/* The writer stops writing to its segment. */
void queue_seal(struct queue *q) {
    struct segment *s = q->writer;
    char path[PATH_MAX];

    if (!s) return;
    q->writer = NULL;
    pthread_mutex_lock(&q->lock);
    s->is_writer = false;
    /* The zeros are harmless, but they take room. */
    if (s->prepared > s->size && ftruncate(s->fd, (off_t)s->size) < 0) s->prepared = 0;
    lock_drop(s->fd, LOCK_WRITER);
    if (!s->is_published) {
        queue_path(q, path, s->name, ".new");
        unlink(path);
        close(s->fd);
        free(s);
    } else if (!q->is_leasing) {
        close(s->fd);
        free(s);
    } else if (s->finished == s->messages) {
        for (struct segment **at = &q->segments; *at; at = &(*at)->next) {
            if (*at == s) {
                *at = s->next;
                break;
            }
        }
        segment_end(q, s);
    }
    pthread_mutex_unlock(&q->lock);
}

static enum err_code write_all(int fd, struct iovec *iov, int count, uint64_t offset,
                               struct err *e) {
    while (count > 0) {
        ssize_t n = pwritev(fd, iov, count, (off_t)offset);

        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_sys(e, "cannot write to the queue");
        offset += (uint64_t)n;
        while (count > 0 && (size_t)n >= iov->iov_len) {
            n -= (ssize_t)iov->iov_len;
            iov++;
            count--;
        }
        if (count > 0) {
            iov->iov_base = (char *)iov->iov_base + n;
            iov->iov_len -= (size_t)n;
        }
    }
    return OK;
}

static struct iovec iov_of(struct slice s) {
    return (struct iovec){.iov_base = (void *)(uintptr_t)s.p, .iov_len = s.n};
}

/* Write one record at the end of the writer's segment; `*end` is where the next one goes. */
static enum err_code write_record(struct queue *q, struct queue_op *op, uint64_t *end,
                                  struct buf *env, char *chunk, struct err *e) {
    static const struct spool none = {.fd = -1};
    const struct spool *body = op->body ? op->body : &none;
    uint64_t size = op->head.n + body->size, at = *end, done;
    char header[RECORD_HEADER_MAX];
    struct iovec iov[5];
    enum err_code code;
    uint32_t crc;
    int n;

    buf_reset(env);
    code = envelope_format(op->env, env, e);
    if (code != OK) return code;
    crc = record_header_crc(op->id, env->n, size);
    crc = crc32c(crc32c(crc32c(crc, buf_slice(env)), op->head), buf_slice(&body->mem));
    for (done = body->mem.n; done < body->size;) {
        size_t got;

        code = spool_read(body, done, chunk, COPY_CHUNK, &got, e);
        if (code == OK && got == 0)
            code = err_mail(e, ERR_IO, STATUS(4, 3, 0), "the message file is short");
        if (code != OK) return code;
        crc = crc32c(crc, slice_of(chunk, got));
        done += got;
    }
    n = snprintf(header, sizeof header, "PBM1 %s %zu %llu %08x\n", op->id, env->n,
                 (unsigned long long)size, crc);
    iov[0] = iov_of(slice_of(header, (size_t)n));
    iov[1] = iov_of(buf_slice(env));
    iov[2] = iov_of(op->head);
    iov[3] = iov_of(buf_slice(&body->mem));
    iov[4] = iov_of(body->fd < 0 ? S("\n") : S(""));
    code = write_all(q->writer->fd, iov, 5, at, e);
    at += (uint64_t)n + env->n + op->head.n + body->mem.n + (body->fd < 0);
    if (code != OK || body->fd < 0) {
        if (code == OK) *end = at;
        return code;
    }
    for (done = body->mem.n; done < body->size;) {
        size_t got;

        code = spool_read(body, done, chunk, COPY_CHUNK, &got, e);
        if (code == OK)
            code = file_write_at(q->writer->fd, slice_of(chunk, got), (off_t)at, "the queue", e);
        if (code != OK) return code;
        done += got;
        at += got;
    }
    code = file_write_at(q->writer->fd, S("\n"), (off_t)at, "the queue", e);
    if (code == OK) *end = at + 1;
    return code;
}

/* The in-memory message of a record that was just made durable. */
static void line_up_new(struct queue *q, const struct queue_op *op, uint64_t start) {
    struct record r;
    struct queue_msg *m = calloc(1, sizeof *m + op->env->rcpt_count);

    pthread_mutex_lock(&q->lock);
    q->writer->messages++;

    if (m && record_read(q->writer->fd, start, UINT64_MAX, &r) == STEP_DONE) {
        m->seg = q->writer;
        m->seg->live += r.env_size + r.size;
        memcpy(m->id, r.id, sizeof m->id);
        m->at = r.at;
        m->env_size = r.env_size;
        m->size = r.size;
        m->rcpt_count = (uint32_t)op->env->rcpt_count;
        m->arrived = op->env->arrived;
        m->due = op->env->release_at; /* RFC 4865: not before */
        m->lane = QUEUE_LOCAL;
        if (queue_line_up(q, m)) {
            m->next = q->messages;
            if (m->next) m->next->prev = m;
            q->messages = m;
            q->message_count++;
            m = NULL;
        }
    }
    pthread_mutex_unlock(&q->lock);
    /* The message stays on disk and is found at the next start. */
    if (m)
        log_event(q->log, LEVEL_ERROR, "cannot read what was just stored; it waits for a restart",
                  "id", slice_str(op->id), "segment", slice_str(q->writer->name), NULL);
    free(m);
}

/* Once a segment has some messages, zeros are kept ahead of its end: to write over them and sync
 * moves no metadata, which takes a fraction of the time. Not for large batches, where octets cost
 * more than that. A crash leaves the zeros; segment_size does not count them. */
static void prepare(struct segment *s, uint64_t end) {
    static const char zeros[64 * 1024];
    uint64_t at = end > s->prepared ? end : s->prepared, until = end + PREPARE_BYTES;

    if (s->committed < PREPARE_AFTER || end + PREPARE_LOW <= s->prepared ||
        end - s->size > PREPARE_BATCH_MAX)
        return;
    while (at < until) {
        size_t n = until - at < sizeof zeros ? (size_t)(until - at) : sizeof zeros;

        if (file_write_at(s->fd, slice_of(zeros, n), (off_t)at, "the queue", NULL) != OK) break;
        at += n;
    }
    s->prepared = at;
}

/* Commit a list of operations; `writing` is held. */
static void commit(struct queue *q, struct queue_op *ops) {
    struct err why = {0};
    struct buf env;
    uint64_t end, *starts = NULL;
    size_t count = 0, good = 0, i = 0;
    enum err_code code = OK;
    bool is_uncut = false;
    char *chunk = malloc(COPY_CHUNK);

    for (struct queue_op *op = ops; op; op = op->next) count++;
    q->last_batch = count;
    starts = malloc(count * sizeof *starts);
    buf_init(&env, ENVELOPE_BYTES_MAX);
    if (!chunk || !starts)
        code = err_mail(&why, ERR_MEMORY, STATUS(4, 3, 0), "no memory for the queue");
    if (code == OK && !q->writer) code = open_writer(q, &why);
    end = q->writer ? q->writer->size : 0;
    for (struct queue_op *op = ops; op; op = op->next, i++) {
        op->code = code;
        if (code != OK) {
            op->err = why;
            continue;
        }
        if (!op->id[0]) queue_new_id(op->id);
        starts[i] = end;
        op->code = write_record(q, op, &end, &env, chunk, &op->err);
        if (op->code == OK) good++;
        /* What a failed record left behind would read as a torn tail: cut it at once. */
        else if (ftruncate(q->writer->fd, (off_t)end) < 0 && code == OK) {
            code = err_sys(&why, "cannot cut the queue back");
            is_uncut = true;
        } else {
            q->writer->prepared = end;
        }
    }
    if (good > 0) {
        if (code == OK) prepare(q->writer, end);
        q->writer->committed += good;
        code = file_sync(q->writer->fd, "the queue", &why);
        if (code == OK) code = publish(q, q->writer, &why);
        if (code != OK) {
            /* Nobody may be told 250, and none of it may be sent later. */
            if (q->writer->size == 0) discard(q, q->writer);
            else if (ftruncate(q->writer->fd, (off_t)q->writer->size) < 0)
                log_event(q->log, LEVEL_ERROR, "cannot cut the queue back", "segment",
                          slice_str(q->writer->name), NULL);
            for (struct queue_op *op = ops; op; op = op->next)
                if (op->code == OK) op->code = code, op->err = why;
            queue_seal(q);
        } else {
            q->writer->size = end;
            i = 0;
            for (struct queue_op *op = ops; op; op = op->next, i++)
                if (op->code == OK && q->is_leasing) line_up_new(q, op, starts[i]);
            q->last_commit = clock_wall();
            if (is_uncut || end > QUEUE_SEGMENT_BYTES ||
                q->writer->messages > QUEUE_SEGMENT_MESSAGES)
                queue_seal(q);
        }
    } else if (is_uncut) {
        queue_seal(q); /* what is behind its end must not stand behind the next record */
    }
    buf_release(&env);
    free(starts);
    free(chunk);
}

enum err_code queue_put(struct queue *q, const struct envelope *env, struct slice head,
                        const struct spool *body, char id[QUEUE_ID_MAX], struct err *e) {
    struct queue_op op = {.env = env, .head = head, .body = body};

    memcpy(op.id, id, QUEUE_ID_MAX);
    op.id[QUEUE_ID_MAX - 1] = 0;
    pthread_mutex_lock(&q->writing);
    commit(q, &op);
    pthread_mutex_unlock(&q->writing);
    if (op.code == OK) memcpy(id, op.id, QUEUE_ID_MAX);
    else if (e) *e = op.err;
    return op.code;
}

static void *committer(void *p) {
    struct queue *q = p;

    for (;;) {
        struct queue_op *ops, *next;

        pthread_mutex_lock(&q->pending_lock);
        while (!q->pending && !q->is_closing) pthread_cond_wait(&q->pending_more, &q->pending_lock);
        ops = q->pending;
        q->pending = NULL;
        q->pending_end = &q->pending;
        pthread_mutex_unlock(&q->pending_lock);
        if (!ops) return NULL;
        pthread_mutex_lock(&q->writing);
        commit(q, ops);
        pthread_mutex_unlock(&q->writing);
        for (; ops; ops = next) {
            next = ops->next; /* `done` may free the operation */
            ops->done(ops);
        }
    }
}

bool queue_try(struct queue *q, struct queue_op *op) {
    bool alone;

    pthread_mutex_lock(&q->pending_lock);
    alone = !q->pending && !q->is_closing;
    pthread_mutex_unlock(&q->pending_lock);
    if (!alone || pthread_mutex_trylock(&q->writing) != 0) return false;
    alone = q->last_batch <= 1;
    if (alone) {
        op->next = NULL;
        op->err = (struct err){0};
        commit(q, op);
    }
    pthread_mutex_unlock(&q->writing);
    return alone;
}

void queue_submit(struct queue *q, struct queue_op *op) {
    bool started;

    op->next = NULL;
    op->err = (struct err){0};
    pthread_mutex_lock(&q->pending_lock);
    if (!q->has_committer)
        q->has_committer = pthread_create(&q->committer, NULL, committer, q) == 0;
    started = q->has_committer;
    if (started) {
        *q->pending_end = op;
        q->pending_end = &op->next;
        pthread_cond_signal(&q->pending_more);
    }
    pthread_mutex_unlock(&q->pending_lock);
    if (!started) {
        op->code = err_mail(&op->err, ERR_MEMORY, STATUS(4, 3, 0), "cannot start the committer");
        op->done(op);
    }
}

void queue_roll(struct queue *q, wall_t now) {
    bool roll;

    if (pthread_mutex_trylock(&q->writing) != 0) return;
    pthread_mutex_lock(&q->lock);
    roll = q->writer && q->writer->messages > 0 && q->writer->finished == q->writer->messages &&
           (q->writer->size > 1024 * 1024 || now - q->last_commit > 30);
    pthread_mutex_unlock(&q->lock);
    if (roll) queue_seal(q);
    pthread_mutex_unlock(&q->writing);
}

void queue_close(struct queue *q) {
    if (!q) return;
    pthread_mutex_lock(&q->pending_lock);
    q->is_closing = true;
    pthread_cond_signal(&q->pending_more);
    pthread_mutex_unlock(&q->pending_lock);
    if (q->has_committer) pthread_join(q->committer, NULL);
    pthread_mutex_lock(&q->writing);
    queue_seal(q);
    pthread_mutex_unlock(&q->writing);
    while (q->messages) {
        struct queue_msg *m = q->messages;

        q->messages = m->next;
        free(m);
    }
    while (q->segments) {
        struct segment *s = q->segments;

        q->segments = s->next;
        segment_end(q, s);
    }
    for (int i = 0; i < QUEUE_LANES; i++) {
        free(q->heap[i].v);
        pthread_cond_destroy(&q->heap[i].changed);
    }
    free(q->only);
    pthread_mutex_destroy(&q->writing);
    pthread_mutex_destroy(&q->pending_lock);
    pthread_mutex_destroy(&q->lock);
    pthread_cond_destroy(&q->pending_more);
    free(q);
}
