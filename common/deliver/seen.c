#include "deliver/seen.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/num.h"
#include "sys/file.h"
#include "sys/lock.h"

#define HEAD_OPEN "postbag-seen 1 open\n"
#define HEAD_DONE "postbag-seen 1 done\n"

struct entry {
    char *uid;
    wall_t fetched, shown;
    bool is_gone;
};

struct seen {
    char *path;
    int fd, lock_fd;
    bool was_cut, has_head;
    struct entry *v;
    size_t n, cap;
    uint32_t *hash; /* index + 1; 0 is empty */
    size_t hash_size;
    struct buf added;
};

static uint32_t hash_of(struct slice s) {
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < s.n; i++) h = (h ^ (unsigned char)s.p[i]) * 16777619u;
    return h;
}

static struct entry *find(const struct seen *s, struct slice uid) {
    if (s->hash_size == 0) return NULL;
    for (size_t i = hash_of(uid) & (s->hash_size - 1); s->hash[i]; i = (i + 1) & (s->hash_size - 1))
        if (slice_eq(slice_str(s->v[s->hash[i] - 1].uid), uid)) return &s->v[s->hash[i] - 1];
    return NULL;
}

static void index_put(struct seen *s, size_t at) {
    size_t i = hash_of(slice_str(s->v[at].uid)) & (s->hash_size - 1);

    while (s->hash[i]) i = (i + 1) & (s->hash_size - 1);
    s->hash[i] = (uint32_t)at + 1;
}

static bool grow(struct seen *s) {
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 256;
        struct entry *v = realloc(s->v, cap * sizeof *v);

        if (!v) return false;
        s->v = v;
        s->cap = cap;
    }
    if (s->n * 2 >= s->hash_size) {
        size_t size = s->hash_size ? s->hash_size * 2 : 1024;
        uint32_t *hash = calloc(size, sizeof *hash);

        if (!hash) return false;
        free(s->hash);
        s->hash = hash;
        s->hash_size = size;
        for (size_t i = 0; i < s->n; i++) index_put(s, i);
    }
    return true;
}

/* Add or replace. */
static bool put(struct seen *s, struct slice uid, wall_t fetched, wall_t shown) {
    struct entry *old = find(s, uid);

    if (!old) {
        if (!grow(s)) return false;
        old = &s->v[s->n];
        old->uid = strndup(uid.p, uid.n);
        if (!old->uid) return false;
        index_put(s, s->n++);
    }
    old->fetched = fetched;
    old->shown = shown;
    old->is_gone = false;
    return true;
}

/* Returns how many bytes are whole lines, or SLICE_NONE without memory. */
static size_t parse(struct seen *s, struct slice text) {
    size_t whole = slice_rchr(text, '\n');
    struct slice rest, line;

    whole = whole == SLICE_NONE ? 0 : whole + 1;
    rest = slice_first(text, whole);
    s->was_cut = slice_line(&rest, &line) && slice_ends(line, S(" open"));
    s->has_head = whole > 0;
    while (slice_line(&rest, &line)) {
        struct slice uid, a, b;
        uint64_t fetched, shown;

        if (slice_word(&line, &uid) && slice_word(&line, &a) && slice_word(&line, &b) &&
            num_parse(a, INT64_MAX, &fetched) && num_parse(b, INT64_MAX, &shown) &&
            !put(s, uid, (wall_t)fetched, (wall_t)shown))
            return SLICE_NONE;
    }
    return whole;
}

static enum err_code make_parents(const char *path, struct err *e) {
    char *dir = strdup(path), *slash = dir ? strrchr(dir, '/') : NULL;
    enum err_code code = dir ? OK : err_set(e, ERR_MEMORY, "no memory for the state");

    if (slash && slash != dir) {
        *slash = '\0';
        code = file_mkdirs(dir, 0700, e);
    }
    free(dir);
    return code;
}

static enum err_code load(struct seen *s, struct err *e) {
    struct buf text;
    size_t whole;
    enum err_code code;

    buf_init(&text, SEEN_FILE_MAX);
    s->fd = open(s->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    code =
        s->fd < 0 ? err_sys(e, "cannot open %s", s->path) : file_read_fd(s->fd, s->path, &text, e);
    if (code == OK && text.n >= sizeof HEAD_OPEN - 1 &&
        !slice_starts(buf_slice(&text), S("postbag-seen 1 ")))
        code = err_set(e, ERR_SYNTAX, "%s is not a list of fetched messages", s->path);
    if (code == OK) {
        whole = parse(s, buf_slice(&text));
        if (whole == SLICE_NONE) code = err_set(e, ERR_MEMORY, "no memory for the state");
        else if (whole < text.n && ftruncate(s->fd, (off_t)whole) != 0)
            code = err_sys(e, "cannot cut %s", s->path);
    }
    buf_release(&text);
    return code;
}

enum err_code seen_open(const char *path, struct seen **out, struct err *e) {
    struct seen *s = calloc(1, sizeof *s);
    char *lock = NULL;
    enum err_code code;

    *out = NULL;
    if (!s) return err_set(e, ERR_MEMORY, "no memory for the state");
    s->fd = s->lock_fd = -1;
    buf_init(&s->added, SEEN_FILE_MAX);
    s->path = strdup(path);
    code = !s->path || asprintf(&lock, "%s.lock", path) < 0
               ? err_set(e, ERR_MEMORY, "no memory for the state")
               : make_parents(path, e);
    if (code == OK) {
        s->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (s->lock_fd < 0) code = err_sys(e, "cannot open %s", lock);
    }
    if (code == OK) code = lock_try(s->lock_fd, 0, true, "this maildrop's state", e);
    if (code == OK) code = load(s, e);
    free(lock);
    if (code != OK) {
        seen_close(s);
        return code;
    }
    *out = s;
    return OK;
}

bool seen_was_cut(const struct seen *s) { return s->was_cut; }

wall_t seen_find(struct seen *s, struct slice uid, wall_t now) {
    struct entry *x = find(s, uid);

    if (!x || x->is_gone) return 0;
    x->shown = now;
    return x->fetched;
}

enum err_code seen_add(struct seen *s, struct slice uid, wall_t now, struct err *e) {
    if (uid.n == 0 || uid.n > SEEN_UID_MAX)
        return err_set(e, ERR_SYNTAX, "the server's identifier of a message cannot be noted");
    for (size_t i = 0; i < uid.n; i++)
        if ((unsigned char)uid.p[i] <= ' ' || uid.p[i] == 127)
            return err_set(e, ERR_SYNTAX, "the server's identifier of a message cannot be noted");
    if (!s->has_head) buf_add(&s->added, S(HEAD_OPEN));
    s->has_head = true;
    buf_addf(&s->added, "%.*s %lld %lld\n", SP(uid), (long long)now, (long long)now);
    return put(s, uid, now, now) ? OK : err_set(e, ERR_MEMORY, "no memory for the state");
}

enum err_code seen_flush(struct seen *s, struct err *e) {
    enum err_code code;

    if (s->added.bad) return err_set(e, ERR_MEMORY, "no memory for the state");
    if (s->added.n == 0) return OK;
    /* The mark that a run is at work goes in front of its first line. */
    if (!s->was_cut && s->has_head) {
        struct slice head = S(HEAD_OPEN);
        int fd = open(s->path, O_WRONLY | O_CLOEXEC); /* not O_APPEND */

        code =
            fd < 0 ? err_sys(e, "cannot open %s", s->path) : file_write_at(fd, head, 0, s->path, e);
        fd_close(&fd);
        if (code != OK) return code;
        if (slice_starts(buf_slice(&s->added), head)) buf_drop(&s->added, head.n);
        s->was_cut = true;
    }
    code = file_write(s->fd, buf_slice(&s->added), s->path, e);
    if (code == OK) code = file_sync(s->fd, s->path, e);
    buf_reset(&s->added);
    return code;
}

void seen_drop(struct seen *s, struct slice uid) {
    struct entry *x = find(s, uid);

    if (x) x->is_gone = true;
}

enum err_code seen_finish(struct seen *s, wall_t now, struct err *e) {
    struct buf text;
    enum err_code code;

    buf_init(&text, SEEN_FILE_MAX);
    buf_add(&text, S(HEAD_DONE));
    for (size_t i = 0; i < s->n; i++) {
        const struct entry *x = &s->v[i];

        if (x->is_gone || x->shown + SEEN_FORGET_S < now) continue;
        buf_addf(&text, "%s %lld %lld\n", x->uid, (long long)x->fetched, (long long)x->shown);
    }
    code = text.bad ? err_set(e, ERR_MEMORY, "no memory for the state")
                    : file_replace(s->path, buf_slice(&text), 0600, e);
    buf_release(&text);
    return code;
}

void seen_close(struct seen *s) {
    if (!s) return;
    fd_close(&s->fd);
    fd_close(&s->lock_fd);
    for (size_t i = 0; i < s->n; i++) free(s->v[i].uid);
    free(s->v);
    free(s->hash);
    buf_release(&s->added);
    free(s->path);
    free(s);
}
