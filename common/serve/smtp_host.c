/* smtp_host: answers the SMTP engine: who may send what to whom, and where the octets go. */
#include <stdio.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "deliver/drop.h"
#include "mime/header.h"
#include "mime/legal.h"
#include "mime/msgid.h"
#include "serve/server.h"
#include "smtp/server.h"
#include "store/quota.h"
#include "sys/clock.h"

enum {
    HEAD_MAX = 16 * 1024,
    ENVELOPE_ARENA_MAX = 8 * 1024 * 1024,
    RCPT_MAX = 1000,
    LEGAL_MESSAGE_MAX = 64 * 1024 * 1024,   /* a larger one is not encoded anew */
    LEGAL_TOGETHER_MAX = 128 * 1024 * 1024, /* of those encoded at one time */
    HOPS_MAX = 50,                          /* Received fields; more is a loop (RFC 5321 6.3) */
};

enum { LOG_TO_MAX = 1000 }; /* of the recipients in a log line */
enum waiting { WAIT_NONE, WAIT_LOGIN, WAIT_COMMIT };

struct smtp_host {
    struct smtp_server *engine;
    struct session *session;
    enum waiting waiting;
    struct login *login;             /* while one is under way */
    char *client_name;               /* what a proxy says it is called, or NULL */
    char user[ACCOUNT_NAME_MAX + 1]; /* logged in as, or "" */
    /* the transaction */
    struct arena arena;
    struct envelope env;
    size_t rcpt_cap;
    struct spool spool;
    struct err spool_err; /* why the octets cannot be kept; code OK: they can */
    struct buf head;
    struct queue_op op;
    bool is_committed;
    uint64_t size;
    uint64_t size_said; /* SIZE of MAIL; 0: none */
};

static bool is_submission(const struct session *s) {
    return s->service == SERVICE_SUBMISSION || s->service == SERVICE_SUBMISSIONS;
}

static const char *peer_name(const struct session *s, char out[ADDR_TEXT_MAX]) {
    if (s->peer.len == 0) snprintf(out, ADDR_TEXT_MAX, "local");
    else addr_host(&s->peer, out);
    return out;
}

/* May this client send to other hosts? */
static bool may_relay(const struct smtp_host *h) {
    const struct session *s = h->session;
    const struct conf *c = s->server->conf;

    if (h->user[0] || s->server->trusts_stdio) return true;
    if (is_submission(s) || s->service == SERVICE_LMTP || s->peer.len == 0) return false;
    return server_in_nets(&c->relay_from, &s->peer);
}

static void reset(struct smtp_host *h) {
    arena_reset(&h->arena);
    h->env = (struct envelope){0};
    h->rcpt_cap = 0;
    spool_reset(&h->spool);
    h->spool_err = (struct err){0};
}

static void reply_err(struct smtp_host *h, const struct err *e) {
    bool temporary = err_is_temporary(e);
    struct mail_status st = e->status.cls ? e->status
                            : temporary   ? STATUS(4, 3, 0)
                                          : STATUS(5, 3, 0);

    smtp_server_reply(h->engine, st.cls == 4 ? (e->code == ERR_FULL ? 452 : 451) : 554, st,
                      slice_str(e->msg));
}

/* --- MAIL and RCPT
 * -------------------------------------------------------------------------------------- */

static bool has_space(const struct server *server, uint64_t size) {
    char path[4096];
    struct statvfs st;

    snprintf(path, sizeof path, "%s/queue", server->conf->data);
    if (statvfs(path, &st) < 0) return true; /* the write will tell */
    return (uint64_t)st.f_bavail * st.f_frsize > size + server->conf->disk_reserve &&
           (st.f_files == 0 || st.f_favail > 16);
}

/* A user sends as himself: his own name, with or without detail, or an alias that reaches him. */
static enum err_code check_sender(struct smtp_host *h, struct slice address, struct err *e) {
    struct rcpt_end *ends;
    struct arena a;
    size_t count;
    enum err_code code;
    bool mine = false;

    if (!h->user[0] || address.n == 0) return OK;
    arena_init(&a, 4 * 1024 * 1024);
    code = directory_expand(h->session->server->directory, address, &a, &ends, &count, e);
    for (size_t i = 0; code == OK && i < count; i++)
        mine |= ends[i].is_local && slice_ieq(ends[i].address, slice_str(h->user));
    arena_release(&a);
    if (code != OK && err_is_temporary(e)) return code;
    return mine ? OK
                : err_mail(e, ERR_DENIED, STATUS(5, 7, 1), "%s may not send as this address",
                           h->user);
}

/* When it may go, when it must be there, and how it is to be favoured. */
static void take_wishes(struct smtp_host *h, const struct smtp_mail *m) {
    wall_t now = clock_wall();

    /* Only who may send through here comes before others (RFC 6710 4.1). */
    h->env.priority = m->priority > 0 && !may_relay(h) ? 0 : m->priority;
    if (m->hold == SMTP_HOLD_FOR && m->hold_value > 0) h->env.release_at = now + m->hold_value;
    if (m->hold == SMTP_HOLD_UNTIL && m->hold_value > now) h->env.release_at = m->hold_value;
    if (m->by == SMTP_BY_NONE) return;
    h->env.by_mode = m->by == SMTP_BY_RETURN ? BY_RETURN : BY_NOTIFY;
    h->env.by_trace = m->by_trace;
    h->env.deliver_by = now + m->by_s;
}

static void on_mail(struct smtp_host *h, const struct smtp_mail *m) {
    struct server *server = h->session->server;
    char text[ADDR_TEXT_MAX];
    struct slice helo = smtp_server_helo(h->engine);
    struct err e = {0};

    reset(h);
    if (!has_space(server, m->size)) {
        smtp_server_reply(h->engine, 452, STATUS(4, 3, 1), S("no space for mail now"));
        return;
    }
    if (check_sender(h, m->from.address, &e) != OK) {
        if (err_is_temporary(&e)) reply_err(h, &e);
        else smtp_server_reply(h->engine, 553, e.status, slice_str(e.msg));
        return;
    }
    h->size_said = m->size;
    h->env.sender = arena_copy(&h->arena, m->from.address);
    h->env.envid = arena_copy(&h->arena, m->envid);
    h->env.ret = m->ret == SMTP_RET_FULL   ? RET_FULL
                 : m->ret == SMTP_RET_HDRS ? RET_HDRS
                                           : RET_DEFAULT;
    h->env.is_8bit = m->body != SMTP_BODY_7BIT;
    h->env.is_binary = m->body == SMTP_BODY_BINARYMIME;
    h->env.is_smtputf8 = m->is_smtputf8;
    h->env.is_requiretls = m->is_requiretls;
    take_wishes(h, m);
    h->env.proto = slice_str(smtp_server_with(h->engine));
    h->env.user = arena_copy(&h->arena, slice_str(h->user));
    h->env.client = arena_printf(&h->arena, "%.*s [%s]", SP(helo), peer_name(h->session, text));
    if (h->arena.bad) smtp_server_reply(h->engine, 451, STATUS(4, 3, 0), S("no memory"));
    else if (h->env.priority != m->priority) /* RFC 6710 4.1 */
        smtp_server_reply(h->engine, 250, STATUS(2, 3, 6),
                          S("0 is the new priority assigned to the message"));
    else smtp_server_ok(h->engine);
}

static bool add_rcpt(struct smtp_host *h, const struct smtp_rcpt *r, struct slice address) {
    struct envelope_rcpt *to;

    if (h->env.rcpt_count == h->rcpt_cap) {
        size_t cap = h->rcpt_cap ? h->rcpt_cap * 2 : 4;
        struct envelope_rcpt *more = arena_new(&h->arena, cap * sizeof *more);

        if (!more) return false;
        if (h->env.rcpt_count) memcpy(more, h->env.rcpts, h->env.rcpt_count * sizeof *more);
        h->env.rcpts = more;
        h->rcpt_cap = cap;
    }
    to = &h->env.rcpts[h->env.rcpt_count];
    to->address = arena_copy(&h->arena, address);
    to->orcpt = arena_copy(&h->arena, r->orcpt);
    to->notify = (uint8_t)r->notify;
    if (h->arena.bad) return false;
    h->env.rcpt_count++;
    return true;
}

static void log_refused(const struct smtp_host *h, struct slice to, const char *why) {
    char text[ADDR_TEXT_MAX];

    log_event(h->session->server->log, LEVEL_WARN, "refused", "client",
              slice_str(peer_name(h->session, text)), "helo", smtp_server_helo(h->engine), "from",
              h->env.sender.n ? h->env.sender : S("<>"), "to", to, "why", slice_str(why), NULL);
}

static bool is_own_literal(const struct session *s, struct slice address) {
    char text[ADDR_TEXT_MAX];
    size_t at = slice_rchr(address, '@');

    return s->local.len > 0 && at != SLICE_NONE &&
           slice_ieq(slice_from(address, at + 1), slice_str(addr_literal(&s->local, text)));
}

/* Better now than by a notification later. */
static bool is_full(const struct smtp_host *h, const struct account *a) {
    struct store *s;
    bool is;

    if ((!a->quota_octets && !a->quota_messages) || store_open(a->home, &s, NULL) != OK)
        return false;
    store_limit(s, a->quota_octets, a->quota_messages);
    is = quota_check(s, h->size_said ? h->size_said : 1, 1, NULL) == ERR_FULL;
    store_close(s);
    return is;
}

static void on_rcpt(struct smtp_host *h, const struct smtp_rcpt *r) {
    const struct directory *d = h->session->server->directory;
    enum rcpt_kind kind;
    struct account account;
    struct err e = {0};
    struct slice address = r->to.address;

    /* An address literal that is this end of the connection means the first domain. */
    if (is_own_literal(h->session, address))
        address = arena_printf(&h->arena, "%.*s%s",
                               SP(slice_first(address, slice_rchr(address, '@') + 1)),
                               h->session->server->conf->domain.v[0]);
    if (h->session->server->drop) {
        /* Who takes the mail from there knows the users. */
        if (add_rcpt(h, r, address)) smtp_server_ok(h->engine);
        else smtp_server_reply(h->engine, 452, STATUS(4, 5, 3), S("too many recipients"));
    } else if (directory_find(d, address, &kind, &account, &e) != OK) {
        log_refused(h, address, e.msg);
        smtp_server_reply(h->engine, 451, e.status.cls == 4 ? e.status : STATUS(4, 3, 0),
                          S("the list of users cannot be read now"));
    } else if (kind == RCPT_NOBODY) {
        log_refused(h, address, "no such user");
        smtp_server_reply(h->engine, 550, STATUS(5, 1, 1), S("no such user here"));
    } else if (kind == RCPT_REMOTE && !may_relay(h)) {
        log_refused(h, address, "relaying denied");
        smtp_server_reply(h->engine, 550, STATUS(5, 7, 1), S("relaying denied: log in first"));
    } else if (kind == RCPT_ACCOUNT && is_full(h, &account)) {
        log_refused(h, address, "the mailbox is full");
        smtp_server_reply(h->engine, 552, STATUS(5, 2, 2), S("the mailbox is full"));
    } else if (!add_rcpt(h, r, address)) {
        smtp_server_reply(h->engine, 452, STATUS(4, 5, 3), S("too many recipients"));
    } else {
        smtp_server_ok(h->engine);
    }
}

/* --- the message
 * ---------------------------------------------------------------------------------------- */

/* Does the message begin with text and no header? Then ours is all there is, and must end. (The
 * separator of an mbox counts as part of a header that follows.) */
static bool has_no_header(struct slice message) {
    struct header_iter it;
    struct header_field f;

    header_begin(&it, message);
    return header_next(&it, &f) && f.name.n == 0 && !slice_starts(message, S("From ")) &&
           !slice_starts(message, S(">From "));
}

/* Is the whole header in memory, and within what is looked at? What is not seen cannot be checked:
 * 256 KiB of folds would hide a loop or a second From. (Without a header all is text.) */
static bool is_header_seen(const struct smtp_host *h) {
    struct slice message = buf_slice(&h->spool.mem);
    struct header_iter it;
    struct header_field f;

    for (header_begin(&it, message); header_next(&it, &f);)
        if (it.fields == 1 && has_no_header(message)) return true;
    return !it.limited && (it.at < message.n || h->spool.size == message.n);
}

/* Trace and, for mail that starts here, what RFC 6409 8 lets a submission server add. */
static void put_fields(struct smtp_host *h, const char *id) {
    struct session *s = h->session;
    const struct conf *c = s->server->conf;
    struct slice helo = smtp_server_helo(h->engine), message = buf_slice(&h->spool.mem);
    char host[ADDR_TEXT_MAX], date[MOMENT_RFC5322_MAX];
    wall_t now = h->env.arrived;

    buf_reset(&h->head);
    buf_addf(&h->head, "Received: from %.*s (", SP(helo.n ? helo : S("unknown")));
    if (s->peer.len == 0) buf_addf(&h->head, "local user %u", (unsigned)getuid());
    if (h->client_name) buf_addf(&h->head, "%s ", h->client_name);
    if (s->peer.len > 0) buf_add(&h->head, slice_str(addr_literal(&s->peer, host)));
    buf_addf(&h->head, ")\r\n\tby %s with %s id %s", c->hostname, smtp_server_with(h->engine), id);
    if (s->tls) buf_addf(&h->head, "\r\n\t(%s)", tls_describe(s->tls));
    /* More than one recipient must not learn of each other (RFC 5321 7.2). */
    if (h->env.rcpt_count == 1) buf_addf(&h->head, "\r\n\tfor <%.*s>", SP(h->env.rcpts[0].address));
    buf_addf(&h->head, ";\r\n\t%.*s\r\n", SP(moment_rfc5322(now, clock_offset(now), date)));
    if (!is_submission(s) && !s->server->trusts_stdio) return;
    if (header_value(message, S("Date")).n == 0)
        buf_addf(&h->head, "Date: %.*s\r\n", SP(moment_rfc5322(now, clock_offset(now), date)));
    if (header_value(message, S("Message-ID")).n == 0) {
        uint8_t random[MSGID_RANDOM];

        random_bytes(random, sizeof random);
        buf_add(&h->head, S("Message-ID: "));
        msgid_put(&h->head, now, random, slice_str(c->hostname));
        buf_add(&h->head, S("\r\n"));
    }
    if (header_value(message, S("From")).n == 0 && h->env.sender.n)
        buf_addf(&h->head, "From: <%.*s>\r\n", SP(h->env.sender));
}

/* "TLS-Required: No": the sender wants the mail to arrive more than it to be secret (RFC 8689 5).
 * REQUIRETLS wins over it. */
static bool wants_no_tls(const struct smtp_host *h) {
    return !h->env.is_requiretls &&
           slice_ieq(header_value(buf_slice(&h->spool.mem), S("TLS-Required")), S("No"));
}

/* The text of the spool made legal, in its place. */
static enum err_code encode_spool(struct smtp_host *h, struct err *e) {
    size_t size = (size_t)h->spool.size, got = 0;
    struct buf whole, legal;
    struct arena a;
    char *room;
    enum err_code code;

    arena_init(&a, LEGAL_MESSAGE_MAX);
    buf_init(&whole, size + 1);
    buf_init(&legal, 3 * (size + 4096));
    room = buf_room(&whole, size);
    code = room ? spool_read(&h->spool, 0, room, size, &got, e)
                : err_mail(e, ERR_MEMORY, STATUS(4, 3, 0), "no memory for the message");
    if (code == OK && got != size)
        code = err_mail(e, ERR_IO, STATUS(4, 3, 0), "the message file is too short");
    if (code == OK) {
        buf_grown(&whole, size);
        if (!legal_is_signed(buf_slice(&whole))) {
            code = legal_make(&a, buf_slice(&whole), false, &legal, e);
            if (code == OK) {
                spool_reset(&h->spool);
                spool_add(&h->spool, buf_slice(&legal), &h->spool_err);
            }
        }
    }
    buf_release(&legal);
    buf_release(&whole);
    arena_release(&a);
    return code;
}

/* What starts here and has lines or octets that not every host takes is encoded anew, unless it is
 * signed (S-4, RFC 6409 8). When it cannot be taken apart it stays as it came. Memory for this has
 * a bound over all sessions: above it, and without memory, a client comes again later. */
static void make_legal(struct smtp_host *h, unsigned flags) {
    struct server *server = h->session->server;
    uint64_t size = h->spool.size;
    struct err e = {0};

    if (!(flags & (SMTP_DATA_LONG_LINE | SMTP_DATA_NUL)) || h->env.is_binary ||
        size > LEGAL_MESSAGE_MAX || !(is_submission(h->session) || server->trusts_stdio))
        return;
    if (atomic_fetch_add(&server->encoding, size) + size > LEGAL_TOGETHER_MAX) {
        server->encoding -= size;
        err_mail(&h->spool_err, ERR_BUSY, STATUS(4, 3, 2),
                 "too many messages are encoded at this moment");
        return;
    }
    if (encode_spool(h, &e) != OK) {
        log_event(server->log, LEVEL_WARN, "not encoded anew", "from", h->env.sender, "why",
                  slice_str(e.msg), NULL);
        if (err_is_temporary(&e)) h->spool_err = e;
    }
    server->encoding -= size;
}

static void make_head(struct smtp_host *h, const char *id) {
    put_fields(h, id);
    if (has_no_header(buf_slice(&h->spool.mem))) buf_add(&h->head, S("\r\n"));
}

static void committed(struct queue_op *op) {
    struct smtp_host *h = op->user;

    h->is_committed = true;
    session_resume(h->session);
}

static void after_commit(struct smtp_host *h);

static void on_data_end(struct smtp_host *h, const struct smtp_server_event *ev) {
    const struct log *log = h->session->server->log;

    if (h->spool_err.code != OK) {
        log_event(log, LEVEL_ERROR, "cannot take a message", "from", h->env.sender, "why",
                  slice_str(h->spool_err.msg), NULL);
        reply_err(h, &h->spool_err);
        return;
    }
    if (!is_header_seen(h)) {
        smtp_server_reply(h->engine, 552, STATUS(5, 3, 4), S("the header is too large"));
        return;
    }
    if (header_count(buf_slice(&h->spool.mem), S("Received")) > HOPS_MAX) {
        log_event(log, LEVEL_WARN, "mail loop", "from", h->env.sender.n ? h->env.sender : S("<>"),
                  "to", h->env.rcpts[0].address, NULL);
        smtp_server_reply(h->engine, 554, STATUS(5, 4, 6),
                          S("mail loop: too many Received fields"));
        return;
    }
    /* Which of them counts is a matter of taste, and so of fraud. */
    if ((is_submission(h->session) || h->session->server->trusts_stdio) &&
        header_count(buf_slice(&h->spool.mem), S("From")) > 1) {
        smtp_server_reply(h->engine, 554, STATUS(5, 6, 0), S("more than one From field"));
        return;
    }
    make_legal(h, ev->flags);
    if (h->spool_err.code != OK) {
        reply_err(h, &h->spool_err);
        return;
    }
    h->env.is_tls_optional = wants_no_tls(h);
    if (ev->flags & SMTP_DATA_8BIT) h->env.is_8bit = true;
    h->env.arrived = clock_wall();
    h->size = ev->size;
    h->op = (struct queue_op){.env = &h->env, .body = &h->spool, .done = committed, .user = h};
    queue_new_id(h->op.id);
    make_head(h, h->op.id);
    if (h->head.bad) {
        smtp_server_reply(h->engine, 451, STATUS(4, 3, 0), S("no memory"));
        return;
    }
    h->op.head = buf_slice(&h->head);
    if (!h->session->server->drop && queue_try(h->session->server->queue, &h->op)) {
        after_commit(h);
        return;
    }
    h->is_committed = false;
    h->waiting = WAIT_COMMIT;
    session_wait(h->session);
    if (!h->session->server->drop) {
        queue_submit(h->session->server->queue, &h->op);
        return;
    }
    h->op.code =
        drop_put(h->session->server->drop, &h->env, h->op.head, &h->spool, h->op.id, &h->op.err);
    committed(&h->op);
}

/* "name[address]", as other mail software logs it. */
static struct slice client_of(struct smtp_host *h, struct arena *a) {
    char text[ADDR_TEXT_MAX];

    return arena_printf(a, "%s[%s]", h->client_name ? h->client_name : "unknown",
                        peer_name(h->session, text));
}

/* The message in one line, with the names that log readers know. */
static void log_queued(struct smtp_host *h) {
    const struct session *s = h->session;
    const struct envelope *env = &h->env;
    char size[24], count[24];
    struct slice id = header_value(buf_slice(&h->spool.mem), S("Message-ID"));
    struct buf to;

    if (!log_wants(s->server->log, LEVEL_NOTE)) return;
    if (id.n == 0) id = header_value(buf_slice(&h->head), S("Message-ID"));
    buf_init(&to, LOG_TO_MAX);
    for (size_t i = 0; i < env->rcpt_count && !to.bad; i++)
        buf_addf(&to, "%s<%.*s>", i ? "," : "", SP(env->rcpts[i].address));
    log_event(s->server->log, LEVEL_NOTE, "queued", "id", slice_str(h->op.id), "client",
              client_of(h, &h->arena), "helo", smtp_server_helo(h->engine), "from",
              arena_printf(&h->arena, "<%.*s>", SP(env->sender)), "to", buf_slice(&to), "nrcpt",
              log_num(count, (int64_t)env->rcpt_count), "size", log_num(size, (int64_t)h->size),
              "proto", env->proto, "sasl_username", slice_str(h->user), "tls",
              slice_str(s->tls ? tls_describe(s->tls) : ""), "message-id", id, NULL);
    buf_release(&to);
}

static void after_commit(struct smtp_host *h) {
    struct session *s = h->session;

    h->waiting = WAIT_NONE;
    if (h->op.code != OK) {
        log_event(s->server->log, LEVEL_ERROR, "cannot queue a message", "from", h->env.sender,
                  "why", slice_str(h->op.err.msg), NULL);
        reply_err(h, &h->op.err);
    } else {
        char ok[64];

        log_queued(h);
        snprintf(ok, sizeof ok, "ok, queued as %s", h->op.id);
        smtp_server_reply(h->engine, 250, STATUS(2, 0, 0), slice_str(ok));
    }
    reset(h);
}

static void after_login(struct smtp_host *h) {
    h->waiting = WAIT_NONE;
    server_log_login(h->session, h->login);
    if (h->login->code == OK) {
        snprintf(h->user, sizeof h->user, "%s", h->login->account.name);
        smtp_server_ok(h->engine);
    } else if (h->login->code == ERR_DENIED) {
        smtp_server_reply(h->engine, 535, STATUS(5, 7, 8), S("wrong user name or password"));
    } else {
        smtp_server_reply(h->engine, 454, STATUS(4, 7, 0), S("cannot check the password now"));
    }
    free(h->login);
    h->login = NULL;
}

/* --- the session
 * ---------------------------------------------------------------------------------------- */

static void on_auth(struct smtp_host *h, const struct smtp_server_event *ev) {
    struct slice authzid = ev->authzid;
    char own[ACCOUNT_NAME_MAX + 1], other[ACCOUNT_NAME_MAX + 1];
    struct accounts *a = h->session->server->directory->accounts;

    /* Nobody acts for somebody else: an authorization identity must be the same user. */
    if (authzid.n > 0 &&
        (accounts_name(a, authzid, other, NULL) != OK ||
         accounts_name(a, ev->authcid, own, NULL) != OK || strcmp(own, other) != 0)) {
        smtp_server_reply(h->engine, 535, STATUS(5, 7, 8),
                          S("acting for another user is not allowed"));
        return;
    }
    h->login = malloc(sizeof *h->login);
    if (!h->login) {
        smtp_server_reply(h->engine, 454, STATUS(4, 7, 0), S("no memory"));
        return;
    }
    h->waiting = WAIT_LOGIN;
    if (server_login(h->session, h->login, ev->claim, ev->mechanism.p, ev->authcid, ev->password) !=
        OK)
        after_login(h);
}

/* A listed proxy says who the client is. */
static void on_xclient(struct smtp_host *h, const struct smtp_xclient *x) {
    struct session *s = h->session;
    struct addr peer = s->peer, local = s->local;
    char host[ADDR_TEXT_MAX], user[ACCOUNT_NAME_MAX + 1] = "";

    /* A client may come with a new port only. */
    snprintf(host, sizeof host, "%.*s", SP(x->addr));
    if (x->addr.n && (x->addr.n >= sizeof host || !addr_parse(host, x->port, &peer))) {
        smtp_server_reply(h->engine, 501, STATUS(5, 5, 4), S("ADDR is no address"));
        return;
    }
    snprintf(host, sizeof host, "%.*s", SP(x->dest_addr));
    if (x->dest_addr.n &&
        (x->dest_addr.n >= sizeof host || !addr_parse(host, x->dest_port, &local))) {
        smtp_server_reply(h->engine, 501, STATUS(5, 5, 4), S("DESTADDR is no address"));
        return;
    }
    if (x->login.n && accounts_name(s->server->directory->accounts, x->login, user, NULL) != OK) {
        smtp_server_reply(h->engine, 501, STATUS(5, 5, 4), S("LOGIN is no user's name"));
        return;
    }
    if (x->port && x->addr.n == 0) addr_set_port(&peer, x->port);
    s->peer = peer;
    s->local = local;
    memcpy(h->user, user, sizeof user);
    if (x->name.n) {
        free(h->client_name);
        h->client_name = strndup(x->name.p, x->name.n);
    }
    reset(h);
    smtp_server_ok(h->engine);
}

static void events(struct session *s, mono_t now) {
    struct smtp_host *h = s->host;
    struct smtp_server_event ev;

    (void)now;
    if (h->waiting == WAIT_COMMIT && h->is_committed) after_commit(h);
    if (h->waiting == WAIT_LOGIN && h->login->is_done) after_login(h);
    while (!s->waits && smtp_server_next(h->engine, &ev)) {
        switch (ev.type) {
        case SMTP_SERVER_CONNECT:
        case SMTP_SERVER_HELO:
        case SMTP_SERVER_DATA: smtp_server_ok(h->engine); break;
        case SMTP_SERVER_MAIL: on_mail(h, ev.mail); break;
        case SMTP_SERVER_RCPT: on_rcpt(h, ev.rcpt); break;
        case SMTP_SERVER_CHUNK:
            if (h->spool_err.code == OK) spool_add(&h->spool, ev.data, &h->spool_err);
            break;
        case SMTP_SERVER_DATA_END: on_data_end(h, &ev); break;
        case SMTP_SERVER_AUTH: on_auth(h, &ev); break;
        case SMTP_SERVER_XCLIENT: on_xclient(h, ev.xclient); break;
        case SMTP_SERVER_NEED_TLS: s->wants_tls = true; break;
        case SMTP_SERVER_RESET: reset(h); break;
        case SMTP_SERVER_BYE: break;
        case SMTP_SERVER_FAIL: {
            char text[ADDR_TEXT_MAX];

            if (ev.err.code != ERR_CLOSED)
                log_event(s->server->log, LEVEL_NOTE, "session ended", "service",
                          slice_str(conf_service_name(s->service)), "client",
                          slice_str(peer_name(s, text)), "why", slice_str(ev.err.msg), NULL);
            break;
        }
        }
    }
}

static void tls_up(struct session *s, mono_t now) {
    struct smtp_host *h = s->host;

    h->user[0] = 0;
    reset(h);
    smtp_server_tls_up(h->engine, now);
}

static void shut_down(struct session *s, mono_t now) {
    struct smtp_host *h = s->host;

    (void)now;
    smtp_server_shutdown(h->engine, S(""));
}

static void rest(struct session *s) {
    struct smtp_host *h = s->host;

    smtp_server_rest(h->engine);
    if (smtp_server_in_mail(h->engine) || h->waiting != WAIT_NONE) return;
    arena_release(&h->arena);
    h->env = (struct envelope){0};
    h->rcpt_cap = 0;
    spool_release(&h->spool);
    buf_release(&h->head);
}

static void free_host(struct session *s) {
    struct smtp_host *h = s->host;

    smtp_server_free(h->engine);
    spool_release(&h->spool);
    buf_release(&h->head);
    arena_release(&h->arena);
    free(h->login);
    free(h->client_name);
    free(h);
}

enum err_code smtp_host_new(struct session *s, mono_t now, struct err *e) {
    static const struct session_ops ops = {
        .events = events, .tls_up = tls_up, .shutdown = shut_down, .rest = rest, .free = free_host};
    const struct server *server = s->server;
    const struct conf *c = server->conf;
    bool implicit = s->service == SERVICE_SUBMISSIONS;
    struct smtp_server_config config = {
        .role = s->service == SERVICE_LMTP                 ? SMTP_ROLE_LMTP
                : is_submission(s) || server->trusts_stdio ? SMTP_ROLE_SUBMISSION
                                                           : SMTP_ROLE_SMTP,
        .hostname = slice_str(c->hostname),
        .size_max = c->message_size_limit,
        .is_tls = implicit,
        .offer_tls = server->creds && !implicit,
        .offer_auth = is_submission(s) && !server->trusts_stdio,
        .plaintext_auth = c->plaintext_auth,
        .sasl = is_submission(s) && !server->trusts_stdio ? server_sasl(s) : NULL,
        .require_auth = is_submission(s) && !server->trusts_stdio,
        .allow_early_talk = server->trusts_stdio,
        .rcpt_max = RCPT_MAX,
        /* Who comes through a proxy that announces him is not the proxy. */
        .offer_xclient = !s->wants_proxy && server_in_nets(&c->xclient_from, &s->peer),
        .offer_deliver_by = true,
        .offer_priority = true,
        .hold_max_s = is_submission(s) || server->trusts_stdio ? c->hold_limit : 0,
        .wall = clock_wall(),
    };
    struct smtp_host *h = calloc(1, sizeof *h);

    if (!h) return err_set(e, ERR_MEMORY, "no memory for a session");
    h->session = s;
    h->engine = smtp_server_new(&config, now);
    if (!h->engine) {
        free(h);
        return err_set(e, ERR_MEMORY, "no memory for a session");
    }
    arena_init(&h->arena, ENVELOPE_ARENA_MAX);
    spool_init(&h->spool, server->drop ? "/tmp" : queue_dir(server->queue));
    buf_init(&h->head, HEAD_MAX);
    s->host = h;
    s->ops = &ops;
    s->engine = smtp_server_engine(h->engine);
    if (implicit) session_start_tls(s, now);
    return OK;
}
