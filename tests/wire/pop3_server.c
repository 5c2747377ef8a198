/* pop3-server. Options: tls, stls, plaintext-auth, utf8, "login-delay SECONDS", scram, binding,
 * tokens (sasl_world.h); "message TEXT" (escaped) for each message of the maildrop, whose uids are
 * uid1, uid2... A: deny|in-use|early|gone|update-failed|tls */
#include <stdio.h>
#include <stdlib.h>

#include "pop3/server.h"
#include "sasl_world.h"
#include "wire.h"

enum { MESSAGES_MAX = 8 };
struct self {
    struct pop3_server *s;
    struct buf text[MESSAGES_MAX];
    struct pop3_message list[MESSAGES_MAX];
    char uid[MESSAGES_MAX][8];
    size_t count, piece, number;
    uint64_t offset;
    enum pop3_server_type last;
    bool is_due;
};

static void *open_it(struct slice o, size_t piece, mono_t now) {
    struct pop3_server_config c = {.hostname = S("pop.example")};
    struct self *s = calloc(1, sizeof *s);
    struct slice rest = o, line;
    c.is_tls = wire_flag(o, "tls");
    c.offer_tls = wire_flag(o, "stls");
    c.sasl = sasl_world(wire_flag(o, "scram"), wire_flag(o, "binding"), wire_flag(o, "tokens"));
    c.plaintext_auth = wire_flag(o, "plaintext-auth");
    c.allow_utf8_login = wire_flag(o, "utf8");
    c.login_delay_s = (unsigned)wire_number(o, "login-delay");
    s->piece = piece;
    while (slice_line(&rest, &line)) {
        if (!slice_starts(line, S("message ")) || s->count == MESSAGES_MAX) continue;
        struct buf *b = &s->text[s->count];
        buf_init(b, 1 << 20);
        wire_unescape(b, slice_from(line, 8));
        int n = snprintf(s->uid[s->count], sizeof s->uid[0], "uid%zu", s->count + 1);
        s->list[s->count] = (struct pop3_message){b->n, slice_of(s->uid[s->count], (size_t)n)};
        s->count++;
    }
    s->s = pop3_server_new(&c, now);
    return s;
}

static void give(struct self *s) {
    struct slice rest = slice_from(buf_slice(&s->text[s->number]), (size_t)s->offset);
    if (s->piece) rest = slice_first(rest, s->piece);
    if (rest.n) pop3_server_body(s->s, rest);
    else pop3_server_body_end(s->s);
}

static bool next(void *self, struct buf *t, struct slice *data) {
    struct self *s = self;
    struct pop3_server_event ev;
    (void)data;
    while (pop3_server_next(s->s, &ev)) {
        if (ev.type == POP3_SERVER_NEED_BODY) {
            s->number = ev.number;
            s->offset = ev.offset;
            if (ev.offset) {
                give(s);
                continue;
            }
        }
        s->last = ev.type;
        s->is_due = true;
        buf_addf(t, "%s", pop3_server_type_name(ev.type));
        if (ev.type == POP3_SERVER_LOGIN)
            buf_addf(t, " %.*s \"%.*s\" \"%.*s\" \"%.*s\"%s", SP(ev.mechanism), SP(ev.authzid),
                     SP(ev.user), SP(ev.password), sasl_world_claim(ev.claim));
        if (ev.type == POP3_SERVER_NEED_BODY) {
            buf_addf(t, " %zu", ev.number);
            if (ev.lines != POP3_WHOLE) buf_addf(t, " %llu", (unsigned long long)ev.lines);
        }
        if (ev.type == POP3_SERVER_UPDATE)
            for (size_t i = 0; i < s->count; i++)
                if (pop3_server_is_deleted(s->s, i)) buf_addf(t, " %zu", i);
        if (ev.type == POP3_SERVER_FAIL)
            buf_addf(t, " %s \"%s\"", err_code_name(ev.err.code), ev.err.msg);
        return true;
    }
    return false;
}

static void usual(void *self, mono_t now) {
    struct self *s = self;
    (void)now;
    if (!s->is_due) return;
    s->is_due = false;
    if (s->last == POP3_SERVER_LOGIN) pop3_server_maildrop(s->s, s->list, s->count);
    else if (s->last == POP3_SERVER_NEED_BODY) give(s);
    else pop3_server_ok(s->s);
}

static bool answer(void *self, struct slice w, mono_t now) {
    struct self *s = self;
    s->is_due = false;
    if (slice_eq(w, S("tls"))) pop3_server_tls_up(s->s, now);
    else if (slice_eq(w, S("wait"))) return true;
    else if (slice_eq(w, S("deny"))) pop3_server_refuse(s->s, S("AUTH"), S("wrong password"));
    else if (slice_eq(w, S("in-use")))
        pop3_server_refuse(s->s, S("IN-USE"), S("maildrop is locked"));
    else if (slice_eq(w, S("early")))
        pop3_server_refuse(s->s, S("LOGIN-DELAY"), S("log in again in 5 seconds"));
    else if (slice_eq(w, S("gone"))) pop3_server_refuse(s->s, S(""), S("message is gone"));
    else if (slice_eq(w, S("update-failed")))
        pop3_server_refuse(s->s, S("SYS/TEMP"), S("some deleted messages were not removed"));
    else if (slice_eq(w, S("shutdown"))) pop3_server_shutdown(s->s);
    else return false;
    return true;
}

static struct engine engine(void *self) { return pop3_server_engine(((struct self *)self)->s); }
static void close_it(void *self) {
    struct self *s = self;
    pop3_server_free(s->s);
    for (size_t i = 0; i < s->count; i++) buf_release(&s->text[i]);
    free(s);
}

const struct wire_engine wire_pop3_server = {"pop3-server", true,   open_it, engine,
                                             next,          answer, usual,   close_it};
