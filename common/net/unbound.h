/* unbound: the one door to libunbound (base/lazy): validation of DNSSEC in this process. */
#ifndef NET_UNBOUND_H
#define NET_UNBOUND_H

#include <unbound.h>

#include "base/lazy.h"

#define UNBOUND_SYMS(X)                                                                            \
    X(ub_ctx_create)                                                                               \
    X(ub_ctx_delete)                                                                               \
    X(ub_ctx_set_option)                                                                           \
    X(ub_ctx_set_fwd)                                                                              \
    X(ub_ctx_resolvconf)                                                                           \
    X(ub_ctx_add_ta_file)                                                                          \
    X(ub_ctx_zone_remove)                                                                          \
    X(ub_resolve)                                                                                  \
    X(ub_resolve_free)                                                                             \
    X(ub_strerror)

struct unbound_table {
    UNBOUND_SYMS(LAZY_FIELD)
};
extern struct unbound_table unbound;
enum err_code unbound_load(struct err *e);

#endif
