/* imap-list: what an IMAP server has: mailboxes, messages, searches, changes as they come, and the
 * messages themselves. It changes nothing on the server: mailboxes are opened read-only, texts are
 * read with PEEK. RFC 3501 (IMAP4rev1), 5092 (URL), 5819 (LIST-STATUS), 6154 (special use), 8438
 * (STATUS=SIZE), 2177 (IDLE), 8314 (TLS). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/json.h"
#include "base/num.h"
#include "base/utf8.h"
#include "cli/applet.h"
#include "cli/cells.h"
#include "cli/exit.h"
#include "cli/secret.h"
#include "imap/caps.h"
#include "imap/client.h"
#include "imap/server.h"
#include "imap/set.h"
#include "mime/date.h"
#include "mime/encword.h"
#include "net/dial_url.h"
#include "net/relay.h"
#include "sys/clock.h"
#include "sys/file.h"

enum {
    TIMEOUT_S = 60,
    ROW_MAX = 4 * 1024 * 1024,    /* one line of output */
    UIDS_PER_FETCH = 300,         /* keeps the command below any server's limit on lines */
    UIDS_MAX = 20 * 1000 * 1000,  /* messages of a search */
    BOXES_MAX = 100000,           /* mailboxes of an account */
    BOX_BYTES = 64 * 1024 * 1024, /* their names and attributes */
    NOOP_S = 20,                  /* --watch without IDLE */
    FROM_CELLS = 24,
    SUBJECT_CELLS = 60,
    WHY_MAX = 160
};

struct args {
    const char *search, *uid, *fetch, *save, *password_file, *password_fd, *password_command;
    bool caps, watch, raw, json, plaintext, require_tls, insecure, token;
    unsigned timeout;
};

static const struct opt opts[] = {
    TEXT('s', "search", search, "QUERY", "only messages that match; search keys of RFC 3501 6.4.4"),
    TEXT('u', "uid", uid, "SET", "only messages with these UIDs: 5, 1:100, 7:*"),
    TEXT('f', "fetch", fetch, "UID", "write this message to standard output, octet for octet"),
    TEXT('d', "save", save, "DIR", "write the messages to DIR/UID.eml; what is there is kept"),
    FLAG('w', "watch", watch, "print changes as they come, until --timeout"),
    FLAG('c', "caps", caps, "print the capabilities of the server"),
    FLAG('r', "raw", raw, "log in, then relay standard input and output"),
    TEXT(0, "password-file", password_file, "FILE", "first line of FILE, which must be private"),
    TEXT(0, "password-fd", password_fd, "N", "first line from the open descriptor N"),
    TEXT(0, "password-command", password_command, "CMD", "first line that sh -c CMD prints"),
    FLAG(0, "token", token, "it is an access token, not a password (OAUTHBEARER, XOAUTH2)"),
    FLAG(0, "plaintext", plaintext, "imap: no TLS, also to other hosts; the password is visible"),
    FLAG(0, "require-tls", require_tls, "imap: STARTTLS also on the loopback"),
    FLAG(0, "insecure", insecure, "take any certificate"),
    TIME('t', "timeout", timeout, "TIME",
         "wait this long for the server (default 60s); --watch: end after it"),
    FLAG('j', "json", json, "one JSON object per line"),
    OPT_END,
};

static const struct exit_doc exits[] = {
    {0, "done"},
    {64, "the command line is wrong, or the server does not understand the query"},
    {65, "the server tells of more mailboxes or messages than can be"},
    {66, "there is no such mailbox or message"},
    {69, "the server said no, or a library is missing"},
    {73, "a file cannot be made"},
    {75, "network, TLS or the server's trouble of the moment: try again later"},
    {76, "the server does not speak IMAP"},
    {77, "the server refused the login, or a file may not be used"},
    {0, NULL},
};

struct box {
    struct slice name, raw, attributes;
    unsigned bits;
    char delimiter;
    bool has_numbers;
    struct imap_mailbox_numbers n;
};

struct run {
    struct context *ctx;
    const struct args *args;
    struct imap_client *client;
    struct pump pump;
    struct err err;   /* of a handler: ends the run */
    struct buf row;   /* the line being made */
    struct buf plain; /* a decoded text */
    struct buf bye;   /* why the server goes, in its words */
    size_t shown;
    bool has_head;
    uint64_t uidvalidity;
    uint32_t exists;
    /* mailboxes */
    struct arena arena;
    struct box *boxes;
    size_t n_boxes, cap_boxes;
    /* a search's answer; --watch: by sequence number, 0: not known */
    uint32_t *uids;
    size_t n_uids, cap_uids;
    uint32_t last_uid;
    /* a message being fetched */
    uint32_t wanted;
    int fd; /* -1: standard output */
    uint64_t got, size;
    bool has_body;
    bool is_idle;
};

static unsigned timeout_ms(const struct run *r) {
    return (r->args->timeout ? r->args->timeout : TIMEOUT_S) * 1000u;
}

/* --- the dialogue ----------------------------------------------------------------------------- */

/* What a tagged answer means for us. The server's words are shown, made harmless. */
static enum err_code refused(const struct imap_client_event *ev, struct err *e) {
    struct slice code, rest;
    struct buf words;
    enum err_code result;

    buf_init(&words, 4096);
    cells_put(&words, ev->text.n ? ev->text : ev->code, WHY_MAX, false);
    slice_cut(ev->code, ' ', &code, &rest);
    if (ev->status == IMAP_CL_BAD)
        result =
            err_set(e, ERR_PROTO, "the server does not understand: %.*s", SP(buf_slice(&words)));
    else if (slice_ieq(code, S("NONEXISTENT")) || slice_ieq(code, S("TRYCREATE")))
        result = err_set(e, ERR_NOT_FOUND, "the server says: %.*s", SP(buf_slice(&words)));
    else if (slice_ieq(code, S("UNAVAILABLE")) || slice_ieq(code, S("INUSE")) ||
             slice_ieq(code, S("SERVERBUG")) || slice_ieq(code, S("LIMIT")))
        result = err_set(e, ERR_BUSY, "the server says: %.*s", SP(buf_slice(&words)));
    else if (slice_ieq(code, S("NOPERM")) || slice_ieq(code, S("AUTHORIZATIONFAILED")))
        result = err_set(e, ERR_DENIED, "the server says: %.*s", SP(buf_slice(&words)));
    else
        result =
            err_mail(e, ERR_PROTO, STATUS(5, 0, 0), "the server says: %.*s", SP(buf_slice(&words)));
    buf_release(&words);
    return result;
}

static void note(struct run *r, const struct imap_client_event *ev) {
    struct slice word, rest;

    slice_cut(ev->code, ' ', &word, &rest);
    if (slice_ieq(word, S("UIDVALIDITY"))) num_parse(rest, UINT32_MAX, &r->uidvalidity);
    if (ev->status != IMAP_CL_BYE) return;
    buf_reset(&r->bye);
    cells_put(&r->bye, ev->text, WHY_MAX, false);
}

static enum err_code ended(struct run *r, const struct imap_client_event *ev, struct err *e) {
    if (r->bye.n > 0)
        err_set(e, ERR_CLOSED, "the server ended the session: %.*s", SP(buf_slice(&r->bye)));
    else if (r->pump.err.code && (r->pump.is_broken || ev->err.code == ERR_CLOSED))
        *e = r->pump.err;
    else if (ev->err.code) *e = ev->err;
    else err_set(e, ERR_CLOSED, "the server ended the session");
    return e->code;
}

/* Run the dialogue until the command under way (or the start, with `until` READY) is over; what
 * comes meanwhile goes to `on`. */
static enum err_code await(struct run *r, enum imap_client_event_type until,
                           void (*on)(struct run *, const struct imap_client_event *),
                           struct err *e) {
    struct imap_client_event ev;

    for (;;) {
        while (imap_client_next(r->client, &ev)) {
            if (ev.type == IMAP_CL_END) return ended(r, &ev, e);
            if (ev.type == until) {
                if (until == IMAP_CL_REPLY && ev.status != IMAP_CL_OK) return refused(&ev, e);
                if (r->err.code) *e = r->err;
                return r->err.code;
            }
            if (ev.type == IMAP_CL_NOTE) note(r, &ev);
            else if (ev.type == IMAP_CL_EXISTS) r->exists = ev.number;
            if (on && !r->err.code) on(r, &ev);
        }
        if (r->err.code && !r->is_idle) { /* a disk full is no reason to read a gigabyte */
            *e = r->err;
            return r->err.code;
        }
        if (!r->args->watch) r->pump.cap = clock_mono() + timeout_ms(r);
        if (!pump_step(&r->pump) && !imap_client_done(r->client))
            return err_set(e, ERR_CLOSED, "the connection is over");
    }
}

static enum err_code unsendable(struct err *e) {
    return err_set(e, ERR_USAGE,
                   "a name or query that cannot be sent: line breaks, NUL, too long, "
                   "or not UTF-8");
}

/* --- output ----------------------------------------------------------------------------------- */

static void flush_row(struct run *r) {
    if (r->row.bad) err_set(&r->err, ERR_LIMIT, "a line of output is too long");
    else if (r->row.n > 0) fwrite(r->row.p, 1, r->row.n, r->ctx->out);
    if (ferror(r->ctx->out)) err_sys(&r->err, "writing");
    buf_reset(&r->row);
    r->shown++;
}

static void put_words(struct json *j, const char *key, struct slice words) {
    struct slice word;

    json_array(j, key);
    while (slice_word(&words, &word)) json_str(j, NULL, word);
    json_end(j);
}

/* A field value for people. Valid until the next call. */
static struct slice decoded(struct run *r, struct slice value) {
    buf_reset(&r->plain);
    encword_decode(&r->plain, value);
    return buf_slice(&r->plain);
}

static void put_address_list(struct run *r, struct json *j, const char *key,
                             const struct imap_address_list *l) {
    struct buf address;

    buf_init(&address, ROW_MAX);
    json_array(j, key);
    for (size_t i = 0; i < l->n; i++) {
        const struct imap_address *a = &l->v[i];

        if (a->is_nil_host) continue; /* the frame of a group */
        json_object(j, NULL);
        json_str_or_null(j, "name", decoded(r, a->name));
        buf_reset(&address);
        buf_addf(&address, "%.*s@%.*s", SP(a->mailbox), SP(a->host));
        json_str(j, "address", buf_slice(&address));
        json_end(j);
    }
    json_end(j);
    buf_release(&address);
}

static void put_message_json(struct run *r, const char *event, uint32_t uid,
                             const struct imap_fetched *f) {
    const struct imap_envelope *v = &f->envelope;
    struct json j;
    wall_t date;

    json_init(&j, &r->row);
    json_object(&j, NULL);
    json_int(&j, "v", 1);
    if (event) json_str(&j, "event", slice_str(event));
    json_int(&j, "uid", uid);
    if (f->has_flags) put_words(&j, "flags", f->flags);
    if (f->has_size) json_int(&j, "size", (int64_t)f->size_bytes);
    if (f->has_date) json_time(&j, "internal_date", f->internal_date);
    if (f->has_envelope) {
        if (date_parse(v->date, &date, NULL)) json_time(&j, "date", date);
        else json_null(&j, "date");
        put_address_list(r, &j, "from", &v->from);
        put_address_list(r, &j, "to", &v->to);
        put_address_list(r, &j, "cc", &v->cc);
        json_str(&j, "subject", decoded(r, v->subject));
        json_str_or_null(&j, "message_id", v->message_id);
    }
    json_end(&j);
    json_line(&j);
}

/* Maildir's letters (R replied, T trashed), N for \Recent, + for keywords. */
static void put_flag_letters(struct buf *out, struct slice flags) {
    static const struct {
        struct slice name;
        char letter;
    } known[] = {{S_INIT("\\Recent"), 'N'},   {S_INIT("\\Seen"), 'S'},
                 {S_INIT("\\Answered"), 'R'}, {S_INIT("\\Flagged"), 'F'},
                 {S_INIT("\\Deleted"), 'T'},  {S_INIT("\\Draft"), 'D'}};
    size_t n = sizeof known / sizeof *known;
    bool has[8] = {false}, is_tagged = false;
    struct slice word;

    while (slice_word(&flags, &word)) {
        size_t i = 0;

        while (i < n && !slice_ieq(word, known[i].name)) i++;
        if (i < n) has[i] = true;
        else is_tagged = true;
    }
    for (size_t i = 0; i < n; i++) buf_addc(out, has[i] ? known[i].letter : '-');
    buf_addc(out, is_tagged ? '+' : '-');
}

static void put_message_text(struct run *r, uint32_t uid, const struct imap_fetched *f) {
    const struct imap_envelope *v = &f->envelope;
    char when[MOMENT_RFC3339_MAX];
    struct buf from;
    wall_t date;

    buf_addf(&r->row, "%9u  ", uid);
    put_flag_letters(&r->row, f->flags);
    buf_addf(&r->row, "  %10llu  ", (unsigned long long)f->size_bytes);
    if (!date_parse(v->date, &date, NULL)) date = f->internal_date;
    buf_addf(&r->row, "%-20.*s  ", SP(moment_rfc3339(date, when)));
    buf_init(&from, ROW_MAX);
    if (v->from.n > 0) {
        const struct imap_address *a = &v->from.v[0];

        if (a->name.n) buf_add(&from, decoded(r, a->name));
        else buf_addf(&from, "%.*s@%.*s", SP(a->mailbox), SP(a->host));
    }
    cells_put(&r->row, buf_slice(&from), FROM_CELLS, true);
    buf_release(&from);
    buf_add(&r->row, S("  "));
    cells_put(&r->row, decoded(r, v->subject), SUBJECT_CELLS, false);
    buf_addc(&r->row, '\n');
}

static void show_message(struct run *r, uint32_t uid, const struct imap_fetched *f) {
    if (r->args->json) {
        put_message_json(r, r->args->watch ? "new" : NULL, uid, f);
    } else {
        if (!r->has_head && !r->args->watch)
            fputs("      UID  FLAGS          SIZE  DATE                  FROM                      "
                  "SUBJECT\n",
                  r->ctx->out);
        r->has_head = true;
        if (r->args->watch) buf_add(&r->row, S("new    "));
        put_message_text(r, uid, f);
    }
    flush_row(r);
}

/* --- mailboxes -------------------------------------------------------------------------------- */

static struct box *box_of(struct run *r, struct slice name) {
    for (size_t i = r->n_boxes; i-- > 0;)
        if (slice_eq(r->boxes[i].name, name)) return &r->boxes[i];
    return NULL;
}

static void on_list(struct run *r, const struct imap_client_event *ev) {
    struct box *b;

    if (ev->type == IMAP_CL_STATUS && (b = box_of(r, ev->name))) {
        b->has_numbers = true;
        b->n = ev->mailbox;
    }
    if (ev->type != IMAP_CL_LIST) return;
    if (r->n_boxes == r->cap_boxes) {
        size_t cap = r->cap_boxes ? r->cap_boxes * 2 : 64;
        struct box *more = r->n_boxes < BOXES_MAX ? realloc(r->boxes, cap * sizeof *more) : NULL;

        if (!more) {
            err_set(&r->err, ERR_LIMIT, "the server has too many mailboxes");
            return;
        }
        r->boxes = more;
        r->cap_boxes = cap;
    }
    r->boxes[r->n_boxes++] = (struct box){.name = arena_copy(&r->arena, ev->name),
                                          .raw = arena_copy(&r->arena, ev->raw_name),
                                          .attributes = arena_copy(&r->arena, ev->attribute_text),
                                          .bits = ev->attributes,
                                          .delimiter = ev->delimiter};
    if (r->arena.bad) err_set(&r->err, ERR_LIMIT, "the names of the mailboxes are too long");
}

static int box_order(const void *a, const void *b) {
    const struct box *x = a, *y = b;
    bool x_inbox = slice_ieq(x->name, S("INBOX")), y_inbox = slice_ieq(y->name, S("INBOX"));

    return x_inbox != y_inbox ? (x_inbox ? -1 : 1) : slice_cmp(x->name, y->name);
}

static const char *use_of(unsigned bits) {
    return bits & IMAP_USE_ALL       ? "all"
           : bits & IMAP_USE_ARCHIVE ? "archive"
           : bits & IMAP_USE_DRAFTS  ? "drafts"
           : bits & IMAP_USE_FLAGGED ? "flagged"
           : bits & IMAP_USE_JUNK    ? "junk"
           : bits & IMAP_USE_SENT    ? "sent"
           : bits & IMAP_USE_TRASH   ? "trash"
                                     : "";
}

static void json_number(struct json *j, const char *key, bool has, uint64_t v) {
    if (has) json_int(j, key, (int64_t)v);
    else json_null(j, key);
}

static void show_box_json(struct run *r, const struct box *b) {
    const struct imap_mailbox_numbers *n = &b->n;
    struct json j;

    json_init(&j, &r->row);
    json_object(&j, NULL);
    json_int(&j, "v", 1);
    json_str(&j, "mailbox", b->name);
    json_str(&j, "raw_name", b->raw);
    json_str_or_null(&j, "delimiter", slice_of(&b->delimiter, b->delimiter != 0));
    put_words(&j, "attributes", b->attributes);
    json_str_or_null(&j, "use", slice_str(use_of(b->bits)));
    json_number(&j, "messages", n->has_messages, n->messages);
    json_number(&j, "unseen", n->has_unseen, n->unseen);
    json_number(&j, "uidnext", n->has_uidnext, n->uidnext);
    json_number(&j, "uidvalidity", n->has_uidvalidity, n->uidvalidity);
    json_number(&j, "size", n->has_size, n->size_bytes);
    json_number(&j, "modseq", n->has_modseq, n->modseq);
    json_end(&j);
    json_line(&j);
}

static void put_number(struct buf *out, int width, bool has, uint64_t v) {
    if (has) buf_addf(out, "%*llu  ", width, (unsigned long long)v);
    else buf_addf(out, "%*s  ", width, "-");
}

static void show_box(struct run *r, const struct box *b) {
    const struct imap_mailbox_numbers *n = &b->n;

    if (r->args->json) {
        show_box_json(r, b);
    } else {
        put_number(&r->row, 8, n->has_messages, n->messages);
        put_number(&r->row, 7, n->has_unseen, n->unseen);
        put_number(&r->row, 9, n->has_uidnext, n->uidnext);
        put_number(&r->row, 11, n->has_uidvalidity, n->uidvalidity);
        put_number(&r->row, 12, n->has_size, n->size_bytes);
        buf_addf(&r->row, "%-7s  ", use_of(b->bits));
        cells_clean(&r->row, b->name);
        buf_addc(&r->row, '\n');
    }
    flush_row(r);
}

static enum err_code show_boxes(struct run *r, struct err *e) {
    char items[96], command[160];
    bool in_one = imap_client_can(r->client, S("LIST-STATUS")), is_sent;
    enum err_code code;

    snprintf(items, sizeof items, "MESSAGES UNSEEN UIDNEXT UIDVALIDITY%s%s",
             imap_client_can(r->client, S("STATUS=SIZE")) ? " SIZE" : "",
             imap_client_can(r->client, S("CONDSTORE")) ? " HIGHESTMODSEQ" : "");
    snprintf(command, sizeof command, "LIST \"\" \"*\" RETURN (%sSTATUS (%s))",
             imap_client_can(r->client, S("SPECIAL-USE")) ? "SPECIAL-USE " : "", items);
    is_sent = in_one ? imap_client_command(r->client, slice_str(command))
                     : imap_client_list(r->client, S(""), S("*"));
    code = is_sent ? await(r, IMAP_CL_REPLY, on_list, e) : unsendable(e);
    if (code == OK && r->n_boxes) qsort(r->boxes, r->n_boxes, sizeof *r->boxes, box_order);
    if (code == OK && !r->args->json)
        fputs("MESSAGES   UNSEEN    UIDNEXT  UIDVALIDITY          SIZE  USE      MAILBOX\n",
              r->ctx->out);
    for (size_t i = 0; i < r->n_boxes && code == OK; i++) {
        struct box *b = &r->boxes[i];

        if (!b->has_numbers && !(b->bits & IMAP_NOSELECT) &&
            imap_client_status(r->client, b->name, slice_str(items))) {
            struct err why = {0};

            code = await(r, IMAP_CL_REPLY, on_list, &why);
            if (imap_client_is_free(r->client)) code = OK; /* one that may not be read */
            else if (code != OK) *e = why;
        }
        if (code == OK) show_box(r, b);
    }
    return code;
}

/* --- messages --------------------------------------------------------------------------------- */

static bool add_uid(struct run *r, uint32_t uid) {
    if (r->n_uids == r->cap_uids) {
        size_t cap = r->cap_uids ? r->cap_uids * 2 : 1024;
        uint32_t *more = r->n_uids < UIDS_MAX ? realloc(r->uids, cap * sizeof *more) : NULL;

        if (!more) {
            err_set(&r->err, ERR_LIMIT, "too many messages");
            return false;
        }
        r->uids = more;
        r->cap_uids = cap;
    }
    r->uids[r->n_uids++] = uid;
    return true;
}

static void on_search(struct run *r, const struct imap_client_event *ev) {
    for (size_t i = 0; ev->type == IMAP_CL_SEARCH && i < ev->n_numbers; i++)
        if (!add_uid(r, ev->numbers[i])) return;
}

static int uid_order(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

/* The UIDs of all messages that --search and --uid leave. */
static enum err_code search(struct run *r, struct err *e) {
    const struct args *a = r->args;
    struct buf query;
    bool is_sent;
    enum err_code code;

    buf_init(&query, 1024 * 1024);
    if (a->uid) buf_addf(&query, "UID %s ", a->uid);
    if (a->search) buf_add(&query, slice_str(a->search));
    else if (!a->uid) buf_add(&query, S("ALL"));
    is_sent = !query.bad && imap_client_search(r->client, slice_trim(buf_slice(&query)));
    buf_release(&query);
    code = is_sent ? await(r, IMAP_CL_REPLY, on_search, e) : unsendable(e);
    if (code == ERR_PROTO && e->status.cls == 0 && imap_client_is_free(r->client))
        e->code = code = ERR_USAGE; /* BAD: that is the query */
    if (code == OK && r->n_uids > 1) qsort(r->uids, r->n_uids, sizeof *r->uids, uid_order);
    return code;
}

static void on_fetch(struct run *r, const struct imap_client_event *ev) {
    if (ev->type == IMAP_CL_FETCH && ev->fetched.uid && ev->fetched.has_envelope)
        show_message(r, ev->fetched.uid, &ev->fetched);
}

static enum err_code fetch(struct run *r, struct slice set,
                           void (*on)(struct run *, const struct imap_client_event *),
                           struct err *e) {
    if (!imap_client_fetch(r->client, set, S("UID FLAGS RFC822.SIZE INTERNALDATE ENVELOPE")))
        return unsendable(e);
    return await(r, IMAP_CL_REPLY, on, e);
}

static enum err_code show_messages(struct run *r, struct err *e) {
    struct buf set;
    enum err_code code = OK;

    if (!r->args->search) {
        if (r->exists > 0)
            code = fetch(r, slice_str(r->args->uid ? r->args->uid : "1:*"), on_fetch, e);
    } else {
        code = search(r, e);
        buf_init(&set, 64 * 1024);
        for (size_t i = 0; i < r->n_uids && code == OK; i += UIDS_PER_FETCH) {
            size_t n = r->n_uids - i < UIDS_PER_FETCH ? r->n_uids - i : UIDS_PER_FETCH;

            buf_reset(&set);
            imap_set_put(&set, r->uids + i, n);
            code = fetch(r, buf_slice(&set), on_fetch, e);
        }
        buf_release(&set);
    }
    if (code == OK && r->shown == 0 && r->args->uid && !r->args->search)
        return err_set(e, ERR_NOT_FOUND, "there is no message with UID %.100s", r->args->uid);
    return code;
}

/* --- whole messages --------------------------------------------------------------------------- */

static void on_body(struct run *r, const struct imap_client_event *ev) {
    if (ev->type != IMAP_CL_BODY || (ev->uid && ev->uid != r->wanted)) return;
    if (!r->has_body) r->size = ev->size_bytes;
    r->has_body = true;
    r->got += ev->bytes.n;
    if (r->fd >= 0) {
        file_write(r->fd, ev->bytes, "a message file", &r->err);
    } else if (ev->bytes.n && fwrite(ev->bytes.p, 1, ev->bytes.n, r->ctx->out) != ev->bytes.n) {
        err_sys(&r->err, "writing");
    }
}

/* One message to `fd` or, with -1, to standard output. ERR_NOT_FOUND. */
static enum err_code get_message(struct run *r, uint32_t uid, int fd, struct err *e) {
    char set[16];
    enum err_code code;

    r->wanted = uid;
    r->fd = fd;
    r->got = r->size = 0;
    r->has_body = false;
    snprintf(set, sizeof set, "%u", uid);
    if (!imap_client_fetch(r->client, slice_str(set), S("UID BODY.PEEK[]"))) return unsendable(e);
    code = await(r, IMAP_CL_REPLY, on_body, e);
    if (code != OK) return code;
    if (!r->has_body) return err_set(e, ERR_NOT_FOUND, "there is no message with UID %u", uid);
    if (r->got != r->size)
        return err_set(e, ERR_PROTO, "message %u came with %llu of %llu octets", uid,
                       (unsigned long long)r->got, (unsigned long long)r->size);
    return OK;
}

static enum err_code fetch_one(struct run *r, struct err *e) {
    uint64_t uid;

    if (!num_parse(slice_str(r->args->fetch), UINT32_MAX, &uid) || uid == 0)
        return err_set(e, ERR_USAGE, "--fetch wants one UID, not \"%.50s\"", r->args->fetch);
    return get_message(r, (uint32_t)uid, -1, e);
}

/* UIDs mean something only together with UIDVALIDITY, so the directory remembers it. */
static enum err_code check_directory(struct run *r, const char *dir, struct err *e) {
    char path[4200], own[24];
    struct buf text;
    enum err_code code = file_mkdirs(dir, 0700, e);

    if (code != OK) return code;
    snprintf(own, sizeof own, "%llu\n", (unsigned long long)r->uidvalidity);
    if ((size_t)snprintf(path, sizeof path, "%s/.uidvalidity", dir) >= sizeof path)
        return err_set(e, ERR_USAGE, "the name of the directory is too long");
    buf_init(&text, 64);
    code = file_read(path, &text, NULL);
    if (code == ERR_NOT_FOUND) code = file_replace(path, slice_str(own), 0600, e);
    else if (code != OK || !slice_eq(buf_slice(&text), slice_str(own)))
        code = err_set(e, ERR_EXISTS,
                       "%.150s has messages of another mailbox, or UIDVALIDITY changed", dir);
    buf_release(&text);
    return code;
}

static void show_saved(struct run *r, uint32_t uid, const char *name, bool is_new) {
    struct json j;

    if (r->args->json) {
        json_init(&j, &r->row);
        json_object(&j, NULL);
        json_int(&j, "v", 1);
        json_int(&j, "uid", uid);
        json_str(&j, "file", slice_str(name));
        json_bool(&j, "saved", is_new);
        if (is_new) json_int(&j, "size", (int64_t)r->got);
        json_end(&j);
        json_line(&j);
    } else if (is_new) {
        buf_addf(&r->row, "%s\n", name);
    }
    flush_row(r);
}

/* DIR/UID.eml appears whole and durable, or not at all. */
static enum err_code save_one(struct run *r, int dir, uint32_t uid, bool *is_new, struct err *e) {
    char name[24], part[32];
    enum err_code code;
    int fd;

    *is_new = false;
    snprintf(name, sizeof name, "%u.eml", uid);
    if (faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0) return OK;
    snprintf(part, sizeof part, ".%u.%ld.part", uid, (long)getpid());
    fd = openat(dir, part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return err_sys(e, "cannot make %s", part);
    code = get_message(r, uid, fd, e);
    if (code == OK) code = file_sync(fd, name, e);
    close(fd);
    r->fd = -1;
    if (code == OK && linkat(dir, part, dir, name, 0) == 0) *is_new = true;
    else if (code == OK && errno != EEXIST) code = err_sys(e, "cannot make %s", name);
    unlinkat(dir, part, 0);
    return code;
}

static enum err_code save_all(struct run *r, struct err *e) {
    const char *dir = r->args->save;
    size_t there = 0;
    enum err_code code = check_directory(r, dir, e);
    int fd = -1;

    if (code == OK && r->exists > 0) code = search(r, e);
    if (code == OK && (fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        code = err_sys(e, "cannot open %.150s", dir);
    for (size_t i = 0; i < r->n_uids && code == OK; i++) {
        char path[4300];
        bool is_new;

        code = save_one(r, fd, r->uids[i], &is_new, e);
        if (code == ERR_NOT_FOUND) { /* expunged meanwhile */
            code = OK;
            continue;
        }
        there += code == OK && !is_new;
        snprintf(path, sizeof path, "%s/%u.eml", dir, r->uids[i]);
        if (code == OK) show_saved(r, r->uids[i], path, is_new);
    }
    if (code == OK) code = file_sync_dir(dir, e);
    fd_close(&fd);
    if (there > 0)
        warnf(r->ctx, "%zu message%s there already", there, there == 1 ? " was" : "s were");
    return code;
}

/* --- watching --------------------------------------------------------------------------------- */

static void show_change(struct run *r, const char *what, uint32_t uid,
                        const struct imap_fetched *f) {
    static const struct imap_fetched none;

    if (r->args->json) {
        put_message_json(r, what, uid, f ? f : &none);
    } else {
        buf_addf(&r->row, "%-5s  %9u", what, uid);
        if (f) {
            buf_add(&r->row, S("  "));
            cells_put(&r->row, f->flags, 200, false);
        }
        buf_addc(&r->row, '\n');
    }
    flush_row(r);
    fflush(r->ctx->out);
}

static void on_change(struct run *r, const struct imap_client_event *ev) {
    uint32_t at = ev->number, uid;

    if (ev->type == IMAP_CL_EXISTS && at > r->n_uids) {
        imap_client_idle_done(r->client); /* to fetch them */
    } else if (ev->type == IMAP_CL_EXPUNGE && at > 0) {
        if (r->exists > 0) r->exists--;
        if (at > r->n_uids) return;
        uid = r->uids[at - 1];
        memmove(r->uids + at - 1, r->uids + at, (r->n_uids - at) * sizeof *r->uids);
        r->n_uids--;
        show_change(r, "gone", uid, NULL);
    } else if (ev->type == IMAP_CL_FETCH) {
        uid = ev->fetched.uid ? ev->fetched.uid : at > 0 && at <= r->n_uids ? r->uids[at - 1] : 0;
        if (ev->fetched.has_envelope && uid > r->last_uid) {
            r->last_uid = uid;
            show_message(r, uid, &ev->fetched);
            fflush(r->ctx->out);
            if (at == r->n_uids + 1) add_uid(r, uid);
        } else if (!ev->fetched.has_envelope && ev->fetched.has_flags && uid) {
            show_change(r, "flags", uid, &ev->fetched);
        }
    }
}

static bool is_time_up(const struct run *r) {
    return r->args->timeout && clock_mono() >= r->pump.cap;
}

static enum err_code wait_for_change(struct run *r, struct err *e) {
    struct timespec pause = {NOOP_S, 0};
    mono_t left = r->pump.cap - clock_mono();
    enum err_code code;

    if (imap_client_can(r->client, S("IDLE"))) {
        r->is_idle = true;
        if (!imap_client_idle(r->client)) return unsendable(e);
        code = await(r, IMAP_CL_REPLY, on_change, e);
        r->is_idle = false;
        return code;
    }
    if (r->args->timeout && left < NOOP_S * 1000)
        pause.tv_sec = left > 0 ? (time_t)(left / 1000) + 1 : 0;
    nanosleep(&pause, NULL);
    return imap_client_noop(r->client) ? await(r, IMAP_CL_REPLY, on_change, e) : unsendable(e);
}

static enum err_code watch(struct run *r, struct err *e) {
    char set[32];
    enum err_code code;

    if (r->args->timeout) r->pump.cap = clock_mono() + (mono_t)r->args->timeout * 1000;
    code = r->exists > 0 ? search(r, e) : OK;
    if (r->n_uids) r->last_uid = r->uids[r->n_uids - 1];
    while (code == OK && !is_time_up(r)) {
        size_t before = r->n_uids;

        if (r->exists > r->n_uids) {
            snprintf(set, sizeof set, "%u:*", r->last_uid + 1);
            code = fetch(r, slice_str(set), on_change, e);
            /* Messages that came and went, or that the server does not tell: forget them. */
            if (r->n_uids == before && r->exists > r->n_uids)
                while (r->n_uids < r->exists && add_uid(r, 0)) {
                }
        } else {
            code = wait_for_change(r, e);
        }
    }
    return is_time_up(r) && (code == OK || code == ERR_TIMEOUT || code == ERR_CLOSED) ? OK : code;
}

/* --- capabilities ----------------------------------------------------------------------------- */

static void show_caps(struct run *r) {
    struct slice rest = imap_client_capabilities(r->client), word;
    struct json j;

    while (slice_word(&rest, &word)) {
        int rfc = imap_capability_rfc(word);

        if (r->args->json) {
            json_init(&j, &r->row);
            json_object(&j, NULL);
            json_int(&j, "v", 1);
            json_str(&j, "capability", word);
            json_number(&j, "rfc", rfc > 0, (uint64_t)rfc);
            json_end(&j);
            json_line(&j);
        } else {
            cells_put(&r->row, word, rfc ? 24 : 200, rfc > 0);
            if (rfc) buf_addf(&r->row, "  RFC %d", rfc);
            buf_addc(&r->row, '\n');
        }
        flush_row(r);
    }
}

/* --- the run ---------------------------------------------------------------------------------- */

/* RFC 5092: the mailbox, percent-encoded; what follows a ';' is not ours. */
static enum err_code mailbox_of(const char *path, struct buf *out, struct err *e) {
    for (const char *p = path; *p && *p != ';' && *p != '?'; p++) {
        int hi = *p == '%' ? ascii_hex(p[1]) : -1, lo = hi >= 0 ? ascii_hex(p[2]) : -1;

        if (*p != '%') buf_addc(out, *p);
        else if (lo < 0) return err_set(e, ERR_USAGE, "a %% in the URL wants two digits after it");
        else {
            buf_addc(out, (char)(hi * 16 + lo));
            p += 2;
        }
    }
    while (out->n && out->p[out->n - 1] == '/') out->n--;
    if (out->bad || !utf8_valid(buf_slice(out)) || memchr(out->p ? out->p : "", 0, out->n))
        return err_set(e, ERR_USAGE, "the URL has no usable mailbox name");
    return OK;
}

static enum err_code converse(struct run *r, struct slice mailbox, struct err *e) {
    const struct args *a = r->args;
    enum err_code code = await(r, IMAP_CL_READY, NULL, e);

    if (code != OK) return code;
    if (a->caps) {
        show_caps(r);
    } else if (mailbox.n == 0) {
        code = show_boxes(r, e);
    } else {
        if (!imap_client_select(r->client, mailbox, true)) return unsendable(e);
        code = await(r, IMAP_CL_REPLY, NULL, e);
        if (code == ERR_PROTO && e->status.cls == 5) e->code = code = ERR_NOT_FOUND;
        if (code == ERR_NOT_FOUND) e->status = (struct mail_status){0};
        if (code != OK) return code;
        code = a->fetch   ? fetch_one(r, e)
               : a->save  ? save_all(r, e)
               : a->watch ? watch(r, e)
                          : show_messages(r, e);
    }
    if (code == OK && imap_client_is_free(r->client) && imap_client_logout(r->client)) {
        r->pump.cap = clock_mono() + 5000;
        while (pump_step(&r->pump)) {
            struct imap_client_event ev;

            while (imap_client_next(r->client, &ev)) {
            }
        }
    }
    return code;
}

static int connect_and_talk(struct run *r, const struct dial_target *to, const char *password,
                            struct slice mailbox) {
    const struct args *a = r->args;
    struct imap_client_config config = {.has_tls = true, .is_logged_in = true};
    struct dial_url_options o = {.to = to,
                                 .conf = r->ctx->conf,
                                 .user = to->user,
                                 .password = password,
                                 .is_token = a->token,
                                 .timeout_s = a->watch || !a->timeout ? TIMEOUT_S : a->timeout,
                                 .tls = a->insecure ? DIAL_URL_INSECURE : DIAL_URL_VERIFY};
    struct dial_url *conn;
    struct err e = {0};
    enum err_code code;

    if (a->plaintext || (to->is_loopback && !a->require_tls && !to->is_implicit_tls))
        o.tls = DIAL_URL_CLEAR;
    code = dial_url(&o, &conn, &e);
    if (code != OK) return fail(r->ctx, &e);
    if (a->raw) {
        code = relay_imap(dial_url_io(conn), STDIN_FILENO, STDOUT_FILENO, timeout_ms(r), &e);
    } else {
        r->client = imap_client_new(&config, clock_mono());
        if (!r->client) {
            code = err_set(&e, ERR_MEMORY, "no memory for a session");
        } else {
            pump_init_io(&r->pump, imap_client_engine(r->client), dial_url_io(conn));
            code = converse(r, mailbox, &e);
            pump_release(&r->pump);
            imap_client_free(r->client);
        }
    }
    dial_url_free(conn);
    return code == OK ? EX_OK : fail(r->ctx, &e);
}

/* "1:5,7,9:*" and nothing else: it goes into a command. */
static bool is_uid_set(const char *s) {
    for (const char *p = s; *p; p++)
        if (!strchr("0123456789:*,", *p)) return false;
    return *s && strlen(s) < 8000;
}

static int check_args(struct context *ctx, const struct args *a, const struct dial_target *to,
                      struct slice mailbox) {
    int modes = (a->fetch != NULL) + (a->save != NULL) + a->watch + a->caps + a->raw;
    bool wants_box = a->fetch || a->save || a->watch || a->search || a->uid;

    if (!to->is_imap) return failf(ctx, EX_USAGE, "\"%s\" is no IMAP URL", to->scheme);
    if (!to->user) return failf(ctx, EX_USAGE, "the URL names no user: imaps://USER@HOST");
    if (modes > 1)
        return failf(ctx, EX_USAGE, "only one of --fetch, --save, --watch, --caps and --raw");
    if (wants_box && mailbox.n == 0)
        return failf(ctx, EX_USAGE, "the URL names no mailbox: imaps://USER@HOST/INBOX");
    if ((a->search || a->uid) && (a->fetch || a->watch || a->caps || a->raw))
        return failf(ctx, EX_USAGE, "--search and --uid choose what is listed or saved");
    if (a->uid && !is_uid_set(a->uid))
        return failf(ctx, EX_USAGE, "--uid wants a set like 1:5,7,9:*");
    if (a->json && (a->fetch || a->raw)) return failf(ctx, EX_USAGE, "--json is for lists");
    if (a->plaintext && (to->is_implicit_tls || a->require_tls))
        return failf(ctx, EX_USAGE, "--plaintext contradicts %s",
                     to->is_implicit_tls ? "imaps" : "--require-tls");
    return EX_OK;
}

/* The arguments of a process are for all to see. */
static void cover_password(char *url) {
    char *at = strrchr(url, '@'), *colon = strstr(url, "://");

    colon = colon && at ? memchr(colon + 3, ':', (size_t)(at - colon - 3)) : NULL;
    for (char *p = colon ? colon + 1 : at; colon && p < at; p++) *p = 'x';
}

static int run(struct context *ctx, const void *p) {
    const struct args *args = p;
    struct secret_source source = {args->password_file, args->password_fd, args->password_command};
    struct run r = {.ctx = ctx, .args = args, .fd = -1};
    struct dial_target to;
    struct buf password, mailbox;
    struct err e = {0};
    char prompt[600];
    int status;
    enum err_code code;

    arena_init(&r.arena, BOX_BYTES);
    buf_init(&r.row, ROW_MAX);
    buf_init(&r.plain, ROW_MAX);
    buf_init(&r.bye, 4096);
    buf_init(&password, SECRET_MAX);
    buf_init(&mailbox, IMAP_MAILBOX_NAME_MAX);
    code = dial_target_parse(ctx->operands[0], &r.arena, &to, &e);
    if (code == OK) code = mailbox_of(to.path, &mailbox, &e);
    status = code == OK ? check_args(ctx, args, &to, buf_slice(&mailbox)) : fail(ctx, &e);
    if (status == EX_OK && to.password) {
        if (!to.is_loopback)
            warnf(ctx, "a password in the URL is visible to others; use --password-file");
        cover_password(ctx->operands[0]);
    } else if (status == EX_OK) {
        snprintf(prompt, sizeof prompt, "password of %.200s at %.300s: ", to.user, to.host);
        code = secret_get(ctx, &source, prompt, &password, &e);
        if (code != OK) status = fail(ctx, &e);
    }
    if (status == EX_OK)
        status = connect_and_talk(&r, &to, to.password ? to.password : buf_cstr(&password),
                                  buf_slice(&mailbox));
    secret_wipe(&password);
    buf_release(&mailbox);
    buf_release(&r.row);
    buf_release(&r.plain);
    buf_release(&r.bye);
    arena_release(&r.arena);
    free(r.boxes);
    free(r.uids);
    return status;
}

const struct applet applet_imap_list = {
    .name = "imap-list",
    .summary = "list, search, watch and fetch what an IMAP server has",
    .operands = "imaps://USER@HOST[:PORT]/[MAILBOX]",
    .opts = opts,
    .args_size = sizeof(struct args),
    .settings = "tls-ca resolver dnssec trust-anchor",
    .exits = exits,
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
