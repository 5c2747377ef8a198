/* alias: aliases(5): "name: value, value", comments, continuation lines, quoted names, values that
 * are addresses, "\user" (no further aliasing), ":include:/file", "/dev/null", and, when they are
 * allowed, "/file" and "|command"; else those are errors, as they always are in an included file.
 * The files are read again when one changed. Any thread. */
#ifndef CONF_ALIAS_H
#define CONF_ALIAS_H

#include "base/arena.h"
#include "base/err.h"

enum { ALIAS_FILE_MAX = 16 * 1024 * 1024, ALIAS_DEPTH_MAX = 20, ALIAS_TARGETS_MAX = 10000 };

struct aliases;

/* A missing file is an empty one. `path` is borrowed. `commands`: commands and files are allowed.
 */
enum err_code aliases_new(const char *path, bool commands, struct aliases **out, struct err *e);
void aliases_free(struct aliases *a);
/* The values of `name` (without regard to ASCII case), copied into `arena`; "local@domain" may be a
 * name too, and "@domain" (the catch-all). `*count` 0: no such alias. A value that starts with a
 * backslash is final. ERR_CONFIG names file and line. */
enum err_code aliases_find(struct aliases *a, struct slice name, struct arena *arena,
                           struct slice **values, size_t *count, struct err *e);
/* Read and check the whole file; `*count` names. ERR_CONFIG: the first line that is wrong. */
enum err_code aliases_check(struct aliases *a, size_t *count, struct err *e);

#endif
