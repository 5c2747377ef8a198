/* imap_host: a host for the IMAP server engine that keeps three messages in memory, for the tests
 * and the fuzz target. It answers every event at once, and writes down which event it was. */
#ifndef TESTS_IMAP_HOST_H
#define TESTS_IMAP_HOST_H

#include <stdlib.h>

#include "imap/head.h"
#include "imap/server.h"
#include "imap/set.h"

enum { HOST_MESSAGES_MAX = 64 };

struct host_msg {
    struct imap_msg m;
    struct slice bytes;
    bool is_gone;
};

struct host {
    struct imap_server *s;
    struct host_msg v[HOST_MESSAGES_MAX];
    size_t n;
    bool has_no_head;  /* it keeps no heads */
    bool is_empty;     /* mailboxes have no message */
    bool wants_tls_up; /* STARTTLS was asked */
    struct buf log;    /* one line per event */
    struct buf head;   /* of the message that was asked for last */
    uint32_t uidnext;
    uint64_t modseq; /* the highest; each message has its own, 10 apart */
    bool in_append_data;
    mono_t now, slow; /* each message takes so long */
};

static const char host_simple[] = "Date: Mon, 7 Feb 1994 21:52:25 -0800 (PST)\n"
                                  "From: Fred Foobar <foobar@Blurdybloop.example>\n"
                                  "Subject: afternoon meeting\n"
                                  "To: mooch@owatagu.siam.edu.example\n"
                                  "Message-Id: <B27397-0100000@Blurdybloop.example>\n"
                                  "\n"
                                  "Hello Joe, do you think we can meet at 3:30 tomorrow?\n";
static const char host_mixed[] = "From: =?UTF-8?Q?J=C3=BCrgen?= <j@example.org>\r\n"
                                 "To: team: a@example.org, b@example.org;\r\n"
                                 "Subject: =?UTF-8?B?R3LDvMOfZQ==?= two\r\n"
                                 "Date: Tue, 01 Jan 2019 10:00:00 +0100\r\n"
                                 "MIME-Version: 1.0\r\n"
                                 "Content-Type: multipart/mixed; boundary=\"x\"\r\n"
                                 "\r\n"
                                 "preamble\r\n"
                                 "--x\r\n"
                                 "Content-Type: text/plain; charset=iso-8859-1\r\n"
                                 "Content-Transfer-Encoding: quoted-printable\r\n"
                                 "\r\n"
                                 "Stra=DFe und =C4pfel\r\n"
                                 "--x\r\n"
                                 "Content-Type: application/octet-stream; name=\"a.bin\"\r\n"
                                 "Content-Transfer-Encoding: base64\r\n"
                                 "Content-Disposition: attachment; filename=\"a.bin\"\r\n"
                                 "\r\n"
                                 "AAEC\r\n"
                                 "--x--\r\n";
static const char host_nested[] = "From: outer@example.org\n"
                                  "Subject: Fwd\n"
                                  "Content-Type: message/rfc822\n"
                                  "\n"
                                  "From: inner@example.org\n"
                                  "Subject: inner\n"
                                  "Content-Type: multipart/alternative; boundary=b\n"
                                  "\n"
                                  "--b\n"
                                  "\n"
                                  "plain\n"
                                  "--b\n"
                                  "Content-Type: text/html\n"
                                  "\n"
                                  "<b>html</b>\n"
                                  "--b--\n";

static inline uint64_t host_wire_size(struct slice s) {
    uint64_t n = s.n;
    for (size_t i = 0; i < s.n; i++) n += s.p[i] == '\n' && (!i || s.p[i - 1] != '\r');
    return n;
}

static inline void host_add(struct host *h, struct slice bytes, uint64_t flags, wall_t date) {
    struct host_msg *m = &h->v[h->n];

    if (h->n == HOST_MESSAGES_MAX) return;
    h->n++;
    *m = (struct host_msg){.bytes = bytes};
    m->m = (struct imap_msg){.uid = h->uidnext++,
                             .flags = flags,
                             .size_bytes = host_wire_size(bytes),
                             .internal_date = date,
                             .modseq = h->modseq += 10};
}

static inline void host_init(struct host *h) {
    *h = (struct host){.uidnext = 101};
    buf_init(&h->log, 16 << 20);
    buf_init(&h->head, IMAP_HEAD_MAX);
    host_add(h, slice_str(host_simple), IMAP_SEEN, 760686745);
    host_add(h, slice_str(host_mixed), IMAP_FLAGGED, 1546333200);
    host_add(h, slice_str(host_nested), IMAP_RECENT, 1600000000);
}

static inline void host_release(struct host *h) {
    buf_release(&h->log);
    buf_release(&h->head);
}

static inline struct host_msg *host_find(struct host *h, uint32_t uid) {
    for (size_t i = 0; i < h->n; i++) {
        if (h->v[i].m.uid == uid && !h->v[i].is_gone) return &h->v[i];
    }
    return NULL;
}

static inline void host_log_uids(struct host *h, const struct imap_event *ev) {
    imap_set_put(&h->log, ev->uids, ev->n_uids);
}

static inline void host_store(struct host *h, const struct imap_event *ev) {
    uint32_t left[HOST_MESSAGES_MAX];
    size_t n_left = 0;
    uint64_t modseq = h->modseq + 1;

    for (size_t i = 0; i < ev->n_uids; i++) {
        struct host_msg *m = host_find(h, ev->uids[i]);
        if (!m) continue;
        if (ev->has_unchanged_since && m->m.modseq > ev->unchanged_since) {
            left[n_left++] = ev->uids[i];
            continue;
        }
        m->m.modseq = modseq;
        h->modseq = modseq;
        if (ev->store_mode == IMAP_STORE_ADD) m->m.flags |= ev->flags;
        else if (ev->store_mode == IMAP_STORE_REMOVE) m->m.flags &= ~ev->flags;
        else m->m.flags = ev->flags;
    }
    imap_server_modified(h->s, left, n_left);
    for (size_t i = 0; i < ev->n_uids; i++) {
        struct host_msg *m = host_find(h, ev->uids[i]);
        if (m) imap_server_push_flags(h->s, m->m.uid, m->m.flags, m->m.modseq);
    }
    imap_server_push_modseq(h->s, h->modseq);
    imap_server_ok(h->s);
}

static inline void host_select(struct host *h, const struct imap_event *ev) {
    struct imap_rows *rows = imap_rows_new(HOST_MESSAGES_MAX);
    struct imap_mailbox_info info = {.uidvalidity = 7,
                                     .uidnext = h->uidnext,
                                     .highest_modseq = h->modseq,
                                     .mailboxid = S("F7"),
                                     .rows = rows};

    if (!slice_eq(ev->mailbox, S("INBOX"))) {
        imap_server_no(h->s, S("NONEXISTENT"), S("No such mailbox."));
        imap_rows_drop(rows);
        return;
    }
    for (size_t i = 0; i < h->n && !h->is_empty; i++) {
        if (!h->v[i].is_gone) rows->v[rows->n++] = h->v[i].m;
    }
    info.is_read_only = ev->is_read_only;
    imap_server_selected(h->s, &info);
    imap_rows_drop(rows);
}

static inline void host_copy(struct host *h, const struct imap_event *ev) {
    uint32_t from[HOST_MESSAGES_MAX], to[HOST_MESSAGES_MAX];
    size_t n = 0;

    if (!slice_eq(ev->mailbox, S("Archive"))) {
        imap_server_no(h->s, S("TRYCREATE"), S("No such mailbox."));
        return;
    }
    for (size_t i = 0; i < ev->n_uids; i++) {
        struct host_msg *m = host_find(h, ev->uids[i]);
        if (!m) continue;
        from[n] = ev->uids[i];
        to[n] = (uint32_t)(500 + n);
        n++;
        if (ev->type == IMAP_EV_MOVE) m->is_gone = true;
    }
    imap_server_copied(h->s, 9, from, to, n);
}

/* Answer one event. */
static inline void host_answer(struct host *h, const struct imap_event *ev) {
    struct imap_server *s = h->s;
    struct host_msg *m;
    struct imap_content content = {0};
    struct imap_status st = {3, 1, h->uidnext, 7, 2, 4321, h->modseq, 1, 99, S("F7")};

    if (ev->type != IMAP_EV_APPEND_DATA && h->in_append_data) {
        buf_addc(&h->log, '\n');
        h->in_append_data = false;
    }
    switch (ev->type) {
    case IMAP_EV_NONE: break;
    case IMAP_EV_STARTTLS:
        buf_add(&h->log, S("starttls\n"));
        h->wants_tls_up = true;
        break;
    case IMAP_EV_GET_ACL: {
        struct acl_entry v[] = {{S("joe"), ACL_ALL}, {S("an \"n\""), ACL_LOOKUP | ACL_READ}};

        buf_addf(&h->log, "getacl %.*s\n", SP(ev->mailbox));
        imap_server_acl(h->s, v, 2);
        break;
    }
    case IMAP_EV_SET_ACL:
        buf_addf(&h->log, "setacl %.*s %.*s %d %x\n", SP(ev->mailbox), SP(ev->user),
                 ev->acl_change, ev->items);
        imap_server_ok(h->s);
        break;
    case IMAP_EV_MY_RIGHTS: imap_server_rights(h->s, ACL_LOOKUP | ACL_READ | ACL_EXPUNGE); break;
    case IMAP_EV_LIST_RIGHTS:
        imap_server_rights(h->s, slice_eq(ev->user, S("joe")) ? ACL_ALL : 0);
        break;
    case IMAP_EV_COMPRESS:
        buf_add(&h->log, S("compress\n"));
        imap_server_ok(h->s);
        imap_server_compress_up(h->s);
        break;
    case IMAP_EV_LOGIN:
        buf_addf(&h->log, "login %.*s %.*s%s\n", SP(ev->user), SP(ev->password),
                 ev->claim == SASL_IS_PROVEN   ? "proven"
                 : ev->claim == SASL_IS_DENIED ? "denied"
                                               : "");
        imap_server_login_result(s,
                                 ev->claim == SASL_IS_PROVEN || slice_eq(ev->password, S("secret"))
                                     ? IMAP_LOGIN_OK
                                     : IMAP_LOGIN_WRONG);
        break;
    case IMAP_EV_LIST:
        buf_add(&h->log, S("list\n"));
        imap_server_list_item(s, S("Work/Deep/Er"), IMAP_SUBSCRIBED);
        imap_server_list_item(s, S("Sent"), IMAP_USE_SENT | IMAP_SUBSCRIBED);
        imap_server_list_item(s, S("Old/Gone"), IMAP_SUBSCRIBED | IMAP_NONEXISTENT);
        imap_server_list_item(s, S("Gr\303\274\303\237e"), 0);
        imap_server_list_item(s, S("INBOX"), 0);
        imap_server_list_item(s, S("INBOX/Sub"), IMAP_SUBSCRIBED);
        imap_server_list_item(s, S("A & B"), 0);
        imap_server_ok(s);
        break;
    case IMAP_EV_SELECT:
        buf_addf(&h->log, "select %.*s%s\n", SP(ev->mailbox), ev->is_read_only ? " ro" : "");
        host_select(h, ev);
        break;
    case IMAP_EV_UNSELECT: buf_add(&h->log, S("unselect\n")); break;
    case IMAP_EV_STATUS:
        buf_addf(&h->log, "status %.*s\n", SP(ev->mailbox));
        imap_server_status(s, &st);
        break;
    case IMAP_EV_CREATE:
    case IMAP_EV_DELETE:
    case IMAP_EV_RENAME:
    case IMAP_EV_SUBSCRIBE:
    case IMAP_EV_UNSUBSCRIBE:
        buf_addf(&h->log, "mailbox %d %.*s %.*s\n", (int)(ev->type - IMAP_EV_CREATE),
                 SP(ev->mailbox), SP(ev->new_name));
        imap_server_ok(s);
        break;
    case IMAP_EV_APPEND:
        buf_addf(&h->log, "append%s %.*s %u %llu", ev->is_next ? "-next" : "", SP(ev->mailbox),
                 (unsigned)ev->flags, (unsigned long long)ev->size_bytes);
        for (size_t i = 0; i < ev->n_keywords; i++) {
            buf_addf(&h->log, " %.*s", SP(ev->keywords[i]));
        }
        if (ev->has_date) buf_addf(&h->log, " %lld", (long long)ev->date);
        buf_addc(&h->log, '\n');
        if (slice_eq(ev->mailbox, S("Nowhere"))) {
            imap_server_no(s, S("TRYCREATE"), S("No such mailbox."));
        } else {
            imap_server_ok(s);
        }
        break;
    case IMAP_EV_APPEND_DATA:
        if (!h->in_append_data) buf_add(&h->log, S("data "));
        h->in_append_data = true;
        for (size_t i = 0; i < ev->bytes.n; i++) {
            char c = ev->bytes.p[i];
            if (c == '\r') buf_add(&h->log, S("\\r"));
            else if (c == '\n') buf_add(&h->log, S("\\n"));
            else buf_addc(&h->log, c);
        }
        break;
    case IMAP_EV_APPEND_END:
        buf_add(&h->log, S("append-end\n"));
        if (ev->uid) imap_server_push_expunged(s, ev->uid);
        imap_server_appended(s, 7, 999);
        break;
    case IMAP_EV_APPEND_ABORT: buf_add(&h->log, S("append-abort\n")); break;
    case IMAP_EV_STORE:
        buf_add(&h->log, S("store "));
        host_log_uids(h, ev);
        buf_addf(&h->log, " %d ", (int)ev->store_mode);
        imap_flags_put(&h->log, ev->flags, imap_server_keywords(s));
        buf_addc(&h->log, '\n');
        host_store(h, ev);
        break;
    case IMAP_EV_COPY:
    case IMAP_EV_MOVE:
        buf_add(&h->log, ev->type == IMAP_EV_COPY ? S("copy ") : S("move "));
        host_log_uids(h, ev);
        buf_addf(&h->log, " %.*s\n", SP(ev->mailbox));
        host_copy(h, ev);
        break;
    case IMAP_EV_EXPUNGE:
        buf_add(&h->log, S("expunge "));
        host_log_uids(h, ev);
        buf_addc(&h->log, '\n');
        for (size_t i = 0; i < ev->n_uids; i++) {
            if (!(m = host_find(h, ev->uids[i]))) continue;
            m->is_gone = true;
            imap_server_push_expunged(s, ev->uids[i]);
        }
        imap_server_push_modseq(s, ++h->modseq);
        imap_server_ok(s);
        break;
    case IMAP_EV_GET_METADATA:
        buf_addf(&h->log, "get-metadata %.*s\n", SP(ev->mailbox));
        imap_server_annotation(s, S("/private/comment"), S("mine"));
        imap_server_annotation(s, S("/shared/vendor/x/deep"), S("deep\r\nvalue"));
        imap_server_annotation(s, S("/shared/vendor/x"), S(""));
        imap_server_ok(s);
        break;
    case IMAP_EV_SET_METADATA:
        buf_addf(&h->log, "set-metadata %.*s", SP(ev->mailbox));
        for (size_t i = 0; i < ev->n_annotations; i++)
            buf_addf(&h->log, " %.*s=%s%.*s", SP(ev->annotations[i].name),
                     ev->annotations[i].value.p ? "" : "NIL", SP(ev->annotations[i].value));
        buf_addc(&h->log, '\n');
        imap_server_ok(s);
        break;
    case IMAP_EV_VANISHED: /* 97, 98, 100 went at 15; before 5 nobody knows */
        buf_addf(&h->log, "vanished %llu\n", (unsigned long long)ev->unchanged_since);
        imap_server_vanished(s, (const uint32_t[]){97, 98, 100}, ev->unchanged_since < 15 ? 3 : 0,
                             ev->unchanged_since < 5);
        break;
    case IMAP_EV_QUOTA:
        buf_addf(&h->log, "quota %.*s\n", SP(ev->mailbox));
        imap_server_quota(s, &(struct imap_quota){1500, 1024000, 3, 100});
        break;
    case IMAP_EV_NOTIFY:
        buf_addf(&h->log, "notify %d\n", ev->is_on);
        if (ev->is_next) {
            imap_server_notice_status(s, S("Work/Deep/Er"), true, &st, false);
            imap_server_notice_status(s, S("INBOX"), false, &st, false);
        }
        imap_server_ok(s);
        break;
    case IMAP_EV_CANDIDATES: imap_server_ok(s); break;
    case IMAP_EV_TEXT: break;
    case IMAP_EV_NEED_MESSAGE:
        buf_addf(&h->log, "need %u %u\n", ev->uid, ev->items);
        imap_server_clock(s, h->now += h->slow);
        if (!(m = host_find(h, ev->uid))) {
            imap_server_gone(s);
            break;
        }
        content.bytes = m->bytes;
        content.has_bytes = true;
        content.preview = S("Gr\303\274\303\237e");
        content.emailid = S("M1");
        buf_reset(&h->head);
        if (!h->has_no_head) imap_put_head(&h->head, m->bytes);
        content.head = buf_slice(&h->head);
        content.save_date = ev->uid == 101 ? 0 : 1600000000;
        imap_server_message(s, &content);
        break;
    case IMAP_EV_MESSAGE_DONE: buf_addf(&h->log, "message-done %u\n", ev->uid); break;
    case IMAP_EV_POLL:
        buf_add(&h->log, S("poll\n"));
        imap_server_ok(s);
        break;
    case IMAP_EV_IDLE: buf_addf(&h->log, "idle %d\n", ev->is_on); break;
    case IMAP_EV_ID: buf_addf(&h->log, "id %.*s\n", SP(ev->text)); break;
    case IMAP_EV_END:
        buf_addf(&h->log, "end %s\n", ev->err.code ? err_code_name(ev->err.code) : "ok");
        break;
    }
}

#endif
