#include "policy/tls.h"

const char *hop_tls_name(enum hop_tls tls) {
    static const char *const names[] = {"none", "may", "require", "verify", "dane"};

    return names[tls];
}

static struct tls_decision use(enum hop_tls tls, const char *why) {
    return (struct tls_decision){tls, why, 0};
}

static struct tls_decision relay(const struct tls_facts *f) {
    if (f->is_loopback)
        return use(f->has_password && !f->may_clear_login ? HOP_TLS_REQUIRE : HOP_TLS_MAY,
                   "loopback");
    if (f->has_password) return use(HOP_TLS_VERIFY, "password");
    if (f->is_submission) return use(HOP_TLS_VERIFY, "submission");
    return use(HOP_TLS_MAY, "opportunistic");
}

/* What holds for the destination, whatever the message asks for. */
static struct tls_decision of_destination(const struct tls_facts *f) {
    switch (f->rule) {
    case RULE_NONE: return use(HOP_TLS_NONE, "settings");
    case RULE_MAY: return use(HOP_TLS_MAY, "settings");
    case RULE_REQUIRE: return use(HOP_TLS_REQUIRE, "settings");
    case RULE_VERIFY: return use(HOP_TLS_VERIFY, "settings");
    case RULE_AUTO: break;
    }
    if (f->dane == DANE_FAILED)
        return (struct tls_decision){HOP_TLS_DANE, "dane", "its TLSA records cannot be looked up"};
    if (f->dane == DANE_USABLE) return use(HOP_TLS_DANE, "dane");
    /* DANE, where it is, stands above MTA-STS (RFC 8461 2). */
    if (f->sts == STS_ENFORCE && !f->sts_matches)
        return (struct tls_decision){HOP_TLS_VERIFY, "mta-sts",
                                     "the MTA-STS policy does not list it"};
    if (f->sts == STS_ENFORCE) return use(HOP_TLS_VERIFY, "mta-sts");
    if (f->is_relay) return relay(f);
    if (f->dane == DANE_UNUSABLE) return use(HOP_TLS_REQUIRE, "unusable tlsa");
    return use(HOP_TLS_MAY, f->sts == STS_TESTING ? "mta-sts testing" : "opportunistic");
}

struct tls_decision tls_decide(const struct tls_facts *f) {
    struct tls_decision d = of_destination(f);

    if (f->is_requiretls && d.tls < HOP_TLS_VERIFY) return use(HOP_TLS_VERIFY, "requiretls");
    /* The sender would rather have it read than not arrive (RFC 8689 5); credentials stay safe. */
    if (f->is_optional && f->rule == RULE_AUTO && !f->is_relay && !f->is_requiretls)
        return use(HOP_TLS_MAY, "tls-required: no");
    return d;
}
