#include "pop3/client.h"

#include <stdlib.h>

#include "base/ascii.h"
#include "base/num.h"
#include "sasl/client.h"
#include "smtp/dot.h"

enum state { LOGON, WAIT_TLS, IDLE, BUSY, QUITTING, OVER };
enum { QUEUE_MAX = 4, LINGER_MS = 10 * 1000, OUT_MAX = 64 * 1024 };
/* What the bytes that come now are. */
enum reading { STATUS_LINE, LIST_LINES, TEXT };

struct job {
    enum pop3_command command;
    uint32_t number, lines;
};

struct pop3_client {
    struct pop3_client_config config;
    struct buf user, password, out, line, chunk;
    enum state state;
    enum reading reading;
    bool is_tls, chunk_given, capa_again, ready_due;
    unsigned caps, auth;
    const char *mechanism;
    struct sasl_client sasl;
    /* jobs[first..first+sent) are on their way, up to `count` wait. */
    struct job jobs[POP3_CLIENT_QUEUE_MAX];
    unsigned first, count, sent;
    struct smtp_dot_decoder dot;
    uint64_t items, octets;
    struct pop3_client_event queue[QUEUE_MAX];
    unsigned queued;
    mono_t now, deadline;
};

static const char *const type_names[] = {"reply", "need_tls", "ready",  "item",
                                         "data",  "end",      "closed", "fail"};
const char *pop3_client_type_name(enum pop3_client_type type) {
    return (unsigned)type < COUNT_OF(type_names) ? type_names[type] : "";
}
static const char *const command_names[POP3_COMMAND_COUNT] = {
    "GREETING", "CAPA", "STLS", "AUTH", "USER", "PASS", "STAT", "LIST",
    "UIDL",     "RETR", "TOP",  "DELE", "RSET", "NOOP", "QUIT"};
const char *pop3_command_name(enum pop3_command command) {
    return (unsigned)command < POP3_COMMAND_COUNT ? command_names[command] : "";
}

static void wipe(struct buf *b) {
    if (b->p) explicit_bzero(b->p, b->cap);
    buf_release(b);
}

static void arm(struct pop3_client *c) {
    if (c->state == OVER) c->deadline = c->out.n ? c->now + LINGER_MS : MONO_NEVER;
    else if (c->state == IDLE && !c->count) c->deadline = MONO_NEVER;
    else c->deadline = c->now + c->config.timeout_ms;
}

static struct job *job(struct pop3_client *c, unsigned i) {
    return &c->jobs[(c->first + i) % POP3_CLIENT_QUEUE_MAX];
}

static struct pop3_client_event *push(struct pop3_client *c, enum pop3_client_type type) {
    struct pop3_client_event *ev = &c->queue[c->queued < QUEUE_MAX ? c->queued++ : QUEUE_MAX - 1];
    *ev = (struct pop3_client_event){.type = type};
    if (c->count) {
        ev->command = job(c, 0)->command;
        ev->number = job(c, 0)->number;
    }
    return ev;
}

static void fail(struct pop3_client *c, enum err_code code, const char *text) {
    if (c->state == OVER) return;
    err_mail(&push(c, POP3_CLIENT_FAIL)->err, code, STATUS(4, 4, 2), "%s", text);
    c->state = OVER;
    arm(c);
}

static bool add(struct pop3_client *c, enum pop3_command command, uint32_t number, uint32_t lines) {
    if (c->count >= POP3_CLIENT_QUEUE_MAX || c->state >= QUITTING) return false;
    *job(c, c->count++) = (struct job){command, number, lines};
    return true;
}

static void write_job(struct pop3_client *c, const struct job *j) {
    const char *name = command_names[j->command];
    switch (j->command) {
    case POP3_USER: buf_addf(&c->out, "USER %.*s\r\n", SP(buf_slice(&c->user))); break;
    case POP3_PASS: buf_addf(&c->out, "PASS %.*s\r\n", SP(buf_slice(&c->password))); break;
    case POP3_AUTH:
        buf_addf(&c->out, "AUTH %s", c->mechanism);
        if (c->sasl.has_initial) buf_addf(&c->out, " %.*s", SP(buf_slice(&c->sasl.out)));
        buf_add(&c->out, S("\r\n"));
        break;
    case POP3_RETR:
    case POP3_DELE: buf_addf(&c->out, "%s %u\r\n", name, j->number); break;
    case POP3_TOP: buf_addf(&c->out, "TOP %u %u\r\n", j->number, j->lines); break;
    case POP3_GREETING: break;
    default: buf_addf(&c->out, "%s\r\n", name); break;
    }
}

// Send what may go: one at a time, or all with PIPELINING once logged in.
static void flush(struct pop3_client *c) {
    bool pipe = (c->caps & POP3_CAP_PIPELINING) && !c->config.avoid_pipelining && c->state != LOGON;
    while (c->sent < c->count && (pipe || !c->sent) && c->state != WAIT_TLS && c->state != OVER)
        write_job(c, job(c, c->sent++));
    arm(c);
}

static void login(struct pop3_client *c) {
    if (!c->is_tls && !c->config.plaintext_auth) {
        fail(c, ERR_TLS, "credentials are not sent without TLS");
        return;
    }
    if (!c->config.avoid_sasl && (c->caps & POP3_CAP_SASL) &&
        sasl_client_start(&c->sasl, c->auth, SASL_WITH_PASSWORD, buf_slice(&c->user),
                          buf_slice(&c->password), NULL)) {
        c->mechanism = sasl_client_name(&c->sasl);
        // RFC 5034 4: the line with an initial response is at most 255 octets.
        if (c->sasl.out.n > 200) {
            c->sasl.has_initial = false;
            c->sasl.state = 0;
        }
        add(c, POP3_AUTH, 0, 0);
        return;
    }
    sasl_client_release(&c->sasl);
    c->mechanism = "USER";
    add(c, POP3_USER, 0, 0);
}

static void logged_in(struct pop3_client *c) {
    c->state = IDLE;
    c->ready_due = true;
}

// CAPA was answered (or refused): what comes next.
static void after_capa(struct pop3_client *c) {
    if (c->config.is_logged_in || c->capa_again) logged_in(c);
    else if (!c->is_tls && c->config.tls != POP3_TLS_NONE) {
        // Without CAPA the command is tried: old servers know STLS and not CAPA.
        if ((c->caps & POP3_CAP_STLS) || !(c->caps & POP3_CAP_KNOWN)) add(c, POP3_STLS, 0, 0);
        else if (c->config.tls == POP3_TLS_REQUIRED)
            fail(c, ERR_TLS, "TLS is required but not offered");
        else login(c);
    } else login(c);
}

static void capa_line(struct pop3_client *c, struct slice line) {
    static const struct {
        struct slice word;
        unsigned bit;
    } words[] = {{S_INIT("TOP"), POP3_CAP_TOP},
                 {S_INIT("USER"), POP3_CAP_USER},
                 {S_INIT("UIDL"), POP3_CAP_UIDL},
                 {S_INIT("PIPELINING"), POP3_CAP_PIPELINING},
                 {S_INIT("STLS"), POP3_CAP_STLS},
                 {S_INIT("SASL"), POP3_CAP_SASL},
                 {S_INIT("RESP-CODES"), POP3_CAP_RESP_CODES},
                 {S_INIT("UTF8"), POP3_CAP_UTF8},
                 {S_INIT("LOGIN-DELAY"), POP3_CAP_LOGIN_DELAY},
                 {S_INIT("EXPIRE"), POP3_CAP_EXPIRE}};
    struct slice word;
    if (!slice_word(&line, &word)) return;
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (slice_ieq(word, words[i].word)) c->caps |= words[i].bit;
    if (slice_ieq(word, S("SASL"))) c->auth |= sasl_list(line);
}

// The first job is answered completely.
static void job_over(struct pop3_client *c) {
    c->first = (c->first + 1) % POP3_CLIENT_QUEUE_MAX;
    c->count--;
    if (c->sent) c->sent--;
    c->reading = STATUS_LINE;
}

static void status_line(struct pop3_client *c, struct slice line) {
    struct job j = *job(c, 0);
    struct slice rest, word;
    if (j.command == POP3_AUTH && (slice_starts(line, S("+ ")) || slice_eq(line, S("+")))) {
        bool ok = sasl_client_step(&c->sasl, slice_from(line, 2));
        buf_addf(&c->out, "%.*s\r\n", SP(ok ? buf_slice(&c->sasl.out) : S("*")));
        arm(c);
        return;
    }
    bool ok = slice_istarts(line, S("+OK"));
    if (!ok && !slice_istarts(line, S("-ERR"))) {
        fail(c, ERR_PROTO, "the server sent a line that is no reply");
        return;
    }
    rest = slice_trim(slice_from(line, ok ? 3 : 4));
    struct pop3_client_event *ev = push(c, POP3_CLIENT_REPLY);
    ev->is_ok = ok;
    size_t close = slice_chr(rest, ']');
    if (rest.n && rest.p[0] == '[' && close != SLICE_NONE) {
        ev->code = slice_of(rest.p + 1, close - 1);
        rest = slice_trim(slice_from(rest, close + 1));
    }
    ev->text = rest;
    struct slice code = ev->code;
    uint64_t n, size;
    switch (j.command) {
    case POP3_GREETING:
        job_over(c);
        if (ok) add(c, POP3_CAPA, 0, 0);
        else fail(c, ERR_PROTO, "the server refused the connection");
        break;
    case POP3_CAPA:
        if (ok) {
            c->caps = POP3_CAP_KNOWN;
            c->auth = 0;
            c->reading = LIST_LINES;
            c->items = 0;
        } else {
            job_over(c);
            if (!c->capa_again) c->caps = 0;
            after_capa(c);
        }
        break;
    case POP3_STLS:
        job_over(c);
        if (ok) {
            c->state = WAIT_TLS;
            push(c, POP3_CLIENT_NEED_TLS);
        } else if (c->config.tls == POP3_TLS_REQUIRED) fail(c, ERR_TLS, "the server refused STLS");
        else login(c);
        break;
    case POP3_USER:
        job_over(c);
        if (ok) add(c, POP3_PASS, 0, 0);
        else fail(c, ERR_DENIED, "the server refused the user name");
        break;
    case POP3_AUTH:
    case POP3_PASS:
        job_over(c);
        sasl_client_release(&c->sasl);
        // Capabilities may differ after the login: ask again (RFC 2449 5).
        if (ok && (c->caps & POP3_CAP_KNOWN)) {
            c->capa_again = true;
            add(c, POP3_CAPA, 0, 0);
        } else if (ok) logged_in(c);
        else
            fail(c,
                 slice_ieq(code, S("IN-USE")) || slice_istarts(code, S("SYS")) ? ERR_BUSY
                                                                               : ERR_DENIED,
                 slice_ieq(code, S("IN-USE")) ? "the maildrop is in use" : "the login was refused");
        break;
    case POP3_LIST:
    case POP3_UIDL:
        c->items = 0;
        if (ok) c->reading = LIST_LINES;
        else job_over(c);
        break;
    case POP3_RETR:
    case POP3_TOP:
        c->octets = 0;
        c->dot = (struct smtp_dot_decoder){0};
        if (ok) c->reading = TEXT;
        else job_over(c);
        break;
    case POP3_STAT:
        ev->number = 0;
        if (ok && slice_word(&rest, &word) && num_parse(word, UINT32_MAX, &n) &&
            slice_word(&rest, &word) && num_parse(word, UINT64_MAX, &size)) {
            ev->number = (uint32_t)n;
            ev->size = size;
        } else if (ok) {
            fail(c, ERR_PROTO, "the server's answer to STAT makes no sense");
            return;
        }
        job_over(c);
        break;
    case POP3_QUIT:
        job_over(c);
        push(c, POP3_CLIENT_CLOSED)->is_ok = ok;
        c->state = OVER;
        break;
    default: job_over(c); break;
    }
    flush(c);
}

static void list_line(struct pop3_client *c, struct slice line) {
    struct job j = *job(c, 0);
    struct slice word;
    uint64_t n, size;
    if (slice_eq(line, S("."))) {
        if (j.command == POP3_CAPA) {
            job_over(c);
            after_capa(c);
        } else {
            push(c, POP3_CLIENT_END)->size = c->items;
            job_over(c);
        }
        flush(c);
        return;
    }
    if (line.n > 1 && line.p[0] == '.') line = slice_from(line, 1);
    if (++c->items > POP3_CLIENT_ITEMS_MAX) {
        fail(c, ERR_LIMIT, "the server's list has no end");
        return;
    }
    if (j.command == POP3_CAPA) {
        capa_line(c, line);
        return;
    }
    if (!slice_word(&line, &word) || !num_parse(word, UINT32_MAX, &n) || !n ||
        !slice_word(&line, &word)) {
        fail(c, ERR_PROTO, "the server's list makes no sense");
        return;
    }
    size = 0;
    if (j.command == POP3_LIST && !num_parse(word, UINT64_MAX, &size)) {
        fail(c, ERR_PROTO, "the server's list makes no sense");
        return;
    }
    struct pop3_client_event *ev = push(c, POP3_CLIENT_ITEM);
    ev->number = (uint32_t)n;
    ev->size = size;
    if (j.command == POP3_UIDL) ev->uid = word;
}

static bool is_line(struct slice s) {
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '\r' || s.p[i] == '\n' || s.p[i] == '\0') return false;
    return s.n <= SASL_NAME_MAX;
}

struct pop3_client *pop3_client_new(const struct pop3_client_config *config, mono_t now) {
    struct pop3_client *c;
    if (!is_line(config->user) || !is_line(config->password)) return NULL;
    if (!(c = calloc(1, sizeof *c))) return NULL;
    c->config = *config;
    c->config.user = c->config.password = S("");
    if (!c->config.timeout_ms) c->config.timeout_ms = POP3_CLIENT_TIMEOUT_MS;
    c->mechanism = "";
    c->is_tls = config->tls == POP3_TLS_UP;
    c->now = now;
    buf_init(&c->user, SASL_NAME_MAX + 1);
    buf_init(&c->password, SASL_PASSWORD_MAX + 1);
    buf_init(&c->out, OUT_MAX);
    buf_init(&c->line, POP3_CLIENT_LINE_MAX);
    buf_init(&c->chunk, POP3_CLIENT_CHUNK_MAX + 8);
    if (!buf_add(&c->user, config->user) || !buf_add(&c->password, config->password)) {
        pop3_client_free(c);
        return NULL;
    }
    add(c, config->is_logged_in ? POP3_CAPA : POP3_GREETING, 0, 0);
    flush(c);
    return c;
}

void pop3_client_free(struct pop3_client *c) {
    if (!c) return;
    sasl_client_release(&c->sasl);
    wipe(&c->user);
    wipe(&c->password);
    wipe(&c->out);
    buf_release(&c->line);
    buf_release(&c->chunk);
    free(c);
}

static void take_text(struct pop3_client *c, struct slice *in) {
    size_t from = c->chunk.n;
    bool end = smtp_dot_take(&c->dot, in, &c->chunk, POP3_CLIENT_CHUNK_MAX);
    if (c->chunk.bad) {
        fail(c, ERR_MEMORY, "out of memory");
        return;
    }
    c->octets += c->chunk.n - from;
    if (!end) return;
    push(c, POP3_CLIENT_END)->size = c->octets;
    job_over(c);
    flush(c);
}

static void take_line(struct pop3_client *c, struct slice *in) {
    size_t lf = slice_chr(*in, '\n');
    struct slice part = slice_first(*in, lf == SLICE_NONE ? in->n : lf + 1);
    if (!buf_add(&c->line, part)) {
        fail(c, ERR_LIMIT, "the server sent a line that is too long");
        return;
    }
    *in = slice_from(*in, part.n);
    if (lf == SLICE_NONE) return;
    struct slice line = slice_chomp(buf_slice(&c->line));
    if (!c->count || !c->sent) fail(c, ERR_PROTO, "the server talks without being asked");
    else if (c->reading == LIST_LINES) list_line(c, line);
    else status_line(c, line);
    // The events point into the line: it is reset when the next one begins.
    c->line.n = c->queued ? c->line.n : 0;
}

static void tidy(struct pop3_client *c) {
    if (c->chunk_given) {
        buf_reset(&c->chunk);
        c->chunk_given = false;
    }
}

size_t pop3_client_feed(struct pop3_client *c, struct slice in, mono_t now) {
    size_t offered = in.n;
    c->now = now;
    if (c->state == OVER) return offered;
    tidy(c);
    while (in.n && c->state != OVER && !c->queued && !c->ready_due &&
           c->chunk.n < POP3_CLIENT_CHUNK_MAX) {
        if (c->state == WAIT_TLS) {
            fail(c, ERR_PROTO, "bytes after STLS, before TLS");
            return offered;
        }
        if (c->line.n && c->line.p[c->line.n - 1] == '\n') buf_reset(&c->line);
        if (c->reading == TEXT) take_text(c, &in);
        else if (c->chunk.n) break;
        else take_line(c, &in);
        arm(c);
    }
    return offered - in.n;
}

void pop3_client_eof(struct pop3_client *c, mono_t now) {
    c->now = now;
    fail(c, ERR_CLOSED, "the server closed the connection");
}

struct slice pop3_client_out(struct pop3_client *c) {
    return buf_slice(&c->out);
}
void pop3_client_sent(struct pop3_client *c, size_t n, mono_t now) {
    c->now = now;
    if (c->out.p && n >= c->out.n) explicit_bzero(c->out.p, c->out.n);
    buf_drop(&c->out, n);
    arm(c);
}
mono_t pop3_client_deadline(const struct pop3_client *c) { return c->deadline; }
void pop3_client_tick(struct pop3_client *c, mono_t now) {
    c->now = now;
    if (now < c->deadline) return;
    buf_reset(&c->out);
    if (c->state == OVER) arm(c);
    else fail(c, ERR_TIMEOUT, "timeout");
}
bool pop3_client_done(const struct pop3_client *c) { return c->state == OVER; }

static size_t op_feed(void *c, struct slice in, mono_t now) { return pop3_client_feed(c, in, now); }
static void op_eof(void *c, mono_t now) { pop3_client_eof(c, now); }
static struct slice op_out(void *c) { return pop3_client_out(c); }
static void op_sent(void *c, size_t n, mono_t now) { pop3_client_sent(c, n, now); }
static mono_t op_deadline(const void *c) { return pop3_client_deadline(c); }
static void op_tick(void *c, mono_t now) { pop3_client_tick(c, now); }
static bool op_done(const void *c) { return pop3_client_done(c); }
static const struct engine_ops ops = {op_feed,     op_eof,  op_out, op_sent,
                                      op_deadline, op_tick, op_done};
struct engine pop3_client_engine(struct pop3_client *c) {
    return (struct engine){&ops, c};
}

bool pop3_client_next(struct pop3_client *c, struct pop3_client_event *ev) {
    *ev = (struct pop3_client_event){0};
    tidy(c);
    // Order: what was said, the text, that it ended.
    bool end_first = c->chunk.n && c->queued && c->queue[0].type == POP3_CLIENT_END;
    if (c->queued && !end_first) {
        *ev = c->queue[0];
        memmove(c->queue, c->queue + 1, --c->queued * sizeof c->queue[0]);
        return true;
    }
    if (c->chunk.n) {
        ev->type = POP3_CLIENT_DATA;
        ev->command = POP3_RETR;
        if (c->reading == TEXT) {
            ev->command = job(c, 0)->command;
            ev->number = job(c, 0)->number;
        } else if (end_first) {
            ev->command = c->queue[0].command;
            ev->number = c->queue[0].number;
        }
        ev->data = buf_slice(&c->chunk);
        c->chunk_given = true;
        return true;
    }
    if (c->state == OVER || c->count) return false;
    if (c->state == BUSY) {
        c->state = IDLE;
        c->ready_due = true;
    }
    if (c->state != IDLE || !c->ready_due) return false;
    c->ready_due = false;
    arm(c);
    ev->type = POP3_CLIENT_READY;
    return true;
}

void pop3_client_tls_up(struct pop3_client *c, mono_t now) {
    if (c->state != WAIT_TLS) return;
    c->now = now;
    c->is_tls = true;
    c->caps = c->auth = 0;
    c->state = LOGON;
    add(c, POP3_CAPA, 0, 0);
    flush(c);
}

static bool queue_job(struct pop3_client *c, enum pop3_command command, uint32_t n,
                      uint32_t lines) {
    if ((c->state != IDLE && c->state != BUSY) || !add(c, command, n, lines)) return false;
    c->state = BUSY;
    c->ready_due = false;
    flush(c);
    return true;
}

bool pop3_client_stat(struct pop3_client *c) { return queue_job(c, POP3_STAT, 0, 0); }
bool pop3_client_list(struct pop3_client *c) { return queue_job(c, POP3_LIST, 0, 0); }
bool pop3_client_uidl(struct pop3_client *c) { return queue_job(c, POP3_UIDL, 0, 0); }
bool pop3_client_retr(struct pop3_client *c, uint32_t n) { return queue_job(c, POP3_RETR, n, 0); }
bool pop3_client_top(struct pop3_client *c, uint32_t n, uint32_t lines) {
    return queue_job(c, POP3_TOP, n, lines);
}
bool pop3_client_dele(struct pop3_client *c, uint32_t n) { return queue_job(c, POP3_DELE, n, 0); }
bool pop3_client_rset(struct pop3_client *c) { return queue_job(c, POP3_RSET, 0, 0); }
bool pop3_client_noop(struct pop3_client *c) { return queue_job(c, POP3_NOOP, 0, 0); }
bool pop3_client_quit(struct pop3_client *c) {
    if (!queue_job(c, POP3_QUIT, 0, 0)) return false;
    c->state = QUITTING;
    return true;
}

unsigned pop3_client_caps(const struct pop3_client *c) { return c->caps; }
bool pop3_client_is_tls(const struct pop3_client *c) { return c->is_tls; }
const char *pop3_client_mechanism(const struct pop3_client *c) { return c->mechanism; }
