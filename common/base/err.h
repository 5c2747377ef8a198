/* err: what went wrong, for a caller that branches, for the mail system, and for a person.
 *
 * A function that can fail returns `enum err_code` and takes `struct err *e` last. `e` may be NULL
 * where the caller does not care; it is untouched on success. Code, status and text are set
 * together at the place that knows; the text is one sentence without newline, code or status.
 *
 *     if (fd < 0) return err_sys(e, "cannot open %s", path);
 *     ...
 *     return err_note(e, "looking up MX of %.*s", SP(domain));
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/attr.h"
#include "base/slice.h"

enum err_code {
    OK = 0,
    ERR_SYNTAX,      /* what came in does not follow the grammar */
    ERR_LIMIT,       /* a bound was reached */
    ERR_NOT_FOUND,   /* no such name, file, message, user */
    ERR_EXISTS,      /* it is there already */
    ERR_DENIED,      /* not permitted, or wrong credentials */
    ERR_UNSUPPORTED, /* valid, but this side does not do it */
    ERR_TIMEOUT,     /* the deadline passed */
    ERR_CLOSED,      /* the peer went away */
    ERR_PROTO,       /* the peer broke the protocol, or said no */
    ERR_TLS,         /* handshake or certificate */
    ERR_DNS,         /* the name system gave no usable answer */
    ERR_NET,         /* connection refused, unreachable, reset */
    ERR_IO,          /* a file could not be read or written */
    ERR_FULL,        /* no space, over quota */
    ERR_BUSY,        /* somebody else holds it; try again */
    ERR_LIBRARY,     /* a library could not be loaded */
    ERR_CONFIG,      /* a setting is wrong */
    ERR_USAGE,       /* the command line is wrong */
    ERR_MEMORY,
    ERR_BUG
};

/* RFC 3463 2: class 2, 4 or 5, subject, detail. Class 0: no meaning in mail. */
struct mail_status {
    uint16_t cls, subject, detail;
};
#define STATUS(c, s, d) ((struct mail_status){(c), (s), (d)})

struct err {
    enum err_code code;
    int sys; /* errno when the kernel said no, else 0 */
    struct mail_status status;
    char msg[200];
};

/* Set code and text, clear the rest; returns `code`. Text past the end is cut. */
enum err_code err_set(struct err *e, enum err_code code, const char *fmt, ...) ATTR_PRINTF(3, 4);
/* As err_set, with the status in mail. */
enum err_code err_mail(struct err *e, enum err_code code, struct mail_status st, const char *fmt,
                       ...) ATTR_PRINTF(4, 5);
/* From errno: the text gets ": " and the system's words; the code is derived (ENOENT: NOT_FOUND,
 * EACCES and EPERM: DENIED, ENOSPC, EDQUOT and EFBIG: FULL, EEXIST: EXISTS, ENOMEM: MEMORY,
 * EAGAIN: BUSY, ETIMEDOUT: TIMEOUT, network errors: NET, else IO). FULL also sets 4.3.1, MEMORY,
 * IO 4.3.0. */
enum err_code err_sys(struct err *e, const char *fmt, ...) ATTR_PRINTF(2, 3);
/* Put "context: " in front of the text; returns the code that is there. */
enum err_code err_note(struct err *e, const char *fmt, ...) ATTR_PRINTF(2, 3);
/* "syntax", "limit", ...: stable words for JSON. Static. */
const char *err_code_name(enum err_code code);
/* True when trying again later may help: status class 4, or without a status a code that is of
 * that kind (TIMEOUT, CLOSED, DNS, NET, IO, FULL, BUSY, TLS, LIBRARY, MEMORY, LIMIT). */
bool err_is_temporary(const struct err *e);

/* What an incremental parser returns. */
enum step { STEP_MORE, STEP_DONE, STEP_BAD };

#endif
