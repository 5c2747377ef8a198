#include "deliver/program.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/buf.h"
#include "sys/clock.h"
#include "sys/file.h"

enum { GROUPS_MAX = 64, ENV_MAX = 1200, POLL_MS = 200, LOCK_TRIES = 100 };

/* Whom the child becomes. */
struct who {
    bool becomes;
    uid_t uid;
    gid_t gid;
    gid_t groups[GROUPS_MAX];
    int group_count;
    char name[64], home[512];
};

bool program_is_slow(struct slice target) {
    return target.n > 0 && (target.p[0] == '|' || target.p[0] == '/') &&
           !slice_eq(target, S("/dev/null"));
}

static enum err_code find_who(const struct conf *c, struct who *w, struct err *e) {
    const char *name = c->alias_user ? c->alias_user : "nobody";
    struct passwd pw, *found = NULL;
    char text[4096];

    *w = (struct who){.becomes = geteuid() == 0, .group_count = GROUPS_MAX};
    if (w->becomes) getpwnam_r(name, &pw, text, sizeof text, &found);
    else getpwuid_r(geteuid(), &pw, text, sizeof text, &found);
    if (w->becomes && (!found || found->pw_uid == 0))
        return err_mail(e, ERR_CONFIG, STATUS(4, 3, 5),
                        found ? "alias-user may not be root" : "there is no user \"%s\"", name);
    snprintf(w->name, sizeof w->name, "%s", found ? found->pw_name : "nobody");
    snprintf(w->home, sizeof w->home, "%s", found ? found->pw_dir : "/");
    if (!w->becomes) return OK;
    w->uid = found->pw_uid;
    w->gid = found->pw_gid;
    if (getgrouplist(w->name, w->gid, w->groups, &w->group_count) < 0) w->group_count = 0;
    return OK;
}

/* --- in the child: only calls that are safe after fork
 * ---------------------------------------- */

static bool put_whole(int fd, const char *p, size_t n) {
    while (n > 0) {
        ssize_t r = write(fd, p, n);

        if (r < 0 && errno == EINTR) continue;
        if (r <= 0) return false;
        p += r;
        n -= (size_t)r;
    }
    return true;
}

static void say(const char *text) { put_whole(2, text, strlen(text)); }

/* Append what comes on standard input. The exit status. */
static int append(const char *path) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct stat st;
    char chunk[8192];
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    ssize_t n;
    bool ok = true;

    if (fd < 0) {
        say(strerrordesc_np(errno));
        return errno == EACCES || errno == ELOOP || errno == ENOENT || errno == EISDIR
                   ? EX_CANTCREAT
                   : EX_TEMPFAIL;
    }
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        say("not a regular file");
        return EX_CANTCREAT;
    }
    for (int i = 0; fcntl(fd, F_SETLK, &lock) < 0; i++) {
        if (i == LOCK_TRIES) {
            say("the file is locked");
            return EX_TEMPFAIL;
        }
        poll(NULL, 0, POLL_MS);
    }
    if (fstat(fd, &st) < 0) return EX_TEMPFAIL;
    while (ok && (n = read(0, chunk, sizeof chunk)) != 0)
        if (n > 0) ok = put_whole(fd, chunk, (size_t)n);
        else ok = errno == EINTR;
    ok = ok && fdatasync(fd) == 0;
    if (!ok) {
        say(strerrordesc_np(errno));
        if (ftruncate(fd, st.st_size) < 0) say(" (and what was written of it stays)");
    }
    close(fd);
    return ok ? 0 : EX_TEMPFAIL;
}

static void child(const struct who *w, const char *target, char *const env[], int in, int out) {
    static const int reset[] = {SIGPIPE, SIGXFSZ, SIGTERM, SIGINT, SIGHUP, SIGUSR2, SIGCHLD};
    char shell[] = "sh", option[] = "-c";
    char *argv[] = {shell, option, (char *)(uintptr_t)(target + 1), NULL};
    sigset_t none;

    setpgid(0, 0);
    dup2(in, 0);
    dup2(out, 1);
    dup2(out, 2);
    for (int fd = 3; fd < 65536; fd++) { /* all are close-on-exec; a file is appended to without */
        if (fd == 3 && close_range(3, ~0u, 0) == 0) break;
        close(fd);
    }
    for (size_t i = 0; i < COUNT_OF(reset); i++) signal(reset[i], SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    umask(077);
    if (w->becomes &&
        (setgroups((size_t)w->group_count, w->groups) < 0 ||
         setresgid(w->gid, w->gid, w->gid) < 0 || setresuid(w->uid, w->uid, w->uid) < 0)) {
        say("cannot become the user of alias commands");
        _exit(EX_TEMPFAIL);
    }
    if (chdir("/") < 0) _exit(EX_TEMPFAIL);
    if (target[0] == '/') _exit(append(target));
    execve("/bin/sh", argv, env);
    _exit(EX_TEMPFAIL);
}

/* --- in this process
 * ---------------------------------------------------------------------------- */

/* The message as it is piped: mbox separator, Return-Path, Delivered-To, LF line ends; for a file
 * with ">" before lines that would look like a separator, and an empty line behind. */
static void make_text(const struct program *p, bool is_file, struct buf *out) {
    struct civil d = civil_of(p->date, 0);
    struct slice rest = p->message, line;

    buf_addf(out, "From %.*s  %s %s %2d %02d:%02d:%02d %d\n",
             SP(p->sender.n ? p->sender : S("MAILER-DAEMON")), moment_weekday(d.weekday),
             moment_month(d.month), d.day, d.hour, d.minute, d.second, d.year);
    buf_addf(out, "Return-Path: <%.*s>\nDelivered-To: %.*s\n", SP(p->sender), SP(p->recipient));
    while (slice_line(&rest, &line)) {
        if (is_file) {
            size_t quotes = 0;

            while (quotes < line.n && line.p[quotes] == '>') quotes++;
            if (slice_starts(slice_from(line, quotes), S("From "))) buf_addc(out, '>');
        }
        buf_add(out, line);
        buf_addc(out, '\n');
    }
    if (is_file) buf_addc(out, '\n');
}

static struct mail_status status_of(int exit_status) {
    switch (exit_status) {
    case EX_USAGE:
    case EX_PROTOCOL: return STATUS(5, 5, 4);
    case EX_DATAERR: return STATUS(5, 6, 0);
    case EX_NOUSER: return STATUS(5, 1, 1);
    case EX_NOHOST: return STATUS(5, 1, 2);
    case EX_CANTCREAT: return STATUS(5, 2, 0);
    case EX_NOPERM: return STATUS(5, 7, 0);
    case EX_CONFIG: return STATUS(5, 3, 5);
    case EX_OSERR:
    case EX_IOERR:
    case EX_TEMPFAIL: return STATUS(4, 3, 0);
    case 126: /* the shell cannot run it: somebody will put that right */
    case 127: return STATUS(4, 3, 5);
    default: return STATUS(5, 3, 0);
    }
}

/* Feed `text` and read the output until the child is done with both. False: the time is up. */
static bool converse(const struct program *p, int in, int out, struct slice text,
                     struct buf *said) {
    mono_t end = clock_mono() + (p->timeout_ms ? p->timeout_ms : PROGRAM_MS);
    char chunk[4096];

    while (in >= 0 || out >= 0) {
        struct pollfd f[2] = {{.fd = in, .events = POLLOUT}, {.fd = out, .events = POLLIN}};
        ssize_t n;

        if (clock_mono() >= end || (p->is_stopping && atomic_load(p->is_stopping))) {
            fd_close(&in);
            fd_close(&out);
            return false;
        }
        poll(f, 2, POLL_MS);
        if (in >= 0 && f[0].revents) {
            n = text.n ? write(in, text.p, text.n) : 0;
            if (n > 0) text = slice_from(text, (size_t)n);
            /* A command need not read all of it. */
            if (text.n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) fd_close(&in);
        }
        if (out >= 0 && f[1].revents) {
            n = read(out, chunk, sizeof chunk);
            if (n > 0 && said->n + (size_t)n <= PROGRAM_OUTPUT_MAX)
                buf_add(said, slice_of(chunk, (size_t)n));
            if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) fd_close(&out);
        }
    }
    return true;
}

/* Wait for the end of a child that has closed its output; false: it does not end. */
static bool reap(pid_t pid, mono_t end, int *status) {
    for (;;) {
        pid_t r = waitpid(pid, status, WNOHANG);

        if (r == pid || (r < 0 && errno != EINTR)) return r == pid;
        if (clock_mono() >= end) return false;
        poll(NULL, 0, 10);
    }
}

static enum err_code judge(const struct program *p, bool in_time, int status, struct slice said,
                           struct err *e) {
    struct slice line = S("");
    const char *what = p->target.p[0] == '/' ? "the file" : "the command";
    struct mail_status st = STATUS(4, 3, 0);

    slice_line(&said, &line);
    line = slice_first(slice_trim(line), PROGRAM_LINE_MAX);
    if (!in_time && p->is_stopping && atomic_load(p->is_stopping))
        return err_mail(e, ERR_BUSY, st, "%s was ended, because the server stops", what);
    if (!in_time) return err_mail(e, ERR_TIMEOUT, st, "%s took too long", what);
    if (!WIFEXITED(status))
        return err_mail(e, ERR_IO, st, "%s ended by signal %d", what, WTERMSIG(status));
    if (WEXITSTATUS(status) == 0) return OK;
    st = status_of(WEXITSTATUS(status));
    return err_mail(e, st.cls == 4 ? ERR_IO : ERR_DENIED, st, "%s ended with status %d%s%.*s", what,
                    WEXITSTATUS(status), line.n ? ": " : "", SP(line));
}

static enum err_code run(const struct program *p, const struct who *w, const char *target,
                         char *const env[], struct slice text, struct err *e) {
    int in[2], out[2], status = 0;
    struct buf said;
    bool in_time, ended;
    pid_t pid;

    if (pipe2(in, O_CLOEXEC) < 0) return err_sys(e, "cannot make a pipe");
    if (pipe2(out, O_CLOEXEC) < 0) {
        close(in[0]);
        close(in[1]);
        return err_sys(e, "cannot make a pipe");
    }
    pid = fork();
    if (pid == 0) child(w, target, env, in[0], out[1]);
    close(in[0]);
    close(out[1]);
    if (pid < 0) {
        close(in[1]);
        close(out[0]);
        return err_mail(e, ERR_MEMORY, STATUS(4, 3, 0), "cannot start a command");
    }
    setpgid(pid, pid); /* the child does it too; whoever is first */
    fcntl(in[1], F_SETFL, O_NONBLOCK);
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    buf_init(&said, PROGRAM_OUTPUT_MAX);
    in_time = converse(p, in[1], out[0], text, &said);
    ended = reap(pid, clock_mono() + (in_time ? POLL_MS : 0), &status);
    if (!ended) {
        kill(-pid, in_time ? SIGTERM : SIGKILL);
        ended = reap(pid, clock_mono() + POLL_MS, &status);
    }
    if (!ended) {
        kill(-pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        }
    }
    judge(p, in_time, status, buf_slice(&said), e);
    buf_release(&said);
    return in_time && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? OK : e->code;
}

/* Addresses come from outside and end up where a shell script may use them. */
static bool is_tame(struct slice s) {
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 33 || s.p[i] == 127) return false;
    return s.n < 400;
}

enum err_code program_deliver(const struct conf *c, const struct program *p, struct err *e) {
    char sender[ENV_MAX], recipient[ENV_MAX], user[100], logname[100], home[600], path[PATH_MAX];
    char way[] = "PATH=/usr/local/bin:/usr/bin:/bin", shell[] = "SHELL=/bin/sh";
    char *env[] = {way, shell, user, logname, home, sender, recipient, NULL};
    struct err why = {0};
    struct who who;
    struct buf text;
    enum err_code code;

    if (slice_eq(p->target, S("/dev/null"))) return OK;
    if (p->target.n >= sizeof path || memchr(p->target.p, 0, p->target.n))
        return err_mail(e, ERR_LIMIT, STATUS(4, 3, 5), "the alias command is too long");
    snprintf(path, sizeof path, "%.*s", SP(p->target));
    code = find_who(c, &who, e);
    if (code != OK) return code;
    snprintf(user, sizeof user, "USER=%s", who.name);
    snprintf(logname, sizeof logname, "LOGNAME=%s", who.name);
    snprintf(home, sizeof home, "HOME=%s", who.home);
    snprintf(sender, sizeof sender, "SENDER=%.*s", SP(is_tame(p->sender) ? p->sender : S("?")));
    snprintf(recipient, sizeof recipient, "RECIPIENT=%.*s",
             SP(is_tame(p->recipient) ? p->recipient : S("?")));
    buf_init(&text, p->message.n * 2 + 8192);
    make_text(p, p->target.p[0] == '/', &text);
    if (text.bad) code = err_mail(&why, ERR_MEMORY, STATUS(4, 3, 0), "no memory to deliver");
    else code = run(p, &who, path, env, buf_slice(&text), &why);
    buf_release(&text);
    if (code != OK && e) *e = why;
    return code;
}
