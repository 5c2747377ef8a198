/* sendmail: the sendmail(8) contract. A message on standard input goes into the queue, durable when
 * this exits; or, with --now, straight to its hosts. RFC 5322 (header), RFC 3461 (DSN), RFC 6409 8
 * (what a submitter may add). */
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/ascii.h"
#include "cli/applet.h"
#include "cli/exit.h"
#include "cli/trace.h"
#include "deliver/attempt.h"
#include "deliver/rcpt.h"
#include "mime/address.h"
#include "mime/encword.h"
#include "mime/header.h"
#include "mime/msgid.h"
#include "queue/queue.h"
#include "serve/instance.h"
#include "smtp/param.h"
#include "sys/clock.h"
#include "sys/file.h"

struct args {
    const char *mode, *from, *from2, *full_name, *notify, *ret, *envid, *body, *queue, *tag,
        *protocol, *xfile, *dfile, *verp, *hops;
    struct opt_list options, long_options;
    bool recipients, dot, now, verbose, gateway, aliases, metoo, verbose_n, utf8, help_ignored,
        json;
};

static const struct opt opts[] = {
    FLAG('t', NULL, recipients, "take recipients from To, Cc and Bcc, beside those given"),
    FLAG('i', NULL, dot, "a line with only a dot does not end the message"),
    TEXT('f', NULL, from, "ADDRESS", "envelope sender; '' or <> is the null sender"),
    TEXT('r', NULL, from2, "ADDRESS", "the same"),
    TEXT('F', NULL, full_name, "NAME", "full name for a From field that is made"),
    PREFIX('b', mode, "MODE",
           "m deliver (default), s SMTP on standard input, p list the queue, i check aliases, v "
           "verify addresses, d serve"),
    FLAG('I', NULL, aliases, NULL), /* as -bi */
    MAYBE('q', NULL, queue, "TIME", "run the queue once, as queue-run"),
    TEXT('N', NULL, notify, "WHEN", "DSN: never, or success,failure,delay"),
    TEXT('R', NULL, ret, "WHAT", "DSN: return full or hdrs"),
    TEXT('V', NULL, envid, "ID", "DSN: envelope identifier"),
    FLAG('v', NULL, verbose, "show the dialogue on standard error"),
    FLAG(0, "now", now, "deliver now; what fails for now goes into the queue"),
    FLAG(0, "json", json, "one JSON object per recipient on standard output (with --now)"),
    LIST('o', NULL, options, "OPTION",
         "historic options; i, em, ee, ... are known, others have no effect"),
    LIST('O', NULL, long_options, "OPTION=VALUE", "historic options without effect"),
    TEXT('B', NULL, body, "TYPE", "7BIT or 8BITMIME; the truth is found in the message"),
    TEXT('L', NULL, tag, "TAG", NULL),
    TEXT('p', NULL, protocol, "PROTOCOL", NULL),
    TEXT('X', NULL, xfile, "FILE", NULL),
    TEXT('D', NULL, dfile, "FILE", NULL),
    TEXT('h', NULL, hops, "N", NULL),
    FLAG('G', NULL, gateway, NULL),
    FLAG('m', NULL, metoo, NULL),
    FLAG('n', NULL, verbose_n, NULL),
    FLAG('U', NULL, utf8, NULL),
    MAYBE('A', NULL, verp, "c|m", NULL),
    OPT_END,
};

static const struct exit_doc exits[] = {
    {0, "the message is queued on disk, or with --now delivered or queued"},
    {64, "the command line is wrong, or there is no recipient"},
    {65, "an address or the message cannot be used"},
    {67, "-bv: there is no such user"},
    {69, "--now: a recipient was refused for good"},
    {75, "try again: no space, or --now could neither deliver nor queue"},
    {77, "the queue may not be written"},
    {78, "a setting is wrong"},
    {0, NULL},
};

enum { RANDOM_ID = MSGID_RANDOM, ARENA_MAX = 64 * 1024 * 1024, LINE_CHUNK = 64 * 1024 };

struct mail {
    struct context *ctx;
    const struct args *args;
    struct arena arena;
    struct buf header; /* the fields as they came, CRLF lines, without the empty line */
    struct buf head;   /* what is sent in front of the body */
    struct spool body;
    struct envelope env;
    size_t rcpt_cap;
    uint64_t size;
    bool is_8bit;
};

/* --- addresses
 * ---------------------------------------------------------------------------------------------- */

static const char *login_name(void) {
    const struct passwd *pw = getpwuid(getuid());

    return pw ? pw->pw_name : "unknown";
}

/* "local@domain" for the envelope; a name alone is of the first domain. */
static enum err_code spec_of(struct mail *m, const struct address *ad, struct slice *out,
                             struct err *e) {
    struct address full = *ad;
    struct smtp_path path;
    struct buf text;
    enum err_code code;

    if (full.domain.n == 0) full.domain = slice_str(m->ctx->conf->domain.v[0]);
    buf_init(&text, 2048);
    if (!address_put_spec(&text, &full)) {
        buf_release(&text);
        return err_mail(e, ERR_SYNTAX, STATUS(5, 1, 3), "an address is too long");
    }
    *out = arena_copy(&m->arena, buf_slice(&text));
    buf_release(&text);
    code = smtp_address_parse(*out, SMTP_PATH_UTF8, &path, e);
    if (code != OK) return err_set(e, ERR_SYNTAX, "\"%.*s\" is not an address", SP(*out));
    if (path.is_utf8) m->env.is_smtputf8 = true;
    return OK;
}

static enum err_code add_rcpt(struct mail *m, struct slice address, struct err *e) {
    for (size_t i = 0; i < m->env.rcpt_count; i++)
        if (slice_eq(m->env.rcpts[i].address, address)) return OK;
    if (m->env.rcpt_count == ENVELOPE_RCPT_MAX)
        return err_set(e, ERR_SYNTAX, "more than %d recipients", ENVELOPE_RCPT_MAX);
    if (m->env.rcpt_count == m->rcpt_cap) {
        size_t cap = m->rcpt_cap ? m->rcpt_cap * 2 : 8;
        struct envelope_rcpt *more = arena_new(&m->arena, cap * sizeof *more);

        if (!more) return err_set(e, ERR_MEMORY, "no memory for recipients");
        if (m->env.rcpt_count) memcpy(more, m->env.rcpts, m->env.rcpt_count * sizeof *more);
        m->env.rcpts = more;
        m->rcpt_cap = cap;
    }
    m->env.rcpts[m->env.rcpt_count++] = (struct envelope_rcpt){.address = address};
    return OK;
}

/* Every mailbox of an address list. `lenient`: what cannot be read is passed over (header fields).
 */
static enum err_code add_list(struct mail *m, struct slice text, bool lenient, struct err *e) {
    struct address_list list;
    enum err_code code = address_parse(&m->arena, text, &list, e);

    if (code != OK && !lenient)
        return err_set(e, ERR_SYNTAX, "\"%.*s\" is not an address", SP(text));
    for (size_t i = 0; i < list.n; i++) {
        struct slice spec;

        if (list.v[i].kind != ADDRESS_MAILBOX) continue;
        if (list.v[i].local.n == 0) { /* "<>" or "": nobody */
            if (lenient) continue;
            return err_set(e, ERR_SYNTAX, "\"%.*s\" is not an address", SP(text));
        }
        code = spec_of(m, &list.v[i], &spec, e);
        if (code == OK) code = add_rcpt(m, spec, e);
        if (code != OK) return code;
    }
    return OK;
}

static enum err_code set_sender(struct mail *m, struct err *e) {
    const char *text = m->args->from ? m->args->from : m->args->from2;
    struct address own = {.kind = ADDRESS_MAILBOX, .local = slice_str(login_name())}, given;

    if (!text) return spec_of(m, &own, &m->env.sender, e);
    if (slice_trim(slice_str(text)).n == 0 || strcmp(text, "<>") == 0) return OK;
    if (address_parse_one(&m->arena, slice_str(text), &given, e) != OK)
        return err_set(e, ERR_SYNTAX, "-f: \"%s\" is not an address", text);
    return spec_of(m, &given, &m->env.sender, e);
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

static enum err_code too_large(const struct mail *m, struct err *e) {
    return err_mail(e, ERR_LIMIT, STATUS(5, 3, 4),
                    "the message is larger than message-size-limit (%llu bytes)",
                    (unsigned long long)m->ctx->conf->message_size_limit);
}

static enum err_code put_body(struct mail *m, struct slice line, struct err *e) {
    m->size += line.n + 2;
    if (m->size > m->ctx->conf->message_size_limit) return too_large(m, e);
    for (size_t i = 0; i < line.n && !m->is_8bit; i++) m->is_8bit = (unsigned char)line.p[i] > 127;
    if (spool_add(&m->body, line, e) != OK || spool_add(&m->body, S("\r\n"), e) != OK)
        return e->code;
    return OK;
}

static enum err_code read_message(struct mail *m, struct err *e) {
    struct reader r = {.in = m->ctx->in, .dot_ends = !m->args->dot};
    struct slice line;
    bool in_header = true, first = true;
    enum err_code code = OK;

    buf_init(&r.line, (size_t)m->ctx->conf->message_size_limit + 2);
    for (size_t i = 0; i < m->args->options.n; i++)
        if (strcmp(m->args->options.v[i], "i") == 0) r.dot_ends = false;
    while (code == OK && next_line(&r, &line)) {
        if (first && (slice_starts(line, S("From ")) || slice_starts(line, S(">From "))))
            continue; /* mbox */
        if (in_header && line.n > 0 && (is_field(line) || (!first && ascii_is_wsp(line.p[0])))) {
            m->size += line.n + 2;
            buf_add(&m->header, line);
            buf_add(&m->header, S("\r\n"));
            if (m->header.bad)
                code = err_set(e, ERR_LIMIT, "the header is larger than %zu bytes", m->header.max);
        } else if (in_header) {
            /* The empty line, or a line that is no field: what follows is the body. */
            in_header = false;
            if (line.n > 0) code = put_body(m, line, e);
        } else {
            code = put_body(m, line, e);
        }
        first = false;
    }
    if (code == OK && ferror(r.in)) code = err_sys(e, "cannot read the message");
    if (code == OK && r.line.bad) code = too_large(m, e);
    buf_release(&r.line);
    return code;
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
static enum err_code header_recipients(struct mail *m, struct err *e) {
    static const struct slice plain[] = {S_INIT("To"), S_INIT("Cc"), S_INIT("Bcc")};
    static const struct slice resent[] = {S_INIT("Resent-To"), S_INIT("Resent-Cc"),
                                          S_INIT("Resent-Bcc")};
    struct slice header = buf_slice(&m->header);
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
                code = add_list(m, f.value, true, e);
    }
    return code;
}

static bool is_hidden(struct slice name) {
    return slice_ieq(name, S("Bcc")) || slice_ieq(name, S("Resent-Bcc")) ||
           slice_ieq(name, S("Return-Path"));
}

static void put_from(struct mail *m) {
    const struct passwd *pw = getpwuid(getuid());
    const char *name = m->args->full_name;
    char gecos[256] = "";

    if (!name && pw && pw->pw_gecos && !m->args->from && !m->args->from2) {
        snprintf(gecos, sizeof gecos, "%.*s", (int)strcspn(pw->pw_gecos, ","), pw->pw_gecos);
        name = gecos;
    }
    buf_add(&m->head, S("From: "));
    if (name && *name) {
        struct buf phrase;
        size_t column = 6;

        buf_init(&phrase, 4096);
        encword_put_phrase(&phrase, slice_str(name), &column);
        buf_add(&m->head, buf_slice(&phrase));
        buf_addf(&m->head, " <%.*s>\r\n", SP(m->env.sender));
        buf_release(&phrase);
    } else {
        buf_addf(&m->head, "<%.*s>\r\n", SP(m->env.sender));
    }
}

static enum err_code make_head(struct mail *m, const char *id, struct err *e) {
    const struct conf *c = m->ctx->conf;
    struct slice header = buf_slice(&m->header);
    struct header_iter it;
    struct header_field f;
    char date[MOMENT_RFC5322_MAX];
    wall_t now = m->env.arrived;

    moment_rfc5322(now, clock_offset(now), date);
    buf_addf(&m->head, "Received: by %s (postbag, user %u)\r\n\tid %s; %s\r\n", c->hostname,
             (unsigned)getuid(), id, date);
    for (header_begin(&it, header); header_next(&it, &f);)
        if (!is_hidden(f.name)) buf_add(&m->head, slice_of(header.p + f.at, f.end - f.at));
    if (header_value(header, S("Date")).n == 0) buf_addf(&m->head, "Date: %s\r\n", date);
    if (header_value(header, S("From")).n == 0 && m->env.sender.n > 0) put_from(m);
    if (header_value(header, S("Message-ID")).n == 0) {
        uint8_t random[RANDOM_ID];

        random_bytes(random, sizeof random);
        buf_add(&m->head, S("Message-ID: "));
        msgid_put(&m->head, now, random, slice_str(c->hostname));
        buf_add(&m->head, S("\r\n"));
    }
    buf_add(&m->head, S("\r\n"));
    for (size_t i = 0; i < m->head.n && !m->is_8bit; i++)
        m->is_8bit = (unsigned char)m->head.p[i] > 127;
    m->env.is_8bit = m->is_8bit;
    return m->head.bad ? err_set(e, ERR_LIMIT, "the header is too large") : OK;
}

/* --- sending
 * ------------------------------------------------------------------------------------------------
 */

static enum err_code enqueue(struct mail *m, char id[QUEUE_ID_MAX], struct err *e) {
    const char *dir = conf_path(m->ctx->conf, "queue");
    struct queue *q;
    enum err_code code =
        dir ? queue_open(dir, &m->ctx->log, &q, e) : err_set(e, ERR_MEMORY, "no memory");

    if (code != OK) return code;
    code = queue_put(q, &m->env, buf_slice(&m->head), &m->body, id, e);
    queue_close(q);
    return code;
}

static void report(struct mail *m, struct slice rcpt, const struct verdict *v) {
    static const char *const words[] = {"delivered", "deferred", "failed"};
    struct buf text;

    buf_init(&text, 8192);
    if (m->args->json) {
        buf_add(&text, S("{\"recipient\":\""));
        for (size_t i = 0; i < rcpt.n; i++)
            if (rcpt.p[i] != '"' && rcpt.p[i] != '\\' && !ascii_is_ctl(rcpt.p[i]))
                buf_addc(&text, rcpt.p[i]);
        buf_add(&text, S("\","));
        verdict_json(v, 1, clock_wall(), &text);
        /* The record's own brace is left out: its members join these. */
        for (size_t i = 14; i + 1 < text.n; i++) {
            if (text.p[i] == ',' && text.p[i + 1] == '{') {
                memmove(text.p + i + 1, text.p + i + 2, text.n - i - 2);
                text.n--;
                break;
            }
        }
        fprintf(m->ctx->out, "%.*s\n", SP(buf_slice(&text)));
    } else if (v->class != SMTP_CLASS_OK || m->args->verbose) {
        verdict_reply(v, &text);
        fprintf(m->ctx->err, "postbag %s: %.*s: %s: %s%s%.*s\n", m->ctx->name, SP(rcpt),
                words[v->class], v->host, v->host[0] ? ": " : "", SP(buf_slice(&text)));
    }
    buf_release(&text);
}

/* The message in one file, for the hop that reads it. */
static int make_file(struct mail *m, struct err *e) {
    char path[] = "/tmp/postbag.XXXXXX", chunk[16 * 1024];
    const char *tmp = getenv("TMPDIR");
    int fd = open(tmp && *tmp ? tmp : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    uint64_t at = 0;
    size_t got;

    if (fd < 0) {
        fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0) unlink(path);
    }
    if (fd < 0) {
        err_sys(e, "cannot make a temporary file");
        return -1;
    }
    if (file_write(fd, buf_slice(&m->head), "a temporary file", e) != OK) goto failed;
    do {
        if (spool_read(&m->body, at, chunk, sizeof chunk, &got, e) != OK ||
            file_write(fd, slice_of(chunk, got), "a temporary file", e) != OK)
            goto failed;
        at += got;
    } while (got > 0);
    return fd;
failed:
    close(fd);
    return -1;
}

struct outcome {
    size_t failed, later;
    struct err first; /* why the first of them */
};

static void attempt_domain(struct mail *m, struct courier *c, size_t first, bool *done,
                           struct verdict *verdicts, int fd, bool *later, struct outcome *out) {
    struct slice address = m->env.rcpts[first].address;
    struct slice domain = slice_from(address, slice_rchr(address, '@') + 1);
    size_t *rcpts = arena_new(&m->arena, m->env.rcpt_count * sizeof *rcpts);
    struct attempt a = {.env = &m->env,
                        .rcpts = rcpts,
                        .verdicts = verdicts,
                        .body = {fd, 0, m->head.n + m->body.size}};
    struct route route;
    struct err e = {0};

    if (!rcpts) return;
    for (size_t i = first; i < m->env.rcpt_count; i++) {
        struct slice other = m->env.rcpts[i].address;

        if (done[i] || (!c->conf->relay.host &&
                        !slice_ieq(slice_from(other, slice_rchr(other, '@') + 1), domain)))
            continue;
        done[i] = true;
        rcpts[a.count++] = i;
    }
    if (route_find(c->resolver, c->conf, domain, true, &m->arena, &route, &e) != OK) {
        route.code = e.code;
        route.err = e;
    }
    if (route.code == OK) attempt_run(c, &route, NULL, &a);
    else attempt_no_route(&route, &a);
    for (size_t k = 0; k < a.count; k++) {
        const struct verdict *v = &verdicts[k];

        report(m, m->env.rcpts[rcpts[k]].address, v);
        if (v->class == SMTP_CLASS_TEMPORARY) later[rcpts[k]] = true, out->later++;
        if (v->class == SMTP_CLASS_PERMANENT) out->failed++;
    }
}

/* --now: each domain in turn; those that failed for now stay in the envelope and go into the queue.
 */
static int send_now(struct mail *m, char id[QUEUE_ID_MAX]) {
    struct context *ctx = m->ctx;
    size_t n = m->env.rcpt_count, kept = 0;
    bool *done = arena_new(&m->arena, n * sizeof *done),
         *later = arena_new(&m->arena, n * sizeof *later);
    struct verdict *verdicts = arena_new(&m->arena, n * sizeof *verdicts);
    struct outcome out = {0};
    struct trace trace = {.out = ctx->err};
    struct directory d;
    struct courier c;
    struct err e = {0};
    int fd = -1;
    enum err_code code;

    if (!done || !later || !verdicts) return failf(ctx, EX_OSERR, "no memory for an attempt");
    code = courier_open(ctx->conf, &ctx->log, &c, &e);
    if (code != OK) return fail(ctx, &e);
    ctx->log.level = LEVEL_ERROR;
    if (m->args->verbose) c.on_bytes = trace_bytes, c.on_user = &trace;
    code = directory_open(ctx->conf, &d, &e);
    if (code == OK) {
        fd = make_file(m, &e);
        for (size_t i = 0; fd >= 0 && i < n; i++) {
            struct slice address = m->env.rcpts[i].address;
            struct slice domain = slice_from(address, slice_rchr(address, '@') + 1);

            if (done[i]) continue;
            /* Mailboxes of this host are the queue's business, unless a relay takes all. */
            if (!ctx->conf->relay.host && directory_is_local(&d, domain))
                done[i] = later[i] = true, out.later++;
            else attempt_domain(m, &c, i, done, verdicts, fd, later, &out);
        }
        directory_close(&d);
    }
    courier_close(&c);
    if (fd < 0) return fail(ctx, &e);
    close(fd);
    for (size_t i = 0; i < n; i++)
        if (later[i]) m->env.rcpts[kept++] = m->env.rcpts[i];
    m->env.rcpt_count = kept;
    if (kept > 0 && enqueue(m, id, &e) != OK)
        return failf(ctx, EX_TEMPFAIL, "%zu recipient%s failed for now, and queueing too: %s", kept,
                     kept == 1 ? "" : "s", e.msg);
    if (kept > 0 && !m->args->json)
        fprintf(ctx->err, "postbag %s: queued as %s for another try\n", ctx->name, id);
    return out.failed ? EX_UNAVAILABLE : EX_OK;
}

static enum err_code set_dsn(struct mail *m, struct err *e) {
    unsigned notify = 0;

    if (m->args->notify) {
        struct buf upper;

        buf_init(&upper, 64);
        for (const char *p = m->args->notify; *p; p++) buf_addc(&upper, ascii_upper(*p));
        if (upper.bad || !smtp_notify_parse(buf_slice(&upper), &notify)) {
            buf_release(&upper);
            return err_set(e, ERR_USAGE, "-N takes never, or success,failure,delay, not \"%s\"",
                           m->args->notify);
        }
        buf_release(&upper);
    }
    for (size_t i = 0; i < m->env.rcpt_count; i++) m->env.rcpts[i].notify = (uint8_t)notify;
    if (m->args->ret) {
        if (slice_ieq(slice_str(m->args->ret), S("full"))) m->env.ret = RET_FULL;
        else if (slice_ieq(slice_str(m->args->ret), S("hdrs"))) m->env.ret = RET_HDRS;
        else return err_set(e, ERR_USAGE, "-R takes full or hdrs, not \"%s\"", m->args->ret);
    }
    if (m->args->envid) {
        struct buf xtext;

        buf_init(&xtext, 100);
        if (!smtp_xtext_put(&xtext, slice_str(m->args->envid))) {
            buf_release(&xtext);
            return err_set(e, ERR_USAGE, "-V: the identifier is longer than 100 characters");
        }
        m->env.envid = arena_copy(&m->arena, buf_slice(&xtext));
        buf_release(&xtext);
    }
    return OK;
}

static int send_message(struct context *ctx, const struct args *args) {
    struct mail m = {.ctx = ctx, .args = args};
    char id[QUEUE_ID_MAX] = "";
    const char *tmp = getenv("TMPDIR");
    struct err e = {0};
    enum err_code code = OK;
    int status = EX_OK;

    arena_init(&m.arena, ARENA_MAX);
    buf_init(&m.header, HEADER_BYTES_MAX);
    buf_init(&m.head, HEADER_BYTES_MAX + 64 * 1024);
    spool_init(&m.body, tmp && *tmp ? tmp : "/tmp");
    m.env.proto = S("local");
    m.env.client = arena_printf(&m.arena, "uid %u", (unsigned)getuid());
    code = set_sender(&m, &e);
    for (int i = 0; code == OK && i < ctx->operand_count; i++) {
        const char *text = ctx->operands[i];

        /* Options behind an address are not options; mail to "-f" is never what was meant. */
        if (text[0] == '-' && !strchr(text, '@'))
            code = err_set(&e, ERR_USAGE,
                           "\"%s\" behind an address is no address; put options first", text);
        else code = add_list(&m, slice_str(text), false, &e);
    }
    if (code == OK && m.env.rcpt_count == 0 && !args->recipients)
        code = err_set(&e, ERR_USAGE, "no recipient: name some, or use -t");
    if (code == OK) code = read_message(&m, &e);
    if (code == OK && args->recipients) code = header_recipients(&m, &e);
    if (code == OK && m.env.rcpt_count == 0)
        code = err_set(&e, ERR_SYNTAX, "the header names no recipient");
    if (code == OK) code = set_dsn(&m, &e);
    m.env.arrived = clock_wall();
    queue_new_id(id);
    if (code == OK) code = make_head(&m, id, &e);
    if (code != OK) status = fail(ctx, &e);
    else if (args->now) status = send_now(&m, id);
    else if (enqueue(&m, id, &e) != OK) status = fail(ctx, &e);
    spool_release(&m.body);
    buf_release(&m.header);
    buf_release(&m.head);
    arena_release(&m.arena);
    return status;
}

/* --- the other modes
 * ---------------------------------------------------------------------------------------- */

static int check_aliases(struct context *ctx) {
    struct aliases *a;
    struct err e = {0};
    size_t count = 0;
    enum err_code code = aliases_new(ctx->conf->aliases, &a, &e);

    if (code != OK) return fail(ctx, &e);
    code = aliases_check(a, &count, &e);
    aliases_free(a);
    if (code != OK) return fail(ctx, &e);
    fprintf(ctx->out, "%s: %zu alias%s\n", ctx->conf->aliases, count, count == 1 ? "" : "es");
    return EX_OK;
}

static int verify(struct context *ctx) {
    struct directory d;
    struct arena a;
    struct err e = {0};
    int status = EX_OK;

    if (ctx->operand_count == 0) return failf(ctx, EX_USAGE, "-bv wants addresses");
    if (directory_open(ctx->conf, &d, &e) != OK) return fail(ctx, &e);
    arena_init(&a, ARENA_MAX);
    for (int i = 0; i < ctx->operand_count; i++) {
        struct rcpt_end *ends;
        size_t count;

        if (directory_expand(&d, slice_str(ctx->operands[i]), &a, &ends, &count, &e) != OK) {
            status = fail(ctx, &e);
            continue;
        }
        for (size_t k = 0; k < count; k++)
            fprintf(ctx->out, "%s: %s %.*s\n", ctx->operands[i],
                    ends[k].is_dead    ? "no such user"
                    : ends[k].is_local ? "mailbox"
                                       : "elsewhere",
                    SP(ends[k].address));
    }
    arena_release(&a);
    directory_close(&d);
    return status;
}

static int smtp_on_stdio(struct context *ctx) {
    struct instance i;
    struct err e = {0};
    bool made;

    ctx->log.level = LEVEL_ERROR;
    if (instance_open(ctx->conf, &ctx->log, false, &i, &made, &e) != OK) return fail(ctx, &e);
    i.server.trusts_stdio = true;
    if (instance_stdio(&i, SERVICE_SUBMISSION, NULL, &e) != OK) {
        instance_close(&i);
        return fail(ctx, &e);
    }
    instance_close(&i);
    return EX_OK;
}

/* Another applet with the same settings. */
static int become(struct context *ctx, const char *name) {
    char data[4200];
    char *argv[4] = {NULL};
    int argc = 0;

    snprintf(data, sizeof data, "--data=%s", ctx->conf->data);
    argv[argc++] = (char *)(uintptr_t)name;
    if (ctx->conf->file) {
        argv[argc++] = (char *)(uintptr_t) "-C";
        argv[argc++] = (char *)(uintptr_t)ctx->conf->file;
    } else {
        argv[argc++] = data;
    }
    return applet_main(applet_find(name), argc, argv);
}

static int run(struct context *ctx, const void *p) {
    const struct args *args = p;
    const char *mode = args->mode ? args->mode : "m";

    if (strcmp(ctx->name, "newaliases") == 0 || args->aliases) return check_aliases(ctx);
    if (args->queue && !args->mode) return become(ctx, "queue-run");
    if (strlen(mode) == 1) {
        switch (mode[0]) {
        case 'm': return send_message(ctx, args);
        case 's': return smtp_on_stdio(ctx);
        case 'p': return become(ctx, "mailq");
        case 'i': return check_aliases(ctx);
        case 'v': return verify(ctx);
        case 'd':
        case 'D':
        case 'l': return become(ctx, "serve");
        default: break;
        }
    }
    return failf(ctx, EX_USAGE, "-b%s is not supported; use -bm, -bs, -bp, -bi, -bv or -bd", mode);
}

const struct applet applet_sendmail = {
    .name = "sendmail",
    .aliases = "newaliases",
    .summary = "send the message on standard input",
    .operands = "[RECIPIENT...]",
    .opts = opts,
    .args_size = sizeof(struct args),
    .settings =
        "data hostname domain relay relay-tls tls-ca resolver dnssec trust-anchor accounts aliases "
        "mx-port message-size-limit plaintext-auth log",
    .exits = exits,
    .max_operands = -1,
    .stops_at_operand = true,
    .run = run,
};
