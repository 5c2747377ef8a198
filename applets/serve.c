/* serve: the whole mail server: SMTP, submission, LMTP, POP3, IMAP, queue and mailboxes.
 * RFC 5321, 6409, 8314 (submission), 2033 (LMTP), 1939 (POP3), 3501 (IMAP). */
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "auth/password.h"
#include "cli/applet.h"
#include "cli/exit.h"
#include "deliver/outbound.h"
#include "serve/instance.h"
#include "sys/clock.h"
#include "sys/file.h"

enum { STDIO_NONE, STDIO_SMTP, STDIO_LMTP, STDIO_POP3, STDIO_IMAP };
static const char *const stdio_words[] = {"none", "smtp", "lmtp", "pop3", "imap", NULL};

struct args {
    bool local, hold;
    int stdio;
    unsigned jobs;
};

static const struct opt opts[] = {
    FLAG('l', "local", local,
         "try it out: loopback ports 1025 and up, an account, no configuration"),
    ENUM(0, "stdio", stdio, stdio_words, "PROTOCOL",
         "speak smtp, lmtp, pop3 or imap on standard input; operand: the user"),
    FLAG(0, "hold", hold, "take mail into the queue and deliver none of it"),
    UINT('j', "jobs", jobs, OUTBOUND_WORKERS_MAX, "N",
         "outgoing connections at once (default 100)"),
    OPT_END,
};

static const struct exit_doc exits[] = {
    {0, "it was told to stop, or the dialogue on standard input ended"},
    {64, "the command line is wrong"},
    {69, "a library is missing"},
    {75, "a port is in use, or something else that may pass"},
    {77, "not permitted: a low port, or a directory of somebody else"},
    {78, "a setting, certificate or key is wrong"},
    {0, NULL},
};

/* What --local stands for where nothing else is said. */
static enum err_code local_settings(struct conf *c, struct err *e) {
    static const char *const listens[] = {"smtp=127.0.0.1:1025",        "submission=127.0.0.1:1587",
                                          "submissions=127.0.0.1:1465", "pop3=127.0.0.1:1110",
                                          "pop3s=127.0.0.1:1995",       "imap=127.0.0.1:1143",
                                          "imaps=127.0.0.1:1993"};
    enum err_code code = OK;

    for (size_t i = 0; code == OK && c->listens < COUNT_OF(listens) && i < COUNT_OF(listens); i++)
        code = conf_set(c, "listen", listens[i], "--local", e);
    if (code == OK) code = conf_set(c, "plaintext-auth", "yes", "--local", e);
    return code;
}

static enum err_code local_defaults(struct conf *c, struct err *e) {
    const char *home = getenv("HOME"), *xdg = getenv("XDG_DATA_HOME");
    enum err_code code = OK;

    for (size_t i = 0; conf_settings[i].name && code == OK; i++) {
        if (c->rank[i] != 0) continue;
        if (strcmp(conf_settings[i].name, "data") == 0) {
            char path[4096];

            snprintf(path, sizeof path, "%s%s/postbag-local",
                     xdg && *xdg ? xdg
                     : home      ? home
                                 : "/tmp",
                     xdg && *xdg ? ""
                     : home      ? "/.local/share"
                                 : "");
            code = conf_set(c, "data", path, "--local", e);
        } else if (strcmp(conf_settings[i].name, "hostname") == 0 ||
                   strcmp(conf_settings[i].name, "domain") == 0) {
            if (strcmp(conf_settings[i].name, "domain") == 0) c->domain.n = 0;
            code = conf_set(c, conf_settings[i].name, "localhost", "--local", e);
        }
    }
    if (code == OK && c->listens == 0) code = local_settings(c, e);
    /* These were derived from the data directory of before. */
    for (size_t i = 0; conf_settings[i].name && code == OK; i++) {
        if (c->rank[i] == 0 && strcmp(conf_settings[i].name, "accounts") == 0)
            c->accounts = conf_path(c, "accounts");
        if (c->rank[i] == 0 && strcmp(conf_settings[i].name, "aliases") == 0)
            c->aliases = conf_path(c, "aliases");
    }
    return code;
}

/* The account of --local, with a password that is kept beside it so that it can be shown again. */
static enum err_code local_account(struct instance *i, struct buf *password, struct err *e) {
    static const char letters[] = "abcdefghjkmnpqrstuvwxyz23456789";
    const char *path = conf_path(i->conf, "local-password");
    struct account found;
    struct buf stored;
    enum err_code code = OK;
    bool known;

    if (!path) return err_set(e, ERR_MEMORY, "no memory for settings");
    known = file_read(path, password, NULL) == OK && password->n > 0;
    if (!known) {
        buf_reset(password);
        for (int k = 0; k < 12; k++) buf_addc(password, letters[random_below(sizeof letters - 1)]);
        code = file_replace(path, buf_slice(password), 0600, e);
    }
    if (code == OK &&
        (!known || accounts_find(i->directory.accounts, S("user"), &found, NULL) != OK)) {
        buf_init(&stored, 1024);
        code = password_make(buf_slice(password), &stored, e);
        if (code == OK)
            code = accounts_put(i->directory.accounts, S("user"), buf_cstr(&stored), NULL, e);
        buf_release(&stored);
    }
    return code;
}

struct ready {
    struct context *ctx;
    const struct buf *password; /* NULL: not --local */
    bool made_cert;
};

static void say_ready(struct instance *i, void *p) {
    const struct ready *r = p;
    FILE *out = r->ctx->out;

    if (!r->password) return;
    fprintf(out, "postbag is serving on this machine only. Stop it with Ctrl-C.\n\n");
    for (size_t k = 0; k < i->conf->listens; k++)
        fprintf(out, "  %-12s %s:%u\n", conf_service_name(i->conf->listen[k].service),
                i->conf->listen[k].host, i->conf->listen[k].port);
    fprintf(out,
            "\n  user         user@%s\n  password     %.*s\n  mail         "
            "%s/mail/%s/user/Maildir\n  certificate  %s\n",
            i->conf->domain.v[0], SP(buf_slice(r->password)), i->conf->data, i->conf->domain.v[0],
            i->conf->tls_pairs ? i->conf->tls[0].cert : conf_path(i->conf, "tls/cert.pem"));
    fprintf(out,
            "\nTry it:\n  echo hello | postbag sendmail --relay 127.0.0.1:1025 --now user@%s\n"
            "  postbag imap-list imap://user@127.0.0.1:1143/INBOX\n",
            i->conf->domain.v[0]);
    fflush(out);
}

/* Without any `listen` setting the standard ports. */
static enum err_code standard_ports(struct conf *c, struct err *e) {
    enum err_code code = OK;

    for (int s = 0; code == OK && s < SERVICE_COUNT; s++) {
        char text[64];

        if (s == SERVICE_LMTP) continue;
        snprintf(text, sizeof text, "%s=*", conf_service_name((enum conf_service)s));
        code = conf_set(c, "listen", text, "default", e);
    }
    return code;
}

static int run(struct context *ctx, const void *p) {
    static const enum conf_service services[] = {SERVICE_COUNT, SERVICE_SMTP, SERVICE_LMTP,
                                                 SERVICE_POP3, SERVICE_IMAP};
    const struct args *args = p;
    struct conf *c = ctx->conf;
    struct ready r = {.ctx = ctx};
    struct instance i;
    struct buf password;
    struct err e = {0};
    enum err_code code = OK;

    if (ctx->operand_count > 0 && args->stdio == STDIO_NONE)
        return failf(ctx, EX_USAGE, "\"%s\": a user is named only with --stdio", ctx->operands[0]);
    if (args->local) code = local_defaults(c, &e);
    else if (c->listens == 0 && args->stdio == STDIO_NONE) code = standard_ports(c, &e);
    if (code == OK)
        code = instance_open(c, &ctx->log, args->stdio == STDIO_NONE, &i, &r.made_cert, &e);
    if (code != OK) return fail(ctx, &e);
    if (args->stdio != STDIO_NONE) {
        code = instance_stdio(&i, services[args->stdio],
                              ctx->operand_count > 0 ? ctx->operands[0] : NULL, &e);
    } else {
        if (r.made_cert && !args->local)
            warnf(ctx,
                  "no tls setting: a self-signed certificate was made in %s/tls; clients will not "
                  "trust it",
                  c->data);
        buf_init(&password, 256);
        if (args->local) code = local_account(&i, &password, &e);
        if (args->local) r.password = &password;
        i.server.is_holding = args->hold;
        if (code == OK)
            code = instance_run(&i,
                                args->hold   ? 0
                                : args->jobs ? args->jobs
                                             : INSTANCE_JOBS,
                                say_ready, &r, &e);
        buf_release(&password);
    }
    instance_close(&i);
    return code == OK ? EX_OK : fail(ctx, &e);
}

const struct applet applet_serve = {
    .name = "serve",
    .summary = "run the mail server: SMTP, submission, LMTP, POP3, IMAP, queue",
    .operands = "[USER]",
    .opts = opts,
    .args_size = sizeof(struct args),
    .settings = "hostname domain data user listen tls tls-ca relay relay-from relay-tls relay-auth "
                "relay-token-command proxy-from "
                "xclient-from client-limit connection-limit destination mta-sts resolver dnssec "
                "trust-anchor accounts aliases drop-dir alias-commands alias-user mx-port "
                "message-size-limit quota quota-messages disk-reserve hold-limit queue-lifetime "
                "retry plaintext-auth "
                "auth-failure-delay pop3-login-delay imap-hide imap-message-limit log",
    .exits = exits,
    .max_operands = 1,
    .run = run,
};
