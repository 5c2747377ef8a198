/* fault: preloaded into a program under test, it makes one call on the files of a directory fail.
 * FAULT_DIR      only files below it count
 * FAULT_CALL     write, sync, rename, unlink, cut, open (of files that are written) or all
 * FAULT_N        the call that fails, from 1; 0: none
 * FAULT_HOW      kill (before it), after (kill after it), eio, full (half of it is written, and from then on
 *                nothing), short (half of it is written, once)
 * FAULT_COUNT    a file that gets a dot for each call, and an exclamation mark for the one that fails */
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
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static _Atomic long calls;
static _Atomic bool is_full;

static bool below(const char *path) {
    const char *dir = getenv("FAULT_DIR");

    return dir && strncmp(path, dir, strlen(dir)) == 0;
}

static bool fd_below(int fd) {
    char link[64], path[PATH_MAX];
    ssize_t n;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return false;
    path[n] = 0;
    return below(path);
}

static void tell(const char *text) {
    const char *name = getenv("FAULT_COUNT");
    int fd = name ? (int)syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;

    if (fd < 0) return;
    syscall(SYS_write, fd, text, strlen(text));
    syscall(SYS_close, fd);
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
    if (!strcmp(how, "kill")) die();
    if (!strcmp(how, "after")) return GO_AND_DIE;
    if (!strcmp(how, "short")) return writes ? HALF : GO;
    if (!strcmp(how, "full")) {
        is_full = true;
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

ssize_t write(int fd, const void *p, size_t n) {
    int f = fd_below(fd) ? fate("write", true) : GO;
    ssize_t r;

    if (f == FAIL) return -1;
    if (f == HALF && n > 1) n /= 2;
    r = syscall(SYS_write, fd, p, n);
    if (f == GO_AND_DIE) die();
    return r;
}
ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at) {
    int f = fd_below(fd) ? fate("write", true) : GO;
    ssize_t r;

    if (f == FAIL) return -1;
    if (f == HALF && n > 1) n /= 2;
    r = REAL(pwrite64)(fd, p, n, at);
    if (f == GO_AND_DIE) die();
    return r;
}
ssize_t pwritev64(int fd, const struct iovec *v, int n, off64_t at) {
    int f = fd_below(fd) ? fate("write", true) : GO;
    ssize_t r;

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
int fdatasync(int fd) { CALL(fd_below(fd), "sync", false, (int)syscall(SYS_fdatasync, fd)); }
int fsync(int fd) { CALL(fd_below(fd), "sync", false, (int)syscall(SYS_fsync, fd)); }
int ftruncate64(int fd, off64_t n) { CALL(fd_below(fd), "cut", false, REAL(ftruncate64)(fd, n)); }
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
    CALL(at_below(y, b), "rename", false, REAL(linkat)(x, a, y, b, z));
}
int unlink(const char *a) { CALL(below(a), "unlink", false, REAL(unlink)(a)); }
int unlinkat(int x, const char *a, int z) { CALL(at_below(x, a), "unlink", false, REAL(unlinkat)(x, a, z)); }
int open64(const char *a, int flags, ...) {
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    {
        CALL(below(a) && (flags & O_ACCMODE) != O_RDONLY, "open", (flags & O_CREAT) != 0,
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
        CALL(at_below(x, a) && (flags & O_ACCMODE) != O_RDONLY, "open", (flags & O_CREAT) != 0,
             (int)syscall(SYS_openat, x, a, flags, mode));
    }
}
