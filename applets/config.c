/* config: check the settings, or show them with where each comes from. */
#include <errno.h>
#include <pwd.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/applet.h"
#include "deliver/rcpt.h"
#include "sys/file.h"

struct args {
    bool origin, json;
};

static const struct opt opts[] = {
    FLAG('o', "origin", origin, "say where each value comes from"),
    FLAG(0, "json", json, "one JSON object per line"),
    OPT_END,
};

static const struct exit_doc exits[] = {
    {0, "the settings are right"},
    {64, "the command line is wrong"},
    {78, "a setting is wrong: the message names file, line, word and the nearest right word"},
    {0, NULL},
};

static void show_json(struct context *ctx, const struct setting *s, size_t i) {
    struct buf out;
    struct json j;

    buf_init(&out, 64 * 1024);
    json_init(&j, &out);
    json_object(&j, NULL);
    json_int(&j, "v", 1);
    json_str(&j, "name", slice_str(s->name));
    json_str_or_null(&j, "value", slice_str(ctx->conf->text[i]));
    json_str(&j, "origin", slice_str(ctx->conf->origin[i]));
    json_line(&j);
    fwrite(out.p, 1, out.n, ctx->out);
    buf_release(&out);
}

/* One thing that the settings name. Counts what is wrong. */
static void check_file(struct context *ctx, const char *setting, const char *path, int *bad) {
    if (!path || access(path, R_OK) == 0) return;
    warnf(ctx, "%s: cannot read %s: %s", setting, path, strerror(errno));
    ++*bad;
}

/* What the words stand for: files, users, accounts, aliases. Every fault is told. */
static int check_world(struct context *ctx) {
    const struct conf *c = ctx->conf;
    struct directory d;
    struct err e = {0};
    size_t count;
    int bad = 0;

    for (size_t i = 0; i < c->tls_pairs; i++) {
        check_file(ctx, "tls", c->tls[i].cert, &bad);
        if (strcmp(c->tls[i].key, c->tls[i].cert) != 0) check_file(ctx, "tls", c->tls[i].key, &bad);
    }
    if (c->tls_client_ca) check_file(ctx, "tls-client-ca", c->tls_client_ca, &bad);
    if (c->relay.host) check_file(ctx, "tls-ca", c->tls_ca, &bad);
    if (c->dnssec == DNSSEC_VALIDATE) check_file(ctx, "trust-anchor", c->trust_anchor, &bad);
    if (c->relay.password_file && file_check_secret(c->relay.password_file, &e) != OK)
        warnf(ctx, "relay: %s", e.msg), bad++;
    if (c->user && !getpwnam(c->user)) warnf(ctx, "user: there is no user \"%s\"", c->user), bad++;
    if (directory_open(c, &d, &e) != OK) {
        warnf(ctx, "%s", e.msg);
        return bad + 1;
    }
    if (accounts_walk(d.accounts, NULL, NULL, &e) != OK) warnf(ctx, "accounts: %s", e.msg), bad++;
    if (aliases_check(d.aliases, &count, &e) != OK) warnf(ctx, "aliases: %s", e.msg), bad++;
    directory_close(&d);
    return bad;
}

static int run(struct context *ctx, const void *p) {
    const struct args *args = p;
    const char *what = ctx->operand_count > 0 ? ctx->operands[0] : "show";
    size_t i = 0;

    /* Getting here means that the settings were read without an error. */
    if (strcmp(what, "check") == 0) {
        if (check_world(ctx) > 0) return EX_CONFIG;
        fprintf(ctx->out, "%s: ok\n", ctx->conf->file ? ctx->conf->file : "defaults");
        return EX_OK;
    }
    if (strcmp(what, "show") != 0)
        return failf(ctx, EX_USAGE, "\"%s\" is neither check nor show", what);
    for (const struct setting *s = conf_settings; s->name; s++, i++) {
        const char *text = ctx->conf->text[i];

        if (args->json) show_json(ctx, s, i);
        else if (args->origin)
            fprintf(ctx->out, "%-20s %-36s # %s\n", s->name, text ? text : "-",
                    ctx->conf->origin[i]);
        else if (text) fprintf(ctx->out, "%-20s %s\n", s->name, text);
    }
    return EX_OK;
}

const struct applet applet_config = {
    .name = "config",
    .summary = "check the settings, or show them and where they come from",
    .operands = "check|show",
    .opts = opts,
    .args_size = sizeof(struct args),
    .settings = "hostname domain data user listen tls tls-ca relay relay-from relay-tls relay-auth "
                "relay-token-command resolver "
                "dnssec trust-anchor accounts "
                "aliases drop-dir mx-port "
                "message-size-limit queue-lifetime retry plaintext-auth log",
    .exits = exits,
    .max_operands = 1,
    .run = run,
};
