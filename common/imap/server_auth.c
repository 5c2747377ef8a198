#include "base/utf8.h"
#include "imap/server_impl.h"

static bool may_auth(const struct imap_server *s) {
    return s->cfg.has_tls || s->cfg.allow_plaintext_auth;
}

/* Of the words behind `from`, those that are offered. */
static void hide(const struct imap_server *s, struct buf *b, size_t from) {
    struct slice words = slice_from(buf_slice(b), from), word;
    size_t to = from;

    while (slice_word(&words, &word)) {
        bool is_hidden = false;

        for (size_t i = 0; i < s->cfg.n_hidden; i++)
            is_hidden |= slice_ieq(word, slice_str(s->cfg.hidden[i]));
        if (is_hidden) continue;
        if (to > from) b->p[to++] = ' ';
        memmove(b->p + to, word.p, word.n);
        to += word.n;
    }
    buf_cut(b, to);
}

static void put_all(struct imap_server *s) {
    struct buf *b = &s->out;

    buf_addf(b, "IMAP4rev1 IMAP4rev2 LITERAL%c SASL-IR ID ENABLE IDLE", s->user.n ? '+' : '-');
    if (s->user.n) {
        buf_add(b,
                S(" NAMESPACE CHILDREN LIST-EXTENDED LIST-STATUS SPECIAL-USE CREATE-SPECIAL-USE"
                  " METADATA MULTIAPPEND REPLACE BINARY PREVIEW OBJECTID SAVEDATE UNSELECT UIDPLUS"
                  " MOVE STATUS=SIZE CONDSTORE QRESYNC UTF8=ACCEPT ESEARCH SEARCHRES WITHIN"
                  " PARTIAL UIDONLY UIDBATCHES INPROGRESS ACL RIGHTS=texk SORT SORT=DISPLAY ESORT "
                  "THREAD=ORDEREDSUBJECT "
                  "THREAD=REFERENCES NOTIFY "
                  "QUOTA QUOTA=RES-STORAGE QUOTA=RES-MESSAGE"));
        if (!s->has_deflate) buf_add(b, S(" COMPRESS=DEFLATE"));
        if (s->cfg.message_limit) buf_addf(b, " MESSAGELIMIT=%u", s->cfg.message_limit);
        buf_addf(b, " APPENDLIMIT=%llu", (unsigned long long)s->cfg.message_size_max);
        return;
    }
    if (s->cfg.can_starttls && !s->cfg.has_tls) buf_add(b, S(" STARTTLS"));
    if (may_auth(s)) sasl_put_names(b, sasl_server_offers(s->cfg.sasl), " AUTH=");
    else buf_add(b, S(" LOGINDISABLED"));
}

void imap_put_capabilities(struct imap_server *s) {
    size_t from = s->out.n;

    put_all(s);
    if (s->cfg.n_hidden && !s->out.bad) hide(s, &s->out, from);
}

static void log_in(struct imap_server *s, struct slice user) {
    buf_reset(&s->user);
    buf_add(&s->user, user);
    s->reader.cmd.max = IMAP_COMMAND_MAX;
}

void imap_preauth(struct imap_server *s) {
    if (s->cfg.preauth_user.n) log_in(s, s->cfg.preauth_user);
    s->cfg.preauth_user = S("");
}

void imap_greet(struct imap_server *s) {
    s->has_greeted = true;
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
    ev->claim = s->sasl.claim;
    ev->mechanism = s->sasl.mechanism ? sasl_server_name(&s->sasl) : "LOGIN";
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

/* What the exchange wants next. */
static void go_on(struct imap_server *s, enum sasl_step step) {
    struct slice authzid = buf_slice(&s->sasl.authzid), user = buf_slice(&s->sasl.authcid);

    if (step == SASL_CHALLENGE) {
        s->mode = MODE_AUTH;
        imap_reader_reset(&s->reader);
        buf_add(&s->out, S("+ "));
        buf_add(&s->out, buf_slice(&s->sasl.out));
        buf_add(&s->out, S("\r\n"));
        return;
    }
    s->mode = MODE_COMMAND;
    switch (step) {
    case SASL_CHALLENGE: break;
    case SASL_CLAIMED:
        if (sasl_server_was_told(&s->sasl)) {
            s->bad_logins++;
            imap_finish(s, "NO", S("AUTHENTICATIONFAILED"), S("Authentication failed."));
        } else if (authzid.n && !slice_eq(authzid, user))
            imap_finish(s, "NO", S("AUTHORIZATIONFAILED"), S("Acting for others is not allowed."));
        else ask(s, user, buf_slice(&s->sasl.password)); // both live until the answer
        break;
    case SASL_CANCELLED: imap_finish_bad(s, "Authentication cancelled."); break;
    case SASL_MALFORMED: imap_finish_bad(s, "Malformed authentication message."); break;
    case SASL_UNSUPPORTED:
        imap_finish(s, "NO", S("CANNOT"), S("Unsupported authentication mechanism."));
        break;
    }
    if (s->open != IMAP_EV_LOGIN) sasl_server_release(&s->sasl);
}

void imap_auth_line(struct imap_server *s, struct slice line) {
    go_on(s, sasl_server_step(&s->sasl, line));
}

void imap_cmd_authenticate(struct imap_server *s) {
    struct slice mech, initial = {0};

    if (!imap_take_sp(&s->cur) || !imap_take_atom(&s->cur, &mech) ||
        (imap_take_sp(&s->cur) && !imap_take_astring(&s->cur, &initial)) || !imap_at_end(&s->cur)) {
        imap_finish_bad(s, "Expected a mechanism.");
        return;
    }
    if (!(sasl_find(mech) & sasl_server_offers(s->cfg.sasl))) go_on(s, SASL_UNSUPPORTED);
    else if (!refuse_plaintext(s))
        go_on(s, sasl_server_start(&s->sasl, mech, initial.n > 0, initial, s->cfg.sasl));
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
    } else if (sasl_server_denied(&s->sasl) == SASL_CHALLENGE) {
        go_on(s, SASL_CHALLENGE);
        return;
    } else {
        s->bad_logins++;
        imap_finish(s, "NO", S("AUTHENTICATIONFAILED"), S("Authentication failed."));
    }
    sasl_server_release(&s->sasl);
}
