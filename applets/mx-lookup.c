/* mx-lookup: show where mail for a domain would go, in the order it would be tried; it asks the
 * function that delivery asks (deliver/route). RFC 5321 5.1 (MX), RFC 7505 (null MX), RFC 4035
 * (what AD means). */
#include <sysexits.h>

#include "base/json.h"
#include "cli/applet.h"
#include "cli/exit.h"
#include "deliver/route.h"
#include "dns/ldns.h"

struct args {
    bool json, records, plugin, with_relay;
};

static const struct opt opts[] = {
    FLAG(0, "with-relay", with_relay, "obey the relay setting, as delivery does"),
    FLAG('r', "records", records, "print the MX records as a zone file has them"),
    FLAG(0, "plugin", plugin, "answer as a monitoring plugin: one line, exit status 0, 2 or 3"),
    FLAG(0, "json", json, "one JSON object per domain"),
    OPT_END,
};

static const struct exit_doc exits[] = {
    {0, "mail can go there"},
    {64, "the command line is wrong"},
    {68, "it never can: no such domain, null MX, no address"},
    {69, "a library is missing"},
    {75, "not now: the name servers do not answer"},
    {78, "a setting is wrong"},
    {0, NULL},
};

static const char *status_text(struct mail_status st, char out[24]) {
    snprintf(out, 24, "%u.%u.%u", st.cls, st.subject, st.detail);
    return out;
}

static void print_json(struct context *ctx, const char *domain, const struct route *r) {
    struct buf out;
    struct json j;
    char text[ADDR_TEXT_MAX], status[24];

    buf_init(&out, 1024 * 1024);
    json_init(&j, &out);
    json_object(&j, NULL);
    json_int(&j, "v", 1);
    json_str(&j, "domain", slice_str(domain));
    json_str(&j, "ascii", slice_str(r->domain));
    json_str(&j, "route", slice_str(route_kind_name(r->kind)));
    json_str(&j, "mx", slice_str(dns_result_name(r->mx_result)));
    json_str(&j, "dnssec", slice_str(dns_security_name(r->mx_security)));
    json_bool(&j, "null_mx", r->is_null_mx);
    json_bool(&j, "deliverable", r->code == OK);
    if (r->code != OK) {
        json_str(&j, "status", slice_str(status_text(r->err.status, status)));
        json_str(&j, "why", slice_str(r->err.msg));
    }
    json_str(&j, "mta_sts",
             slice_str(r->sts.source == STS_NO_POLICY ? "none" : sts_mode_name(r->sts.policy.mode)));
    if (r->sts.why.n) json_str(&j, "mta_sts_why", r->sts.why);
    json_array(&j, "hosts");
    for (size_t i = 0; i < r->host_count; i++) {
        const struct route_host *h = &r->hosts[i];

        json_object(&j, NULL);
        json_str(&j, "name", slice_str(h->name));
        json_int(&j, "preference", h->preference);
        json_str(&j, "lookup", slice_str(dns_result_name(h->result)));
        json_str(&j, "dnssec", slice_str(dns_security_name(h->security)));
        json_bool(&j, "self", h->is_self);
        if (h->tls.why) {
            json_str(&j, "tls", slice_str(hop_tls_name(h->tls.tls)));
            json_str(&j, "tls_why", slice_str(h->tls.why));
            json_int(&j, "tlsa", (int64_t)h->tlsa_count);
        }
        if (h->tls.skip) json_str(&j, "skipped", slice_str(h->tls.skip));
        json_array(&j, "addresses");
        for (size_t k = 0; k < h->addr_count; k++)
            json_str(&j, NULL, slice_str(addr_host(&h->addrs[k], text)));
        json_end(&j);
        json_end(&j);
    }
    json_end(&j);
    json_line(&j);
    fwrite(out.p, 1, out.n, ctx->out);
    buf_release(&out);
}

static void print_text(struct context *ctx, const char *domain, const struct route *r) {
    static const char *const kinds[] = {"by MX", "no MX: the domain itself", "through the relay",
                                        "an address literal", "fixed"};
    char text[ADDR_TEXT_MAX], status[24];

    fprintf(ctx->out, "%s: %s, dnssec %s%s\n", domain,
            r->is_null_mx   ? "null MX"
            : r->host_count ? kinds[r->kind]
                            : "no route",
            dns_security_name(r->mx_security), r->cnames ? ", behind a CNAME" : "");
    for (size_t i = 0; i < r->host_count; i++) {
        const struct route_host *h = &r->hosts[i];

        fprintf(ctx->out, "  %5u  %-32s", h->preference, h->name);
        for (size_t k = 0; k < h->addr_count; k++)
            fprintf(ctx->out, " %s", addr_text(&h->addrs[k], text));
        if (h->addr_count == 0)
            fprintf(ctx->out, " %s%s%.*s", dns_result_name(h->result), h->why.n ? ": " : "",
                    SP(h->why));
        if (h->is_self) fputs("  (this host: not tried)", ctx->out);
        if (h->tls.why) fprintf(ctx->out, "  tls %s (%s)", hop_tls_name(h->tls.tls), h->tls.why);
        if (h->tls.skip) fprintf(ctx->out, ", not tried: %s", h->tls.skip);
        fputc('\n', ctx->out);
    }
    if (r->sts.source != STS_NO_POLICY)
        fprintf(ctx->out, "  mta-sts %s, good for %u s\n", sts_mode_name(r->sts.policy.mode),
                r->sts.policy.max_age);
    if (r->sts.why.n) fprintf(ctx->out, "  mta-sts: %.*s\n", SP(r->sts.why));
    if (r->code != OK)
        fprintf(ctx->out, "  %s %s\n", status_text(r->err.status, status), r->err.msg);
}

static int verdict(const struct route *r) {
    if (r->code == OK) return EX_OK;
    if (r->code == ERR_LIBRARY) return EX_UNAVAILABLE;
    return r->err.status.cls == 4 ? EX_TEMPFAIL : EX_NOHOST;
}

static int print_records(struct context *ctx, struct resolver *resolver, const struct route *r,
                         struct arena *a) {
    struct dns_answer mx;
    struct buf text;
    struct err e = {0};
    enum err_code code = resolver_ask(resolver, slice_str(r->domain), DNS_MX, a, &mx, &e);

    buf_init(&text, 1024 * 1024);
    if (code == OK && mx.packet.n) code = ldns_put_records(mx.packet, &text, &e);
    if (code == OK) fprintf(ctx->out, "%.*s", SP(buf_slice(&text)));
    buf_release(&text);
    return code == OK ? EX_OK : fail(ctx, &e);
}

static int run(struct context *ctx, const void *p) {
    const struct args *args = p;
    struct resolver *resolver;
    struct err e = {0};
    int status = EX_OK;

    if (resolver_new(ctx->conf, &resolver, &e) != OK) return fail(ctx, &e);
    for (int i = 0; i < ctx->operand_count; i++) {
        struct slice domain = slice_str(ctx->operands[i]);
        size_t at = slice_rchr(domain, '@');
        struct route r;
        struct arena a;
        int one;

        if (at != SLICE_NONE) domain = slice_from(domain, at + 1);
        arena_init(&a, 4 * 1024 * 1024);
        if (route_find(resolver, ctx->conf, domain, args->with_relay, &a, &r, &e) != OK) {
            one = fail(ctx, &e);
        } else {
            one = verdict(&r);
            if (args->plugin) {
                fprintf(ctx->out, "MX %s - %s: %s | hosts=%zu;;;0\n",
                        one == EX_OK         ? "OK"
                        : one == EX_TEMPFAIL ? "UNKNOWN"
                                             : "CRITICAL",
                        ctx->operands[i], r.code == OK ? r.hosts[0].name : r.err.msg, r.host_count);
                one = one == EX_OK ? 0 : one == EX_TEMPFAIL ? 3 : 2;
            } else if (args->json) {
                print_json(ctx, ctx->operands[i], &r);
            } else {
                print_text(ctx, ctx->operands[i], &r);
            }
            if (args->records && !args->json) {
                int shown = print_records(ctx, resolver, &r, &a);

                if (shown != EX_OK) one = shown;
            }
        }
        arena_release(&a);
        if (one != EX_OK && (status == EX_OK || one == EX_TEMPFAIL)) status = one;
    }
    resolver_free(resolver);
    return status;
}

const struct applet applet_mx_lookup = {
    .name = "mx-lookup",
    .summary = "show where mail for a domain would go",
    .operands = "DOMAIN...",
    .opts = opts,
    .args_size = sizeof(struct args),
    .settings = "hostname data resolver dnssec trust-anchor tls-ca mta-sts destination relay relay-tls mx-port",
    .exits = exits,
    .min_operands = 1,
    .max_operands = -1,
    .run = run,
};
