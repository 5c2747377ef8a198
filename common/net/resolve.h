/* resolve: questions to the name system. Blocking; each call may take up to RESOLVE_TIMEOUT_MS.
 *
 * `resolver` setting or resolv.conf; names are absolute (no search list). The AD bit is believed
 * only from a loopback resolver, or when resolv.conf says trust-ad. With `dnssec validate`
 * libunbound asks and validates instead. A resolver may be used from any thread; each call has a
 * state of its own. */
#ifndef NET_RESOLVE_H
#define NET_RESOLVE_H

#include "conf/conf.h"
#include "dns/answer.h"
#include "net/addr.h"

enum { RESOLVE_TIMEOUT_MS = 15000 };

struct resolver;

/* From the settings, which must live as long. ERR_CONFIG: the resolver is not an address;
 * ERR_LIBRARY. */
enum err_code resolver_new(const struct conf *c, struct resolver **out, struct err *e);
void resolver_free(struct resolver *r);
/* Ask for `type` records of `name`. The answer lives in `a`. Failures of the name system are
 * answers (DNS_FAILED with `why`), not errors; ERR_SYNTAX: not a name, ERR_MEMORY. */
enum err_code resolver_ask(struct resolver *r, struct slice name, uint16_t type, struct arena *a,
                           struct dns_answer *out, struct err *e);
/* The addresses of a host: A and AAAA together, each with `port`. An address literal is itself, and
 * "localhost" is the loopback. `result` FAILED when nothing was found and one of the questions
 * failed. `security` is the weaker of the two. */
struct resolve_hosts {
    enum dns_result result;
    enum dns_security security;
    struct addr *addrs;
    size_t count;
    struct slice name; /* the canonical name, after CNAMEs */
    unsigned cnames;   /* CNAMEs followed */
    struct slice why;
};
enum err_code resolver_hosts(struct resolver *r, struct slice host, uint16_t port, struct arena *a,
                             struct resolve_hosts *out, struct err *e);

#endif
