/* resolv_lib: the one door to what of glibc's resolver is not in libc itself: the parser of packets
 * (base/lazy). */
#ifndef DNS_RESOLV_LIB_H
#define DNS_RESOLV_LIB_H

#include <arpa/nameser.h>
#include <resolv.h>

#undef STATUS /* an opcode of <arpa/nameser.h>; ours is in base/err.h */

#include "base/lazy.h"

#define RESOLV_SYMS(X) X(ns_initparse) X(ns_parserr)

struct resolv_table {
    RESOLV_SYMS(LAZY_FIELD)
};
extern struct resolv_table resolv;
/* Load it. Any thread. ERR_LIBRARY. */
enum err_code resolv_load(struct err *e);

#endif
