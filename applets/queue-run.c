/* queue-run: one pass over the queue and out, for cron or by hand; or staying, a pass now and then;
 * or a look into it, or a hand on it. By the name of mailq it lists as sendmail(8)'s mailq does.
 * RFC 5321 4.5.4.1 (retries), RFC 3464 (notifications). */
#include "applets/queue-run.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "cli/exit.h"
#include "deliver/drop.h"
#include "deliver/outbound.h"
#include "deliver/returning.h"
#include "sys/clock.h"
#include "sys/notify.h"

enum { REQUEST_MS = 5000, PASS_S = 3600, INTERVAL_S = 300, JOBS = 100, OBEY_MS = 500 };

struct args {
    bool list, show, hold, release, drop, explain, bounce, histogram, all, json, quiet, verbose,
        daemon, dry_run, held;
    const char *reroute, *sender, *recipient, *reason;
    unsigned jobs, deadline, interval, older, younger;
};

static const struct opt opts[] = {
    FLAG('a', "all", all, "every message, also those whose time has not come"),
    UINT('j', "jobs", jobs, OUTBOUND_WORKERS_MAX, "N",
         "outgoing connections at once (default 100)"),
    TIME('t', "deadline", deadline, "TIME", "end the pass after this long (default 1h)"),
    TIME(0, "timeout", deadline, "TIME", NULL),
    FLAG('d', "daemon", daemon, "stay, and make a pass every --interval"),
    TIME(0, "interval", interval, "TIME", "with --daemon: from pass to pass (default 5m)"),
    FLAG('l', "list", list, "list the messages"),
    FLAG('s', "show", show, "print the message ID"),
    FLAG('x', "explain", explain, "tell the story of messages: attempts, outcome, what to do"),
    FLAG(0, "histogram", histogram, "count pending recipients by domain and age"),
    FLAG(0, "hold", hold, "keep messages from being tried"),
    FLAG(0, "release", release, "let held messages go, at once"),
    FLAG(0, "drop", drop, "remove messages without telling anybody"),
    FLAG(0, "bounce", bounce, "return messages to their senders now"),
    TEXT(0, "reroute", reroute, "HOST[:PORT]", "send messages to this host, whatever DNS says"),
    TEXT(0, "sender", sender, "ADDRESS", "those from ADDRESS, or from a domain; <> for bounces"),
    TEXT(0, "recipient", recipient, "ADDRESS", "those that wait for ADDRESS, or for a domain"),
    TEXT(0, "reason", reason, "TEXT", "those whose last reply holds TEXT"),
    TIME(0, "older", older, "TIME", "those that came longer ago than this"),
    TIME(0, "younger", younger, "TIME", "those that came since then"),
    FLAG(0, "held", held, "those that are held"),
    FLAG('n', "dry-run", dry_run, "say which messages would be touched, and do nothing"),
    FLAG('q', "quiet", quiet, "say nothing of the pass but errors"),
    FLAG('v', "verbose", verbose, "tell of deliveries too (default on a terminal)"),
    FLAG(0, "json", json, "one JSON object per line"),
    OPT_END,
};

static const struct exit_doc exits[] = {
    {0, "the pass is done, or the request was carried out; what failed for now stays in the queue"},
    {64, "the command line is wrong"},
    {66, "there is no such message"},
    {75, "the pass ran out of time, or the process that holds a message did not answer"},
    {74, "the disk failed, or what lies in the drop directory could not be taken"},
    {77, "the queue may not be used, or the drop directory not be read"},
    {78, "a setting is wrong"},
    {0, NULL},
};

/* --- which messages
 * ---------------------------------------------------------------------------------------------- */

struct meant {
    const struct filter *filter;
    char (*ids)[QUEUE_ID_MAX];
    size_t n, cap;
    bool bad;
    struct context *ctx; /* to show them, or NULL */
    const char *verb;
    bool json, only_due;
};

static void show_meant(const struct meant *m, const struct queue_entry *q) {
    if (m->json) fprintf(m->ctx->out, "{\"v\":1,\"id\":\"%s\",\"would\":\"%s\"}\n", q->id, m->verb);
    else fprintf(m->ctx->out, "%s  would %s\n", q->id, m->verb);
}

static bool note_meant(const struct queue_entry *q, void *p) {
    struct meant *m = p;

    if (!filter_matches(m->filter, q, clock_wall())) return true;
    if (m->only_due && (q->is_held || q->next > clock_wall())) return true;
    if (m->ctx) show_meant(m, q);
    if (m->n == m->cap) {
        size_t cap = m->cap ? m->cap * 2 : 64;
        char(*more)[QUEUE_ID_MAX] = realloc(m->ids, cap * sizeof *more);

        m->bad = !more;
        if (!more) return false;
        m->ids = more;
        m->cap = cap;
    }
    snprintf(m->ids[m->n++], QUEUE_ID_MAX, "%s", q->id);
    return true;
}

/* The names of the messages that are meant; free m->ids. */
static enum err_code find_meant(struct queue *q, struct meant *m, struct err *e) {
    enum err_code code = queue_walk(q, false, note_meant, m, e);

    if (code == OK && m->bad) code = err_set(e, ERR_MEMORY, "no memory for the list");
    return code;
}

/* --- a hand on them
 * ---------------------------------------------------------------------------------------------- */

struct handling {
    struct context *ctx;
    bool json, quiet;
};

static void on_rerouted(const char *id, const char *new_id, void *p) {
    struct handling *h = p;

    if (!h->quiet)
        fprintf(h->ctx->out,
                h->json ? "{\"v\":1,\"id\":\"%s\",\"new_id\":\"%s\"}\n" : "%s  is now %s\n", id,
                new_id);
}

static int handle(struct context *ctx, struct queue *q, const struct args *args,
                  const struct meant *m) {
    struct queue_ask *asks = calloc(m->n + 1, sizeof *asks);
    struct handling h = {ctx, args->json, args->quiet};
    enum queue_verb verb = args->hold      ? QUEUE_HOLD
                           : args->release ? QUEUE_RELEASE
                           : args->drop    ? QUEUE_DROP
                                           : QUEUE_FLUSH;
    struct err e = {0};
    enum err_code code;
    int status = EX_OK;

    if (!asks) return failf(ctx, EX_OSERR, "no memory for the list");
    for (size_t i = 0; i < m->n; i++) memcpy(asks[i].id, m->ids[i], QUEUE_ID_MAX);
    if (args->bounce)
        code = return_messages(ctx->conf, q, asks, m->n,
                               "returned by the administrator of this system", REQUEST_MS, NULL,
                               NULL, &e);
    else if (args->reroute)
        code = reroute_messages(q, asks, m->n, slice_str(args->reroute), REQUEST_MS, on_rerouted,
                                &h, &e);
    else code = queue_request_many(q, verb, asks, m->n, REQUEST_MS, &e);
    if (code != OK) status = fail(ctx, &e);
    if (code != OK && (args->bounce || args->reroute))
        warnf(ctx, "what was not done stays held: see --list --held, and --release");
    for (size_t i = 0; code == OK && i < m->n; i++)
        if (queue_ask_error(&asks[i], &e) != OK) status = fail(ctx, &e);
    free(asks);
    return status;
}

/* Each name that was given must be there: else EX_NOINPUT, and it is said. */
static int missing(struct context *ctx, const struct filter *f, const struct meant *m) {
    int status = EX_OK;

    for (size_t i = 0; i < f->id_count; i++) {
        bool found = false;

        for (size_t k = 0; k < m->n; k++) found |= strcmp(m->ids[k], f->ids[i]) == 0;
        if (!found) status = failf(ctx, EX_NOINPUT, "no message %.40s in the queue", f->ids[i]);
    }
    return status;
}

static int handle_all(struct context *ctx, struct queue *q, const struct args *args,
                      const struct filter *f, const char *verb) {
    struct meant m = {
        .filter = f, .verb = verb, .json = args->json, .ctx = args->dry_run ? ctx : NULL};
    struct err e = {0};
    int status = EX_OK;

    /* Of a pass: without a condition what is due, or with --all everything. */
    m.only_due = strcmp(verb, "try") == 0 && !args->all && filter_is_empty(f);
    if (find_meant(q, &m, &e) != OK) {
        free(m.ids);
        return fail(ctx, &e);
    }
    status = missing(ctx, f, &m);
    if (m.n == 0 && f->id_count == 0 && !filter_is_empty(f))
        status = failf(ctx, EX_NOINPUT, "no such message in the queue");
    if (!args->dry_run && m.n > 0) {
        int handled = handle(ctx, q, args, &m);

        if (handled != EX_OK) status = handled;
    }
    free(m.ids);
    return status;
}

/* --- the pass
 * -------------------------------------------------------------------------------------------- */

struct pass {
    struct context *ctx;
    const struct args *args;
    const struct filter *filter;
    struct queue *queue;
    struct runner *runner;
    bool tells_all;
    _Atomic bool is_over, is_told_to_stop;
};

static void on_verdict(void *user, const char *id, struct slice rcpt, const struct verdict *v) {
    static const char *const words[] = {"delivered", "deferred", "failed"};
    struct pass *p = user;
    struct buf reply;

    if (v->class == SMTP_CLASS_OK && !p->tells_all) return;
    buf_init(&reply, 1024);
    verdict_reply(v, &reply);
    flockfile(p->ctx->out);
    fprintf(p->ctx->out, "%s  %-9s  %.*s  %s%s%.*s\n", id, words[v->class], SP(rcpt), v->host,
            v->host[0] ? ": " : "", SP(buf_slice(&reply)));
    funlockfile(p->ctx->out);
    buf_release(&reply);
}

/* Messages that this process has in hand. */
static size_t queue_left(struct queue *q) {
    size_t count;

    queue_count(q, &count, NULL);
    return count;
}

/* Beside the pass: what others ask of the messages in hand, and the signals that end it. */
static void *attend(void *user) {
    struct pass *p = user;
    struct timespec wait = {.tv_nsec = (long)OBEY_MS * 1000000};
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR2); /* from work: the end */
    while (!p->is_over) {
        int got = sigtimedwait(&set, NULL, &wait);

        if (got == SIGTERM || got == SIGINT) {
            p->is_told_to_stop = true;
            p->runner->is_stopping = true;
        }
        queue_obey(p->queue);
    }
    return NULL;
}

static void flush_meant(struct pass *p) {
    struct meant m = {.filter = p->filter};

    if (p->args->all && filter_is_empty(p->filter)) {
        queue_request(p->queue, QUEUE_FLUSH, NULL, 0, NULL);
        return;
    }
    if (!filter_is_empty(p->filter) && find_meant(p->queue, &m, NULL) == OK && m.n > 0) {
        struct queue_ask *asks = calloc(m.n, sizeof *asks);

        for (size_t i = 0; asks && i < m.n; i++) memcpy(asks[i].id, m.ids[i], QUEUE_ID_MAX);
        if (asks) queue_request_many(p->queue, QUEUE_FLUSH, asks, m.n, REQUEST_MS, NULL);
        free(asks);
    }
    free(m.ids);
}

static enum err_code work(struct pass *p, struct courier *courier, mono_t deadline, unsigned *held,
                          bool *late, struct err *e) {
    struct context *ctx = p->ctx;
    pthread_t helper;
    bool has_helper = pthread_create(&helper, NULL, attend, p) == 0;
    enum err_code code;
    size_t before;

    /* A queue with more segments than this process may have descriptors is worked on part by part.
     */
    do {
        before = queue_left(p->queue);
        code = queue_lease(p->queue, held, e);
        if (code != OK || queue_left(p->queue) == before) break;
        if (!courier->conf) code = courier_open(ctx->conf, &ctx->log, courier, e);
        if (code == OK) flush_meant(p);
        p->runner->is_stopping = p->is_told_to_stop;
        if (code == OK)
            code = runner_pass(p->runner, p->args->jobs ? p->args->jobs : JOBS, deadline, e);
        *late = clock_mono() >= deadline;
    } while (code == OK && !*late && !p->is_told_to_stop);
    p->is_over = true;
    if (has_helper) {
        pthread_kill(helper, SIGUSR2);
        pthread_join(helper, NULL);
    }
    return code;
}

static int pass(struct context *ctx, struct queue *q, const struct args *args,
                const struct filter *f, bool *told_to_stop) {
    struct directory directory;
    struct courier courier = {0};
    struct runner r = {.conf = ctx->conf,
                       .log = &ctx->log,
                       .queue = q,
                       .directory = &directory,
                       .courier = &courier};
    struct pass p = {.ctx = ctx, .args = args, .filter = f, .queue = q, .runner = &r};
    struct err e = {0}, left = {0};
    mono_t deadline = clock_mono() + (mono_t)(args->deadline ? args->deadline : PASS_S) * 1000;
    unsigned held = 0, taken;
    enum err_code code, collected;
    bool late = false;

    code = directory_open(ctx->conf, &directory, &e);
    if (code != OK) return fail(ctx, &e);
    /* The lines of the pass itself go to standard output; the log has only what is wrong. */
    ctx->log.level = LEVEL_ERROR;
    p.tells_all = args->verbose || isatty(STDOUT_FILENO);
    if (!args->json && !args->quiet) r.on_verdict = on_verdict, r.on_user = &p;
    /* What cannot be taken does not keep what is in the queue already. */
    collected = drop_collect(ctx->conf, q, &ctx->log, &taken, &left);
    if (!filter_is_empty(f)) {
        struct meant m = {.filter = f};

        code = find_meant(q, &m, &e);
        if (code == OK) code = queue_only(q, (const char(*)[QUEUE_ID_MAX])m.ids, m.n, &e);
        free(m.ids);
    }
    if (code == OK) code = work(&p, &courier, deadline, &held, &late, &e);
    if (courier.conf) courier_close(&courier);
    if (code == OK && held > 0 && args->all && filter_is_empty(f)) {
        /* Another process holds the rest: it is told to try now. */
        if (queue_request(q, QUEUE_FLUSH, NULL, REQUEST_MS, &e) == OK && p.tells_all)
            fprintf(ctx->out, "another process works on the rest, and was told to try now\n");
    } else if (code == OK && held > 0 && !filter_is_empty(f)) {
        flush_meant(&p);
    } else if (held > 0 && p.tells_all && !args->quiet) {
        warnf(ctx, "another process works on part of the queue");
    }
    directory_close(&directory);
    if (args->json)
        fprintf(ctx->out,
                "{\"v\":1,\"delivered\":%u,\"deferred\":%u,\"failed\":%u,\"held_by_others\":%u}\n",
                r.delivered, r.deferred, r.failed, held);
    *told_to_stop = p.is_told_to_stop;
    if (code != OK) {
        if (collected != OK) warnf(ctx, "%s", left.msg);
        return fail(ctx, &e);
    }
    if (collected != OK) return fail(ctx, &left);
    return late ? failf(ctx, EX_TEMPFAIL, "the pass ran out of time") : EX_OK;
}

static void block_signals(void) {
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static int pass_once(struct context *ctx, struct queue *q, const struct args *args,
                     const struct filter *f) {
    struct meant m = {.filter = f};
    struct err e = {0};
    int status = EX_OK, passed;
    bool stop;

    if (f->id_count > 0 && find_meant(q, &m, &e) != OK) status = fail(ctx, &e);
    else status = missing(ctx, f, &m);
    free(m.ids);
    if (f->id_count > 0 && m.n == 0) return status;
    block_signals();
    passed = pass(ctx, q, args, f, &stop);
    return passed != EX_OK ? passed : status;
}

/* Between passes nothing is held: other processes find the queue free. SIGHUP: a pass now. */
static int stay(struct context *ctx, const char *dir, const struct args *args,
                const struct filter *f) {
    struct timespec wait = {.tv_sec = args->interval ? args->interval : INTERVAL_S};
    bool stop = false;
    sigset_t set;

    block_signals();
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    notify_state("READY=1");
    while (!stop) {
        struct queue *q;
        struct err e = {0};
        int got;

        if (queue_open(dir, &ctx->log, &q, &e) == OK) {
            pass(ctx, q, args, f, &stop);
            queue_close(q);
        } else {
            warnf(ctx, "%s", e.msg);
        }
        fflush(ctx->out);
        if (stop) break;
        got = sigtimedwait(&set, NULL, &wait);
        stop = got == SIGTERM || got == SIGINT;
    }
    notify_state("STOPPING=1");
    return EX_OK;
}

/* --- the request
 * ------------------------------------------------------------------------------------------------
 */

/* What the command line asks for: the verb's word, or NULL with `*count` of them. */
static const char *verb_of(const struct args *a, int *count) {
    const struct {
        bool is_set;
        const char *word;
    } verbs[] = {
        {a->list, "list"},     {a->show, "show"},       {a->explain, "explain"},
        {a->hold, "hold"},     {a->release, "release"}, {a->drop, "drop"},
        {a->bounce, "bounce"}, {a->reroute, "reroute"}, {a->histogram, "histogram"},
        {a->daemon, "daemon"},
    };
    const char *word = NULL;

    *count = 0;
    for (size_t i = 0; i < COUNT_OF(verbs); i++)
        if (verbs[i].is_set) word = verbs[i].word, ++*count;
    return word;
}

static enum err_code check_request(struct context *ctx, const struct args *a,
                                   const struct filter *f, const char *verb, int verbs,
                                   struct err *e) {
    bool handles = a->hold || a->release || a->drop || a->bounce || a->reroute;
    const char *host;
    uint16_t port = 25;

    if (verbs > 1)
        return err_set(e, ERR_USAGE,
                       "only one of --list, --show, --explain, --histogram, --hold, --release, "
                       "--drop, --bounce, --reroute and --daemon");
    if (a->show && f->id_count != 1)
        return err_set(e, ERR_USAGE, "--show wants one queue ID; see --list");
    if ((handles || a->explain) && filter_is_empty(f) && !a->all)
        return err_set(e, ERR_USAGE,
                       "--%s: the queue ID is missing, or --sender, --recipient, ...; "
                       "or --all",
                       verb);
    if (a->reroute &&
        conf_host_port(&ctx->conf->arena, slice_str(a->reroute), &host, &port, e) != OK)
        return err_set(e, ERR_USAGE, "--reroute wants HOST or HOST:PORT, not \"%s\"", a->reroute);
    return OK;
}

static int run(struct context *ctx, const void *p) {
    const struct args *args = p;
    bool mailq = strcmp(ctx->name, "mailq") == 0;
    struct filter f = {.ids = ctx->operands,
                       .id_count = (size_t)ctx->operand_count,
                       .sender = args->sender,
                       .recipient = args->recipient,
                       .reason = args->reason,
                       .older_s = args->older,
                       .younger_s = args->younger,
                       .is_held = args->held};
    int verbs, status;
    bool looks;
    const char *verb = verb_of(args, &verbs);
    struct queue *q;
    struct err e = {0};
    const char *dir = conf_path(ctx->conf, "queue");

    if (check_request(ctx, args, &f, verb, verbs, &e) != OK) return fail(ctx, &e);
    if (!dir) return failf(ctx, EX_OSERR, "no memory");
    if ((mailq || args->list || args->histogram) && access(dir, F_OK) < 0 && errno == ENOENT) {
        /* Nothing was ever queued: looking must not make directories. */
        if (!args->json) fputs("Mail queue is empty\n", ctx->out);
        return EX_OK;
    }
    if (args->daemon) return stay(ctx, dir, args, &f);
    looks = mailq || args->list || args->show || args->explain || args->histogram || args->dry_run;
    if ((looks ? queue_open_to_look : queue_open)(dir, &ctx->log, &q, &e) != OK)
        return fail(ctx, &e);
    if (mailq || args->list) status = queue_run_list(ctx, q, &f, args->json, mailq);
    else if (args->show) status = queue_run_show(ctx, q, ctx->operands[0]);
    else if (args->explain) status = queue_run_explain(ctx, q, &f, args->json);
    else if (args->histogram) status = queue_run_histogram(ctx, q, &f, args->json);
    else if (verb || args->dry_run) status = handle_all(ctx, q, args, &f, verb ? verb : "try");
    else status = pass_once(ctx, q, args, &f);
    queue_close(q);
    return status;
}

const struct applet applet_queue_run = {
    .name = "queue-run",
    .aliases = "mailq",
    .summary = "try the queued messages; list, explain, hold, release, drop, return, reroute them",
    .operands = "[ID...]",
    .opts = opts,
    .args_size = sizeof(struct args),
    .settings = "data hostname domain relay relay-tls relay-auth relay-token-command destination "
                "mta-sts tls-ca resolver dnssec "
                "trust-anchor accounts aliases "
                "drop-dir mx-port message-size-limit queue-lifetime retry plaintext-auth log",
    .exits = exits,
    .max_operands = -1,
    .run = run,
};
