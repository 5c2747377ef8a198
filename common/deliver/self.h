/* self: is an address that an MX leads to an end of this host's own? Mail sent there comes back and
 * goes round until its Received fields are too many (RFC 5321 5.1, 6.3). */
#ifndef DELIVER_SELF_H
#define DELIVER_SELF_H

#include "conf/conf.h"
#include "net/addr.h"

/* Does a `listen smtp` line of `c` take what is sent to `a`? One without an address takes every
 * address that an interface of this host has. The unspecified address, which nobody can mean, is
 * this host's at any port. */
bool self_listens(const struct conf *c, const struct addr *a);

#endif
