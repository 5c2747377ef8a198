#include "smtp/client.h"

#include <stdlib.h>

#include "base/ascii.h"
#include "base/arena.h"
#include "sasl/client.h"
#include "smtp/dot.h"

/* One thing is asked at a time, except within a group (RSET MAIL RCPT... with PIPELINING): then
 * `pending` says what replies are due, in order: RSET, MAIL, then `rcpt_sent - rcpt_seen` RCPTs. */
enum state {
    BANNER,
    EHLO,
    HELO,
    STARTTLS,
    WAIT_TLS,
    AUTH,
    READY,
    ENVELOPE, /* RSET, MAIL, RCPT */
    DATA,     /* waiting for 354 */
    BODY,
    FINAL, /* waiting for the replies to the dot */
    QUITTING_RSET,
    QUITTING,
    OVER
};

enum { PASSWORD_MECHANISMS = SASL_PLAIN | SASL_LOGIN };
enum { OUT_MAX = 256 * 1024, OUT_HIGH = 32 * 1024, QUEUE_MAX = 4, LINGER_MS = 10 * 1000 };

struct verdict {
    struct smtp_client_result r;
    bool is_known;    /* final, as far as this attempt goes */
    bool is_accepted; /* RCPT said yes */
};

struct smtp_client {
    struct smtp_client_config config;
    struct buf ehlo_name, user, password, out;
    enum state state;
    enum smtp_stage stage;
    struct smtp_reply_parser parser;
    struct smtp_caps caps;
    bool is_tls, is_auth, auth_given_up, needs_rset, used;
    bool wants_mail_reply, wants_rset_reply, mail_sent, mail_ok;
    const char *mechanism;
    struct sasl_client sasl;
    const struct smtp_client_message *m;
    struct smtp_client_message copy;
    struct verdict *v;
    size_t v_count, rcpt_sent, rcpt_seen, accepted, final_next;
    struct arena texts;
    struct smtp_dot_encoder dot;
    bool is_bdat, chunk_failed, is_ending; // is_ending: the last chunk waits for its turn
    struct buf chunk;                      /* BDAT: gathered, not yet sent */
    unsigned chunks_open;                  /* BDATs without a reply */
    uint64_t offset;
    bool asked_body, stops_after;
    struct smtp_client_event queue[QUEUE_MAX];
    unsigned queued;
    mono_t now, deadline;
    bool needs_arm;
};

static const char *const type_names[] = {"reply",  "need_tls", "ready", "need_body",
                                         "result", "closed",   "fail"};
const char *smtp_client_type_name(enum smtp_client_type type) {
    return (unsigned)type < COUNT_OF(type_names) ? type_names[type] : "";
}

static void wipe(struct buf *b) {
    if (b->p) explicit_bzero(b->p, b->cap);
    buf_release(b);
}

static struct smtp_client_event *push(struct smtp_client *c, enum smtp_client_type type) {
    struct smtp_client_event *ev = &c->queue[c->queued < QUEUE_MAX ? c->queued++ : QUEUE_MAX - 1];
    *ev = (struct smtp_client_event){.type = type, .stage = c->stage};
    return ev;
}

static void arm(struct smtp_client *c) { c->needs_arm = true; }

// RFC 5321 4.5.3.2
static unsigned wait_ms(const struct smtp_client *c) {
    unsigned ms = 300 * 1000;
    if (c->state == DATA) ms = 120 * 1000;
    if (c->state == BODY) ms = 180 * 1000;
    if (c->state == FINAL) ms = 600 * 1000;
    if (c->state >= QUITTING_RSET) ms = LINGER_MS;
    return c->config.timeout_ms && c->config.timeout_ms < ms ? c->config.timeout_ms : ms;
}

static void set_deadline(struct smtp_client *c) {
    c->deadline =
        c->state == READY || (c->state == OVER && !c->out.n) ? MONO_NEVER : c->now + wait_ms(c);
    c->needs_arm = false;
}

static struct mail_status fit(unsigned cls, enum smtp_stage stage, struct mail_status st) {
    if (st.cls == cls) return st;
    switch (stage) {
    case SMTP_STAGE_MAIL: return STATUS((uint16_t)cls, 1, cls == 2 ? 0 : 8);
    case SMTP_STAGE_RCPT: return STATUS((uint16_t)cls, 1, cls == 2 ? 5 : 0);
    case SMTP_STAGE_AUTH: return STATUS((uint16_t)cls, 7, 8);
    default: return STATUS((uint16_t)cls, cls == 2 ? 0 : 4, cls == 2 ? 0 : 2);
    }
}

static void judge(struct smtp_client *c, size_t i, enum smtp_class class, enum smtp_stage stage,
                  unsigned code, struct mail_status st, struct slice text) {
    struct verdict *v = &c->v[i];
    unsigned cls = class == SMTP_CLASS_OK ? 2 : class == SMTP_CLASS_TEMPORARY ? 4 : 5;
    v->r = (struct smtp_client_result){class, stage, code, fit(cls, stage, st),
                                       arena_copy(&c->texts, text)};
    v->is_known = true;
}

// The same for every recipient that has no verdict yet.
static void judge_rest(struct smtp_client *c, enum smtp_class class, enum smtp_stage stage,
                       unsigned code, struct mail_status st, struct slice text) {
    struct slice kept = arena_copy(&c->texts, text);
    for (size_t i = 0; i < c->v_count; i++) {
        if (c->v[i].is_known) continue;
        judge(c, i, class, stage, code, st, S(""));
        c->v[i].r.text = kept;
    }
}

static void fail_reply(struct smtp_client *c, struct smtp_reply reply, const struct err *e) {
    if (c->state == OVER) return;
    enum smtp_class class = e->status.cls == 5 ? SMTP_CLASS_PERMANENT : SMTP_CLASS_TEMPORARY;
    judge_rest(c, class, c->stage, reply.code, e->status,
               reply.code ? reply.text : slice_str(e->msg));
    struct smtp_client_event *ev = push(c, SMTP_CLIENT_FAIL);
    ev->err = *e;
    ev->reply = reply;
    c->state = OVER;
    set_deadline(c);
}

static void fail(struct smtp_client *c, enum err_code code, struct mail_status st,
                 const char *fmt) {
    struct err e = {0};
    err_mail(&e, code, st, fmt, smtp_stage_name(c->stage));
    fail_reply(c, (struct smtp_reply){0}, &e);
}

// The peer said no to the whole session.
static void refused(struct smtp_client *c, const struct smtp_reply *r, enum err_code code,
                    bool forgive) {
    struct err e = {0};
    enum smtp_class class = smtp_reply_class(c->stage, r->code);
    unsigned cls = class == SMTP_CLASS_PERMANENT && !forgive ? 5 : 4;
    struct slice first, rest = r->text;
    slice_line(&rest, &first);
    err_mail(&e, code, fit(cls, c->stage, r->status), "the server refused at %s: %u %.*s",
             smtp_stage_name(c->stage), r->code, SP(slice_first(first, 120)));
    if (r->code != 421 && c->state != BODY) buf_add(&c->out, S("QUIT\r\n"));
    fail_reply(c, *r, &e);
}

static void say_ehlo(struct smtp_client *c, bool helo) {
    buf_addf(&c->out, "%s %.*s\r\n",
             helo                ? "HELO"
             : c->config.is_lmtp ? "LHLO"
                                 : "EHLO",
             SP(buf_slice(&c->ehlo_name)));
    c->state = helo ? HELO : EHLO;
    c->stage = c->is_tls && c->config.tls != SMTP_TLS_UP ? SMTP_STAGE_TLS : SMTP_STAGE_EHLO;
    arm(c);
}

static void say_quit(struct smtp_client *c) {
    if (c->needs_rset) {
        buf_add(&c->out, S("RSET\r\n"));
        c->state = QUITTING_RSET;
        c->stage = SMTP_STAGE_RSET;
    } else {
        buf_add(&c->out, S("QUIT\r\n"));
        c->state = QUITTING;
        c->stage = SMTP_STAGE_QUIT;
    }
    c->needs_rset = false;
    arm(c);
}

static bool stops(struct smtp_client *c, enum smtp_stage after) {
    if (c->config.stop_after != after) return false;
    say_quit(c);
    return true;
}

static void ready(struct smtp_client *c) {
    c->state = READY;
    c->stage = c->is_auth ? SMTP_STAGE_AUTH : SMTP_STAGE_EHLO;
    set_deadline(c);
    push(c, SMTP_CLIENT_READY);
}

static void say_auth(struct smtp_client *c) {
    if (c->is_tls && stops(c, SMTP_STAGE_TLS)) return;
    if (!c->user.n) {
        // Nothing to log in with: a probe that wanted to see AUTH has seen all there is.
        if (!stops(c, SMTP_STAGE_AUTH)) ready(c);
        return;
    }
    c->stage = SMTP_STAGE_AUTH;
    if (!c->is_tls && !c->config.plaintext_auth) {
        fail(c, ERR_TLS, STATUS(4, 7, 11), "credentials are not sent without TLS");
        return;
    }
    if (!(c->caps.exts & SMTP_EXT_AUTH) ||
        !sasl_client_start(&c->sasl, c->caps.auth, c->config.mechanisms, buf_slice(&c->user),
                           buf_slice(&c->password), c->config.sasl)) {
        buf_add(&c->out, S("QUIT\r\n"));
        fail(c, ERR_UNSUPPORTED, STATUS(4, 7, 4), "the server offers no login that we can do");
        return;
    }
    c->mechanism = sasl_client_name(&c->sasl);
    buf_addf(&c->out, "AUTH %s", c->mechanism);
    if (c->sasl.has_initial) {
        buf_addc(&c->out, ' ');
        buf_add(&c->out, c->sasl.out.n ? buf_slice(&c->sasl.out) : S("="));
    }
    buf_add(&c->out, S("\r\n"));
    c->state = AUTH;
    arm(c);
}

static void greeted(struct smtp_client *c, const struct smtp_reply *r, bool helo) {
    if (helo) c->caps = (struct smtp_caps){0};
    else smtp_caps_parse(r->text, &c->caps);
    c->caps.exts &= ~c->config.without;
    if (stops(c, SMTP_STAGE_EHLO)) return;
    if (!c->is_tls && c->config.tls != SMTP_TLS_NONE) {
        if (c->caps.exts & SMTP_EXT_STARTTLS) {
            buf_add(&c->out, S("STARTTLS\r\n"));
            c->state = STARTTLS;
            c->stage = SMTP_STAGE_STARTTLS;
            arm(c);
            return;
        }
        if (c->config.tls == SMTP_TLS_REQUIRED) {
            c->stage = SMTP_STAGE_STARTTLS;
            buf_add(&c->out, S("QUIT\r\n"));
            fail(c, ERR_TLS, STATUS(4, 7, 4), "TLS is required but not offered");
            return;
        }
    }
    say_auth(c);
}

// --- one message ------------------------------------------------------------------------------

static bool pipelines(const struct smtp_client *c) { return c->caps.exts & SMTP_EXT_PIPELINING; }

static void say_mail(struct smtp_client *c) {
    const struct smtp_client_message *m = c->m;
    uint32_t x = c->caps.exts;
    buf_addf(&c->out, "MAIL FROM:<%.*s>", SP(m->sender));
    if ((x & SMTP_EXT_SIZE) && m->size)
        buf_addf(&c->out, " SIZE=%llu", (unsigned long long)m->size);
    if (m->is_binary) buf_add(&c->out, S(" BODY=BINARYMIME"));
    else if ((x & SMTP_EXT_8BITMIME) && (m->is_8bit || m->is_smtputf8))
        buf_add(&c->out, S(" BODY=8BITMIME"));
    if (m->is_smtputf8) buf_add(&c->out, S(" SMTPUTF8"));
    if (m->is_requiretls) buf_add(&c->out, S(" REQUIRETLS"));
    if ((x & SMTP_EXT_MTPRIORITY) && m->priority) buf_addf(&c->out, " MT-PRIORITY=%d", m->priority);
    if ((x & SMTP_EXT_DELIVERBY) && m->by)
        buf_addf(&c->out, " BY=%ld;%c%s", (long)m->by_s, m->by == SMTP_BY_RETURN ? 'R' : 'N',
                 m->by_trace ? "T" : "");
    if (x & SMTP_EXT_DSN) {
        if (m->ret) buf_addf(&c->out, " RET=%s", m->ret == SMTP_RET_FULL ? "FULL" : "HDRS");
        if (m->envid.n) buf_addf(&c->out, " ENVID=%.*s", SP(m->envid));
    }
    if ((x & SMTP_EXT_AUTH) && m->auth.n) buf_addf(&c->out, " AUTH=%.*s", SP(m->auth));
    buf_add(&c->out, S("\r\n"));
    c->mail_sent = c->wants_mail_reply = true;
}

static void say_rcpt(struct smtp_client *c) {
    const struct smtp_client_rcpt *r = &c->m->rcpts[c->rcpt_sent++];
    buf_addf(&c->out, "RCPT TO:<%.*s>", SP(r->address));
    if (c->caps.exts & SMTP_EXT_DSN) {
        if (r->notify) {
            buf_add(&c->out, S(" NOTIFY="));
            smtp_notify_put(&c->out, r->notify);
        }
        if (r->orcpt.n) buf_addf(&c->out, " ORCPT=%.*s", SP(r->orcpt));
    }
    buf_add(&c->out, S("\r\n"));
}

static void message_over(struct smtp_client *c) {
    push(c, SMTP_CLIENT_RESULT);
    c->m = NULL;
    if (c->stops_after) say_quit(c);
    else ready(c);
}

static void begin_body(struct smtp_client *c) {
    c->state = BODY;
    c->stage = SMTP_STAGE_BODY;
    c->dot = (struct smtp_dot_encoder){.is_raw = c->is_bdat};
    c->offset = 0;
    c->chunks_open = 0;
    c->chunk_failed = c->is_ending = false;
    arm(c);
}

// Send what of the envelope may go now; go on to DATA when all of it is answered.
static void envelope(struct smtp_client *c) {
    size_t window = c->config.window ? c->config.window : SMTP_CLIENT_WINDOW;
    bool pipe = pipelines(c);
    if (c->wants_rset_reply && !pipe) return;
    if (!c->mail_sent) {
        c->stage = SMTP_STAGE_MAIL;
        say_mail(c);
        arm(c);
    }
    if (c->wants_mail_reply && (!pipe || c->config.stop_after == SMTP_STAGE_MAIL)) return;
    bool may = c->wants_mail_reply || c->mail_ok;
    while (may && c->rcpt_sent < c->v_count && c->config.stop_after != SMTP_STAGE_MAIL &&
           c->rcpt_sent - c->rcpt_seen < (pipe ? window : 1) && c->out.n < OUT_HIGH) {
        say_rcpt(c);
        arm(c);
    }
    if (c->wants_rset_reply || c->wants_mail_reply || c->rcpt_seen < c->rcpt_sent) return;
    if (c->mail_ok && c->rcpt_sent < c->v_count && c->config.stop_after != SMTP_STAGE_MAIL) return;
    // Everything is answered.
    if (!c->accepted || c->config.stop_after == SMTP_STAGE_RCPT) {
        judge_rest(c, SMTP_CLASS_TEMPORARY, c->stage, 0, STATUS(4, 0, 0), S("stopped on request"));
        message_over(c);
        return;
    }
    if (c->is_bdat) {
        begin_body(c);
        return;
    }
    buf_add(&c->out, S("DATA\r\n"));
    c->state = DATA;
    c->stage = SMTP_STAGE_DATA;
    arm(c);
}

static void mail_reply(struct smtp_client *c, const struct smtp_reply *r) {
    enum smtp_class class = smtp_reply_class(SMTP_STAGE_MAIL, r->code);
    c->wants_mail_reply = false;
    c->mail_ok = class == SMTP_CLASS_OK;
    if (c->mail_ok) {
        c->needs_rset = true;
        if (c->config.stop_after == SMTP_STAGE_MAIL)
            judge_rest(c, SMTP_CLASS_TEMPORARY, SMTP_STAGE_MAIL, 0, STATUS(4, 0, 0),
                       S("stopped on request"));
    } else judge_rest(c, class, SMTP_STAGE_MAIL, r->code, r->status, r->text);
}

static void rcpt_reply(struct smtp_client *c, const struct smtp_reply *r) {
    size_t i = c->rcpt_seen++;
    enum smtp_class class = smtp_reply_class(SMTP_STAGE_RCPT, r->code);
    if (!c->mail_ok && c->v[i].is_known) return; // MAIL's refusal stands
    if (class == SMTP_CLASS_OK) {
        c->v[i].is_accepted = true;
        c->accepted++;
        if (c->config.stop_after == SMTP_STAGE_RCPT)
            judge(c, i, class, SMTP_STAGE_RCPT, r->code, r->status, r->text);
    } else judge(c, i, class, SMTP_STAGE_RCPT, r->code, r->status, r->text);
}

// The accepted recipient whose LMTP reply comes next.
static size_t next_accepted(const struct smtp_client *c, size_t from) {
    while (from < c->v_count && !c->v[from].is_accepted) from++;
    return from;
}

static void final_reply(struct smtp_client *c, const struct smtp_reply *r) {
    enum smtp_class class = smtp_reply_class(SMTP_STAGE_END, r->code);
    if (c->config.is_lmtp) {
        judge(c, c->final_next, class, SMTP_STAGE_END, r->code, r->status, r->text);
        c->final_next = next_accepted(c, c->final_next + 1);
        if (c->final_next < c->v_count) {
            arm(c);
            return;
        }
    } else judge_rest(c, class, SMTP_STAGE_END, r->code, r->status, r->text);
    c->needs_rset = false;
    message_over(c);
}

// --- BDAT (RFC 3030) ---------------------------------------------------------------------------

static void send_chunk(struct smtp_client *c, bool is_last) {
    buf_addf(&c->out, "BDAT %zu%s\r\n", c->chunk.n, is_last ? " LAST" : "");
    buf_add(&c->out, buf_slice(&c->chunk));
    buf_reset(&c->chunk);
    c->chunks_open++;
    arm(c);
}

// May a chunk go now?
static bool has_window(const struct smtp_client *c) {
    return c->chunks_open < (pipelines(c) ? SMTP_CLIENT_CHUNKS_MAX : 1);
}

static void end_body(struct smtp_client *c) {
    if (c->is_bdat) send_chunk(c, true);
    c->state = FINAL;
    c->stage = SMTP_STAGE_END;
    c->final_next = next_accepted(c, 0);
    arm(c);
}

// The reply to a chunk that is not the last, or to any once one was refused: then all that is on
// its way is answered first, and RSET follows.
static void chunk_reply(struct smtp_client *c, const struct smtp_reply *r) {
    enum smtp_class class = smtp_reply_class(SMTP_STAGE_END, r->code);
    c->chunks_open--;
    if (class != SMTP_CLASS_OK && !c->chunk_failed) {
        judge_rest(c, class, SMTP_STAGE_BODY, r->code, r->status, r->text);
        c->chunk_failed = true;
    }
    if (!c->chunk_failed || c->chunks_open) {
        if (c->is_ending && !c->chunk_failed && c->state == BODY) end_body(c);
        arm(c);
        return;
    }
    buf_reset(&c->chunk);
    c->needs_rset = true;
    message_over(c);
}

// --- replies ----------------------------------------------------------------------------------

static void on_reply(struct smtp_client *c, struct smtp_reply *r) {
    enum smtp_class class;
    size_t index = 0;
    if (c->state == ENVELOPE)
        c->stage = c->wants_rset_reply   ? SMTP_STAGE_RSET
                   : c->wants_mail_reply ? SMTP_STAGE_MAIL
                                         : SMTP_STAGE_RCPT;
    if (c->stage == SMTP_STAGE_RCPT) index = c->rcpt_seen;
    if (c->state == FINAL && c->config.is_lmtp) index = c->final_next;
    struct smtp_client_event *ev = push(c, SMTP_CLIENT_REPLY);
    ev->index = (unsigned)index;
    ev->reply = *r;
    class = smtp_reply_class(c->stage, r->code);
    // 421 ends the session wherever it comes; at a RCPT it is also that recipient's reply.
    if (r->code == 421 && c->state < QUITTING_RSET) {
        if (c->state == ENVELOPE && c->stage == SMTP_STAGE_RCPT) rcpt_reply(c, r);
        refused(c, r, ERR_PROTO, false);
        return;
    }
    switch (c->state) {
    case BANNER:
        if (class != SMTP_CLASS_OK) refused(c, r, ERR_PROTO, false);
        else if (!stops(c, SMTP_STAGE_CONNECT)) say_ehlo(c, false);
        break;
    case EHLO:
        if (class == SMTP_CLASS_OK) greeted(c, r, false);
        else if (class == SMTP_CLASS_PERMANENT && !c->config.is_lmtp && !c->user.n &&
                 c->config.tls != SMTP_TLS_REQUIRED && c->stage == SMTP_STAGE_EHLO)
            say_ehlo(c, true);
        else refused(c, r, ERR_PROTO, false);
        break;
    case HELO:
        if (class == SMTP_CLASS_OK) greeted(c, r, true);
        else refused(c, r, ERR_PROTO, false);
        break;
    case STARTTLS:
        if (class == SMTP_CLASS_OK) {
            c->state = WAIT_TLS;
            arm(c);
            push(c, SMTP_CLIENT_NEED_TLS);
        } else if (c->config.tls == SMTP_TLS_REQUIRED) refused(c, r, ERR_TLS, true);
        else say_auth(c);
        break;
    case AUTH:
        if (r->code / 100 == 3) {
            if (sasl_client_step(&c->sasl, r->text)) {
                buf_add(&c->out, buf_slice(&c->sasl.out));
                buf_add(&c->out, S("\r\n"));
            } else {
                buf_add(&c->out, S("*\r\n"));
                c->auth_given_up = true;
            }
            arm(c);
            break;
        }
        bool satisfied = sasl_client_is_satisfied(&c->sasl);
        sasl_client_release(&c->sasl);
        if (class == SMTP_CLASS_OK && !satisfied) {
            buf_add(&c->out, S("QUIT\r\n"));
            fail(c, ERR_DENIED, STATUS(4, 7, 0),
                 "the server did not prove that it knows the password");
            break;
        }
        // It may offer SCRAM to all and have keys for some: the password itself is what it asks for
        // otherwise. Not after it failed to prove itself.
        if (class == SMTP_CLASS_PERMANENT && !c->auth_given_up &&
            !(sasl_find(slice_str(c->mechanism)) & PASSWORD_MECHANISMS) &&
            c->caps.auth & c->config.mechanisms & PASSWORD_MECHANISMS) {
            c->caps.auth &= PASSWORD_MECHANISMS;
            say_auth(c);
            break;
        }
        // S-12: our own credentials failing says nothing about the recipients.
        if (class != SMTP_CLASS_OK) refused(c, r, ERR_DENIED, true);
        else {
            c->is_auth = true;
            if (!stops(c, SMTP_STAGE_AUTH)) ready(c);
        }
        break;
    case ENVELOPE:
        if (c->wants_rset_reply) {
            c->wants_rset_reply = false;
            // S-20: a reused connection that falters is the connection's fault.
            if (class != SMTP_CLASS_OK) refused(c, r, ERR_PROTO, true);
            c->needs_rset = false;
        } else if (c->wants_mail_reply) mail_reply(c, r);
        else if (c->rcpt_seen < c->rcpt_sent) rcpt_reply(c, r);
        if (c->state == ENVELOPE) envelope(c);
        break;
    case DATA:
        if (class == SMTP_CLASS_OK && r->code == 354) {
            begin_body(c);
        } else {
            judge_rest(c, class == SMTP_CLASS_OK ? SMTP_CLASS_TEMPORARY : class, SMTP_STAGE_DATA,
                       r->code, r->status, r->text);
            message_over(c);
        }
        break;
    case BODY:
        if (c->chunks_open) chunk_reply(c, r);
        else refused(c, r, ERR_PROTO, class == SMTP_CLASS_OK);
        break;
    case FINAL:
        if (c->chunks_open > 1 || c->chunk_failed) chunk_reply(c, r);
        else final_reply(c, r);
        break;
    case QUITTING_RSET: say_quit(c); break;
    case QUITTING:
        push(c, SMTP_CLIENT_CLOSED);
        c->state = OVER;
        set_deadline(c);
        break;
    default: break;
    }
}

// --- the engine's verbs -----------------------------------------------------------------------

struct smtp_client *smtp_client_new(const struct smtp_client_config *config, mono_t now) {
    struct smtp_client *c;
    if (!smtp_is_domain(config->ehlo_name, false) && !smtp_is_literal(config->ehlo_name, true))
        return NULL;
    if (!(c = calloc(1, sizeof *c))) return NULL;
    c->config = *config;
    if (!c->config.mechanisms) c->config.mechanisms = SASL_WITH_PASSWORD;
    c->mechanism = "";
    buf_init(&c->ehlo_name, SMTP_DOMAIN_MAX + 1);
    buf_init(&c->user, SASL_NAME_MAX + 1);
    buf_init(&c->password, SASL_TOKEN_MAX + 1);
    buf_init(&c->out, OUT_MAX);
    buf_init(&c->chunk, SMTP_CLIENT_CHUNK + 4 * SMTP_CLIENT_BODY_MAX);
    arena_init(&c->texts, SMTP_CLIENT_TEXT_MAX);
    smtp_reply_parser_init(&c->parser);
    if (!buf_add(&c->ehlo_name, config->ehlo_name) || !buf_add(&c->user, config->user) ||
        !buf_add(&c->password, config->password)) {
        smtp_client_free(c);
        return NULL;
    }
    c->config.ehlo_name = c->config.user = c->config.password = S("");
    c->is_tls = config->tls == SMTP_TLS_UP;
    c->stops_after = config->stop_after != SMTP_STAGE_NONE;
    c->stage = SMTP_STAGE_CONNECT;
    c->now = now;
    set_deadline(c);
    return c;
}

void smtp_client_free(struct smtp_client *c) {
    if (!c) return;
    sasl_client_release(&c->sasl);
    buf_release(&c->chunk);
    wipe(&c->user);
    wipe(&c->password);
    wipe(&c->out);
    buf_release(&c->ehlo_name);
    arena_release(&c->texts);
    smtp_reply_parser_release(&c->parser);
    free(c->v);
    free(c);
}

size_t smtp_client_feed(struct smtp_client *c, struct slice in, mono_t now) {
    size_t offered = in.n;
    struct smtp_reply r;
    struct err e = {0};
    c->now = now;
    while (in.n && !c->queued && c->state != READY) {
        if (c->state == OVER) return offered;
        if (c->state == WAIT_TLS) {
            fail(c, ERR_PROTO, STATUS(4, 7, 5), "bytes after STARTTLS, before TLS");
            return offered;
        }
        if (c->out.n >= OUT_HIGH && c->state == ENVELOPE) break;
        enum step st = smtp_reply_feed(&c->parser, &in, &r, &e);
        if (st == STEP_BAD) {
            e.status = STATUS(4, 5, 0);
            fail_reply(c, (struct smtp_reply){0}, &e);
            return offered;
        }
        if (st == STEP_DONE) on_reply(c, &r);
    }
    return offered - in.n;
}

void smtp_client_eof(struct smtp_client *c, mono_t now) {
    c->now = now;
    if (c->state == OVER) return;
    if (c->state >= QUITTING_RSET) { // S-16
        push(c, SMTP_CLIENT_CLOSED);
        c->state = OVER;
        buf_reset(&c->out);
        set_deadline(c);
    } else fail(c, ERR_CLOSED, STATUS(4, 4, 2), "the server closed the connection at %s");
}

struct slice smtp_client_out(struct smtp_client *c) {
    return buf_slice(&c->out);
}

void smtp_client_sent(struct smtp_client *c, size_t n, mono_t now) {
    c->now = now;
    buf_drop(&c->out, n);
    if (!c->out.n && c->out.p) explicit_bzero(c->out.p, c->out.cap < 4096 ? c->out.cap : 4096);
    if (c->state == ENVELOPE && !c->queued) envelope(c);
    if (c->needs_arm || c->state == BODY || c->state == OVER) set_deadline(c);
}

mono_t smtp_client_deadline(const struct smtp_client *c) { return c->deadline; }

void smtp_client_tick(struct smtp_client *c, mono_t now) {
    c->now = now;
    if (now < c->deadline) return;
    if (c->state == OVER) {
        buf_reset(&c->out);
        set_deadline(c);
    } else if (c->state >= QUITTING_RSET) smtp_client_eof(c, now);
    else {
        bool torso = c->state == BODY;
        if (!torso && !c->out.n) buf_add(&c->out, S("QUIT\r\n"));
        fail(c, ERR_TIMEOUT, STATUS(4, 4, 2), "timeout at %s");
    }
}

bool smtp_client_done(const struct smtp_client *c) { return c->state == OVER; }

static size_t op_feed(void *c, struct slice in, mono_t now) { return smtp_client_feed(c, in, now); }
static void op_eof(void *c, mono_t now) { smtp_client_eof(c, now); }
static struct slice op_out(void *c) { return smtp_client_out(c); }
static void op_sent(void *c, size_t n, mono_t now) { smtp_client_sent(c, n, now); }
static mono_t op_deadline(const void *c) { return smtp_client_deadline(c); }
static void op_tick(void *c, mono_t now) { smtp_client_tick(c, now); }
static bool op_done(const void *c) { return smtp_client_done(c); }
static const struct engine_ops ops = {op_feed,     op_eof,  op_out, op_sent,
                                      op_deadline, op_tick, op_done};
struct engine smtp_client_engine(struct smtp_client *c) {
    return (struct engine){&ops, c};
}

bool smtp_client_next(struct smtp_client *c, struct smtp_client_event *ev) {
    if (c->queued) {
        *ev = c->queue[0];
        memmove(c->queue, c->queue + 1, --c->queued * sizeof c->queue[0]);
        return true;
    }
    *ev = (struct smtp_client_event){.stage = c->stage};
    if (c->state != BODY || c->out.n >= OUT_HIGH || c->chunk_failed || c->is_ending) return false;
    if (c->chunk.n >= SMTP_CLIENT_CHUNK) {
        if (!has_window(c)) return false;
        send_chunk(c, false);
        return false; // what is in `out` goes first
    }
    ev->type = SMTP_CLIENT_NEED_BODY;
    ev->offset = c->offset;
    if (c->asked_body) return false;
    c->asked_body = true;
    return true;
}

// --- answers ----------------------------------------------------------------------------------

void smtp_client_tls_up(struct smtp_client *c, mono_t now) {
    if (c->state != WAIT_TLS) return;
    c->now = now;
    c->is_tls = true;
    c->caps = (struct smtp_caps){0};
    say_ehlo(c, false);
}

// A path of ours must not be able to end the command.
static bool is_safe(struct slice a) {
    bool quoted = false;
    for (size_t i = 0; i < a.n; i++) {
        char ch = a.p[i];
        if (ascii_is_ctl(ch)) return false;
        if (quoted && ch == '\\' && i + 1 < a.n) {
            if (ascii_is_ctl(a.p[++i])) return false;
        } else if (ch == '"') quoted = !quoted;
        else if (!quoted && (ch == ' ' || ch == '<' || ch == '>')) return false;
    }
    return !quoted && a.n <= SMTP_PATH_MAX;
}
static bool is_word(struct slice a) {
    for (size_t i = 0; i < a.n; i++)
        if (ascii_is_ctl(a.p[i]) || a.p[i] == ' ') return false;
    return a.n <= SMTP_PATH_MAX;
}

bool smtp_client_send(struct smtp_client *c, const struct smtp_client_message *m) {
    struct verdict *v;
    if (c->state != READY || c->queued || !m->rcpt_count || m->rcpt_count > SMTP_CLIENT_RCPT_MAX)
        return false;
    if (!is_safe(m->sender) || !is_word(m->envid) || !is_word(m->auth)) return false;
    for (size_t i = 0; i < m->rcpt_count; i++)
        if (!m->rcpts[i].address.n || !is_safe(m->rcpts[i].address) || !is_word(m->rcpts[i].orcpt))
            return false;
    if (!(v = calloc(m->rcpt_count, sizeof *v))) return false;
    free(c->v);
    arena_reset(&c->texts);
    c->v = v;
    c->v_count = m->rcpt_count;
    c->copy = *m;
    c->m = &c->copy;
    c->rcpt_sent = c->rcpt_seen = c->accepted = 0;
    c->mail_sent = c->mail_ok = c->wants_mail_reply = c->asked_body = false;
    c->stage = SMTP_STAGE_MAIL;
    uint32_t x = c->caps.exts;
    const char *why = NULL;
    struct mail_status st = STATUS(5, 6, 7);
    c->is_bdat = (x & SMTP_EXT_CHUNKING) && !c->config.is_lmtp;
    if (m->is_smtputf8 && !(x & SMTP_EXT_SMTPUTF8)) why = "the server does not offer SMTPUTF8";
    else if (m->is_requiretls && (!(x & SMTP_EXT_REQUIRETLS) || !c->is_tls)) {
        st = STATUS(5, 7, 30);
        why = "the server does not offer REQUIRETLS";
    } else if (m->is_binary && (!c->is_bdat || !(x & SMTP_EXT_BINARYMIME))) {
        st = STATUS(5, 6, 1);
        why = "the server does not take BINARYMIME";
    } else if ((x & SMTP_EXT_SIZE) && c->caps.size_max && m->size > c->caps.size_max) {
        st = STATUS(5, 3, 4);
        why = "the message is bigger than the server takes";
    } else if (m->by == SMTP_BY_RETURN && !(x & SMTP_EXT_DELIVERBY) && !c->config.is_lmtp) {
        st = STATUS(5, 3, 3);
        why = "the server does not offer DELIVERBY";
    } else if (m->by == SMTP_BY_RETURN && (m->by_s <= 0 || m->by_s < c->caps.by_min_s)) {
        st = STATUS(5, 4, 7);
        why = "the server may need more time than is left to deliver the message";
    }
    if (why) {
        judge_rest(c, SMTP_CLASS_PERMANENT, SMTP_STAGE_MAIL, 0, st, slice_str(why));
        message_over(c);
        return true;
    }
    c->state = ENVELOPE;
    if (c->used || c->needs_rset) {
        buf_add(&c->out, S("RSET\r\n"));
        c->wants_rset_reply = true;
        c->stage = SMTP_STAGE_RSET;
    }
    c->used = true;
    envelope(c);
    return true;
}

void smtp_client_quit(struct smtp_client *c) {
    if (c->state == READY) say_quit(c);
}

size_t smtp_client_body(struct smtp_client *c, struct slice chunk) {
    if (c->state != BODY || c->out.n >= OUT_HIGH) return 0;
    chunk = slice_first(chunk, SMTP_CLIENT_BODY_MAX);
    bool ok = c->m->is_binary ? buf_add(&c->chunk, chunk)
                              : smtp_dot_put(&c->dot, chunk, c->is_bdat ? &c->chunk : &c->out);
    if (!ok) {
        fail(c, ERR_MEMORY, STATUS(4, 3, 0), "out of memory");
        return 0;
    }
    c->offset += chunk.n;
    c->asked_body = false;
    return chunk.n;
}

void smtp_client_body_end(struct smtp_client *c) {
    if (c->state != BODY) return;
    if (!c->m->is_binary) smtp_dot_end(&c->dot, c->is_bdat ? &c->chunk : &c->out);
    c->is_ending = c->is_bdat && !has_window(c);
    if (!c->is_ending) end_body(c);
}

void smtp_client_body_fail(struct smtp_client *c, const struct err *why) {
    struct err e = *why;
    if (c->state != BODY) return;
    if (e.status.cls != 4) e.status = STATUS(4, 3, 0);
    fail_reply(c, (struct smtp_reply){0}, &e);
}

// --- questions --------------------------------------------------------------------------------

const struct smtp_caps *smtp_client_caps(const struct smtp_client *c) { return &c->caps; }
bool smtp_client_is_tls(const struct smtp_client *c) { return c->is_tls; }
const char *smtp_client_mechanism(const struct smtp_client *c) { return c->mechanism; }

struct smtp_client_result smtp_client_result(const struct smtp_client *c, size_t i) {
    if (i < c->v_count && c->v[i].is_known) return c->v[i].r;
    return (struct smtp_client_result){SMTP_CLASS_TEMPORARY, c->stage, 0, STATUS(4, 4, 2),
                                       S("not yet answered")};
}
