/* account: add and remove accounts and set their passwords in the account file. */
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "auth/accounts.h"
#include "auth/password.h"
#include "base/json.h"
#include "cli/applet.h"
#include "cli/exit.h"
#include "cli/secret.h"
#include "store/store.h"
#include "sys/file.h"

enum { SCHEME_YESCRYPT, SCHEME_SCRAM };
static const char *const schemes[] = {"yescrypt", "scram-sha-256", NULL};

struct args {
    const char *home;
    bool json;
    int scheme;
};

static const struct opt opts[] = {
    TEXT(0, "home", home, "DIR", "add: keep the mail in DIR/Maildir instead of the data directory"),
    ENUM(0, "scheme", scheme, schemes, "SCHEME",
         "add, password: store the password as yescrypt or as keys of scram-sha-256"),
    FLAG(0, "json", json, "list: one JSON object per line"),
    OPT_END,
};

static const struct exit_doc exits[] = {
    {0, "done; check: the password is right"},
    {64, "the command line is wrong"},
    {65, "the name or the password cannot be used"},
    {67, "there is no such account"},
    {73, "the account is there already"},
    {77, "check: the password is wrong; or the file may not be written"},
    {0, NULL},
};

/* One line from standard input; from a terminal without echo, and twice when it is new. */
static enum err_code read_password(struct context *ctx, bool is_new, struct buf *out,
                                   struct err *e) {
    enum err_code code;
    struct buf again;
    int c;

    if (isatty(STDIN_FILENO)) {
        code = secret_ask("password: ", out, e);
        buf_init(&again, PASSWORD_MAX);
        if (code == OK && is_new) code = secret_ask("the same again: ", &again, e);
        if (code == OK && is_new && !slice_eq(buf_slice(out), buf_slice(&again)))
            code = err_set(e, ERR_SYNTAX, "the two passwords differ; nothing was changed");
        secret_wipe(&again);
        if (code != OK) return code;
    } else {
        while ((c = getc(ctx->in)) != EOF && c != '\n') buf_addc(out, (char)c);
    }
    if (out->n > 0 && out->p[out->n - 1] == '\r') out->n--;
    if (out->bad)
        return err_set(e, ERR_SYNTAX, "the password is longer than %d bytes", PASSWORD_MAX);
    if (out->n == 0)
        return err_set(e, ERR_SYNTAX, "the password is empty; give it as a line on standard input");
    if (memchr(out->p, 0, out->n)) return err_set(e, ERR_SYNTAX, "the password has a NUL");
    return OK;
}

struct listing {
    struct context *ctx;
    bool json;
};

static void list_one(const struct account *a, void *p) {
    const struct listing *l = p;
    struct buf out;
    struct json j;

    if (!l->json) {
        fprintf(l->ctx->out, "%-32s %s/Maildir\n", a->name, a->home);
        return;
    }
    buf_init(&out, 64 * 1024);
    json_init(&j, &out);
    json_object(&j, NULL);
    json_int(&j, "v", 1);
    json_str(&j, "name", slice_str(a->name));
    json_str(&j, "home", slice_str(a->home));
    json_line(&j);
    fwrite(out.p, 1, out.n, l->ctx->out);
    buf_release(&out);
}

static enum err_code set_password(struct context *ctx, struct accounts *accounts, struct slice name,
                                  const char *home, int scheme, struct err *e) {
    struct buf password, stored;
    enum err_code code;

    buf_init(&password, PASSWORD_MAX);
    buf_init(&stored, 1024);
    code = read_password(ctx, true, &password, e);
    if (code == OK)
        code = scheme == SCHEME_SCRAM ? password_make_scram(buf_slice(&password), &stored, e)
                                      : password_make(buf_slice(&password), &stored, e);
    if (code == OK) code = accounts_put(accounts, name, buf_cstr(&stored), home, e);
    if (password.p) explicit_bzero(password.p, password.cap);
    buf_release(&password);
    buf_release(&stored);
    return code;
}

static enum err_code add(struct context *ctx, struct accounts *accounts, struct slice name,
                         const struct args *args, struct err *e) {
    struct account a;
    struct store *s;
    enum err_code code;

    if (accounts_find(accounts, name, &a, NULL) == OK)
        return err_set(e, ERR_EXISTS, "the account %s is there already", a.name);
    code = file_mkdirs(ctx->conf->data, 0700, e);
    if (code == OK)
        code = set_password(ctx, accounts, name, args->home ? args->home : "", args->scheme, e);
    if (code == OK) code = accounts_find(accounts, name, &a, e);
    if (code == OK) code = store_open(a.home, &s, e);
    if (code != OK) return code;
    code = store_create_defaults(s, e);
    store_close(s);
    if (code == OK) fprintf(ctx->out, "%s: mail in %s/Maildir\n", a.name, a.home);
    return code;
}

static enum err_code check(struct context *ctx, struct accounts *accounts, struct slice name,
                           struct err *e) {
    struct account a;
    struct buf password;
    enum err_code code;

    buf_init(&password, PASSWORD_MAX);
    code = read_password(ctx, false, &password, e);
    if (code == OK) code = accounts_login(accounts, name, buf_slice(&password), &a, e);
    if (password.p) explicit_bzero(password.p, password.cap);
    buf_release(&password);
    if (code == OK) fprintf(ctx->out, "%s: ok\n", a.name);
    return code;
}

static int run(struct context *ctx, const void *p) {
    const struct args *args = p;
    const char *verb = ctx->operands[0];
    struct slice name = slice_str(ctx->operand_count > 1 ? ctx->operands[1] : NULL);
    struct accounts *accounts;
    struct account a;
    struct err e = {0};
    enum err_code code;

    if (strcmp(verb, "list") != 0 && name.n == 0)
        return failf(ctx, EX_USAGE, "%s wants a NAME; see --help", verb);
    code = accounts_new(ctx->conf, &accounts, &e);
    if (code != OK) return fail(ctx, &e);
    if (strcmp(verb, "list") == 0)
        code = accounts_walk(accounts, list_one, &(struct listing){ctx, args->json}, &e);
    else if (strcmp(verb, "add") == 0) code = add(ctx, accounts, name, args, &e);
    else if (strcmp(verb, "remove") == 0) {
        code = accounts_find(accounts, name, &a, &e);
        if (code == OK) code = accounts_remove(accounts, name, &e);
        if (code == OK)
            fprintf(ctx->out, "%s: removed; the mail stays in %s/Maildir\n", a.name, a.home);
    } else if (strcmp(verb, "check") == 0) code = check(ctx, accounts, name, &e);
    else if (strcmp(verb, "password") == 0) {
        code = accounts_find(accounts, name, &a, &e);
        if (code == OK) code = set_password(ctx, accounts, name, NULL, args->scheme, &e);
        if (code == OK) fprintf(ctx->out, "%s: the password is changed\n", a.name);
    } else {
        code = err_set(&e, ERR_USAGE, "\"%s\" is not add, password, check, remove or list", verb);
    }
    accounts_free(accounts);
    return code == OK ? EX_OK : fail(ctx, &e);
}

const struct applet applet_account = {
    .name = "account",
    .summary = "add, remove and list accounts, and set their passwords",
    .operands = "add|password|check|remove|list [NAME]",
    .opts = opts,
    .args_size = sizeof(struct args),
    .settings = "data domain accounts",
    .exits = exits,
    .min_operands = 1,
    .max_operands = 2,
    .run = run,
};
