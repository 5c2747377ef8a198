/* smtp-probe: exercise the mail hosts of a domain as a sender would, without sending a message. It
 * runs the delivery code: the same route (deliver/route), the same connection (deliver/hop), the
 * same client (smtp/client). RFC 5321, 3207 (STARTTLS), 8314 (implicit TLS), 2033 (LMTP). */
#include <stdlib.h>
#include <sysexits.h>

#include "base/json.h"
#include "cli/applet.h"
#include "cli/exit.h"
#include "cli/trace.h"
#include "deliver/attempt.h"
#include "sys/clock.h"
#include "sys/file.h"

enum { TLS_AUTO, TLS_MAY, TLS_NONE, TLS_REQUIRE, TLS_VERIFY };
static const char *const tls_words[] = {"auto", "may", "none", "require", "verify", NULL};

struct args {
    const char *from, *ehlo, *user, *password_file;
    struct opt_list rcpt;
    unsigned port, timeout;
    int tls;
    bool host, lmtp, implicit_tls, starttls, all, trace, json, plugin, ipv4, ipv6;
};

static const struct opt opts[] = {
    FLAG('H', "host", host, "the operand is a host, not a domain: no MX lookup"),
    UINT('p', "port", port, 65535, "PORT", "instead of 25 (LMTP 24, implicit TLS 465)"),
    LIST('t', "rcpt", rcpt, "ADDRESS", "ask whether this recipient is taken; may be repeated"),
    TEXT('f', "from", from, "ADDRESS", "envelope sender for --rcpt (default: the null sender)"),
    ENUM(0, "tls", tls, tls_words, "MODE",
         "auto (default): as delivery would; none, may, require, or verify the certificate"),
    FLAG(0, "starttls", starttls, "the same as --tls=require"),
    FLAG('s', "implicit-tls", implicit_tls, "TLS from the first byte"),
    FLAG(0, "lmtp", lmtp, "speak LMTP"),
    TEXT('u', "user", user, "NAME", "log in as NAME"),
    TEXT(0, "password-file", password_file, "FILE", "whose password is in FILE"),
    TEXT(0, "ehlo", ehlo, "NAME", "our name (default: the hostname setting)"),
    TIME(0, "timeout", timeout, "TIME", "wait this long for each answer (default 30s)"),
    FLAG('a', "all", all, "every address of every host, not only until one answers"),
    FLAG('4', "ipv4", ipv4, "IPv4 only"),
    FLAG('6', "ipv6", ipv6, "IPv6 only"),
    FLAG(0, "trace", trace, "show the dialogue on standard error"),
    FLAG(0, "plugin", plugin, "answer as a monitoring plugin: one line, exit status 0, 2 or 3"),
    FLAG(0, "json", json, "one JSON object per address tried"),
    OPT_END,
};

static const struct exit_doc exits[] = {
    {0, "the host (with --all: every one) did all that was asked"},
    {64, "the command line is wrong"},
    {68, "the domain has no mail host"},
    {69, "a host or a recipient was refused for good"},
    {75, "no answer now: connection, name server, TLS, or a temporary refusal"},
    {76, "the peer does not speak SMTP"},
    {77, "the login was refused"},
    {0, NULL},
};

struct reply_step {
    enum smtp_stage stage;
    unsigned code;
    mono_t ms;
};

struct probe {
    struct context *ctx;
    const struct args *args;
    struct tls_creds *creds;
    struct buf password;
    struct reply_step steps[32];
    size_t step_count;
    char banner[200];
    struct trace trace;
};

static void on_reply(void *user, enum smtp_stage stage, unsigned index, const struct smtp_reply *r,
                     mono_t ms) {
    struct probe *p = user;

    (void)index;
    if (stage == SMTP_STAGE_CONNECT) {
        snprintf(p->banner, sizeof p->banner, "%.*s",
                 SP(slice_first(r->text, sizeof p->banner - 1)));
        for (char *c = p->banner; *c; c++)
            if (*c == '\n') *c = ' ';
    }
    if (p->step_count < COUNT_OF(p->steps))
        p->steps[p->step_count++] = (struct reply_step){stage, r->code, ms};
}

static void on_bytes(void *user, bool is_out, struct slice bytes) {
    struct probe *p = user;

    trace_bytes(&p->trace, is_out, bytes);
}

struct result {
    struct hop *hop;
    enum err_code code;
    struct err err;
    enum err_code cert_code; /* would a verifying sender trust it? */
    struct err cert_err;
    bool cert_known;
    const struct smtp_client_result *rcpts;
    size_t rcpt_count;
};

static enum smtp_class worst_rcpt(const struct result *r) {
    enum smtp_class worst = SMTP_CLASS_OK;

    for (size_t i = 0; i < r->rcpt_count; i++)
        if (r->rcpts[i].class > worst) worst = r->rcpts[i].class;
    return worst;
}

static int status_of(const struct result *r) {
    if (r->code != OK) {
        if (r->hop->failed_at == SMTP_STAGE_AUTH) return EX_NOPERM;
        /* A line that is no reply, or has no end; a sender would try again, but whoever probes
         * wants to know. */
        if ((r->code == ERR_SYNTAX || r->code == ERR_LIMIT) && r->err.status.cls == 4)
            return EX_PROTOCOL;
        return exit_of(&r->err);
    }
    switch (worst_rcpt(r)) {
    case SMTP_CLASS_OK: return EX_OK;
    case SMTP_CLASS_TEMPORARY: return EX_TEMPFAIL;
    case SMTP_CLASS_PERMANENT: return EX_UNAVAILABLE;
    }
    return EX_OK;
}

static void put_caps(const struct smtp_caps *caps, struct buf *out) {
    for (unsigned i = 0; i < SMTP_EXT_COUNT; i++)
        if (caps->exts >> i & 1) buf_addf(out, "%s%s", out->n ? " " : "", smtp_exts[i].keyword);
}

static void print_json(struct probe *p, const struct route_host *h, const struct addr *to,
                       const struct result *r) {
    struct hop *hop = r->hop;
    char text[ADDR_TEXT_MAX];
    struct buf out;
    struct json j;

    buf_init(&out, 1024 * 1024);
    json_init(&j, &out);
    json_object(&j, NULL);
    json_int(&j, "v", 1);
    json_str(&j, "host", slice_str(h->name));
    json_str(&j, "address", slice_str(addr_text(to, text)));
    json_bool(&j, "ok", status_of(r) == EX_OK);
    if (r->code != OK) {
        json_str(&j, "error", slice_str(r->err.msg));
        json_str(&j, "failed_at", slice_str(smtp_stage_name(hop->failed_at)));
    }
    json_str_or_null(&j, "banner", slice_str(p->banner));
    if (hop->connected) json_int(&j, "connect_ms", hop->connected - hop->started);
    json_array(&j, "steps");
    for (size_t i = 0; i < p->step_count; i++) {
        json_object(&j, NULL);
        json_str(&j, "stage", slice_str(smtp_stage_name(p->steps[i].stage)));
        json_int(&j, "code", p->steps[i].code);
        json_int(&j, "ms", p->steps[i].ms);
        json_end(&j);
    }
    json_end(&j);
    if (hop->client) {
        const struct smtp_caps *caps = smtp_client_caps(hop->client);

        json_array(&j, "extensions");
        for (unsigned i = 0; i < SMTP_EXT_COUNT; i++)
            if (caps->exts >> i & 1) json_str(&j, NULL, slice_str(smtp_exts[i].keyword));
        json_end(&j);
        if (caps->size_max) json_int(&j, "size_max", (int64_t)caps->size_max);
    }
    json_str(&j, "policy", slice_str(hop_tls_name(hop->o.tls)));
    if (hop->o.tls_why) json_str(&j, "policy_why", slice_str(hop->o.tls_why));
    if (hop->o.tls == HOP_TLS_DANE) json_int(&j, "tlsa", (int64_t)hop->o.tlsa_count);
    if (hop->o.tls == HOP_TLS_DANE && hop->is_tls)
        json_bool(&j, "tlsa_matches", hop->verify_code == OK);
    if (hop->is_tls) {
        json_object(&j, "tls");
        json_str(&j, "session", slice_str(hop->tls_text));
        json_str(&j, "subject", slice_str(hop->peer.subject));
        json_str(&j, "issuer", slice_str(hop->peer.issuer));
        json_time(&j, "expires", hop->peer.expires);
        json_str(&j, "key_sha256", slice_str(hop->peer.fingerprint));
        json_int(&j, "ms", hop->secured - hop->started);
        if (r->cert_known) json_bool(&j, "trusted", r->cert_code == OK);
        if (r->cert_known && r->cert_code != OK)
            json_str(&j, "why_not", slice_str(r->cert_err.msg));
        json_end(&j);
    }
    json_array(&j, "recipients");
    for (size_t i = 0; i < r->rcpt_count; i++) {
        char status[24];

        snprintf(status, sizeof status, "%u.%u.%u", r->rcpts[i].status.cls,
                 r->rcpts[i].status.subject, r->rcpts[i].status.detail);
        json_object(&j, NULL);
        json_str(&j, "address", slice_str(p->args->rcpt.v[i]));
        json_int(&j, "code", r->rcpts[i].code);
        json_str(&j, "status", slice_str(status));
        json_str(&j, "text", r->rcpts[i].text);
        json_end(&j);
    }
    json_end(&j);
    json_line(&j);
    fwrite(out.p, 1, out.n, p->ctx->out);
    buf_release(&out);
}

static void print_text(struct probe *p, const struct route_host *h, const struct addr *to,
                       const struct result *r) {
    static const char *const classes[] = {"taken", "not now", "refused"};
    struct hop *hop = r->hop;
    FILE *out = p->ctx->out;
    char text[ADDR_TEXT_MAX], when[MOMENT_RFC3339_MAX];
    struct buf caps;

    fprintf(out, "%s [%s]: %s%s\n", h->name, addr_text(to, text),
            r->code == OK ? "ok" : "failed: ", r->code == OK ? "" : r->err.msg);
    if (p->banner[0]) fprintf(out, "  banner      %s\n", p->banner);
    if (hop->connected) {
        fprintf(out, "  times       connect %lld ms", (long long)(hop->connected - hop->started));
        for (size_t i = 0; i < p->step_count; i++)
            fprintf(out, ", %s %lld", smtp_stage_name(p->steps[i].stage),
                    (long long)p->steps[i].ms);
        if (hop->secured) fprintf(out, ", tls %lld", (long long)(hop->secured - hop->started));
        fputc('\n', out);
    }
    if (hop->client) {
        buf_init(&caps, 4096);
        put_caps(smtp_client_caps(hop->client), &caps);
        if (caps.n) fprintf(out, "  extensions  %.*s\n", SP(buf_slice(&caps)));
        buf_release(&caps);
    }
    fprintf(out, "  policy      %s%s%s", hop_tls_name(hop->o.tls), hop->o.tls_why ? ": " : "",
            hop->o.tls_why ? hop->o.tls_why : "");
    if (hop->o.tls == HOP_TLS_DANE && hop->is_tls)
        fputs(hop->verify_code == OK ? ", the certificate is the one of the TLSA records"
                                     : ", the certificate is not the one of the TLSA records",
              out);
    fputc('\n', out);
    if (hop->is_tls) {
        wall_t days = (hop->peer.expires - clock_wall()) / 86400;

        fprintf(out, "  tls         %s\n  certificate %s, expires %s (%lld days)\n", hop->tls_text,
                hop->peer.subject[0] ? hop->peer.subject : "none",
                moment_rfc3339(hop->peer.expires, when).p, (long long)days);
        if (r->cert_known)
            fprintf(out, "  trust       %s\n",
                    r->cert_code == OK ? "the certificate is valid for this name"
                                       : r->cert_err.msg);
    } else if (r->code == OK) {
        fputs("  tls         none: the dialogue was in clear\n", out);
    }
    for (size_t i = 0; i < r->rcpt_count; i++)
        fprintf(out, "  recipient   %s: %s: %u %.*s\n", p->args->rcpt.v[i],
                classes[r->rcpts[i].class], r->rcpts[i].code, SP(r->rcpts[i].text));
}

/* One address. Returns the exit status it stands for. */
static int probe_addr(struct probe *p, const struct route *route, const struct route_host *h,
                      const struct addr *to) {
    const struct args *args = p->args;
    static const enum hop_tls modes[] = {HOP_TLS_MAY, HOP_TLS_MAY, HOP_TLS_NONE, HOP_TLS_REQUIRE,
                                         HOP_TLS_VERIFY};
    struct smtp_client_rcpt rcpts[OPT_LIST_MAX];
    struct smtp_client_result results[OPT_LIST_MAX];
    struct smtp_client_message m = {
        .sender = slice_str(args->from), .rcpts = rcpts, .rcpt_count = args->rcpt.n};
    struct hop hop;
    struct result r = {.hop = &hop};
    struct hop_options o = {
        .ehlo_name = args->ehlo ? args->ehlo : p->ctx->conf->hostname,
        .host = h->name,
        .tls = args->starttls ? HOP_TLS_REQUIRE : modes[args->tls],
        .is_implicit_tls = args->implicit_tls,
        .is_lmtp = args->lmtp,
        .plaintext_auth = p->ctx->conf->plaintext_auth,
        .user = args->user,
        .password = buf_slice(&p->password),
        .creds = p->creds,
        .timeout_ms = (args->timeout ? args->timeout : 30) * 1000,
        .stop_after = args->rcpt.n ? SMTP_STAGE_RCPT
                      : args->user ? SMTP_STAGE_AUTH
                                   : SMTP_STAGE_TLS,
        .on_reply = on_reply,
        .on_bytes = args->trace ? on_bytes : NULL,
        .on_user = p,
    };
    int status;

    /* Delivery's own decision, unless another was asked for. */
    if (args->tls == TLS_AUTO && !args->starttls && !args->implicit_tls && h->tls.why)
        hop_options_tls(route, h, &h->tls, &o);
    p->step_count = 0;
    p->banner[0] = 0;
    if (args->implicit_tls && o.tls == HOP_TLS_MAY) o.tls = HOP_TLS_REQUIRE;
    r.code = hop_open(&hop, -1, to, &o, &r.err);
    if (r.code == OK && args->rcpt.n) {
        for (size_t i = 0; i < args->rcpt.n; i++)
            rcpts[i] = (struct smtp_client_rcpt){.address = slice_str(args->rcpt.v[i])};
        r.code = hop_probe(&hop, &m, &r.err);
        if (r.code == OK && hop.err.code != OK) r.code = hop.err.code, r.err = hop.err;
        for (size_t i = 0; r.code == OK && i < args->rcpt.n; i++)
            results[i] = smtp_client_result(hop.client, i);
        if (r.code == OK) r.rcpts = results, r.rcpt_count = args->rcpt.n;
    }
    if (hop.is_tls && hop.pump.tls) {
        r.cert_known = true;
        r.cert_code = tls_verify(hop.pump.tls, h->name, &r.cert_err);
    }
    status = status_of(&r);
    if (args->plugin)
        fprintf(p->ctx->out, "SMTP %s - %s: %s | time=%lldms;;;0\n",
                status == EX_OK         ? "OK"
                : status == EX_TEMPFAIL ? "UNKNOWN"
                                        : "CRITICAL",
                h->name, r.code == OK ? "ready" : r.err.msg,
                (long long)(clock_mono() - hop.started));
    else if (args->json) print_json(p, h, to, &r);
    else print_text(p, h, to, &r);
    hop_close(&hop);
    return status;
}

/* A host and port as they were given, instead of what DNS has for a domain. */
static enum err_code fixed_route(struct resolver *resolver, const struct args *args,
                                 const char *operand, uint16_t port, struct arena *a,
                                 struct route *r, struct err *e) {
    struct resolve_hosts found;
    enum err_code code;

    *r = (struct route){
        .kind = ROUTE_FIXED, .hosts = arena_new(a, sizeof *r->hosts), .host_count = 1};
    (void)args;
    if (!r->hosts) return err_set(e, ERR_MEMORY, "no memory");
    code = conf_host_port(a, slice_str(operand), &r->hosts[0].name, &port, e);
    if (code == OK)
        code = resolver_hosts(resolver, slice_str(r->hosts[0].name), port, a, &found, e);
    if (code != OK) return code;
    for (size_t i = 0; i < found.count && i < ROUTE_ADDRS_MAX; i++)
        r->hosts[0].addrs[r->hosts[0].addr_count++] = found.addrs[i];
    if (found.count) return OK;
    r->code =
        err_mail(&r->err, found.result == DNS_FAILED ? ERR_DNS : ERR_NOT_FOUND,
                 found.result == DNS_FAILED ? STATUS(4, 4, 3) : STATUS(5, 1, 2),
                 "%s has no address%s", r->hosts[0].name, found.result == DNS_FAILED ? " now" : "");
    return OK;
}

/* "host:port", an address, or --host say that it is no domain. */
static bool is_host(const struct args *args, const char *operand) {
    struct addr a;

    return args->host || strchr(operand, ':') || operand[0] == '[' || addr_parse(operand, 0, &a) ||
           strcmp(operand, "localhost") == 0;
}

static int probe_route(struct probe *p, const struct route *r) {
    int status = EX_TEMPFAIL;
    bool any = false;

    for (size_t i = 0; i < r->host_count; i++) {
        const struct route_host *h = &r->hosts[i];

        if (h->is_self) continue;
        if (h->tls.skip) {
            fprintf(p->ctx->err, "postbag %s: %s is not used by delivery: %s\n", p->ctx->name,
                    h->name, h->tls.skip);
            status = EX_TEMPFAIL;
            any = true;
            continue;
        }
        for (size_t k = 0; k < h->addr_count; k++) {
            struct addr to = h->addrs[k];
            int one;

            if ((p->args->ipv4 && addr_is_ipv6(&to)) || (p->args->ipv6 && !addr_is_ipv6(&to)))
                continue;
            if (r->kind != ROUTE_FIXED && p->args->port)
                addr_set_port(&to, (uint16_t)p->args->port);
            one = probe_addr(p, r, h, &to);
            if (!any || one > status || (!p->args->all && one == EX_OK)) status = one;
            any = true;
            if (!p->args->all && one == EX_OK) return EX_OK;
        }
    }
    if (!any) return failf(p->ctx, EX_NOHOST, "no address of the family asked for");
    return status;
}

static int run(struct context *ctx, const void *args_p) {
    const struct args *args = args_p;
    struct probe p = {.ctx = ctx, .args = args, .trace = {.out = ctx->err}};
    struct resolver *resolver = NULL;
    struct err e = {0};
    uint16_t port = (uint16_t)(args->port           ? args->port
                               : args->implicit_tls ? 465
                               : args->lmtp         ? 24
                                                    : ctx->conf->mx_port);
    int status = EX_OK;
    enum err_code code;

    if (args->user && !args->password_file)
        return failf(ctx, EX_USAGE, "--user wants --password-file");
    buf_init(&p.password, 4096);
    code = resolver_new(ctx->conf, &resolver, &e);
    if (code == OK) code = tls_creds_client(ctx->conf->tls_ca, &p.creds, &e);
    if (code == OK && args->password_file) {
        code = file_check_secret(args->password_file, &e);
        if (code == OK) code = file_read(args->password_file, &p.password, &e);
        if (code == OK) buf_cut(&p.password, slice_chomp(buf_slice(&p.password)).n);
    }
    for (int i = 0; code == OK && i < ctx->operand_count; i++) {
        const char *operand = ctx->operands[i], *at = strrchr(operand, '@');
        struct arena a;
        struct route r;
        int one;

        arena_init(&a, 4 * 1024 * 1024);
        if (is_host(args, operand)) code = fixed_route(resolver, args, operand, port, &a, &r, &e);
        else
            code = route_find(resolver, ctx->conf, slice_str(at ? at + 1 : operand), false, &a, &r,
                              &e);
        if (code == OK) {
            one = r.code == OK ? probe_route(&p, &r) : fail(ctx, &r.err);
            if (one != EX_OK && args->plugin) one = one == EX_TEMPFAIL ? 3 : 2;
            if (one > status) status = one;
        }
        arena_release(&a);
    }
    if (code != OK) status = fail(ctx, &e);
    if (p.password.p) explicit_bzero(p.password.p, p.password.cap);
    buf_release(&p.password);
    tls_creds_unref(p.creds);
    resolver_free(resolver);
    return status;
}

const struct applet applet_smtp_probe = {
    .name = "smtp-probe",
    .summary = "try the mail hosts of a domain as a sender would, and report",
    .operands = "DOMAIN|HOST:PORT...",
    .opts = opts,
    .args_size = sizeof(struct args),
    .settings = "hostname data resolver dnssec trust-anchor mx-port tls-ca mta-sts "
                "destination plaintext-auth",
    .exits = exits,
    .min_operands = 1,
    .max_operands = -1,
    .run = run,
};
