/* program: what an alias may name beside addresses: "|command", to which the message is piped, and
 * "/file", to which it is appended as an mbox entry; "/dev/null" throws it away. */
#ifndef DELIVER_PROGRAM_H
#define DELIVER_PROGRAM_H

#include <stdatomic.h>

#include "base/moment.h"
#include "conf/conf.h"

enum {
    PROGRAM_MS = 300 * 1000,        /* default time for a command */
    PROGRAM_OUTPUT_MAX = 16 * 1024, /* read of its output; the rest is thrown away */
    PROGRAM_LINE_MAX = 100          /* of the output in the error's text */
};

struct program {
    struct slice target;             /* "|command" or "/file", absolute */
    struct slice sender;             /* empty: the null path */
    struct slice recipient;          /* "local@domain" that led here */
    struct slice message;            /* CRLF line ends become LF */
    wall_t date;                     /* for the mbox separator */
    unsigned timeout_ms;             /* 0: PROGRAM_MS */
    const _Atomic bool *is_stopping; /* may be NULL; when it becomes true the command is ended */
};

/* Is it one that costs time: neither an address nor /dev/null? */
bool program_is_slow(struct slice target);
/* Deliver, as `alias-user` of `c` (nobody when there is none) if this process is root's, else as
 * who we are. A command runs by /bin/sh -c with only PATH, HOME, SHELL, LOGNAME, USER, SENDER and
 * RECIPIENT set, in / and a process group of its own, which is killed when the time is up. Its exit
 * status is read as sysexits(3) says: 0 is OK, 71, 74 and 75 are temporary, as are a signal, no
 * time left and a command that cannot be run; others are permanent, with the first line of output
 * as the text. A file is locked (fcntl) while it is written, made with mode 0600, and cut back to
 * where it was when it cannot be written whole; what is no regular file is refused. */
enum err_code program_deliver(const struct conf *c, const struct program *p, struct err *e);

#endif
