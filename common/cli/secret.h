/* secret: a password from where it may come: a file that only its owner reads, a descriptor, a
 * command (pass(1)), or the terminal. Never from the environment; from argv only where a URL has
 * it. */
#ifndef CLI_SECRET_H
#define CLI_SECRET_H

#include "base/buf.h"
#include "cli/applet.h"

enum { SECRET_MAX = 8192 };

struct secret_source {
    const char *file;    /* mode 0600, or NULL */
    const char *fd;      /* the number of an open descriptor as text, or NULL */
    const char *command; /* for sh -c: its first line of output, or NULL */
};
/* The first line of the one source that is given; without any, asked on the terminal with `prompt`.
 * `out` is initialised here; the caller calls secret_wipe in any case. ERR_USAGE: more than one, or
 * none and no terminal; ERR_DENIED: others may read the file; ERR_NOT_FOUND, ERR_SYNTAX (empty). */
enum err_code secret_get(struct context *ctx, const struct secret_source *from, const char *prompt,
                         struct buf *out, struct err *e);
/* Ask on the terminal without echo; `out` is initialised by the caller. ^C ends the process as
 * ever, with the terminal as it was. ERR_USAGE: there is no terminal. */
enum err_code secret_ask(const char *prompt, struct buf *out, struct err *e);
void secret_wipe(struct buf *b);

#endif
