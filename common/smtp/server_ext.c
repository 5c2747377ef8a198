/* server_ext: what the server offers, to whom, and the command of a proxy. */
#include <stdlib.h>

#include "smtp/server_impl.h"

bool smtp_server_offers(const struct smtp_server *s, uint32_t ext) {
    return !(s->config.without & ext);
}

bool smtp_server_offers_auth(const struct smtp_server *s) {
    return s->config.offer_auth && smtp_server_offers(s, SMTP_EXT_AUTH) &&
           (s->is_tls || s->config.plaintext_auth);
}

static wall_t wall_now(const struct smtp_server *s) {
    return s->config.wall + (s->now - s->born) / 1000;
}

bool smtp_server_hold_is_over(const struct smtp_server *s, const struct smtp_mail *m) {
    wall_t hold = m->hold_value - (m->hold == SMTP_HOLD_UNTIL ? wall_now(s) : 0);
    return m->hold != SMTP_HOLD_NONE && hold > (wall_t)s->config.hold_max_s;
}

static uint32_t choose(const struct smtp_server *s) {
    const struct smtp_server_config *c = &s->config;
    uint32_t exts = SMTP_EXT_PIPELINING | SMTP_EXT_8BITMIME | SMTP_EXT_SMTPUTF8 | SMTP_EXT_DSN |
                    SMTP_EXT_ENHANCEDSTATUSCODES | SMTP_EXT_CHUNKING | SMTP_EXT_SIZE |
                    SMTP_EXT_LIMITS | SMTP_EXT_BINARYMIME;
    if (c->offer_tls && !s->is_tls) exts |= SMTP_EXT_STARTTLS;
    if (s->is_tls) exts |= SMTP_EXT_REQUIRETLS; // RFC 8689 2: never in clear
    if (smtp_server_offers_auth(s)) exts |= SMTP_EXT_AUTH;
    if (c->offer_deliver_by) exts |= SMTP_EXT_DELIVERBY;
    if (c->offer_priority) exts |= SMTP_EXT_MTPRIORITY;
    if (c->hold_max_s) exts |= SMTP_EXT_FUTURERELEASE;
    if (c->offer_xclient) exts |= SMTP_EXT_XCLIENT;
    exts &= ~c->without;
    if (!(exts & SMTP_EXT_CHUNKING)) exts &= ~(uint32_t)SMTP_EXT_BINARYMIME; // RFC 3030 3
    return exts;
}

static void put_values(const struct smtp_server *s, uint32_t bit, struct buf *b) {
    const struct smtp_server_config *c = &s->config;
    char when[MOMENT_RFC3339_MAX];
    switch (bit) {
    case SMTP_EXT_SIZE:
        if (c->size_max) buf_addf(b, " %llu", (unsigned long long)c->size_max);
        break;
    case SMTP_EXT_AUTH: sasl_put_names(b, sasl_server_offers(c->sasl), " "); break;
    case SMTP_EXT_LIMITS: buf_addf(b, " MAILMAX=%u RCPTMAX=%u", c->mail_max, c->rcpt_max); break;
    case SMTP_EXT_FUTURERELEASE:
        buf_addf(b, " %u %.*s", c->hold_max_s,
                 SP(moment_rfc3339(wall_now(s) + c->hold_max_s, when)));
        break;
    case SMTP_EXT_XCLIENT:
        buf_add(b, S(" NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"));
        break;
    default: break;
    }
}

void smtp_server_greet(struct smtp_server *s, struct slice text) {
    struct buf b;
    bool is_helo = slice_eq(s->verb, S("HELO"));
    buf_reset(&s->helo);
    buf_add(&s->helo, s->name);
    s->is_helo = true;
    s->is_ehlo = !is_helo;
    s->exts = choose(s);
    buf_init(&b, 8192);
    buf_add(&b, s->config.hostname);
    if (text.n) buf_addf(&b, " %.*s", SP(slice_first(text, 200)));
    for (unsigned i = 0; i < SMTP_EXT_COUNT && !is_helo; i++) {
        uint32_t bit = (uint32_t)1 << i;
        if (!(s->exts & bit)) continue;
        buf_addf(&b, "\n%s", smtp_exts[i].keyword);
        put_values(s, bit, &b);
    }
    smtp_server_put(s, 250, STATUS(0, 0, 0), buf_slice(&b));
    buf_release(&b);
}

void smtp_server_xclient_drop(struct smtp_server *s) {
    free(s->xclient);
    s->xclient = NULL;
}

void smtp_server_xclient(struct smtp_server *s, struct slice args) {
    struct err e = {0};
    s->is_sync = true;
    if (!s->config.offer_xclient || !smtp_server_offers(s, SMTP_EXT_XCLIENT)) {
        smtp_server_bad(s, 550, STATUS(5, 7, 1), S("you may not speak for others"));
        return;
    }
    if (s->in_mail) {
        smtp_server_bad(s, 503, STATUS(5, 5, 1), S("bad sequence of commands"));
        return;
    }
    s->xclient = malloc(sizeof *s->xclient);
    if (!s->xclient) smtp_server_die(s, 421, STATUS(4, 3, 0), ERR_MEMORY, "out of memory");
    else if (smtp_xclient_parse(args, s->xclient, &e) == OK)
        smtp_server_ask(s, SMTP_SERVER_XCLIENT);
    else {
        smtp_server_xclient_drop(s);
        smtp_server_bad(s, 501, e.status, slice_str(e.msg));
    }
}

void smtp_server_xclient_up(struct smtp_server *s) {
    s->is_helo = s->is_ehlo = false;
    s->exts = 0;
    buf_reset(&s->helo);
    s->is_auth = s->xclient->login.n > 0;
}
