/* queue-run: one pass over the queue, or a look into it. By the name of mailq it lists as
 * sendmail(8)'s mailq does. RFC 5321 4.5.4.1 (retries), RFC 3464 (notifications). */
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/applet.h"
#include "cli/exit.h"
#include "deliver/drop.h"
#include "deliver/outbound.h"
#include "sys/clock.h"

enum { REQUEST_MS = 5000, PASS_S = 3600 };

struct args {
    bool list, show, hold, release, drop, explain, all, json, quiet;
    unsigned jobs, timeout;
};

static const struct opt opts[] = {
    FLAG('a', "all", all, "try every message now, also those whose time has not come"),
    UINT('j', "jobs", jobs, OUTBOUND_WORKERS_MAX, "N",
         "outgoing connections at once (default 100)"),
    TIME('t', "timeout", timeout, "TIME", "end the pass after this long (default 1h)"),
    FLAG('l', "list", list, "list the messages"),
    FLAG('s', "show", show, "print the message ID"),
    FLAG('x', "explain", explain,
         "tell the story of the message ID: every attempt and its outcome"),
    FLAG(0, "hold", hold, "keep the messages ID from being tried"),
    FLAG(0, "release", release, "let held messages ID go, at once"),
    FLAG(0, "drop", drop, "remove the messages ID without telling anybody"),
    FLAG('q', "quiet", quiet, "say nothing of the pass but errors: for cron"),
    FLAG(0, "json", json, "one JSON object per line"),
    OPT_END,
};

static const struct exit_doc exits[] = {
    {0, "the pass is done, or the request was carried out; what failed for now stays in the queue"},
    {64, "the command line is wrong"},
    {66, "there is no such message"},
    {75, "the pass ran out of time, or the process that holds a message did not answer"},
    {77, "the queue may not be read"},
    {78, "a setting is wrong"},
    {0, NULL},
};

/* --- looking
 * --------------------------------------------------------------------------------------------- */

struct listing {
    struct context *ctx;
    bool json, mailq;
    size_t count;
    uint64_t bytes;
};

static const char *state_name(uint8_t s) {
    return s == QUEUE_DELIVERED ? "delivered" : s == QUEUE_FAILED ? "failed" : "pending";
}

static void entry_json(struct listing *l, const struct queue_entry *q) {
    struct buf out;
    struct json j;

    buf_init(&out, 64 * 1024 * 1024);
    json_init(&j, &out);
    json_object(&j, NULL);
    json_int(&j, "v", 1);
    json_str(&j, "id", slice_str(q->id));
    json_time(&j, "arrived", q->env->arrived);
    json_str(&j, "from", q->env->sender);
    json_int(&j, "size", (int64_t)q->size);
    json_int(&j, "attempts", q->attempts);
    if (q->next) json_time(&j, "next", q->next);
    else json_null(&j, "next");
    json_bool(&j, "held", q->is_held);
    json_bool(&j, "leased", q->is_leased);
    json_array(&j, "recipients");
    for (size_t i = 0; i < q->env->rcpt_count; i++) {
        json_object(&j, NULL);
        json_str(&j, "address", q->env->rcpts[i].address);
        json_str(&j, "state", slice_str(state_name(q->state[i])));
        /* The decision record is JSON already; it goes in as it was written. */
        if (q->detail[i].n > 1) {
            json_null(&j, "last");
            buf_cut(&out, out.n - 4);
            buf_add(&out, q->detail[i]);
        }
        json_end(&j);
    }
    json_end(&j);
    json_line(&j);
    fwrite(out.p, 1, out.n, l->ctx->out);
    buf_release(&out);
}

/* The value of a text field in a record of ours, as JSON wrote it. */
static struct slice field_of(struct slice json, struct slice name) {
    size_t at = slice_find(json, name);
    struct slice rest = slice_from(json, at == SLICE_NONE ? json.n : at + name.n);

    for (size_t i = 0; i < rest.n; i++)
        if (rest.p[i] == '"' && (i == 0 || rest.p[i - 1] != '\\')) return slice_first(rest, i);
    return slice_first(rest, 0);
}

static bool list_one(const struct queue_entry *q, void *p) {
    struct listing *l = p;
    char when[64];
    time_t at = (time_t)q->env->arrived;
    struct tm tm;

    l->count++;
    l->bytes += q->size;
    if (l->json) {
        entry_json(l, q);
        return true;
    }
    if (l->count == 1)
        fputs(l->mailq ? "-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------\n"
                       : "ID              SIZE      AGE  NEXT  FROM\n",
              l->ctx->out);
    localtime_r(&at, &tm);
    strftime(when, sizeof when, "%a %b %e %H:%M:%S", &tm);
    if (l->mailq) {
        fprintf(l->ctx->out, "%s%c %8llu %s  %.*s\n", q->id, q->is_held ? '!' : ' ',
                (unsigned long long)q->size, when,
                SP(q->env->sender.n ? q->env->sender : S("MAILER-DAEMON")));
    } else {
        wall_t now = clock_wall(), age = now - q->env->arrived;
        char next[32];

        if (q->is_held) snprintf(next, sizeof next, "held");
        else if (q->next <= now) snprintf(next, sizeof next, "now");
        else snprintf(next, sizeof next, "%llds", (long long)(q->next - now));
        fprintf(l->ctx->out, "%-14s %5llu  %6llds  %-5s <%.*s>\n", q->id,
                (unsigned long long)q->size, (long long)age, next, SP(q->env->sender));
    }
    for (size_t i = 0; i < q->env->rcpt_count; i++) {
        struct slice why = field_of(q->detail[i], S("\"text\":\""));

        if (q->state[i] != QUEUE_PENDING) continue;
        if (l->mailq && why.n) fprintf(l->ctx->out, "%50s(%.*s)\n", "", SP(why));
        fprintf(l->ctx->out, l->mailq ? "%50s%.*s\n" : "%16s-> %.*s", "",
                SP(q->env->rcpts[i].address));
        if (!l->mailq) fprintf(l->ctx->out, why.n ? "  (%.*s)\n" : "\n", SP(why));
    }
    if (l->mailq) fputc('\n', l->ctx->out);
    return true;
}

static int list(struct context *ctx, struct queue *q, bool json, bool mailq) {
    struct listing l = {.ctx = ctx, .json = json, .mailq = mailq};
    struct err e = {0};

    if (queue_walk(q, false, list_one, &l, &e) != OK) return fail(ctx, &e);
    if (json) return EX_OK;
    if (l.count == 0) fputs("Mail queue is empty\n", ctx->out);
    else if (mailq)
        fprintf(ctx->out, "-- %llu Kbytes in %zu Request%s.\n",
                (unsigned long long)(l.bytes + 1023) / 1024, l.count, l.count == 1 ? "" : "s");
    else
        fprintf(ctx->out, "%zu message%s, %llu bytes\n", l.count, l.count == 1 ? "" : "s",
                (unsigned long long)l.bytes);
    return EX_OK;
}

static void story_line(wall_t at, int rcpt, struct slice word, struct slice detail, void *p) {
    struct listing *l = p;
    char when[MOMENT_RFC3339_MAX];
    struct slice host = field_of(detail, S("\"host\":\"")),
                 text = field_of(detail, S("\"text\":\""));
    struct slice tls = field_of(detail, S("\"tls\":\"")),
                 status = field_of(detail, S("\"status\":\""));

    l->count++;
    moment_rfc3339(at, when);
    if (l->json) {
        fprintf(l->ctx->out,
                "{\"v\":1,\"time\":\"%s\",\"recipient\":%d,\"event\":\"%.*s\",\"detail\":", when,
                rcpt, SP(word));
        if (detail.n && detail.p[0] == '{') fprintf(l->ctx->out, "%.*s}\n", SP(detail));
        else fprintf(l->ctx->out, "\"%.*s\"}\n", SP(detail));
        return;
    }
    fprintf(l->ctx->out, "  %s  ", when);
    if (rcpt >= 0) fprintf(l->ctx->out, "recipient %d ", rcpt + 1);
    if (slice_eq(word, S("next"))) {
        wall_t next = 0;

        for (size_t i = 0; i < detail.n && detail.p[i] >= '0' && detail.p[i] <= '9'; i++)
            next = next * 10 + (detail.p[i] - '0');
        fprintf(l->ctx->out, "next attempt %s\n", moment_rfc3339(next, when).p);
        return;
    }
    fprintf(l->ctx->out, "%.*s", SP(word));
    if (host.n) fprintf(l->ctx->out, " by %.*s", SP(host));
    if (tls.n) fprintf(l->ctx->out, " over %.*s", SP(tls));
    if (text.n) fprintf(l->ctx->out, ": %.*s %.*s", SP(status), SP(text));
    fputc('\n', l->ctx->out);
}

static bool explain_head(const struct queue_entry *q, void *p) {
    struct listing *l = p;
    char when[MOMENT_RFC3339_MAX];

    if (strcmp(q->id, l->ctx->operands[0]) != 0) return true;
    l->bytes = 1;
    if (l->json) return false;
    fprintf(l->ctx->out, "%s from <%.*s>, %llu bytes, %u attempt%s%s\n", q->id, SP(q->env->sender),
            (unsigned long long)q->size, q->attempts, q->attempts == 1 ? "" : "s",
            q->is_held ? ", held" : "");
    fprintf(l->ctx->out, "  %s  arrived by %.*s%s%.*s\n", moment_rfc3339(q->env->arrived, when).p,
            SP(q->env->proto), q->env->client.n ? " from " : "", SP(q->env->client));
    for (size_t i = 0; i < q->env->rcpt_count; i++)
        fprintf(l->ctx->out, "  recipient %zu: <%.*s> %s\n", i + 1, SP(q->env->rcpts[i].address),
                state_name(q->state[i]));
    return false;
}

static int explain(struct context *ctx, struct queue *q, bool json) {
    struct listing l = {.ctx = ctx, .json = json};
    struct err e = {0};

    if (queue_walk(q, true, explain_head, &l, &e) != OK) return fail(ctx, &e);
    if (l.bytes == 0) return failf(ctx, EX_NOINPUT, "no message %s in the queue", ctx->operands[0]);
    return queue_story(q, ctx->operands[0], story_line, &l, &e) == OK ? EX_OK : fail(ctx, &e);
}

static int show(struct context *ctx, struct queue *q) {
    struct buf out;
    struct err e = {0};
    enum err_code code;

    buf_init(&out, (size_t)4 << 30);
    code = queue_read(q, ctx->operands[0], &out, &e);
    if (code == OK) fwrite(out.p, 1, out.n, ctx->out);
    buf_release(&out);
    return code == OK ? EX_OK : fail(ctx, &e);
}

static int request(struct context *ctx, struct queue *q, enum queue_verb verb) {
    int status = EX_OK;

    for (int i = 0; i < ctx->operand_count; i++) {
        struct err e = {0};

        if (queue_request(q, verb, ctx->operands[i], REQUEST_MS, &e) != OK) status = fail(ctx, &e);
    }
    return status;
}

/* --- the pass
 * -------------------------------------------------------------------------------------------- */

static void on_verdict(void *user, const char *id, struct slice rcpt, const struct verdict *v) {
    static const char *const words[] = {"delivered", "deferred", "failed"};
    struct context *ctx = user;
    struct buf reply;

    buf_init(&reply, 1024);
    verdict_reply(v, &reply);
    flockfile(ctx->out);
    fprintf(ctx->out, "%s  %-9s  %.*s  %s%s%.*s\n", id, words[v->class], SP(rcpt), v->host,
            v->host[0] ? ": " : "", SP(buf_slice(&reply)));
    funlockfile(ctx->out);
    buf_release(&reply);
}

/* Messages that this process has in hand. */
static size_t queue_left(struct queue *q) {
    size_t count;

    queue_count(q, &count, NULL);
    return count;
}

static int pass(struct context *ctx, struct queue *q, const struct args *args) {
    struct directory directory;
    struct courier courier = {0};
    struct runner r = {.conf = ctx->conf,
                       .log = &ctx->log,
                       .queue = q,
                       .directory = &directory,
                       .courier = &courier};
    struct err e = {0};
    mono_t deadline = clock_mono() + (mono_t)(args->timeout ? args->timeout : PASS_S) * 1000;
    unsigned held = 0;
    size_t before;
    enum err_code code;
    bool late = false;
    unsigned taken;

    code = directory_open(ctx->conf, &directory, &e);
    if (code != OK) return fail(ctx, &e);
    /* The lines of the pass itself go to standard output; the log has only what is wrong. */
    ctx->log.level = LEVEL_ERROR;
    if (!args->json && !args->quiet) r.on_verdict = on_verdict, r.on_user = ctx;
    if (drop_collect(ctx->conf, q, &ctx->log, &taken, &e) != OK) warnf(ctx, "%s", e.msg);
    /* A queue with more segments than this process may have descriptors is worked on part by part.
     */
    do {
        before = queue_left(q);
        code = queue_lease(q, &held, &e);
        if (code != OK || queue_left(q) == before) break;
        if (!courier.conf) code = courier_open(ctx->conf, &ctx->log, &courier, &e);
        if (code == OK && args->all) queue_request(q, QUEUE_FLUSH, NULL, 0, NULL);
        r.is_stopping = false;
        if (code == OK) code = runner_pass(&r, args->jobs ? args->jobs : 100, deadline, &e);
        late = clock_mono() >= deadline;
    } while (code == OK && !late);
    if (courier.conf) courier_close(&courier);
    if (code == OK && held > 0 && args->all) {
        /* Another process holds the rest: it is told to try now. */
        if (queue_request(q, QUEUE_FLUSH, NULL, REQUEST_MS, &e) == OK)
            fprintf(ctx->out, "another process works on the rest, and was told to try now\n");
    } else if (held > 0 && !args->quiet) {
        fprintf(ctx->err, "postbag %s: another process works on part of the queue\n", ctx->name);
    }
    directory_close(&directory);
    if (args->json)
        fprintf(ctx->out,
                "{\"v\":1,\"delivered\":%u,\"deferred\":%u,\"failed\":%u,\"held_by_others\":%u}\n",
                r.delivered, r.deferred, r.failed, held);
    if (code != OK) return fail(ctx, &e);
    return late ? failf(ctx, EX_TEMPFAIL, "the pass ran out of time") : EX_OK;
}

static int run(struct context *ctx, const void *p) {
    const struct args *args = p;
    bool mailq = strcmp(ctx->name, "mailq") == 0;
    int verbs = args->list + args->show + args->explain + args->hold + args->release + args->drop,
        status;
    bool wants_id = args->show || args->explain || args->hold || args->release || args->drop;
    struct queue *q;
    struct err e = {0};
    const char *dir = conf_path(ctx->conf, "queue");

    if (verbs > 1)
        return failf(ctx, EX_USAGE,
                     "only one of --list, --show, --explain, --hold, --release and --drop");
    if (wants_id && ctx->operand_count == 0)
        return failf(ctx, EX_USAGE, "the queue ID is missing; see --list");
    if (!wants_id && ctx->operand_count > 0)
        return failf(ctx, EX_USAGE, "\"%s\" is one operand too many; see --help", ctx->operands[0]);
    if ((mailq || args->list) && dir && access(dir, F_OK) < 0) {
        /* Nothing was ever queued: looking must not make directories. */
        if (!args->json) fputs("Mail queue is empty\n", ctx->out);
        return EX_OK;
    }
    if (!dir || queue_open(dir, &ctx->log, &q, &e) != OK) return fail(ctx, &e);
    if (mailq || args->list) status = list(ctx, q, args->json, mailq);
    else if (args->show) status = show(ctx, q);
    else if (args->explain) status = explain(ctx, q, args->json);
    else if (args->hold) status = request(ctx, q, QUEUE_HOLD);
    else if (args->release) status = request(ctx, q, QUEUE_RELEASE);
    else if (args->drop) status = request(ctx, q, QUEUE_DROP);
    else status = pass(ctx, q, args);
    queue_close(q);
    return status;
}

const struct applet applet_queue_run = {
    .name = "queue-run",
    .aliases = "mailq",
    .summary = "try the queued messages once; list, show, hold, release or drop them",
    .operands = "[ID...]",
    .opts = opts,
    .args_size = sizeof(struct args),
    .settings =
        "data hostname domain relay relay-tls tls-ca resolver dnssec trust-anchor accounts aliases "
        "drop-dir mx-port message-size-limit queue-lifetime retry plaintext-auth log",
    .exits = exits,
    .max_operands = -1,
    .run = run,
};
