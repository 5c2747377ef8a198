/* ldns: the one door to ldns (base/lazy): the presentation form of DNS packets. */
#ifndef DNS_LDNS_H
#define DNS_LDNS_H

#include <ldns/ldns.h>
/* ldns has macros of its own by these names. */
#undef STATUS
#undef ATTR_UNUSED
#undef ATTR_FORMAT

#include "base/buf.h"
#include "base/lazy.h"

#define LDNS_SYMS(X)                                                                               \
    X(ldns_wire2pkt)                                                                               \
    X(ldns_pkt_free)                                                                               \
    X(ldns_pkt_answer)                                                                             \
    X(ldns_pkt_authority)                                                                          \
    X(ldns_rr_list2str)

struct ldns_table {
    LDNS_SYMS(LAZY_FIELD)
};
extern struct ldns_table ldns;
enum err_code ldns_load(struct err *e);

/* Append the answer section of `packet` (when it is empty, the authority section) as lines of a
 * zone file. ERR_SYNTAX: not a packet; ERR_LIBRARY. */
enum err_code ldns_put_records(struct slice packet, struct buf *out, struct err *e);

#endif
