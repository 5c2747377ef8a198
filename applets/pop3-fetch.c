/* pop3-fetch: empty or mirror a maildrop and lose nothing: a message is deleted from the server
 * only after it is durable here, and what was fetched is noted before that. RFC 1939 (POP3), 2449
 * (capabilities, response codes), 2595 and 8314 (TLS), 3206. */
#include <stdlib.h>
#include <sysexits.h>

#include "base/json.h"
#include "base/num.h"
#include "cli/applet.h"
#include "cli/exit.h"
#include "cli/secret.h"
#include "crypto/gnutls.h"
#include "deliver/seen.h"
#include "deliver/sink.h"
#include "mime/header.h"
#include "net/dial_url.h"
#include "pop3/client.h"
#include "store/store.h"
#include "sys/clock.h"

enum {
    BATCH = 128,                    /* messages made durable together */
    BATCH_BYTES = 16 * 1024 * 1024, /* or this much */
    WINDOW = 32,                    /* RETR on their way */
    MESSAGES_MAX = 1000 * 1000,     /* the highest message number */
    HOLD_MAX = 1024 * 1024 * 1024,  /* a message is held in memory while it comes in */
    KEY_OCTETS = 16
};

struct args {
    const char *maildir, *mbox, *deliver, *command;
    bool to_stdout, keep, delete, list, json, plaintext, require_tls, insecure, token, quiet;
    unsigned keep_days, limit, top, timeout;
    uint64_t max_size;
    const char *top_text, *state, *password_file, *password_fd, *password_command;
};

static const struct opt opts[] = {
    TEXT('m', "maildir", maildir, "DIR", "into the Maildir DIR (with cur, new, tmp)"),
    TEXT(0, "mbox", mbox, "FILE", "append to the mbox FILE"),
    TEXT('d', "deliver", deliver, "USER", "to a local user"),
    TEXT('c', "command", command, "CMD", "to sh -c CMD; a message it fails for stays"),
    FLAG(0, "stdout", to_stdout, "to standard output as an mbox; implies --keep, notes nothing"),
    FLAG('l', "list", list, "only list number, size and UIDL"),
    TEXT(0, "top", top_text, "N", "only headers and N lines of each, to standard output"),
    FLAG('k', "keep", keep, "leave the messages on the server; fetch only new ones"),
    UINT(0, "keep-days", keep_days, 36500, "N", "leave them for N days after they were fetched"),
    FLAG(0, "delete", delete, "delete also with --stdout"),
    UINT('n', "limit", limit, MESSAGES_MAX, "N", "fetch at most N messages"),
    SIZE(0, "max-size", max_size, "SIZE", "leave larger messages on the server"),
    TEXT(0, "state", state, "FILE", "note fetched messages here (default: below DATA/state)"),
    TEXT(0, "password-file", password_file, "FILE", "first line of FILE, which must be private"),
    TEXT(0, "password-fd", password_fd, "N", "first line from the open descriptor N"),
    TEXT(0, "password-command", password_command, "CMD", "first line that sh -c CMD prints"),
    FLAG(0, "token", token, "it is an access token, not a password (OAUTHBEARER, XOAUTH2)"),
    FLAG(0, "plaintext", plaintext, "pop3: no TLS, also to other hosts; the password is visible"),
    FLAG(0, "require-tls", require_tls, "pop3: STLS also on the loopback"),
    FLAG(0, "insecure", insecure, "take any certificate"),
    TIME('t', "timeout", timeout, "TIME", "wait this long for the server (default 60s)"),
    FLAG(0, "json", json, "one JSON object per message, and one for the run"),
    FLAG('q', "quiet", quiet, "say nothing when all is well"),
    OPT_END,
};

static const struct exit_doc exits[] = {
    {0, "done; what was to be fetched is safe"},
    {64, "the command line is wrong"},
    {67, "--deliver: there is no such user"},
    {69, "a library is missing"},
    {75, "network, TLS, maildrop in use, disk full, a command that failed: try again later"},
    {76, "the server does not speak POP3"},
    {77, "the server refused the login, or a file may not be used"},
    {78, "a setting is wrong"},
    {0, NULL},
};

enum fate { FATE_FETCH, FATE_KNOWN, FATE_SKIP, FATE_ASKED, FATE_HELD, FATE_SAFE, FATE_FAILED };
static const char *const fate_names[] = {"waiting", "known",   "skipped", "waiting",
                                         "waiting", "fetched", "failed"};

struct item {
    uint32_t number;
    uint64_t size;
    char *uid; /* NULL: the server has none, or not one of its own */
    enum fate fate;
    size_t at; /* in the sink's batch */
    bool wants_dele, is_deleted;
    char why[120];
};

enum phase { PHASE_START, PHASE_LIST, PHASE_IDS, PHASE_WORK, PHASE_QUIT };

struct run {
    struct context *ctx;
    const struct args *args;
    const struct dial_target *to;
    struct pop3_client *client;
    struct sink *sink;
    struct seen *seen;
    enum phase phase;
    struct item *v;
    size_t n, cap;
    size_t next_fetch, next_dele, next_id, asked, fetched_asked;
    uint32_t *by_number; /* index + 1 by number, up to `numbers` */
    size_t numbers;
    struct buf message;
    size_t held[BATCH];
    size_t n_held;
    uint64_t held_bytes, bytes;
    unsigned fetched, deleted, refused, failed, skipped, known;
    bool has_uidl, is_committed, is_first_batch, stops;
    int status;
    struct err err; /* why the dialogue ended */
};

static bool is_keeping(const struct run *r) {
    const struct args *a = r->args;

    return a->list || a->top_text || a->keep || a->keep_days || (a->to_stdout && !a->delete);
}

/* --- the list
 * ---------------------------------------------------------------------------------------- */

/* A message that was listed, or NULL. */
static struct item *item_of(struct run *r, uint32_t number) {
    return number < r->numbers && r->by_number[number] ? &r->v[r->by_number[number] - 1] : NULL;
}

static struct item *item_new(struct run *r, uint32_t number) {
    struct item *it = item_of(r, number);

    if (it) return it;
    if (number > MESSAGES_MAX) return NULL;
    if (number >= r->numbers) {
        size_t want = number < 512 ? 1024 : (size_t)number * 2;
        uint32_t *more = realloc(r->by_number, want * sizeof *more);

        if (!more) return NULL;
        memset(more + r->numbers, 0, (want - r->numbers) * sizeof *more);
        r->by_number = more;
        r->numbers = want;
    }
    if (r->n == r->cap) {
        size_t cap = r->cap ? r->cap * 2 : 256;
        struct item *more = realloc(r->v, cap * sizeof *more);

        if (!more) return NULL;
        r->v = more;
        r->cap = cap;
    }
    it = &r->v[r->n++];
    *it = (struct item){.number = number};
    r->by_number[number] = (uint32_t)r->n;
    return it;
}

static void stop(struct run *r, int status, const struct err *e) {
    if (!r->stops) r->err = *e;
    r->stops = true;
    r->status = status;
}

static void set_uid(struct item *it, struct slice uid) {
    free(it->uid);
    it->uid = NULL;
    if (uid.n == 0 || uid.n > SEEN_UID_MAX) return;
    for (size_t i = 0; i < uid.n; i++)
        if ((unsigned char)uid.p[i] <= ' ' || uid.p[i] == 127) return;
    it->uid = strndup(uid.p, uid.n);
}

static void on_item(struct run *r, const struct pop3_client_event *ev) {
    struct item *it = ev->command == POP3_LIST ? item_new(r, ev->number) : item_of(r, ev->number);

    if (!it && ev->command == POP3_UIDL) return; /* not in LIST: there is no such message */
    if (!it) {
        struct err e = {0};

        err_set(&e, ERR_LIMIT, "the server's list is too long");
        stop(r, EX_TEMPFAIL, &e);
    } else if (ev->command == POP3_LIST) {
        it->size = ev->size;
    } else {
        set_uid(it, ev->uid);
    }
}

static int by_uid(const void *a, const void *b) {
    const struct item *x = *(const struct item *const *)a, *y = *(const struct item *const *)b;

    return strcmp(x->uid, y->uid);
}

/* A UIDL that two messages share names neither (P-7). Returns how many messages have no name. */
static size_t drop_twins(struct run *r) {
    struct item **v = calloc(r->n + 1, sizeof *v);
    size_t n = 0, missing = 0;

    for (size_t i = 0; v && i < r->n; i++)
        if (r->v[i].uid) v[n++] = &r->v[i];
    if (n > 1) qsort(v, n, sizeof *v, by_uid);
    for (size_t i = 0; i + 1 < n; i++) {
        size_t k = i + 1;

        while (k < n && strcmp(v[i]->uid, v[k]->uid) == 0) k++;
        if (k == i + 1) continue;
        for (size_t j = i + 1; j < k; j++) set_uid(v[j], S(""));
        set_uid(v[i], S(""));
        i = k - 1;
    }
    free(v);
    for (size_t i = 0; i < r->n; i++) missing += r->v[i].uid == NULL;
    return missing;
}

static void hex(const uint8_t *p, size_t n, char *out) {
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * n] = '\0';
}

/* A name for a message without one: the hash of its header. */
static void name_by_header(struct run *r, uint32_t number) {
    struct item *it = item_of(r, number);
    uint8_t digest[32];
    char text[2 * KEY_OCTETS + 9] = "header:";
    size_t head = header_end(buf_slice(&r->message), NULL);

    if (!it || gnutls.gnutls_hash_fast(GNUTLS_DIG_SHA256, r->message.p ? r->message.p : "", head,
                                       digest) < 0)
        return;
    hex(digest, KEY_OCTETS, text + 7);
    set_uid(it, slice_str(text));
}

/* Where is this maildrop's state kept? */
static const char *state_path(struct run *r) {
    struct buf b;
    const char *path;

    if (r->args->state) return r->args->state;
    buf_init(&b, 1024);
    buf_addf(&b, "state/pop3/%s@%s:%u", r->to->user, r->to->host, r->to->port);
    for (size_t i = sizeof "state/pop3/" - 1; i < b.n; i++)
        if (b.p[i] == '/' || (unsigned char)b.p[i] <= ' ') b.p[i] = '_';
    path = b.bad ? NULL : conf_path(r->ctx->conf, buf_cstr(&b));
    buf_release(&b);
    return path;
}

/* What is to be done with each message. */
static void plan(struct run *r) {
    const struct args *a = r->args;
    uint64_t largest = a->max_size ? a->max_size : HOLD_MAX;
    wall_t now = clock_wall();
    unsigned want = 0;

    for (size_t i = 0; i < r->n; i++) {
        struct item *it = &r->v[i];
        wall_t fetched = r->seen && it->uid ? seen_find(r->seen, slice_str(it->uid), now) : 0;

        if (fetched) {
            it->fate = FATE_KNOWN;
            r->known++;
            it->wants_dele = !is_keeping(r) || (a->keep_days && !a->keep &&
                                                now - fetched >= (wall_t)a->keep_days * 86400);
        } else if (it->size > largest) {
            it->fate = FATE_SKIP;
            snprintf(it->why, sizeof it->why, "larger than %llu bytes",
                     (unsigned long long)largest);
            r->skipped++;
        } else if (a->limit && want == a->limit) {
            it->fate = FATE_SKIP;
            snprintf(it->why, sizeof it->why, "beyond --limit");
            r->skipped++;
        } else {
            it->fate = FATE_FETCH;
            want++;
        }
    }
}

/* --- telling
 * ----------------------------------------------------------------------------------------- */

static void tell(struct run *r, const struct item *it) {
    struct buf out;
    struct json j;

    if (!r->args->json) {
        if (it->fate == FATE_FAILED || (it->fate == FATE_SKIP && !r->args->limit))
            warnf(r->ctx, "message %u stays on the server: %s", it->number, it->why);
        return;
    }
    buf_init(&out, 16 * 1024);
    json_init(&j, &out);
    json_object(&j, NULL);
    json_int(&j, "v", 1);
    json_int(&j, "number", it->number);
    json_int(&j, "size", (int64_t)it->size);
    json_str_or_null(&j, "uid", slice_str(it->uid));
    if (!r->args->list) {
        json_str(&j, "action", slice_str(fate_names[it->fate]));
        json_bool(&j, "delete", it->wants_dele);
        if (it->why[0]) json_str(&j, "why", slice_str(it->why));
    }
    json_line(&j);
    fwrite(out.p, 1, out.n, r->ctx->out);
    buf_release(&out);
}

static void tell_end(struct run *r) {
    FILE *out = r->args->to_stdout || r->args->top_text ? r->ctx->err : r->ctx->out;

    if (r->args->json) {
        fprintf(r->ctx->out,
                "{\"v\":1,\"fetched\":%u,\"bytes\":%llu,\"known\":%u,\"skipped\":%u,\"failed\":%u,"
                "\"deleted\":%u,\"committed\":%s}\n",
                r->fetched, (unsigned long long)r->bytes, r->known, r->skipped, r->failed,
                r->is_committed ? r->deleted : 0, r->is_committed ? "true" : "false");
    } else if (!r->args->quiet) {
        fprintf(out, "%u message%s fetched (%llu bytes), %u known, %u skipped, %u deleted\n",
                r->fetched, r->fetched == 1 ? "" : "s", (unsigned long long)r->bytes, r->known,
                r->skipped + r->failed, r->is_committed ? r->deleted : 0);
    }
}

static void print_list(struct run *r) {
    uint64_t bytes = 0;

    if (!r->args->json) fputs("NUMBER       SIZE  UIDL\n", r->ctx->out);
    for (size_t i = 0; i < r->n; i++) {
        const struct item *it = &r->v[i];

        bytes += it->size;
        if (r->args->json) tell(r, it);
        else
            fprintf(r->ctx->out, "%6u %10llu  %s\n", it->number, (unsigned long long)it->size,
                    it->uid ? it->uid : "-");
    }
    if (!r->args->json)
        fprintf(r->ctx->out, "%zu message%s, %llu bytes\n", r->n, r->n == 1 ? "" : "s",
                (unsigned long long)bytes);
}

/* --- the work
 * ---------------------------------------------------------------------------------------- */

static void give_up(struct run *r, struct item *it, const char *why) {
    it->fate = FATE_FAILED;
    snprintf(it->why, sizeof it->why, "%.100s", why);
    r->failed++;
    r->status = EX_TEMPFAIL;
    tell(r, it);
}

/* Make what is held durable, note it, and only then let it be deleted. */
static void commit(struct run *r) {
    wall_t now = clock_wall();
    struct err e = {0};
    bool noted = true;

    if (r->n_held == 0) return;
    sink_commit(r->sink);
    for (size_t i = 0; i < r->n_held; i++) {
        struct item *it = &r->v[r->held[i]];

        if (sink_result(r->sink, it->at, &e) != OK) {
            give_up(r, it, e.msg);
            if (e.code == ERR_FULL || e.code == ERR_IO) stop(r, EX_TEMPFAIL, &e);
            continue;
        }
        it->fate = FATE_SAFE;
        r->fetched++;
        if (r->seen && it->uid && seen_add(r->seen, slice_str(it->uid), now, &e) != OK)
            noted = false;
    }
    if (r->seen && seen_flush(r->seen, &e) != OK) noted = false;
    for (size_t i = 0; i < r->n_held; i++) {
        struct item *it = &r->v[r->held[i]];

        if (it->fate != FATE_SAFE) continue;
        it->wants_dele = !is_keeping(r);
        tell(r, it);
    }
    if (!noted) stop(r, EX_TEMPFAIL, &e);
    r->n_held = 0;
    r->held_bytes = 0;
    r->is_first_batch = false;
    sink_begin(r->sink);
}

/* Keep the line full: deletions first, then messages. */
static void refill(struct run *r) {
    while (r->next_dele < r->n) {
        struct item *it = &r->v[r->next_dele];

        if (it->fate == FATE_FETCH || it->fate == FATE_ASKED || it->fate == FATE_HELD) break;
        if (it->wants_dele && !pop3_client_dele(r->client, it->number)) break;
        r->next_dele++;
    }
    while (!r->stops && r->next_fetch < r->n && r->asked < WINDOW) {
        struct item *it = &r->v[r->next_fetch];

        if (it->fate == FATE_FETCH) {
            bool ok = r->args->top_text ? pop3_client_top(r->client, it->number, r->args->top)
                                        : pop3_client_retr(r->client, it->number);

            if (!ok) break;
            it->fate = FATE_ASKED;
            r->asked++;
        } else if (it->fate == FATE_SKIP) {
            tell(r, it);
        }
        r->next_fetch++;
    }
}

/* The name of a message for a Maildir: who, which, what. The same message again gets the same. */
static void make_key(struct run *r, const struct item *it, char out[2 * KEY_OCTETS + 1]) {
    uint8_t digest[64];
    struct buf who;

    out[0] = '\0';
    buf_init(&who, 64 * 1024);
    if (it->uid && gnutls.gnutls_hash_fast(GNUTLS_DIG_SHA256, r->message.p ? r->message.p : "",
                                           r->message.n, digest) >= 0) {
        buf_addf(&who, "%s@%s:%u %s ", r->to->user, r->to->host, r->to->port, it->uid);
        buf_add(&who, slice_of((const char *)digest, 32));
        if (!who.bad && gnutls.gnutls_hash_fast(GNUTLS_DIG_SHA256, who.p, who.n, digest) >= 0)
            hex(digest, KEY_OCTETS, out);
    }
    buf_release(&who);
}

static void message_done(struct run *r, uint32_t number) {
    struct item *it = item_of(r, number);
    char key[2 * KEY_OCTETS + 1];
    struct err e = {0};

    r->asked--;
    if (!it || it->fate != FATE_ASKED) return;
    if (r->message.bad) {
        give_up(r, it, "it is too large, or memory is short");
    } else if (r->stops) {
        it->fate = FATE_FAILED;
    } else {
        make_key(r, it, key);
        if (sink_add(r->sink, buf_slice(&r->message), slice_str(key),
                     r->is_first_batch && r->seen && seen_was_cut(r->seen), &it->at, &e) != OK) {
            give_up(r, it, e.msg);
            if (!r->args->command || e.code != ERR_IO) stop(r, EX_TEMPFAIL, &e);
        } else {
            it->fate = FATE_HELD;
            r->bytes += r->message.n;
            r->held_bytes += r->message.n;
            r->held[r->n_held++] = (size_t)(it - r->v);
        }
    }
    if (r->message.cap > BATCH_BYTES) buf_release(&r->message);
    /* A command has the message for good, once: that is noted at once. */
    if (r->n_held == BATCH || r->held_bytes >= BATCH_BYTES || r->args->command) commit(r);
}

static void ask_ids(struct run *r) {
    while (r->next_id < r->n) {
        if (!r->v[r->next_id].uid && !pop3_client_top(r->client, r->v[r->next_id].number, 0))
            return;
        r->next_id++;
    }
}

static void quit(struct run *r) {
    r->phase = PHASE_QUIT;
    pop3_client_quit(r->client);
}

static void start_work(struct run *r) {
    struct err e = {0};
    const char *path;

    if (r->args->list) {
        print_list(r);
        quit(r);
        return;
    }
    if (!r->args->top_text && !(r->args->to_stdout && !r->args->delete)) {
        path = state_path(r);
        if (!path) err_set(&e, ERR_MEMORY, "no memory for the state");
        if (!path || seen_open(path, &r->seen, &e) != OK) {
            stop(r, exit_of(&e), &e);
            quit(r);
            return;
        }
    }
    plan(r);
    r->phase = PHASE_WORK;
}

static void ready(struct run *r) {
    size_t missing;

    switch (r->phase) {
    case PHASE_START:
        r->phase = PHASE_LIST;
        pop3_client_list(r->client);
        pop3_client_uidl(r->client);
        return;
    case PHASE_LIST:
        missing = drop_twins(r);
        if (missing > 0 && is_keeping(r) && !r->args->list && !r->args->top_text &&
            !r->args->to_stdout) {
            warnf(r->ctx, "the server gives no unique UIDL for %zu message%s; the header is used",
                  missing, missing == 1 ? "" : "s");
            r->phase = PHASE_IDS;
            ask_ids(r);
            return;
        }
        start_work(r);
        break;
    case PHASE_IDS:
        ask_ids(r);
        if (r->next_id < r->n) return;
        drop_twins(r);
        start_work(r);
        break;
    case PHASE_WORK: break;
    case PHASE_QUIT: return;
    }
    if (r->phase != PHASE_WORK) return;
    refill(r);
    if (r->asked == 0 && r->n_held > 0) {
        commit(r);
        refill(r);
    }
}

static void on_reply(struct run *r, const struct pop3_client_event *ev) {
    struct item *it;
    char why[120];

    if (ev->command == POP3_DELE) {
        it = item_of(r, ev->number);
        if (it) it->is_deleted = ev->is_ok;
        r->deleted += ev->is_ok;
        r->refused += !ev->is_ok;
    } else if (ev->is_ok) {
        if (ev->command == POP3_UIDL) r->has_uidl = true;
        if (ev->command == POP3_RETR || ev->command == POP3_TOP) buf_reset(&r->message);
    } else if (ev->command == POP3_LIST) {
        struct err e = {0};

        err_set(&e, ERR_PROTO, "the server refuses to list: %.*s", SP(slice_first(ev->text, 100)));
        stop(r, EX_PROTOCOL, &e);
    } else if (r->phase == PHASE_WORK && (ev->command == POP3_RETR || ev->command == POP3_TOP)) {
        it = item_of(r, ev->number);
        r->asked--;
        snprintf(why, sizeof why, "the server says: %.*s", SP(slice_first(ev->text, 80)));
        if (it) give_up(r, it, why);
    }
}

static void on_event(struct run *r, const struct pop3_client_event *ev) {
    switch (ev->type) {
    case POP3_CLIENT_READY: ready(r); break;
    case POP3_CLIENT_REPLY: on_reply(r, ev); break;
    case POP3_CLIENT_ITEM: on_item(r, ev); break;
    case POP3_CLIENT_DATA: buf_add(&r->message, ev->data); break;
    case POP3_CLIENT_END:
        if (ev->command != POP3_RETR && ev->command != POP3_TOP) break;
        if (r->phase == PHASE_IDS) name_by_header(r, ev->number);
        else message_done(r, ev->number);
        buf_reset(&r->message);
        break;
    case POP3_CLIENT_CLOSED: r->is_committed = ev->is_ok; break;
    case POP3_CLIENT_NEED_TLS: break; /* the dial did that */
    case POP3_CLIENT_FAIL: {
        struct err e = ev->err;

        /* What speaks something else will do so tomorrow. */
        if (e.code == ERR_PROTO) e.status = STATUS(0, 0, 0);
        stop(r, exit_of(&e), &e);
        break;
    }
    }
    if (r->phase == PHASE_WORK) {
        refill(r);
        if (ev->type == POP3_CLIENT_READY && r->asked == 0 && r->next_dele >= r->n) quit(r);
        else if (ev->type == POP3_CLIENT_READY && r->stops && r->asked == 0) quit(r);
    } else if (ev->type == POP3_CLIENT_READY && r->stops && r->phase != PHASE_QUIT) {
        quit(r);
    }
}

static void talk(struct run *r, struct dial_url *conn) {
    struct pop3_client_config config = {.is_logged_in = true,
                                        .tls = POP3_TLS_NONE,
                                        .timeout_ms =
                                            (r->args->timeout ? r->args->timeout : 60) * 1000};
    struct pop3_client_event ev;
    struct pump pump;
    struct err e = {0};

    r->client = pop3_client_new(&config, clock_mono());
    if (!r->client) {
        err_set(&e, ERR_MEMORY, "no memory for a session");
        stop(r, EX_OSERR, &e);
        return;
    }
    pump_init_io(&pump, pop3_client_engine(r->client), dial_url_io(conn));
    for (;;) {
        while (pop3_client_next(r->client, &ev)) on_event(r, &ev);
        if (!pump_step(&pump)) break;
    }
    pump_release(&pump);
    /* The connection broke: what is complete is kept all the same. */
    commit(r);
    pop3_client_free(r->client);
}

/* --- the applet
 * -------------------------------------------------------------------------------------- */

static int finish(struct run *r) {
    struct err e = {0};
    wall_t now = clock_wall();
    unsigned wanted = 0;

    for (size_t i = 0; i < r->n; i++) wanted += r->v[i].wants_dele;
    if (r->seen && r->is_committed) {
        for (size_t i = 0; i < r->n; i++)
            if (r->v[i].is_deleted && r->v[i].uid) seen_drop(r->seen, slice_str(r->v[i].uid));
        if (seen_finish(r->seen, now, &e) != OK) {
            r->status = EX_TEMPFAIL;
            warnf(r->ctx, "%s", e.msg);
        }
    }
    if (!r->args->list) tell_end(r);
    if (r->stops) {
        warnf(r->ctx, "%s", r->err.msg);
    } else if (!r->is_committed) {
        warnf(r->ctx, "the server did not carry out the deletions; they are done next time");
        r->status = EX_TEMPFAIL;
    }
    if (r->refused > 0) {
        warnf(r->ctx, "the server refused to delete %u message%s; tried again next time",
              r->refused, r->refused == 1 ? "" : "s");
        r->status = r->status ? r->status : EX_TEMPFAIL;
    }
    if (r->stops && wanted > 0 && !r->is_committed)
        warnf(r->ctx, "%u deletions were not carried out; they are done next time", wanted);
    return r->status;
}

static void release(struct run *r) {
    seen_close(r->seen);
    sink_close(r->sink);
    for (size_t i = 0; i < r->n; i++) free(r->v[i].uid);
    free(r->v);
    free(r->by_number);
    buf_release(&r->message);
}

/* The password in a URL is seen by everybody who lists processes: cover it. */
static void cover_password(char *url) {
    char *at = strrchr(url, '@'), *colon = strstr(url, "://");

    colon = colon && at ? memchr(colon + 3, ':', (size_t)(at - colon - 3)) : NULL;
    for (char *p = colon ? colon + 1 : at; colon && p < at; p++) *p = 'x';
}

static int connect_and_talk(struct run *r, const char *password) {
    const struct args *a = r->args;
    struct dial_url_options o = {.to = r->to,
                                 .conf = r->ctx->conf,
                                 .user = r->to->user,
                                 .password = password,
                                 .is_token = a->token,
                                 .timeout_s = a->timeout,
                                 .tls = a->insecure ? DIAL_URL_INSECURE : DIAL_URL_VERIFY};
    struct dial_url *conn;
    struct err e = {0};

    /* Nobody listens on the loopback; anywhere else clear text must be asked for. */
    if (a->plaintext || (r->to->is_loopback && !a->require_tls && !r->to->is_implicit_tls))
        o.tls = DIAL_URL_CLEAR;
    if (dial_url(&o, &conn, &e) != OK) return fail(r->ctx, &e);
    talk(r, conn);
    dial_url_free(conn);
    return finish(r);
}

static int check_args(struct context *ctx, const struct args *a, const struct dial_target *to) {
    int places = !!a->maildir + !!a->mbox + !!a->deliver + !!a->command +
                 (a->to_stdout || a->top_text) + a->list;

    if (places != 1)
        return failf(ctx, EX_USAGE,
                     "exactly one of --maildir, --mbox, --deliver, --command, --stdout (or --top) "
                     "and --list");
    if (a->json && (a->to_stdout || a->top_text))
        return failf(ctx, EX_USAGE, "--json and messages on standard output exclude each other");
    if ((a->keep || a->keep_days) && a->delete)
        return failf(ctx, EX_USAGE, "--keep and --delete exclude each other");
    if (to->is_imap) return failf(ctx, EX_USAGE, "that is an IMAP URL; see imap-list");
    if (!to->user || !to->user[0])
        return failf(ctx, EX_USAGE, "the URL has no user: %s://USER@%s", to->scheme, to->host);
    if (to->path[0]) return failf(ctx, EX_USAGE, "a POP3 URL has no path: \"/%s\"", to->path);
    if (a->plaintext && (to->is_implicit_tls || a->require_tls))
        return failf(ctx, EX_USAGE, "--plaintext contradicts %s",
                     to->is_implicit_tls ? "pop3s" : "--require-tls");
    return EX_OK;
}

static int run(struct context *ctx, const void *p) {
    struct args args = *(const struct args *)p;
    struct sink_to to = {
        .maildir = args.maildir, .mbox = args.mbox, .user = args.deliver, .command = args.command};
    struct secret_source source = {args.password_file, args.password_fd, args.password_command};
    struct dial_target target;
    struct run r = {.ctx = ctx, .args = &args, .to = &target, .is_first_batch = true};
    struct buf password;
    struct arena arena;
    struct err e = {0};
    char prompt[600];
    uint64_t lines;
    int status;
    enum err_code code;

    arena_init(&arena, 256 * 1024);
    buf_init(&password, SECRET_MAX);
    buf_init(&r.message,
             args.max_size && args.max_size < HOLD_MAX ? (size_t)args.max_size + 65536 : HOLD_MAX);
    if (args.top_text) {
        if (!num_parse(slice_str(args.top_text), UINT32_MAX, &lines))
            return failf(ctx, EX_USAGE, "--top wants a number of lines");
        args.top = (unsigned)lines;
    }
    code = dial_target_parse(ctx->operands[0], &arena, &target, &e);
    if (code == OK) code = gnutls_load(&e);
    status = code == OK ? check_args(ctx, &args, &target) : fail(ctx, &e);
    if (status == EX_OK && target.password) {
        if (!target.is_loopback)
            warnf(ctx, "a password in the URL is visible to others; use --password-file");
        cover_password(ctx->operands[0]);
    } else if (status == EX_OK) {
        snprintf(prompt, sizeof prompt, "password of %.200s at %.300s: ", target.user, target.host);
        code = secret_get(ctx, &source, prompt, &password, &e);
        if (code != OK) status = fail(ctx, &e);
    }
    if (status == EX_OK && !args.list) {
        if (args.to_stdout || args.top_text) to.stream = ctx->out;
        code = sink_open(&to, ctx->conf, &r.sink, &e);
        if (code != OK) status = fail(ctx, &e);
    }
    if (status == EX_OK)
        status = connect_and_talk(&r, target.password ? target.password : buf_cstr(&password));
    release(&r);
    secret_wipe(&password);
    arena_release(&arena);
    return status;
}

const struct applet applet_pop3_fetch = {
    .name = "pop3-fetch",
    .summary = "fetch mail from a POP3 server, losing nothing",
    .operands = "pop3s://USER@HOST[:PORT]",
    .opts = opts,
    .args_size = sizeof(struct args),
    .settings = "data hostname domain accounts aliases tls-ca resolver dnssec trust-anchor",
    .exits = exits,
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
