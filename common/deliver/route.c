#include "deliver/route.h"

#include <stdio.h>
#include <stdlib.h>

#include "deliver/self.h"
#include "dns/name.h"
#include "policy/dane.h"
#include "sys/clock.h"

const char *route_kind_name(enum route_kind kind) {
    static const char *const names[] = {"mx", "implicit", "relay", "literal", "fixed", "rule"};

    return names[kind];
}

/* The TLSA records of a host, where an answer would be secure (RFC 7672 2.2): for the name that the
 * host's CNAMEs lead to first, then for its own. */
static enum err_code find_tlsa(struct resolver *r, struct route_host *h,
                               const struct resolve_hosts *found, uint16_t port, bool is_secure,
                               struct arena *a, struct err *e) {
    struct slice bases[2] = {found->name, slice_str(h->name)};

    if (!is_secure || found->count == 0 || found->security != DNS_SECURE) return OK;
    for (size_t i = found->cnames ? 0 : 1; i < 2; i++) {
        struct slice name = arena_printf(a, "_%u._tcp.%.*s", port, SP(bases[i]));
        struct dns_answer tlsa;
        enum err_code code;

        if (name.n == 0) return err_set(e, ERR_MEMORY, "no memory for a route");
        if (name.n > 253) continue;
        code = resolver_ask(r, name, DNS_TLSA, a, &tlsa, e);
        if (code == ERR_SYNTAX) continue;
        if (code != OK) return code;
        if (tlsa.result == DNS_FAILED || tlsa.security == DNS_BOGUS) {
            h->dane = DANE_FAILED;
            return OK;
        }
        if (tlsa.result != DNS_FOUND || tlsa.security != DNS_SECURE) continue;
        h->tlsa = tlsa.records;
        h->tlsa_count = tlsa.count;
        h->tlsa_base = arena_cstr(a, bases[i]);
        h->dane = dane_count(tlsa.records, tlsa.count) ? DANE_USABLE : DANE_UNUSABLE;
        return OK;
    }
    return OK;
}

/* Addresses of one host, families in turn so that the cap never leaves one out. */
static enum err_code fill_addrs(struct resolver *r, struct route_host *h, uint16_t port,
                                bool is_secure, struct arena *a, struct err *e) {
    struct resolve_hosts found;
    enum err_code code = resolver_hosts(r, slice_str(h->name), port, a, &found, e);
    bool want_ipv6 = true;
    size_t left = found.count;

    if (code == ERR_SYNTAX) {
        h->result = DNS_NXDOMAIN;
        h->why = S("not a host name");
        return OK;
    }
    if (code != OK) return code;
    h->result = found.result;
    h->security = found.security;
    h->why = found.why;
    code = find_tlsa(r, h, &found, port, is_secure, a, e);
    if (code != OK) return code;
    while (left > 0 && h->addr_count < ROUTE_ADDRS_MAX) {
        size_t pick = found.count;

        for (size_t i = 0; i < found.count && pick == found.count; i++)
            if (found.addrs[i].len && addr_is_ipv6(&found.addrs[i]) == want_ipv6) pick = i;
        if (pick < found.count) {
            h->addrs[h->addr_count++] = found.addrs[pick];
            found.addrs[pick].len = 0;
            left--;
        }
        want_ipv6 = !want_ipv6;
    }
    return OK;
}

static enum err_code no_way(struct route *out, enum err_code code, struct mail_status st,
                            const char *why) {
    out->code = err_mail(&out->err, code, st, "%s", why);
    return OK;
}

static int by_preference(const void *x, const void *y) {
    const struct route_host *a = x, *b = y;

    return (a->preference > b->preference) - (a->preference < b->preference);
}

/* Order by preference; hosts of equal preference in random order (RFC 5321 5.1). */
static void order(struct route_host *v, size_t n) {
    for (size_t i = n; i > 1; i--) {
        size_t j = random_below((uint32_t)i);
        struct route_host t = v[i - 1];

        v[i - 1] = v[j];
        v[j] = t;
    }
    qsort(v, n, sizeof *v, by_preference);
}

static bool is_here(const struct conf *c, const struct route_host *h) {
    if (slice_ieq(slice_str(h->name), slice_str(c->hostname))) return true;
    for (size_t i = 0; i < h->addr_count; i++)
        if (self_listens(c, &h->addrs[i])) return true;
    return false;
}

/* This host in the list, by its name or address, means that it must not pass mail to itself or to
 * hosts less preferred. */
static void cut_at_self(const struct conf *c, struct route *out) {
    for (size_t i = 0; i < out->host_count; i++) {
        if (!is_here(c, &out->hosts[i])) continue;
        for (size_t j = 0; j < out->host_count; j++)
            if (out->hosts[j].preference >= out->hosts[i].preference) out->hosts[j].is_self = true;
        return;
    }
}

static enum err_code judge(struct route *out) {
    bool failed = false, found = false, self = false;
    const struct route_host *skipped = NULL;

    for (size_t i = 0; i < out->host_count; i++) {
        const struct route_host *h = &out->hosts[i];

        if (h->is_self) self = true;
        else if (h->addr_count && h->tls.skip) skipped = h;
        else if (h->addr_count) found = true;
        else if (h->result == DNS_FAILED) failed = true;
    }
    if (found) return OK;
    if (skipped) {
        out->code = err_mail(&out->err, ERR_TLS, STATUS(4, 7, 5), "%s must not be used now: %s",
                             skipped->name, skipped->tls.skip);
        return OK;
    }
    if (out->kind == ROUTE_RELAY || out->kind == ROUTE_RULE)
        return no_way(out, ERR_DNS, STATUS(4, 4, 3), "the relay's name has no address now");
    if (failed)
        return no_way(out, ERR_DNS, STATUS(4, 4, 3),
                      "the name servers of the mail hosts do not answer");
    if (self)
        return no_way(out, ERR_NOT_FOUND, STATUS(5, 4, 6),
                      "the MX points back to this host, which does not have the domain");
    if (out->kind == ROUTE_IMPLICIT)
        return no_way(out, ERR_NOT_FOUND, STATUS(5, 1, 2),
                      "the domain has neither MX nor address records");
    return no_way(out, ERR_NOT_FOUND, STATUS(5, 4, 4), "no MX host of the domain has an address");
}

static enum err_code one_host(struct resolver *r, struct route *out, enum route_kind kind,
                              const char *name, uint16_t port, struct arena *a, struct err *e) {
    enum err_code code;

    out->kind = kind;
    out->hosts = arena_new(a, sizeof *out->hosts);
    if (!out->hosts) return err_set(e, ERR_MEMORY, "no memory for a route");
    out->host_count = 1;
    out->hosts[0].name = name;
    code = fill_addrs(r, &out->hosts[0], port,
                      kind != ROUTE_IMPLICIT || out->mx_security == DNS_SECURE, a, e);
    return code;
}

static enum err_code from_mx(struct resolver *r, const struct conf *c, const struct dns_answer *mx,
                             struct arena *a, struct route *out, struct err *e) {
    size_t n = 0;

    out->kind = ROUTE_MX;
    out->cnames = mx->cnames;
    if (mx->count == 1 && mx->records[0].name.n == 0) {
        out->is_null_mx = true;
        return no_way(out, ERR_NOT_FOUND, STATUS(5, 1, 10), "the domain takes no mail (null MX)");
    }
    out->hosts = arena_new(a, mx->count * sizeof *out->hosts);
    if (!out->hosts) return err_set(e, ERR_MEMORY, "no memory for a route");
    for (size_t i = 0; i < mx->count; i++) {
        if (mx->records[i].name.n == 0) continue; /* "." beside others means nothing */
        out->hosts[n].name = arena_cstr(a, mx->records[i].name);
        out->hosts[n].preference = mx->records[i].preference;
        if (!out->hosts[n].name) return err_set(e, ERR_MEMORY, "no memory for a route");
        n++;
    }
    order(out->hosts, n);
    out->host_count = n < ROUTE_HOSTS_MAX ? n : ROUTE_HOSTS_MAX;
    for (size_t i = 0; i < out->host_count; i++) {
        enum err_code code =
            fill_addrs(r, &out->hosts[i], c->mx_port, mx->security == DNS_SECURE, a, e);

        if (code != OK) return code;
    }
    cut_at_self(c, out);
    return OK;
}

static enum err_code literal(struct resolver *r, const struct conf *c, struct slice domain,
                             struct arena *a, struct route *out, struct err *e) {
    struct slice inner = slice_of(domain.p + 1, domain.n - 2);

    if (slice_istarts(inner, S("IPv6:"))) inner = slice_from(inner, 5);
    return one_host(r, out, ROUTE_LITERAL, arena_cstr(a, inner), c->mx_port, a, e);
}

/* queue-run --reroute: one host that the administrator named. */
static enum err_code fixed(struct resolver *r, const struct conf *c, struct slice host_port,
                           struct arena *a, struct route *out, struct err *e) {
    const char *host = NULL;
    uint16_t port = c->mx_port;

    if (conf_host_port(a, host_port, &host, &port, e) != OK)
        return no_way(out, ERR_CONFIG, STATUS(4, 3, 5), "the host of --reroute is not one");
    return one_host(r, out, ROUTE_FIXED, host, port, a, e);
}

static enum err_code find_hosts(struct resolver *r, const struct conf *c, struct slice domain,
                                bool use_relay, struct arena *a, struct route *out, struct err *e) {
    struct dns_answer mx;
    struct buf ascii;
    enum err_code code;

    *out = (struct route){.domain = arena_cstr(a, domain)};
    if (!out->domain) return err_set(e, ERR_MEMORY, "no memory for a route");
    if (slice_starts(domain, S("="))) return fixed(r, c, slice_from(domain, 1), a, out, e);
    out->rule = conf_dest(c, domain);
    if (out->rule && out->rule->host) {
        out->is_lmtp = out->rule->via == VIA_LMTP;
        return one_host(r, out, ROUTE_RULE, out->rule->host, out->rule->port, a, e);
    }
    if (use_relay && c->relay.host && !(out->rule && out->rule->via == VIA_MX))
        return one_host(r, out, ROUTE_RELAY, c->relay.host, c->relay.port, a, e);
    if (domain.n > 2 && domain.p[0] == '[' && domain.p[domain.n - 1] == ']')
        return literal(r, c, domain, a, out, e);
    buf_init(&ascii, NAME_UTF8_MAX);
    code = name_to_ascii(&ascii, domain, &out->err);
    if (code == OK) out->domain = arena_cstr(a, buf_slice(&ascii));
    buf_release(&ascii);
    if (code != OK) {
        if (out->err.status.cls == 0)
            out->err.status = code == ERR_LIBRARY ? STATUS(4, 3, 0) : STATUS(5, 1, 2);
        out->code = code;
        return OK;
    }
    code = resolver_ask(r, slice_str(out->domain), DNS_MX, a, &mx, e);
    if (code == ERR_SYNTAX)
        return no_way(out, ERR_NOT_FOUND, STATUS(5, 1, 2), "this is not a domain name");
    if (code != OK) return code;
    out->mx_result = mx.result;
    out->mx_security = mx.security;
    switch (mx.result) {
    case DNS_FOUND: return from_mx(r, c, &mx, a, out, e);
    case DNS_NODATA:
        code = one_host(r, out, ROUTE_IMPLICIT, arena_cstr(a, mx.name), c->mx_port, a, e);
        if (code == OK) cut_at_self(c, out);
        return code;
    case DNS_NXDOMAIN:
        return no_way(out, ERR_NOT_FOUND, STATUS(5, 1, 2), "the domain does not exist");
    case DNS_FAILED: break;
    }
    out->code =
        err_mail(&out->err, ERR_DNS, STATUS(4, 4, 3), "the MX of %s cannot be looked up: %.*s",
                 out->domain, SP(mx.why.n ? mx.why : S("no answer")));
    return OK;
}

static bool is_loopback(const struct route_host *h) {
    for (size_t i = 0; i < h->addr_count; i++)
        if (!addr_is_loopback(&h->addrs[i])) return false;
    return h->addr_count > 0;
}

static void decide(const struct conf *c, struct route *out) {
    bool relay = out->kind == ROUTE_RELAY;
    enum conf_relay_tls rule = relay ? c->relay_tls : out->rule ? out->rule->tls : RELAY_TLS_AUTO;

    for (size_t i = 0; i < out->host_count; i++) {
        struct route_host *h = &out->hosts[i];

        h->facts = (struct tls_facts){
            .rule = (enum tls_rule)rule,
            .is_relay = relay || out->kind == ROUTE_RULE,
            .is_loopback = is_loopback(h),
            .has_password = relay && c->relay.user,
            .may_clear_login = c->plaintext_auth,
            .is_submission = relay && (c->relay.is_tls || c->relay.port == 587),
            .dane = h->dane,
            .sts = out->sts.source == STS_NO_POLICY ? STS_NONE : out->sts.policy.mode,
            .sts_matches = sts_matches(&out->sts.policy, slice_str(h->name)),
        };
        h->tls = tls_decide(&h->facts);
    }
}

enum err_code route_find(struct resolver *r, const struct conf *c, struct slice domain,
                         bool use_relay, struct arena *a, struct route *out, struct err *e) {
    enum err_code code = find_hosts(r, c, domain, use_relay, a, out, e);

    if (code == OK && out->code == OK && c->mta_sts &&
        (out->kind == ROUTE_MX || out->kind == ROUTE_IMPLICIT))
        code = sts_find(r, c, slice_str(out->domain), a, &out->sts, e);
    if (code != OK || out->code != OK) return code;
    decide(c, out);
    return judge(out);
}
