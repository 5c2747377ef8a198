#include "serve/server.h"

#include <stdio.h>
#include <stdlib.h>

#include "auth/token.h"
#include "base/attr.h"
#include "sys/clock.h"

enum err_code server_host(struct session *s, mono_t now, struct err *e) {
    switch (s->service) {
    case SERVICE_SMTP:
    case SERVICE_SUBMISSION:
    case SERVICE_SUBMISSIONS:
    case SERVICE_LMTP: return smtp_host_new(s, now, e);
    case SERVICE_POP3:
    case SERVICE_POP3S: return pop3_host_new(s, now, e);
    case SERVICE_IMAP:
    case SERVICE_IMAPS: return imap_host_new(s, now, e);
    case SERVICE_COUNT: break;
    }
    return err_set(e, ERR_BUG, "no such service");
}

bool server_in_nets(const struct conf_nets *nets, const struct addr *a) {
    if (a->len == 0) return false;
    if (a->u.sa.sa_family == AF_INET6) return conf_in_nets(nets, a->u.in6.sin6_addr.s6_addr, 16);
    return conf_in_nets(nets, (const uint8_t *)&a->u.in.sin_addr, 4);
}

static enum err_code denied(struct err *e) {
    return err_mail(e, ERR_DENIED, STATUS(5, 7, 8), "wrong user name or password");
}

/* The name that failures are counted under, of an account or not. */
static struct slice gate_name(const struct accounts *a, const char *user,
                              char out[ACCOUNT_NAME_MAX + 1]) {
    return slice_str(accounts_name(a, slice_str(user), out, NULL) == OK ? out : user);
}

static void check(void *p) {
    struct login *l = p;

    struct accounts *a = l->session->server->directory->accounts;

    switch (l->claim) {
    case SASL_IS_PASSWORD:
        l->code =
            accounts_login(a, slice_str(l->user), slice_str(l->password), &l->account, &l->err);
        break;
    case SASL_IS_TOKEN:
        l->code = token_check(l->session->server->conf->token_command, l->mechanism, l->user,
                              slice_str(l->token), &l->err);
        explicit_bzero(l->token, strlen(l->token));
        free(l->token);
        l->token = NULL;
        if (l->code != OK) break;
        ATTR_FALLTHROUGH;
    case SASL_IS_PROVEN:
        l->code = accounts_find(a, slice_str(l->user), &l->account, &l->err);
        if (l->code == ERR_NOT_FOUND) l->code = denied(&l->err);
        break;
    case SASL_IS_DENIED: l->code = denied(&l->err); break;
    }
    explicit_bzero(l->password, sizeof l->password);
    explicit_bzero(l->account.password, sizeof l->account.password);
    if (l->session->server->gate && (l->code == OK || l->code == ERR_DENIED)) {
        char name[ACCOUNT_NAME_MAX + 1];

        gate_told(l->session->server->gate, &l->session->peer, gate_name(a, l->user, name),
                  l->code == OK, clock_mono());
    }
    l->is_done = true;
    session_resume(l->session);
}

enum err_code server_login(struct session *s, struct login *l, enum sasl_claim claim,
                           const char *mechanism, struct slice user, struct slice password) {
    int64_t wait = 0;
    mono_t now = 0;

    *l = (struct login){.session = s, .claim = claim, .mechanism = mechanism};
    if (user.n == 0 || user.n > ACCOUNT_NAME_MAX ||
        password.n >= (claim == SASL_IS_TOKEN ? SASL_TOKEN_MAX + 1 : sizeof l->password) ||
        memchr(user.p, 0, user.n) || memchr(password.p ? password.p : "", 0, password.n)) {
        l->is_done = true;
        return l->code = denied(&l->err);
    }
    snprintf(l->user, sizeof l->user, "%.*s", SP(user));
    if (claim != SASL_IS_TOKEN) snprintf(l->password, sizeof l->password, "%.*s", SP(password));
    else if (!(l->token = strndup(password.p, password.n))) {
        l->is_done = true;
        return l->code = err_mail(&l->err, ERR_MEMORY, STATUS(4, 7, 0), "no memory for a login");
    }
    session_wait(s);
    if (!s->server->passwords) {
        check(l);
        return OK;
    }
    if (s->server->gate) {
        char name[ACCOUNT_NAME_MAX + 1];

        now = clock_mono();
        wait = gate_enter(s->server->gate, &s->peer,
                          gate_name(s->server->directory->accounts, l->user, name), now);
    }
    if (wait == 0 && lane_submit(s->server->passwords, check, l)) return OK;
    if (wait > 0 && lane_submit_at(s->server->passwords, now + wait, check, l)) return OK;
    s->waits = false;
    if (l->token) explicit_bzero(l->token, strlen(l->token));
    free(l->token);
    l->token = NULL;
    explicit_bzero(l->password, sizeof l->password);
    l->is_done = true;
    return l->code = err_mail(&l->err, ERR_BUSY, STATUS(4, 7, 0),
                              wait ? "too many failed logins, try later"
                                   : "too many logins at once, try later");
}

/* --- what a login can be proved by
 * -------------------------------------------------------------- */

static bool keys(void *user, struct slice name, struct scram_keys *out) {
    const struct session *s = user;
    struct accounts *a = s->server->directory->accounts;
    char text[ACCOUNT_NAME_MAX + 1], canonical[ACCOUNT_NAME_MAX + 1];

    /* The client learns the outcome of a SCRAM login before it waits: where the gate is shut there
     * is nothing to learn. */
    snprintf(text, sizeof text, "%.*s", SP(slice_first(name, ACCOUNT_NAME_MAX)));
    if (s->server->gate &&
        gate_is_shut(s->server->gate, &s->peer, gate_name(a, text, canonical), clock_mono()))
        name = S("");
    return accounts_keys(a, name, out);
}

static bool binding(void *user, uint8_t out[TLS_BINDING]) {
    const struct session *s = user;

    return s->tls && tls_binding(s->tls, out);
}

/* The account that a name in the client's certificate belongs to, and that it wants to be. */
static bool certificate(void *user, struct slice authzid, struct buf *out) {
    const struct session *s = user;
    struct accounts *a = s->server->directory->accounts;
    char name[TLS_CLIENT_NAME_MAX + 1], wanted[ACCOUNT_NAME_MAX + 1] = "";
    struct account account;

    if (!s->tls || (authzid.n > 0 && accounts_name(a, authzid, wanted, NULL) != OK)) return false;
    for (unsigned i = 0; tls_client_name(s->tls, i, name); i++) {
        if (accounts_find(a, slice_str(name), &account, NULL) != OK) continue;
        explicit_bzero(account.password, sizeof account.password);
        if (*wanted && strcmp(wanted, account.name) != 0) continue;
        return !out || buf_add(out, slice_str(account.name));
    }
    return false;
}

static void unpredictable(void *user, void *p, size_t n) {
    (void)user;
    random_bytes(p, n);
}

const struct sasl_env *server_sasl(struct session *s) {
    s->sasl = (struct sasl_env){.random = unpredictable, .binding = binding, .user = s};
    if (accounts_have_keys(s->server->directory->accounts)) s->sasl.keys = keys;
    s->sasl.has_tokens = s->server->conf->token_command != NULL;
    if (s->server->creds && s->server->conf->tls_client_ca) s->sasl.certificate = certificate;
    return &s->sasl;
}

void server_log_login(const struct session *s, const struct login *l) {
    char host[ADDR_TEXT_MAX];

    log_event(s->server->log, l->code == OK ? LEVEL_NOTE : LEVEL_WARN,
              l->code == OK ? "login" : "login failed", "service",
              slice_str(conf_service_name(s->service)), "user", slice_str(l->user), "client",
              slice_str(addr_host(&s->peer, host)), "mechanism", slice_str(l->mechanism), "tls",
              slice_str(s->tls ? tls_describe(s->tls) : "none"), "why",
              l->code == OK ? S("") : slice_str(l->err.msg), NULL);
}
