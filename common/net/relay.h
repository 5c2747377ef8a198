/* relay: a person or a script speaks IMAP by hand over a stream that somebody opened
 * (net/dial_url): what comes in on one descriptor goes to the server, what the server says goes out
 * on another. Blocking, one thread. */
#ifndef NET_RELAY_H
#define NET_RELAY_H

#include "net/pump.h"

/* Lines from `in` may end in LF and are sent with CRLF; the octets of a literal ("{5}" or "{5+}" at
 * the end of a line announces one) go as they are. At the end of `in` a LOGOUT is sent, unless the
 * last line was one, and the rest of the answers is awaited, each at most `timeout_ms`. OK when the
 * server closed after a LOGOUT; ERR_CLOSED when it did before, ERR_TIMEOUT (4.4.2), ERR_NET,
 * ERR_IO.
 */
enum err_code relay_imap(struct pump_io io, int in, int out, unsigned timeout_ms, struct err *e);

/* For tests: the same translation alone. `in` is appended to `out` as it would be sent; the state
 * starts zeroed. */
struct relay_lines {
    char tail[32]; /* the end of the line so far */
    size_t tail_n;
    uint64_t literal; /* octets of it still to come */
    bool is_logout;   /* the last whole line was a LOGOUT */
};
void relay_lines_put(struct relay_lines *l, struct buf *out, struct slice in);

#endif
