/* tls: how much TLS a hop needs, decided once from facts (RFC 7672, 8461, 8689). Delivery, the
 * probe and mx-lookup call this same function and print its words. No I/O. */
#ifndef POLICY_TLS_H
#define POLICY_TLS_H

#include <stdbool.h>

#include "policy/sts.h"

/* NONE: in clear. MAY: when it works. REQUIRE: or not at all, whoever it is. VERIFY: with a
 * certificate that is trusted for the name. DANE: with one that the TLSA records tell. */
enum hop_tls { HOP_TLS_NONE, HOP_TLS_MAY, HOP_TLS_REQUIRE, HOP_TLS_VERIFY, HOP_TLS_DANE };
/* "none", "may", "require", "verify", "dane". Static. */
const char *hop_tls_name(enum hop_tls tls);

/* What the name system says of TLSA records. NO_TLSA: securely none, or nothing is secure.
 * FAILED: they cannot be had, so nobody knows. */
enum tls_dane { DANE_NO_TLSA, DANE_USABLE, DANE_UNUSABLE, DANE_FAILED };
enum tls_rule { RULE_AUTO, RULE_NONE, RULE_MAY, RULE_REQUIRE, RULE_VERIFY };

struct tls_facts {
    enum tls_rule rule;   /* what the settings say of this destination */
    bool is_relay;        /* a host that the settings name */
    bool is_loopback;     /* all its addresses are this machine */
    bool has_password;    /* we will log in */
    bool may_clear_login; /* even without TLS */
    bool is_submission;   /* port 465 or 587 */
    enum tls_dane dane;
    enum sts_mode sts;  /* of the domain's policy, STS_NONE without one */
    bool sts_matches;   /* the policy lists the host */
    bool is_requiretls; /* the message: RFC 8689 */
    bool is_optional;   /* the message: "TLS-Required: No" */
};
struct tls_decision {
    enum hop_tls tls;
    const char *why;  /* "settings", "dane", "mta-sts", ...: static */
    const char *skip; /* the host must not be used now, and why; NULL: it may. Static */
};
struct tls_decision tls_decide(const struct tls_facts *f);

#endif
