#include "sys/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_CHUNK = 64 * 1024 };

void fd_own_like(int fd, int dir_fd) {
    struct stat dir;

    if (geteuid() != 0 || fstat(dir_fd, &dir) < 0 || (dir.st_uid == 0 && dir.st_gid == 0)) return;
    /* Should it fail, who owns the directory says so when he opens the file. */
    if (fchown(fd, dir.st_uid, dir.st_gid) < 0) return;
}

void fd_own_like_path(int fd, const char *dir) {
    int dir_fd = geteuid() == 0 ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    if (dir_fd < 0) return;
    fd_own_like(fd, dir_fd);
    close(dir_fd);
}

size_t fd_raise_limit(size_t most) {
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) < 0) return 1024;
    if (files.rlim_cur < files.rlim_max && files.rlim_cur < most) {
        files.rlim_cur = files.rlim_max < most ? files.rlim_max : most;
        setrlimit(RLIMIT_NOFILE, &files);
        getrlimit(RLIMIT_NOFILE, &files);
    }
    return files.rlim_cur < most ? (size_t)files.rlim_cur : most;
}

void fd_close(int *fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

/* What is left of a small file, and one more, to see its end with the same read. */
static size_t chunk_of(int fd) {
    off_t at = lseek(fd, 0, SEEK_CUR);
    struct stat st;

    if (at < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size < at) return READ_CHUNK;
    return st.st_size - at < READ_CHUNK ? (size_t)(st.st_size - at) + 1 : READ_CHUNK;
}

enum err_code file_read_fd(int fd, const char *name, struct buf *out, struct err *e) {
    size_t chunk = chunk_of(fd);

    for (;;) {
        size_t room = out->max - out->n < chunk ? out->max - out->n : chunk;
        char past;
        char *p = room ? buf_room(out, room) : &past;
        ssize_t n;

        if (!p) return err_set(e, ERR_MEMORY, "no memory to read %s", name);
        n = read(fd, p, room ? room : 1);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_sys(e, "cannot read %s", name);
        if (n == 0) return OK;
        if (room == 0) return err_set(e, ERR_LIMIT, "%s is larger than %zu bytes", name, out->max);
        buf_grown(out, (size_t)n);
    }
}

enum err_code file_read(const char *path, struct buf *out, struct err *e) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    enum err_code code;

    if (fd < 0) return err_sys(e, "cannot open %s", path);
    code = file_read_fd(fd, path, out, e);
    close(fd);
    return code;
}

enum err_code file_write(int fd, struct slice s, const char *name, struct err *e) {
    while (s.n > 0) {
        ssize_t n = write(fd, s.p, s.n);

        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_sys(e, "cannot write %s", name);
        s = slice_from(s, (size_t)n);
    }
    return OK;
}

enum err_code file_write_at(int fd, struct slice s, off_t offset, const char *name, struct err *e) {
    while (s.n > 0) {
        ssize_t n = pwrite(fd, s.p, s.n, offset);

        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_sys(e, "cannot write %s", name);
        s = slice_from(s, (size_t)n);
        offset += n;
    }
    return OK;
}

enum err_code file_sync(int fd, const char *name, struct err *e) {
    if (fdatasync(fd) < 0) return err_sys(e, "cannot sync %s", name);
    return OK;
}

enum err_code file_sync_dir(const char *dir, struct err *e) {
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum err_code code = OK;

    if (fd < 0) return err_sys(e, "cannot open directory %s", dir);
    if (fsync(fd) < 0) code = err_sys(e, "cannot sync directory %s", dir);
    close(fd);
    return code;
}

enum err_code file_replace(const char *path, struct slice s, mode_t mode, struct err *e) {
    char tmp[PATH_MAX], dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    enum err_code code;
    int fd;

    if (snprintf(tmp, sizeof tmp, "%s.tmp.%d", path, (int)getpid()) >= (int)sizeof tmp)
        return err_set(e, ERR_LIMIT, "the path %s is too long", path);
    snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0) return err_sys(e, "cannot create %s", tmp);
    fd_own_like_path(fd, *dir ? dir : "/");
    code = file_write(fd, s, tmp, e);
    if (code == OK && fsync(fd) < 0) code = err_sys(e, "cannot sync %s", tmp);
    if (close(fd) < 0 && code == OK) code = err_sys(e, "cannot close %s", tmp);
    if (code == OK && rename(tmp, path) < 0) code = err_sys(e, "cannot rename %s", tmp);
    if (code != OK) unlink(tmp);
    return code != OK ? code : file_sync_dir(*dir ? dir : "/", e);
}

/* A directory that root just made belongs to the owner of the one it is in. */
static void own_like_parent(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int parent = fd >= 0 ? openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    if (parent >= 0) fd_own_like(fd, parent);
    fd_close(&parent);
    fd_close(&fd);
}

/* True when `path` is a directory now. */
static bool make_dir(const char *path, mode_t mode) {
    struct stat st;
    int why;

    if (mkdir(path, mode) == 0) {
        if (geteuid() == 0) own_like_parent(path);
        return true;
    }
    /* One that is there but may not be written answers EEXIST or, on some mounts, EROFS. */
    why = errno;
    if (why != ENOENT && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return true;
    errno = why;
    return false;
}

enum err_code file_mkdirs(const char *path, mode_t mode, struct err *e) {
    char part[PATH_MAX];
    size_t n = strlen(path);

    if (n == 0 || n >= sizeof part) return err_set(e, ERR_LIMIT, "bad path length: %s", path);
    memcpy(part, path, n + 1);
    /* Mostly all of it is there. */
    if (make_dir(part, mode)) return OK;
    for (size_t i = 1; i <= n; i++) {
        if (part[i] != '/' && part[i] != 0) continue;
        part[i] = 0;
        if (!make_dir(part, mode)) return err_sys(e, "cannot create directory %s", part);
        if (i < n) part[i] = '/';
    }
    return OK;
}

enum err_code file_check_secret(const char *path, struct err *e) {
    struct stat st;

    if (stat(path, &st) < 0) return err_sys(e, "cannot open %s", path);
    if (!S_ISREG(st.st_mode)) return err_set(e, ERR_DENIED, "%s is not a regular file", path);
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return err_set(e, ERR_DENIED, "%s belongs to another user", path);
    if (st.st_mode & 077)
        return err_set(e, ERR_DENIED, "%s can be read by others; chmod 600 it", path);
    return OK;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st, (void)kind, (void)at;
    return remove(path);
}

enum err_code file_remove_tree(const char *path, struct err *e) {
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) < 0)
        return err_sys(e, "cannot remove %s", path);
    return OK;
}
