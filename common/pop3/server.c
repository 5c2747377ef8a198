#include "pop3/server.h"

#include <stdlib.h>

#include "base/ascii.h"
#include "base/num.h"
#include "base/utf8.h"
#include "sasl/server.h"
#include "smtp/dot.h"

enum state { CONNECT, AUTHORIZATION, SASL, TRANSACTION, LISTING, SENDING, TLS, UPDATE, OVER };
enum { OUT_MAX = 256 * 1024, OUT_HIGH = 32 * 1024, QUEUE_MAX = 2, LINGER_MS = 30 * 1000 };

struct pop3_server {
    struct pop3_server_config config;
    struct buf hostname, user, line, out;
    enum state state;
    bool is_tls, is_utf8, line_over, is_eof, wants_shutdown, needs_arm, is_preauth;
    struct sasl_server sasl;
    struct slice login_user, login_password;
    const char *mechanism;
    const struct pop3_message *list;
    bool *deleted;
    size_t count, deleted_count;
    /* LISTING */
    size_t list_next;
    bool is_uidl;
    /* SENDING */
    size_t number;
    uint64_t lines, offset;
    bool asked_body, in_body, has_text, is_top;
    struct smtp_dot_encoder dot;
    enum pop3_server_type queue[QUEUE_MAX], wait;
    unsigned queued, bad, auth_failed;
    bool has_wait, is_pulled;
    struct err err;
    mono_t now, deadline;
};

static const char *const type_names[] = {"connect",  "login", "need_body", "update",
                                         "need_tls", "bye",   "fail"};
const char *pop3_server_type_name(enum pop3_server_type type) {
    return (unsigned)type < COUNT_OF(type_names) ? type_names[type] : "";
}

static void wipe(struct buf *b) {
    if (b->p) explicit_bzero(b->p, b->cap);
    buf_reset(b);
}

static void say(struct pop3_server *s, const char *text) {
    buf_addf(&s->out, "%s\r\n", text);
    s->needs_arm = true;
}

static void push(struct pop3_server *s, enum pop3_server_type type) {
    if (s->queued < QUEUE_MAX) s->queue[s->queued++] = type;
}

static void ask(struct pop3_server *s, enum pop3_server_type type) {
    push(s, type);
    s->has_wait = true;
    s->is_pulled = false;
    s->wait = type;
    s->deadline = MONO_NEVER;
}

static void end(struct pop3_server *s, enum pop3_server_type type) {
    s->state = OVER;
    s->has_wait = false;
    s->deadline = s->out.n ? s->now + LINGER_MS : MONO_NEVER;
    push(s, type);
}

static void die(struct pop3_server *s, enum err_code code, const char *text) {
    if (s->state == OVER) return;
    err_set(&s->err, code, "%s", text);
    end(s, POP3_SERVER_FAIL);
}

static void bad(struct pop3_server *s, const char *text) {
    say(s, text);
    if (++s->bad >= s->config.bad_max) die(s, ERR_LIMIT, "too many errors");
}

struct pop3_server *pop3_server_new(const struct pop3_server_config *config, mono_t now) {
    struct pop3_server *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->config = *config;
    buf_init(&s->hostname, 256);
    buf_init(&s->user, POP3_LINE_MAX);
    buf_init(&s->line, POP3_AUTH_MAX);
    buf_init(&s->out, OUT_MAX);
    buf_add(&s->hostname, slice_first(config->hostname, 255));
    if (!s->config.idle_ms) s->config.idle_ms = POP3_SERVER_IDLE_MS;
    if (!s->config.login_ms) s->config.login_ms = POP3_SERVER_LOGIN_MS;
    if (!s->config.bad_max) s->config.bad_max = POP3_SERVER_BAD_MAX;
    if (!s->config.auth_max) s->config.auth_max = POP3_SERVER_AUTH_MAX;
    s->is_tls = config->is_tls;
    s->now = now;
    ask(s, POP3_SERVER_CONNECT);
    return s;
}

void pop3_server_free(struct pop3_server *s) {
    if (!s) return;
    sasl_server_release(&s->sasl);
    wipe(&s->line);
    wipe(&s->user);
    buf_release(&s->line);
    buf_release(&s->user);
    buf_release(&s->hostname);
    buf_release(&s->out);
    free(s->deleted);
    free(s);
}

// --- commands ---------------------------------------------------------------------------------

static bool may_login(const struct pop3_server *s) { return s->is_tls || s->config.plaintext_auth; }

static void capa(struct pop3_server *s, struct slice args) {
    (void)args;
    say(s, "+OK capabilities follow");
    if (s->state == AUTHORIZATION && s->config.offer_tls && !s->is_tls) say(s, "STLS");
    if (may_login(s)) {
        buf_add(&s->out, S("USER\r\nSASL"));
        sasl_put_names(&s->out, sasl_server_offers(s->config.sasl), " ");
        say(s, "");
    }
    say(s, s->config.allow_utf8_login ? "UTF8 USER" : "UTF8");
    if (s->config.login_delay_s) buf_addf(&s->out, "LOGIN-DELAY %u\r\n", s->config.login_delay_s);
    say(s,
        "LANG\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nEXPIRE NEVER\r\n.");
}

static void stls(struct pop3_server *s, struct slice args) {
    (void)args;
    if (!s->config.offer_tls || s->is_tls) bad(s, "-ERR STLS is not offered");
    else if (s->is_utf8) bad(s, "-ERR STLS comes before UTF8"); // RFC 6856 2.1
    else {
        say(s, "+OK begin TLS");
        s->state = TLS;
        push(s, POP3_SERVER_NEED_TLS);
    }
}

static void utf8(struct pop3_server *s, struct slice args) {
    if (args.n) bad(s, "-ERR UTF8 takes no argument");
    else {
        s->is_utf8 = true;
        say(s, "+OK UTF-8 enabled");
    }
}

// RFC 6856 3: there is English only. The argument is a language range that is looked up: "en"
// is found for "en-GB" too.
static void lang(struct pop3_server *s, struct slice args) {
    struct slice primary, rest;
    slice_cut(args, '-', &primary, &rest);
    if (!args.n) say(s, "+OK languages follow\r\nen English\r\ni-default English\r\n.");
    else if (slice_ieq(args, S("i-default"))) say(s, "+OK i-default now in English");
    else if (slice_eq(args, S("*")) || slice_ieq(primary, S("en"))) say(s, "+OK en now in English");
    else bad(s, "-ERR there is no such language here");
}

static void user(struct pop3_server *s, struct slice args) {
    if (!may_login(s)) bad(s, "-ERR [AUTH] use STLS first");
    else if (!args.n) bad(s, "-ERR USER needs a name");
    else {
        buf_reset(&s->user);
        buf_add(&s->user, args);
        say(s, "+OK now the password");
    }
}

static void ask_login(struct pop3_server *s, struct slice name, struct slice password,
                      const char *mechanism) {
    s->login_user = name;
    s->login_password = password;
    s->mechanism = mechanism;
    ask(s, POP3_SERVER_LOGIN);
}

static void pass(struct pop3_server *s, struct slice args) {
    if (!s->user.n) bad(s, "-ERR USER first");
    else ask_login(s, buf_slice(&s->user), args, "USER");
}

static void sasl_step(struct pop3_server *s, enum sasl_step step) {
    s->state = AUTHORIZATION;
    switch (step) {
    case SASL_CHALLENGE:
        s->state = SASL;
        buf_addf(&s->out, "+ %.*s\r\n", SP(buf_slice(&s->sasl.out)));
        s->needs_arm = true;
        return;
    case SASL_CLAIMED:
        if (sasl_server_was_told(&s->sasl)) {
            s->has_wait = s->is_pulled = true;
            s->wait = POP3_SERVER_LOGIN;
            pop3_server_refuse(s, S("AUTH"), S("authentication failed"));
            return;
        }
        ask_login(s, buf_slice(&s->sasl.authcid), buf_slice(&s->sasl.password),
                  sasl_server_name(&s->sasl));
        return;
    case SASL_CANCELLED: bad(s, "-ERR cancelled"); break;
    case SASL_UNSUPPORTED: bad(s, "-ERR no such mechanism"); break;
    default: bad(s, "-ERR bad authentication data"); break;
    }
    sasl_server_release(&s->sasl);
}

static void auth(struct pop3_server *s, struct slice args) {
    struct slice mechanism = S(""), initial = S("");
    if (!slice_word(&args, &mechanism)) { // before RFC 5034: a list of mechanisms
        say(s, "+OK mechanisms follow");
        struct slice name;
        struct buf names;
        buf_init(&names, 256);
        if (may_login(s)) sasl_put_names(&names, sasl_server_offers(s->config.sasl), " ");
        struct slice rest = buf_slice(&names);
        while (slice_word(&rest, &name)) buf_addf(&s->out, "%.*s\r\n", SP(name));
        buf_release(&names);
        say(s, ".");
        return;
    }
    if (!may_login(s)) {
        bad(s, "-ERR [AUTH] use STLS first");
        return;
    }
    bool has = slice_word(&args, &initial);
    sasl_step(s, sasl_server_start(&s->sasl, mechanism, has, initial, s->config.sasl));
}

static void quit(struct pop3_server *s, struct slice args) {
    (void)args;
    if (s->state == TRANSACTION) {
        s->state = UPDATE;
        ask(s, POP3_SERVER_UPDATE);
    } else {
        say(s, "+OK bye");
        end(s, POP3_SERVER_BYE);
    }
}

// A message number that is there; says -ERR when not.
static bool take_number(struct pop3_server *s, struct slice *args, size_t *out) {
    struct slice word = S("");
    uint64_t n = 0;
    slice_word(args, &word);
    if (!num_parse(word, s->count, &n) || !n) bad(s, "-ERR no such message");
    else if (s->deleted[n - 1]) bad(s, "-ERR message is deleted");
    else {
        *out = (size_t)n - 1;
        return true;
    }
    return false;
}

// The same, and nothing behind it.
static bool take_last_number(struct pop3_server *s, struct slice args, size_t *out) {
    if (!take_number(s, &args, out)) return false;
    if (!slice_trim(args).n) return true;
    bad(s, "-ERR one message number is enough");
    return false;
}

static void stat(struct pop3_server *s, struct slice args) {
    uint64_t size = 0;
    (void)args;
    for (size_t i = 0; i < s->count; i++)
        if (!s->deleted[i]) size += s->list[i].size;
    buf_addf(&s->out, "+OK %zu %llu\r\n", s->count - s->deleted_count, (unsigned long long)size);
    s->needs_arm = true;
}

static void list_item(struct pop3_server *s, size_t i) {
    if (s->is_uidl) buf_addf(&s->out, "%zu %.*s\r\n", i + 1, SP(s->list[i].uid));
    else buf_addf(&s->out, "%zu %llu\r\n", i + 1, (unsigned long long)s->list[i].size);
}

// Lines of LIST or UIDL as long as there is room; output is pulled.
static void list_more(struct pop3_server *s) {
    while (s->list_next < s->count && s->out.n < OUT_HIGH) {
        if (!s->deleted[s->list_next]) list_item(s, s->list_next);
        s->list_next++;
    }
    if (s->list_next < s->count) return;
    say(s, ".");
    s->state = TRANSACTION;
}

static void list_start(struct pop3_server *s, struct slice args, bool is_uidl) {
    size_t i;
    s->is_uidl = is_uidl;
    if (args.n) {
        if (!take_last_number(s, args, &i)) return;
        buf_add(&s->out, S("+OK "));
        list_item(s, i);
        s->needs_arm = true;
        return;
    }
    buf_addf(&s->out, "+OK %zu messages\r\n", s->count - s->deleted_count);
    s->list_next = 0;
    s->state = LISTING;
    list_more(s);
}

static void list(struct pop3_server *s, struct slice args) { list_start(s, args, false); }
static void uidl(struct pop3_server *s, struct slice args) { list_start(s, args, true); }

static void send_start(struct pop3_server *s, size_t i, uint64_t lines) {
    s->number = i;
    s->lines = lines;
    s->is_top = lines != POP3_WHOLE;
    s->offset = 0;
    s->in_body = s->has_text = s->asked_body = false;
    s->dot = (struct smtp_dot_encoder){0};
    s->state = SENDING;
    s->deadline = MONO_NEVER;
}

static void retr(struct pop3_server *s, struct slice args) {
    size_t i;
    if (take_last_number(s, args, &i)) send_start(s, i, POP3_WHOLE);
}

static void top(struct pop3_server *s, struct slice args) {
    size_t i;
    uint64_t lines;
    if (!take_number(s, &args, &i)) return;
    if (num_parse(slice_trim(args), UINT64_MAX / 2, &lines)) send_start(s, i, lines);
    else bad(s, "-ERR TOP needs a number of lines");
}

static void dele(struct pop3_server *s, struct slice args) {
    size_t i;
    if (!take_last_number(s, args, &i)) return;
    s->deleted[i] = true;
    s->deleted_count++;
    say(s, "+OK marked");
}

static void noop(struct pop3_server *s, struct slice args) {
    (void)args;
    say(s, "+OK");
}

static void rset(struct pop3_server *s, struct slice args) {
    (void)args;
    if (s->count) memset(s->deleted, 0, s->count * sizeof *s->deleted);
    s->deleted_count = 0;
    say(s, "+OK");
}

// Logged in by the connection itself: a client that says USER and PASS anyway is told that all is
// well.
static void known(struct pop3_server *s, struct slice args) {
    (void)args;
    say(s, "+OK you are logged in");
}

enum { IN_AUTH = 1, IN_TRANS = 2, IN_PREAUTH = 4 };
static const struct {
    struct slice verb;
    int states;
    void (*run)(struct pop3_server *s, struct slice args);
} commands[] = {
    {S_INIT("CAPA"), IN_AUTH | IN_TRANS, capa},
    {S_INIT("QUIT"), IN_AUTH | IN_TRANS, quit},
    {S_INIT("STLS"), IN_AUTH, stls},
    {S_INIT("USER"), IN_AUTH, user},
    {S_INIT("PASS"), IN_AUTH, pass},
    {S_INIT("AUTH"), IN_AUTH, auth},
    {S_INIT("USER"), IN_PREAUTH, known},
    {S_INIT("PASS"), IN_PREAUTH, known},
    {S_INIT("UTF8"), IN_AUTH, utf8},
    {S_INIT("LANG"), IN_AUTH | IN_TRANS, lang},
    {S_INIT("STAT"), IN_TRANS, stat},
    {S_INIT("LIST"), IN_TRANS, list},
    {S_INIT("UIDL"), IN_TRANS, uidl},
    {S_INIT("RETR"), IN_TRANS, retr},
    {S_INIT("TOP"), IN_TRANS, top},
    {S_INIT("DELE"), IN_TRANS, dele},
    {S_INIT("NOOP"), IN_TRANS, noop},
    {S_INIT("RSET"), IN_TRANS, rset},
};

static void command(struct pop3_server *s, struct slice line) {
    struct slice verb, args;
    int here = s->state != TRANSACTION ? IN_AUTH : s->is_preauth ? IN_TRANS | IN_PREAUTH : IN_TRANS;
    bool is_known = false;
    slice_cut(line, ' ', &verb, &args);
    // PASS takes the rest of the line as it is: passwords may hold and end in blanks (P-6).
    if (!slice_ieq(verb, S("PASS"))) args = slice_trim(args);
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        if (!slice_ieq(slice_trim(verb), commands[i].verb)) continue;
        is_known = true;
        if (!(commands[i].states & here)) continue;
        commands[i].run(s, args);
        return;
    }
    bad(s, !is_known         ? "-ERR unknown command"
           : here == IN_AUTH ? "-ERR log in first"
                             : "-ERR not now");
}

static bool is_text_ok(const struct pop3_server *s, struct slice line) {
    return utf8_is_ascii(line) || (s->config.allow_utf8_login && utf8_valid(line));
}

static void line_done(struct pop3_server *s) {
    struct slice line = slice_chomp(buf_slice(&s->line));
    bool over = s->line_over || (s->state != SASL && s->line.n > POP3_LINE_MAX);
    s->line_over = false;
    if (over && s->state != SASL) bad(s, "-ERR line too long");
    else if (over || slice_chr(line, '\0') != SLICE_NONE || slice_chr(line, '\r') != SLICE_NONE) {
        if (s->state == SASL) sasl_step(s, SASL_MALFORMED);
        else bad(s, "-ERR control characters in the command");
    } else if (s->state == SASL) sasl_step(s, sasl_server_step(&s->sasl, line));
    else if (!is_text_ok(s, line)) bad(s, "-ERR not ASCII");
    else command(s, line);
    if (!s->has_wait || s->wait != POP3_SERVER_LOGIN) wipe(&s->line);
}

// --- the engine's verbs -----------------------------------------------------------------------

static void arm(struct pop3_server *s) {
    bool before = s->state == AUTHORIZATION || s->state == SASL || s->state == TLS;
    s->deadline = s->now + (before ? s->config.login_ms : s->config.idle_ms);
    s->needs_arm = false;
}

size_t pop3_server_feed(struct pop3_server *s, struct slice in, mono_t now) {
    size_t offered = in.n;
    s->now = now;
    if (s->state == OVER) return offered;
    while (in.n && s->state != OVER && !s->queued && !s->has_wait) {
        if (s->state == TLS) {
            buf_reset(&s->out);
            die(s, ERR_PROTO, "bytes after STLS, before TLS");
            return offered;
        }
        if (s->state == SENDING || s->state == LISTING || s->out.n >= OUT_HIGH) break;
        size_t lf = slice_chr(in, '\n');
        struct slice part = slice_first(in, lf == SLICE_NONE ? in.n : lf + 1);
        if (!s->line_over && !buf_add(&s->line, part)) {
            s->line_over = true;
            wipe(&s->line);
        }
        in = slice_from(in, part.n);
        if (lf == SLICE_NONE) continue;
        line_done(s);
        s->needs_arm = s->state != OVER;
    }
    if (s->needs_arm && !s->has_wait && s->state != SENDING && s->state != OVER) arm(s);
    return offered - in.n;
}

void pop3_server_eof(struct pop3_server *s, mono_t now) {
    s->now = now;
    s->is_eof = true;
    if (!s->has_wait) die(s, ERR_CLOSED, "the client went away without QUIT");
}

struct slice pop3_server_out(struct pop3_server *s) {
    return buf_slice(&s->out);
}

void pop3_server_sent(struct pop3_server *s, size_t n, mono_t now) {
    s->now = now;
    buf_drop(&s->out, n);
    if (s->state == LISTING) list_more(s);
    if (s->state == OVER) s->deadline = s->out.n ? now + LINGER_MS : MONO_NEVER;
    else if (!s->has_wait && (s->needs_arm || n)) arm(s);
}

mono_t pop3_server_deadline(const struct pop3_server *s) { return s->deadline; }

// RFC 1939 3: the autologout closes without a word, and deletes nothing (P-4).
void pop3_server_tick(struct pop3_server *s, mono_t now) {
    s->now = now;
    if (now < s->deadline) return;
    buf_reset(&s->out);
    if (s->state == OVER) s->deadline = MONO_NEVER;
    else die(s, ERR_TIMEOUT, "timeout");
}

bool pop3_server_done(const struct pop3_server *s) { return s->state == OVER; }

static size_t op_feed(void *s, struct slice in, mono_t now) { return pop3_server_feed(s, in, now); }
static void op_eof(void *s, mono_t now) { pop3_server_eof(s, now); }
static struct slice op_out(void *s) { return pop3_server_out(s); }
static void op_sent(void *s, size_t n, mono_t now) { pop3_server_sent(s, n, now); }
static mono_t op_deadline(const void *s) { return pop3_server_deadline(s); }
static void op_tick(void *s, mono_t now) { pop3_server_tick(s, now); }
static bool op_done(const void *s) { return pop3_server_done(s); }
static const struct engine_ops ops = {op_feed,     op_eof,  op_out, op_sent,
                                      op_deadline, op_tick, op_done};
struct engine pop3_server_engine(struct pop3_server *s) {
    return (struct engine){&ops, s};
}

bool pop3_server_next(struct pop3_server *s, struct pop3_server_event *ev) {
    *ev = (struct pop3_server_event){0};
    if (s->queued) {
        ev->type = s->queue[0];
        memmove(s->queue, s->queue + 1, --s->queued * sizeof s->queue[0]);
        if (ev->type == POP3_SERVER_LOGIN) {
            ev->mechanism = slice_str(s->mechanism);
            ev->claim = s->sasl.claim;
            ev->authzid = buf_slice(&s->sasl.authzid);
            ev->user = s->login_user;
            ev->password = s->login_password;
        }
        ev->deleted_count = s->deleted_count;
        ev->err = s->err;
        if (s->has_wait && s->wait == ev->type) s->is_pulled = true;
        return true;
    }
    if (s->state != SENDING || s->asked_body || s->out.n >= OUT_HIGH) return false;
    ev->type = POP3_SERVER_NEED_BODY;
    ev->number = s->number;
    ev->lines = s->lines;
    ev->offset = s->offset;
    s->asked_body = true;
    return true;
}

// --- answers ----------------------------------------------------------------------------------

static void answered(struct pop3_server *s) {
    s->has_wait = false;
    s->needs_arm = true;
    sasl_server_release(&s->sasl);
    s->login_user = s->login_password = S("");
    wipe(&s->line);
    if (s->is_eof && s->state != OVER) {
        buf_reset(&s->out);
        die(s, ERR_CLOSED, "the client went away without QUIT");
    } else if (s->wants_shutdown) pop3_server_shutdown(s);
}

void pop3_server_ok(struct pop3_server *s) {
    if (!s->has_wait || !s->is_pulled) return;
    if (s->wait == POP3_SERVER_CONNECT) {
        buf_addf(&s->out, "+OK %.*s POP3 ready\r\n", SP(buf_slice(&s->hostname)));
        s->state = AUTHORIZATION;
        answered(s);
    } else if (s->wait == POP3_SERVER_UPDATE) {
        say(s, "+OK bye");
        end(s, POP3_SERVER_BYE);
    }
}

void pop3_server_refuse(struct pop3_server *s, struct slice code, struct slice text) {
    bool body = s->state == SENDING && s->asked_body && !s->offset;
    if (!body && (!s->has_wait || !s->is_pulled)) return;
    enum pop3_server_type type = body ? POP3_SERVER_NEED_BODY : s->wait;
    if (type == POP3_SERVER_LOGIN && slice_eq(code, S("AUTH")) && !s->is_eof &&
        !s->wants_shutdown && sasl_server_denied(&s->sasl) == SASL_CHALLENGE) {
        s->has_wait = false;
        sasl_step(s, SASL_CHALLENGE);
        return;
    }
    buf_add(&s->out, S("-ERR "));
    if (code.n) buf_addf(&s->out, "[%.*s] ", SP(slice_first(code, 40)));
    text = slice_first(text.n ? text : S("refused"), 400);
    for (size_t i = 0; i < text.n; i++)
        buf_addc(&s->out, ascii_is_ctl(text.p[i]) ? '?' : text.p[i]);
    say(s, "");
    if (body) {
        s->state = TRANSACTION;
        s->asked_body = false;
        return;
    }
    if (type == POP3_SERVER_CONNECT || type == POP3_SERVER_UPDATE) {
        end(s, POP3_SERVER_BYE);
        return;
    }
    buf_reset(&s->user);
    answered(s);
    if (type == POP3_SERVER_LOGIN && ++s->auth_failed >= s->config.auth_max)
        die(s, ERR_LIMIT, "too many failed logins");
}

void pop3_server_maildrop(struct pop3_server *s, const struct pop3_message *messages, size_t n) {
    if (!s->has_wait || !s->is_pulled) return;
    if (s->wait != POP3_SERVER_LOGIN && s->wait != POP3_SERVER_CONNECT) return;
    if (n > POP3_MESSAGES_MAX) n = POP3_MESSAGES_MAX;
    if (!(s->deleted = calloc(n + 1, sizeof *s->deleted))) {
        pop3_server_refuse(s, S("SYS/TEMP"), S("out of memory"));
        return;
    }
    s->list = messages;
    s->count = n;
    s->state = TRANSACTION;
    if (s->wait == POP3_SERVER_CONNECT) {
        s->is_preauth = true;
        buf_addf(&s->out, "+OK %.*s POP3 ready, logged in, ", SP(buf_slice(&s->hostname)));
    } else {
        buf_add(&s->out, S("+OK "));
    }
    buf_addf(&s->out, "%zu messages\r\n", n);
    answered(s);
}

static void body_finish(struct pop3_server *s) {
    smtp_dot_end(&s->dot, &s->out);
    s->state = TRANSACTION;
    s->asked_body = false;
    s->needs_arm = true;
    if (s->wants_shutdown) pop3_server_shutdown(s);
}

// How much of `in` belongs to headers, blank line and the wanted body lines (P-2). True: all of it.
static bool top_cut(struct pop3_server *s, struct slice in, size_t *n) {
    size_t i = 0;
    while (i < in.n) {
        if (s->in_body && !s->lines) break;
        size_t lf = slice_chr(slice_from(in, i), '\n');
        size_t stop = lf == SLICE_NONE ? in.n : i + lf;
        for (size_t k = i; k < stop && !s->has_text; k++) s->has_text = in.p[k] != '\r';
        i = stop;
        if (lf == SLICE_NONE) break;
        i++;
        if (s->in_body) s->lines--;
        else s->in_body = !s->has_text;
        s->has_text = false;
    }
    *n = i;
    return !(s->in_body && !s->lines);
}

// A line of POP3 is text: NUL, which some clients end a string at, goes out as 0x80, as in IMAP.
static bool put_body(struct pop3_server *s, struct slice in) {
    for (size_t nul; (nul = slice_chr(in, '\0')) != SLICE_NONE;) {
        if (!smtp_dot_put(&s->dot, slice_first(in, nul), &s->out) ||
            !smtp_dot_put(&s->dot, S("\x80"), &s->out))
            return false;
        in = slice_from(in, nul + 1);
    }
    return smtp_dot_put(&s->dot, in, &s->out);
}

size_t pop3_server_body(struct pop3_server *s, struct slice chunk) {
    size_t n;
    if (s->state != SENDING || s->out.n >= OUT_HIGH) return 0;
    chunk = slice_first(chunk, POP3_BODY_MAX);
    if (!s->offset) {
        if (s->is_top) buf_add(&s->out, S("+OK top of message follows\r\n"));
        else buf_addf(&s->out, "+OK %llu octets\r\n", (unsigned long long)s->list[s->number].size);
    }
    n = chunk.n;
    bool more = !s->is_top || top_cut(s, chunk, &n);
    if (!put_body(s, slice_first(chunk, n))) {
        die(s, ERR_MEMORY, "out of memory");
        return 0;
    }
    s->offset += n;
    s->asked_body = false;
    if (!more) body_finish(s);
    return n;
}

void pop3_server_body_end(struct pop3_server *s) {
    if (s->state != SENDING) return;
    if (!s->offset) say(s, "+OK"); // an empty message
    body_finish(s);
}

void pop3_server_body_fail(struct pop3_server *s, const struct err *why) {
    if (s->state != SENDING) return;
    if (!s->offset) {
        pop3_server_refuse(s, S("SYS/TEMP"), slice_str(why->msg));
        return;
    }
    s->err = *why;
    end(s, POP3_SERVER_FAIL);
}

void pop3_server_tls_up(struct pop3_server *s, mono_t now) {
    if (s->state != TLS) return;
    s->now = now;
    s->is_tls = true;
    s->state = AUTHORIZATION;
    buf_reset(&s->user);
    arm(s);
}

void pop3_server_shutdown(struct pop3_server *s) {
    s->wants_shutdown = true;
    if (s->state == OVER || s->has_wait || s->state == SENDING || s->state == LISTING) return;
    if (s->state != TLS) say(s, "-ERR [SYS/TEMP] closing for maintenance");
    end(s, POP3_SERVER_BYE);
}

bool pop3_server_is_deleted(const struct pop3_server *s, size_t i) {
    return i < s->count && s->deleted[i];
}
bool pop3_server_is_tls(const struct pop3_server *s) { return s->is_tls; }
