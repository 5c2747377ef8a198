/* log: one line per event, as text for people, JSON for programs, or to the journal.
 *
 *     log_event(log, LOG_NOTE, "queued", "id", id, "from", sender, NULL);
 *
 * A struct log may be used from any thread. Control characters in values are escaped; a line is at
 * most LOG_LINE_MAX bytes, then cut. Secrets are never given to it. */
#ifndef SYS_LOG_H
#define SYS_LOG_H

#include "base/slice.h"

enum { LOG_LINE_MAX = 8 * 1024 };
enum log_level { LEVEL_ERROR, LEVEL_WARN, LEVEL_NOTE, LEVEL_DEBUG };
enum log_format { LOG_TEXT, LOG_JSON, LOG_JOURNAL, LOG_NONE };

struct log {
    int fd; /* where lines go; borrowed */
    enum log_format format;
    enum log_level level; /* events above it are dropped */
    const char *name;     /* "serve"; static */
};

/* To `fd`. LOG_JOURNAL writes "<N>" priorities in front, which the journal reads from a service's
 * stderr (sd-daemon(3)). */
void log_init(struct log *l, int fd, enum log_format format, const char *name);
/* True when a line of that level would be written: to spare the work of making one. */
bool log_wants(const struct log *l, enum log_level level);
/* Write an event with pairs `const char *key, struct slice value`, ended by NULL. Pairs with an
 * empty value are left out. `l` NULL: nothing. */
void log_event(const struct log *l, enum log_level level, const char *event, ...);
/* The value of a pair made from a C string or a number; the number's text lives in `b`. */
struct slice log_num(char b[24], int64_t v);

#endif
