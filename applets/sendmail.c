/* sendmail: the sendmail(8) contract. A message on standard input goes into the queue, durable when
 * this exits; or, with --now, straight to its hosts. RFC 5322 (header), RFC 3461 (DSN), RFC 6409 8
 * (what a submitter may add). */
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/json.h"
#include "base/num.h"
#include "cli/applet.h"
#include "cli/exit.h"
#include "cli/trace.h"
#include "deliver/drop.h"
#include "deliver/rcpt.h"
#include "serve/instance.h"
#include "smtp/param.h"
#include "submit/compose.h"
#include "submit/now.h"
#include "sys/clock.h"

enum { REPORT_AUTO, REPORT_NONE, REPORT_TEXT, REPORT_JSON };
static const char *const report_words[] = {"auto", "none", "text", "json", NULL};

struct args {
    const char *mode, *from, *from2, *full_name, *notify, *ret, *envid, *body, *queue, *tag,
        *protocol, *xfile, *dfile, *compat, *hops, *html, *debug;
    struct opt_list options, long_options, attach;
    int report;
    bool recipients, dot, now, verbose, gateway, aliases, metoo, verbose_n, utf8, json, dry_run;
};

static const struct opt opts[] = {
    FLAG('t', NULL, recipients, "take recipients from To, Cc and Bcc, beside those given"),
    FLAG('i', NULL, dot, "a line with only a dot does not end the message"),
    TEXT('f', NULL, from, "ADDRESS", "envelope sender; '' or <> is the null sender"),
    TEXT('r', NULL, from2, "ADDRESS", "the same"),
    TEXT('F', NULL, full_name, "NAME", "full name for a From field that is made"),
    LIST('a', "attach", attach, "FILE", "attach FILE; may be repeated"),
    TEXT(0, "html", html, "FILE", "FILE is the message in HTML, beside the text"),
    FLAG(0, "now", now, "deliver now; what fails for now goes into the queue"),
    FLAG(0, "dry-run", dry_run, "say what would be sent where; send and write nothing"),
    ENUM(0, "report", report, report_words, "FORMAT",
         "with --now: tell each recipient's outcome as text or json, or none"),
    FLAG(0, "json", json, "the same as --report json"),
    FLAG('v', NULL, verbose, "show the dialogue on standard error"),
    PREFIX('b', mode, "MODE",
           "m deliver (default), s SMTP on standard input, p list the queue, i check aliases, v "
           "verify addresses, d or D serve"),
    FLAG('I', NULL, aliases, NULL), /* as -bi */
    MAYBE('q', NULL, queue, "SELECT",
          "run the queue: -q, -qIID, -qRRCPT, -qSSENDER, -q30m to stay and run it again"),
    TEXT('N', NULL, notify, "WHEN", "DSN: never, or success,failure,delay"),
    TEXT('R', NULL, ret, "WHAT", "DSN: return full or hdrs"),
    TEXT('V', NULL, envid, "ID", "DSN: envelope identifier"),
    LIST('o', NULL, options, "OPTION",
         "historic: i as -i, ee exit with 0, eq say nothing; others have no effect"),
    LIST('O', NULL, long_options, "OPTION=VALUE", "historic options without effect"),
    TEXT('B', NULL, body, "TYPE", "7BIT or 8BITMIME; the truth is found in the message"),
    TEXT('L', NULL, tag, "TAG", NULL),
    TEXT('p', NULL, protocol, "PROTOCOL", NULL),
    TEXT('X', NULL, xfile, "FILE", NULL),
    TEXT('D', NULL, dfile, "FILE", NULL),
    TEXT('h', NULL, hops, "N", NULL),
    FLAG('G', NULL, gateway, NULL),
    FLAG('m', NULL, metoo, NULL),
    FLAG('n', NULL, verbose_n, NULL), /* historic: no aliases */
    FLAG('U', NULL, utf8, NULL),
    MAYBE('A', NULL, compat, "c|m", NULL),
    MAYBE('d', NULL, debug, "LEVEL", NULL),
    OPT_END,
};

static const struct exit_doc exits[] = {
    {0, "the message is on disk in the queue; or with --now each recipient has it or is queued"},
    {64, "the command line is wrong, or there is no recipient"},
    {65, "an address or the message cannot be used, or it is too large"},
    {66, "a file to attach is not there"},
    {67, "-bv: there is no such user"},
    {69, "--now: a recipient was refused for good; the others were delivered or queued"},
    {75, "try again: no space, or --now could neither deliver nor queue"},
    {77, "this user may write neither the queue nor the drop directory"},
    {78, "a setting is wrong"},
    {0, NULL},
};

/* A historic option -oX, the last of a kind. */
static bool has_option(const struct args *args, const char *name) {
    for (size_t i = 0; i < args->options.n; i++)
        if (strcmp(args->options.v[i], name) == 0) return true;
    return false;
}

/* --- telling
 * --------------------------------------------------------------------------------------------- */

struct telling {
    struct context *ctx;
    bool json, says_all, is_silent;
};

static void put_line(struct context *ctx, struct json *j, struct buf *out) {
    json_line(j);
    fwrite(out->p, 1, out->n, ctx->out);
    buf_release(out);
}

static void tell_json(struct context *ctx, struct slice rcpt, const struct verdict *v) {
    struct buf out, record;
    struct json j;

    buf_init(&out, 64 * 1024);
    json_init(&j, &out);
    json_object(&j, NULL);
    json_int(&j, "v", 1);
    json_str(&j, "recipient", rcpt);
    json_str(&j, "result",
             !v                                 ? S("queued")
             : v->class == SMTP_CLASS_OK        ? S("delivered")
             : v->class == SMTP_CLASS_PERMANENT ? S("failed")
                                                : S("deferred"));
    if (v) {
        buf_init(&record, ATTEMPT_DETAIL_MAX * 2);
        verdict_json(v, 1, clock_wall(), &record);
        /* The record is an object with "v" in front: its other members join this one. */
        if (slice_starts(buf_slice(&record), S("{\"v\":1,")))
            buf_addf(&out, ",%.*s",
                     SP(slice_first(slice_from(buf_slice(&record), 7), record.n - 8)));
        buf_release(&record);
    }
    json_end(&j);
    put_line(ctx, &j, &out);
}

static void tell(void *p, struct slice rcpt, const struct verdict *v) {
    static const char *const words[] = {"delivered", "deferred", "failed"};
    struct telling *t = p;
    struct buf text;

    if (t->json) {
        tell_json(t->ctx, rcpt, v);
    } else if (v && !t->is_silent && (v->class != SMTP_CLASS_OK || t->says_all)) {
        buf_init(&text, 8192);
        verdict_reply(v, &text);
        warnf(t->ctx, "%.*s: %s: %s%s%.*s", SP(rcpt), words[v->class], v->host,
              v->host[0] ? ": " : "", SP(buf_slice(&text)));
        buf_release(&text);
    }
}

/* --- sending
 * --------------------------------------------------------------------------------------------- */

static int store(struct context *ctx, struct submission *s) {
    enum submission_where where;
    struct err e = {0};

    return submission_store(s, &where, &e) == OK ? EX_OK : fail(ctx, &e);
}

static int send_now(struct context *ctx, const struct args *args, struct submission *s) {
    struct trace trace = {.out = ctx->err};
    struct telling t = {.ctx = ctx,
                        .json = args->json || args->report == REPORT_JSON,
                        .says_all = args->verbose || args->report == REPORT_TEXT,
                        .is_silent = args->report == REPORT_NONE || has_option(args, "eq")};
    struct now_result r;
    enum submission_where where;
    struct err e = {0}, full = {0};

    ctx->log.level = LEVEL_ERROR;
    if (now_send(s, args->verbose ? trace_bytes : NULL, &trace, tell, &t, &r, &e) != OK) {
        /* Not to be tried from here is no reason to lose the message: the queue takes it. */
        warnf(ctx, "%s", e.msg);
        if (e.code != ERR_DENIED && e.code != ERR_LIBRARY) return exit_of(&e);
    }
    if (r.later > 0 && submission_store(s, &where, &full) != OK)
        return failf(ctx, EX_TEMPFAIL, "%zu recipient%s failed for now, and queueing too: %s",
                     r.later, r.later == 1 ? "" : "s", full.msg);
    if (r.later > 0 && !t.json && !t.is_silent) warnf(ctx, "queued as %s for another try", s->id);
    return r.failed ? EX_UNAVAILABLE : EX_OK;
}

static enum err_code set_dsn(struct submission *s, const struct args *args, struct err *e) {
    unsigned notify = 0;

    if (args->notify) {
        struct buf upper;

        buf_init(&upper, 64);
        for (const char *p = args->notify; *p; p++) buf_addc(&upper, ascii_upper(*p));
        if (upper.bad || !smtp_notify_parse(buf_slice(&upper), &notify)) {
            buf_release(&upper);
            return err_set(e, ERR_USAGE, "-N takes never, or success,failure,delay, not \"%s\"",
                           args->notify);
        }
        buf_release(&upper);
    }
    for (size_t i = 0; i < s->env.rcpt_count; i++) s->env.rcpts[i].notify = (uint8_t)notify;
    if (args->ret) {
        if (slice_ieq(slice_str(args->ret), S("full"))) s->env.ret = RET_FULL;
        else if (slice_ieq(slice_str(args->ret), S("hdrs"))) s->env.ret = RET_HDRS;
        else return err_set(e, ERR_USAGE, "-R takes full or hdrs, not \"%s\"", args->ret);
    }
    if (args->envid) {
        struct buf xtext;

        buf_init(&xtext, 100);
        if (!smtp_xtext_put(&xtext, slice_str(args->envid))) {
            buf_release(&xtext);
            return err_set(e, ERR_USAGE, "-V: the identifier is longer than 100 characters");
        }
        s->env.envid = arena_copy(&s->arena, buf_slice(&xtext));
        buf_release(&xtext);
    }
    return OK;
}

static enum err_code operand_rcpts(struct context *ctx, struct submission *s, struct err *e) {
    enum err_code code = OK;

    for (int i = 0; code == OK && i < ctx->operand_count; i++) {
        const char *text = ctx->operands[i];

        /* Options behind an address are not options; mail to "-f" is never what was meant. */
        if (text[0] == '-' && !strchr(text, '@'))
            return err_set(e, ERR_USAGE,
                           "\"%s\" behind an address is no address; put options first", text);
        code = submission_rcpts(s, slice_str(text), e);
    }
    return code;
}

static enum err_code prepare(struct context *ctx, const struct args *args, struct submission *s,
                             struct err *e) {
    struct compose c = {.html = args->html, .files = args->attach.v, .count = args->attach.n};
    bool dot_ends = !args->dot && !has_option(args, "i");
    enum err_code code = submission_sender(s, args->from ? args->from : args->from2, e);

    s->full_name = args->full_name;
    if (code == OK) code = operand_rcpts(ctx, s, e);
    if (code == OK && s->env.rcpt_count == 0 && !args->recipients)
        return err_set(e, ERR_USAGE, "no recipient: name some, or use -t");
    if (code == OK) code = submission_read(s, ctx->in, dot_ends, e);
    if (code == OK && args->recipients) code = submission_header_rcpts(s, e);
    if (code == OK && s->unread.n && s->env.rcpt_count && !has_option(args, "eq"))
        warnf(ctx, "no mail goes to what is not an address in: %.*s",
              SP(slice_first(s->unread, 200)));
    if (code == OK && s->env.rcpt_count == 0)
        return err_set(e, ERR_SYNTAX, "the header names no recipient");
    if (code == OK) code = set_dsn(s, args, e);
    if (code == OK && (c.html || c.count)) code = compose_mime(s, &c, e);
    return code == OK ? submission_finish(s, e) : code;
}

/* --- dry run: what would happen
 * ----------------------------------------------------------------------------------------------
 */

struct dry {
    struct context *ctx;
    struct submission *s;
    struct directory directory;
    struct resolver *resolver;
    bool json, is_bad;
};

static void put_hosts(struct dry *d, const struct route *route, struct json *j) {
    if (j) json_array(j, "hosts");
    for (size_t i = 0; i < route->host_count; i++) {
        const struct route_host *h = &route->hosts[i];
        char text[ADDR_TEXT_MAX];

        if (h->is_self) break;
        if (j) {
            json_object(j, NULL);
            json_str(j, "name", slice_str(h->name));
            json_array(j, "addresses");
        } else {
            fprintf(d->ctx->out, "%s%s", i ? ", " : " ", h->name);
        }
        for (size_t k = 0; k < h->addr_count; k++) {
            if (j) json_str(j, NULL, slice_str(addr_text(&h->addrs[k], text)));
            else fprintf(d->ctx->out, " [%s]", addr_text(&h->addrs[k], text));
        }
        if (j) json_end(j), json_end(j);
    }
    if (j) json_end(j);
}

/* One end of a recipient: a mailbox here, or the way to elsewhere. */
static void dry_end(struct dry *d, struct slice rcpt, const struct rcpt_end *end,
                    const struct err *why) {
    FILE *out = d->ctx->out;
    struct slice domain = end ? slice_from(end->address, slice_rchr(end->address, '@') + 1) : rcpt;
    struct route route = {0};
    struct err e = {0};
    struct buf text;
    struct json j, *json = d->json ? &j : NULL;
    const char *what = "route";

    if (end && rcpt_end_is_remote(end) &&
        route_find(d->resolver, d->ctx->conf, domain, true, &d->s->arena, &route, &e) != OK) {
        route.code = e.code;
        route.err = e;
    }
    if (!end) what = "error";
    else if (end->is_dead) what = "no such user", why = NULL;
    else if (end->is_local) what = "mailbox";
    else if (end->is_program) what = "command or file";
    else if (route.code != OK) what = "no route", why = &route.err;
    d->is_bad |= !end || end->is_dead || (why && !err_is_temporary(why));
    if (json) {
        buf_init(&text, 64 * 1024);
        json_init(json, &text);
        json_object(json, NULL);
        json_int(json, "v", 1);
        json_str(json, "recipient", rcpt);
        if (end) json_str(json, "address", end->address);
        json_str(json, "result", slice_str(what));
        if (why) json_str(json, "why", slice_str(why->msg));
        if (end && rcpt_end_is_remote(end)) {
            json_str(json, "route", slice_str(route_kind_name(route.kind)));
            put_hosts(d, &route, json);
        }
        json_end(json);
        put_line(d->ctx, json, &text);
        return;
    }
    fprintf(out, "to       %.*s", SP(rcpt));
    if (end && !slice_eq(end->address, rcpt)) fprintf(out, " -> %.*s", SP(end->address));
    if (why) fprintf(out, ": %s: %s\n", what, why->msg);
    else if (end && !rcpt_end_is_remote(end)) fprintf(out, ": %s\n", what);
    else {
        fprintf(out, ": %s", route_kind_name(route.kind));
        put_hosts(d, &route, NULL);
        fputc('\n', out);
    }
}

static void dry_rcpt(struct dry *d, struct slice rcpt) {
    struct slice domain = slice_from(rcpt, slice_rchr(rcpt, '@') + 1);
    struct rcpt_end *ends, one = {.address = rcpt};
    struct err e = {0};
    size_t count;

    if (!directory_is_local(&d->directory, domain)) {
        dry_end(d, rcpt, &one, NULL);
    } else if (directory_expand(&d->directory, rcpt, &d->s->arena, &ends, &count, &e) != OK) {
        dry_end(d, rcpt, NULL, &e);
    } else {
        for (size_t i = 0; i < count; i++) dry_end(d, rcpt, &ends[i], NULL);
    }
}

static void dry_message(struct dry *d) {
    struct submission *s = d->s;
    struct slice rest = buf_slice(&s->added), line;

    if (d->json) {
        struct buf text;
        struct json j;

        buf_init(&text, 256 * 1024);
        json_init(&j, &text);
        json_object(&j, NULL);
        json_int(&j, "v", 1);
        json_str(&j, "sender", s->env.sender);
        json_int(&j, "size", (int64_t)(s->head.n + s->body.size));
        json_bool(&j, "is_8bit", s->env.is_8bit);
        json_bool(&j, "is_smtputf8", s->env.is_smtputf8);
        json_bool(&j, "is_reencoded", s->is_reencoded);
        json_array(&j, "added");
        while (slice_line(&rest, &line)) json_str(&j, NULL, line);
        json_end(&j);
        json_end(&j);
        put_line(d->ctx, &j, &text);
        return;
    }
    fprintf(d->ctx->out, "from     <%.*s>\nsize     %llu octets%s%s%s\n", SP(s->env.sender),
            (unsigned long long)(s->head.n + s->body.size), s->env.is_8bit ? ", 8-bit" : "",
            s->env.is_smtputf8 ? ", SMTPUTF8" : "",
            s->is_reencoded ? ", encoded anew to be legal" : "");
    while (slice_line(&rest, &line)) fprintf(d->ctx->out, "adds     %.*s\n", SP(line));
}

/* Nothing is written, nobody is connected to; DNS is asked. */
static int dry_run(struct context *ctx, const struct args *args, struct submission *s) {
    struct dry d = {.ctx = ctx, .s = s, .json = args->json || args->report == REPORT_JSON};
    struct err e = {0};

    if (directory_open(ctx->conf, &d.directory, &e) != OK) return fail(ctx, &e);
    if (resolver_new(ctx->conf, &d.resolver, &e) != OK) {
        directory_close(&d.directory);
        return fail(ctx, &e);
    }
    dry_message(&d);
    for (size_t i = 0; i < s->env.rcpt_count; i++) dry_rcpt(&d, s->env.rcpts[i].address);
    resolver_free(d.resolver);
    directory_close(&d.directory);
    return d.is_bad ? EX_UNAVAILABLE : EX_OK;
}

static int send_message(struct context *ctx, const struct args *args) {
    struct submission s;
    struct err e = {0};
    int status;

    submission_init(&s, ctx->conf, &ctx->log);
    if (prepare(ctx, args, &s, &e) != OK) status = fail(ctx, &e);
    else if (args->dry_run) status = dry_run(ctx, args, &s);
    else if (args->now) status = send_now(ctx, args, &s);
    else status = store(ctx, &s);
    submission_release(&s);
    return has_option(args, "ee") ? EX_OK : status;
}

/* --- the other modes
 * ---------------------------------------------------------------------------------------- */

static int check_aliases(struct context *ctx) {
    struct aliases *a;
    struct err e = {0};
    size_t count = 0;
    enum err_code code = aliases_new(ctx->conf->aliases, ctx->conf->alias_commands, &a, &e);

    if (code != OK) return fail(ctx, &e);
    code = aliases_check(a, &count, &e);
    aliases_free(a);
    if (code != OK) return fail(ctx, &e);
    fprintf(ctx->out, "%s: %zu alias%s\n", ctx->conf->aliases, count, count == 1 ? "" : "es");
    return EX_OK;
}

static int verify(struct context *ctx) {
    struct directory d;
    struct arena a;
    struct err e = {0};
    int status = EX_OK;

    if (ctx->operand_count == 0) return failf(ctx, EX_USAGE, "-bv wants addresses");
    if (directory_open(ctx->conf, &d, &e) != OK) return fail(ctx, &e);
    arena_init(&a, SUBMISSION_ARENA_MAX);
    for (int i = 0; i < ctx->operand_count; i++) {
        struct rcpt_end *ends;
        size_t count;

        if (directory_expand(&d, slice_str(ctx->operands[i]), &a, &ends, &count, &e) != OK) {
            status = fail(ctx, &e);
            continue;
        }
        for (size_t k = 0; k < count; k++)
            fprintf(ctx->out, "%s: %s %.*s\n", ctx->operands[i],
                    ends[k].is_dead      ? "no such user"
                    : ends[k].is_local   ? "mailbox"
                    : ends[k].is_program ? "command or file"
                                         : "elsewhere",
                    SP(ends[k].address));
    }
    arena_release(&a);
    directory_close(&d);
    return status;
}

/* For a user who may not write the queue each message goes into the drop directory. */
static int smtp_into_drop(struct context *ctx, const struct err *why) {
    struct directory none = {.conf = ctx->conf};
    struct instance i = {.conf = ctx->conf, .log = &ctx->log};
    struct err e = {0};

    i.server.conf = ctx->conf;
    i.server.log = &ctx->log;
    i.server.directory = &none;
    i.server.trusts_stdio = true;
    i.server.drop = drop_dir(ctx->conf);
    if (!i.server.drop || access(i.server.drop, W_OK | X_OK) < 0) return fail(ctx, why);
    return instance_stdio(&i, SERVICE_SUBMISSION, NULL, &e) == OK ? EX_OK : fail(ctx, &e);
}

static int smtp_on_stdio(struct context *ctx) {
    struct instance i;
    struct err e = {0};
    bool made;
    enum err_code code;

    ctx->log.level = LEVEL_ERROR;
    code = instance_open(ctx->conf, &ctx->log, false, &i, &made, &e);
    if (code == ERR_DENIED) return smtp_into_drop(ctx, &e);
    if (code != OK) return fail(ctx, &e);
    i.server.trusts_stdio = true;
    code = instance_stdio(&i, SERVICE_SUBMISSION, NULL, &e);
    instance_close(&i);
    return code == OK ? EX_OK : fail(ctx, &e);
}

/* Another applet with the same settings, and up to four words of its own. */
static int become(struct context *ctx, const char *name, const char *const *words) {
    static char data[4200];
    char *argv[12] = {NULL};
    int argc = 0;

    snprintf(data, sizeof data, "--data=%s", ctx->conf->data);
    argv[argc++] = (char *)(uintptr_t)name;
    if (ctx->conf->file) {
        argv[argc++] = (char *)(uintptr_t) "-C";
        argv[argc++] = (char *)(uintptr_t)ctx->conf->file;
    }
    argv[argc++] = data;
    for (; words && *words && argc < 8; words++) argv[argc++] = (char *)(uintptr_t)*words;
    return applet_main(applet_find(name), argc, argv);
}

/* -q alone, -qf; -q30m; -qIid -qRrcpt -qSsender, each a part of the address; -q! and -qL, -qQ (lost
 * and quarantined mail) are sendmail's own. */
static int run_queue(struct context *ctx, const char *how) {
    uint64_t seconds;

    if (*how == 0 || strcmp(how, "f") == 0) return become(ctx, "queue-run", NULL);
    if (num_duration(slice_str(how), 365 * 86400, &seconds) && seconds > 0)
        return become(ctx, "queue-run", (const char *const[]){"--daemon", "--interval", how, NULL});
    if (how[0] == 'I' && how[1])
        return become(ctx, "queue-run", (const char *const[]){"--all", "--", how + 1, NULL});
    if (how[0] == 'R' && how[1])
        return become(ctx, "queue-run",
                      (const char *const[]){"--all", "--recipient", how + 1, NULL});
    if (how[0] == 'S' && how[1])
        return become(ctx, "queue-run", (const char *const[]){"--all", "--sender", how + 1, NULL});
    return failf(ctx, EX_USAGE, "-q%s is not supported; use -q, -qTIME, -qI, -qR or -qS", how);
}

static int run(struct context *ctx, const void *p) {
    const struct args *args = p;
    const char *mode = args->mode ? args->mode : "m";

    if (strcmp(ctx->name, "newaliases") == 0 || args->aliases) return check_aliases(ctx);
    if (args->queue && !args->mode) return run_queue(ctx, args->queue);
    if (strlen(mode) == 1) {
        switch (mode[0]) {
        case 'm': return send_message(ctx, args);
        case 's': return smtp_on_stdio(ctx);
        case 'p': return become(ctx, "mailq", NULL);
        case 'i': return check_aliases(ctx);
        case 'v': return verify(ctx);
        case 'd':
        case 'D':
        case 'l': return become(ctx, "serve", NULL);
        default: break;
        }
    }
    return failf(ctx, EX_USAGE, "-b%s is not supported; use -bm, -bs, -bp, -bi, -bv or -bd", mode);
}

const struct applet applet_sendmail = {
    .name = "sendmail",
    .aliases = "newaliases",
    .summary = "send the message on standard input",
    .operands = "[RECIPIENT...]",
    .opts = opts,
    .args_size = sizeof(struct args),
    .settings = "data hostname domain relay relay-tls relay-auth relay-token-command destination "
                "mta-sts tls-ca resolver dnssec "
                "trust-anchor accounts aliases "
                "drop-dir mx-port message-size-limit plaintext-auth log",
    .exits = exits,
    .max_operands = -1,
    .stops_at_operand = true,
    .run = run,
};
