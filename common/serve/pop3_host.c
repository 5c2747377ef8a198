/* pop3_host: answers the POP3 engine: the login, the maildrop (INBOX as it was at the login, held
 * exclusively), the messages, and the deletions at QUIT. RFC 1939, 3206. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pop3/server.h"
#include "serve/server.h"
#include "store/quota.h"
#include "store/store.h"
#include "sys/clock.h"
#include "sys/file.h"

struct drop_message {
    uint32_t uid;
    char uidl[STORE_UIDL_MAX];
};

struct pop3_host {
    struct pop3_server *engine;
    struct session *session;
    bool is_checking; /* a login is on its way */
    struct login login;
    char user[ACCOUNT_NAME_MAX + 1]; /* logged in as, or "" */
    struct store *store;
    struct mailbox *inbox;
    bool is_early; /* pop3-login-delay is not over */
    int drop_fd;   /* the exclusive right to the maildrop, or -1 */
    struct drop_message *drop;
    struct pop3_message *list;
    size_t count;
    struct message open; /* of `open_at`, when `is_open` */
    size_t open_at;
    bool is_open;
};

static void close_message(struct pop3_host *h) {
    if (h->is_open) message_close(&h->open);
    h->is_open = false;
}

static void close_drop(struct pop3_host *h) {
    close_message(h);
    if (h->inbox) mailbox_leave(h->inbox);
    h->inbox = NULL;
    fd_close(&h->drop_fd);
    store_close(h->store);
    h->store = NULL;
}

/* The words of an answer that is no: RFC 2449 8.1.1, RFC 3206. */
static void refuse(struct pop3_host *h, const struct err *e) {
    struct slice why = slice_str(e->msg);

    /* Where the mail is kept is no client's business. */
    if (e->sys != 0 && slice_chr(why, '/') != SLICE_NONE)
        why = S("the maildrop cannot be used now");
    pop3_server_refuse(h->engine,
                       h->is_early           ? S("LOGIN-DELAY")
                       : e->code == ERR_BUSY ? S("IN-USE")
                       : err_is_temporary(e) ? S("SYS/TEMP")
                                             : S("SYS/PERM"),
                       why);
}

/* --- the login
 * --------------------------------------------------------------------------------------- */

/* The snapshot that the session shows: numbers, sizes and UIDs never change after this. A message
 * that vanishes meanwhile is left out. */
static enum err_code list_drop(struct pop3_host *h, struct err *e) {
    enum err_code code = mailbox_sizes(h->inbox, e);
    const struct imap_msg *m;
    size_t n;

    if (code != OK) return code;
    m = mailbox_messages(h->inbox, &n);
    if (n > POP3_MESSAGES_MAX) n = POP3_MESSAGES_MAX;
    h->drop = calloc(n + 1, sizeof *h->drop);
    h->list = calloc(n + 1, sizeof *h->list);
    if (!h->drop || !h->list) return err_set(e, ERR_MEMORY, "no memory for the maildrop");
    h->count = 0;
    for (size_t i = 0; i < n; i++) {
        struct drop_message *d = &h->drop[h->count];
        uint64_t size = m[i].size_bytes;

        code = size == STORE_SIZE_UNKNOWN ? mailbox_size(h->inbox, m[i].uid, &size, e) : OK;
        if (code == ERR_NOT_FOUND) continue;
        if (code != OK) return code;
        d->uid = m[i].uid;
        h->list[h->count].size = size;
        h->list[h->count].uid = mailbox_uidl(h->inbox, d->uid, d->uidl);
        h->count++;
    }
    return OK;
}

/* RFC 2449 6.5: does this login come sooner than `pop3-login-delay` after the last one? When that
 * was is the time of the lock file, which all processes share, once it has an octet. A time that
 * lies ahead, from a clock that was wrong, holds nobody off. */
static enum err_code check_delay(struct pop3_host *h, struct err *e) {
    uint32_t delay = h->session->server->conf->pop3_login_delay;
    wall_t now = clock_wall();
    struct stat st;

    if (!delay) return OK;
    if (fstat(h->drop_fd, &st) != 0) return err_sys(e, "cannot look at the lock of the maildrop");
    h->is_early = st.st_size > 0 && st.st_mtime <= now && now - st.st_mtime < delay;
    if (!h->is_early) return OK;
    return err_set(e, ERR_LIMIT, "log in again in %lld seconds",
                   (long long)(delay - (now - st.st_mtime)));
}

static enum err_code note_login(struct pop3_host *h, struct err *e) {
    if (!h->session->server->conf->pop3_login_delay) return OK;
    return file_write_at(h->drop_fd, S("\n"), 0, "the lock of the maildrop", e);
}

static enum err_code open_drop(struct pop3_host *h, const struct account *a, struct err *e) {
    enum err_code code = store_open(a->home, &h->store, e);

    if (code == OK) store_limit(h->store, a->quota_octets, a->quota_messages);

    if (code != OK) return code;
    code = store_lock_maildrop(h->store, &h->drop_fd, e);
    if (code == ERR_BUSY) return err_set(e, ERR_BUSY, "another session has this maildrop");
    if (code == OK) code = check_delay(h, e);
    if (code == OK) code = mailbox_open(h->store, S("INBOX"), MAILBOX_WRITE, &h->inbox, e);
    if (code == ERR_BUSY) /* not the maildrop lock: try the mailbox again later */
        return err_mail(e, ERR_TIMEOUT, STATUS(4, 2, 0), "the mailbox is locked");
    if (code == OK) code = list_drop(h, e);
    return code == OK ? note_login(h, e) : code;
}

/* Show the maildrop of `a`, or say why not. */
static void enter(struct pop3_host *h, const struct account *a) {
    struct err e = {0};

    if (open_drop(h, a, &e) == OK) {
        snprintf(h->user, sizeof h->user, "%s", a->name);
        pop3_server_maildrop(h->engine, h->list, h->count);
        return;
    }
    log_event(h->session->server->log, e.code == ERR_BUSY || h->is_early ? LEVEL_NOTE : LEVEL_ERROR,
              "cannot open the maildrop", "user", slice_str(a->name), "why", slice_str(e.msg),
              NULL);
    free(h->drop);
    free(h->list);
    h->drop = NULL;
    h->list = NULL;
    h->count = 0;
    close_drop(h);
    refuse(h, &e);
}

static void after_login(struct pop3_host *h) {
    h->is_checking = false;
    server_log_login(h->session, &h->login);
    if (h->login.code == OK) enter(h, &h->login.account);
    else if (h->login.code == ERR_DENIED)
        pop3_server_refuse(h->engine, S("AUTH"), S("wrong user name or password"));
    else
        pop3_server_refuse(h->engine, S("SYS/TEMP"), S("cannot check the password now, try later"));
}

static void on_login(struct pop3_host *h, const struct pop3_server_event *ev) {
    char own[ACCOUNT_NAME_MAX + 1], other[ACCOUNT_NAME_MAX + 1];
    struct accounts *a = h->session->server->directory->accounts;

    /* Nobody acts for somebody else: an authorization identity must be the same user. */
    if (ev->authzid.n > 0 &&
        (accounts_name(a, ev->authzid, other, NULL) != OK ||
         accounts_name(a, ev->user, own, NULL) != OK || strcmp(own, other) != 0)) {
        pop3_server_refuse(h->engine, S("AUTH"), S("acting for another user is not allowed"));
        return;
    }
    h->is_checking = true;
    if (server_login(h->session, &h->login, ev->claim, ev->mechanism.p, ev->user, ev->password) !=
        OK)
        after_login(h);
}

static void on_connect(struct pop3_host *h) {
    struct server *server = h->session->server;
    struct account a;
    struct err e = {0};

    if (server->stdio_user.n == 0) pop3_server_ok(h->engine);
    else if (accounts_find(server->directory->accounts, server->stdio_user, &a, &e) == OK)
        enter(h, &a);
    else refuse(h, &e);
}

/* --- messages
 * ---------------------------------------------------------------------------------------- */

static void on_body(struct pop3_host *h, const struct pop3_server_event *ev) {
    struct err e = {0};

    if (h->is_open && h->open_at != ev->number) close_message(h);
    if (!h->is_open) {
        if (message_open(h->inbox, h->drop[ev->number].uid, &h->open, &e) != OK) {
            if (ev->offset > 0) pop3_server_body_fail(h->engine, &e);
            else if (e.code == ERR_NOT_FOUND)
                pop3_server_refuse(h->engine, S(""), S("the message was removed meanwhile"));
            else refuse(h, &e);
            return;
        }
        h->is_open = true;
        h->open_at = ev->number;
    }
    if (ev->offset >= h->open.bytes.n) {
        close_message(h);
        pop3_server_body_end(h->engine);
    } else {
        struct slice rest = slice_from(h->open.bytes, (size_t)ev->offset);

        trail_at(&h->open.trail, rest.p);
        pop3_server_body(h->engine, rest);
    }
}

static void on_update(struct pop3_host *h, const struct pop3_server_event *ev) {
    const struct server *server = h->session->server;
    uint32_t *uids;
    size_t n = 0, n_gone = 0;
    struct err e = {0};
    enum err_code code = OK;
    char count[24];

    close_message(h);
    if (ev->deleted_count > 0) {
        uids = calloc(ev->deleted_count, 2 * sizeof *uids);
        if (!uids) code = err_set(&e, ERR_MEMORY, "no memory to delete");
        for (size_t i = 0; uids && i < h->count && n < ev->deleted_count; i++)
            if (pop3_server_is_deleted(h->engine, i)) uids[n++] = h->drop[i].uid;
        if (uids) code = mailbox_expunge(h->inbox, uids, n, false, uids + n, &n_gone, &e);
        free(uids);
    }
    if (code == OK) {
        log_event(server->log, LEVEL_NOTE, "maildrop closed", "user", slice_str(h->user), "deleted",
                  log_num(count, (int64_t)n_gone), NULL);
        close_drop(h); /* the next session may come as soon as the answer is there */
        pop3_server_ok(h->engine);
        return;
    }
    log_event(server->log, LEVEL_ERROR, "cannot delete messages", "user", slice_str(h->user), "why",
              slice_str(e.msg), NULL);
    close_drop(h);
    pop3_server_refuse(h->engine, S("SYS/TEMP"), S("some deleted messages were not removed"));
}

/* --- the session
 * ------------------------------------------------------------------------------------- */

static void events(struct session *s, mono_t now) {
    struct pop3_host *h = s->host;
    struct pop3_server_event ev;

    (void)now;
    if (h->is_checking && h->login.is_done) after_login(h);
    while (!s->waits && pop3_server_next(h->engine, &ev)) {
        switch (ev.type) {
        case POP3_SERVER_CONNECT: on_connect(h); break;
        case POP3_SERVER_LOGIN: on_login(h, &ev); break;
        case POP3_SERVER_NEED_BODY: on_body(h, &ev); break;
        case POP3_SERVER_UPDATE: on_update(h, &ev); break;
        case POP3_SERVER_NEED_TLS: s->wants_tls = true; break;
        case POP3_SERVER_BYE: break;
        case POP3_SERVER_FAIL: {
            char text[ADDR_TEXT_MAX];

            close_drop(h); /* nothing is deleted, and the maildrop is free again */
            if (ev.err.code != ERR_CLOSED)
                log_event(s->server->log, LEVEL_NOTE, "session ended", "service",
                          slice_str(conf_service_name(s->service)), "client",
                          slice_str(s->peer.len ? addr_host(&s->peer, text) : "local"), "why",
                          slice_str(ev.err.msg), NULL);
            break;
        }
        }
    }
}

static void tls_up(struct session *s, mono_t now) {
    struct pop3_host *h = s->host;

    pop3_server_tls_up(h->engine, now);
}

static void shut_down(struct session *s, mono_t now) {
    struct pop3_host *h = s->host;

    (void)now;
    pop3_server_shutdown(h->engine);
}

static void free_host(struct session *s) {
    struct pop3_host *h = s->host;

    pop3_server_free(h->engine);
    close_drop(h);
    free(h->drop);
    free(h->list);
    free(h);
}

enum err_code pop3_host_new(struct session *s, mono_t now, struct err *e) {
    static const struct session_ops ops = {
        .events = events, .tls_up = tls_up, .shutdown = shut_down, .free = free_host};
    const struct server *server = s->server;
    bool implicit = s->service == SERVICE_POP3S, stdio = s->peer.len == 0;
    struct pop3_server_config config = {
        .hostname = slice_str(server->conf->hostname),
        .is_tls = implicit,
        .offer_tls = server->creds && !implicit && !stdio,
        .plaintext_auth = server->conf->plaintext_auth || stdio, /* a pipe is not a network */
        .sasl = server_sasl(s),
        .allow_utf8_login = true,
        .login_delay_s = server->conf->pop3_login_delay,
    };
    struct pop3_host *h = calloc(1, sizeof *h);

    if (!h) return err_set(e, ERR_MEMORY, "no memory for a session");
    h->session = s;
    h->drop_fd = -1;
    h->engine = pop3_server_new(&config, now);
    if (!h->engine) {
        free(h);
        return err_set(e, ERR_MEMORY, "no memory for a session");
    }
    s->host = h;
    s->ops = &ops;
    s->engine = pop3_server_engine(h->engine);
    if (implicit) session_start_tls(s, now);
    return OK;
}
