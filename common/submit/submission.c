#include "submit/submission.h"

#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/ascii.h"
#include "deliver/drop.h"
#include "mime/address.h"
#include "mime/encword.h"
#include "mime/header.h"
#include "mime/msgid.h"
#include "smtp/syntax.h"
#include "sys/clock.h"

/* What the encoding of a message that is not legal may grow to, and room for small ones. */
enum { ENCODED_GROWTH = 4, ENCODED_ROOM = 64 * 1024, PIECE = 16 * 1024 };

void submission_init(struct submission *s, struct conf *c, const struct log *log) {
    const char *tmp = getenv("TMPDIR");

    *s = (struct submission){.conf = c, .log = log};
    arena_init(&s->arena, SUBMISSION_ARENA_MAX);
    buf_init(&s->header, HEADER_BYTES_MAX);
    buf_init(&s->head, HEADER_BYTES_MAX + 64 * 1024);
    buf_init(&s->added, 64 * 1024);
    spool_init(&s->body, tmp && *tmp ? tmp : "/tmp");
    s->env.proto = S("local");
    s->env.client = arena_printf(&s->arena, "uid %u", (unsigned)getuid());
    queue_new_id(s->id);
}

void submission_release(struct submission *s) {
    spool_release(&s->body);
    buf_release(&s->header);
    buf_release(&s->head);
    buf_release(&s->added);
    arena_release(&s->arena);
}

/* --- addresses
 * ---------------------------------------------------------------------------------------------- */

static const char *login_name(void) {
    const struct passwd *pw = getpwuid(getuid());

    return pw ? pw->pw_name : "unknown";
}

/* "local@domain" for the envelope; a name alone is of the first domain. */
static enum err_code spec_of(struct submission *s, const struct address *ad, struct slice *out,
                             struct err *e) {
    struct address full = *ad;
    struct smtp_path path;
    struct buf text;
    enum err_code code;

    if (full.domain.n == 0) full.domain = slice_str(s->conf->domain.v[0]);
    buf_init(&text, 2048);
    if (!address_put_spec(&text, &full)) {
        buf_release(&text);
        return err_mail(e, ERR_SYNTAX, STATUS(5, 1, 3), "an address is too long");
    }
    *out = arena_copy(&s->arena, buf_slice(&text));
    buf_release(&text);
    code = smtp_address_parse(*out, SMTP_PATH_UTF8, &path, e);
    if (code != OK) return err_set(e, ERR_SYNTAX, "\"%.*s\" is not an address", SP(*out));
    if (path.is_utf8) s->env.is_smtputf8 = true;
    return OK;
}

static enum err_code add_rcpt(struct submission *s, struct slice address, struct err *e) {
    for (size_t i = 0; i < s->env.rcpt_count; i++)
        if (slice_eq(s->env.rcpts[i].address, address)) return OK;
    if (s->env.rcpt_count == ENVELOPE_RCPT_MAX)
        return err_set(e, ERR_SYNTAX, "more than %d recipients", ENVELOPE_RCPT_MAX);
    if (s->env.rcpt_count == s->rcpt_cap) {
        size_t cap = s->rcpt_cap ? s->rcpt_cap * 2 : 8;
        struct envelope_rcpt *more = arena_new(&s->arena, cap * sizeof *more);

        if (!more) return err_set(e, ERR_MEMORY, "no memory for recipients");
        if (s->env.rcpt_count) memcpy(more, s->env.rcpts, s->env.rcpt_count * sizeof *more);
        s->env.rcpts = more;
        s->rcpt_cap = cap;
    }
    s->env.rcpts[s->env.rcpt_count++] = (struct envelope_rcpt){.address = address};
    return OK;
}

/* Every mailbox of an address list. `lenient`: what cannot be read is passed over (header fields),
 * and kept in `unread` for whoever tells the user. */
static enum err_code add_list(struct submission *s, struct slice text, bool lenient,
                              struct err *e) {
    struct address_list list;
    enum err_code code = address_parse(&s->arena, text, &list, e);

    if (code != OK && code != ERR_SYNTAX) return err_set(e, ERR_LIMIT, "too many addresses");
    if (code != OK && lenient && s->unread.n == 0)
        s->unread = arena_copy(&s->arena, slice_trim(text));
    if (code != OK && !lenient)
        return err_set(e, ERR_SYNTAX, "\"%.*s\" is not an address", SP(text));
    for (size_t i = 0; i < list.n; i++) {
        struct slice spec;

        if (list.v[i].kind != ADDRESS_MAILBOX) continue;
        if (list.v[i].local.n == 0) { /* "<>" or "": nobody */
            if (lenient) continue;
            return err_set(e, ERR_SYNTAX, "\"%.*s\" is not an address", SP(text));
        }
        code = spec_of(s, &list.v[i], &spec, e);
        if (code == OK) code = add_rcpt(s, spec, e);
        if (code != OK) return code;
    }
    return OK;
}

enum err_code submission_rcpts(struct submission *s, struct slice text, struct err *e) {
    return add_list(s, text, false, e);
}

enum err_code submission_sender(struct submission *s, const char *text, struct err *e) {
    struct address own = {.kind = ADDRESS_MAILBOX, .local = slice_str(login_name())}, given;

    if (!text) return spec_of(s, &own, &s->env.sender, e);
    s->has_sender = true;
    if (slice_trim(slice_str(text)).n == 0 || strcmp(text, "<>") == 0) return OK;
    if (address_parse_one(&s->arena, slice_str(text), &given, e) != OK)
        return err_set(e, ERR_SYNTAX, "-f: \"%s\" is not an address", text);
    return spec_of(s, &given, &s->env.sender, e);
}

/* --- the message
 * -------------------------------------------------------------------------------------------- */

/* Reads standard input line by line, CRLF or LF or mixed, and hands out each as it goes over the
 * wire. */
struct reader {
    FILE *in;
    struct buf line; /* its ceiling bounds a line; `bad` tells that one was longer */
    bool dot_ends;
};

/* One line without its end. A CR inside stays data here; what sends it makes it harmless. False:
 * the end, or a line that is too long. */
static bool next_line(struct reader *r, struct slice *line) {
    int c;

    buf_reset(&r->line);
    while ((c = getc_unlocked(r->in)) != EOF) {
        if (!buf_addc(&r->line, (char)c)) return false;
        if (c == '\n') break;
    }
    if (r->line.n == 0) return false;
    *line = slice_chomp(buf_slice(&r->line));
    return !(r->dot_ends && slice_eq(*line, S(".")));
}

static bool is_field(struct slice line) {
    struct slice name, value;

    if (!slice_cut(line, ':', &name, &value)) return false;
    while (name.n > 0 && ascii_is_wsp(name.p[name.n - 1])) name.n--;
    return header_name_valid(name);
}

static enum err_code too_large(const struct submission *s, struct err *e) {
    return err_mail(e, ERR_LIMIT, STATUS(5, 3, 4),
                    "the message is larger than message-size-limit (%llu bytes)",
                    (unsigned long long)s->conf->message_size_limit);
}

static enum err_code put_body(struct submission *s, struct slice line, struct err *e) {
    s->size += line.n + 2;
    if (s->size > s->conf->message_size_limit) return too_large(s, e);
    legal_scan_add(&s->scan, line);
    legal_scan_add(&s->scan, S("\r\n"));
    if (spool_add(&s->body, line, e) != OK || spool_add(&s->body, S("\r\n"), e) != OK)
        return e->code;
    return OK;
}

enum err_code submission_read(struct submission *s, FILE *in, bool dot_ends, struct err *e) {
    struct reader r = {.in = in, .dot_ends = dot_ends};
    struct slice line;
    bool in_header = true, first = true;
    enum err_code code = OK;

    buf_init(&r.line, (size_t)s->conf->message_size_limit + 2);
    while (code == OK && next_line(&r, &line)) {
        if (first && (slice_starts(line, S("From ")) || slice_starts(line, S(">From "))))
            continue; /* mbox */
        if (in_header && line.n > 0 && (is_field(line) || (!first && ascii_is_wsp(line.p[0])))) {
            s->size += line.n + 2;
            buf_add(&s->header, line);
            buf_add(&s->header, S("\r\n"));
            legal_scan_add(&s->scan, line);
            legal_scan_add(&s->scan, S("\r\n"));
            if (s->header.bad)
                code = err_set(e, ERR_LIMIT, "the header is larger than %zu bytes", s->header.max);
        } else if (in_header) {
            /* The empty line, or a line that is no field: what follows is the body. */
            in_header = false;
            if (line.n > 0) code = put_body(s, line, e);
        } else {
            code = put_body(s, line, e);
        }
        first = false;
    }
    if (code == OK && ferror(r.in)) code = err_sys(e, "cannot read the message");
    if (code == OK && r.line.bad) code = too_large(s, e);
    buf_release(&r.line);
    return code;
}

enum err_code submission_text(const struct submission *s, struct buf *out, struct err *e) {
    enum err_code code = OK;
    size_t got = 1;

    buf_add(out, buf_slice(&s->header));
    buf_add(out, S("\r\n"));
    for (uint64_t at = 0; code == OK && got > 0; at += got) {
        char *room = buf_room(out, PIECE);

        if (!room) break;
        code = spool_read(&s->body, at, room, PIECE, &got, e);
        if (code != OK) return code;
        buf_grown(out, got);
    }
    if (!out->bad) return OK;
    return err_mail(e, ERR_LIMIT, STATUS(5, 3, 4), "the message is too large to be encoded");
}

enum err_code submission_replace(struct submission *s, struct slice text, struct err *e) {
    size_t head, body = header_end(text, &head);

    buf_reset(&s->header);
    buf_add(&s->header, slice_first(text, head));
    spool_reset(&s->body);
    s->scan = (struct legal_scan){0};
    legal_scan_add(&s->scan, text);
    s->size = text.n;
    if (s->header.bad)
        return err_set(e, ERR_LIMIT, "the header is larger than %zu bytes", s->header.max);
    return spool_add(&s->body, slice_from(text, body), e);
}

/* --- the header
 * --------------------------------------------------------------------------------------------- */

static bool has_resent(struct slice header) {
    struct header_iter it;
    struct header_field f;

    for (header_begin(&it, header); header_next(&it, &f);)
        if (slice_istarts(f.name, S("Resent-"))) return true;
    return false;
}

/* -t: the first block of Resent- fields stands for To, Cc and Bcc when there is one (RFC
 * 5322 3.6.6). */
enum err_code submission_header_rcpts(struct submission *s, struct err *e) {
    static const struct slice plain[] = {S_INIT("To"), S_INIT("Cc"), S_INIT("Bcc")};
    static const struct slice resent[] = {S_INIT("Resent-To"), S_INIT("Resent-Cc"),
                                          S_INIT("Resent-Bcc")};
    struct slice header = buf_slice(&s->header);
    bool is_resent = has_resent(header);
    struct header_iter it;
    struct header_field f;
    enum err_code code = OK;
    bool in_block = false;

    for (header_begin(&it, header); code == OK && header_next(&it, &f);) {
        bool is_resent_field = slice_istarts(f.name, S("Resent-"));

        if (is_resent && in_block && !is_resent_field) break;
        in_block |= is_resent_field;
        for (size_t i = 0; code == OK && i < 3; i++)
            if (slice_ieq(f.name, is_resent ? resent[i] : plain[i]))
                code = add_list(s, f.value, true, e);
    }
    if (code == OK && it.limited) code = err_set(e, ERR_LIMIT, "the header has too many fields");
    return code;
}

static bool is_hidden(struct slice name) {
    return slice_ieq(name, S("Bcc")) || slice_ieq(name, S("Resent-Bcc")) ||
           slice_ieq(name, S("Return-Path"));
}

/* The fields that were missing go into `added`. */
/* The sender; of what the null sender sends it is the mail system. */
static void put_own(struct submission *s) {
    if (s->env.sender.n) buf_addf(&s->added, "<%.*s>\r\n", SP(s->env.sender));
    else buf_addf(&s->added, "<MAILER-DAEMON@%s>\r\n", s->conf->hostname);
}

static void put_from(struct submission *s) {
    const struct passwd *pw = getpwuid(getuid());
    const char *name = s->full_name;
    char gecos[256] = "";

    if (!name && pw && pw->pw_gecos && !s->has_sender) {
        snprintf(gecos, sizeof gecos, "%.*s", (int)strcspn(pw->pw_gecos, ","), pw->pw_gecos);
        name = gecos;
    }
    buf_add(&s->added, S("From: "));
    if (name && *name) {
        struct buf phrase;
        size_t column = 6;

        buf_init(&phrase, 4096);
        encword_put_phrase(&phrase, slice_str(name), &column);
        buf_add(&s->added, buf_slice(&phrase));
        buf_add(&s->added, S(" "));
        put_own(s);
        buf_release(&phrase);
    } else {
        put_own(s);
    }
}

static bool has_mime_fields(struct slice header) {
    return header_count(header, S("MIME-Version")) > 0 ||
           header_count(header, S("Content-Type")) > 0 ||
           header_count(header, S("Content-Transfer-Encoding")) > 0;
}

/* Only when something is wrong is the message taken into memory. */
static enum err_code make_legal(struct submission *s, struct err *e) {
    size_t max = (size_t)s->conf->message_size_limit * ENCODED_GROWTH + ENCODED_ROOM;
    struct slice header = buf_slice(&s->header);
    struct arena arena;
    struct buf text, legal;
    enum err_code code;

    if (!(s->scan.flaws & (LEGAL_LONG_LINE | LEGAL_NUL)) &&
        !((s->scan.flaws & LEGAL_8BIT) && !has_mime_fields(header)))
        return OK;
    if (legal_is_signed(header)) return OK;
    arena_init(&arena, SUBMISSION_ARENA_MAX);
    buf_init(&text, max);
    buf_init(&legal, max);
    code = submission_text(s, &text, e);
    if (code == OK) code = legal_make(&arena, buf_slice(&text), false, &legal, e);
    if (code == OK && !slice_eq(buf_slice(&text), buf_slice(&legal))) {
        code = submission_replace(s, buf_slice(&legal), e);
        s->is_reencoded = true;
    }
    buf_release(&text);
    buf_release(&legal);
    arena_release(&arena);
    return code;
}

enum err_code submission_finish(struct submission *s, struct err *e) {
    struct slice header;
    struct header_iter it;
    struct header_field f;
    struct legal_scan scan = {0};
    char date[MOMENT_RFC5322_MAX];
    wall_t now = clock_wall();
    enum err_code code = make_legal(s, e);

    if (code != OK) return code;
    s->env.arrived = now;
    header = buf_slice(&s->header);
    moment_rfc5322(now, clock_offset(now), date);
    buf_addf(&s->head, "Received: by %s (postbag, user %u)\r\n\tid %s; %s\r\n", s->conf->hostname,
             (unsigned)getuid(), s->id, date);
    for (header_begin(&it, header); header_next(&it, &f);)
        if (!is_hidden(f.name)) buf_add(&s->head, slice_of(header.p + f.at, f.end - f.at));
    if (header_value(header, S("Date")).n == 0) buf_addf(&s->added, "Date: %s\r\n", date);
    if (header_value(header, S("From")).n == 0) put_from(s);
    if (header_value(header, S("Message-ID")).n == 0) {
        uint8_t random[MSGID_RANDOM];

        random_bytes(random, sizeof random);
        buf_add(&s->added, S("Message-ID: "));
        msgid_put(&s->added, now, random, slice_str(s->conf->hostname));
        buf_add(&s->added, S("\r\n"));
    }
    buf_add(&s->head, buf_slice(&s->added));
    buf_add(&s->head, S("\r\n"));
    legal_scan_add(&scan, buf_slice(&s->added));
    s->env.is_8bit = (s->scan.flaws | scan.flaws) & LEGAL_8BIT;
    if (s->head.bad || s->added.bad) return err_set(e, ERR_LIMIT, "the header is too large");
    return OK;
}

enum err_code submission_store(struct submission *s, enum submission_where *where, struct err *e) {
    const char *dir = conf_path(s->conf, "queue"), *drop = drop_dir(s->conf);
    struct queue *q;
    struct err why = {0};
    enum err_code code;

    if (!dir || !drop) return err_set(e, ERR_MEMORY, "no memory");
    code = queue_open(dir, s->log, &q, e);
    if (code == OK) {
        code = queue_put(q, &s->env, buf_slice(&s->head), &s->body, s->id, e);
        queue_close(q);
        *where = SUBMISSION_QUEUED;
        return code;
    }
    if (code != ERR_DENIED) return code;
    code = drop_put(drop, &s->env, buf_slice(&s->head), &s->body, s->id, &why);
    *where = SUBMISSION_DROPPED;
    if (code == OK) return OK;
    if (code == ERR_NOT_FOUND || code == ERR_DENIED)
        return err_set(e, ERR_DENIED,
                       "this user may not write the queue in %s, and there is no drop-dir for "
                       "others",
                       dir);
    if (e) *e = why;
    return code;
}
