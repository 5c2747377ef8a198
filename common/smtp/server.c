#include "smtp/server.h"

#include <stdlib.h>

#include "base/ascii.h"
#include "smtp/server_impl.h"

static const char *const type_names[] = {"connect", "helo", "mail", "rcpt",    "data",
                                         "chunk",   "end",  "auth", "xclient", "need_tls",
                                         "reset",   "bye",  "fail"};
const char *smtp_server_type_name(enum smtp_server_type type) {
    return (unsigned)type < COUNT_OF(type_names) ? type_names[type] : "";
}

// --- small things -----------------------------------------------------------------------------

void smtp_server_put(struct smtp_server *s, unsigned code, struct mail_status st,
                     struct slice text) {
    if (!smtp_server_offers(s, SMTP_EXT_ENHANCEDSTATUSCODES)) st.cls = 0;
    smtp_reply_put(&s->out, code, st, text);
    s->needs_arm = true;
}

void smtp_server_push(struct smtp_server *s, enum smtp_server_type type) {
    if (s->queued < QUEUE_MAX) s->queue[s->queued++] = type;
}

void smtp_server_ask(struct smtp_server *s, enum smtp_server_type type) {
    smtp_server_push(s, type);
    s->has_wait = true;
    s->is_pulled = false;
    s->wait = type;
    s->deadline = MONO_NEVER;
}

static void end(struct smtp_server *s) {
    s->state = STATE_END;
    s->has_wait = false;
    s->in_mail = false;
    s->deadline = s->out.n ? s->now + LINGER_MS : MONO_NEVER;
}

void smtp_server_die(struct smtp_server *s, unsigned code, struct mail_status st,
                     enum err_code what, const char *text) {
    if (s->state == STATE_END) return;
    if (code) smtp_server_put(s, code, st, slice_str(text));
    err_mail(&s->err, what, st, "%s", text);
    end(s);
    smtp_server_push(s, SMTP_SERVER_FAIL);
}

static void bye(struct smtp_server *s) {
    end(s);
    smtp_server_push(s, SMTP_SERVER_BYE);
}

void smtp_server_void(struct smtp_server *s) {
    if (s->in_mail) smtp_server_push(s, SMTP_SERVER_RESET);
    s->in_mail = s->in_bdat = s->bdat_failed = s->is_utf8 = false;
    s->rcpt_count = s->rcpt_tried = 0;
}

void smtp_server_bad(struct smtp_server *s, unsigned code, struct mail_status st,
                     struct slice text) {
    if (++s->bad >= s->config.bad_max)
        smtp_server_die(s, 421, STATUS(4, 7, 0), ERR_LIMIT, "too many errors");
    else smtp_server_put(s, code, st, text);
}

static void say_shutdown(struct smtp_server *s) {
    smtp_server_put(s, 421, STATUS(4, 3, 2),
                    s->bye.n ? buf_slice(&s->bye) : S("closing for maintenance"));
    bye(s);
}

// --- birth and death --------------------------------------------------------------------------

struct smtp_server *smtp_server_new(const struct smtp_server_config *config, mono_t now) {
    struct smtp_server *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    struct smtp_server_config *c = &s->config;
    *c = *config;
    c->hostname = slice_first(c->hostname, sizeof s->hostname);
    if (c->hostname.n) memcpy(s->hostname, c->hostname.p, c->hostname.n);
    c->hostname.p = s->hostname;
    if (!c->rcpt_max) c->rcpt_max = SMTP_SERVER_RCPT_MAX;
    if (c->rcpt_max > SMTP_SERVER_RCPT_CEILING) c->rcpt_max = SMTP_SERVER_RCPT_CEILING;
    if (!c->bad_max) c->bad_max = SMTP_SERVER_BAD_MAX;
    if (!c->auth_max) c->auth_max = SMTP_SERVER_AUTH_MAX;
    if (!c->mail_max) c->mail_max = SMTP_SERVER_MAIL_MAX;
    if (c->hold_max_s > SMTP_SECONDS_MAX) c->hold_max_s = SMTP_SECONDS_MAX;
    if (!c->commands_max) c->commands_max = SMTP_SERVER_COMMANDS_MAX;
    if (!c->command_ms) c->command_ms = SMTP_SERVER_COMMAND_MS;
    if (!c->data_ms) c->data_ms = SMTP_SERVER_DATA_MS;
    s->is_strict = c->newline == SMTP_NEWLINE_REFUSE ||
                   (c->newline == SMTP_NEWLINE_ROLE && c->role != SMTP_ROLE_SUBMISSION);
    s->is_tls = c->is_tls;
    s->now = s->born = now;
    buf_init(&s->line, SMTP_COMMAND_MAX);
    buf_init(&s->out, OUT_MAX);
    buf_init(&s->chunk, SMTP_SERVER_CHUNK_MAX);
    buf_init(&s->helo, SMTP_COMMAND_MAX);
    buf_init(&s->bye, SMTP_REPLY_OUT_MAX);
    buf_init(&s->skip_text, SMTP_REPLY_TEXT_MAX);
    smtp_server_ask(s, SMTP_SERVER_CONNECT);
    return s;
}

static void drop_answers(struct smtp_server *s, unsigned count) {
    for (unsigned i = 0; s->answers && i < count; i++) buf_release(&s->answers[i]);
    free(s->answers);
    s->answers = NULL;
    s->answered = 0;
}

static void wipe_line(struct smtp_server *s) {
    if (s->line.p) explicit_bzero(s->line.p, s->line.cap);
    buf_reset(&s->line);
}

void smtp_server_free(struct smtp_server *s) {
    if (!s) return;
    drop_answers(s, s->rcpt_count);
    sasl_server_release(&s->sasl);
    smtp_server_xclient_drop(s);
    wipe_line(s);
    buf_release(&s->line);
    buf_release(&s->out);
    buf_release(&s->chunk);
    buf_release(&s->helo);
    buf_release(&s->bye);
    buf_release(&s->skip_text);
    free(s);
}

// --- commands ---------------------------------------------------------------------------------

#define BAD_SEQUENCE(s) smtp_server_bad(s, 503, STATUS(5, 5, 1), S("bad sequence of commands"))
#define BAD_SYNTAX(s, text) smtp_server_bad(s, 501, STATUS(5, 5, 4), S(text))

static bool is_helo_name(const struct smtp_server *s, struct slice name) {
    if (!name.n) return false;
    if (s->config.role == SMTP_ROLE_SUBMISSION) return true; // phones call themselves anything
    if (name.p[0] == '[') return smtp_is_literal(name, true);
    // A trailing dot is harmless, and common.
    if (name.n > 1 && name.p[name.n - 1] == '.') name.n--;
    return smtp_is_domain(name, true);
}

static void helo(struct smtp_server *s, struct slice args) {
    struct slice name = S("");
    bool is_lmtp = s->config.role == SMTP_ROLE_LMTP;
    s->is_sync = true;
    if (is_lmtp != slice_eq(s->verb, S("LHLO"))) {
        smtp_server_bad(s, 500, STATUS(5, 5, 1),
                        is_lmtp ? S("this is LMTP: say LHLO") : S("this is not LMTP"));
        return;
    }
    slice_word(&args, &name);
    if (!is_helo_name(s, name)) {
        BAD_SYNTAX(s, "say who you are: a host name or an address literal");
        return;
    }
    s->name = name;
    smtp_server_void(s);
    smtp_server_ask(s, SMTP_SERVER_HELO);
}

static bool needs(struct smtp_server *s) {
    if (s->config.require_tls && !s->is_tls)
        smtp_server_bad(s, 530, STATUS(5, 7, 0), S("must issue a STARTTLS command first"));
    else if (s->config.require_auth && !s->is_auth)
        smtp_server_bad(s, 530, STATUS(5, 7, 0), S("authentication required"));
    else return false;
    return true;
}

static void refuse_err(struct smtp_server *s, const struct err *e) {
    unsigned code = e->code == ERR_UNSUPPORTED ? 555 : e->status.subject == 5 ? 501 : 553;
    smtp_server_bad(s, code, e->status, slice_str(e->msg));
}

static void mail(struct smtp_server *s, struct slice args) {
    struct err e = {0};
    unsigned flags =
        s->config.role == SMTP_ROLE_SUBMISSION ? SMTP_PATH_LENIENT | SMTP_PATH_LOCAL : 0;
    if (!s->is_helo || s->in_mail) {
        BAD_SEQUENCE(s);
        return;
    }
    if (needs(s)) return;
    if (!slice_istarts(args, S("FROM:"))) {
        BAD_SYNTAX(s, "MAIL FROM:<address>");
        return;
    }
    uint32_t exts = s->is_ehlo ? s->exts : 0;
    // Some clients give AUTH= or SIZE= after a HELO or without being offered them: harmless.
    exts |= SMTP_EXT_AUTH | (s->exts & SMTP_EXT_SIZE);
    if (smtp_mail_parse(slice_from(args, 5), flags, exts, &s->mail, &e)) refuse_err(s, &e);
    else if (s->config.size_max && s->mail.size > s->config.size_max)
        smtp_server_put(s, 552, STATUS(5, 3, 4), S("message too big"));
    else if (smtp_server_hold_is_over(s, &s->mail)) BAD_SYNTAX(s, "that is too far in the future");
    else if (s->mails >= s->config.mail_max)
        smtp_server_die(s, 421, STATUS(4, 7, 0), ERR_LIMIT, "too many messages, connect again");
    else {
        s->is_utf8 = s->mail.is_smtputf8;
        smtp_server_ask(s, SMTP_SERVER_MAIL);
    }
}

static void rcpt(struct smtp_server *s, struct slice args) {
    struct err e = {0};
    unsigned flags =
        s->config.role == SMTP_ROLE_SUBMISSION ? SMTP_PATH_LENIENT | SMTP_PATH_LOCAL : 0;
    if (!s->in_mail || s->in_bdat || s->bdat_failed) {
        BAD_SEQUENCE(s);
        return;
    }
    if (!slice_istarts(args, S("TO:"))) {
        BAD_SYNTAX(s, "RCPT TO:<address>");
        return;
    }
    s->rcpt_tried = 1;
    if (s->is_utf8) flags |= SMTP_PATH_UTF8;
    if (s->rcpt_count >= s->config.rcpt_max)
        smtp_server_put(s, 452, STATUS(4, 5, 3), S("too many recipients"));
    else if (smtp_rcpt_parse(slice_from(args, 3), flags, s->is_ehlo ? s->exts : 0, &s->rcpt, &e))
        refuse_err(s, &e);
    else smtp_server_ask(s, SMTP_SERVER_RCPT);
}

static void data(struct smtp_server *s, struct slice args) {
    s->is_sync = true;
    if (args.n) BAD_SYNTAX(s, "DATA takes no argument");
    else if (!s->in_mail || s->in_bdat || s->bdat_failed) BAD_SEQUENCE(s);
    else if (s->mail.body == SMTP_BODY_BINARYMIME) // RFC 3030 3
        smtp_server_bad(s, 503, STATUS(5, 5, 1), S("BODY=BINARYMIME needs BDAT"));
    else if (s->rcpt_count) smtp_server_ask(s, SMTP_SERVER_DATA);
    else if (s->rcpt_tried && s->config.role != SMTP_ROLE_LMTP)
        smtp_server_bad(s, 554, STATUS(5, 5, 1), S("no valid recipients"));
    else BAD_SEQUENCE(s);
}

static void bdat(struct smtp_server *s, struct slice args) {
    if (smtp_server_offers(s, SMTP_EXT_CHUNKING)) smtp_server_bdat(s, args);
    else smtp_server_bad(s, 502, STATUS(5, 5, 1), S("not implemented"));
}

static void rset(struct smtp_server *s, struct slice args) {
    (void)args;
    smtp_server_void(s);
    smtp_server_put(s, 250, STATUS(2, 0, 0), S("ok"));
}

static void noop(struct smtp_server *s, struct slice args) {
    (void)args;
    smtp_server_put(s, 250, STATUS(2, 0, 0), S("ok"));
}

static void quit(struct smtp_server *s, struct slice args) {
    (void)args;
    smtp_server_put(s, 221, STATUS(2, 0, 0), S("bye"));
    bye(s);
}

static void vrfy(struct smtp_server *s, struct slice args) {
    if (!args.n) BAD_SYNTAX(s, "VRFY needs an argument");
    else smtp_server_put(s, 252, STATUS(2, 1, 5), S("cannot verify; send a message and see"));
}

static void expn(struct smtp_server *s, struct slice args) {
    (void)args;
    smtp_server_bad(s, 502, STATUS(5, 5, 1), S("not implemented"));
}

static void help(struct smtp_server *s, struct slice args) {
    (void)args;
    smtp_server_put(s, 214, STATUS(2, 0, 0), S("see RFC 5321"));
}

static void starttls(struct smtp_server *s, struct slice args) {
    s->is_sync = true;
    if (args.n) BAD_SYNTAX(s, "STARTTLS takes no argument");
    else if (!s->config.offer_tls || !smtp_server_offers(s, SMTP_EXT_STARTTLS))
        smtp_server_bad(s, 502, STATUS(5, 5, 1), S("STARTTLS is not offered"));
    else if (s->is_tls || !s->is_ehlo || s->in_mail) BAD_SEQUENCE(s);
    else {
        smtp_server_put(s, 220, STATUS(2, 0, 0), S("ready for TLS"));
        s->state = STATE_TLS;
        smtp_server_push(s, SMTP_SERVER_NEED_TLS);
    }
}

static void auth_step(struct smtp_server *s, enum sasl_step step) {
    s->is_sync = true;
    s->state = STATE_COMMAND;
    switch (step) {
    case SASL_CHALLENGE:
        s->state = STATE_AUTH;
        buf_addf(&s->out, "334 %.*s\r\n", SP(buf_slice(&s->sasl.out)));
        s->needs_arm = true;
        return;
    case SASL_CLAIMED:
        if (!sasl_server_was_told(&s->sasl)) smtp_server_ask(s, SMTP_SERVER_AUTH);
        else {
            s->has_wait = s->is_pulled = true;
            s->wait = SMTP_SERVER_AUTH;
            smtp_server_reply(s, 535, STATUS(5, 7, 8), S(""));
        }
        return;
    case SASL_CANCELLED:
        smtp_server_bad(s, 501, STATUS(5, 7, 0), S("authentication cancelled"));
        break;
    case SASL_UNSUPPORTED: smtp_server_bad(s, 504, STATUS(5, 5, 4), S("no such mechanism")); break;
    default: smtp_server_bad(s, 501, STATUS(5, 5, 2), S("bad authentication data")); break;
    }
    sasl_server_release(&s->sasl);
}

static void auth(struct smtp_server *s, struct slice args) {
    struct slice mechanism = S(""), initial = S("");
    s->is_sync = true;
    if (!s->config.offer_auth || !smtp_server_offers(s, SMTP_EXT_AUTH))
        smtp_server_bad(s, 502, STATUS(5, 5, 1), S("AUTH is not offered"));
    else if (!smtp_server_offers_auth(s))
        smtp_server_bad(s, 538, STATUS(5, 7, 11), S("encryption required: STARTTLS first"));
    else if (!s->is_ehlo || s->in_mail || s->is_auth) BAD_SEQUENCE(s);
    else if (!slice_word(&args, &mechanism)) BAD_SYNTAX(s, "AUTH needs a mechanism");
    else {
        bool has = slice_word(&args, &initial);
        auth_step(s, sasl_server_start(&s->sasl, mechanism, has, initial, s->config.sasl));
    }
}

static const struct {
    struct slice verb;
    bool is_junk; // keeps a session alive and does nothing for mail
    void (*run)(struct smtp_server *s, struct slice args);
} commands[] = {
    {S_INIT("EHLO"), true, helo},  {S_INIT("HELO"), true, helo},
    {S_INIT("LHLO"), true, helo},  {S_INIT("MAIL"), false, mail},
    {S_INIT("RCPT"), false, rcpt}, {S_INIT("DATA"), false, data},
    {S_INIT("BDAT"), false, bdat}, {S_INIT("RSET"), true, rset},
    {S_INIT("NOOP"), true, noop},  {S_INIT("QUIT"), false, quit},
    {S_INIT("VRFY"), true, vrfy},  {S_INIT("EXPN"), true, expn},
    {S_INIT("HELP"), true, help},  {S_INIT("STARTTLS"), false, starttls},
    {S_INIT("AUTH"), false, auth}, {S_INIT("XCLIENT"), true, smtp_server_xclient},
};

static void command(struct smtp_server *s, struct slice line) {
    struct slice verb = S(""), args = slice_trim(line);
    if (++s->commands > s->config.commands_max) {
        smtp_server_die(s, 421, STATUS(4, 7, 0), ERR_LIMIT, "too many commands");
        return;
    }
    slice_word(&args, &verb);
    args = slice_trim(args);
    s->is_sync = !s->is_ehlo || !(s->exts & SMTP_EXT_PIPELINING);
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        if (slice_ieq(verb, commands[i].verb)) {
            s->verb = commands[i].verb;
            if (commands[i].is_junk && ++s->junk > SMTP_SERVER_JUNK_MAX) {
                smtp_server_die(s, 421, STATUS(4, 7, 0), ERR_LIMIT,
                                "too many commands and no mail");
                return;
            }
            commands[i].run(s, args);
            return;
        }
    smtp_server_bad(s, 500, STATUS(5, 5, 1), S("command not recognized"));
}

static void line_done(struct smtp_server *s) {
    struct slice line = buf_slice(&s->line);
    bool over = s->line_over;
    s->line_over = false;
    if (over) {
        if (s->state == STATE_AUTH) auth_step(s, SASL_MALFORMED);
        else smtp_server_bad(s, 500, STATUS(5, 5, 2), S("line too long"));
        wipe_line(s);
        return;
    }
    line.n--;
    bool crlf = line.n && line.p[line.n - 1] == '\r';
    if (crlf) line.n--;
    if (!crlf && s->is_strict) {
        smtp_server_die(s, 521, STATUS(5, 5, 2), ERR_PROTO, "bare LF in a command");
        return;
    }
    if (slice_chr(line, '\0') != SLICE_NONE || slice_chr(line, '\r') != SLICE_NONE) {
        if (s->state == STATE_AUTH) auth_step(s, SASL_MALFORMED);
        else smtp_server_bad(s, 500, STATUS(5, 5, 2), S("control characters in the command"));
    } else if (s->state == STATE_AUTH) auth_step(s, sasl_server_step(&s->sasl, line));
    else command(s, line);
    // What an event points at stays until its answer.
    if (!s->has_wait || s->wait == SMTP_SERVER_AUTH) wipe_line(s);
}

// --- the engine's verbs -----------------------------------------------------------------------

size_t smtp_server_feed(struct smtp_server *s, struct slice in, mono_t now) {
    size_t offered = in.n;
    s->now = now;
    if (s->state == STATE_END) return offered;
    if (s->chunk_given) {
        buf_reset(&s->chunk);
        s->chunk_given = false;
    }
    bool was_data = s->state == STATE_DATA || s->state == STATE_BDAT;
    while (in.n && s->state != STATE_END) {
        if (s->state == STATE_TLS) {
            buf_reset(&s->out);
            smtp_server_die(s, 0, STATUS(5, 5, 1), ERR_PROTO, "bytes after STARTTLS, before TLS");
            return offered;
        }
        if (s->state == STATE_CONNECT) s->is_early = !s->config.allow_early_talk;
        if (s->queued || s->has_wait) {
            // what is here before the answer to such a command was sent too early.
            if (s->has_wait && s->is_sync && !s->config.allow_early_talk) s->is_ahead = true;
            break;
        }
        if (s->is_ahead || (s->is_sync && s->out.n && !s->config.allow_early_talk)) {
            smtp_server_die(s, 554, STATUS(5, 5, 1), ERR_PROTO,
                            "you talked before it was your turn");
            in = slice_from(in, in.n); // of no more use
            break;
        }
        if (s->out.n >= OUT_HIGH) break;
        if (s->state == STATE_DATA || s->state == STATE_BDAT) {
            if (s->chunk.n >= SMTP_SERVER_CHUNK_MAX - 4) break;
            smtp_server_data_take(s, &in);
            continue;
        }
        size_t lf = slice_chr(in, '\n');
        struct slice part = slice_first(in, lf == SLICE_NONE ? in.n : lf + 1);
        if (!s->line_over && !buf_add(&s->line, part)) {
            s->line_over = true;
            wipe_line(s);
        }
        in = slice_from(in, part.n);
        if (lf != SLICE_NONE) {
            line_done(s);
            s->needs_arm = true;
            if (s->wants_shutdown && s->state == STATE_COMMAND && !s->in_mail && !s->has_wait)
                say_shutdown(s);
        }
    }
    size_t taken = offered - in.n;
    bool is_data = s->state == STATE_DATA || s->state == STATE_BDAT;
    if (s->state == STATE_END || s->has_wait) return taken;
    if (is_data) {
        // Time is granted for each step, so that a trickle does not hold the session for ever.
        if (!was_data || s->needs_arm || s->progress + taken >= SMTP_SERVER_DATA_STEP) {
            s->progress = 0;
            s->deadline = now + s->config.data_ms;
        } else s->progress += taken;
        s->needs_arm = false;
    } else if (s->needs_arm) {
        s->deadline = now + s->config.command_ms;
        s->needs_arm = false;
    }
    return taken;
}

void smtp_server_eof(struct smtp_server *s, mono_t now) {
    s->now = now;
    if (s->state == STATE_END) return;
    s->is_eof = true;
    if (s->has_wait) return; // the answer first: a message may be committed by now
    smtp_server_die(s, 0, STATUS(4, 4, 2), ERR_CLOSED,
                    s->state == STATE_DATA || s->state == STATE_BDAT
                        ? "the client went away in the middle of the message"
                        : "the client went away without QUIT");
}

struct slice smtp_server_out(struct smtp_server *s) {
    return buf_slice(&s->out);
}

void smtp_server_sent(struct smtp_server *s, size_t n, mono_t now) {
    s->now = now;
    buf_drop(&s->out, n);
    if (s->state == STATE_END) s->deadline = s->out.n ? now + LINGER_MS : MONO_NEVER;
    else if (!s->has_wait && s->needs_arm) {
        bool is_data = s->state == STATE_DATA || s->state == STATE_BDAT;
        s->deadline = now + (is_data ? s->config.data_ms : s->config.command_ms);
        s->needs_arm = false;
    }
}

mono_t smtp_server_deadline(const struct smtp_server *s) { return s->deadline; }

void smtp_server_tick(struct smtp_server *s, mono_t now) {
    s->now = now;
    if (now < s->deadline) return;
    if (s->state == STATE_END) {
        buf_reset(&s->out);
        s->deadline = MONO_NEVER;
    } else smtp_server_die(s, 421, STATUS(4, 4, 2), ERR_TIMEOUT, "timeout, closing");
}

bool smtp_server_done(const struct smtp_server *s) { return s->state == STATE_END; }

static size_t op_feed(void *s, struct slice in, mono_t now) { return smtp_server_feed(s, in, now); }
static void op_eof(void *s, mono_t now) { smtp_server_eof(s, now); }
static struct slice op_out(void *s) { return smtp_server_out(s); }
static void op_sent(void *s, size_t n, mono_t now) { smtp_server_sent(s, n, now); }
static mono_t op_deadline(const void *s) { return smtp_server_deadline(s); }
static void op_tick(void *s, mono_t now) { smtp_server_tick(s, now); }
static bool op_done(const void *s) { return smtp_server_done(s); }
static const struct engine_ops ops = {op_feed,     op_eof,  op_out, op_sent,
                                      op_deadline, op_tick, op_done};
struct engine smtp_server_engine(struct smtp_server *s) {
    return (struct engine){&ops, s};
}

bool smtp_server_next(struct smtp_server *s, struct smtp_server_event *ev) {
    *ev = (struct smtp_server_event){0};
    if (s->chunk_given) {
        buf_reset(&s->chunk);
        s->chunk_given = false;
    }
    if (s->chunk.n && (s->state != STATE_END || s->has_wait)) {
        ev->type = SMTP_SERVER_CHUNK;
        ev->data = buf_slice(&s->chunk);
        s->chunk_given = true;
        return true;
    }
    if (!s->queued) return false;
    ev->type = s->queue[0];
    memmove(s->queue, s->queue + 1, --s->queued * sizeof s->queue[0]);
    switch (ev->type) {
    case SMTP_SERVER_HELO:
        ev->verb = s->verb;
        ev->name = s->name;
        break;
    case SMTP_SERVER_MAIL: ev->mail = &s->mail; break;
    case SMTP_SERVER_RCPT:
        ev->rcpt = &s->rcpt;
        ev->index = s->rcpt_count;
        break;
    case SMTP_SERVER_DATA_END:
        ev->size = s->size;
        ev->flags = s->flags;
        break;
    case SMTP_SERVER_AUTH:
        ev->mechanism = slice_str(sasl_server_name(&s->sasl));
        ev->claim = s->sasl.claim;
        ev->authzid = buf_slice(&s->sasl.authzid);
        ev->authcid = buf_slice(&s->sasl.authcid);
        ev->password = buf_slice(&s->sasl.password);
        break;
    case SMTP_SERVER_XCLIENT: ev->xclient = s->xclient; break;
    case SMTP_SERVER_FAIL: ev->err = s->err; break;
    default: break;
    }
    if (s->has_wait && s->wait == ev->type) s->is_pulled = true;
    return true;
}

// --- answers ----------------------------------------------------------------------------------

static void banner(struct smtp_server *s, struct slice text) {
    if (s->is_early) {
        smtp_server_die(s, 554, STATUS(5, 5, 1), ERR_PROTO, "you talked before it was your turn");
        return;
    }
    buf_addf(&s->out, "220 %.*s %s %.*s\r\n", SP(s->config.hostname),
             s->config.role == SMTP_ROLE_LMTP ? "LMTP" : "ESMTP",
             SP(text.n ? slice_first(text, 200) : S("ready")));
    s->state = STATE_COMMAND;
    s->is_sync = true;
}

static struct mail_status fit(enum smtp_server_type type, unsigned code, struct mail_status st) {
    uint16_t cls = (uint16_t)(code / 100);
    if (st.cls == cls) return st;
    switch (type) {
    case SMTP_SERVER_MAIL: return STATUS(cls, 1, cls == 2 ? 0 : 8);
    case SMTP_SERVER_RCPT: return STATUS(cls, 1, cls == 2 ? 5 : 1);
    case SMTP_SERVER_AUTH: return STATUS(cls, 7, cls == 5 ? 8 : 0);
    case SMTP_SERVER_CONNECT:
    case SMTP_SERVER_HELO: return STATUS(cls, 7, cls == 2 ? 0 : 1);
    default: return STATUS(cls, cls == 4 ? 3 : 0, 0);
    }
}

static struct slice words(enum smtp_server_type type, unsigned code, struct slice text) {
    if (text.n) return text;
    if (code / 100 == 4) return S("not now, try again later");
    if (code / 100 == 5)
        return type == SMTP_SERVER_AUTH ? S("authentication failed") : S("refused");
    switch (type) {
    case SMTP_SERVER_MAIL: return S("sender ok");
    case SMTP_SERVER_RCPT: return S("recipient ok");
    case SMTP_SERVER_AUTH: return S("authentication successful");
    default: return S("ok");
    }
}

// The transaction ended with DATA_END answered.
static void message_over(struct smtp_server *s) {
    s->junk = 0;
    s->in_mail = s->is_utf8 = s->bdat_failed = false;
    s->rcpt_count = s->rcpt_tried = 0;
}

static void lmtp_answer(struct smtp_server *s, unsigned i, unsigned code, struct mail_status st,
                        struct slice text) {
    if (!s->answers && !(s->answers = calloc(s->rcpt_count, sizeof *s->answers))) {
        smtp_server_die(s, 421, STATUS(4, 3, 0), ERR_MEMORY, "out of memory");
        return;
    }
    struct buf *b = &s->answers[i];
    if (b->n) return;
    buf_init(b, 4 * SMTP_REPLY_OUT_MAX);
    if (!smtp_server_offers(s, SMTP_EXT_ENHANCEDSTATUSCODES)) st.cls = 0;
    if (!smtp_reply_put(b, code, st, slice_first(text, 1024))) {
        buf_reset(b);
        buf_add(b, code / 100 == 2 ? S("250 ok\r\n") : S("451 out of memory\r\n"));
    }
    s->answered++;
}

static void answered(struct smtp_server *s) {
    s->has_wait = false;
    s->needs_arm = true;
    sasl_server_release(&s->sasl);
    smtp_server_xclient_drop(s);
    wipe_line(s);
    if (s->state == STATE_END) return;
    if (s->is_eof) {
        s->out.n = 0;
        smtp_server_die(s, 0, STATUS(4, 4, 2), ERR_CLOSED, "the client went away without QUIT");
    } else if (s->wants_shutdown && s->state == STATE_COMMAND && !s->in_mail) say_shutdown(s);
    else if (s->bad >= s->config.bad_max)
        smtp_server_die(s, 421, STATUS(4, 7, 0), ERR_LIMIT, "too many errors");
}

static void lmtp_flush(struct smtp_server *s) {
    if (s->answered < s->rcpt_count || !s->has_wait) return;
    for (unsigned i = 0; i < s->rcpt_count; i++) buf_add(&s->out, buf_slice(&s->answers[i]));
    drop_answers(s, s->rcpt_count);
    message_over(s);
    answered(s);
}

void smtp_server_rcpt_reply(struct smtp_server *s, unsigned index, unsigned code,
                            struct mail_status st, struct slice text) {
    if (!s->has_wait || !s->is_pulled || s->wait != SMTP_SERVER_DATA_END ||
        s->config.role != SMTP_ROLE_LMTP || index >= s->rcpt_count)
        return;
    lmtp_answer(s, index, code, fit(s->wait, code, st), words(s->wait, code, text));
    lmtp_flush(s);
}

static void accept_event(struct smtp_server *s, unsigned code, struct mail_status st,
                         struct slice text) {
    switch (s->wait) {
    case SMTP_SERVER_CONNECT: banner(s, text); return;
    case SMTP_SERVER_HELO: smtp_server_greet(s, text); return;
    case SMTP_SERVER_XCLIENT:
        smtp_server_xclient_up(s);
        banner(s, text);
        return;
    case SMTP_SERVER_MAIL:
        s->mails++;
        s->in_mail = true;
        s->bdat_failed = false;
        s->is_utf8 = s->mail.is_smtputf8;
        s->rcpt_count = s->rcpt_tried = 0;
        break;
    case SMTP_SERVER_RCPT: s->rcpt_count++; break;
    case SMTP_SERVER_DATA:
        if (s->in_bdat) smtp_server_bdat_go(s, 0, st, text);
        else {
            buf_add(&s->out, S("354 end with CRLF.CRLF\r\n"));
            smtp_server_data_begin(s);
            s->state = STATE_DATA;
        }
        return;
    case SMTP_SERVER_DATA_END: message_over(s); break;
    case SMTP_SERVER_AUTH:
        s->is_auth = true;
        code = 235;
        break;
    default: break;
    }
    smtp_server_put(s, code, fit(s->wait, code, st), words(s->wait, code, text));
}

void smtp_server_reply(struct smtp_server *s, unsigned code, struct mail_status st,
                       struct slice text) {
    if (!s->has_wait || !s->is_pulled) return;
    enum smtp_server_type type = s->wait;
    if (code < 200 || code > 599) code = 451;
    if (type == SMTP_SERVER_DATA_END && s->config.role == SMTP_ROLE_LMTP && code != 421) {
        for (unsigned i = 0; i < s->rcpt_count && s->state != STATE_END; i++)
            lmtp_answer(s, i, code, fit(type, code, st), words(type, code, text));
        lmtp_flush(s);
        return;
    }
    if (code < 400) {
        s->has_wait = false; // a BDAT of no octets may ask the next question at once
        accept_event(s, type == SMTP_SERVER_DATA ? 354 : 250, st, text);
        if (!s->has_wait) answered(s);
        return;
    }
    if (type == SMTP_SERVER_AUTH && code / 100 == 5 && !s->is_eof && !s->wants_shutdown &&
        sasl_server_denied(&s->sasl) == SASL_CHALLENGE) {
        s->has_wait = false;
        auth_step(s, SASL_CHALLENGE);
        return;
    }
    st = fit(type, code, st);
    text = words(type, code, text);
    drop_answers(s, s->rcpt_count);
    if (type == SMTP_SERVER_DATA && s->in_bdat && code != 421) {
        s->has_wait = s->in_bdat = false;
        smtp_server_bdat_go(s, code, st, text);
        answered(s);
        return;
    }
    smtp_server_put(s, code, st, text);
    if (code == 421 || type == SMTP_SERVER_CONNECT) {
        bye(s);
        return;
    }
    if (type == SMTP_SERVER_DATA_END) message_over(s);
    if (type == SMTP_SERVER_DATA) smtp_server_void(s);
    if (type == SMTP_SERVER_AUTH && code / 100 == 5 && ++s->auth_failed >= s->config.auth_max)
        smtp_server_die(s, 421, STATUS(4, 7, 0), ERR_LIMIT, "too many failed logins");
    if (type == SMTP_SERVER_RCPT && code / 100 == 5) s->bad++;
    answered(s);
}

void smtp_server_ok(struct smtp_server *s) { smtp_server_reply(s, 250, STATUS(0, 0, 0), S("")); }

void smtp_server_tls_up(struct smtp_server *s, mono_t now) {
    if (s->state != STATE_TLS) return;
    s->now = now;
    s->is_tls = true;
    s->is_helo = s->is_ehlo = s->is_auth = s->is_sync = false;
    s->exts = 0;
    buf_reset(&s->helo);
    s->state = STATE_COMMAND;
    s->deadline = now + s->config.command_ms;
}

void smtp_server_shutdown(struct smtp_server *s, struct slice text) {
    if (s->state == STATE_END) return;
    s->wants_shutdown = true;
    buf_reset(&s->bye);
    buf_add(&s->bye, slice_first(text, 200));
    if (s->has_wait || s->in_mail || s->queued) return;
    if (s->state == STATE_COMMAND || s->state == STATE_AUTH) say_shutdown(s);
}

// --- questions --------------------------------------------------------------------------------

void smtp_server_rest(struct smtp_server *s) {
    if (s->has_wait || s->queued) return; // an event may point into them
    if (!s->line.n) buf_release(&s->line);
    if (!s->out.n) buf_release(&s->out);
    if (!s->chunk.n) buf_release(&s->chunk);
    if (!s->bye.n) buf_release(&s->bye);
    if (!s->bdat_skip) buf_release(&s->skip_text);
}

bool smtp_server_in_mail(const struct smtp_server *s) { return s->in_mail; }
bool smtp_server_is_tls(const struct smtp_server *s) { return s->is_tls; }
bool smtp_server_is_auth(const struct smtp_server *s) { return s->is_auth; }
bool smtp_server_is_esmtp(const struct smtp_server *s) { return s->is_ehlo; }
struct slice smtp_server_helo(const struct smtp_server *s) {
    return buf_slice(&s->helo);
}

const char *smtp_server_with(const struct smtp_server *s) {
    static const char *const names[3][4] = {
        {"ESMTP", "ESMTPS", "ESMTPA", "ESMTPSA"},
        {"LMTP", "LMTPS", "LMTPA", "LMTPSA"},
        {"UTF8SMTP", "UTF8SMTPS", "UTF8SMTPA", "UTF8SMTPSA"},
    };
    static const char *const lmtp8[4] = {"UTF8LMTP", "UTF8LMTPS", "UTF8LMTPA", "UTF8LMTPSA"};
    int i = (s->is_tls ? 1 : 0) + (s->is_auth ? 2 : 0);
    bool lmtp = s->config.role == SMTP_ROLE_LMTP;
    if (!s->is_ehlo) return "SMTP";
    if (s->is_utf8) return lmtp ? lmtp8[i] : names[2][i];
    return names[lmtp ? 1 : 0][i];
}
