/* compose: a message of text, HTML and attachments from what a shell has (RFC 2045-2049, RFC 2231).
 * The text is the body on standard input; its header fields are kept. */
#ifndef SUBMIT_COMPOSE_H
#define SUBMIT_COMPOSE_H

#include "submit/submission.h"

enum { COMPOSE_FILES_MAX = 256 };

struct compose {
    const char *html;         /* file with the HTML alternative, or NULL */
    const char *const *files; /* attachments */
    size_t count;             /* at most COMPOSE_FILES_MAX */
};

/* Replace the body of `s` by the MIME structure. After submission_read. ERR_NOT_FOUND, ERR_DENIED,
 * ERR_IO: a file cannot be read; ERR_LIMIT: together they are larger than message-size-limit;
 * ERR_SYNTAX: the message has a structure of its own already, or HTML is not UTF-8. */
enum err_code compose_mime(struct submission *s, const struct compose *c, struct err *e);

#endif
