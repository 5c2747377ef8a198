#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <resolv.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#undef STATUS /* an opcode of <arpa/nameser.h>; ours is in base/err.h */

#include "net/resolve.h"
#include "net/unbound.h"

struct resolver {
    struct addr server; /* len 0: resolv.conf */
    bool trusts_ad;     /* the setting says nothing against it */
    struct ub_ctx *validator;
};

static enum err_code start_validator(struct resolver *r, const struct conf *c, struct err *e) {
    char fwd[ADDR_TEXT_MAX], host[ADDR_TEXT_MAX];
    enum err_code code = unbound_load(e);

    if (code != OK) return code;
    r->validator = unbound.ub_ctx_create();
    if (!r->validator) return err_set(e, ERR_MEMORY, "cannot set up libunbound");
    if (access(c->trust_anchor, R_OK) < 0 ||
        unbound.ub_ctx_add_ta_file(r->validator, c->trust_anchor) != 0)
        return err_set(e, ERR_CONFIG,
                       "cannot read the trust anchor %s; install the package dns-root-data",
                       c->trust_anchor);
    unbound.ub_ctx_set_option(r->validator, "do-not-query-localhost:", "no");
    if (c->resolver) {
        snprintf(fwd, sizeof fwd, "%.46s@%u", addr_host(&r->server, host), addr_port(&r->server));
        unbound.ub_ctx_set_fwd(r->validator, fwd);
    } else {
        unbound.ub_ctx_resolvconf(r->validator, NULL);
    }
    /* libunbound answers this zone itself unless told not to. It ends the setting up, so it is
     * last. */
    unbound.ub_ctx_zone_remove(r->validator, "test.");
    return OK;
}

enum err_code resolver_new(const struct conf *c, struct resolver **out, struct err *e) {
    struct resolver *r = calloc(1, sizeof *r);
    struct arena a;
    const char *host;
    uint16_t port = 53;
    enum err_code code = OK;

    if (!r) return err_set(e, ERR_MEMORY, "no memory for the resolver");
    r->trusts_ad = c->dnssec == DNSSEC_AUTO;
    if (c->resolver) {
        arena_init(&a, 4096);
        code = conf_host_port(&a, slice_str(c->resolver), &host, &port, e);
        if (code == OK && !addr_parse(host, port, &r->server))
            code = err_set(e, ERR_CONFIG, "resolver \"%s\" is not ADDRESS:PORT", c->resolver);
        if (code != OK && e) e->code = code = ERR_CONFIG;
        arena_release(&a);
    }
    if (code == OK && c->dnssec == DNSSEC_VALIDATE) code = start_validator(r, c, e);
    if (code != OK) {
        resolver_free(r);
        return code;
    }
    *out = r;
    return OK;
}

void resolver_free(struct resolver *r) {
    if (!r) return;
    if (r->validator) unbound.ub_ctx_delete(r->validator);
    free(r);
}

/* A state for one call, pointed at the server of the settings. */
static bool open_state(const struct resolver *r, struct __res_state *state) {
    memset(state, 0, sizeof *state);
    if (res_ninit(state) != 0) return false;
    state->retrans = 3;
    state->retry = 2;
    state->options |= RES_USE_EDNS0;
    if (r->trusts_ad) state->options |= RES_TRUSTAD;
    if (r->server.len == 0) return true;
    state->nscount = 1;
    if (!addr_is_ipv6(&r->server)) {
        state->nsaddr_list[0] = r->server.u.in;
        state->_u._ext.nscount = 0;
    } else {
        /* glibc keeps the address of an IPv6 server beside; it frees it in res_nclose. */
        struct sockaddr_in6 *v6 = malloc(sizeof *v6);

        if (!v6) {
            res_nclose(state);
            return false;
        }
        *v6 = r->server.u.in6;
        free(state->_u._ext.nsaddrs[0]);
        state->_u._ext.nsaddrs[0] = v6;
        state->nsaddr_list[0].sin_family = 0;
    }
    return true;
}

/* Is the word of the servers in `state` about DNSSEC worth anything? */
static bool may_trust(const struct resolver *r, const struct __res_state *state,
                      unsigned long options_of_file) {
    if (!r->trusts_ad) return false;
    if (r->server.len) return addr_is_loopback(&r->server);
    if (options_of_file & RES_TRUSTAD) return true;
    for (int i = 0; i < state->nscount; i++)
        if (ntohl(state->nsaddr_list[i].sin_addr.s_addr) >> 24 != 127) return false;
    return state->nscount > 0;
}

/* Read the packet. One that cannot be read is a failure of the server, to be tried again, and says
 * nothing about the name. */
static enum err_code read_answer(struct slice packet, struct slice want, uint16_t type,
                                 struct arena *a, struct dns_answer *out, struct err *e) {
    enum err_code code = dns_answer_parse(packet, want, type, a, out, e);

    if (code == OK || code == ERR_MEMORY) return code;
    *out = (struct dns_answer){
        .result = DNS_FAILED, .name = want, .why = arena_copy(a, slice_str(e->msg))};
    return OK;
}

static enum err_code ask_validator(struct resolver *r, const char *name, struct slice want,
                                   uint16_t type, struct arena *a, struct dns_answer *out,
                                   struct err *e) {
    struct ub_result *result = NULL;
    int n = unbound.ub_resolve(r->validator, name, type, ns_c_in, &result);
    enum err_code code = OK;

    if (n != 0) {
        out->why = arena_copy(a, slice_str(unbound.ub_strerror(n)));
        return OK;
    }
    if (result->bogus) {
        out->why =
            arena_copy(a, slice_str(result->why_bogus ? result->why_bogus : "validation failed"));
        out->security = DNS_BOGUS;
    } else if (!result->answer_packet || result->answer_len == 0) {
        out->why = S("no answer");
    } else {
        code = read_answer(slice_of(result->answer_packet, (size_t)result->answer_len), want, type,
                           a, out, e);
        out->security = result->secure ? DNS_SECURE : DNS_INSECURE;
    }
    unbound.ub_resolve_free(result);
    return code;
}

enum err_code resolver_ask(struct resolver *r, struct slice name, uint16_t type, struct arena *a,
                           struct dns_answer *out, struct err *e) {
    unsigned char *packet;
    struct __res_state state;
    unsigned long file_options;
    char text[NS_MAXDNAME];
    enum err_code code = OK;
    int n;

    *out = (struct dns_answer){.result = DNS_FAILED, .name = name};
    if (name.n > 0 && name.p[name.n - 1] == '.') name.n--;
    if (name.n == 0 || name.n > 253 || memchr(name.p, 0, name.n))
        return err_mail(e, ERR_SYNTAX, STATUS(5, 1, 2), "\"%.*s\" is not a domain name", SP(name));
    snprintf(text, sizeof text, "%.*s", SP(name));
    if (r->validator) return ask_validator(r, text, name, type, a, out, e);
    packet = malloc(DNS_PACKET_MAX);
    if (!packet) return err_set(e, ERR_MEMORY, "no memory for DNS");
    if (!open_state(r, &state)) {
        free(packet);
        out->why = S("cannot read resolv.conf");
        return OK;
    }
    file_options = state.options & ~(r->trusts_ad ? (unsigned long)RES_TRUSTAD : 0);
    n = res_nquery(&state, text, ns_c_in, type, packet, DNS_PACKET_MAX);
    if (n < 0 && (state.res_h_errno == HOST_NOT_FOUND || state.res_h_errno == NO_DATA)) {
        /* res_nquery hides the packet of a negative answer; its words are enough. */
        out->result = state.res_h_errno == HOST_NOT_FOUND ? DNS_NXDOMAIN : DNS_NODATA;
        out->rcode = out->result == DNS_NXDOMAIN ? ns_r_nxdomain : ns_r_noerror;
        out->ttl = 60;
        if (may_trust(r, &state, file_options))
            out->security = (packet[3] & 0x20) ? DNS_SECURE : DNS_INSECURE;
    } else if (n < 0) {
        out->why = state.res_h_errno == TRY_AGAIN ? S("server failure or no answer in time")
                                                  : S("the name server refused");
    } else {
        code = read_answer(slice_of((char *)packet, (size_t)n), name, type, a, out, e);
        if (code == OK && out->result != DNS_FAILED)
            out->packet = arena_copy(a, slice_of((char *)packet, (size_t)n));
        if (code == OK && out->result != DNS_FAILED && may_trust(r, &state, file_options)) {
            /* A resolver that never sets AD may just not validate: that is unknown, not insecure.
             */
            out->security = (packet[3] & 0x20) ? DNS_SECURE : DNS_UNKNOWN;
        }
    }
    res_nclose(&state);
    free(packet);
    return code;
}

static void add(struct resolve_hosts *out, const struct dns_answer *ans, uint16_t port) {
    for (size_t i = 0; i < ans->count; i++) {
        struct addr *to = &out->addrs[out->count++];

        *to = (struct addr){0};
        if (ans->records[i].type == DNS_A) {
            to->u.in.sin_family = AF_INET;
            to->u.in.sin_port = htons(port);
            memcpy(&to->u.in.sin_addr, ans->records[i].data.p, 4);
            to->len = sizeof to->u.in;
        } else {
            to->u.in6.sin6_family = AF_INET6;
            to->u.in6.sin6_port = htons(port);
            memcpy(&to->u.in6.sin6_addr, ans->records[i].data.p, 16);
            to->len = sizeof to->u.in6;
        }
    }
}

enum err_code resolver_hosts(struct resolver *r, struct slice host, uint16_t port, struct arena *a,
                             struct resolve_hosts *out, struct err *e) {
    struct dns_answer v4, v6;
    struct addr literal;
    const char *text = arena_cstr(a, host);
    enum err_code code;

    *out = (struct resolve_hosts){.result = DNS_FAILED};
    if (!text) return err_set(e, ERR_MEMORY, "no memory for DNS");
    if (slice_ieq(host, S("localhost"))) text = "127.0.0.1";
    if (addr_parse(text, port, &literal)) {
        out->addrs = arena_new(a, sizeof *out->addrs);
        if (!out->addrs) return err_set(e, ERR_MEMORY, "no memory for DNS");
        out->addrs[out->count++] = literal;
        out->result = DNS_FOUND;
        out->name = host;
        return OK;
    }
    code = resolver_ask(r, host, DNS_A, a, &v4, e);
    if (code == OK) code = resolver_ask(r, host, DNS_AAAA, a, &v6, e);
    if (code != OK) return code;
    out->addrs = arena_new(a, (v4.count + v6.count) * sizeof *out->addrs);
    if (!out->addrs) return err_set(e, ERR_MEMORY, "no memory for DNS");
    add(out, &v6, port);
    add(out, &v4, port);
    out->security = v4.security == v6.security                                 ? v4.security
                    : v4.security == DNS_BOGUS || v6.security == DNS_BOGUS     ? DNS_BOGUS
                    : v4.security == DNS_UNKNOWN || v6.security == DNS_UNKNOWN ? DNS_UNKNOWN
                                                                               : DNS_INSECURE;
    if (out->count) out->result = DNS_FOUND;
    else if (v4.result == DNS_FAILED || v6.result == DNS_FAILED) out->result = DNS_FAILED;
    else out->result = v4.result == DNS_NXDOMAIN ? DNS_NXDOMAIN : DNS_NODATA;
    out->name = v4.result == DNS_FOUND ? v4.name : v6.name;
    out->cnames = v4.result == DNS_FOUND ? v4.cnames : v6.cnames;
    out->why = v4.why.n ? v4.why : v6.why;
    return OK;
}
