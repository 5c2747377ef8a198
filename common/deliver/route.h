/* route: where mail for a domain goes (RFC 5321 5.1), in the order it is tried. `mx-lookup` prints
 * it, `smtp-probe` walks it, delivery obeys it. Blocking (net/resolve). */
#ifndef DELIVER_ROUTE_H
#define DELIVER_ROUTE_H

#include "deliver/sts.h"
#include "net/resolve.h"
#include "policy/tls.h"

enum { ROUTE_HOSTS_MAX = 20, ROUTE_ADDRS_MAX = 8 };
enum route_kind { ROUTE_MX, ROUTE_IMPLICIT, ROUTE_RELAY, ROUTE_LITERAL, ROUTE_FIXED, ROUTE_RULE };

struct route_host {
    const char *name; /* as DNS has it, without the final dot; shown and sent as SNI */
    uint16_t preference;
    struct addr addrs[ROUTE_ADDRS_MAX]; /* families interleaved, IPv6 first */
    size_t addr_count;
    enum dns_result result; /* of the address lookup */
    enum dns_security security;
    struct slice why; /* when it failed */
    bool is_self;     /* it is this host, so it and all that come after are left out */
    enum tls_dane dane;
    const char *tlsa_base; /* the name that has the TLSA records; NULL: none was asked for */
    struct dns_record *tlsa;
    size_t tlsa_count;
    struct tls_facts facts; /* what the decision rests on; a message adds its own wishes */
    struct tls_decision tls;
};

struct route {
    enum route_kind kind;
    const char *domain; /* A-label form of what was asked for */
    enum dns_result mx_result;
    enum dns_security mx_security;
    bool is_null_mx;
    unsigned cnames;
    struct route_host *hosts; /* in the order of trying; equal preferences are shuffled */
    size_t host_count;
    const struct conf_dest *rule; /* what the settings say of the domain, or NULL */
    bool is_lmtp;
    struct sts_found sts;
    enum err_code code; /* OK: some host has an address; else why mail cannot go there now */
    struct err err;     /* its status tells temporary from permanent */
};

/* Find it. `use_relay`: the relay of the settings, when there is one, stands for every domain.
 * A `domain` "=host:port" is that host alone. Everything lives in `a`. Returns OK also when there
 * is no way: see route->code. Errors: memory only.
 *
 * NXDOMAIN is permanent (5.1.2); a failing name server temporary (4.4.3) and never taken for "no
 * MX"; no MX means the domain itself; a null MX (RFC 7505) is permanent (5.1.10); MX hosts without
 * addresses are permanent (5.4.4) unless one lookup failed; a relay that does not resolve is always
 * temporary. For every host the TLSA records are looked up where they would be secure, for the
 * domain its MTA-STS policy, and policy/tls decides; a host that must not be used is skipped, and
 * without another the route is temporarily closed (4.7.5). */
enum err_code route_find(struct resolver *r, const struct conf *c, struct slice domain,
                         bool use_relay, struct arena *a, struct route *out, struct err *e);
/* "mx", "implicit", "relay", "literal", "fixed", "rule". Static. */
const char *route_kind_name(enum route_kind kind);

#endif
