/* fault: preloaded into a program under test, it makes one call on the files of a directory fail.
 * FAULT_DIR      only files below it count
 * FAULT_CALL     write, sync, syncdir, rename, link, unlink, cut (ftruncate), room (fallocate), open (of files that are
 *                written), close (of those), mkdir, read, stat (fstat) or all
 * FAULT_N        the call that fails, from 1; 0: none
 * FAULT_HOW      kill (before it), after (kill after it), eio, full (half of it is written, and from then on nothing but
 *                what fallocate promised room for), short (half of it is written, once)
 * FAULT_COUNT    a file that gets a dot for each call, and an exclamation mark for the one that fails
 * FAULT_WHERE    a file that gets the name of the file that it failed for
 * FAULT_TRACE    a file that gets a line for each write, sync and unlink: "w PATH", "s PATH", "u PATH" */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static _Atomic long calls;
static _Atomic bool is_full;

static bool below(const char *path) {
    const char *dir = getenv("FAULT_DIR");

    return dir && strncmp(path, dir, strlen(dir)) == 0;
}

static _Thread_local char fd_path[PATH_MAX]; /* of the last fd_below */

static bool fd_below(int fd) {
    char link[64];
    ssize_t n;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, fd_path, sizeof fd_path - 1);
    fd_path[n > 0 ? n : 0] = 0;
    return n > 0 && below(fd_path);
}

static void tell_in(const char *which, const char *text) {
    const char *name = getenv(which);
    int fd = name ? (int)syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;

    if (fd < 0) return;
    syscall(SYS_write, fd, text, strlen(text));
    syscall(SYS_close, fd);
}

static void tell(const char *text) { tell_in("FAULT_COUNT", text); }

static void trace(char what, const char *path) {
    char line[PATH_MAX + 8];

    if (!getenv("FAULT_TRACE")) return;
    snprintf(line, sizeof line, "%c %s\n", what, path);
    tell_in("FAULT_TRACE", line);
}

/* What fallocate promised: up to where a file may be written on a full disk. */
static struct promise { dev_t dev; ino_t ino; off_t end; } promises[4096];
static size_t promise_count;
static pthread_mutex_t promise_lock = PTHREAD_MUTEX_INITIALIZER;

static void promise(int fd, off_t end) {
    struct stat st;
    size_t i = 0;

    if (fstat(fd, &st) < 0) return;
    pthread_mutex_lock(&promise_lock);
    while (i < promise_count && (promises[i].dev != st.st_dev || promises[i].ino != st.st_ino)) i++;
    if (i < sizeof promises / sizeof *promises) {
        if (i == promise_count) promises[promise_count++] = (struct promise){st.st_dev, st.st_ino, 0};
        if (end > promises[i].end) promises[i].end = end;
    }
    pthread_mutex_unlock(&promise_lock);
}

/* Is there room for `n` octets at `at` (-1: where the descriptor stands) whatever else is full? */
static bool has_room(int fd, off_t at, size_t n) {
    struct stat st;
    off_t end;

    if (syscall(SYS_fstat, fd, &st) < 0) return false;
    if (at < 0) at = fcntl(fd, F_GETFL) & O_APPEND ? st.st_size : lseek(fd, 0, SEEK_CUR);
    end = st.st_size;
    pthread_mutex_lock(&promise_lock);
    for (size_t i = 0; i < promise_count; i++)
        if (promises[i].dev == st.st_dev && promises[i].ino == st.st_ino && promises[i].end > end) end = promises[i].end;
    pthread_mutex_unlock(&promise_lock);
    return at + (off_t)n <= end;
}

static void die(void) { kill(getpid(), SIGKILL); for (;;) pause(); }

enum { GO, FAIL, HALF, GO_AND_DIE };

/* What becomes of this call. */
static int fate(const char *call, bool writes) {
    const char *want = getenv("FAULT_CALL"), *how = getenv("FAULT_HOW"), *n = getenv("FAULT_N");

    if (!want) return GO;
    if (is_full && writes) {
        errno = ENOSPC;
        return FAIL;
    }
    if (strcmp(want, "all") != 0 && strcmp(want, call) != 0) return GO;
    tell(".");
    if (atomic_fetch_add(&calls, 1) + 1 != (n ? strtol(n, NULL, 10) : 0)) return GO;
    tell("!");
    tell_in("FAULT_WHERE", fd_path);
    if (!strcmp(how, "kill")) die();
    if (!strcmp(how, "after")) return GO_AND_DIE;
    if (!strcmp(how, "short")) return writes ? HALF : GO;
    if (!strcmp(how, "full")) {
        is_full = true;
        if (!writes) return GO; /* it needs no room; what comes after does */
        errno = ENOSPC;
        return !strcmp(call, "write") ? HALF : FAIL;
    }
    errno = EIO;
    return FAIL;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define CALL(counts, call, writes, real)                                                           \
    int f = (counts) ? fate(call, writes) : GO;                                                    \
    if (f == FAIL) return -1;                                                                      \
    __auto_type r = real;                                                                          \
    if (f == GO_AND_DIE) die();                                                                    \
    return r

static int write_fate(int fd, off_t at, size_t n) {
    const char *how = getenv("FAULT_HOW");
    bool fits = how && !strcmp(how, "full") && has_room(fd, at, n);
    int f;

    trace('w', fd_path);
    f = fate("write", !fits);
    return fits && (f == HALF || f == FAIL) ? GO : f;
}

ssize_t write(int fd, const void *p, size_t n) {
    int f = fd_below(fd) ? write_fate(fd, -1, n) : GO;
    ssize_t r;

    if (f == FAIL) return -1;
    if (f == HALF && n > 1) n /= 2;
    r = syscall(SYS_write, fd, p, n);
    if (f == GO_AND_DIE) die();
    return r;
}
ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at) {
    int f = fd_below(fd) ? write_fate(fd, at, n) : GO;
    ssize_t r;

    if (f == FAIL) return -1;
    if (f == HALF && n > 1) n /= 2;
    r = REAL(pwrite64)(fd, p, n, at);
    if (f == GO_AND_DIE) die();
    return r;
}
ssize_t pwritev64(int fd, const struct iovec *v, int n, off64_t at) {
    size_t all = 0;
    ssize_t r;
    int f;

    for (int i = 0; i < n; i++) all += v[i].iov_len;
    f = fd_below(fd) ? write_fate(fd, at, all) : GO;
    if (f == FAIL) return -1;
    if (f == HALF) { /* up to the middle of the first part that has something */
        struct iovec half;

        while (n > 1 && v->iov_len < 2) v++, n--;
        half = (struct iovec){v->iov_base, v->iov_len / 2 ? v->iov_len / 2 : v->iov_len};
        r = REAL(pwritev64)(fd, &half, 1, at);
    } else {
        r = REAL(pwritev64)(fd, v, n, at);
    }
    if (f == GO_AND_DIE) die();
    return r;
}
static bool is_dir(int fd) {
    struct stat st;

    return syscall(SYS_fstat, fd, &st) == 0 && S_ISDIR(st.st_mode);
}
static bool is_file(int fd) {
    struct stat st;

    return syscall(SYS_fstat, fd, &st) == 0 && S_ISREG(st.st_mode);
}
#define SYNC(real)                                                                                 \
    bool counts = fd_below(fd);                                                                    \
    if (counts) trace('s', fd_path);                                                               \
    CALL(counts, is_dir(fd) ? "syncdir" : "sync", false, real)
int fdatasync(int fd) { SYNC((int)syscall(SYS_fdatasync, fd)); }
int fsync(int fd) { SYNC((int)syscall(SYS_fsync, fd)); }
int syncfs(int fd) { CALL(fd_below(fd), "sync", false, (int)syscall(SYS_syncfs, fd)); }
int ftruncate64(int fd, off64_t n) { CALL(fd_below(fd), "cut", false, REAL(ftruncate64)(fd, n)); }
int fallocate64(int fd, int mode, off64_t at, off64_t n) {
    bool counts = fd_below(fd);
    int f = counts ? fate("room", true) : GO, r;

    if (f == FAIL) return -1;
    r = (int)syscall(SYS_fallocate, fd, mode, at, n);
    if (counts && r == 0) promise(fd, at + n);
    if (f == GO_AND_DIE) die();
    return r;
}
int close(int fd) {
    bool counts = fd_below(fd) && is_file(fd) && (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
    int f = counts ? fate("close", false) : GO, why = errno, r = (int)syscall(SYS_close, fd);

    if (f == FAIL) { /* the descriptor is gone all the same */
        errno = why;
        return -1;
    }
    if (f == GO_AND_DIE) die();
    return r;
}
ssize_t read(int fd, void *p, size_t n) {
    CALL(is_file(fd) && fd_below(fd), "read", false, syscall(SYS_read, fd, p, n));
}
ssize_t pread64(int fd, void *p, size_t n, off64_t at) {
    CALL(fd_below(fd), "read", false, syscall(SYS_pread64, fd, p, n, at));
}
ssize_t __pread64_chk(int fd, void *p, size_t n, off64_t at, size_t size) {
    if (n > size) abort();
    return pread64(fd, p, n, at);
}
int fstat64(int fd, struct stat64 *st) { CALL(fd_below(fd), "stat", false, REAL(fstat64)(fd, st)); }
int mkdir(const char *a, mode_t mode) { CALL(below(a), "mkdir", true, REAL(mkdir)(a, mode)); }
int rename(const char *a, const char *b) { CALL(below(a) || below(b), "rename", false, REAL(rename)(a, b)); }
int renameat2(int x, const char *a, int y, const char *b, unsigned z) {
    CALL(below(a) || below(b), "rename", false, REAL(renameat2)(x, a, y, b, z));
}
/* Those with a directory's descriptor: below it when the descriptor is. */
static bool at_below(int fd, const char *p) { return *p == '/' ? below(p) : fd_below(fd); }
int renameat(int x, const char *a, int y, const char *b) {
    CALL(at_below(x, a), "rename", false, REAL(renameat)(x, a, y, b));
}
int linkat(int x, const char *a, int y, const char *b, int z) {
    CALL(at_below(y, b), "link", true, REAL(linkat)(x, a, y, b, z));
}
int mkdirat(int x, const char *a, mode_t mode) { CALL(at_below(x, a), "mkdir", true, REAL(mkdirat)(x, a, mode)); }
int unlink(const char *a) {
    trace('u', a);
    CALL(below(a), "unlink", false, REAL(unlink)(a));
}
int unlinkat(int x, const char *a, int z) { CALL(at_below(x, a), "unlink", false, REAL(unlinkat)(x, a, z)); }
int open64(const char *a, int flags, ...) {
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    {
        CALL(below(a) && (flags & O_ACCMODE) != O_RDONLY, "open", (flags & O_CREAT) != 0 && faccessat(AT_FDCWD, a, F_OK, 0) < 0,
             (int)syscall(SYS_openat, AT_FDCWD, a, flags, mode));
    }
}
int openat64(int x, const char *a, int flags, ...) {
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    {
        CALL(at_below(x, a) && (flags & O_ACCMODE) != O_RDONLY, "open", (flags & O_CREAT) != 0 && faccessat(x, a, F_OK, 0) < 0,
             (int)syscall(SYS_openat, x, a, flags, mode));
    }
}
