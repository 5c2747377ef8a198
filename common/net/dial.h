/* dial: connected and listening sockets. All are non-blocking and close-on-exec. Any thread. */
#ifndef NET_DIAL_H
#define NET_DIAL_H

#include "base/moment.h"
#include "net/addr.h"

/* Connect by TCP until `deadline`, from `from` (NULL: any). ERR_NET (4.4.1), ERR_TIMEOUT (4.4.1).
 */
enum err_code dial_tcp(const struct addr *to, const struct addr *from, mono_t deadline, int *fd,
                       struct err *e);
/* Begin to connect, from the address `from` (its port is not used; NULL: any): the socket is
 * connected, or not, once it is writable; then ask dial_result. */
enum err_code dial_start(const struct addr *to, const struct addr *from, int *fd, struct err *e);
/* What became of it: OK, or ERR_NET (4.4.1) and the socket is to be closed. */
enum err_code dial_result(int fd, const struct addr *to, struct err *e);
/* Listen on `host` (an address, "localhost", or "" and "*" for every address of this host) and
 * `port`; port 0: any, see dial_local. ERR_NET names address and port ("in use ..."), ERR_DENIED (a
 * low port). */
enum err_code dial_listen(const char *host, uint16_t port, int *fd, struct err *e);
/* This end's address. */
bool dial_local(int fd, struct addr *out);

#endif
