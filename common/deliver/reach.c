#include "deliver/reach.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "sys/clock.h"
#include "sys/file.h"

enum { REACH_FILE_MAX = 1024 };

static bool path_of(char path[PATH_MAX], const char *dir, const char *name) {
    if (!*name || name[0] == '.' || strchr(name, '/') || strlen(name) > 255) return false;
    return snprintf(path, PATH_MAX, "%s/%s", dir, name) < PATH_MAX;
}

void reach_load(const char *dir, const char *name, struct reach *out) {
    char path[PATH_MAX];
    struct slice rest, failures, until;
    struct buf text;
    uint64_t n, at;

    *out = (struct reach){0};
    if (!path_of(path, dir, name) || access(path, F_OK) < 0) return;
    buf_init(&text, REACH_FILE_MAX);
    if (file_read(path, &text, NULL) == OK) {
        rest = buf_slice(&text);
        if (slice_word(&rest, &failures) && slice_word(&rest, &until) &&
            num_parse(failures, 1000000, &n) && num_parse(until, INT64_MAX / 2, &at)) {
            out->failures = (unsigned)n;
            /* Nothing is left alone for so long: the clock was wrong when this was written. */
            out->until = (wall_t)at > clock_wall() + 2 * REACH_MAX_S ? 0 : (wall_t)at;
            snprintf(out->text, sizeof out->text, "%.*s", SP(slice_trim(slice_chomp(rest))));
        }
    }
    buf_release(&text);
}

void reach_failed(const char *dir, const char *name, wall_t now, uint32_t first_s, uint32_t random,
                  struct slice why, struct reach *r) {
    uint64_t wait = first_s < REACH_FIRST_S ? first_s : REACH_FIRST_S;
    char path[PATH_MAX], fresh[PATH_MAX];
    struct buf text;
    int fd;

    for (unsigned i = 0; i < r->failures && wait < REACH_MAX_S; i++) wait *= 2;
    if (wait > REACH_MAX_S) wait = REACH_MAX_S;
    wait = wait * 9 / 10 + wait * (random % 1000) / 5000;
    r->failures++;
    r->until = now + (wall_t)wait;
    snprintf(r->text, sizeof r->text, "%.*s", SP(slice_first(why, sizeof r->text - 1)));
    for (char *p = r->text; *p; p++)
        if ((unsigned char)*p < ' ') *p = ' ';
    if (!path_of(path, dir, name) || file_mkdirs(dir, 0700, NULL) != OK) return;
    buf_init(&text, REACH_FILE_MAX);
    buf_addf(&text, "%u %lld %s\n", r->failures, (long long)r->until, r->text);
    /* Whole for every reader, but not worth a sync: after a power cut it is just tried again. */
    fd = snprintf(fresh, sizeof fresh, "%s/.%x-%x", dir, (unsigned)getpid(), random) < PATH_MAX
             ? open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)
             : -1;
    if (fd >= 0) {
        fd_own_like_path(fd, dir);
        if (text.bad || file_write(fd, buf_slice(&text), fresh, NULL) != OK ||
            rename(fresh, path) < 0)
            unlink(fresh);
        close(fd);
    }
    buf_release(&text);
}

void reach_good(const char *dir, const char *name, struct reach *r) {
    char path[PATH_MAX];

    if (r->failures == 0) return;
    *r = (struct reach){0};
    if (path_of(path, dir, name)) unlink(path);
}

void reach_clear(const char *dir) {
    DIR *d = opendir(dir);
    struct dirent *entry;
    char path[PATH_MAX];

    while (d && (entry = readdir(d)) != NULL)
        if (path_of(path, dir, entry->d_name)) unlink(path);
    if (d) closedir(d);
}
