#include "deliver/hop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/dial.h"
#include "sys/clock.h"
#include "sys/file.h"

enum { BODY_CHUNK = 16 * 1024, QUIT_MS = 5000 };

struct body_reader {
    const struct hop_body *body;
    uint64_t done; /* bytes given to the engine */
    char *chunk;
    size_t n, at; /* what of the chunk is not given yet */
};

static enum err_code secure(struct hop *h, struct err *e) {
    struct tls *t = NULL;
    enum err_code code;

    code = tls_client_new(h->o.creds, h->o.tls >= HOP_TLS_VERIFY ? TLS_STRICT : TLS_LOOSE, h->fd,
                          h->o.host, &t, e);
    if (code == OK)
        code = pump_tls(&h->pump, t,
                        clock_mono() + (h->o.timeout_ms ? h->o.timeout_ms : HOP_TLS_MS), e);
    if (code != OK) {
        if (e) e->status = STATUS(4, 7, 5), e->code = ERR_TLS;
        return ERR_TLS;
    }
    h->secured = clock_mono();
    h->is_tls = true;
    snprintf(h->tls_text, sizeof h->tls_text, "%s", tls_describe(t));
    tls_peer(t, &h->peer);
    if (h->o.tls >= HOP_TLS_VERIFY) {
        const char *names[] = {h->o.host, h->o.names[0], h->o.names[1]};

        h->verify_code = h->o.tls == HOP_TLS_DANE
                             ? tls_verify_dane(t, h->o.tlsa, h->o.tlsa_count, names,
                                               COUNT_OF(names), &h->verify_err)
                             : tls_verify(t, h->o.host, &h->verify_err);
        if (h->verify_code != OK) {
            if (e) *e = h->verify_err;
            return h->verify_code;
        }
    }
    return OK;
}

static void fail_hop(struct hop *h, const struct err *why, enum smtp_stage stage) {
    if (h->is_over) return;
    h->is_over = true;
    h->is_ready = false;
    h->err = *why;
    h->failed_at = stage;
}

/* Fill the engine's wish for body bytes. */
static void give_body(struct hop *h, struct body_reader *b) {
    struct err why = {0};

    if (b->at == b->n) {
        uint64_t left = b->body->size - b->done;
        ssize_t n;

        if (left == 0) {
            smtp_client_body_end(h->client);
            return;
        }
        do
            n = pread(b->body->fd, b->chunk, left < BODY_CHUNK ? (size_t)left : BODY_CHUNK,
                      (off_t)(b->body->offset + b->done));
        while (n < 0 && errno == EINTR);
        if (n <= 0) {
            if (n == 0)
                err_mail(&why, ERR_IO, STATUS(4, 3, 0), "the message is shorter than it should be");
            else err_sys(&why, "cannot read the message");
            smtp_client_body_fail(h->client, &why);
            return;
        }
        b->n = (size_t)n;
        b->at = 0;
    }
    size_t took = smtp_client_body(h->client, slice_of(b->chunk + b->at, b->n - b->at));

    b->at += took;
    b->done += took;
}

/* Drive the engine until it is ready for a message, a message has its result, or all is over. */
static void drive(struct hop *h, struct body_reader *b) {
    struct smtp_client_event ev;
    struct err why = {0};

    while (!h->is_over) {
        while (!h->is_over && smtp_client_next(h->client, &ev)) {
            switch (ev.type) {
            case SMTP_CLIENT_REPLY:
                if (h->o.on_reply)
                    h->o.on_reply(h->o.on_user, ev.stage, ev.index, &ev.reply,
                                  clock_mono() - h->started);
                break;
            case SMTP_CLIENT_NEED_TLS:
                if (secure(h, &why) != OK) fail_hop(h, &why, SMTP_STAGE_TLS);
                else smtp_client_tls_up(h->client, clock_mono());
                break;
            case SMTP_CLIENT_READY:
                h->is_ready = true;
                if (!h->ready) h->ready = clock_mono();
                return;
            case SMTP_CLIENT_NEED_BODY:
                if (b) give_body(h, b);
                break;
            case SMTP_CLIENT_RESULT:
                if (b) b->body = NULL;
                break;
            case SMTP_CLIENT_CLOSED:
                h->is_over = true;
                h->is_ready = false;
                break;
            case SMTP_CLIENT_FAIL: fail_hop(h, &ev.err, ev.stage); break;
            }
        }
        if (!h->is_over && !pump_step(&h->pump)) {
            err_mail(&why, ERR_CLOSED, STATUS(4, 4, 2), "the connection ended");
            fail_hop(h, &why, SMTP_STAGE_NONE);
        }
    }
    /* Say what is left to say (QUIT after a failure, or after the probe's last stage). */
    for (int i = 0; i < 4 && !h->pump.is_broken && smtp_client_out(h->client).n > 0; i++)
        pump_step(&h->pump);
}

static void unpredictable(void *user, void *p, size_t n) {
    (void)user;
    random_bytes(p, n);
}

static bool binding(void *user, uint8_t out[TLS_BINDING]) {
    const struct hop *h = user;

    return h->pump.tls && tls_binding(h->pump.tls, out);
}

enum err_code hop_open(struct hop *h, int fd, const struct addr *to, const struct hop_options *o,
                       struct err *e) {
    const struct sasl_env sasl = {.random = unpredictable, .binding = binding, .user = h};
    struct smtp_client_config config = {
        .is_lmtp = o->is_lmtp,
        .ehlo_name = slice_str(o->ehlo_name),
        .tls = o->is_implicit_tls       ? SMTP_TLS_UP
               : o->tls == HOP_TLS_NONE ? SMTP_TLS_NONE
               : o->tls == HOP_TLS_MAY  ? SMTP_TLS_OPPORTUNISTIC
                                        : SMTP_TLS_REQUIRED,
        .user = slice_str(o->user),
        .password = o->password,
        .mechanisms = o->mechanisms,
        .plaintext_auth = o->plaintext_auth,
        .sasl = &sasl,
        .stop_after = o->stop_after,
        .without = o->without,
        .timeout_ms = o->timeout_ms,
    };
    struct buf token;
    enum err_code code;
    mono_t until;

    *h = (struct hop){.o = *o, .to = *to, .fd = fd, .started = clock_mono()};
    until = h->started + (o->timeout_ms ? o->timeout_ms : HOP_CONNECT_MS);
    if (o->give_up && *o->give_up && *o->give_up < until) until = *o->give_up;
    code = fd >= 0 ? OK : dial_tcp(to, o->from, until, &h->fd, &h->err);
    h->failed_at = SMTP_STAGE_CONNECT;
    buf_init(&token, SASL_TOKEN_MAX);
    if (code == OK && o->user && o->token) {
        h->failed_at = SMTP_STAGE_AUTH;
        code = o->token(o->token_user, &token, &h->err);
        config.password = buf_slice(&token);
    }
    if (code != OK) {
        h->is_over = true;
        fd_close(&h->fd);
        buf_release(&token);
        if (e) *e = h->err;
        return code;
    }
    h->connected = clock_mono();
    h->failed_at = SMTP_STAGE_NONE;
    h->client = smtp_client_new(&config, clock_mono());
    if (token.p) explicit_bzero(token.p, token.cap);
    buf_release(&token);
    if (!h->client) {
        code = err_mail(&h->err, ERR_BUG, STATUS(4, 3, 0),
                        "cannot speak as \"%s\": it is not a host name", o->ehlo_name);
        h->is_over = true;
        fd_close(&h->fd);
        if (e) *e = h->err;
        return code;
    }
    pump_init(&h->pump, smtp_client_engine(h->client), h->fd, h->fd);
    h->pump.give_up = o->give_up;
    h->pump.trace = o->on_bytes;
    h->pump.trace_user = o->on_user;
    if (o->is_implicit_tls && secure(h, &h->err) != OK) {
        h->is_over = true;
        h->failed_at = SMTP_STAGE_TLS;
        if (e) *e = h->err;
        return h->err.code;
    }
    drive(h, NULL);
    if (h->is_ready || (h->is_over && h->err.code == OK)) return OK;
    if (e) *e = h->err;
    return h->err.code;
}

enum err_code hop_send(struct hop *h, const struct smtp_client_message *m,
                       const struct hop_body *body, struct err *e) {
    struct body_reader b = {.body = body};

    if (!h->is_ready)
        return err_mail(e, ERR_CLOSED, STATUS(4, 4, 2), "the connection is not ready");
    b.chunk = malloc(BODY_CHUNK);
    if (!b.chunk) return err_mail(e, ERR_MEMORY, STATUS(4, 3, 0), "no memory to send a message");
    h->is_ready = false;
    if (!smtp_client_send(h->client, m)) {
        free(b.chunk);
        h->is_ready = true;
        return err_mail(e, ERR_SYNTAX, STATUS(5, 1, 3), "an address of the message cannot be sent");
    }
    drive(h, &b);
    free(b.chunk);
    return OK;
}

enum err_code hop_probe(struct hop *h, const struct smtp_client_message *m, struct err *e) {
    if (!h->is_ready) return OK;
    h->is_ready = false;
    if (!smtp_client_send(h->client, m))
        return err_mail(e, ERR_SYNTAX, STATUS(5, 1, 3), "an address of the probe cannot be sent");
    drive(h, NULL);
    return OK;
}

void hop_close(struct hop *h) {
    if (h->client && h->is_ready) {
        smtp_client_quit(h->client);
        h->pump.cap =
            clock_mono() + QUIT_MS; /* the mail is delivered: nothing hangs on the reply */
        drive(h, NULL);
    }
    if (h->client) {
        pump_release(&h->pump);
        smtp_client_free(h->client);
        h->client = NULL;
    }
    fd_close(&h->fd);
}
