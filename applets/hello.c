/* hello: the template of an applet; built by `make debug` only, and in no list. Say what it is for
 * and which RFCs it answers to, then its data, then its deed. A line APPLET(hello) in
 * applets/list.h would make it real. */
#include <sysexits.h>

#include "cli/applet.h"

struct args {
    bool loud;
};

static const struct opt opts[] = {
    FLAG('l', "loud", loud, "say it loudly"),
    OPT_END,
};

static const struct exit_doc exits[] = {
    {0, "it was said"},
    {64, "the command line is wrong"},
    {0, NULL},
};

static int run(struct context *ctx, const void *p) {
    const struct args *args = p;

    for (int i = 0; i < ctx->operand_count; i++)
        fprintf(ctx->out, "hello, %s%s\n", ctx->operands[i], args->loud ? "!" : "");
    return EX_OK;
}

extern const struct applet applet_hello;
const struct applet applet_hello = {
    .name = "hello",
    .summary = "greet",
    .operands = "NAME...",
    .opts = opts,
    .args_size = sizeof(struct args),
    .exits = exits,
    .min_operands = 1,
    .max_operands = -1,
    .run = run,
};
