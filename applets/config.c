/* config: check the settings, or show them with where each comes from. */
#include <sysexits.h>

#include "base/json.h"
#include "cli/applet.h"

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

static int run(struct context *ctx, const void *p) {
    const struct args *args = p;
    const char *what = ctx->operand_count > 0 ? ctx->operands[0] : "show";
    size_t i = 0;

    /* Getting here means that the settings were read without an error. */
    if (strcmp(what, "check") == 0) {
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
    .settings = "hostname domain data user listen tls tls-ca relay relay-from relay-tls resolver "
                "dnssec trust-anchor accounts "
                "aliases mx-port "
                "message-size-limit queue-lifetime retry plaintext-auth log",
    .exits = exits,
    .max_operands = 1,
    .run = run,
};
