/* watch: which directories change, for any number of waiting handles, with one inotify instance and
 * one thread in the process (a user may have 128 instances, and thousands of sessions may wait).
 * Any thread. */
#ifndef STORE_WATCH_H
#define STORE_WATCH_H

#include <stddef.h>

enum { WATCH_DIRS_MAX = 100000, WATCH_PAUSE_MS = 20 };

/* Watch directories for names that come and go. `*fd` (an eventfd, owned by the watch) is readable
 * after something happened, at most WATCH_PAUSE_MS later. Of those behind the first `n_needed` some
 * may not be there. NULL: there is no inotify, or no more of it. */
struct watch;
struct watch *watch_new(const char *const *dirs, size_t n, size_t n_needed, int *fd);
/* NULL is fine. */
void watch_free(struct watch *w);

#endif
