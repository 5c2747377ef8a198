#include "deliver/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "deliver/local.h"
#include "deliver/rcpt.h"
#include "mime/date.h"
#include "mime/header.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/lock.h"

extern char **environ;

enum { PIECE = 64 * 1024, DOTLOCK_WAIT_MS = 100 };
#define DATE_MAX ((wall_t)4102444800) /* 2100: a date from a header is not trusted beyond */

struct sink_item {
    size_t first, n; /* in the batch of the store or of local */
    struct err err;
};

struct sink {
    struct sink_to to;
    struct sink_item items[SINK_BATCH_MAX];
    size_t n;
    /* maildir */
    struct store *store;
    struct store_batch *batch;
    /* user */
    struct directory directory;
    bool has_directory;
    struct arena arena;
    struct rcpt_end *ends;
    size_t n_ends;
    struct local_batch *local;
    /* mbox */
    int fd;
    off_t start;
    bool has_dotlock;
};

/* --- what a message says of itself
 * ------------------------------------------------------------------- */

/* The same for the same message at any time: when it was received, or written. */
static wall_t date_of(struct slice message) {
    struct slice received = header_value(message, S("Received"));
    size_t at = slice_rchr(received, ';');
    wall_t t;

    if ((at != SLICE_NONE && date_parse(slice_from(received, at + 1), &t, NULL)) ||
        date_parse(header_value(message, S("Date")), &t, NULL))
        return t < 1 ? 1 : t > DATE_MAX ? DATE_MAX : t;
    return 1;
}

static struct slice sender_of(struct slice message) {
    struct slice v = header_value(message, S("Return-Path"));
    size_t from = slice_chr(v, '<'), to = slice_rchr(v, '>');

    if (from == SLICE_NONE || to == SLICE_NONE || to < from || to - from > 400) return S("");
    v = slice_of(v.p + from + 1, to - from - 1);
    for (size_t i = 0; i < v.n; i++)
        if ((unsigned char)v.p[i] <= ' ' || v.p[i] == 127) return S("");
    return v;
}

/* --- LF lines to a descriptor or a stream
 * ------------------------------------------------------------ */

struct lines {
    int fd;
    FILE *stream;
    char block[PIECE];
    size_t n;
    bool is_failed;
};

static void lines_flush(struct lines *l) {
    size_t done = 0;

    if (l->stream && l->n > 0 && fwrite(l->block, 1, l->n, l->stream) != l->n) l->is_failed = true;
    while (!l->stream && !l->is_failed && done < l->n) {
        ssize_t w = write(l->fd, l->block + done, l->n - done);

        if (w > 0) done += (size_t)w;
        else if (errno != EINTR) l->is_failed = true;
    }
    l->n = 0;
}

static void lines_add(struct lines *l, struct slice s) {
    while (s.n > 0 && !l->is_failed) {
        size_t room = PIECE - l->n, part = s.n < room ? s.n : room;

        memcpy(l->block + l->n, s.p, part);
        l->n += part;
        s = slice_from(s, part);
        if (l->n == PIECE) lines_flush(l);
    }
}

static bool is_from_line(struct slice line) {
    while (line.n > 0 && line.p[0] == '>') line = slice_from(line, 1);
    return slice_starts(line, S("From "));
}

/* The message with LF; with `is_mbox` between a From_ line and an empty one, mboxrd. */
static void write_message(struct lines *l, struct slice message, bool is_mbox) {
    struct slice rest = message, line;

    if (is_mbox) {
        struct slice from = sender_of(message);
        time_t t = (time_t)date_of(message);
        struct tm tm;
        char head[600], when[64];

        gmtime_r(&t, &tm);
        strftime(when, sizeof when, "%a %b %e %H:%M:%S %Y", &tm);
        snprintf(head, sizeof head, "From %.*s %s\n", SP(from.n ? from : S("MAILER-DAEMON")), when);
        lines_add(l, slice_str(head));
    }
    while (rest.n > 0) {
        size_t lf = slice_chr(rest, '\n');

        line = slice_first(rest, lf == SLICE_NONE ? rest.n : lf);
        rest = slice_from(rest, lf == SLICE_NONE ? rest.n : lf + 1);
        if (lf != SLICE_NONE && line.n > 0 && line.p[line.n - 1] == '\r') line.n--;
        if (is_mbox && is_from_line(line)) lines_add(l, S(">"));
        lines_add(l, line);
        if (lf != SLICE_NONE || is_mbox) lines_add(l, S("\n"));
    }
    if (is_mbox) lines_add(l, S("\n"));
}

/* --- mbox
 * -------------------------------------------------------------------------------------------- */

/* FILE.lock, as most mail programs make it. Where the directory may not be written the other lock
 * must do. */
static enum err_code dotlock(struct sink *s, struct err *e) {
    mono_t deadline = clock_mono() + SINK_LOCK_MS;
    char path[4200];

    snprintf(path, sizeof path, "%s.lock", s->to.mbox);
    for (;;) {
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);

        if (fd >= 0) {
            close(fd);
            s->has_dotlock = true;
            return OK;
        }
        if (errno == EACCES || errno == EROFS) return OK;
        if (errno != EEXIST) return err_sys(e, "cannot make %s", path);
        if (clock_mono() >= deadline)
            return err_set(e, ERR_BUSY, "%s is there: somebody else writes the mbox", path);
        nanosleep(&(struct timespec){.tv_nsec = DOTLOCK_WAIT_MS * 1000000L}, NULL);
    }
}

static void mbox_close(struct sink *s) {
    char path[4200];

    fd_close(&s->fd);
    snprintf(path, sizeof path, "%s.lock", s->to.mbox);
    if (s->has_dotlock) unlink(path);
    s->has_dotlock = false;
}

static enum err_code mbox_open(struct sink *s, struct err *e) {
    enum err_code code;
    char last[2] = "";

    s->fd = open(s->to.mbox, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->fd < 0) return err_sys(e, "cannot open %s", s->to.mbox);
    code = lock_wait(s->fd, 0, true, SINK_LOCK_MS, s->to.mbox, e);
    if (code == OK) code = dotlock(s, e);
    if (code == OK && (s->start = lseek(s->fd, 0, SEEK_END)) < 0)
        code = err_sys(e, "cannot write %s", s->to.mbox);
    /* Somebody's torn end must not swallow our From_ line. */
    if (code == OK && s->start > 0 && pread(s->fd, last, 1, s->start - 1) == 1 && last[0] != '\n')
        code = file_write(s->fd, S("\n\n"), s->to.mbox, e);
    if (code != OK) mbox_close(s);
    return code;
}

static enum err_code mbox_add(struct sink *s, struct slice message, struct err *e) {
    struct lines l = {.fd = -1};
    off_t before;
    enum err_code code = s->fd < 0 ? mbox_open(s, e) : OK;

    if (code != OK) return code;
    before = lseek(s->fd, 0, SEEK_CUR);
    l.fd = s->fd;
    write_message(&l, message, true);
    lines_flush(&l);
    if (!l.is_failed) return OK;
    code = err_sys(e, "cannot write %s", s->to.mbox);
    if (ftruncate(s->fd, before) == 0) lseek(s->fd, before, SEEK_SET);
    return code;
}

static void mbox_commit(struct sink *s) {
    struct err e = {0};

    if (s->fd < 0) return;
    if (file_sync(s->fd, s->to.mbox, &e) != OK)
        for (size_t i = 0; i < s->n; i++)
            if (s->items[i].err.code == OK) s->items[i].err = e;
    if (s->start == 0) { /* a new file: its name must last too */
        char *dir = strdup(s->to.mbox), *slash = dir ? strrchr(dir, '/') : NULL;

        if (slash) slash[slash == dir] = '\0';
        file_sync_dir(slash ? dir : ".", NULL);
        free(dir);
    }
    mbox_close(s);
}

/* --- command
 * ----------------------------------------------------------------------------------------- */

static enum err_code run_command(const char *command, struct slice message, struct err *e) {
    char shell[] = "sh", option[] = "-c", *argv[] = {shell, option, NULL, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t pipe_only;
    struct lines l = {.fd = -1};
    int p[2], status, r;
    pid_t pid;

    argv[2] = strdup(command);
    if (!argv[2] || pipe2(p, O_CLOEXEC) < 0) {
        free(argv[2]);
        return err_sys(e, "cannot run the command");
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, p[0], STDIN_FILENO);
    posix_spawnattr_init(&attr);
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    posix_spawnattr_setsigdefault(&attr, &pipe_only);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF);
    r = posix_spawn(&pid, "/bin/sh", &actions, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    free(argv[2]);
    close(p[0]);
    if (r != 0) {
        close(p[1]);
        errno = r;
        return err_sys(e, "cannot run the command");
    }
    l.fd = p[1];
    write_message(&l, message, false);
    lines_flush(&l);
    close(p[1]);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return err_sys(e, "cannot wait for the command");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return OK;
    return err_mail(e, ERR_IO, STATUS(4, 3, 0), "the command ended with %s %d",
                    WIFEXITED(status) ? "status" : "signal",
                    WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

/* --- all of them
 * ------------------------------------------------------------------------------------- */

static enum err_code open_user(struct sink *s, const struct conf *conf, struct err *e) {
    enum err_code code = directory_open(conf, &s->directory, e);

    if (code != OK) return code;
    s->has_directory = true;
    code =
        directory_expand(&s->directory, slice_str(s->to.user), &s->arena, &s->ends, &s->n_ends, e);
    for (size_t i = 0; code == OK && i < s->n_ends; i++)
        if (!s->ends[i].is_local)
            code = err_mail(e, ERR_NOT_FOUND, STATUS(5, 1, 1), "%.*s is not a user of this host",
                            SP(s->ends[i].address));
    return code;
}

enum err_code sink_open(const struct sink_to *to, const struct conf *conf, struct sink **out,
                        struct err *e) {
    struct sink *s = calloc(1, sizeof *s);
    enum err_code code = OK;

    *out = NULL;
    if (!s) return err_set(e, ERR_MEMORY, "no memory to deliver");
    s->to = *to;
    s->fd = -1;
    arena_init(&s->arena, 64 * 1024 * 1024);
    signal(SIGPIPE, SIG_IGN); /* a command that reads only part of a message is its own affair */
    if (to->maildir) code = store_open_maildir(to->maildir, &s->store, e);
    else if (to->user) code = open_user(s, conf, e);
    else if (to->mbox && strlen(to->mbox) > 4000)
        code = err_set(e, ERR_USAGE, "the name of the mbox is too long");
    if (code != OK) {
        sink_close(s);
        return code;
    }
    *out = s;
    return OK;
}

static enum err_code add_local(struct sink *s, struct sink_item *item, struct slice message,
                               struct slice key, bool retried, struct err *e) {
    struct slice sender = sender_of(message);
    enum err_code code = OK;

    if (!s->local) s->local = local_batch_new();
    if (!s->local) return err_set(e, ERR_MEMORY, "no memory to deliver");
    for (size_t i = 0; code == OK && i < s->n_ends; i++) {
        size_t at;

        code = local_batch_add(s->local, s->ends[i].account, sender, message, key, date_of(message),
                               retried, &at, e);
        if (code == OK && item->n++ == 0) item->first = at;
    }
    return code;
}

static enum err_code add_maildir(struct sink *s, struct sink_item *item, struct slice message,
                                 struct slice key, bool retried, struct err *e) {
    item->n = 1;
    if (!s->batch) s->batch = store_batch_new();
    if (!s->batch) return err_set(e, ERR_MEMORY, "no memory to deliver");
    return store_batch_add(s->batch, s->store,
                           &(struct delivery){.parts = &message,
                                              .n_parts = 1,
                                              .key = key,
                                              .date = date_of(message),
                                              .may_be_there = retried},
                           &item->first, e);
}

enum err_code sink_add(struct sink *s, struct slice message, struct slice key, bool may_be_there,
                       size_t *item, struct err *e) {
    struct sink_item it = {0};
    enum err_code code;

    if (s->n == SINK_BATCH_MAX) return err_set(e, ERR_LIMIT, "too many messages in one batch");
    if (s->to.maildir) code = add_maildir(s, &it, message, key, may_be_there, e);
    else if (s->to.user) code = add_local(s, &it, message, key, may_be_there, e);
    else if (s->to.mbox) code = mbox_add(s, message, e);
    else if (s->to.command) code = run_command(s->to.command, message, e);
    else {
        struct lines l = {.fd = -1, .stream = s->to.stream};

        write_message(&l, message, true);
        lines_flush(&l);
        code = l.is_failed ? err_sys(e, "cannot write the message") : OK;
    }
    if (code != OK) return code;
    *item = s->n;
    s->items[s->n++] = it;
    return OK;
}

void sink_commit(struct sink *s) {
    if (s->batch) store_batch_commit(s->batch, NULL);
    if (s->local) local_batch_commit(s->local);
    if (s->to.mbox) mbox_commit(s);
    if (s->to.stream && fflush(s->to.stream) != 0)
        for (size_t i = 0; i < s->n; i++) err_sys(&s->items[i].err, "cannot write the message");
}

enum err_code sink_result(struct sink *s, size_t item, struct err *e) {
    const struct sink_item *it = &s->items[item];
    enum err_code code = OK;

    if (item >= s->n) return err_set(e, ERR_BUG, "no such message in the batch");
    if (it->err.code != OK) {
        if (e) *e = it->err;
        return it->err.code;
    }
    for (size_t i = 0; code == OK && i < it->n; i++) {
        code = s->batch ? store_batch_result(s->batch, it->first + i, e)
                        : local_batch_result(s->local, it->first + i, e);
        if (code == ERR_EXISTS) code = OK;
    }
    return code;
}

void sink_begin(struct sink *s) {
    store_batch_free(s->batch);
    s->batch = NULL;
    local_batch_free(s->local);
    s->local = NULL;
    if (s->fd >= 0) { /* never committed */
        (void)!ftruncate(s->fd, s->start);
        mbox_close(s);
    }
    s->n = 0;
}

void sink_close(struct sink *s) {
    if (!s) return;
    sink_begin(s);
    store_close(s->store);
    if (s->has_directory) directory_close(&s->directory);
    arena_release(&s->arena);
    free(s);
}
