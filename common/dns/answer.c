
#include "dns/resolv_lib.h" /* first: it takes back a macro of the system's */

#include "dns/answer.h"
const char *dns_security_name(enum dns_security s) {
    static const char *const names[] = {"unknown", "secure", "insecure", "bogus"};

    return names[s];
}

const char *dns_result_name(enum dns_result r) {
    static const char *const names[] = {"found", "nodata", "nxdomain", "failed"};

    return names[r];
}

static uint16_t get16(const unsigned char *p) { return (uint16_t)(p[0] << 8 | p[1]); }
static uint32_t get32(const unsigned char *p) { return (uint32_t)get16(p) << 16 | get16(p + 2); }

/* A domain name in the packet, as text in the arena without the final dot. */
static bool take_name(ns_msg *m, const unsigned char *at, struct arena *a, struct slice *out) {
    char text[NS_MAXDNAME];
    int n = dn_expand(ns_msg_base(*m), ns_msg_end(*m), at, text, sizeof text);
    struct slice s = slice_str(text);

    if (n < 0) return false;
    if (s.n > 0 && s.p[s.n - 1] == '.') s.n--;
    *out = arena_copy(a, s);
    return out->p != NULL;
}

static struct slice without_dot(struct slice s) {
    if (s.n > 0 && s.p[s.n - 1] == '.') s.n--;
    return s;
}

static bool take_txt(const unsigned char *p, size_t n, struct arena *a, struct slice *out) {
    char *text = arena_new(a, n + 1);
    size_t at = 0, length = 0;

    if (!text) return false;
    while (at < n) {
        size_t part = p[at++];

        if (part > n - at) return false;
        memcpy(text + length, p + at, part);
        length += part;
        at += part;
    }
    *out = slice_of(text, length);
    return true;
}

static bool take_record(ns_msg *m, ns_rr *rr, struct arena *a, struct dns_record *r) {
    const unsigned char *p = ns_rr_rdata(*rr);
    size_t n = ns_rr_rdlen(*rr);

    *r = (struct dns_record){.type = (uint16_t)ns_rr_type(*rr), .ttl = ns_rr_ttl(*rr)};
    switch (r->type) {
    case DNS_A:
    case DNS_AAAA:
        if (n != (r->type == DNS_A ? 4u : 16u)) return false;
        r->data = arena_copy(a, slice_of((const char *)p, n));
        return r->data.p != NULL;
    case DNS_MX:
        if (n < 3) return false;
        r->preference = (uint16_t)get16(p);
        return take_name(m, p + 2, a, &r->name);
    case DNS_SRV:
        if (n < 7) return false;
        r->preference = (uint16_t)get16(p);
        r->weight = (uint16_t)get16(p + 2);
        r->port = (uint16_t)get16(p + 4);
        return take_name(m, p + 6, a, &r->name);
    case DNS_CNAME:
    case DNS_PTR: return take_name(m, p, a, &r->name);
    case DNS_TXT: return take_txt(p, n, a, &r->data);
    case DNS_TLSA:
        if (n < 4) return false;
        r->usage = p[0];
        r->selector = p[1];
        r->matching = p[2];
        r->data = arena_copy(a, slice_of((const char *)p + 3, n - 3));
        return r->data.p != NULL;
    default: return false;
    }
}

/* How long a negative answer may be kept: the SOA's minimum (RFC 2308 5), else a minute. */
static uint32_t negative_ttl(ns_msg *m) {
    ns_rr rr;

    for (int i = 0; i < ns_msg_count(*m, ns_s_ns); i++) {
        const unsigned char *p;

        if (resolv.ns_parserr(m, ns_s_ns, i, &rr) < 0 || (int)ns_rr_type(rr) != DNS_SOA ||
            ns_rr_rdlen(rr) < 22)
            continue;
        p = ns_rr_rdata(rr) + ns_rr_rdlen(rr) - 4;
        return get32(p) < ns_rr_ttl(rr) ? (uint32_t)get32(p) : ns_rr_ttl(rr);
    }
    return 60;
}

enum err_code dns_answer_parse(struct slice packet, struct slice name, uint16_t type,
                               struct arena *a, struct dns_answer *out, struct err *e) {
    ns_msg m;
    ns_rr rr;
    int total;
    bool moved = true;

    *out = (struct dns_answer){.result = DNS_FAILED, .name = without_dot(name), .ttl = UINT32_MAX};
    if (resolv_load(e) != OK) return ERR_LIBRARY;
    if (packet.n < NS_HFIXEDSZ || packet.n > DNS_PACKET_MAX ||
        resolv.ns_initparse((const unsigned char *)packet.p, (int)packet.n, &m) < 0 ||
        !((unsigned char)packet.p[2] & 0x80))
        return err_mail(e, ERR_SYNTAX, STATUS(4, 4, 3), "the name server's answer is malformed");
    out->rcode = (unsigned char)packet.p[3] & 15u;
    if (out->rcode != ns_r_noerror && out->rcode != ns_r_nxdomain) {
        out->why = out->rcode == ns_r_servfail  ? S("server failure")
                   : out->rcode == ns_r_refused ? S("refused")
                                                : S("error");
        return OK;
    }
    total = ns_msg_count(m, ns_s_an);
    if (total > DNS_RECORDS_MAX)
        return err_mail(e, ERR_LIMIT, STATUS(4, 4, 3),
                        "the name server's answer has more than %d records", DNS_RECORDS_MAX);
    while (moved && type != DNS_CNAME && out->cnames <= DNS_CNAME_MAX) {
        moved = false;
        for (int i = 0; i < total && !moved; i++) {
            if (resolv.ns_parserr(&m, ns_s_an, i, &rr) < 0)
                return err_mail(e, ERR_SYNTAX, STATUS(4, 4, 3),
                                "the name server's answer is malformed");
            if ((int)ns_rr_type(rr) != DNS_CNAME ||
                !slice_ieq(without_dot(slice_str(ns_rr_name(rr))), out->name))
                continue;
            if (!take_name(&m, ns_rr_rdata(rr), a, &out->name))
                return err_mail(e, ERR_SYNTAX, STATUS(4, 4, 3),
                                "the name server's answer is malformed");
            out->cnames++;
            moved = true;
        }
    }
    if (out->cnames > DNS_CNAME_MAX) {
        out->why = S("too many aliases (CNAME)");
        return OK;
    }
    out->records = arena_new(a, (size_t)total * sizeof *out->records);
    if (!out->records) return err_set(e, ERR_MEMORY, "no memory for a DNS answer");
    for (int i = 0; i < total; i++) {
        if (resolv.ns_parserr(&m, ns_s_an, i, &rr) < 0)
            return err_mail(e, ERR_SYNTAX, STATUS(4, 4, 3),
                            "the name server's answer is malformed");
        if (ns_rr_class(rr) != ns_c_in || ns_rr_type(rr) != type) continue;
        if (!slice_ieq(without_dot(slice_str(ns_rr_name(rr))), out->name)) continue;
        if (!take_record(&m, &rr, a, &out->records[out->count])) continue;
        if (out->records[out->count].ttl < out->ttl) out->ttl = out->records[out->count].ttl;
        out->count++;
    }
    out->result = out->count ? DNS_FOUND : out->rcode == ns_r_nxdomain ? DNS_NXDOMAIN : DNS_NODATA;
    if (!out->count) out->ttl = negative_ttl(&m);
    return a->bad ? err_set(e, ERR_MEMORY, "no memory for a DNS answer") : OK;
}
