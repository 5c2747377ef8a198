#include "cli/applet.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "cli/exit.h"

enum { ARGS_ROOM = 8192 };

const struct applet *applet_find(const char *name) {
    for (const struct applet *const *a = applet_table; *a; a++) {
        struct slice rest = slice_str((*a)->aliases), word;

        if (strcmp((*a)->name, name) == 0) return *a;
        while (slice_word(&rest, &word))
            if (slice_eq(word, slice_str(name))) return *a;
    }
    return NULL;
}

static void say(struct context *ctx, const char *fmt, va_list ap) {
    char text[600];

    vsnprintf(text, sizeof text, fmt, ap);
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < 32 || *p == 127) *p = '?';
    fflush(ctx->out);
    fprintf(ctx->err, "postbag %s: %s\n", ctx->name, text);
}

void warnf(struct context *ctx, const char *fmt, ...) {
    va_list ap;

    va_start(ap, fmt);
    say(ctx, fmt, ap);
    va_end(ap);
}

int failf(struct context *ctx, int status, const char *fmt, ...) {
    va_list ap;

    va_start(ap, fmt);
    say(ctx, fmt, ap);
    va_end(ap);
    return status;
}

int fail(struct context *ctx, const struct err *e) {
    warnf(ctx, "%s", e->msg);
    return exit_of(e);
}

/* The journal tells a service by JOURNAL_STREAM which device and inode its stderr has. */
static bool stderr_is_journal(void) {
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat st;
    char own[64];

    if (!stream || fstat(2, &st) < 0) return false;
    snprintf(own, sizeof own, "%llu:%llu", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino);
    return strcmp(own, stream) == 0;
}

static enum log_format log_format_of(enum conf_log l) {
    switch (l) {
    case CONF_LOG_TEXT: return LOG_TEXT;
    case CONF_LOG_JSON: return LOG_JSON;
    case CONF_LOG_JOURNAL: return LOG_JOURNAL;
    case CONF_LOG_NONE: return LOG_NONE;
    case CONF_LOG_AUTO: break;
    }
    return stderr_is_journal() ? LOG_JOURNAL : LOG_TEXT;
}

/* `*has_conf`: the settings were begun, and are to be released. */
static int run(struct context *ctx, int argc, char **argv, void *args, bool *has_conf) {
    struct opt_result r;
    struct err e = {0};

    if (opt_parse(ctx->applet, argc, argv, args, &r, &e) != OK) return fail(ctx, &e);
    if (r.help) {
        static char page[8192]; /* help is asked for often, and all of it is one write */

        setvbuf(ctx->out, page, _IOFBF, sizeof page);
        applet_help(ctx->applet, ctx->out);
        return EX_OK;
    }
    if (r.version) {
        fprintf(ctx->out, "postbag %s\n", POSTBAG_VERSION);
        return EX_OK;
    }
    conf_init(ctx->conf);
    *has_conf = true;
    if (conf_load(ctx->conf, r.config, &e) != OK) return fail(ctx, &e);
    for (size_t i = 0; i < r.sets; i++) {
        char origin[80];

        snprintf(origin, sizeof origin, "--%s", r.set[i].name);
        if (conf_set(ctx->conf, r.set[i].name, r.set[i].value, origin, &e) != OK) {
            err_note(&e, "%s", origin);
            e.code = ERR_USAGE;
            return fail(ctx, &e);
        }
    }
    if (conf_finish(ctx->conf, &e) != OK) return fail(ctx, &e);
    log_init(&ctx->log, STDERR_FILENO, log_format_of(ctx->conf->log), ctx->name);
    ctx->operands = r.operands;
    ctx->operand_count = r.operand_count;
    return ctx->applet->run(ctx, args);
}

int applet_main(const struct applet *a, int argc, char **argv) {
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    struct conf conf;
    struct context ctx = {.applet = a, .conf = &conf, .in = stdin, .out = stdout, .err = stderr};
    static max_align_t room[ARGS_ROOM / sizeof(max_align_t)]; /* enough for most, and no malloc */
    static bool is_taken; /* an applet that calls another one needs memory of its own */
    void *args = !is_taken && a->args_size <= sizeof room ? room : calloc(1, a->args_size + 1);
    bool has_conf = false;
    int status;

    is_taken = true;
    ctx.name = slash ? slash + 1 : argc > 0 ? argv[0] : a->name;
    if (applet_find(ctx.name) != a) ctx.name = a->name;
    if (!args) return failf(&ctx, EX_OSERR, "no memory");
    status = run(&ctx, argc, argv, args, &has_conf);
    if (has_conf) conf_release(&conf);
    if (args != room) free(args);
    if ((fflush(stdout) != 0 || ferror(stdout)) && errno != EPIPE && status == EX_OK) {
        struct err e;

        err_sys(&e, "cannot write to standard output");
        status = fail(&ctx, &e) == EX_TEMPFAIL ? EX_TEMPFAIL : EX_IOERR;
    }
    return status;
}
