/* file: whole files and durable writes. Every write, close and sync is checked. Any thread. */
#ifndef SYS_FILE_H
#define SYS_FILE_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/* Append the content of `path` to `out`, whose ceiling bounds it. NOT_FOUND, DENIED, LIMIT, IO. */
enum err_code file_read(const char *path, struct buf *out, struct err *e);
/* The same from an open descriptor, up to its end. `name` is for the error. */
enum err_code file_read_fd(int fd, const char *name, struct buf *out, struct err *e);
/* Write all of `s` at the descriptor's position; goes on after short writes and EINTR. */
enum err_code file_write(int fd, struct slice s, const char *name, struct err *e);
/* The same at `offset`, leaving the position alone. */
enum err_code file_write_at(int fd, struct slice s, off_t offset, const char *name, struct err *e);
/* fdatasync(2). After an error the data must be taken as lost. */
enum err_code file_sync(int fd, const char *name, struct err *e);
/* Make the entries of a directory durable. */
enum err_code file_sync_dir(const char *dir, struct err *e);
/* Replace `path` with `s` so that after a crash it has the old or the new content: a temporary file
 * beside it, fsync, rename, fsync of the directory. */
enum err_code file_replace(const char *path, struct slice s, mode_t mode, struct err *e);
/* Make `path` and its missing parents, each with `mode`. A directory that is there is fine. */
enum err_code file_mkdirs(const char *path, mode_t mode, struct err *e);
/* ERR_DENIED with the reason unless `path` is a regular file that only its owner (us or root) can
 * read: for passwords and keys. */
enum err_code file_check_secret(const char *path, struct err *e);
/* What root makes in somebody's directory is his: give the open file or directory `fd` the owner of
 * the directory `dir_fd`. For anybody but root it does nothing. */
void fd_own_like(int fd, int dir_fd);
/* The same with the directory's path. */
void fd_own_like_path(int fd, const char *dir);
/* Remove a directory and all below it, not following links; for directories of our own making. */
enum err_code file_remove_tree(const char *path, struct err *e);
/* Let this process have as many descriptors as its hard limit allows, up to `most`; returns how
 * many. */
size_t fd_raise_limit(size_t most);
/* `*fd` is closed unless negative, and set to -1. For descriptors whose errors mean nothing. */
void fd_close(int *fd);

#endif
