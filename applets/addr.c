/* addr: read addresses as mail headers have them, and print their parts. RFC 5322 3.4, RFC 6854,
 * RFC 2047. */
#include <sysexits.h>

#include "base/json.h"
#include "cli/applet.h"
#include "cli/exit.h"
#include "mime/address.h"
#include "mime/encword.h"
#include "sys/file.h"

struct args {
    bool json;
};

static const struct opt opts[] = {
    FLAG(0, "json", json, "one JSON object per address: name, local, domain, group"),
    OPT_END,
};

static const struct exit_doc exits[] = {
    {0, "every address could be read"},
    {64, "the command line is wrong"},
    {65, "some could not; those that could are printed"},
    {0, NULL},
};

static void print(struct context *ctx, const struct address *ad, struct slice group, bool as_json) {
    struct buf out;
    struct json j;

    buf_init(&out, 1024 * 1024);
    if (as_json) {
        struct buf name;

        buf_init(&name, 64 * 1024);
        encword_decode(&name, ad->name);
        json_init(&j, &out);
        json_object(&j, NULL);
        json_int(&j, "v", 1);
        json_str_or_null(&j, "name", buf_slice(&name));
        json_str(&j, "local", ad->local);
        json_str_or_null(&j, "domain", ad->domain);
        json_str_or_null(&j, "group", group);
        json_line(&j);
        buf_release(&name);
    } else {
        address_put_spec(&out, ad);
        buf_addc(&out, '\n');
    }
    fwrite(out.p, 1, out.n, ctx->out);
    buf_release(&out);
}

static int list(struct context *ctx, struct slice text, bool as_json) {
    struct address_list l = {0};
    struct slice group = {0};
    struct arena a;
    struct err e = {0};
    enum err_code code;
    int status;

    arena_init(&a, 64 * 1024 * 1024);
    code = address_parse(&a, text, &l, &e);
    for (size_t i = 0; i < l.n; i++) {
        if (l.v[i].kind == ADDRESS_GROUP) group = l.v[i].name;
        else if (l.v[i].kind == ADDRESS_GROUP_END) group = (struct slice){0};
        else print(ctx, &l.v[i], group, as_json);
    }
    status = code == OK ? EX_OK : fail(ctx, &e);
    arena_release(&a);
    return status;
}

static int run(struct context *ctx, const void *p) {
    const struct args *args = p;
    struct buf text;
    struct err e = {0};
    int status = EX_OK;

    for (int i = 0; i < ctx->operand_count; i++) {
        int one = list(ctx, slice_str(ctx->operands[i]), args->json);

        if (one != EX_OK) status = one;
    }
    if (ctx->operand_count > 0) return status;
    buf_init(&text, ADDRESS_BYTES_MAX);
    status = file_read_fd(fileno(ctx->in), "standard input", &text, &e) == OK
                 ? list(ctx, slice_trim(buf_slice(&text)), args->json)
                 : fail(ctx, &e);
    buf_release(&text);
    return status;
}

const struct applet applet_addr = {
    .name = "addr",
    .summary = "read addresses as mail headers have them",
    .about = "Each operand, or else standard input, is an address list as in a To field:\n"
             "names, quoted strings, comments and groups are understood.\n"
             "One address is printed per line, without its name.",
    .operands = "[ADDRESS-LIST...]",
    .opts = opts,
    .args_size = sizeof(struct args),
    .exits = exits,
    .max_operands = -1,
    .run = run,
};
