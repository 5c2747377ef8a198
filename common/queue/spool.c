#include "queue/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "sys/file.h"

void spool_init(struct spool *s, const char *dir) {
    *s = (struct spool){.fd = -1, .dir = dir};
    buf_init(&s->mem, SPOOL_MEMORY_MAX);
}

void spool_release(struct spool *s) {
    if (s->mem.p || s->dir) fd_close(&s->fd);
    buf_release(&s->mem);
    s->size = 0;
}

void spool_reset(struct spool *s) {
    fd_close(&s->fd);
    if (s->mem.cap > 64 * 1024) buf_release(&s->mem);
    else buf_reset(&s->mem);
    s->size = 0;
}

/* An unnamed file; where the file system has no O_TMPFILE, a named one whose name is removed. */
static int open_file(const char *dir) {
    char path[4096];
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR)) return fd;
    snprintf(path, sizeof path, "%s/spool.XXXXXX", dir);
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0) unlink(path);
    return fd;
}

enum err_code spool_add(struct spool *s, struct slice data, struct err *e) {
    enum err_code code;

    if (s->fd < 0 && s->mem.n + data.n <= SPOOL_MEMORY_MAX) {
        if (!buf_add(&s->mem, data))
            return err_mail(e, ERR_MEMORY, STATUS(4, 3, 0), "no memory for the message");
        s->size += data.n;
        return OK;
    }
    if (s->fd < 0) {
        s->fd = open_file(s->dir);
        if (s->fd < 0) return err_sys(e, "cannot make a file in %s", s->dir);
    }
    code = file_write_at(s->fd, data, (off_t)(s->size - s->mem.n), "the message file", e);
    if (code == OK) s->size += data.n;
    return code;
}

enum err_code spool_read(const struct spool *s, uint64_t offset, char *out, size_t n, size_t *got,
                         struct err *e) {
    *got = 0;
    if (offset < s->mem.n) {
        struct slice part = slice_first(slice_from(buf_slice(&s->mem), (size_t)offset), n);

        memcpy(out, part.p, part.n);
        *got = part.n;
    }
    while (*got < n && s->fd >= 0) {
        ssize_t r = pread(s->fd, out + *got, n - *got, (off_t)(offset + *got - s->mem.n));

        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return err_sys(e, "cannot read the message file");
        if (r == 0) break;
        *got += (size_t)r;
    }
    return OK;
}
