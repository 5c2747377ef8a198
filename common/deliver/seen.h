/* seen: which messages of a remote maildrop were fetched before: a small file of UIDLs.
 *
 *     postbag-seen 1 open            "open" while a run is at work, else "done"
 *     UIDL FETCHED LAST-SEEN         two times in seconds since 1970; appended, then synced
 *
 * A line counts once its newline is there; a torn tail is cut. The file is rewritten (atomically)
 * when a run ends well. A lock beside it (FILE.lock) keeps two runs apart. One thread. */
#ifndef DELIVER_SEEN_H
#define DELIVER_SEEN_H

#include "base/buf.h"
#include "base/err.h"
#include "base/moment.h"

enum {
    SEEN_FILE_MAX = 256 * 1024 * 1024,
    SEEN_UID_MAX = 1000,
    SEEN_FORGET_S = 30 * 86400 /* an entry goes when the server has not shown it for this long */
};

struct seen;
/* Read `path` (missing: empty; directories are made) and take the lock. ERR_BUSY: another run has
 * it; ERR_SYNTAX: this is no such file. */
enum err_code seen_open(const char *path, struct seen **out, struct err *e);
/* True when the last run did not come to its end: what it did last may not be noted. */
bool seen_was_cut(const struct seen *s);
/* When `uid` was fetched; 0: never. Notes that the server showed it at `now`. */
wall_t seen_find(struct seen *s, struct slice uid, wall_t now);
/* Note that `uid` is fetched and safe. Not on disk before seen_flush. ERR_SYNTAX: a uid with blanks
 * or controls, or too long. */
enum err_code seen_add(struct seen *s, struct slice uid, wall_t now, struct err *e);
/* Make all that was added durable. */
enum err_code seen_flush(struct seen *s, struct err *e);
/* The message is gone from the server for good. */
void seen_drop(struct seen *s, struct slice uid);
/* The run ended well: rewrite the file without what is forgotten. */
enum err_code seen_finish(struct seen *s, wall_t now, struct err *e);
void seen_close(struct seen *s);

#endif
