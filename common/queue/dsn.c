#include "queue/dsn.h"

#include "base/utf8.h"
#include "mime/header.h"
#include "mime/msgid.h"
#include "smtp/syntax.h"

static const char *const action_names[] = {"failed", "delayed", "delivered", "relayed"};

enum { WORD_MAX = 900 }; /* of a line; RFC 5322 2.1.1 allows 998 */

/* One word. A longer one than a line may hold is folded inside: nothing of it is lost. */
static void put_word(struct buf *out, struct slice word, const char *fold, bool utf8) {
    bool raw = utf8 && utf8_valid(word);

    while (word.n) {
        size_t n = word.n < WORD_MAX ? word.n : WORD_MAX;

        while (raw && n < word.n && ((unsigned char)word.p[n] & 0xc0) == 0x80) n--;
        for (size_t i = 0; i < n; i++) {
            unsigned char c = (unsigned char)word.p[i];

            buf_addc(out, !raw && (c < 33 || c > 126) ? '?' : (char)c);
        }
        word = slice_from(word, n);
        if (word.n) buf_add(out, slice_str(fold));
    }
}

/* One line of text, folded so that none passes 78 bytes where words allow; bytes that would not be
 * mail become '?'. */
static void put_wrapped(struct buf *out, struct slice text, size_t at, const char *fold,
                        bool utf8) {
    struct slice word;

    while (slice_word(&text, &word)) {
        if (at > 0 && at + word.n + 1 > 78) {
            buf_add(out, slice_str(fold));
            at = strlen(fold) - 2;
        } else if (at > 0) {
            buf_addc(out, ' ');
            at++;
        }
        put_word(out, word, fold, utf8);
        at += word.n;
    }
}

/* An xtext value (RFC 3461 4) as what it stands for; one that is broken stays as it is. */
static void put_xtext(struct buf *out, struct slice xtext, bool utf8) {
    struct buf plain;

    buf_init(&plain, 1000);
    put_wrapped(out, smtp_xtext_get(&plain, xtext) ? buf_slice(&plain) : xtext, 0, "\r\n ", utf8);
    buf_release(&plain);
}

/* "rfc822;xtext"; what is of another type keeps its own encoding. */
static void put_orcpt(struct buf *out, struct slice orcpt, bool utf8) {
    struct slice type, address;

    slice_cut(orcpt, ';', &type, &address);
    buf_addf(out, "Original-Recipient: %.*s; ", SP(type));
    if (slice_ieq(type, S("rfc822"))) put_xtext(out, address, utf8);
    else put_wrapped(out, address, 0, "\r\n ", utf8);
    buf_add(out, S("\r\n"));
}

/* An address in a report that is ASCII (RFC 6533 3: utf-8-addr-xtext). */
static void put_escaped(struct buf *out, struct slice address) {
    while (address.n) {
        uint32_t c = 0xfffd;
        size_t n = utf8_char(address, &c);

        if (c > 32 && c < 127 && c != '\\' && c != '+' && c != '=') buf_addc(out, (char)c);
        else buf_addf(out, "\\x{%X}", (unsigned)c);
        address = slice_from(address, n ? n : 1);
    }
}

/* A field whose value has a type before it. */
static void put_typed(struct buf *out, const char *name, const char *type, struct slice value,
                      bool utf8) {
    buf_addf(out, "%s: %s; ", name, type);
    put_wrapped(out, value, 0, "\r\n ", utf8);
    buf_add(out, S("\r\n"));
}

static void put_status(struct buf *out, const char *name, struct mail_status st) {
    buf_addf(out, "%s: %u.%u.%u\r\n", name, st.cls, st.subject, st.detail);
}

static void put_time(struct buf *out, const char *name, wall_t t) {
    char text[MOMENT_RFC5322_MAX];

    moment_rfc5322(t, 0, text);
    buf_addf(out, "%s: %s\r\n", name, text);
}

/* What happened on the whole decides subject and opening. */
static enum dsn_action main_action(const struct dsn *d) {
    enum dsn_action best = d->rcpts[0].action;

    for (size_t i = 0; i < d->rcpt_count; i++)
        if (d->rcpts[i].action < best) best = d->rcpts[i].action;
    return best;
}

static void put_person(struct buf *out, const struct dsn *d) {
    static const char *const opening[] = {
        "Your message could not be delivered to one or more recipients.\r\n"
        "The reasons are below. It will not be tried again.\r\n",
        "Your message has not been delivered yet to one or more recipients.\r\n"
        "You need not send it again: further attempts are made.\r\n",
        "Your message was delivered.\r\n",
        "Your message was passed on to a system that does not send further notices.\r\n"};

    buf_addf(out, "This is the mail system at %.*s.\r\n\r\n%s", SP(d->hostname),
             opening[main_action(d)]);
    for (size_t i = 0; i < d->rcpt_count; i++) {
        const struct dsn_rcpt *r = &d->rcpts[i];

        buf_add(out, S("\r\n<"));
        put_wrapped(out, r->address, 0, "\r\n    ", d->env->is_smtputf8);
        buf_addf(out, ">: %s\r\n    ", action_names[r->action]);
        put_wrapped(out, r->text, 4, "\r\n    ", d->env->is_smtputf8);
        if (r->remote.n) {
            buf_add(out, S("\r\n    "));
            put_wrapped(out, r->remote, 4, "\r\n    ", d->env->is_smtputf8);
            buf_add(out, S(" said:\r\n    "));
            put_wrapped(out, r->reply, 4, "\r\n    ", d->env->is_smtputf8);
        }
        buf_add(out, S("\r\n"));
    }
}

static void put_machine(struct buf *out, const struct dsn *d) {
    bool global = d->env->is_smtputf8;

    buf_addf(out, "Reporting-MTA: dns; %.*s\r\n", SP(d->hostname));
    if (d->env->envid.n) {
        buf_add(out, S("Original-Envelope-Id: "));
        put_xtext(out, d->env->envid, global);
        buf_add(out, S("\r\n"));
    }
    buf_addf(out, "X-Postbag-Queue-ID: %.*s\r\n", SP(d->id));
    put_time(out, "Arrival-Date", d->env->arrived);
    for (size_t i = 0; i < d->rcpt_count; i++) {
        const struct dsn_rcpt *r = &d->rcpts[i];
        bool utf8 = !utf8_is_ascii(r->address);

        buf_add(out, S("\r\n"));
        if (r->orcpt.n) put_orcpt(out, r->orcpt, global);
        buf_addf(out, "Final-Recipient: %s; ", utf8 ? "utf-8" : "rfc822");
        if (utf8 && !global) put_escaped(out, r->address);
        else buf_add(out, r->address);
        buf_addf(out, "\r\nAction: %s\r\n", action_names[r->action]);
        put_status(out, "Status", r->status);
        if (r->remote.n) put_typed(out, "Remote-MTA", "dns", r->remote, global);
        if (r->reply.n) put_typed(out, "Diagnostic-Code", "smtp", r->reply, global);
        put_time(out, "Last-Attempt-Date", d->now);
        if (r->action == DSN_DELAYED && d->retry_until)
            put_time(out, "Will-Retry-Until", d->retry_until);
    }
}

/* The original with CRLF lines; bytes that are not mail stay as they are, for 8bit. */
static void put_original(struct buf *out, struct slice text) {
    struct slice line;

    while (slice_line(&text, &line)) {
        buf_add(out, line);
        buf_add(out, S("\r\n"));
    }
}

enum err_code dsn_build(const struct dsn *d, struct buf *out, struct err *e) {
    static const char *const subjects[] = {
        "Undelivered mail:", "Delayed mail:", "Delivered mail:", "Relayed mail:"};
    enum dsn_action action = main_action(d);
    bool full = action == DSN_FAILED && d->is_whole && d->env->ret != RET_HDRS &&
                (d->env->ret == RET_FULL || d->message.n <= DSN_FULL_MAX);
    struct slice header = slice_first(d->message, header_end(d->message, NULL)), subject = {0};
    bool is_8bit = !utf8_is_ascii(full ? d->message : header);
    bool utf8 = d->env->is_smtputf8;
    struct buf unfolded;
    char boundary[48];

    for (size_t i = 0; i < 16; i++) {
        static const char hex[] = "0123456789abcdef";

        boundary[2 * i] = hex[d->random[i % DSN_RANDOM] >> 4];
        boundary[2 * i + 1] = hex[d->random[i % DSN_RANDOM] & 15];
    }
    boundary[32] = 0;
    if (header.n > DSN_HEADERS_MAX) header.n = DSN_HEADERS_MAX;
    buf_init(&unfolded, 4096);
    header_unfold(&unfolded, slice_first(header_value(d->message, S("Subject")), 200));
    subject = buf_slice(&unfolded);

    put_time(out, "Date", d->now);
    buf_addf(out, "From: Mail Delivery System <MAILER-DAEMON@%.*s>\r\nTo: <%.*s>\r\nMessage-ID: ",
             SP(d->hostname), SP(d->env->sender));
    msgid_put(out, d->now, d->random + 10, d->hostname);
    buf_addf(out, "\r\nSubject: %s", subjects[action]);
    if (utf8_is_ascii(subject)) put_wrapped(out, subject, 26, "\r\n ", false);
    buf_addf(out,
             "\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
             "Content-Type: multipart/report; report-type=%s;\r\n boundary=\"%s\"\r\n"
             "Content-Transfer-Encoding: %s\r\n\r\n"
             "This is a delivery status notification in MIME format.\r\n\r\n--%s\r\n"
             "Content-Type: text/plain; charset=%s\r\nContent-Description: Notification\r\n\r\n",
             utf8 ? "global-delivery-status" : "delivery-status", boundary,
             is_8bit || utf8 ? "8bit" : "7bit", boundary,
             utf8 ? "utf-8\r\nContent-Transfer-Encoding: 8bit" : "us-ascii");
    put_person(out, d);
    buf_addf(
        out, "\r\n--%s\r\nContent-Type: message/%s\r\nContent-Description: Delivery report\r\n\r\n",
        boundary,
        utf8 ? "global-delivery-status\r\nContent-Transfer-Encoding: 8bit" : "delivery-status");
    put_machine(out, d);
    buf_addf(out,
             "\r\n--%s\r\nContent-Type: %s\r\nContent-Transfer-Encoding: "
             "%s\r\nContent-Description: %s\r\n\r\n",
             boundary,
             full   ? (utf8 ? "message/global" : "message/rfc822")
             : utf8 ? "message/global-headers"
                    : "text/rfc822-headers",
             is_8bit ? "8bit" : "7bit", full ? "Undelivered message" : "Header of the message");
    put_original(out, full ? d->message : header);
    buf_addf(out, "\r\n--%s--\r\n", boundary);
    buf_release(&unfolded);
    return out->bad ? err_mail(e, ERR_LIMIT, STATUS(4, 3, 1), "the notification is too large") : OK;
}
