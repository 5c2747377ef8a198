/* proxy: the header that a TCP proxy puts before a connection it passes on (the PROXY protocol of
 * HAProxy, versions 1 and 2): who the client really is. Parsed in steps that never ask for a byte
 * behind the header, so that what follows (a TLS handshake) is still unread. No I/O. */
#ifndef SERVE_PROXY_H
#define SERVE_PROXY_H

#include "net/addr.h"

/* Version 1: a line of at most 107 bytes; version 2: 16 bytes and the addresses, with up to this
 * many bytes of extensions, which are skipped. */
enum { PROXY_V1_MAX = 107, PROXY_V2_HEAD = 16, PROXY_HEADER_MAX = 16 + 2048 };

struct proxy {
    bool has_addresses; /* false: UNKNOWN, LOCAL or a family that is not TCP: keep the peer's own */
    struct addr client, local;
};

/* `in` is all that came so far. STEP_MORE: `*want` more bytes are needed, and surely belong to the
 * header. STEP_DONE: `in` is the header. STEP_BAD: it is none, or longer than PROXY_HEADER_MAX. */
enum step proxy_parse(struct slice in, struct proxy *out, size_t *want);

#endif
