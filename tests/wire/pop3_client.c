/* pop3-client. Options: tls opportunistic|required|up, user, password, plaintext-auth, no-sasl,
 * logged-in; "do COMMAND [N [LINES]]" lines: what is queued at READY, all at once; then QUIT. */
#include <stdlib.h>

#include "base/num.h"
#include "pop3/client.h"
#include "wire.h"

struct self {
    struct pop3_client *c;
    struct slice options;
    bool is_ready, did;
};

static void *open_it(struct slice o, size_t piece, mono_t now) {
    struct pop3_client_config c = {0};
    struct slice tls = wire_option(o, S("tls"));
    struct self *s = calloc(1, sizeof *s);
    (void)piece;
    if (slice_eq(tls, S("opportunistic"))) c.tls = POP3_TLS_OPPORTUNISTIC;
    if (slice_eq(tls, S("required"))) c.tls = POP3_TLS_REQUIRED;
    if (slice_eq(tls, S("up"))) c.tls = POP3_TLS_UP;
    c.user = wire_option(o, S("user"));
    c.password = wire_option(o, S("password"));
    c.plaintext_auth = wire_flag(o, "plaintext-auth");
    c.avoid_sasl = wire_flag(o, "no-sasl");
    c.is_logged_in = wire_flag(o, "logged-in");
    s->options = o;
    s->c = pop3_client_new(&c, now);
    return s;
}

static bool next(void *self, struct buf *t, struct slice *data) {
    struct self *s = self;
    struct pop3_client_event ev;
    if (!pop3_client_next(s->c, &ev)) return false;
    s->is_ready = ev.type == POP3_CLIENT_READY;
    buf_addf(t, "%s", pop3_client_type_name(ev.type));
    switch (ev.type) {
    case POP3_CLIENT_REPLY:
        buf_addf(t, " %s %s", pop3_command_name(ev.command), ev.is_ok ? "ok" : "err");
        if (ev.number) buf_addf(t, " %u", ev.number);
        if (ev.command == POP3_STAT) buf_addf(t, " %llu", (unsigned long long)ev.size);
        if (ev.code.n) buf_addf(t, " [%.*s]", SP(ev.code));
        break;
    case POP3_CLIENT_ITEM:
        buf_addf(t, " %s %u", pop3_command_name(ev.command), ev.number);
        if (ev.command == POP3_UIDL) buf_addf(t, " %.*s", SP(ev.uid));
        else buf_addf(t, " %llu", (unsigned long long)ev.size);
        break;
    case POP3_CLIENT_DATA:
        buf_addf(t, " %u", ev.number);
        *data = ev.data;
        break;
    case POP3_CLIENT_END:
        buf_addf(t, " %s %llu", pop3_command_name(ev.command), (unsigned long long)ev.size);
        break;
    case POP3_CLIENT_CLOSED: buf_addf(t, " %s", ev.is_ok ? "ok" : "err"); break;
    case POP3_CLIENT_FAIL: buf_addf(t, " %s \"%s\"", err_code_name(ev.err.code), ev.err.msg); break;
    default: break;
    }
    return true;
}

static void run(struct self *s, struct slice line) {
    struct slice w = S(""), a = S(""), b = S("");
    uint64_t n = 0, k = 0;
    slice_word(&line, &w);
    if (slice_word(&line, &a)) num_parse(a, UINT32_MAX, &n);
    if (slice_word(&line, &b)) num_parse(b, UINT32_MAX, &k);
    if (slice_eq(w, S("STAT"))) pop3_client_stat(s->c);
    if (slice_eq(w, S("LIST"))) pop3_client_list(s->c);
    if (slice_eq(w, S("UIDL"))) pop3_client_uidl(s->c);
    if (slice_eq(w, S("RETR"))) pop3_client_retr(s->c, (uint32_t)n);
    if (slice_eq(w, S("TOP"))) pop3_client_top(s->c, (uint32_t)n, (uint32_t)k);
    if (slice_eq(w, S("DELE"))) pop3_client_dele(s->c, (uint32_t)n);
    if (slice_eq(w, S("RSET"))) pop3_client_rset(s->c);
    if (slice_eq(w, S("NOOP"))) pop3_client_noop(s->c);
}

static void usual(void *self, mono_t now) {
    struct self *s = self;
    struct slice rest = s->options, line;
    (void)now;
    if (!s->is_ready) return;
    s->is_ready = false;
    bool any = false;
    while (!s->did && slice_line(&rest, &line))
        if (slice_starts(line, S("do "))) {
            run(s, slice_from(line, 3));
            any = true;
        }
    s->did = true;
    if (!any) pop3_client_quit(s->c);
}

static bool answer(void *self, struct slice w, mono_t now) {
    struct self *s = self;
    if (slice_eq(w, S("tls"))) pop3_client_tls_up(s->c, now);
    else if (slice_eq(w, S("quit"))) pop3_client_quit(s->c);
    else if (slice_eq(w, S("wait"))) return true;
    else return false;
    return true;
}

static struct engine engine(void *self) { return pop3_client_engine(((struct self *)self)->c); }
static void close_it(void *self) {
    pop3_client_free(((struct self *)self)->c);
    free(self);
}

const struct wire_engine wire_pop3_client = {"pop3-client", false,  open_it, engine,
                                             next,          answer, usual,   close_it};
