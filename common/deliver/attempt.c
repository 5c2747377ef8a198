#include "deliver/attempt.h"

#include <stdio.h>
#include <stdlib.h>

#include "auth/token.h"
#include "base/ascii.h"
#include "base/json.h"
#include "deliver/fit.h"
#include "sys/clock.h"
#include "sys/file.h"

enum {
    PASSWORD_FILE_MAX = 8192,
    TOKEN_KEEP_MS = 60 * 1000 /* an access token is usually good for an hour */
};

enum err_code courier_open(const struct conf *c, const struct log *log, struct courier *out,
                           struct err *e) {
    enum err_code code;

    *out = (struct courier){.conf = c, .log = log};
    pthread_mutex_init(&out->lock, NULL);
    buf_init(&out->password, PASSWORD_FILE_MAX);
    buf_init(&out->token, SASL_TOKEN_MAX);
    code = resolver_new(c, &out->resolver, e);
    if (code == OK) code = tls_creds_client(NULL, &out->opportunistic, e);
    if (code == OK && c->relay.password_file) {
        code = file_check_secret(c->relay.password_file, e);
        if (code == OK) code = file_read(c->relay.password_file, &out->password, e);
        if (code == OK) buf_cut(&out->password, slice_chomp(buf_slice(&out->password)).n);
        if (code != OK) err_note(e, "password of the relay");
    }
    if (code != OK) courier_close(out);
    return code;
}

static void forget_token(struct courier *c) {
    if (c->token.p) explicit_bzero(c->token.p, c->token.cap);
    buf_reset(&c->token);
}

/* The token of the relay: what the command printed a short while ago, or prints now. */
static enum err_code relay_token(void *user, struct buf *out, struct err *e) {
    struct courier *c = user;
    enum err_code code = OK;

    pthread_mutex_lock(&c->lock);
    if (c->token.n == 0 || clock_mono() >= c->token_until) {
        forget_token(c);
        code = token_get(c->conf->relay_token_command, c->conf->relay.user, &c->token, e);
        if (code != OK) forget_token(c);
        c->token_until = clock_mono() + TOKEN_KEEP_MS;
    }
    if (code == OK && !buf_add(out, buf_slice(&c->token)))
        code = err_mail(e, ERR_MEMORY, STATUS(4, 3, 0), "no memory for a token");
    pthread_mutex_unlock(&c->lock);
    return code;
}

void courier_close(struct courier *c) {
    resolver_free(c->resolver);
    tls_creds_unref(c->opportunistic);
    tls_creds_unref(c->verifying);
    if (c->password.p) explicit_bzero(c->password.p, c->password.cap);
    buf_release(&c->password);
    forget_token(c);
    buf_release(&c->token);
    pthread_mutex_destroy(&c->lock);
    *c = (struct courier){0};
}

/* Loaded at the first hop that is verified: the system's certificates take some milliseconds. */
static struct tls_creds *verifying(struct courier *c, struct err *e) {
    pthread_mutex_lock(&c->lock);
    if (!c->verifying && tls_creds_client(c->conf->tls_ca, &c->verifying, e) != OK)
        c->verifying = NULL;
    pthread_mutex_unlock(&c->lock);
    return c->verifying;
}

void hop_options_tls(const struct route *route, const struct route_host *host,
                     const struct tls_decision *d, struct hop_options *o) {
    o->tls = d->tls;
    o->tls_why = d->why;
    o->host = d->tls == HOP_TLS_DANE && host->tlsa_base ? host->tlsa_base : host->name;
    o->tlsa = host->tlsa;
    o->tlsa_count = host->tlsa_count;
    o->names[0] = host->name;
    o->names[1] = route->domain;
}

enum err_code courier_hop_options(struct courier *c, const struct route *route,
                                  const struct route_host *host, const struct envelope *env,
                                  struct hop_options *o, struct err *e) {
    struct tls_facts facts = host->facts;
    struct tls_decision d;

    facts.is_requiretls = env && env->is_requiretls;
    facts.is_optional = env && env->is_tls_optional;
    d = tls_decide(&facts);
    *o = (struct hop_options){
        .ehlo_name = c->conf->hostname,
        .is_lmtp = route->is_lmtp,
        .plaintext_auth = c->conf->plaintext_auth,
        .give_up = &c->give_up,
        .on_reply = c->on_reply,
        .on_bytes = c->on_bytes,
        .on_user = c->on_user,
    };
    hop_options_tls(route, host, &d, o);
    if (d.skip)
        return err_mail(e, ERR_TLS, STATUS(4, 7, 5), "%s must not be used now: %s", host->name,
                        d.skip);
    o->creds = o->tls == HOP_TLS_VERIFY ? verifying(c, e) : c->opportunistic;
    if (!o->creds) return e && e->code != OK ? e->code : ERR_TLS;
    if (route->kind == ROUTE_RELAY) {
        o->is_implicit_tls = c->conf->relay.is_tls;
        o->user = c->conf->relay.user;
        o->password = buf_slice(&c->password);
        o->mechanisms = sasl_find(slice_str(c->conf->relay_auth));
        if (!o->mechanisms && c->conf->relay_token_command) o->mechanisms = SASL_WITH_TOKEN;
        if (c->conf->relay_token_command) o->token = relay_token, o->token_user = c;
    }
    return OK;
}

/* The rule's own address of the same family, or NULL. */
static const struct addr *source_of(const struct route *route, const struct addr *to,
                                    struct addr *out) {
    const char *text = !route->rule       ? NULL
                       : addr_is_ipv6(to) ? route->rule->source_v6
                                          : route->rule->source_v4;

    return text && addr_parse(text, 0, out) ? out : NULL;
}

/* The login failed, and not because the connection did. */
static bool is_refused_login(const struct err *e, enum smtp_stage at) {
    return at == SMTP_STAGE_AUTH && e->code != ERR_CLOSED && e->code != ERR_NET &&
           e->code != ERR_TIMEOUT;
}

static void one_line(char *out, size_t n, struct slice text) {
    snprintf(out, n, "%.*s", SP(slice_first(text, n)));
    for (char *p = out; *p; p++)
        if (*p == '\n' || *p == '\r') *p = ' ';
}

static void verdict_err(struct verdict *v, const struct err *e, enum smtp_stage stage) {
    /* What one host refuses for good another may take: permanent only when all say so. */
    v->had_temporary |= err_is_temporary(e);
    v->is_hop_failure = true;
    v->class = v->had_temporary ? SMTP_CLASS_TEMPORARY : SMTP_CLASS_PERMANENT;
    v->stage = stage;
    v->code = 0;
    v->status = e->status;
    if (v->status.cls == 0)
        v->status = v->class == SMTP_CLASS_PERMANENT ? STATUS(5, 0, 0) : STATUS(4, 0, 0);
    one_line(v->text, sizeof v->text, slice_str(e->msg));
}

static void verdict_result(struct verdict *v, const struct smtp_client_result *r) {
    v->class = r->class;
    /* What this host lacks (SMTPUTF8, REQUIRETLS) another one may have. */
    v->is_hop_failure = r->code == 0 && r->class == SMTP_CLASS_PERMANENT && !v->had_temporary;
    v->stage = r->stage;
    v->code = r->code;
    v->status = r->status;
    one_line(v->text, sizeof v->text, r->text);
}

static void verdict_where(struct verdict *v, const struct route_host *h, const struct hop *hop) {
    snprintf(v->host, sizeof v->host, "%s", h->name);
    addr_text(&hop->to, v->address);
    snprintf(v->tls, sizeof v->tls, "%s", hop->tls_text);
    snprintf(v->policy, sizeof v->policy, "%s", hop_tls_name(hop->o.tls));
    v->policy_why = hop->o.tls_why;
}

/* The recipients of an attempt that still hope, as the client wants them. */
struct open_list {
    size_t *at; /* indices into a->rcpts */
    struct smtp_client_rcpt *rcpts;
    size_t n;
    struct fit fit;
};

/* Sent whole, and the reply was lost: it may have arrived, so that only a later try asks (S-17). */
static bool may_have_arrived(const struct verdict *v) {
    return v->class == SMTP_CLASS_TEMPORARY && v->stage == SMTP_STAGE_END && v->code == 0;
}

/* A recipient that was one too many for this transaction (RFC 5321 4.5.3.1.10). */
static bool is_excess(const struct verdict *v) {
    return v->class == SMTP_CLASS_TEMPORARY && v->stage == SMTP_STAGE_RCPT &&
           (v->code == 452 || v->code == 552) &&
           (v->status.cls == 0 || (v->status.subject == 5 && v->status.detail == 3) ||
            (v->status.subject == 0 && v->status.detail == 0));
}

static void fill_open(const struct attempt *a, struct open_list *l, bool excess_only) {
    l->n = 0;
    for (size_t i = 0; i < a->count; i++) {
        const struct envelope_rcpt *r = &a->env->rcpts[a->rcpts[i]];

        if (a->verdicts[i].class != SMTP_CLASS_TEMPORARY && !a->verdicts[i].is_hop_failure)
            continue;
        if (may_have_arrived(&a->verdicts[i])) continue;
        if (excess_only && !is_excess(&a->verdicts[i])) continue;
        l->at[l->n] = i;
        l->rcpts[l->n++] = (struct smtp_client_rcpt){
            .address = fit_address(&l->fit, r->address), .notify = r->notify, .orcpt = r->orcpt};
    }
    fit_look(&l->fit, l->rcpts, l->n);
}

static void verdict_route(struct verdict *v, const struct route *route) {
    v->route = route_kind_name(route->kind);
    v->mx = dns_result_name(route->mx_result);
    v->dnssec = dns_security_name(route->mx_security);
}

void link_init(struct link *l) { *l = (struct link){.fd = -1}; }

void link_close(struct link *l) {
    if (l->is_open) hop_close(&l->hop);
    l->is_open = false;
    l->sent = 0;
    fd_close(&l->fd);
}

/* Open the hop of `l` to `to`, over its connected descriptor when it has one. */
static enum err_code open_link(struct courier *c, const struct route_host *h, const struct addr *to,
                               struct hop_options *o, struct link *l, struct err *e) {
    int fd = l->fd;
    enum err_code code;

    l->fd = -1;
    l->sent = 0;
    code = hop_open(&l->hop, fd, to, o, e);
    if (code == ERR_TLS && o->tls == HOP_TLS_MAY) {
        log_event(c->log, LEVEL_NOTE, "TLS failed, going on in clear", "host", slice_str(h->name),
                  "why", slice_str(e->msg), NULL);
        hop_close(&l->hop);
        o->tls = HOP_TLS_NONE;
        code = hop_open(&l->hop, -1, to, o, e);
    }
    l->is_open = code == OK && l->hop.is_ready;
    return code;
}

/* A connection that was used before may be stale: its end, or a temporary refusal of MAIL, says
 * nothing of this message (S-20), as long as the message's data was not sent whole (S-17). */
static bool was_stale(const struct link *l, size_t rcpts) {
    for (size_t i = 0; i < rcpts; i++) {
        struct smtp_client_result r = smtp_client_result(l->hop.client, i);
        bool lost = r.code == 0 || r.code == 421;

        if (r.class != SMTP_CLASS_TEMPORARY) return false;
        if (!lost && r.stage != SMTP_STAGE_MAIL && r.stage != SMTP_STAGE_RSET) return false;
        if (r.stage == SMTP_STAGE_END) return false;
    }
    return true;
}

static enum err_code send_body(struct link *link, struct smtp_client_message *m,
                               struct open_list *l, struct err *e) {
    const struct hop_body *body = fit_body(&l->fit, smtp_client_caps(link->hop.client)->exts);

    m->size = body->size;
    m->is_8bit = l->fit.env->is_8bit && body == &l->fit.body;
    return hop_send(&link->hop, m, body, e);
}

/* A refusal that names the reverse name or IPv6 is about our address, not about the message: the
 * other family may do (S-15). */
static bool blames_ipv6(const struct verdict *v) {
    static const char *const words[] = {"ipv6", "ptr", "rdns", "reverse dns", "reverse lookup"};
    char text[sizeof v->text];
    size_t n = 0;

    if (v->class != SMTP_CLASS_PERMANENT || v->code == 0 || v->stage > SMTP_STAGE_RCPT)
        return false;
    for (; v->text[n]; n++) text[n] = ascii_lower(v->text[n]);
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (slice_find(slice_of(text, n), slice_str(words[i])) != SLICE_NONE) return true;
    return false;
}

static bool retry_ipv4(const struct route_host *h, const struct addr *to, struct attempt *a) {
    bool has_ipv4 = false, any = false;

    for (size_t i = 0; i < h->addr_count; i++) has_ipv4 |= !addr_is_ipv6(&h->addrs[i]);
    if (!has_ipv4 || !addr_is_ipv6(to)) return false;
    for (size_t i = 0; i < a->count; i++) {
        if (!blames_ipv6(&a->verdicts[i])) continue;
        a->verdicts[i].is_hop_failure = any = true;
    }
    return any;
}

/* Until the time of DELIVERBY; below 0: since then. */
static int32_t seconds_left(const struct envelope *env) {
    wall_t left = env->deliver_by - clock_wall();

    return left > SMTP_SECONDS_MAX    ? SMTP_SECONDS_MAX
           : left < -SMTP_SECONDS_MAX ? -SMTP_SECONDS_MAX
                                      : (int32_t)left;
}

/* Speak with one address. True: the server was talked to. */
static bool try_addr(struct courier *c, const struct route *route, const struct route_host *h,
                     const struct addr *to, struct attempt *a, struct open_list *l,
                     struct link *link) {
    struct hop_options o;
    struct err e = {0};
    struct smtp_client_message m = {
        .sender = l->fit.sender,
        .rcpts = l->rcpts,
        .rcpt_count = l->n,
        .size = a->body.size,
        .is_8bit = a->env->is_8bit,
        .is_binary = a->env->is_binary,
        .is_smtputf8 = l->fit.needs_utf8,
        .is_requiretls = a->env->is_requiretls,
        .ret = a->env->ret == RET_FULL   ? SMTP_RET_FULL
               : a->env->ret == RET_HDRS ? SMTP_RET_HDRS
                                         : SMTP_RET_NONE,
        .envid = a->env->envid,
        .priority = a->env->priority,
        .by = a->env->by_mode == BY_RETURN   ? SMTP_BY_RETURN
              : a->env->by_mode == BY_NOTIFY ? SMTP_BY_NOTIFY
                                             : SMTP_BY_NONE,
        .by_trace = a->env->by_trace,
        .by_s = seconds_left(a->env),
    };
    struct addr source;
    enum err_code code = courier_hop_options(c, route, h, a->env, &o, &e);
    bool was_open;
    enum smtp_stage at;

    if (code != OK) {
        /* This host, now, for this message: no. */
        link_close(link);
        for (size_t i = 0; i < l->n; i++) {
            struct verdict *v = &a->verdicts[l->at[i]];

            snprintf(v->host, sizeof v->host, "%s", h->name);
            verdict_route(v, route);
            verdict_err(v, &e, SMTP_STAGE_TLS);
        }
        return true;
    }
    o.from = source_of(route, to, &source);
    /* What was agreed for another message may be too little for this one. */
    if (link->is_open && o.tls > link->asked) link_close(link);
    was_open = link->is_open;
    link->asked = was_open ? link->asked : o.tls;
    if (!was_open) code = open_link(c, h, to, &o, link, &e);
    if (code == OK) code = send_body(link, &m, l, &e);
    if (code == OK && was_open && was_stale(link, l->n)) {
        link_close(link);
        code = open_link(c, h, to, &o, link, &e);
        if (code == OK) code = send_body(link, &m, l, &e);
    }
    at = link->hop.failed_at;
    /* Our credentials or our idea of TLS are wrong: no fault of the message. */
    if (code != OK &&
        (is_refused_login(&e, at) ||
         ((at == SMTP_STAGE_TLS || at == SMTP_STAGE_STARTTLS) && e.status.cls != 4))) {
        if (e.status.cls != 4) e.status = STATUS(4, 7, 0);
        if (at == SMTP_STAGE_AUTH) { /* the next one may be better */
            pthread_mutex_lock(&c->lock);
            forget_token(c);
            pthread_mutex_unlock(&c->lock);
        }
        log_event(c->log, LEVEL_ERROR, "the relay refuses this host's credentials or TLS", "host",
                  slice_str(h->name), "why", slice_str(e.msg), NULL);
    }
    for (size_t i = 0; i < l->n; i++) {
        struct verdict *v = &a->verdicts[l->at[i]];

        verdict_where(v, h, &link->hop);
        verdict_route(v, route);
        if (code != OK) {
            verdict_err(v, &e, at);
        } else {
            struct smtp_client_result r = smtp_client_result(link->hop.client, i);

            verdict_result(v, &r);
            v->peer_does_dsn = smtp_client_caps(link->hop.client)->exts & SMTP_EXT_DSN;
            v->peer_does_by =
                o.is_lmtp || smtp_client_caps(link->hop.client)->exts & SMTP_EXT_DELIVERBY;
        }
    }
    link->is_open = true; /* so that closing frees the hop, whatever state it is in */
    link->sent++;
    if (code != OK || !link->hop.is_ready) link_close(link);
    return at != SMTP_STAGE_CONNECT || code == OK;
}

/* Was somebody taken, and somebody one too many? */
static bool is_for_more(const struct attempt *a, const struct open_list *l) {
    bool taken = false, excess = false;

    for (size_t i = 0; i < l->n; i++) {
        taken |= a->verdicts[l->at[i]].class == SMTP_CLASS_OK;
        excess |= is_excess(&a->verdicts[l->at[i]]);
    }
    return taken && excess;
}

/* Speak with one address about everybody that still hopes, in as many transactions as it wants.
 * True: the server was talked to, and another address need not be asked. */
static bool talk(struct courier *c, const struct route *route, const struct route_host *h,
                 const struct addr *to, struct attempt *a, struct open_list *l, struct link *link) {
    bool talked = try_addr(c, route, h, to, a, l, link);

    while (link->is_open && is_for_more(a, l) && !(c->give_up && clock_mono() >= c->give_up)) {
        fill_open(a, l, true);
        try_addr(c, route, h, to, a, l, link);
    }
    return talked && !retry_ipv4(h, to, a);
}

static void nobody_tried(const struct route *route, struct verdict *v) {
    *v = (struct verdict){.class = SMTP_CLASS_TEMPORARY, .status = STATUS(4, 4, 1)};
    snprintf(v->text, sizeof v->text, "no host could be tried");
    verdict_route(v, route);
}

void attempt_run(struct courier *c, const struct route *route, struct link *link,
                 struct attempt *a) {
    struct open_list l = {.at = calloc(a->count, sizeof *l.at),
                          .rcpts = calloc(a->count, sizeof *l.rcpts)};
    struct link own;
    bool has_link = link && (link->is_open || link->fd >= 0);
    unsigned tried = 0;

    link_init(&own);
    fit_init(&l.fit, a->env, &a->body);
    if (!link) link = &own;
    for (size_t i = 0; i < a->count; i++) nobody_tried(route, &a->verdicts[i]);
    for (size_t h = has_link ? link->host : 0; l.at && l.rcpts && h < route->host_count; h++) {
        const struct route_host *host = &route->hosts[h];
        bool talked = false;

        if (host->is_self || (c->give_up && clock_mono() >= c->give_up)) break;
        if (has_link) {
            fill_open(a, &l, false);
            if (l.n == 0) break;
            talked = talk(c, route, host, &link->to, a, &l, link);
            has_link = false;
            tried++;
            if (!talked) h--; /* its other addresses, from the first */
            continue;
        }
        /* A host that answered is not asked again at its other addresses. */
        for (size_t i = 0; i < host->addr_count && !talked && tried < ATTEMPT_ADDRS_MAX; i++) {
            fill_open(a, &l, false);
            if (l.n == 0) break;
            tried++;
            link_close(link);
            link->host = h;
            link->to = host->addrs[i];
            talked = talk(c, route, host, &host->addrs[i], a, &l, link);
        }
    }
    link_close(&own);
    fit_release(&l.fit);
    free(l.at);
    free(l.rcpts);
}

void attempt_fail(const struct route *route, const struct route_host *host, const struct addr *to,
                  const struct err *why, enum smtp_stage stage, struct attempt *a) {
    for (size_t i = 0; i < a->count; i++) {
        struct verdict *v = &a->verdicts[i];

        *v = (struct verdict){0};
        if (route) verdict_route(v, route);
        if (host) snprintf(v->host, sizeof v->host, "%s", host->name);
        if (host && to) addr_text(to, v->address);
        verdict_err(v, why, stage);
    }
}

void attempt_no_route(const struct route *route, struct attempt *a) {
    attempt_fail(route, NULL, NULL, &route->err, SMTP_STAGE_NONE, a);
}

struct slice verdict_reply(const struct verdict *v, struct buf *out) {
    buf_reset(out);
    if (v->code) buf_addf(out, "%u ", v->code);
    if (v->status.cls)
        buf_addf(out, "%u.%u.%u ", v->status.cls, v->status.subject, v->status.detail);
    buf_add(out, slice_str(v->text));
    return buf_slice(out);
}

void verdict_json(const struct verdict *v, unsigned attempt_number, wall_t now, struct buf *out) {
    static const char *const classes[] = {"ok", "temporary", "permanent"};
    struct json j;
    char status[24];

    snprintf(status, sizeof status, "%u.%u.%u", v->status.cls, v->status.subject, v->status.detail);
    json_init(&j, out);
    json_object(&j, NULL);
    json_int(&j, "v", 1);
    json_time(&j, "time", now);
    json_int(&j, "attempt", attempt_number);
    json_str(&j, "class", slice_str(classes[v->class]));
    json_str(&j, "status", slice_str(status));
    if (v->code) json_int(&j, "code", v->code);
    json_str(&j, "text", slice_str(v->text));
    if (v->stage != SMTP_STAGE_NONE) json_str(&j, "stage", slice_str(smtp_stage_name(v->stage)));
    if (v->host[0]) json_str(&j, "host", slice_str(v->host));
    if (v->address[0]) json_str(&j, "address", slice_str(v->address));
    if (v->policy[0]) json_str(&j, "policy", slice_str(v->policy));
    if (v->policy_why) json_str(&j, "policy_why", slice_str(v->policy_why));
    if (v->tls[0]) json_str(&j, "tls", slice_str(v->tls));
    if (v->route) {
        json_str(&j, "route", slice_str(v->route));
        json_str(&j, "mx", slice_str(v->mx));
        json_str(&j, "dnssec", slice_str(v->dnssec));
    }
    json_end(&j);
}
