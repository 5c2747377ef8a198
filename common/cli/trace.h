/* trace: a dialogue as a person reads it, on standard error: "-> EHLO x", "<- 250 ...". Passwords
 * are masked and the octets of a message are counted, not shown. */
#ifndef CLI_TRACE_H
#define CLI_TRACE_H

#include <stdio.h>

#include "base/slice.h"

struct trace {
    FILE *out;
    bool in_body, after_auth;
    size_t body_bytes;
};

/* For pump and hop: `user` is the struct trace. Lines may come in pieces; each piece is shown as it
 * comes. */
void trace_bytes(void *user, bool is_out, struct slice bytes);

#endif
