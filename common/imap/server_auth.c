#include "base/base64.h"
#include "base/utf8.h"
#include "imap/server_impl.h"

enum { SASL_NONE, SASL_PLAIN, SASL_LOGIN_USER, SASL_LOGIN_PASSWORD };

static bool may_auth(const struct imap_server *s) {
    return s->cfg.has_tls || s->cfg.allow_plaintext_auth;
}

void imap_put_capabilities(struct imap_server *s) {
    struct buf *b = &s->out;

    buf_add(b, S("IMAP4rev1 LITERAL- SASL-IR ID ENABLE IDLE"));
    if (s->user.n) {
        buf_add(b, S(" NAMESPACE CHILDREN SPECIAL-USE UNSELECT UIDPLUS MOVE"));
        return;
    }
    if (s->cfg.can_starttls && !s->cfg.has_tls) buf_add(b, S(" STARTTLS"));
    buf_add(b, may_auth(s) ? S(" AUTH=PLAIN AUTH=LOGIN") : S(" LOGINDISABLED"));
}

static void log_in(struct imap_server *s, struct slice user) {
    buf_reset(&s->user);
    buf_add(&s->user, user);
    s->reader.cmd.max = IMAP_COMMAND_MAX;
}

void imap_greet(struct imap_server *s) {
    if (s->cfg.preauth_user.n) log_in(s, s->cfg.preauth_user);
    buf_add(&s->out, s->user.n ? S("* PREAUTH [CAPABILITY ") : S("* OK [CAPABILITY "));
    imap_put_capabilities(s);
    buf_addf(&s->out, "] %.*s ready.\r\n",
             SP(s->cfg.hostname.n ? s->cfg.hostname : S("IMAP server")));
}

static void ask(struct imap_server *s, struct slice user, struct slice password) {
    struct imap_event *ev;

    // NUL cannot be in either; names are at most what a mailbox may be
    if (!user.n || user.n > 320 || password.n > 4096 || memchr(user.p, 0, user.n) ||
        !utf8_valid(user) || (password.n && memchr(password.p, 0, password.n))) {
        s->bad_logins++;
        imap_finish(s, "NO", S("AUTHENTICATIONFAILED"), S("Authentication failed."));
        return;
    }
    ev = imap_ask(s, IMAP_EV_LOGIN);
    ev->user = user;
    ev->password = password;
}

static bool refuse_plaintext(struct imap_server *s) {
    if (may_auth(s)) return false;
    imap_finish(s, "NO", S("PRIVACYREQUIRED"), S("Plain text authentication needs TLS."));
    return true;
}

void imap_cmd_login(struct imap_server *s) {
    struct slice user, password;

    if (!imap_take_sp(&s->cur) || !imap_take_astring(&s->cur, &user) || !imap_take_sp(&s->cur) ||
        !imap_take_astring(&s->cur, &password) || !imap_at_end(&s->cur)) {
        imap_finish_bad(s, "Expected a user name and a password.");
        return;
    }
    if (!refuse_plaintext(s)) ask(s, user, password); // both live until the command is over
}

/* RFC 4616: authzid NUL authcid NUL password, in s->secret. */
static void plain(struct imap_server *s) {
    struct slice authzid, user, password;

    if (!slice_cut(buf_slice(&s->secret), 0, &authzid, &user) ||
        !slice_cut(user, 0, &user, &password)) {
        imap_finish_bad(s, "Malformed PLAIN message.");
        return;
    }
    if (authzid.n && !slice_eq(authzid, user)) {
        imap_finish(s, "NO", S("AUTHORIZATIONFAILED"), S("Acting for others is not allowed."));
        return;
    }
    ask(s, user, password);
}

static void prompt(struct imap_server *s, unsigned sasl, struct slice text) {
    s->sasl = sasl;
    s->mode = MODE_AUTH;
    imap_reader_reset(&s->reader);
    buf_add(&s->out, S("+ "));
    base64_put(&s->out, text);
    buf_add(&s->out, S("\r\n"));
}

/* One message of the client, base64. */
static void answer(struct imap_server *s, struct slice b64) {
    size_t from = s->secret.n;

    if (s->sasl != SASL_LOGIN_PASSWORD) {
        if (s->secret.p) explicit_bzero(s->secret.p, s->secret.n);
        buf_reset(&s->secret);
        from = 0;
    }
    if (!base64_get(&s->secret, b64)) {
        s->mode = MODE_COMMAND;
        imap_finish_bad(s, "Invalid base64.");
        return;
    }
    if (s->sasl == SASL_LOGIN_USER) {
        buf_addc(&s->secret, 0); // so that name and password stay apart
        prompt(s, SASL_LOGIN_PASSWORD, S("Password:"));
        return;
    }
    s->mode = MODE_COMMAND;
    if (s->sasl == SASL_PLAIN) plain(s);
    else
        ask(s, slice_first(buf_slice(&s->secret), from - 1),
            slice_from(buf_slice(&s->secret), from));
}

void imap_auth_line(struct imap_server *s, struct slice line) {
    if (slice_eq(line, S("*"))) {
        s->mode = MODE_COMMAND;
        imap_finish_bad(s, "Authentication cancelled.");
        return;
    }
    // the line is in the reader, which a prompt resets: decode first
    answer(s, line);
    if (s->mode == MODE_COMMAND) s->sasl = SASL_NONE;
}

void imap_cmd_authenticate(struct imap_server *s) {
    struct slice mech, initial = {0};

    if (!imap_take_sp(&s->cur) || !imap_take_atom(&s->cur, &mech) ||
        (imap_take_sp(&s->cur) && !imap_take_astring(&s->cur, &initial)) || !imap_at_end(&s->cur)) {
        imap_finish_bad(s, "Expected a mechanism.");
        return;
    }
    s->sasl = slice_ieq(mech, S("PLAIN"))   ? SASL_PLAIN
              : slice_ieq(mech, S("LOGIN")) ? SASL_LOGIN_USER
                                            : SASL_NONE;
    if (s->sasl == SASL_NONE) {
        imap_finish(s, "NO", S("CANNOT"), S("Unsupported authentication mechanism."));
    } else if (refuse_plaintext(s)) {
        return;
    } else if (initial.n) {
        answer(s, slice_eq(initial, S("=")) ? S("") : initial);
    } else {
        prompt(s, s->sasl, s->sasl == SASL_PLAIN ? S("") : S("Username:"));
    }
}

void imap_server_login_result(struct imap_server *s, enum imap_login r) {
    const struct imap_event *ev = &s->events[(s->first_event + EVENTS_MAX - 1) % EVENTS_MAX];
    struct slice user = ev->user; // the event that was pulled last is the question

    if (s->open != IMAP_EV_LOGIN || s->n_events) return;
    s->open = IMAP_EV_NONE;
    if (r == IMAP_LOGIN_OK) {
        log_in(s, user);
        s->bad_logins = 0;
        buf_addf(&s->out, "%.*s OK [CAPABILITY ", SP(s->tag));
        imap_put_capabilities(s);
        buf_add(&s->out, S("] Logged in.\r\n"));
        s->bad_commands = 0;
        imap_command_over(s);
    } else if (r == IMAP_LOGIN_UNAVAILABLE) {
        imap_finish(s, "NO", S("UNAVAILABLE"), S("Temporary authentication failure."));
    } else {
        s->bad_logins++;
        imap_finish(s, "NO", S("AUTHENTICATIONFAILED"), S("Authentication failed."));
    }
    if (s->secret.p) explicit_bzero(s->secret.p, s->secret.n);
    buf_reset(&s->secret);
}
