/* request: hold, release, drop, flush. Who asks and who holds the lease may be two processes.
 *
 * A request to another process is a file "req-VERB.SEGMENT.NAME" in the queue's directory, with an
 * id a line. The holder of the segment removes it when all is done.
 * "req-flush.all" is empty and meant for everybody who works on the queue. */
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

enum {
    REQUEST_BYTES_MAX = 16 * 1024 * 1024,
    REQUEST_NAME_MAX = 2 * QUEUE_ID_MAX + 16,
    ANSWER_POLL_MS = 10,
    DROP_ROOM = 128, /* octets of a journal line that says so */
    GONE_MS = 500    /* after a segment is gone nobody answers */
};

static const char *const verbs[] = {"hold", "release", "drop", "flush"};

static int by_id(const void *a, const void *b) { return strcmp(a, b); }

struct queue_ask *queue_ask_find(struct queue_ask *asks, size_t n, const char *id) {
    return bsearch(id, asks, n, sizeof *asks, by_id);
}

/* --- the holder's side
 * ------------------------------------------------------------------------------------------- */

static bool is_wanted(enum queue_verb verb, const struct queue_msg *m) {
    if (verb == QUEUE_HOLD) return !m->is_held;
    if (verb == QUEUE_RELEASE) return m->is_held;
    for (size_t i = 0; verb == QUEUE_DROP && i < m->rcpt_count; i++)
        if (m->state[i] == QUEUE_PENDING) return true;
    return verb == QUEUE_FLUSH && !m->is_held && (m->is_out || m->due > 0);
}

/* Carry out a request on a message that this process has in memory; false: something was begun
 * that must end first. With `lock` held; `m` may be gone afterwards. */
static bool obey_one(struct queue *q, enum queue_verb verb, struct queue_msg *m) {
    if (is_wanted(verb, m)) {
        /* Who holds may mean to put another in its place, and then to drop it: that it is dropped
         * must find room. Without it the line itself will tell. */
        if (verb == QUEUE_HOLD)
            journal_ready(q, m->seg, DROP_ROOM * (m->seg->messages - m->seg->finished), NULL);
        journal_add(q, m->seg, m->id, -1, verbs[verb], S(""), NULL);
        if (!m->is_out) queue_line_out(q, m);
        if (verb == QUEUE_HOLD) m->is_held = true;
        if (verb == QUEUE_RELEASE) m->is_held = false;
        if (verb == QUEUE_DROP)
            for (size_t i = 0; i < m->rcpt_count; i++)
                if (m->state[i] == QUEUE_PENDING)
                    __atomic_store_n(&m->state[i], QUEUE_FAILED, __ATOMIC_RELEASE);
        if (!m->is_out && verb == QUEUE_DROP) {
            queue_finish(q, m);
            return true;
        }
        if (!m->is_out) {
            m->due = 0;
            queue_line_up(q, m);
        }
    }
    return !m->is_begun || verb == QUEUE_RELEASE || verb == QUEUE_FLUSH;
}

/* Carry out a request on those of `asks` that this process has; all of `s`, or of every segment.
 * Gives how many wait for the end of a delivery; the others get OK. `asks` NULL: all messages. */
static size_t obey(struct queue *q, enum queue_verb verb, const struct segment *s,
                   struct queue_ask *asks, size_t n) {
    struct queue_msg *m, *next;
    size_t waiting = 0;

    if (verb == QUEUE_FLUSH) q->flushes++;
    pthread_mutex_lock(&q->lock);
    for (m = q->messages; m; m = next) {
        struct queue_ask *ask = asks ? queue_ask_find(asks, n, m->id) : NULL;

        next = m->next;
        if ((asks && !ask) || (s && m->seg != s)) continue;
        if (ask) ask->code = OK;
        if (obey_one(q, verb, m)) continue;
        if (ask) ask->code = ERR_TIMEOUT;
        waiting++;
    }
    pthread_mutex_unlock(&q->lock);
    return waiting;
}

/* "req-VERB.SEGMENT.NAME" or "req-VERB.all". */
static bool parse_name(const char *name, enum queue_verb *verb, char segment[QUEUE_ID_MAX]) {
    struct slice rest = slice_str(name), word;

    if (!slice_starts(rest, S("req-"))) return false;
    slice_cut(slice_from(rest, 4), '.', &word, &rest);
    for (size_t i = 0; i < COUNT_OF(verbs); i++) {
        if (!slice_eq(word, slice_str(verbs[i]))) continue;
        *verb = (enum queue_verb)i;
        slice_cut(rest, '.', &word, &rest);
        if (word.n >= QUEUE_ID_MAX) return false;
        snprintf(segment, QUEUE_ID_MAX, "%.*s", SP(word));
        return true;
    }
    return false;
}

/* The names in a request, sorted; NULL with `*n` 0: nothing can be made of it. */
static struct queue_ask *read_asks(const char *path, size_t *n) {
    struct buf text;
    struct slice rest, line;
    struct queue_ask *asks = NULL;
    size_t cap = 0;

    *n = 0;
    buf_init(&text, REQUEST_BYTES_MAX);
    if (file_read(path, &text, NULL) == OK) {
        for (size_t i = 0; i < text.n; i++) cap += text.p[i] == '\n';
        asks = calloc(cap + 1, sizeof *asks);
    }
    for (rest = buf_slice(&text); asks && rest.n;) {
        slice_cut(rest, '\n', &line, &rest);
        if (line.n > 0 && line.n < QUEUE_ID_MAX && *n < cap)
            snprintf(asks[(*n)++].id, QUEUE_ID_MAX, "%.*s", SP(line));
    }
    buf_release(&text);
    if (asks) qsort(asks, *n, sizeof *asks, by_id);
    return asks;
}

/* False: it waits. */
static bool obey_file(struct queue *q, const char *name) {
    char path[PATH_MAX], segment[QUEUE_ID_MAX];
    const struct segment *s;
    struct queue_ask *asks;
    enum queue_verb verb;
    size_t n, waiting;

    if (slice_ends(slice_str(name), S(".new")) || !parse_name(name, &verb, segment)) return true;
    queue_path(q, path, name, "");
    if (strcmp(segment, "all") == 0) {
        unlink(path);
        if (verb == QUEUE_FLUSH) obey(q, verb, NULL, NULL, 0);
        return true;
    }
    pthread_mutex_lock(&q->lock);
    for (s = q->segments; s && strcmp(s->name, segment) != 0;) s = s->next;
    pthread_mutex_unlock(&q->lock);
    if (!s) return true; /* another process has it, or it is gone: who asks sees that */
    asks = read_asks(path, &n);
    if (!asks) return true;
    waiting = obey(q, verb, s, asks, n);
    free(asks);
    if (waiting > 0) return false;
    if (queue_sync_all(q, NULL) == OK) unlink(path);
    return true;
}

bool queue_obey(struct queue *q) {
    DIR *d;
    struct dirent *entry;
    bool waits = false;

    queue_roll(q, clock_wall());
    queue_tidy(q);
    d = opendir(q->dir);
    if (!d) return false;
    while ((entry = readdir(d)) != NULL) waits |= !obey_file(q, entry->d_name);
    closedir(d);
    return waits;
}

/* --- who asks
 * ------------------------------------------------------------------------------------------- */

/* What of `asks` is in one segment. */
struct part {
    struct part *next;
    char segment[QUEUE_ID_MAX], name[REQUEST_NAME_MAX];
    size_t *at; /* indexes of asks */
    size_t n, cap;
};

struct asking {
    struct queue *q;
    enum queue_verb verb;
    struct queue_ask *asks;
    size_t n;
    struct part *part; /* of the segment in hand */
    bool bad;
    struct part *sent; /* requests that wait for an answer */
};

static bool note_part(const struct queue_entry *entry, void *p) {
    struct asking *a = p;
    struct queue_ask *ask = queue_ask_find(a->asks, a->n, entry->id);
    struct part *part = a->part;

    if (!ask || ask->code == OK) return true;
    if (part->n == part->cap) {
        size_t cap = part->cap ? part->cap * 2 : 16;
        size_t *more = realloc(part->at, cap * sizeof *more);

        a->bad = !more;
        if (!more) return false;
        part->at = more;
        part->cap = cap;
    }
    part->at[part->n++] = (size_t)(ask - a->asks);
    return true;
}

static void part_free(struct part *part) {
    free(part->at);
    free(part);
}

/* Nobody works on the segment: note it in the journal, with the lease for a moment. `*done` false:
 * somebody does. */
static enum err_code note_here(struct asking *a, const struct part *part, bool *done,
                               struct err *e) {
    struct queue *q = a->q;
    struct segment s = {.journal_fd = -1};
    enum err_code code = OK;
    struct stat st;
    char path[PATH_MAX];

    *done = false;
    queue_path(q, path, part->segment, ".seg");
    s.fd = open(path, O_RDWR | O_CLOEXEC);
    if (s.fd < 0) return errno == ENOENT ? OK : err_sys(e, "cannot open %s", path);
    snprintf(s.name, sizeof s.name, "%s", part->segment);
    if (lock_try(s.fd, LOCK_LEASE, true, path, NULL) == OK && !segments_are_moving(q) &&
        access(path, F_OK) == 0 && fstat(s.fd, &st) == 0 && st.st_nlink > 0) {
        /* Who holds may mean to drop it later: that must find room (see obey_one). */
        if (a->verb == QUEUE_HOLD) code = journal_ready(q, &s, 2 * DROP_ROOM * part->n, e);
        for (size_t i = 0; code == OK && i < part->n; i++)
            code = journal_add(q, &s, a->asks[part->at[i]].id, -1, verbs[a->verb], S(""), e);
        if (code == OK) code = file_sync(s.journal_fd, "the queue's journal", e);
        if (code == OK) code = file_sync_dir(q->dir, e);
        for (size_t i = 0; code == OK && i < part->n; i++) a->asks[part->at[i]].code = OK;
        *done = code == OK;
    }
    journal_forgive(q, &s);
    fd_close(&s.journal_fd);
    fd_close(&s.fd);
    return code;
}

/* Leave the request for the holder, who never sees half of it. */
static enum err_code send_part(struct asking *a, struct part *part, struct err *e) {
    char path[PATH_MAX], making[PATH_MAX], unique[QUEUE_ID_MAX];
    enum err_code code = OK;
    struct buf text;
    int fd, dir = -1;

    queue_new_id(unique);
    snprintf(part->name, sizeof part->name, "req-%s.%s.%s", verbs[a->verb], part->segment, unique);
    queue_path(a->q, path, part->name, "");
    buf_init(&text, REQUEST_BYTES_MAX);
    for (size_t i = 0; i < part->n; i++) buf_addf(&text, "%s\n", a->asks[part->at[i]].id);
    if (text.bad) {
        buf_release(&text);
        return err_set(e, ERR_LIMIT, "too many messages for one request");
    }
    queue_path(a->q, making, part->name, ".new");
    code = lock_dir(a->q->dir, false, &dir, e); /* nobody sweeps it away meanwhile */
    if (code != OK) {
        buf_release(&text);
        return code;
    }
    fd = open(making, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) code = err_sys(e, "cannot create %s", making);
    else code = file_write(fd, buf_slice(&text), making, e);
    if (code == OK && rename(making, path) < 0) code = err_sys(e, "cannot rename %s", making);
    if (code != OK && fd >= 0) unlink(making);
    fd_close(&fd);
    close(dir);
    buf_release(&text);
    return code;
}

/* Look for what is asked in all segments that others may have; note it or send it. */
static enum err_code ask_segments(struct asking *a, struct err *e) {
    char **names = NULL;
    size_t count = 0;
    enum err_code code = segment_names(a->q, &names, &count, e);

    for (size_t i = 0; code == OK && i < count; i++) {
        struct part *part = calloc(1, sizeof *part);
        struct walk w = {.visit = note_part, .user = a, .asks = a->asks, .ask_count = a->n, .e = e};
        bool done = true;

        a->part = part;
        if (part) {
            snprintf(part->segment, sizeof part->segment, "%s", names[i]);
            walk_segment(a->q, names[i], &w);
        }
        code = !part || a->bad ? err_set(e, ERR_MEMORY, "no memory for the request") : w.code;
        if (code == OK && part->n > 0) code = note_here(a, part, &done, e);
        if (code == OK && !done) code = send_part(a, part, e);
        if (code == OK && !done) {
            part->next = a->sent;
            a->sent = part;
        } else if (part) {
            part_free(part);
        }
    }
    segment_names_free(names, count);
    return code;
}

/* Wait for the answers. True: some segment was written anew before its holder answered. */
static bool await_parts(struct asking *a, mono_t until) {
    bool again = false;

    while (a->sent) {
        struct part *part = a->sent;
        char path[PATH_MAX], segment_path[PATH_MAX];
        bool is_moved = false, is_late;
        mono_t end = until;

        queue_path(a->q, path, part->name, "");
        queue_path(a->q, segment_path, part->segment, ".seg");
        for (;;) {
            is_late = clock_mono() >= end;
            if (access(path, F_OK) < 0 || is_late) break;
            /* The last message of a segment ends it; the answer comes at once then. */
            if (!is_moved && access(segment_path, F_OK) < 0) {
                is_moved = true;
                if (end > clock_mono() + GONE_MS) end = clock_mono() + GONE_MS;
            }
            poll(NULL, 0, ANSWER_POLL_MS);
        }
        /* Who removes it is right: the holder only after all was done. */
        for (bool done = unlink(path) < 0 && errno == ENOENT; part->n > 0;)
            a->asks[part->at[--part->n]].code = done ? OK : ERR_TIMEOUT;
        again |= is_late && is_moved; /* written anew elsewhere: look again */
        a->sent = part->next;
        part_free(part);
    }
    return again;
}

enum err_code queue_request_many(struct queue *q, enum queue_verb verb, struct queue_ask *asks,
                                 size_t n, unsigned timeout_ms, struct err *e) {
    mono_t until = clock_mono() + timeout_ms;
    struct asking a = {.q = q, .verb = verb, .asks = asks, .n = n};
    bool again = true, was_here = false;
    enum err_code code = OK;

    qsort(asks, n, sizeof *asks, by_id);
    for (size_t i = 0; i < n; i++) asks[i].code = ERR_NOT_FOUND;
    while (q->is_leasing && obey(q, verb, NULL, asks, n) > 0 && clock_mono() < until)
        poll(NULL, 0, ANSWER_POLL_MS);
    for (size_t i = 0; i < n; i++) was_here |= asks[i].code == OK;
    if (was_here) code = queue_sync_all(q, e);
    while (code == OK && again) {
        code = ask_segments(&a, e);
        again = await_parts(&a, until) && clock_mono() < until;
    }
    return code;
}

static enum err_code flush_all(struct queue *q, unsigned timeout_ms, struct err *e) {
    mono_t until = clock_mono() + timeout_ms;
    char path[PATH_MAX];
    int fd;

    if (q->is_leasing) obey(q, QUEUE_FLUSH, NULL, NULL, 0);
    if (!timeout_ms) return OK;
    queue_path(q, path, "req-flush.all", "");
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return err_sys(e, "cannot create %s", path);
    close(fd);
    while (clock_mono() < until) {
        if (access(path, F_OK) < 0) return OK;
        poll(NULL, 0, ANSWER_POLL_MS);
    }
    if (unlink(path) < 0 && errno == ENOENT) return OK;
    return err_mail(e, ERR_TIMEOUT, STATUS(4, 3, 0),
                    "the process that works on the queue did not answer");
}

enum err_code queue_request(struct queue *q, enum queue_verb verb, const char *id,
                            unsigned timeout_ms, struct err *e) {
    struct queue_ask ask = {0};
    enum err_code code;

    if (!id) return flush_all(q, timeout_ms, e);
    snprintf(ask.id, sizeof ask.id, "%s", id);
    code = queue_request_many(q, verb, &ask, 1, timeout_ms, e);
    return code != OK ? code : queue_ask_error(&ask, e);
}

enum err_code queue_ask_error(const struct queue_ask *ask, struct err *e) {
    if (ask->code == ERR_TIMEOUT)
        return err_mail(e, ERR_TIMEOUT, STATUS(4, 3, 0),
                        "%s is being delivered just now, or who works on it does not answer; ask "
                        "again",
                        ask->id);
    if (ask->code == ERR_NOT_FOUND)
        return err_set(e, ERR_NOT_FOUND, "no message %s in the queue", ask->id);
    return ask->code;
}
