#include "sys/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <poll.h>

#include "sys/clock.h"

static struct flock range(short type, uint64_t offset) {
    return (struct flock){
        .l_type = type, .l_whence = 0 /* SEEK_SET */, .l_start = (off_t)offset, .l_len = 1};
}

enum err_code lock_try(int fd, uint64_t offset, bool exclusive, const char *name, struct err *e) {
    struct flock l = range(exclusive ? F_WRLCK : F_RDLCK, offset);

    if (fcntl(fd, F_OFD_SETLK, &l) == 0) return OK;
    if (errno == EAGAIN || errno == EACCES)
        return err_mail(e, ERR_BUSY, STATUS(4, 3, 0), "%s is in use by another process", name);
    return err_sys(e, "cannot lock %s", name);
}

enum err_code lock_wait(int fd, uint64_t offset, bool exclusive, unsigned timeout_ms,
                        const char *name, struct err *e) {
    mono_t until = clock_mono() + timeout_ms;

    for (;;) {
        enum err_code code = lock_try(fd, offset, exclusive, name, e);

        if (code != ERR_BUSY || clock_mono() >= until) return code;
        poll(NULL, 0,
             1); /* always: who has waited long must not ask less often than who came now */
    }
}

void lock_drop(int fd, uint64_t offset) {
    struct flock l = range(F_UNLCK, offset);

    fcntl(fd, F_OFD_SETLK, &l);
}

bool lock_is_held(int fd, uint64_t offset) {
    struct flock l = range(F_WRLCK, offset);

    return fcntl(fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}

/* Our own sys/file.h stands before the system's, which declares flock. */
static int flock_dir(int fd, int operation) { return (int)syscall(SYS_flock, fd, operation); }

enum err_code lock_dir(const char *dir, bool exclusive, int *fd, struct err *e) {
    int r;

    *fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0) return err_sys(e, "cannot open %s", dir);
    do r = flock_dir(*fd, exclusive ? LOCK_EX | LOCK_NB : LOCK_SH);
    while (r < 0 && errno == EINTR);
    if (r == 0) return OK;
    r = errno;
    close(*fd);
    *fd = -1;
    errno = r;
    return errno == EWOULDBLOCK ? err_set(e, ERR_BUSY, "%s is locked", dir)
                                : err_sys(e, "cannot lock %s", dir);
}
