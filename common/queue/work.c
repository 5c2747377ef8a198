/* work: leases, the lanes, and what is noted of each message. */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "queue/impl.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/lock.h"

enum {
    SYNC_AT_ONCE = 256,  /* journals, in queue_sync_all */
    PAY_EVERY_MS = 1000, /* a journal that could not be written is tried again */
    JOURNAL_AGAIN_S = 60 /* and so is the mail of a segment that can have none */
};

static enum err_code make_queue(const char *dir, const struct log *log, struct queue **out,
                                struct err *e) {
    struct queue *q;
    pthread_condattr_t monotonic;

    q = calloc(1, sizeof *q);
    if (!q) return err_set(e, ERR_MEMORY, "no memory for the queue");
    if (snprintf(q->dir, sizeof q->dir, "%s", dir) >= (int)sizeof q->dir) {
        free(q);
        return err_set(e, ERR_LIMIT, "the path %s is too long", dir);
    }
    q->log = log;
    q->segment_max = fd_raise_limit(65536) / 4;
    pthread_mutex_init(&q->writing, NULL);
    pthread_mutex_init(&q->pending_lock, NULL);
    pthread_mutex_init(&q->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&q->pending_more, NULL);
    for (int i = 0; i < QUEUE_LANES; i++) pthread_cond_init(&q->heap[i].changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    q->pending_end = &q->pending;
    *out = q;
    return OK;
}

enum err_code queue_open(const char *dir, const struct log *log, struct queue **out,
                         struct err *e) {
    enum err_code code = file_mkdirs(dir, 0700, e);

    if (code != OK) return code;
    if (access(dir, R_OK | W_OK | X_OK) < 0) return err_sys(e, "cannot use the queue in %s", dir);
    return make_queue(dir, log, out, e);
}

/* The owner of the directory, or of the nearest one above it that may be looked at. */
static enum err_code say_whose(const char *dir, struct err *e) {
    char path[PATH_MAX], *slash;
    const struct passwd *pw;
    struct stat st;

    snprintf(path, sizeof path, "%s", dir);
    while (stat(path, &st) < 0 && (slash = strrchr(path, '/')) && slash > path) *slash = 0;
    pw = stat(path, &st) == 0 ? getpwuid(st.st_uid) : NULL;
    return err_set(e, ERR_DENIED, "only %s may read the queue in %s: run this as that user",
                   pw ? pw->pw_name : "its owner", dir);
}

enum err_code queue_open_to_look(const char *dir, const struct log *log, struct queue **out,
                                 struct err *e) {
    if (access(dir, R_OK | X_OK) == 0) return make_queue(dir, log, out, e);
    return errno == EACCES ? say_whose(dir, e) : err_sys(e, "cannot read the queue in %s", dir);
}

const char *queue_dir(const struct queue *q) { return q->dir; }

/* --- lanes: binary heaps by due time
 * --------------------------------------------------------------- */

static bool before(const struct queue_msg *a, const struct queue_msg *b) {
    return a->due != b->due ? a->due < b->due : a->at < b->at;
}

static void place(struct heap *h, size_t i, struct queue_msg *m) {
    h->v[i] = m;
    m->heap_at = i;
}

static void sift(struct heap *h, size_t i) {
    struct queue_msg *m = h->v[i];

    while (i > 0 && before(m, h->v[(i - 1) / 2])) {
        place(h, i, h->v[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= h->n) break;
        if (child + 1 < h->n && before(h->v[child + 1], h->v[child])) child++;
        if (!before(h->v[child], m)) break;
        place(h, i, h->v[child]);
        i = child;
    }
    place(h, i, m);
}

static int by_id(const void *a, const void *b) { return strcmp(a, b); }

enum err_code queue_only(struct queue *q, const char (*ids)[QUEUE_ID_MAX], size_t n,
                         struct err *e) {
    char(*copy)[QUEUE_ID_MAX] = malloc((n + 1) * sizeof *copy);

    if (!copy) return err_set(e, ERR_MEMORY, "no memory for the list");
    if (n) memcpy(copy, ids, n * sizeof *copy);
    qsort(copy, n, sizeof *copy, by_id);
    pthread_mutex_lock(&q->lock);
    free(q->only);
    q->only = copy;
    q->only_count = n;
    pthread_mutex_unlock(&q->lock);
    return OK;
}

bool queue_line_up(struct queue *q, struct queue_msg *m) {
    struct heap *h = &q->heap[m->lane];

    if (m->is_held || m->is_in_heap) return true;
    if (q->only && !bsearch(m->id, q->only, q->only_count, sizeof *q->only, by_id)) return true;
    if (h->n == h->cap) {
        size_t cap = h->cap ? h->cap * 2 : 64;
        struct queue_msg **v = realloc(h->v, cap * sizeof *v);

        if (!v) return false;
        h->v = v;
        h->cap = cap;
    }
    m->is_in_heap = true;
    place(h, h->n, m);
    h->n++;
    sift(h, h->n - 1);
    pthread_cond_signal(&h->changed);
    return true;
}

void queue_line_out(struct queue *q, struct queue_msg *m) {
    struct heap *h = &q->heap[m->lane];
    size_t i = m->heap_at;

    if (!m->is_in_heap) return;
    m->is_in_heap = false;
    h->n--;
    if (i == h->n) return;
    place(h, i, h->v[h->n]);
    sift(h, i);
}

static bool is_finished(const struct queue_msg *m) {
    for (size_t i = 0; i < m->rcpt_count; i++)
        if (m->state[i] == QUEUE_PENDING) return false;
    return true;
}

/* While what was done cannot be noted, nothing more is begun: a crash would do it again. With
 * `lock` held. */
static bool is_stuck(struct queue *q) {
    if (q->owing > 0 && clock_mono() - q->paid_at >= PAY_EVERY_MS) {
        q->paid_at = clock_mono();
        for (struct segment *s = q->segments; s; s = s->next)
            if (journal_pay(q, s, NULL) != OK) break;
    }
    return q->owing > 0;
}

struct queue_msg *queue_next(struct queue *q, enum queue_lane lane, wall_t now) {
    struct heap *h = &q->heap[lane];
    struct queue_msg *m = NULL;

    pthread_mutex_lock(&q->lock);
    while (!m && h->n > 0 && h->v[0]->due <= now && !is_stuck(q)) {
        struct err e = {0};

        m = h->v[0];
        queue_line_out(q, m);
        /* That there is a journal tells who comes after a crash that this was begun. */
        if (lane == QUEUE_LOCAL && journal_touch(q, m->seg, &e) != OK) {
            log_event(q->log, LEVEL_ERROR, "not delivered now", "id", slice_str(m->id), "why",
                      slice_str(e.msg), NULL);
            m->due = now + JOURNAL_AGAIN_S;
            queue_line_up(q, m);
            m = NULL;
            continue;
        }
        m->is_out = true;
        m->is_begun = lane == QUEUE_LOCAL;
        q->out_count++;
        m->seg->out++;
    }
    pthread_mutex_unlock(&q->lock);
    return m;
}

/* The most that may be noted of a message in one attempt, in octets. */
static uint64_t room_of(const struct queue_msg *m) {
    return (uint64_t)JOURNAL_RCPT * (m->rcpt_count + 1);
}

enum err_code queue_may_begin(struct queue *q, struct queue_msg *m, struct err *e) {
    enum err_code code;

    pthread_mutex_lock(&q->lock);
    if (m->is_held || is_finished(m)) code = err_set(e, ERR_BUSY, "held or dropped meanwhile");
    else if (is_stuck(q)) code = err_set(e, ERR_FULL, "the queue's journals cannot be written");
    else code = journal_ready(q, m->seg, m->is_begun ? 0 : room_of(m), e);
    if (code == OK && !m->is_begun) {
        m->is_begun = m->has_room = true;
        m->seg->journal_due += room_of(m);
    }
    pthread_mutex_unlock(&q->lock);
    return code;
}

wall_t queue_due(struct queue *q, enum queue_lane lane) {
    wall_t due;

    pthread_mutex_lock(&q->lock);
    due = q->heap[lane].n > 0 ? q->heap[lane].v[0]->due : INT64_MAX;
    pthread_mutex_unlock(&q->lock);
    return due;
}

unsigned queue_wakes(struct queue *q) {
    unsigned n;

    pthread_mutex_lock(&q->lock);
    n = q->wakes;
    pthread_mutex_unlock(&q->lock);
    return n;
}

void queue_wait(struct queue *q, enum queue_lane lane, unsigned wakes, unsigned timeout_ms) {
    struct heap *h = &q->heap[lane];
    mono_t end = clock_mono() + timeout_ms;

    pthread_mutex_lock(&q->lock);
    while (wakes == q->wakes) {
        wall_t left_s = h->n > 0 ? h->v[0]->due - clock_wall() : INT32_MAX;
        mono_t until = end;
        struct timespec at;

        if (q->owing > 0 && left_s < 1) left_s = 1; /* nothing is begun meanwhile */
        if (left_s <= 0 || clock_mono() >= end) break;
        /* The first that is due ends the wait, and so does a message that comes before it. */
        if (left_s * 1000 < until - clock_mono()) until = clock_mono() + left_s * 1000;
        at = (struct timespec){.tv_sec = until / 1000, .tv_nsec = (long)(until % 1000) * 1000000};
        pthread_cond_timedwait(&h->changed, &q->lock, &at);
    }
    pthread_mutex_unlock(&q->lock);
}

void queue_wake(struct queue *q) {
    pthread_mutex_lock(&q->lock);
    q->wakes++;
    for (int i = 0; i < QUEUE_LANES; i++) pthread_cond_broadcast(&q->heap[i].changed);
    pthread_mutex_unlock(&q->lock);
}

void queue_count(struct queue *q, size_t *all, size_t *out) {
    pthread_mutex_lock(&q->lock);
    if (all) *all = q->message_count;
    if (out) *out = q->out_count;
    pthread_mutex_unlock(&q->lock);
}

bool queue_is_idle(struct queue *q, wall_t now) {
    bool idle;

    pthread_mutex_lock(&q->lock);
    idle = q->out_count == 0;
    for (int i = 0; i < QUEUE_LANES && !q->owing; i++)
        idle &= q->heap[i].n == 0 || q->heap[i].v[0]->due > now;
    pthread_mutex_unlock(&q->lock);
    return idle;
}

/* --- leases
 * ---------------------------------------------------------------------------------------- */

void segment_end(struct queue *q, struct segment *s) {
    char path[PATH_MAX], aside[PATH_MAX];
    bool gone = false;

    if (s->finished == s->messages) {
        queue_path(q, path, s->name, ".seg");
        /* The segment first: a journal alone is nothing, a segment alone would be delivered again.
         */
        if (s->is_damaged) {
            queue_path(q, aside, s->name, ".bad");
            gone = rename(path, aside) == 0;
        } else {
            gone = unlink(path) == 0 || errno == ENOENT;
        }
        queue_path(q, path, s->name, ".jnl");
        if (gone) unlink(path);
        else
            log_event(q->log, LEVEL_ERROR, "cannot remove a finished segment", "segment",
                      slice_str(s->name), "why", slice_str(strerror(errno)), NULL);
    }
    if (!gone) journal_pay(q, s, NULL);
    journal_forgive(q, s);
    fd_close(&s->fd);
    fd_close(&s->journal_fd);
    free(s);
}

static void drop_if_done(struct queue *q, struct segment *s) {
    if (s->is_writer || s->is_moving || s->finished != s->messages) return;
    for (struct segment **at = &q->segments; *at; at = &(*at)->next) {
        if (*at != s) continue;
        *at = s->next;
        segment_end(q, s);
        return;
    }
}

/* Read the envelope of a record far enough to know how many recipients it has and when it came. */
static enum err_code make_msg(struct segment *s, const struct record *r, struct queue_msg **out,
                              struct err *e) {
    struct queue_msg *m = NULL;
    struct envelope env;
    struct arena a;
    struct buf text;
    enum err_code code;

    arena_init(&a, 4 * ENVELOPE_BYTES_MAX);
    buf_init(&text, ENVELOPE_BYTES_MAX);
    code = record_envelope(s->fd, r->at, r->env_size, &text, e);
    if (code == OK) code = envelope_parse(buf_slice(&text), &a, &env, e);
    if (code == OK) {
        m = calloc(1, sizeof *m + env.rcpt_count);
        if (!m) code = err_set(e, ERR_MEMORY, "no memory for the queue");
    }
    if (code == OK) {
        m->seg = s;
        memcpy(m->id, r->id, sizeof m->id);
        m->at = r->at;
        m->env_size = r->env_size;
        m->size = r->size;
        m->rcpt_count = (uint32_t)env.rcpt_count;
        m->arrived = env.arrived;
        m->due = env.release_at; /* until the journal says otherwise */
    }
    buf_release(&text);
    arena_release(&a);
    *out = m;
    return code;
}

/* A table of the messages of a segment by id, so that a journal is applied in one pass. */
struct table {
    struct queue_msg **v;
    size_t mask;
};

static size_t hash_id(struct slice id) {
    uint64_t h = 14695981039346656037u;

    for (size_t i = 0; i < id.n; i++) h = (h ^ (unsigned char)id.p[i]) * 1099511628211u;
    return (size_t)(h ^ h >> 29);
}

static bool table_make(struct table *t, struct queue_msg *list, size_t count) {
    size_t size = 16;

    while (size < count * 2) size *= 2;
    t->mask = size - 1;
    t->v = calloc(size, sizeof *t->v);
    if (!t->v) return false;
    for (struct queue_msg *m = list; m; m = m->next) {
        size_t i = hash_id(slice_str(m->id)) & t->mask;

        while (t->v[i]) i = (i + 1) & t->mask;
        t->v[i] = m;
    }
    return true;
}

static struct queue_msg *table_find(const struct table *t, struct slice id) {
    size_t i = hash_id(id) & t->mask;

    while (t->v[i] && !slice_eq(slice_str(t->v[i]->id), id)) i = (i + 1) & t->mask;
    return t->v[i];
}

/* The last record of a segment has all its octets, with the line end behind them: what was not
 * acknowledged when a crash came lacks its end. */
static bool is_complete(const struct segment *s, uint64_t end) {
    char last = 0;

    return pread(s->fd, &last, 1, (off_t)(end - 1)) != 1 || last == '\n';
}

/* Is what lies behind the last complete record of `s` a torn write, which nobody was told 250 of?
 * Otherwise it is damage. A segment gets its name after its first records are durable, so its start
 * is never torn; a torn record is the beginning of one record, or zeros that a power cut left. */
static bool is_torn(const struct segment *s, uint64_t at, uint64_t size) {
    char text[4096], carry[6] = "";
    bool zeros = true, line = false, marks = false, is_cut;
    uint64_t from = at;
    struct record r;

    if (at == 0) return false;
    is_cut = record_read(s->fd, at, UINT64_MAX, &r) == STEP_DONE; /* its header is one */
    while (at < size && !marks) {
        ssize_t n = pread(s->fd, text + 5, sizeof text - 5, (off_t)at);
        struct slice t;

        if (n <= 0) return false;
        memcpy(text, carry, 5);
        t = slice_of(text, (size_t)n + 5);
        for (size_t i = 5; i < t.n; i++) {
            zeros &= text[i] == 0;
            line |= text[i] == '\n';
        }
        marks =
            slice_find(t, S("\nPBM1 ")) != SLICE_NONE; /* a record behind: this was whole once */
        memcpy(carry, t.p + t.n - 5, 5);
        at += (uint64_t)n;
    }
    if (marks) return false;
    return zeros || is_cut || (!line && size - from < RECORD_HEADER_MAX);
}

/* Read all records of a leased segment. */
static enum err_code read_segment(struct queue *q, struct segment *s, struct queue_msg **list,
                                  struct err *e) {
    struct stat st;
    struct record r;
    uint64_t at = 0, size;
    enum step step;
    enum err_code code = OK;

    if (fstat(s->fd, &st) < 0) return err_sys(e, "cannot read segment %s", s->name);
    size = (uint64_t)st.st_size;
    if (segment_size(s->fd, &size) != OK) return err_sys(e, "cannot read segment %s", s->name);
    while (code == OK && (step = record_read(s->fd, at, size, &r)) == STEP_DONE) {
        uint64_t end = r.at + r.env_size + r.size + 1;
        struct queue_msg *m = NULL;
        struct err why = {0};

        code = record_check(s->fd, &r);
        /* What could not be read is neither torn nor damaged: the segment is left for later. */
        if (code == ERR_IO || code == ERR_MEMORY)
            return code == ERR_IO ? err_sys(e, "cannot read segment %s", s->name)
                                  : err_set(e, code, "no memory to read segment %s", s->name);
        if (code == OK) {
            code = make_msg(s, &r, &m, &why);
            if (code == ERR_MEMORY || code == ERR_IO) {
                err_note(&why, "segment %s", s->name);
                if (e) *e = why;
                return code;
            }
        }
        if (m) {
            m->next = *list;
            *list = m;
            s->messages++;
            s->live += r.env_size + r.size;
            code = OK;
        } else if (end < size || is_complete(s, end)) {
            s->is_damaged = true;
            log_event(q->log, LEVEL_ERROR, "damaged record in the queue", "segment",
                      slice_str(s->name), "id", slice_str(r.id), "kept",
                      S("as .bad when the rest is done"), NULL);
            code = OK;
        } else {
            code = OK;
            break;
        }
        at = end;
    }
    if (code == OK && at < size && step == STEP_BAD && r.is_unread)
        return err_sys(e, "cannot read segment %s", s->name);
    if (code == OK && at < size && !is_torn(s, at, size)) {
        s->is_damaged = true;
        log_event(q->log, LEVEL_ERROR, "damaged record in the queue", "segment", slice_str(s->name),
                  "kept", S("as .bad when the rest is done"), NULL);
    } else if (code == OK && at < size) {
        char n[24];

        log_event(q->log, LEVEL_WARN, "torn end of a segment cut; it was never acknowledged",
                  "segment", slice_str(s->name), "bytes", log_num(n, (int64_t)(size - at)), NULL);
        if (ftruncate(s->fd, (off_t)at) < 0) code = err_sys(e, "cannot cut segment %s", s->name);
    } else if (code == OK && size < (uint64_t)st.st_size && ftruncate(s->fd, (off_t)size) < 0) {
        code = err_sys(e, "cannot cut segment %s", s->name);
    }
    s->size = at;
    return code;
}

static enum err_code replay(struct queue *q, struct segment *s, struct queue_msg *list,
                            struct err *e) {
    struct buf text;
    struct slice rest;
    struct journal_line l;
    struct table t = {0};
    char path[PATH_MAX];
    wall_t now = clock_wall();
    bool had;
    enum err_code code;

    buf_init(&text, JOURNAL_BYTES_MAX);
    queue_path(q, path, s->name, ".jnl");
    /* When in doubt somebody worked on it: then each delivery is checked. */
    had = access(path, F_OK) == 0 || errno != ENOENT;
    code = journal_read(q, s->name, &text, e);
    if (code == OK && !table_make(&t, list, s->messages))
        code = err_set(e, ERR_MEMORY, "no memory for the queue");
    s->journal_bytes = text.n;
    s->had_journal = had;
    rest = buf_slice(&text);
    while (code == OK && journal_next(&rest, &l)) {
        struct queue_msg *m = table_find(&t, l.id);
        struct journal_state j;

        if (!m) continue;
        j = (struct journal_state){m->due, m->attempts, m->is_held, m->is_delay_told};
        journal_apply(&l, &j, m->state, m->rcpt_count);
        /* A line from the future was written while the clock was wrong: so was the time in it. */
        m->due = l.at > now + CLOCK_SLACK_S && j.due != m->due ? 0 : j.due;
        m->attempts = (uint16_t)(j.attempts > 65535 ? 65535 : j.attempts);
        m->is_held = j.is_held;
        m->is_delay_told = j.is_delay_told;
    }
    free(t.v);
    buf_release(&text);
    return code;
}

static enum err_code lease_one(struct queue *q, const char *name, unsigned *held, struct err *e) {
    struct segment *s = calloc(1, sizeof *s);
    struct queue_msg *list = NULL, *next;
    struct stat st;
    char path[PATH_MAX];
    enum err_code code;

    if (!s) return err_set(e, ERR_MEMORY, "no memory for the queue");
    s->journal_fd = -1;
    s->is_published = true;
    snprintf(s->name, sizeof s->name, "%s", name);
    queue_path(q, path, name, ".seg");
    s->fd = open(path, O_RDWR | O_CLOEXEC);
    if (s->fd < 0) {
        /* Finished meanwhile by another process. */
        code = errno == ENOENT ? OK : err_sys(e, "cannot open %s", path);
        free(s);
        if (code != ERR_DENIED) return code;
        /* Somebody else's file does not stop the rest of the mail. */
        if (!q->has_warned)
            log_event(q->log, LEVEL_ERROR, "a segment belongs to another user; chown it", "file",
                      slice_str(path), NULL);
        q->has_warned = true;
        return OK;
    }
    code = lock_try(s->fd, LOCK_LEASE, true, path, e);
    if (code == OK && (segments_are_moving(q) || lock_is_held(s->fd, LOCK_WRITER))) code = ERR_BUSY;
    if (code != OK || fstat(s->fd, &st) < 0 || st.st_nlink == 0) {
        close(s->fd);
        free(s);
        if (code == ERR_BUSY) ++*held;
        return code == ERR_BUSY ? OK : code;
    }
    code = read_segment(q, s, &list, e);
    if (code == OK) code = replay(q, s, list, e);
    if (code != OK) {
        for (; list; list = next) {
            next = list->next;
            free(list);
        }
        close(s->fd);
        free(s);
        return code;
    }
    pthread_mutex_lock(&q->lock);
    s->next = q->segments;
    q->segments = s;
    for (; list; list = next) {
        next = list->next;
        if (is_finished(list)) {
            s->finished++;
            s->live -= list->env_size + list->size;
            free(list);
            continue;
        }
        list->prev = NULL;
        list->next = q->messages;
        if (list->next) list->next->prev = list;
        q->messages = list;
        q->message_count++;
        if (!queue_line_up(q, list)) code = err_set(e, ERR_MEMORY, "no memory for the queue");
    }
    if (code == OK) drop_if_done(q, s);
    pthread_mutex_unlock(&q->lock);
    return code;
}

enum err_code queue_lease(struct queue *q, unsigned *held, struct err *e) {
    char **names = NULL;
    size_t count = 0;
    unsigned others = 0;
    enum err_code code, first = OK;

    /* What this process wrote before it took leases is found like any other segment. */
    pthread_mutex_lock(&q->writing);
    if (!q->is_leasing) queue_seal(q);
    pthread_mutex_lock(&q->lock);
    q->is_leasing = true;
    pthread_mutex_unlock(&q->lock);
    pthread_mutex_unlock(&q->writing);
    do {
        segment_names_free(names, count);
        names = NULL;
        count = 0;
        code = segment_names(q, &names, &count, e);
    } while (code == OK && segments_absorb(q, names, count));
    for (size_t i = 0; code == OK && i < count; i++) {
        struct err why = {0};
        enum err_code one = OK;
        bool have = false;
        size_t open = 0;

        pthread_mutex_lock(&q->lock);
        for (struct segment *s = q->segments; s && !have; s = s->next, open++)
            have = strcmp(s->name, names[i]) == 0;
        pthread_mutex_unlock(&q->lock);
        if (have) continue;
        if (open >= q->segment_max) {
            log_event(q->log, LEVEL_WARN,
                      "the queue has more segments than descriptors; the rest waits", NULL);
            break;
        }
        one = lease_one(q, names[i], &others, &why);
        if (one == OK) continue;
        /* One that cannot be read does not keep the others; it is tried again the next time. */
        if (first == OK) {
            first = one;
            if (e) *e = why;
        }
        if (errno == EMFILE || errno == ENFILE || one == ERR_MEMORY) break;
    }
    segment_names_free(names, count);
    if (code == OK) queue_sweep(q);
    if (held) *held = others;
    return code != OK ? code : first;
}

/* --- one message
 * ----------------------------------------------------------------------------------- */

const char *queue_msg_id(const struct queue_msg *m) { return m->id; }
const char *queue_msg_segment(const struct queue_msg *m) { return m->seg->name; }
wall_t queue_msg_arrived(const struct queue_msg *m) { return m->arrived; }
unsigned queue_msg_attempts(const struct queue_msg *m) { return m->attempts; }
bool queue_msg_was_begun(const struct queue_msg *m) {
    return m->attempts > 0 || m->seg->had_journal;
}
bool queue_msg_delay_told(const struct queue_msg *m) { return m->is_delay_told; }

/* The recipients of one message may be worked on by several threads, each on its own. */
enum queue_state queue_msg_state(const struct queue_msg *m, size_t rcpt) {
    return rcpt < m->rcpt_count
               ? (enum queue_state)__atomic_load_n(&m->state[rcpt], __ATOMIC_ACQUIRE)
               : QUEUE_FAILED;
}

enum err_code queue_msg_envelope(struct queue *q, const struct queue_msg *m, struct arena *a,
                                 struct envelope *env, struct err *e) {
    struct buf text;
    enum err_code code;

    (void)q;
    buf_init(&text, ENVELOPE_BYTES_MAX);
    code = record_envelope(m->seg->fd, m->at, m->env_size, &text, e);
    if (code == OK) code = envelope_parse(buf_slice(&text), a, env, e);
    if (code != OK && e) err_note(e, "segment %s", m->seg->name);
    buf_release(&text);
    return code;
}

void queue_msg_body(const struct queue_msg *m, int *fd, uint64_t *offset, uint64_t *size) {
    *fd = m->seg->fd;
    *offset = m->at + m->env_size;
    *size = m->size;
}

enum err_code queue_note(struct queue *q, struct queue_msg *m, size_t rcpt,
                         const struct queue_outcome *o, struct err *e) {
    static const char *const words[] = {"deferred", "delivered", "failed"};
    enum err_code code;

    if (rcpt >= m->rcpt_count) return err_set(e, ERR_BUG, "no recipient %zu", rcpt);
    pthread_mutex_lock(&q->lock);
    code = journal_add(q, m->seg, m->id, (int)rcpt, words[o->state], o->detail, e);
    /* Even when the journal could not be written, this process will not send it again. */
    __atomic_store_n(&m->state[rcpt], (uint8_t)o->state, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&q->lock);
    return code;
}

enum err_code queue_note_delay(struct queue *q, struct queue_msg *m, struct err *e) {
    enum err_code code;

    pthread_mutex_lock(&q->lock);
    m->is_delay_told = true;
    code = journal_add(q, m->seg, m->id, -1, "delay", S(""), e);
    pthread_mutex_unlock(&q->lock);
    return code;
}

/* Something could not be made durable: all is tried again the next time. */
static void unsynced(struct queue *q) {
    pthread_mutex_lock(&q->lock);
    for (struct segment *s = q->segments; s; s = s->next) {
        s->is_journal_dirty = s->journal_fd >= 0;
        s->is_journal_durable = false;
    }
    pthread_mutex_unlock(&q->lock);
}

enum err_code queue_sync(struct queue *q, struct queue_msg *m, struct err *e) {
    struct segment *s = m->seg;
    bool first;
    enum err_code code;

    if (s->journal_fd < 0) return OK;
    code = file_sync(s->journal_fd, "the queue's journal", e);
    pthread_mutex_lock(&q->lock);
    first = !s->is_journal_durable;
    s->is_journal_durable = true;
    pthread_mutex_unlock(&q->lock);
    if (code == OK && first) code = file_sync_dir(q->dir, e);
    if (code != OK) unsynced(q);
    return code;
}

/* At most SYNC_AT_ONCE journals; `*more` when that was not all. */
static enum err_code sync_some(struct queue *q, bool *more, struct err *e) {
    int fds[SYNC_AT_ONCE];
    bool is_first = false;
    size_t n = 0;
    enum err_code code = OK;

    /* A segment may end while its journal is synced: the descriptors are our own. */
    pthread_mutex_lock(&q->lock);
    for (struct segment *s = q->segments; s && n < COUNT_OF(fds); s = s->next) {
        enum err_code paid = journal_pay(q, s, code == OK ? e : NULL);

        if (code == OK) code = paid;
        if (!s->is_journal_dirty || s->journal_fd < 0) continue;
        fds[n] = fcntl(s->journal_fd, F_DUPFD_CLOEXEC, 0);
        if (fds[n] < 0) {
            if (code == OK) code = err_sys(e, "cannot sync the queue's journals");
            break;
        }
        n++;
        s->is_journal_dirty = false;
        is_first |= !s->is_journal_durable;
        s->is_journal_durable = true;
    }
    pthread_mutex_unlock(&q->lock);
    for (size_t i = 0; i < n; i++) {
        enum err_code synced = file_sync(fds[i], "the queue's journal", code == OK ? e : NULL);

        if (code == OK) code = synced;
        close(fds[i]);
    }
    if (code == OK && is_first) code = file_sync_dir(q->dir, e);
    if (code != OK) unsynced(q);
    *more = n == COUNT_OF(fds);
    return code;
}

enum err_code queue_sync_all(struct queue *q, struct err *e) {
    enum err_code code = OK;

    for (bool more = true; more;) {
        enum err_code one = sync_some(q, &more, code == OK ? e : NULL);

        if (code == OK) code = one;
    }
    return code;
}

unsigned queue_flushes(const struct queue *q) { return q->flushes; }

void queue_finish(struct queue *q, struct queue_msg *m) {
    struct segment *s = m->seg;

    queue_line_out(q, m);
    if (m->prev) m->prev->next = m->next;
    else q->messages = m->next;
    if (m->next) m->next->prev = m->prev;
    q->message_count--;
    s->live -= m->env_size + m->size;
    free(m);
    s->finished++;
    drop_if_done(q, s);
}

void queue_done(struct queue *q, struct queue_msg *m, enum queue_lane lane, wall_t next) {
    pthread_mutex_lock(&q->lock);
    if (m->has_room) m->seg->journal_due -= room_of(m);
    m->is_out = m->is_begun = m->has_room = false;
    q->out_count--;
    m->seg->out--;
    if (is_finished(m)) {
        queue_finish(q, m);
    } else {
        if (next > 0) {
            char text[24];

            journal_add(q, m->seg, m->id, -1, "next", log_num(text, next), NULL);
            if (m->attempts < 65535) m->attempts++;
        }
        m->lane = (uint8_t)lane;
        m->due = next;
        queue_line_up(q, m);
    }
    pthread_mutex_unlock(&q->lock);
}
