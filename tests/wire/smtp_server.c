/* smtp-server, lmtp-server. Options: role smtp|submission|lmtp, host, size, tls, starttls, auth,
 * plaintext-auth, require-tls, require-auth, early, newline refuse|normalise, rcpt-max, bad-max,
 * mail-max, scram, binding, tokens (sasl_world.h), xclient, deliver-by, priority, hold SECONDS,
 * without WORD... The session begins at 2026-11-23T00:00:00Z. */
#include <stdlib.h>

#include "sasl_world.h"
#include "smtp/server.h"
#include "wire.h"

static void *open_it(struct slice o, size_t piece, mono_t now) {
    (void)piece;
    struct smtp_server_config c = {.hostname = S("mx.example")};
    struct slice role = wire_option(o, S("role")), nl = wire_option(o, S("newline")), w;
    if (slice_eq(role, S("submission"))) c.role = SMTP_ROLE_SUBMISSION;
    if (slice_eq(role, S("lmtp"))) c.role = SMTP_ROLE_LMTP;
    if (slice_eq(nl, S("refuse"))) c.newline = SMTP_NEWLINE_REFUSE;
    if (slice_eq(nl, S("normalise"))) c.newline = SMTP_NEWLINE_NORMALISE;
    c.size_max = wire_number(o, "size");
    c.is_tls = wire_flag(o, "tls");
    c.offer_tls = wire_flag(o, "starttls");
    c.sasl = sasl_world(wire_flag(o, "scram"), wire_flag(o, "binding"), wire_flag(o, "tokens"));
    c.offer_auth = wire_flag(o, "auth");
    c.plaintext_auth = wire_flag(o, "plaintext-auth");
    c.require_tls = wire_flag(o, "require-tls");
    c.require_auth = wire_flag(o, "require-auth");
    c.allow_early_talk = wire_flag(o, "early");
    c.rcpt_max = (unsigned)wire_number(o, "rcpt-max");
    c.bad_max = (unsigned)wire_number(o, "bad-max");
    c.mail_max = (unsigned)wire_number(o, "mail-max");
    c.offer_xclient = wire_flag(o, "xclient");
    c.offer_deliver_by = wire_flag(o, "deliver-by");
    c.offer_priority = wire_flag(o, "priority");
    c.hold_max_s = (uint32_t)wire_number(o, "hold");
    c.wall = 1795392000;
    struct slice without = wire_option(o, S("without"));
    while (slice_word(&without, &w)) c.without |= smtp_ext_find(w);
    return smtp_server_new(&c, now);
}

static void path(struct buf *t, const struct smtp_path *p) {
    buf_addf(t, " <%.*s>", SP(p->address));
}

static bool next(void *s, struct buf *t, struct slice *data) {
    static const char *const bodies[] = {"", " 8bit", " binary"}, *const rets[] = {"", " full",
                                                                                   " hdrs"};
    struct smtp_server_event ev;
    if (!smtp_server_next(s, &ev)) return false;
    buf_addf(t, "%s", smtp_server_type_name(ev.type));
    switch (ev.type) {
    case SMTP_SERVER_HELO: buf_addf(t, " %.*s %.*s", SP(ev.verb), SP(ev.name)); break;
    case SMTP_SERVER_MAIL:
        path(t, &ev.mail->from);
        if (ev.mail->size) buf_addf(t, " size=%llu", (unsigned long long)ev.mail->size);
        buf_addf(t, "%s%s", bodies[ev.mail->body], rets[ev.mail->ret]);
        if (ev.mail->is_smtputf8) buf_add(t, S(" utf8"));
        if (ev.mail->is_requiretls) buf_add(t, S(" requiretls"));
        if (ev.mail->has_priority) buf_addf(t, " priority=%d", ev.mail->priority);
        if (ev.mail->hold)
            buf_addf(t, " hold-%s=%lld", ev.mail->hold == SMTP_HOLD_FOR ? "for" : "until",
                     (long long)ev.mail->hold_value);
        if (ev.mail->by)
            buf_addf(t, " by=%d %s%s", ev.mail->by_s,
                     ev.mail->by == SMTP_BY_RETURN ? "return" : "notify",
                     ev.mail->by_trace ? " trace" : "");
        if (ev.mail->envid.n) buf_addf(t, " envid=%.*s", SP(ev.mail->envid));
        if (ev.mail->auth.n) buf_addf(t, " auth=%.*s", SP(ev.mail->auth));
        break;
    case SMTP_SERVER_RCPT:
        buf_addf(t, " %u", ev.index);
        path(t, &ev.rcpt->to);
        if (ev.rcpt->notify) {
            buf_addc(t, ' ');
            smtp_notify_put(t, ev.rcpt->notify);
        }
        if (ev.rcpt->orcpt.n) buf_addf(t, " orcpt=%.*s", SP(ev.rcpt->orcpt));
        break;
    case SMTP_SERVER_CHUNK: *data = ev.data; break;
    case SMTP_SERVER_DATA_END:
        buf_addf(t, " %llu", (unsigned long long)ev.size);
        static const char *const flags[] = {"8bit",    "nul",    "long",   "bare-cr",
                                            "bare-lf", "no-eol", "chunked"};
        for (unsigned i = 0; i < COUNT_OF(flags); i++)
            if (ev.flags & 1u << i) buf_addf(t, " %s", flags[i]);
        break;
    case SMTP_SERVER_AUTH:
        buf_addf(t, " %.*s \"%.*s\" \"%.*s\" \"%.*s\"", SP(ev.mechanism), SP(ev.authzid),
                 SP(ev.authcid), SP(ev.password));
        buf_addf(t, "%s", sasl_world_claim(ev.claim));
        break;
    case SMTP_SERVER_XCLIENT:
        buf_addf(t, " \"%.*s\" [%.*s]:%u helo=\"%.*s\" login=\"%.*s\" to [%.*s]:%u%s",
                 SP(ev.xclient->name), SP(ev.xclient->addr), ev.xclient->port, SP(ev.xclient->helo),
                 SP(ev.xclient->login), SP(ev.xclient->dest_addr), ev.xclient->dest_port,
                 ev.xclient->is_smtp ? " smtp" : "");
        break;
    case SMTP_SERVER_FAIL: buf_addf(t, " %s \"%s\"", err_code_name(ev.err.code), ev.err.msg); break;
    default: break;
    }
    return true;
}

static bool answer(void *s, struct slice words, mono_t now) {
    unsigned code;
    struct mail_status st;
    struct slice text, w = words, first;
    slice_word(&w, &first);
    if (slice_eq(first, S("tls"))) smtp_server_tls_up(s, now);
    else if (slice_eq(first, S("wait"))) return true;
    else if (slice_eq(first, S("shutdown"))) smtp_server_shutdown(s, slice_trim(w));
    else if (slice_eq(first, S("rcpt"))) {
        uint64_t i = atol(w.p);
        slice_word(&w, &first);
        wire_reply(w, &code, &st, &text);
        smtp_server_rcpt_reply(s, (unsigned)i, code, st, text);
    } else {
        wire_reply(words, &code, &st, &text);
        if (!code) return false;
        smtp_server_reply(s, code, st, text);
    }
    return true;
}

static void usual(void *s, mono_t now) {
    (void)now;
    smtp_server_ok(s);
}
static struct engine engine(void *s) { return smtp_server_engine(s); }
static void close_it(void *s) { smtp_server_free(s); }

const struct wire_engine wire_smtp_server = {"smtp-server", true,   open_it, engine,
                                             next,          answer, usual,   close_it};
