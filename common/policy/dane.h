/* dane: which TLSA records an SMTP client can use (RFC 7672 3.1). No I/O; the certificates are
 * looked at in net/tls. */
#ifndef POLICY_DANE_H
#define POLICY_DANE_H

#include "dns/answer.h"

/* Usage DANE-TA(2) or DANE-EE(3), known selector and matching type, data of the right length. The
 * PKIX usages 0 and 1 are unusable for SMTP (RFC 7672 3.1.3). */
bool dane_is_usable(const struct dns_record *tlsa);
/* How many of them are. */
size_t dane_count(const struct dns_record *tlsa, size_t n);

#endif
