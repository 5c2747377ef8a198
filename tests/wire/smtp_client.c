/* smtp-client. Options: lmtp, name, tls opportunistic|required|up, user, password, plaintext-auth,
 * scram, binding (sasl_world.h), stop STAGE, window N, without WORD...; the message: from, rcpt
 * ADDRESS... (blanks between), size, 8bit, utf8, notify WORDS, envid, ret, messages N; body TEXT
 * (escaped). */
#include <stdlib.h>

#include "sasl_world.h"
#include "smtp/client.h"
#include "wire.h"

struct self {
    struct smtp_client *c;
    struct slice options;
    struct smtp_client_rcpt rcpts[200];
    struct buf body;
    size_t given, piece;
    unsigned left;
    bool wants, is_ready;
};

static void *open_it(struct slice o, size_t piece, mono_t now) {
    struct smtp_client_config c = {.ehlo_name = S("me.example")};
    struct slice tls = wire_option(o, S("tls")), w;
    struct self *s = calloc(1, sizeof *s);
    if (slice_eq(tls, S("opportunistic"))) c.tls = SMTP_TLS_OPPORTUNISTIC;
    if (slice_eq(tls, S("required"))) c.tls = SMTP_TLS_REQUIRED;
    if (slice_eq(tls, S("up"))) c.tls = SMTP_TLS_UP;
    c.is_lmtp = wire_flag(o, "lmtp");
    c.user = wire_option(o, S("user"));
    c.password = wire_option(o, S("password"));
    c.sasl = sasl_world(wire_flag(o, "scram"), wire_flag(o, "binding"), false);
    c.plaintext_auth = wire_flag(o, "plaintext-auth");
    c.stop_after = smtp_stage_find(wire_option(o, S("stop")));
    c.window = (unsigned)wire_number(o, "window");
    struct slice without = wire_option(o, S("without"));
    while (slice_word(&without, &w)) c.without |= smtp_ext_find(w);
    s->options = o;
    s->piece = piece;
    s->left = wire_flag(o, "messages") ? (unsigned)wire_number(o, "messages") : 1;
    buf_init(&s->body, 1 << 20);
    wire_unescape(&s->body, wire_option(o, S("body")));
    s->c = smtp_client_new(&c, now);
    return s;
}

static bool next(void *self, struct buf *t, struct slice *data) {
    struct self *s = self;
    struct smtp_client_event ev;
    (void)data;
    while (smtp_client_next(s->c, &ev)) {
        if (ev.type == SMTP_CLIENT_NEED_BODY && ev.offset) { // only the first one is shown
            size_t n = s->body.n - s->given;
            if (s->piece && n > s->piece) n = s->piece;
            if (!n) smtp_client_body_end(s->c);
            else s->given += smtp_client_body(s->c, slice_of(s->body.p + s->given, n));
            continue;
        }
        buf_addf(t, "%s", smtp_client_type_name(ev.type));
        switch (ev.type) {
        case SMTP_CLIENT_REPLY:
            buf_addf(t, " %s %u %u", smtp_stage_name(ev.stage), ev.index, ev.reply.code);
            if (ev.reply.status.cls)
                buf_addf(t, " %u.%u.%u", ev.reply.status.cls, ev.reply.status.subject,
                         ev.reply.status.detail);
            buf_addc(t, ' ');
            wire_escape(t, ev.reply.text);
            break;
        case SMTP_CLIENT_RESULT:
            for (size_t i = 0; i < 200 && s->rcpts[i].address.n; i++) {
                struct smtp_client_result r = smtp_client_result(s->c, i);
                buf_addf(t, " %s:%s:%u:%u.%u.%u",
                         r.class == SMTP_CLASS_OK          ? "ok"
                         : r.class == SMTP_CLASS_TEMPORARY ? "temp"
                                                           : "perm",
                         smtp_stage_name(r.stage), r.code, r.status.cls, r.status.subject,
                         r.status.detail);
            }
            break;
        case SMTP_CLIENT_FAIL:
            buf_addf(t, " %s %s %u.%u.%u \"%s\"", smtp_stage_name(ev.stage),
                     err_code_name(ev.err.code), ev.err.status.cls, ev.err.status.subject,
                     ev.err.status.detail, ev.err.msg);
            break;
        case SMTP_CLIENT_NEED_BODY: s->wants = true; break;
        default: break;
        }
        s->is_ready = ev.type == SMTP_CLIENT_READY;
        return true;
    }
    return false;
}

static void send_message(struct self *s) {
    struct slice o = s->options, list = wire_option(o, S("rcpt")), w;
    struct smtp_client_message m = {.sender = wire_option(o, S("from")), .rcpts = s->rcpts};
    unsigned notify = 0;
    smtp_notify_parse(wire_option(o, S("notify")), &notify);
    while (slice_word(&list, &w))
        s->rcpts[m.rcpt_count++] = (struct smtp_client_rcpt){w, notify, S("")};
    m.size = wire_number(o, "size");
    m.is_8bit = wire_flag(o, "8bit");
    m.is_smtputf8 = wire_flag(o, "utf8");
    m.is_requiretls = wire_flag(o, "requiretls");
    m.priority = (int8_t)wire_number(o, "priority");
    m.by_s = (int32_t)wire_number(o, "by");
    m.by = wire_flag(o, "by-return") ? SMTP_BY_RETURN : m.by_s ? SMTP_BY_NOTIFY : SMTP_BY_NONE;
    m.by_trace = wire_flag(o, "by-trace");
    m.envid = wire_option(o, S("envid"));
    if (slice_eq(wire_option(o, S("ret")), S("hdrs"))) m.ret = SMTP_RET_HDRS;
    s->given = 0;
    if (!smtp_client_send(s->c, &m)) smtp_client_quit(s->c);
}

static void usual(void *self, mono_t now) {
    struct self *s = self;
    (void)now;
    if (s->wants) {
        s->wants = false;
        size_t n = s->piece && s->body.n > s->piece ? s->piece : s->body.n;
        if (!n) smtp_client_body_end(s->c);
        else s->given = smtp_client_body(s->c, slice_of(s->body.p, n));
        return;
    }
    if (!s->is_ready) return;
    s->is_ready = false;
    // The message as often as wanted, then QUIT.
    if (s->left && wire_flag(s->options, "rcpt")) {
        s->left--;
        send_message(s);
    } else smtp_client_quit(s->c);
}

static bool answer(void *self, struct slice words, mono_t now) {
    struct self *s = self;
    if (slice_eq(words, S("tls"))) smtp_client_tls_up(s->c, now);
    else if (slice_eq(words, S("wait"))) return true;
    else if (slice_eq(words, S("quit"))) smtp_client_quit(s->c);
    else if (slice_eq(words, S("send"))) send_message(s);
    else if (slice_eq(words, S("body-fail"))) {
        struct err e = {0};
        err_set(&e, ERR_IO, "cannot read the message");
        smtp_client_body_fail(s->c, &e);
    } else return false;
    return true;
}

static struct engine engine(void *self) { return smtp_client_engine(((struct self *)self)->c); }
static void close_it(void *self) {
    struct self *s = self;
    smtp_client_free(s->c);
    buf_release(&s->body);
    free(s);
}

const struct wire_engine wire_smtp_client = {"smtp-client", false,  open_it, engine,
                                             next,          answer, usual,   close_it};
