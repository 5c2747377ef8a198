/* queue-run: looking into the queue: lists, one message, its story, the histogram. */
#include "applets/queue-run.h"

#include <stdlib.h>
#include <sysexits.h>
#include <time.h>

#include "base/ascii.h"
#include "base/json.h"
#include "base/num.h"
#include "cli/cells.h"
#include "deliver/advice.h"
#include "deliver/drop.h"
#include "sys/clock.h"

struct listing {
    struct context *ctx;
    const struct filter *filter;
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

    if (!filter_matches(l->filter, q, clock_wall())) return true;
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

int queue_run_list(struct context *ctx, struct queue *q, const struct filter *f, bool json,
                   bool mailq) {
    struct listing l = {.ctx = ctx, .filter = f, .json = json, .mailq = mailq};
    struct err e = {0};
    unsigned dropped = drop_count(ctx->conf);

    if (queue_walk(q, false, list_one, &l, &e) != OK) return fail(ctx, &e);
    if (dropped > 0 && !mailq)
        warnf(ctx, "%u more in %s; the next pass takes them", dropped, drop_dir(ctx->conf));
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

int queue_run_show(struct context *ctx, struct queue *q, const char *id) {
    struct buf out;
    struct err e = {0};
    enum err_code code;

    buf_init(&out, (size_t)4 << 30);
    code = queue_read(q, id, &out, &e);
    if (code == OK) fwrite(out.p, 1, out.n, ctx->out);
    buf_release(&out);
    return code == OK ? EX_OK : fail(ctx, &e);
}

/* --- the story of a message
 * ----------------------------------------------------------------------------------------------
 */

struct story {
    struct context *ctx;
    struct queue *queue;
    const struct filter *filter;
    bool json;
    size_t count;
    /* of the message in hand */
    const struct queue_entry *entry;
    enum err_code code;
    struct err err;
};

/* "1 minute", "3 hours". */
static const char *span(wall_t s, char out[32]) {
    static const struct {
        wall_t s;
        const char *name;
    } units[] = {{86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}};
    size_t i = 0;

    if (s < 1) s = 1;
    while (i < 3 && s < 2 * units[i].s) i++;
    snprintf(out, 32, "%lld %s%s", (long long)(s / units[i].s), units[i].name,
             s / units[i].s == 1 ? "" : "s");
    return out;
}

static struct mail_status status_of(struct slice text) {
    struct mail_status st = {0};
    uint64_t v[3] = {0};

    for (size_t i = 0; i < 3; i++) {
        if (i && !slice_starts(text, S("."))) return st;
        if (i) text = slice_from(text, 1);
        if (!num_take(&text, 999, &v[i])) return st;
    }
    return STATUS((uint16_t)v[0], (uint16_t)v[1], (uint16_t)v[2]);
}

/* A piece of a record as a terminal may show it. */
static void put_clean(FILE *out, struct slice s) {
    struct buf b;

    buf_init(&b, 64 * 1024);
    cells_clean(&b, s);
    fwrite(b.p, 1, b.n, out);
    buf_release(&b);
}

static void story_json(struct story *t, wall_t at, int rcpt, struct slice word,
                       struct slice detail) {
    struct buf out;
    struct json j;

    buf_init(&out, 64 * 1024);
    json_init(&j, &out);
    json_object(&j, NULL);
    json_int(&j, "v", 1);
    json_str(&j, "id", slice_str(t->entry->id));
    json_time(&j, "time", at);
    json_int(&j, "recipient", rcpt);
    if (rcpt >= 0 && (size_t)rcpt < t->entry->env->rcpt_count)
        json_str(&j, "address", t->entry->env->rcpts[rcpt].address);
    json_str(&j, "event", word);
    /* The decision record is JSON already; it goes in as it was written. */
    if (slice_starts(detail, S("{"))) buf_addf(&out, ",\"detail\":%.*s", SP(detail));
    else json_str(&j, "detail", detail);
    json_end(&j);
    json_line(&j);
    fwrite(out.p, 1, out.n, t->ctx->out);
    buf_release(&out);
}

/* What was known then: how the host was found, TLS and why, the reply. */
static void story_attempt(struct story *t, struct slice word, struct slice detail) {
    FILE *out = t->ctx->out;
    struct slice host = field_of(detail, S("\"host\":\"")),
                 address = field_of(detail, S("\"address\":\"")),
                 route = field_of(detail, S("\"route\":\"")),
                 dnssec = field_of(detail, S("\"dnssec\":\"")),
                 policy = field_of(detail, S("\"policy\":\"")),
                 tls = field_of(detail, S("\"tls\":\"")),
                 stage = field_of(detail, S("\"stage\":\"")),
                 status = field_of(detail, S("\"status\":\"")),
                 text = field_of(detail, S("\"text\":\""));

    fprintf(out, "%.*s", SP(word));
    if (host.n) fputs(" by ", out), put_clean(out, host);
    if (address.n) fputs(" [", out), put_clean(out, address), fputc(']', out);
    if (stage.n && !slice_eq(word, S("delivered"))) fprintf(out, " at %.*s", SP(stage));
    fputc('\n', out);
    if (route.n) {
        fprintf(out, "%24sfound by %.*s", "", SP(route));
        if (dnssec.n) fprintf(out, ", DNSSEC %.*s", SP(dnssec));
        fprintf(out, "; TLS policy %.*s, %.*s\n", SP(policy.n ? policy : S("none")),
                SP(tls.n ? tls : S("no TLS")));
    }
    if (text.n) {
        fprintf(out, "%24sreply: %.*s ", "", SP(status));
        put_clean(out, text);
        fputc('\n', out);
    }
}

static void story_line(wall_t at, int rcpt, struct slice word, struct slice detail, void *p) {
    struct story *t = p;
    char when[MOMENT_RFC3339_MAX];
    FILE *out = t->ctx->out;

    if (t->json) {
        story_json(t, at, rcpt, word, detail);
        return;
    }
    fprintf(out, "  %s  ", moment_rfc3339(at, when).p);
    if (rcpt >= 0 && (size_t)rcpt < t->entry->env->rcpt_count) {
        fputc('<', out);
        put_clean(out, t->entry->env->rcpts[rcpt].address);
        fputs("> ", out);
    }
    if (slice_eq(word, S("next"))) {
        uint64_t next = 0;

        num_parse(detail, INT64_MAX, &next);
        fprintf(out, "the next attempt was set to %s\n", moment_rfc3339((wall_t)next, when).p);
    } else if (slice_starts(detail, S("{"))) {
        story_attempt(t, word, detail);
    } else if (slice_eq(word, S("hold"))) {
        fputs("held by the administrator\n", out);
    } else if (slice_eq(word, S("release"))) {
        fputs("released by the administrator\n", out);
    } else if (slice_eq(word, S("flush"))) {
        fputs("to be tried at once\n", out);
    } else if (slice_eq(word, S("drop"))) {
        fputs("dropped by the administrator\n", out);
    } else if (slice_eq(word, S("delay"))) {
        fputs("the sender was told of the delay\n", out);
    } else {
        fprintf(out, "%.*s ", SP(word));
        put_clean(out, detail);
        fputc('\n', out);
    }
}

static void story_begin(const struct story *t) {
    const struct queue_entry *q = t->entry;
    FILE *out = t->ctx->out;
    char when[MOMENT_RFC3339_MAX];

    fprintf(out, "%s%s from <", t->count > 1 ? "\n" : "", q->id);
    put_clean(out, q->env->sender);
    fprintf(out, ">, %llu bytes, %u attempt%s%s%s\n  %s  arrived", (unsigned long long)q->size,
            q->attempts, q->attempts == 1 ? "" : "s", q->is_held ? ", held" : "",
            q->is_leased ? ", in the hands of a running process" : "",
            moment_rfc3339(q->env->arrived, when).p);
    if (q->env->proto.n) fprintf(out, " by %.*s", SP(q->env->proto));
    if (q->env->client.n) fputs(" from ", out), put_clean(out, q->env->client);
    if (q->env->via.n) fputs(", to go to ", out), put_clean(out, q->env->via);
    fputc('\n', out);
}

/* What it waits for, and what can be done about it. */
static void story_end(const struct story *t) {
    const struct queue_entry *q = t->entry;
    FILE *out = t->ctx->out;
    wall_t now = clock_wall(), give_up = q->env->arrived + (wall_t)t->ctx->conf->queue_lifetime;
    char text[32];
    size_t pending = 0;

    for (size_t i = 0; i < q->env->rcpt_count; i++) {
        struct slice reply = field_of(q->detail[i], S("\"text\":\""));
        struct mail_status st = status_of(field_of(q->detail[i], S("\"status\":\"")));

        fputs("  <", out);
        put_clean(out, q->env->rcpts[i].address);
        fprintf(out, "> %s", state_name(q->state[i]));
        pending += q->state[i] == QUEUE_PENDING;
        if (q->detail[i].n && q->state[i] != QUEUE_DELIVERED) {
            struct advice a = advice_of(st, reply);

            fprintf(out, ": %s. To do: %s.\n", a.meaning, a.remedy);
        } else {
            fputs(q->detail[i].n || q->state[i] != QUEUE_PENDING ? ".\n" : ": not tried yet.\n",
                  out);
        }
    }
    if (pending == 0) return;
    if (q->is_held) {
        fprintf(out, "  It is held: nothing happens until queue-run --release %s.\n", q->id);
        return;
    }
    if (q->next <= now)
        fputs(q->is_leased ? "  It is due: the process that holds it tries it now.\n"
                           : "  It is due: the next queue-run or serve tries it.\n",
              out);
    else
        fprintf(out, "  Next attempt in %s; at once with queue-run --all %s.\n",
                span(q->next - now, text), q->id);
    if (give_up > now)
        fprintf(out, "  After %s more it is returned to the sender.\n", span(give_up - now, text));
    else fputs("  It is older than queue-lifetime: the next failure returns it.\n", out);
}

static bool explain_one(const struct queue_entry *q, void *p) {
    struct story *t = p;

    if (!filter_matches(t->filter, q, clock_wall())) return true;
    t->count++;
    t->entry = q;
    if (!t->json) story_begin(t);
    t->code = queue_story(t->queue, q->id, story_line, t, &t->err);
    if (!t->json) story_end(t);
    return t->code == OK;
}

int queue_run_explain(struct context *ctx, struct queue *q, const struct filter *f, bool json) {
    struct story t = {.ctx = ctx, .queue = q, .filter = f, .json = json};
    struct err e = {0};

    if (queue_walk(q, true, explain_one, &t, &e) != OK) return fail(ctx, &e);
    if (t.code != OK) return fail(ctx, &t.err);
    if (t.count > 0) return EX_OK;
    return f->id_count == 1 ? failf(ctx, EX_NOINPUT, "no message %s in the queue", f->ids[0])
                            : failf(ctx, EX_NOINPUT, "no such message in the queue");
}

/* --- histogram
 * --------------------------------------------------------------------------------------------- */

enum { AGES = 10, DOMAINS_MAX = 10000, DOMAIN_BYTES = 256 };

/* Minutes that end a column; the last has no end. */
static const unsigned age_minutes[AGES - 1] = {5, 10, 20, 40, 80, 160, 320, 640, 1280};

struct domain_row {
    char name[DOMAIN_BYTES];
    size_t total, by_age[AGES];
};
struct histogram {
    const struct filter *filter;
    struct domain_row *v, all;
    size_t n, cap;
    bool bad;
};

static struct domain_row *row_of(struct histogram *h, struct slice domain) {
    struct domain_row *more;

    for (size_t i = 0; i < h->n; i++)
        if (slice_ieq(slice_str(h->v[i].name), domain)) return &h->v[i];
    if (h->n == DOMAINS_MAX) return NULL; /* the sum has it all the same */
    if (h->n == h->cap) {
        more = realloc(h->v, (h->cap ? h->cap * 2 : 64) * sizeof *more);
        if (!more) {
            h->bad = true;
            return NULL;
        }
        h->v = more;
        h->cap = h->cap ? h->cap * 2 : 64;
    }
    h->v[h->n] = (struct domain_row){0};
    for (size_t i = 0; i < domain.n && i + 1 < DOMAIN_BYTES; i++)
        h->v[h->n].name[i] = ascii_lower(domain.p[i]);
    return &h->v[h->n++];
}

static bool count_one(const struct queue_entry *q, void *p) {
    struct histogram *h = p;
    wall_t now = clock_wall(), age = (now - q->env->arrived) / 60;
    size_t column = 0;

    if (!filter_matches(h->filter, q, now)) return true;
    while (column < AGES - 1 && age >= (wall_t)age_minutes[column]) column++;
    for (size_t i = 0; i < q->env->rcpt_count; i++) {
        struct slice address = q->env->rcpts[i].address;
        size_t at = slice_rchr(address, '@');
        struct domain_row *row;

        if (q->state[i] != QUEUE_PENDING) continue;
        row = row_of(h, at == SLICE_NONE ? S("") : slice_from(address, at + 1));
        if (row) row->total++, row->by_age[column]++;
        h->all.total++;
        h->all.by_age[column]++;
    }
    return !h->bad;
}

static int by_total(const void *a, const void *b) {
    const struct domain_row *x = a, *y = b;

    return x->total != y->total ? (x->total < y->total ? 1 : -1) : strcmp(x->name, y->name);
}

static void put_row(struct context *ctx, const struct domain_row *r, bool json) {
    struct buf out;
    struct json j;

    buf_init(&out, 64 * 1024);
    if (json) {
        json_init(&j, &out);
        json_object(&j, NULL);
        json_int(&j, "v", 1);
        json_str(&j, "domain", slice_str(r->name));
        json_int(&j, "recipients", (int64_t)r->total);
        json_array(&j, "by_age");
        for (size_t i = 0; i < AGES; i++) json_int(&j, NULL, (int64_t)r->by_age[i]);
        json_end(&j);
        json_end(&j);
        json_line(&j);
    } else {
        cells_put(&out, slice_str(r->name), 30, true);
        buf_addf(&out, "%7zu", r->total);
        for (size_t i = 0; i < AGES; i++) buf_addf(&out, "%6zu", r->by_age[i]);
        buf_addc(&out, '\n');
    }
    fwrite(out.p, 1, out.n, ctx->out);
    buf_release(&out);
}

int queue_run_histogram(struct context *ctx, struct queue *q, const struct filter *f, bool json) {
    struct histogram h = {.filter = f, .all = {.name = "TOTAL"}};
    struct err e = {0};
    enum err_code code = queue_walk(q, false, count_one, &h, &e);

    if (code == OK && h.bad) code = err_set(&e, ERR_MEMORY, "no memory to count");
    if (code == OK && !json) {
        fprintf(ctx->out, "%-30s%7s", "minutes in the queue", "total");
        for (size_t i = 0; i < AGES - 1; i++) fprintf(ctx->out, "%6u", age_minutes[i]);
        fprintf(ctx->out, "%6s\n", "more");
        put_row(ctx, &h.all, false);
    }
    if (h.n) qsort(h.v, h.n, sizeof *h.v, by_total);
    for (size_t i = 0; code == OK && i < h.n; i++) put_row(ctx, &h.v[i], json);
    free(h.v);
    return code == OK ? EX_OK : fail(ctx, &e);
}
