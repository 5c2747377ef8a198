#include "imap/client.h"

#include <stdlib.h>

#include "base/num.h"
#include "base/utf7.h"
#include "base/utf8.h"
#include "imap/client_impl.h"
#include "imap/render.h"
#include "sasl/client.h"

enum { OUT_MAX = 1024 * 1024 };

struct imap_client *imap_client_new(const struct imap_client_config *cfg, mono_t now) {
    struct imap_client *c = calloc(1, sizeof *c);

    if (!c) return NULL;
    c->cfg = *cfg;
    buf_init(&c->user, 4096);
    buf_init(&c->password, 16 * 1024);
    buf_init(&c->caps, 64 * 1024);
    buf_init(&c->out, OUT_MAX);
    buf_init(&c->line, IMAP_CL_LINE_MAX);
    buf_init(&c->bye, 256);
    buf_init(&c->stream_section, 64 * 1024);
    buf_init(&c->piece, IMAP_CL_CHUNK_MAX);
    arena_init(&c->arena, CL_ARENA_MAX);
    buf_add(&c->user, cfg->user);
    buf_add(&c->password, cfg->password);
    c->events = calloc(CL_EVENTS_MAX, sizeof *c->events);
    c->now = c->active_at = now;
    c->is_in = cfg->is_logged_in;
    if (!c->events || c->user.bad || c->password.bad) {
        imap_client_free(c);
        return NULL;
    }
    if (cfg->is_logged_in) {
        buf_add(&c->out, S("P1 CAPABILITY\r\n"));
        c->tag = 1;
        c->phase = CL_CAPABILITY_IN;
    }
    return c;
}

void imap_client_free(struct imap_client *c) {
    if (!c) return;
    if (c->password.p) explicit_bzero(c->password.p, c->password.cap);
    if (c->out.p) explicit_bzero(c->out.p, c->out.cap);
    buf_release(&c->user);
    buf_release(&c->password);
    buf_release(&c->caps);
    buf_release(&c->out);
    buf_release(&c->line);
    buf_release(&c->bye);
    buf_release(&c->stream_section);
    buf_release(&c->piece);
    arena_release(&c->arena);
    free(c->events);
    free(c);
}

void cl_fail(struct imap_client *c, enum err_code code, const char *why) {
    if (c->phase == CL_OVER) return;
    err_set(&c->failure, code, "%s", why);
    c->phase = CL_OVER;
    buf_reset(&c->out);
    c->out_sent = 0;
}

struct imap_client_event *cl_event(struct imap_client *c, enum imap_client_event_type t) {
    struct imap_client_event *ev;

    if (c->n_events == CL_EVENTS_MAX) {
        cl_fail(c, ERR_LIMIT, "the server put too much into one response");
        c->n_events--;
    }
    ev = &c->events[c->n_events++];
    *ev = (struct imap_client_event){.type = t};
    return ev;
}

/* --- commands ----------------------------------------------------------------------------------
 */

static void send(struct imap_client *c, enum cl_phase phase, struct slice text) {
    c->phase = phase;
    c->untagged = 0;
    c->active_at = c->now;
    buf_addf(&c->out, "P%u ", ++c->tag);
    buf_add(&c->out, text);
    buf_add(&c->out, S("\r\n"));
    if (c->out.bad) cl_fail(c, ERR_LIMIT, "the command is too long");
}

bool imap_client_is_free(const struct imap_client *c) { return c->phase == CL_FREE; }
struct slice imap_client_capabilities(const struct imap_client *c) {
    return buf_slice(&c->caps);
}

bool imap_client_can(const struct imap_client *c, struct slice capability) {
    struct slice rest = buf_slice(&c->caps), word;

    while (slice_word(&rest, &word)) {
        if (slice_ieq(word, capability)) return true;
    }
    return false;
}

static bool is_sendable(struct slice s) {
    for (size_t i = 0; i < s.n; i++) {
        if (!s.p[i] || s.p[i] == '\r' || s.p[i] == '\n') return false;
    }
    return true;
}

static bool command(struct imap_client *c, enum cl_phase phase, struct slice text) {
    if (c->phase != CL_FREE || !is_sendable(text)) return false;
    send(c, phase, text);
    return true;
}

/* A mailbox name as a quoted string in modified UTF-7. */
static void put_name(struct buf *b, struct slice utf8) {
    struct buf t;

    buf_init(&t, 64 * 1024);
    if (!utf7_put(&t, utf8)) {
        b->bad = true;
    } else {
        buf_addc(b, '"');
        for (size_t i = 0; i < t.n; i++) {
            if (t.p[i] == '"' || t.p[i] == '\\') buf_addc(b, '\\');
            buf_addc(b, t.p[i]);
        }
        buf_addc(b, '"');
    }
    buf_release(&t);
}

static bool command_end(struct imap_client *c, struct buf *b) {
    bool is_ok = !b->bad && command(c, CL_BUSY, buf_slice(b));
    buf_release(b);
    return is_ok;
}

static bool list(struct imap_client *c, struct slice verb, struct slice reference,
                 struct slice pattern) {
    struct buf b;

    buf_init(&b, OUT_MAX);
    buf_add(&b, verb);
    put_name(&b, reference);
    buf_addc(&b, ' ');
    put_name(&b, pattern);
    return command_end(c, &b);
}

bool imap_client_list(struct imap_client *c, struct slice reference, struct slice pattern) {
    return list(c, S("LIST "), reference, pattern);
}
bool imap_client_lsub(struct imap_client *c, struct slice reference, struct slice pattern) {
    return list(c, S("LSUB "), reference, pattern);
}

bool imap_client_status(struct imap_client *c, struct slice mailbox, struct slice items) {
    struct buf b;

    buf_init(&b, OUT_MAX);
    buf_add(&b, S("STATUS "));
    put_name(&b, mailbox);
    buf_addf(&b, " (%.*s)", SP(items));
    return command_end(c, &b);
}

bool imap_client_select(struct imap_client *c, struct slice mailbox, bool is_read_only) {
    struct buf b;

    buf_init(&b, OUT_MAX);
    buf_add(&b, is_read_only ? S("EXAMINE ") : S("SELECT "));
    put_name(&b, mailbox);
    return command_end(c, &b);
}

bool imap_client_search(struct imap_client *c, struct slice criteria) {
    struct buf b;

    buf_init(&b, OUT_MAX);
    buf_add(&b, utf8_is_ascii(criteria) ? S("UID SEARCH ") : S("UID SEARCH CHARSET UTF-8 "));
    buf_add(&b, criteria);
    return command_end(c, &b);
}

bool imap_client_fetch(struct imap_client *c, struct slice uids, struct slice items) {
    struct buf b;

    buf_init(&b, OUT_MAX);
    buf_addf(&b, "UID FETCH %.*s (%.*s)", SP(uids), SP(items));
    return command_end(c, &b);
}

bool imap_client_noop(struct imap_client *c) { return command(c, CL_BUSY, S("NOOP")); }
bool imap_client_idle(struct imap_client *c) {
    c->wants_done = false;
    return command(c, CL_IDLE_ASKED, S("IDLE"));
}
bool imap_client_logout(struct imap_client *c) { return command(c, CL_LOGOUT, S("LOGOUT")); }
bool imap_client_command(struct imap_client *c, struct slice text) {
    return command(c, CL_BUSY, text);
}

void imap_client_idle_done(struct imap_client *c) {
    if (c->phase == CL_IDLING) {
        buf_add(&c->out, S("DONE\r\n"));
        c->phase = CL_BUSY;
        c->active_at = c->now;
    } else if (c->phase == CL_IDLE_ASKED) {
        c->wants_done = true;
    }
}

/* --- login -------------------------------------------------------------------------------------
 */

static void put_plain(struct imap_client *c, struct buf *out) {
    struct sasl_client x = {0};

    if (sasl_client_start(&x, SASL_PLAIN, SASL_PLAIN, buf_slice(&c->user), buf_slice(&c->password),
                          NULL))
        buf_add(out, buf_slice(&x.out));
    else buf_addc(out, '*'); /* a name or password that no mechanism can carry */
    sasl_client_release(&x);
}

static void log_in(struct imap_client *c) {
    struct buf b;
    struct slice user = buf_slice(&c->user), password = buf_slice(&c->password);

    buf_init(&b, 64 * 1024);
    if (imap_client_can(c, S("AUTH=PLAIN"))) {
        buf_add(&b, S("AUTHENTICATE PLAIN"));
        if (imap_client_can(c, S("SASL-IR"))) {
            buf_addc(&b, ' ');
            put_plain(c, &b);
        }
        send(c, CL_LOGIN, buf_slice(&b));
    } else if (imap_client_can(c, S("LOGINDISABLED"))) {
        cl_fail(c, ERR_UNSUPPORTED, "the server offers no way to log in");
    } else if (!utf8_is_ascii(user) || !utf8_is_ascii(password) || !is_sendable(user) ||
               !is_sendable(password)) {
        cl_fail(c, ERR_UNSUPPORTED, "LOGIN cannot carry this name or password");
    } else {
        buf_add(&b, S("LOGIN "));
        imap_put_nstring(&b, user);
        buf_addc(&b, ' ');
        imap_put_nstring(&b, password.n ? password : S(""));
        send(c, CL_LOGIN, buf_slice(&b));
    }
    if (b.p) explicit_bzero(b.p, b.cap);
    buf_release(&b);
}

static void ready(struct imap_client *c) {
    c->phase = CL_FREE;
    if (c->has_said_ready) return;
    c->has_said_ready = true;
    cl_event(c, IMAP_CL_READY)->text = buf_slice(&c->caps);
}

/* What comes next on the way to READY. The capabilities are known. */
static void advance(struct imap_client *c) {
    if (!c->cfg.has_tls && c->cfg.tls != IMAP_CL_TLS_NONE) {
        if (c->is_preauth) {
            // RFC 8314 and I-10: PREAUTH in clear text keeps STARTTLS away
            if (c->cfg.tls == IMAP_CL_TLS_REQUIRED) {
                cl_fail(c, ERR_TLS, "the server greeted with PREAUTH, so there is no TLS");
                return;
            }
        } else if (imap_client_can(c, S("STARTTLS"))) {
            send(c, CL_STARTTLS, S("STARTTLS"));
            return;
        } else if (c->cfg.tls == IMAP_CL_TLS_REQUIRED) {
            cl_fail(c, ERR_TLS, "the server does not offer STARTTLS");
            return;
        }
    }
    if (c->is_preauth || c->is_in || !c->user.n) {
        ready(c);
    } else if (!c->cfg.has_tls && !c->cfg.allow_plaintext_auth) {
        cl_fail(c, ERR_TLS, "the password is not sent without TLS");
    } else {
        log_in(c);
    }
}

void imap_client_tls_up(struct imap_client *c) {
    if (c->phase != CL_TLS) return;
    c->cfg.has_tls = true;
    buf_reset(&c->caps); // what came before TLS is not believed
    send(c, CL_CAPABILITY, S("CAPABILITY"));
}

/* --- responses ---------------------------------------------------------------------------------
 */

static void fail_reply(struct imap_client *c, enum err_code code, const char *what,
                       struct slice text) {
    if (c->phase == CL_OVER) return;
    err_set(&c->failure, code, "%s: %.*s", what, SP(slice_first(text, 120)));
    for (char *p = c->failure.msg; *p; p++) {
        if ((unsigned char)*p < 32 || *p == 127) *p = '?';
    }
    c->phase = CL_OVER;
}

static void greeting(struct imap_client *c, struct slice line) {
    struct slice word, rest = line, code, text;
    struct imap_client_event *ev;

    slice_word(&rest, &word);
    slice_word(&rest, &word);
    cl_text(rest, &code, &text);
    if (slice_ieq(word, S("BYE"))) {
        fail_reply(c, ERR_CLOSED, "the server refused the session", text);
        return;
    }
    c->is_preauth = slice_ieq(word, S("PREAUTH"));
    if (line.p[0] != '*' || (!c->is_preauth && !slice_ieq(word, S("OK")))) {
        cl_fail(c, ERR_PROTO, "this is not an IMAP server");
        return;
    }
    ev = cl_event(c, IMAP_CL_GREETING);
    ev->is_preauth = c->is_preauth;
    ev->text = text;
    if (slice_istarts(code, S("CAPABILITY "))) {
        cl_set_capabilities(c, slice_from(code, 11));
        advance(c);
    } else {
        send(c, CL_CAPABILITY, S("CAPABILITY"));
    }
}

static void tagged(struct imap_client *c, enum imap_client_status st, struct slice code,
                   struct slice text) {
    struct imap_client_event *ev;

    if (slice_istarts(code, S("CAPABILITY "))) cl_set_capabilities(c, slice_from(code, 11));
    switch (c->phase) {
    case CL_CAPABILITY:
        if (st != IMAP_CL_OK) fail_reply(c, ERR_PROTO, "CAPABILITY was refused", text);
        else advance(c);
        return;
    case CL_STARTTLS:
        if (st == IMAP_CL_OK) {
            c->phase = CL_TLS;
            cl_event(c, IMAP_CL_NEED_TLS);
        } else if (c->cfg.tls == IMAP_CL_TLS_REQUIRED) {
            fail_reply(c, ERR_TLS, "STARTTLS was refused", text);
        } else {
            c->cfg.tls = IMAP_CL_TLS_NONE;
            advance(c);
        }
        return;
    case CL_LOGIN:
        if (st != IMAP_CL_OK) {
            bool is_later = slice_istarts(code, S("UNAVAILABLE")) ||
                            slice_istarts(code, S("INUSE")) || slice_istarts(code, S("LIMIT"));
            fail_reply(c, is_later ? ERR_BUSY : ERR_DENIED, "login was refused", text);
            return;
        }
        c->is_in = true;
        if (slice_istarts(code, S("CAPABILITY "))) ready(c);
        else send(c, CL_CAPABILITY_IN, S("CAPABILITY"));
        return;
    case CL_CAPABILITY_IN: ready(c); return;
    case CL_LOGOUT: c->phase = CL_OVER; return;
    default: break;
    }
    c->phase = CL_FREE;
    ev = cl_event(c, IMAP_CL_REPLY);
    ev->status = st;
    ev->code = code;
    ev->text = text;
}

static void continuation(struct imap_client *c) {
    if (c->phase == CL_LOGIN) {
        if (imap_client_can(c, S("AUTH=PLAIN")) && !imap_client_can(c, S("SASL-IR"))) {
            put_plain(c, &c->out);
            buf_add(&c->out, S("\r\n"));
        } else {
            buf_add(&c->out, S("*\r\n"));
        }
    } else if (c->phase == CL_IDLE_ASKED) {
        c->phase = CL_IDLING;
        c->active_at = c->now;
        cl_event(c, IMAP_CL_IDLE);
        if (c->wants_done) imap_client_idle_done(c);
    } else {
        cl_fail(c, ERR_PROTO, "the server asked to go on when nothing was to come");
    }
}

/* One whole response is in the line. */
static void response(struct imap_client *c) {
    struct slice line = slice_chomp(buf_slice(&c->line)), rest = line, word, verb, code, text;
    uint64_t n;

    if (!line.n) return;
    if (c->phase == CL_GREETING) {
        greeting(c, line);
        return;
    }
    if (line.p[0] == '+') {
        continuation(c);
        return;
    }
    if (slice_starts(line, S("* "))) {
        if (++c->untagged > IMAP_CL_UNTAGGED_MAX) {
            cl_fail(c, ERR_LIMIT, "the server sends without end");
        } else if (!cl_untagged(c, slice_from(line, 2))) {
            // a response that cannot be read is shown, not fatal: the framing is sound
            cl_event(c, IMAP_CL_OTHER)->text = slice_from(line, 2);
        }
        return;
    }
    slice_word(&rest, &word);
    slice_word(&rest, &verb);
    if (!slice_starts(word, S("P")) || !num_parse(slice_from(word, 1), UINT32_MAX, &n) ||
        n != c->tag || c->phase == CL_FREE || c->phase == CL_TLS) {
        cl_fail(c, ERR_PROTO, "the server answered what was not asked");
        return;
    }
    cl_text(rest, &code, &text);
    if (slice_ieq(verb, S("OK"))) tagged(c, IMAP_CL_OK, code, text);
    else if (slice_ieq(verb, S("NO"))) tagged(c, IMAP_CL_NO, code, text);
    else if (slice_ieq(verb, S("BAD"))) tagged(c, IMAP_CL_BAD, code, text);
    else cl_fail(c, ERR_PROTO, "the server's answer is neither OK, NO nor BAD");
}

/* A line end came: is it the end of the response, or does a literal follow? */
static void line_end(struct imap_client *c) {
    struct slice line = slice_chomp(slice_from(buf_slice(&c->line), c->line_at)), digits;
    size_t open;
    uint64_t n;

    if (!line.n || line.p[line.n - 1] != '}' || (open = slice_rchr(line, '{')) == SLICE_NONE) {
        goto whole;
    }
    digits = slice_of(line.p + open + 1, line.n - open - 2);
    if (digits.n && digits.p[digits.n - 1] == '+') digits.n--;
    if (!num_parse(digits, INT64_MAX, &n)) goto whole;
    if (cl_is_streamed(c, slice_first(buf_slice(&c->line), c->line_at + open))) {
        if (++c->streams > CL_STREAMS_MAX) { // each one costs a walk over the line so far
            cl_fail(c, ERR_LIMIT, "the server put too much into one response");
            return;
        }
        buf_cut(&c->line, c->line_at + open);
        buf_addc(&c->line, CL_STREAMED);
        c->stream_size = c->left = n;
        c->reading = CL_STREAM;
        c->line_at = c->line.n;
        if (n) return;
        struct imap_client_event *ev = cl_event(c, IMAP_CL_BODY);
        ev->number = c->stream_number;
        ev->uid = c->stream_uid;
        ev->section = buf_slice(&c->stream_section);
        ev->is_last = true;
        c->reading = CL_LINE;
        return;
    }
    if (n > IMAP_CL_LITERAL_MAX || n > c->line.max - c->line.n) {
        cl_fail(c, ERR_LIMIT, "the server sent a literal that is too large");
        return;
    }
    // the cursor wants exactly "}" CRLF
    buf_cut(&c->line, c->line_at + line.n);
    buf_add(&c->line, S("\r\n"));
    c->left = n;
    c->line_at = c->line.n;
    c->reading = n ? CL_LITERAL : CL_LINE;
    return;
whole:
    response(c);
    c->line_at = SIZE_MAX; // the events still point into the line: reset before the next byte
}

static size_t feed_stream(struct imap_client *c, struct slice in) {
    size_t n = in.n < IMAP_CL_CHUNK_MAX ? in.n : IMAP_CL_CHUNK_MAX;
    struct imap_client_event *ev;

    if (n > c->left) n = (size_t)c->left;
    buf_reset(&c->piece);
    if (!buf_add(&c->piece, slice_first(in, n))) {
        cl_fail(c, ERR_MEMORY, "out of memory");
        return n;
    }
    c->left -= n;
    ev = cl_event(c, IMAP_CL_BODY);
    ev->number = c->stream_number;
    ev->uid = c->stream_uid;
    ev->section = buf_slice(&c->stream_section);
    ev->bytes = buf_slice(&c->piece);
    ev->size_bytes = c->stream_size;
    ev->is_last = !c->left;
    if (!c->left) c->reading = CL_LINE;
    return n;
}

static size_t feed_some(struct imap_client *c, struct slice in) {
    const char *lf;
    size_t n;

    if (c->line_at == SIZE_MAX) {
        if (c->line.cap > 256 * 1024) buf_release(&c->line);
        buf_reset(&c->line);
        arena_reset(&c->arena);
        c->line_at = 0;
        c->streams = 0;
    }
    if (c->reading == CL_STREAM) return feed_stream(c, in);
    if (c->reading == CL_LITERAL) {
        n = in.n < c->left ? in.n : (size_t)c->left;
        buf_add(&c->line, slice_first(in, n));
        c->left -= n;
        if (!c->left) c->reading = CL_LINE, c->line_at = c->line.n;
    } else {
        lf = memchr(in.p, '\n', in.n);
        n = lf ? (size_t)(lf - in.p) + 1 : in.n;
        if (n > IMAP_CL_CHUNK_MAX) n = IMAP_CL_CHUNK_MAX, lf = NULL;
        buf_add(&c->line, slice_first(in, n));
        if (lf) {
            line_end(c);
        } else if (c->line.n > CL_SEARCH_PIECE && c->line_at == 0 &&
                   slice_istarts(buf_slice(&c->line), S("* SEARCH "))) {
            arena_reset(&c->arena);
            if (!cl_search_piece(c, false)) cl_fail(c, ERR_PROTO, "malformed SEARCH");
        }
    }
    if (c->line.bad) cl_fail(c, ERR_LIMIT, "the server sent a line that is too long");
    return n;
}

size_t imap_client_feed(struct imap_client *c, struct slice in, mono_t now) {
    size_t used = 0;

    c->now = now;
    // RFC 3501 6.2.1, CVE-2011-0411: nothing that came in plain text may be read as if it came by
    // TLS
    if (c->phase == CL_TLS && in.n) cl_fail(c, ERR_PROTO, "bytes after STARTTLS, before TLS");
    while (used < in.n && !c->n_events && c->phase != CL_OVER) {
        used += feed_some(c, slice_from(in, used));
        if (c->phase != CL_IDLING) c->active_at = now;
        if (c->phase == CL_TLS && used < in.n) {
            cl_fail(c, ERR_PROTO, "bytes after STARTTLS, before TLS");
        }
    }
    return c->phase == CL_OVER ? in.n : used;
}

void imap_client_eof(struct imap_client *c, mono_t now) {
    c->now = now;
    if (c->phase == CL_OVER) return;
    if (c->phase == CL_LOGOUT) {
        c->phase = CL_OVER; // a server may forget the last answer
    } else if (c->bye.n) {
        fail_reply(c, ERR_CLOSED, "the server ended the session", buf_slice(&c->bye));
    } else {
        cl_fail(c, ERR_CLOSED, "the server closed the connection");
    }
}

bool imap_client_next(struct imap_client *c, struct imap_client_event *ev) {
    if (c->next_event < c->n_events) {
        *ev = c->events[c->next_event++];
        if (c->next_event == c->n_events) c->next_event = c->n_events = 0;
        return true;
    }
    *ev = (struct imap_client_event){0};
    if (c->phase != CL_OVER || c->has_said_end) return false;
    c->has_said_end = true;
    ev->type = IMAP_CL_END;
    ev->err = c->failure;
    return true;
}

/* --- the rest of base/engine.h -----------------------------------------------------------------
 */

struct slice imap_client_out(struct imap_client *c) {
    return slice_from(buf_slice(&c->out), c->out_sent);
}

void imap_client_sent(struct imap_client *c, size_t n, mono_t now) {
    c->now = now;
    if (c->phase != CL_IDLING) c->active_at = now;
    c->out_sent += n < c->out.n - c->out_sent ? n : c->out.n - c->out_sent;
    if (c->out_sent < c->out.n) return;
    if (c->out.p) explicit_bzero(c->out.p, c->out.n); // may have been a password
    buf_reset(&c->out);
    c->out_sent = 0;
}

mono_t imap_client_deadline(const struct imap_client *c) {
    switch (c->phase) {
    case CL_TLS:
    case CL_FREE:
    case CL_OVER: return MONO_NEVER;
    case CL_GREETING: return c->active_at + IMAP_CL_GREETING_MS;
    case CL_IDLING: return c->active_at + IMAP_CL_IDLE_MS;
    default: return c->active_at + IMAP_CL_REPLY_MS;
    }
}

void imap_client_tick(struct imap_client *c, mono_t now) {
    c->now = now;
    if (now < imap_client_deadline(c)) return;
    if (c->phase == CL_IDLING) imap_client_idle_done(c);
    else cl_fail(c, ERR_TIMEOUT, "the server does not answer");
}

bool imap_client_done(const struct imap_client *c) {
    return c->phase == CL_OVER && c->out.n == c->out_sent;
}

static size_t op_feed(void *e, struct slice in, mono_t now) { return imap_client_feed(e, in, now); }
static void op_eof(void *e, mono_t now) { imap_client_eof(e, now); }
static struct slice op_out(void *e) { return imap_client_out(e); }
static void op_sent(void *e, size_t n, mono_t now) { imap_client_sent(e, n, now); }
static mono_t op_deadline(const void *e) { return imap_client_deadline(e); }
static void op_tick(void *e, mono_t now) { imap_client_tick(e, now); }
static bool op_done(const void *e) { return imap_client_done(e); }

struct engine imap_client_engine(struct imap_client *c) {
    static const struct engine_ops ops = {op_feed,     op_eof,  op_out, op_sent,
                                          op_deadline, op_tick, op_done};
    return (struct engine){&ops, c};
}
