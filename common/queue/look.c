/* look: reading the queue while others work on it, and asking the holder of a lease for something.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue/impl.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/lock.h"

enum { WALK_TRIES = 3 };

/* What is known of one message from its record and the journal. */
struct view {
    struct queue_entry entry;
    struct envelope env;
    struct record r;
    struct journal_state j;
    uint8_t *state;
    struct slice *detail;
    bool is_finished;
};

/* Go through a segment; `visit` gets each record's view and the descriptor. False ends the walk. */
struct walk {
    bool (*visit)(struct walk *w, struct view *v, int fd);
    bool (*user_visit)(const struct queue_entry *, void *);
    void *user;
    bool with_finished;
    const char *id; /* only this one, or NULL */
    struct buf *out;
    bool found;
    enum err_code code;
    struct err *e;
};

/* The lines of a journal, sorted by message, so that each message finds its own. */
struct lines {
    struct journal_line *v;
    size_t n, cap;
    struct buf text;
};

static int by_message(const void *a, const void *b) {
    const struct journal_line *x = a, *y = b;
    int order = slice_cmp(x->id, y->id);

    return order ? order : (x->word.p > y->word.p) - (x->word.p < y->word.p);
}

static enum err_code lines_read(const struct queue *q, const char *name, struct lines *l,
                                struct err *e) {
    struct journal_line line;
    struct slice rest;
    enum err_code code;

    buf_reset(&l->text);
    l->n = 0;
    code = journal_read(q, name, &l->text, e);
    if (code != OK) return code;
    for (rest = buf_slice(&l->text); journal_next(&rest, &line);) {
        if (l->n == l->cap) {
            size_t cap = l->cap ? l->cap * 2 : 256;
            struct journal_line *v = realloc(l->v, cap * sizeof *v);

            if (!v) return err_set(e, ERR_MEMORY, "no memory to read the queue");
            l->v = v;
            l->cap = cap;
        }
        l->v[l->n++] = line;
    }
    if (l->n) qsort(l->v, l->n, sizeof *l->v, by_message);
    return OK;
}

/* What the journal says of one message. */
static void apply_journal(const struct lines *l, struct view *v, size_t rcpts) {
    struct journal_line key = {.id = slice_str(v->r.id)};
    size_t low = 0, high = l->n;

    while (low < high) { /* the first line that is not before the message's */
        size_t mid = low + (high - low) / 2;

        if (by_message(&l->v[mid], &key) < 0) low = mid + 1;
        else high = mid;
    }
    for (; low < l->n && slice_eq(l->v[low].id, key.id); low++) {
        const struct journal_line *line = &l->v[low];

        journal_apply(line, &v->j, v->state, rcpts);
        if (line->rcpt >= 0 && (size_t)line->rcpt < rcpts) v->detail[line->rcpt] = line->detail;
    }
}

static bool walk_segment(struct queue *q, const char *name, struct walk *w) {
    char path[PATH_MAX];
    struct stat st;
    struct lines lines = {0};
    struct buf text;
    struct arena a;
    uint64_t at = 0;
    struct view v;
    bool go_on = true, gone, leased;
    int fd = -1;

    buf_init(&lines.text, JOURNAL_BYTES_MAX);
    buf_init(&text, ENVELOPE_BYTES_MAX);
    arena_init(&a, 8 * ENVELOPE_BYTES_MAX);
    queue_path(q, path, name, ".seg");
    /* When the file was written anew between, the journal may lack what it has: again. */
    for (int tries = 0;; tries++) {
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) break;
        w->code = lines_read(q, name, &lines, w->e);
        if (w->code != OK || fstat(fd, &st) < 0 || st.st_nlink > 0 || tries == WALK_TRIES) break;
        fd_close(&fd);
    }
    if (fd < 0 || st.st_nlink == 0) {
        if (fd < 0 && errno != ENOENT) w->code = err_sys(w->e, "cannot read %s", path);
        go_on = false;
    }
    gone = !go_on;
    leased = fd >= 0 && lock_is_held(fd, LOCK_LEASE);
    while (go_on && w->code == OK) {
        memset(&v, 0, sizeof v);
        if (record_read(fd, at, (uint64_t)st.st_size, &v.r) != STEP_DONE) break;
        at = v.r.at + v.r.env_size + v.r.size + 1;
        if (w->id && strcmp(w->id, v.r.id) != 0) continue;
        arena_reset(&a);
        buf_reset(&text);
        if (!record_is_whole(fd, &v.r)) continue;
        w->code = record_envelope(fd, v.r.at, v.r.env_size, &text, w->e);
        if (w->code == OK) w->code = envelope_parse(buf_slice(&text), &a, &v.env, w->e);
        if (w->code != OK) break;
        v.state = arena_new(&a, v.env.rcpt_count);
        v.detail = arena_new(&a, v.env.rcpt_count * sizeof *v.detail);
        if (!v.state || !v.detail) {
            w->code = err_set(w->e, ERR_MEMORY, "no memory to read the queue");
            break;
        }
        apply_journal(&lines, &v, v.env.rcpt_count);
        v.is_finished = true;
        for (size_t i = 0; i < v.env.rcpt_count; i++) v.is_finished &= v.state[i] != QUEUE_PENDING;
        v.entry = (struct queue_entry){v.r.id,      &v.env, v.r.size, v.j.due, v.j.attempts,
                                       v.j.is_held, leased, v.state,  v.detail};
        go_on = w->visit(w, &v, fd);
    }
    arena_release(&a);
    buf_release(&text);
    buf_release(&lines.text);
    free(lines.v);
    fd_close(&fd);
    return (go_on || gone) && w->code == OK;
}

static enum err_code walk_all(struct queue *q, struct walk *w) {
    char **names = NULL;
    size_t count = 0;
    enum err_code code = segment_names(q, &names, &count, w->e);

    for (size_t i = 0; code == OK && i < count; i++)
        if (!walk_segment(q, names[i], w)) break;
    segment_names_free(names, count);
    return code != OK ? code : w->code;
}

static bool visit_entry(struct walk *w, struct view *v, int fd) {
    (void)fd;
    if (v->is_finished && !w->with_finished) return true;
    return w->user_visit(&v->entry, w->user);
}

enum err_code queue_walk(struct queue *q, bool finished,
                         bool (*visit)(const struct queue_entry *, void *), void *user,
                         struct err *e) {
    struct walk w = {
        .visit = visit_entry, .user_visit = visit, .user = user, .with_finished = finished, .e = e};

    return walk_all(q, &w);
}

static bool visit_read(struct walk *w, struct view *v, int fd) {
    uint64_t at = v->r.at + v->r.env_size, left = v->r.size;

    w->found = true;
    while (left > 0) {
        size_t n = left < 65536 ? (size_t)left : 65536;
        char *p = buf_room(w->out, n);
        ssize_t got = p ? pread(fd, p, n, (off_t)at) : -1;

        if (got <= 0) {
            w->code = err_set(w->e, p ? ERR_IO : ERR_LIMIT, "cannot read message %s", v->r.id);
            return false;
        }
        buf_grown(w->out, (size_t)got);
        at += (uint64_t)got;
        left -= (uint64_t)got;
    }
    return false;
}

enum err_code queue_read(struct queue *q, const char *id, struct buf *out, struct err *e) {
    struct walk w = {.visit = visit_read, .id = id, .out = out, .e = e};
    enum err_code code = walk_all(q, &w);

    if (code != OK || w.found) return code;
    return err_set(e, ERR_NOT_FOUND, "no message %s in the queue", id);
}

enum err_code queue_story(struct queue *q, const char *id,
                          void (*line)(wall_t at, int rcpt, struct slice word, struct slice detail,
                                       void *user),
                          void *user, struct err *e) {
    char **names = NULL;
    size_t count = 0;
    enum err_code code = segment_names(q, &names, &count, e);

    for (size_t i = 0; code == OK && i < count; i++) {
        struct buf text;
        struct slice rest;
        struct journal_line l;

        buf_init(&text, JOURNAL_BYTES_MAX);
        code = journal_read(q, names[i], &text, e);
        rest = buf_slice(&text);
        while (code == OK && journal_next(&rest, &l))
            if (slice_eq(l.id, slice_str(id))) line(l.at, l.rcpt, l.word, l.detail, user);
        buf_release(&text);
    }
    segment_names_free(names, count);
    return code;
}

/* --- requests ------------------------------------------------------------------------------------
 */

static const char *const verbs[] = {"hold", "release", "drop", "flush"};

/* Carry out a request on a message that this process has in memory. With `lock` held. */
static void obey_one(struct queue *q, enum queue_verb verb, struct queue_msg *m) {
    if (verb == QUEUE_FLUSH && m->is_held) return;
    journal_add(q, m->seg, m->id, -1, verbs[verb], S(""), NULL);
    if (!m->is_out) queue_line_out(q, m);
    if (verb == QUEUE_HOLD) m->is_held = true;
    if (verb == QUEUE_RELEASE) m->is_held = false;
    if (verb == QUEUE_DROP)
        for (size_t i = 0; i < m->rcpt_count; i++)
            if (m->state[i] == QUEUE_PENDING)
                __atomic_store_n(&m->state[i], QUEUE_FAILED, __ATOMIC_RELEASE);
    if (m->is_out) return; /* queue_done sees the new state */
    if (verb == QUEUE_DROP) {
        queue_finish(q, m);
        return;
    }
    m->due = 0;
    queue_line_up(q, m);
}

static bool obey(struct queue *q, enum queue_verb verb, const char *id) {
    struct queue_msg *m, *next;
    bool found = false;

    if (verb == QUEUE_FLUSH) q->flushes++;
    pthread_mutex_lock(&q->lock);
    for (m = q->messages; m; m = next) {
        next = m->next;
        if (id && strcmp(m->id, id) != 0) continue;
        found = true;
        obey_one(q, verb, m);
    }
    pthread_mutex_unlock(&q->lock);
    return found;
}

/* A request is an empty file "req-VERB.ID" in the queue's directory. */
static bool parse_request(const char *name, enum queue_verb *verb, char id[QUEUE_ID_MAX]) {
    struct slice rest = slice_str(name), word;

    if (!slice_starts(rest, S("req-"))) return false;
    slice_cut(slice_from(rest, 4), '.', &word, &rest);
    for (size_t i = 0; i < COUNT_OF(verbs); i++) {
        if (!slice_eq(word, slice_str(verbs[i])) || rest.n >= QUEUE_ID_MAX) continue;
        *verb = (enum queue_verb)i;
        snprintf(id, QUEUE_ID_MAX, "%.*s", SP(rest));
        return true;
    }
    return false;
}

void queue_obey(struct queue *q) {
    DIR *d = opendir(q->dir);
    struct dirent *entry;
    char path[PATH_MAX], id[QUEUE_ID_MAX];
    enum queue_verb verb;

    queue_roll(q, clock_wall());
    queue_tidy(q);
    if (!d) return;
    while ((entry = readdir(d)) != NULL) {
        bool all;

        if (!parse_request(entry->d_name, &verb, id)) continue;
        all = strcmp(id, "all") == 0;
        if (!obey(q, verb, all ? NULL : id) && !all) continue;
        queue_path(q, path, entry->d_name, "");
        unlink(path);
    }
    closedir(d);
}

/* Find the segment of a message, take its lease for a moment, and note the request in its journal.
 */
static bool visit_segment_of(struct walk *w, struct view *v, int fd) {
    (void)v, (void)fd;
    w->found = !v->is_finished;
    return false;
}

static enum err_code note_request(struct queue *q, enum queue_verb verb, const char *id, bool *done,
                                  struct err *e) {
    char **names = NULL;
    size_t count = 0;
    enum err_code code = segment_names(q, &names, &count, e);
    bool found = false;

    *done = false;
    for (size_t i = 0; code == OK && i < count && !found; i++) {
        struct walk w = {.visit = visit_segment_of, .id = id, .e = e};
        struct segment s = {.journal_fd = -1};
        struct stat st;
        char path[PATH_MAX];

        walk_segment(q, names[i], &w);
        code = w.code;
        found = w.found;
        if (!found || code != OK) continue;
        queue_path(q, path, names[i], ".seg");
        s.fd = open(path, O_RDWR | O_CLOEXEC);
        if (s.fd < 0) {
            code = err_sys(e, "cannot open %s", path);
            break;
        }
        snprintf(s.name, sizeof s.name, "%s", names[i]);
        if (lock_try(s.fd, LOCK_LEASE, true, path, NULL) == OK && !segments_are_moving(q) &&
            access(path, F_OK) == 0 && fstat(s.fd, &st) == 0 && st.st_nlink > 0) {
            code = journal_add(q, &s, id, -1, verbs[verb], S(""), e);
            if (code == OK) code = file_sync(s.journal_fd, "the queue's journal", e);
            *done = code == OK;
        }
        journal_forgive(q, &s);
        fd_close(&s.journal_fd);
        fd_close(&s.fd);
    }
    segment_names_free(names, count);
    if (code == OK && !found) return err_set(e, ERR_NOT_FOUND, "no message %s in the queue", id);
    return code;
}

enum err_code queue_request(struct queue *q, enum queue_verb verb, const char *id,
                            unsigned timeout_ms, struct err *e) {
    mono_t until = clock_mono() + timeout_ms;
    char name[64], path[PATH_MAX];
    bool done = false;
    int fd;

    if (q->is_leasing && obey(q, verb, id)) return OK;
    if (id) {
        enum err_code code = note_request(q, verb, id, &done, e);

        if (code != OK || done) return code;
    }
    snprintf(name, sizeof name, "req-%s.%s", verbs[verb], id ? id : "all");
    queue_path(q, path, name, "");
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return err_sys(e, "cannot create %s", path);
    close(fd);
    while (clock_mono() < until) {
        if (access(path, F_OK) < 0) return OK;
        poll(NULL, 0, 20);
    }
    unlink(path);
    return err_mail(e, ERR_TIMEOUT, STATUS(4, 3, 0), "the process that works on %s did not answer",
                    id ? id : "the queue");
}

void queue_sweep(struct queue *q) {
    DIR *d = opendir(q->dir);
    struct dirent *entry;
    char path[PATH_MAX], seg[PATH_MAX];
    int making;

    if (!d) return;
    /* Nobody may be making a segment (see commit.c); if somebody is, the next sweep will do. */
    if (lock_dir(q->dir, true, &making, NULL) != OK) {
        closedir(d);
        return;
    }
    while ((entry = readdir(d)) != NULL) {
        struct slice name = slice_str(entry->d_name);

        queue_path(q, path, entry->d_name, "");
        if (slice_ends(name, S(".jnl")) && name.n - 4 < QUEUE_ID_MAX) {
            snprintf(seg, sizeof seg, "%s/%.*s.seg", q->dir, (int)(name.n - 4), name.p);
            if (access(seg, F_OK) < 0 && errno == ENOENT) unlink(path);
        } else if (slice_ends(name, S(".new"))) {
            int fd = open(path, O_RDWR | O_CLOEXEC);

            if (fd >= 0 && lock_try(fd, LOCK_WRITER, true, path, NULL) == OK &&
                access(path, F_OK) == 0)
                unlink(path);
            if (fd >= 0) close(fd);
        }
    }
    close(making);
    closedir(d);
}
