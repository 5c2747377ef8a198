/* look: reading the queue while others work on it. */
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

static int by_id(const void *a, const void *b) { return strcmp(a, b); }

static bool is_wanted(const struct walk *w, const char *id) {
    return !w->asks || bsearch(id, w->asks, w->ask_count, sizeof *w->asks, by_id);
}

bool walk_segment(struct queue *q, const char *name, struct walk *w) {
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
        if (fd < 0 && errno == EACCES)
            w->code = err_set(w->e, ERR_DENIED,
                              "%s may not be read by this user: run this as its owner", path);
        else if (fd < 0 && errno != ENOENT) w->code = err_sys(w->e, "cannot read %s", path);
        go_on = false;
    }
    gone = !go_on;
    leased = fd >= 0 && lock_is_held(fd, LOCK_LEASE);
    while (go_on && w->code == OK) {
        memset(&v, 0, sizeof v);
        if (record_read(fd, at, (uint64_t)st.st_size, &v.r) != STEP_DONE) {
            if (v.r.is_unread) w->code = err_sys(w->e, "cannot read %s", path);
            break;
        }
        at = v.r.at + v.r.env_size + v.r.size + 1;
        if (!is_wanted(w, v.r.id)) continue;
        arena_reset(&a);
        buf_reset(&text);
        w->code = record_check(fd, &v.r);
        if (w->code == ERR_SYNTAX) {
            w->code = OK;
            continue;
        }
        if (w->code != OK) {
            err_sys(w->e, "cannot read %s", path);
            break;
        }
        w->code = record_envelope(fd, v.r.at, v.r.env_size, &text, w->e);
        if (w->code == OK) w->code = envelope_parse(buf_slice(&text), &a, &v.env, w->e);
        if (w->code != OK && w->e) err_note(w->e, "%s", path);
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
        v.entry = (struct queue_entry){
            v.r.id, &v.env,  v.r.size, v.j.due, v.j.attempts,         v.j.is_held,
            leased, v.state, v.detail, fd,      v.r.at + v.r.env_size};
        if (!v.is_finished || w->with_finished) go_on = w->visit(&v.entry, w->user);
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

enum err_code queue_walk(struct queue *q, bool finished,
                         bool (*visit)(const struct queue_entry *, void *), void *user,
                         struct err *e) {
    struct walk w = {.visit = visit, .user = user, .with_finished = finished, .e = e};

    return walk_all(q, &w);
}

enum err_code queue_walk_asked(struct queue *q, const struct queue_ask *asks, size_t n,
                               bool (*visit)(const struct queue_entry *, void *), void *user,
                               struct err *e) {
    struct walk w = {.visit = visit, .user = user, .asks = asks, .ask_count = n, .e = e};

    return walk_all(q, &w);
}

enum err_code queue_entry_read(const struct queue_entry *entry, struct buf *out, struct err *e) {
    uint64_t at = entry->at, left = entry->size;

    while (left > 0) {
        size_t n = left < 65536 ? (size_t)left : 65536;
        char *p = buf_room(out, n);
        ssize_t got = p ? pread(entry->fd, p, n, (off_t)at) : -1;

        if (got <= 0)
            return err_set(e, p ? ERR_IO : ERR_LIMIT, "cannot read message %s of the queue",
                           entry->id);
        buf_grown(out, (size_t)got);
        at += (uint64_t)got;
        left -= (uint64_t)got;
    }
    return OK;
}

struct reading {
    struct buf *out;
    struct err *e;
    enum err_code code;
    bool found;
};

static bool visit_read(const struct queue_entry *entry, void *p) {
    struct reading *r = p;

    r->found = true;
    r->code = queue_entry_read(entry, r->out, r->e);
    return false;
}

enum err_code queue_read(struct queue *q, const char *id, struct buf *out, struct err *e) {
    struct reading r = {.out = out, .e = e};
    struct queue_ask ask = {0};
    struct walk w = {.visit = visit_read,
                     .user = &r,
                     .with_finished = true,
                     .asks = &ask,
                     .ask_count = 1,
                     .e = e};
    enum err_code code;

    snprintf(ask.id, sizeof ask.id, "%s", id);
    code = walk_all(q, &w);
    if (code != OK || r.found) return code != OK ? code : r.code;
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
        } else if (slice_starts(name, S("req-"))) {
            struct stat st;

            /* Who asked is gone, and so is what it was about. */
            if (stat(path, &st) == 0 && st.st_mtime + REQUEST_STALE_S < clock_wall()) unlink(path);
        }
    }
    close(making);
    closedir(d);
}
