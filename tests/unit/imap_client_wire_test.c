/* The transcripts of tests/wire/imap-client, each run whole, in chunks of 1 to 8 bytes, and split
 * at every byte of what the server sends.
 *
 *   S: line of the server, CRLF added; \r \n \0 \\ are escapes, \c at the end: no CRLF
 *   C: line of the client, the same          E: an event of the engine
 *   T: +30s time passes, the engine ticks    H: settings (tls required|offered, has-tls, user N P,
 *                                               plaintext, logged-in) and then what the caller does
 *
 * Pieces of one body and of one SEARCH are joined. With a file as argument: prints that transcript
 * with what the engine does now, to be read by a person before it is kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/num.h"
#include "imap/client.h"

static const char dir[] = "tests/wire/imap-client";
#include "tests/unit/imap_files.h"

struct run {
    struct imap_client *c;
    struct imap_client_config cfg;
    enum { NO_RUN, IN_BODY, IN_SEARCH } joining;
    mono_t now;
    struct buf in, out, want_out, want_log, log;
    bool is_recording;   /* print what happens instead of comparing */
    size_t chunk, split; /* 0: whole; split counts over all client bytes */
    size_t fed;
    bool has_events, is_started;
    const char *file;
};

static void unescape(struct buf *b, struct slice s) {
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\\' && i + 1 < s.n && strchr("rn0\\c", s.p[i + 1])) {
            i++;
            if (s.p[i] == 'c') return;
            buf_addc(b, s.p[i] == 'r' ? '\r' : s.p[i] == 'n' ? '\n' : s.p[i] == '0' ? 0 : '\\');
        } else {
            buf_addc(b, s.p[i]);
        }
    }
    buf_add(b, S("\r\n"));
}

static void put_escaped(struct buf *b, struct slice s) {
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\r') buf_add(b, S("\\r"));
        else if (s.p[i] == '\n') buf_add(b, S("\\n"));
        else if (!s.p[i]) buf_add(b, S("\\0"));
        else buf_addc(b, s.p[i]);
    }
}

static void put_addresses(struct buf *b, const char *what, const struct imap_address_list *l) {
    if (!l->n) return;
    buf_addf(b, " %s:", what);
    for (size_t i = 0; i < l->n; i++) {
        buf_addf(b, " [%.*s|%.*s|%.*s]", SP(l->v[i].name), SP(l->v[i].mailbox), SP(l->v[i].host));
    }
}

static void put_fetched(struct buf *b, const struct imap_fetched *f) {
    if (f->uid) buf_addf(b, " uid %u", f->uid);
    if (f->has_flags) buf_addf(b, " flags (%.*s)", SP(f->flags));
    if (f->has_size) buf_addf(b, " size %llu", (unsigned long long)f->size_bytes);
    if (f->has_date) buf_addf(b, " date %lld%+d", (long long)f->internal_date, f->date_offset);
    if (f->bodystructure.n) {
        buf_add(b, S(" structure "));
        put_escaped(b, f->bodystructure);
    }
    if (!f->has_envelope) return;
    buf_add(b, S(" subject <"));
    put_escaped(b, f->envelope.subject);
    buf_addf(b, "> id <%.*s>", SP(f->envelope.message_id));
    put_addresses(b, "from", &f->envelope.from);
    put_addresses(b, "to", &f->envelope.to);
    put_addresses(b, "cc", &f->envelope.cc);
}

/* Write the event down, one line each. */
static void note(struct run *r, const struct imap_client_event *ev) {
    static const char *const status[] = {"ok", "no", "bad", "bye"};
    struct buf *b = &r->log;
    const struct imap_mailbox_numbers *m = &ev->mailbox;

    if (r->joining == IN_SEARCH && ev->type != IMAP_CL_SEARCH)
        buf_addc(b, '\n'), r->joining = NO_RUN;
    switch (ev->type) {
    case IMAP_CL_NONE: return;
    case IMAP_CL_BODY:
        if (r->joining != IN_BODY) {
            buf_addf(b, "body %u uid %u [%.*s] %llu: ", ev->number, ev->uid, SP(ev->section),
                     (unsigned long long)ev->size_bytes);
        }
        r->joining = ev->is_last ? NO_RUN : IN_BODY;
        put_escaped(b, ev->bytes);
        if (ev->is_last) buf_addc(b, '\n');
        return;
    case IMAP_CL_SEARCH:
        if (r->joining != IN_SEARCH) buf_add(b, S("search"));
        r->joining = IN_SEARCH;
        for (size_t i = 0; i < ev->n_numbers; i++) buf_addf(b, " %u", ev->numbers[i]);
        return;
    case IMAP_CL_GREETING: buf_addf(b, "greeting%s", ev->is_preauth ? " preauth" : ""); break;
    case IMAP_CL_NEED_TLS: buf_add(b, S("need-tls")); break;
    case IMAP_CL_READY: buf_addf(b, "ready %.*s", SP(ev->text)); break;
    case IMAP_CL_REPLY:
    case IMAP_CL_NOTE:
        buf_addf(b, "%s %s [%.*s] %.*s", ev->type == IMAP_CL_REPLY ? "reply" : "note",
                 status[ev->status], SP(ev->code), SP(ev->text));
        break;
    case IMAP_CL_LIST:
        buf_addf(b, "%s <%.*s> raw <%.*s> %c %x (%.*s)", ev->is_lsub ? "lsub" : "list",
                 SP(ev->name), SP(ev->raw_name), ev->delimiter ? ev->delimiter : '-',
                 ev->attributes, SP(ev->attribute_text));
        break;
    case IMAP_CL_STATUS:
        buf_addf(b, "status <%.*s>", SP(ev->name));
        if (m->has_messages) buf_addf(b, " messages %llu", (unsigned long long)m->messages);
        if (m->has_unseen) buf_addf(b, " unseen %llu", (unsigned long long)m->unseen);
        if (m->has_uidnext) buf_addf(b, " uidnext %llu", (unsigned long long)m->uidnext);
        break;
    case IMAP_CL_EXISTS: buf_addf(b, "exists %u", ev->number); break;
    case IMAP_CL_RECENT: buf_addf(b, "recent %u", ev->number); break;
    case IMAP_CL_EXPUNGE: buf_addf(b, "expunge %u", ev->number); break;
    case IMAP_CL_FLAGS: buf_addf(b, "flags %.*s", SP(ev->text)); break;
    case IMAP_CL_FETCH:
        buf_addf(b, "fetch %u", ev->number);
        put_fetched(b, &ev->fetched);
        break;
    case IMAP_CL_OTHER:
        buf_add(b, S("other "));
        put_escaped(b, ev->text);
        break;
    case IMAP_CL_IDLE: buf_add(b, S("idle")); break;
    case IMAP_CL_END:
        buf_addf(b, "end %s %s", ev->err.code ? err_code_name(ev->err.code) : "ok", ev->err.msg);
        break;
    }
    buf_addc(b, '\n');
}

static void pump(struct run *r) {
    struct imap_client_event ev;
    struct slice o;
    size_t n;

    do {
        while (imap_client_next(r->c, &ev)) note(r, &ev);
        o = imap_client_out(r->c);
        n = r->chunk && r->chunk < o.n ? r->chunk : o.n;
        buf_add(&r->out, slice_first(o, n));
        if (n) imap_client_sent(r->c, n, r->now);
    } while (n);
}

static void start(struct run *r) {
    if (r->is_started) return;
    r->is_started = true;
    r->c = imap_client_new(&r->cfg, r->now);
    assert_non_null(r->c);
    pump(r);
}

static void feed(struct run *r) {
    struct slice in = buf_slice(&r->in);

    start(r);
    while (in.n) {
        size_t n = r->chunk && r->chunk < in.n ? r->chunk : in.n, used;

        if (r->split > r->fed && r->split - r->fed < n) n = r->split - r->fed;
        struct slice offer = slice_first(in, n);
        char *exact = malloc(n); // so that a read past the end is seen
        assert_non_null(exact);
        memcpy(exact, offer.p, n);
        used = imap_client_feed(r->c, slice_of(exact, n), r->now);
        free(exact);
        pump(r);
        if (!used && imap_client_done(r->c)) break;
        if (!used) { // give it more: but it must not be stuck
            print_error("%s: the engine takes nothing\n", r->file);
            fail();
        }
        in = slice_from(in, used);
        r->fed += used;
    }
    buf_reset(&r->in);
}

static void print_lines(char kind, struct slice s) {
    while (s.n) {
        size_t lf = slice_chr(s, '\n');
        struct slice line = slice_first(s, lf == SLICE_NONE ? s.n : lf + 1);
        bool is_whole = kind == 'E' || slice_ends(line, S("\r\n"));

        s = slice_from(s, line.n);
        if (kind == 'E') line = slice_chomp(line);
        else if (is_whole) line.n -= 2;
        printf("%c: ", kind);
        for (size_t i = 0; i < line.n; i++) {
            if (kind == 'C' && line.p[i] == '\r') printf("\\r");
            else if (kind == 'C' && line.p[i] == '\n') printf("\\n");
            else if (kind == 'C' && line.p[i] == '\\' && i + 1 < line.n &&
                     strchr("rn0\\c", line.p[i + 1]))
                printf("\\\\");
            else putchar(line.p[i]);
        }
        printf(is_whole ? "\n" : "\\c\n");
    }
}

/* Compare what came with what the block wants. */
static void check(struct run *r) {
    if (!r->in.n && !r->want_out.n && !r->want_log.n && !r->out.n && !r->log.n) return;
    feed(r);
    if (r->joining == IN_SEARCH) buf_addc(&r->log, '\n'), r->joining = NO_RUN;
    if (r->is_recording) {
        print_lines('C', buf_slice(&r->out));
        print_lines('E', buf_slice(&r->log));
    } else if (!slice_eq(buf_slice(&r->out), buf_slice(&r->want_out))) {
        print_error("%s (chunk %zu, split %zu):\nwanted:\n%.*s\ngot:\n%.*s\n", r->file, r->chunk,
                    r->split, SP(buf_slice(&r->want_out)), SP(buf_slice(&r->out)));
        fail();
    }
    if (!r->is_recording && r->has_events &&
        !slice_eq(buf_slice(&r->log), buf_slice(&r->want_log))) {
        print_error("%s (chunk %zu, split %zu) events:\nwanted:\n%.*s\ngot:\n%.*s\n", r->file,
                    r->chunk, r->split, SP(buf_slice(&r->want_log)), SP(buf_slice(&r->log)));
        fail();
    }
    buf_reset(&r->out);
    buf_reset(&r->want_out);
    buf_reset(&r->want_log);
    buf_reset(&r->log);
    r->has_events = false;
}

static void host_line(struct run *r, struct slice s) {
    struct slice word, a, b;

    slice_word(&s, &word);
    if (slice_eq(word, S("tls"))) {
        r->cfg.tls =
            slice_eq(slice_trim(s), S("required")) ? IMAP_CL_TLS_REQUIRED : IMAP_CL_TLS_IF_OFFERED;
    } else if (slice_eq(word, S("has-tls"))) r->cfg.has_tls = true;
    else if (slice_eq(word, S("plaintext"))) r->cfg.allow_plaintext_auth = true;
    else if (slice_eq(word, S("logged-in"))) r->cfg.is_logged_in = true;
    else if (slice_eq(word, S("user"))) {
        slice_word(&s, &r->cfg.user);
        slice_word(&s, &r->cfg.password);
    } else {
        start(r);
        if (slice_eq(word, S("tls-up"))) imap_client_tls_up(r->c);
        else if (slice_eq(word, S("eof"))) imap_client_eof(r->c, r->now);
        else if (slice_eq(word, S("list"))) imap_client_list(r->c, S(""), slice_trim(s));
        else if (slice_eq(word, S("lsub"))) imap_client_lsub(r->c, S(""), slice_trim(s));
        else if (slice_eq(word, S("select"))) imap_client_select(r->c, slice_trim(s), false);
        else if (slice_eq(word, S("examine"))) imap_client_select(r->c, slice_trim(s), true);
        else if (slice_eq(word, S("search"))) imap_client_search(r->c, slice_trim(s));
        else if (slice_eq(word, S("idle"))) imap_client_idle(r->c);
        else if (slice_eq(word, S("done"))) imap_client_idle_done(r->c);
        else if (slice_eq(word, S("logout"))) imap_client_logout(r->c);
        else if (slice_eq(word, S("command"))) imap_client_command(r->c, slice_trim(s));
        else {
            slice_word(&s, &a);
            b = slice_trim(s);
            if (slice_eq(word, S("fetch"))) imap_client_fetch(r->c, a, b);
            else imap_client_status(r->c, a, b);
        }
        pump(r);
    }
}

/* Returns how many bytes the server sends in all. */
static size_t play(struct slice text, const char *file, size_t chunk, size_t split,
                   bool is_recording) {
    struct run r = {.chunk = chunk, .split = split, .file = file, .is_recording = is_recording};
    size_t fed;
    char last = 0;

    buf_init(&r.log, 64 << 20);
    buf_init(&r.in, 16 << 20);
    buf_init(&r.out, 64 << 20);
    buf_init(&r.want_out, 64 << 20);
    buf_init(&r.want_log, 16 << 20);
    for (struct slice line; slice_line(&text, &line);) {
        struct slice rest = slice_from(line, 3);
        char kind = line.n >= 3 && line.p[1] == ':' ? line.p[0] : 0;

        if (is_recording && kind != 'C' && kind != 'E') {
            if ((kind == 'S' && last != 'S') || kind == 'T' || kind == 'H') check(&r);
            printf("%.*s\n", SP(line));
        }
        if (!kind || line.p[0] == '#' || (is_recording && (kind == 'C' || kind == 'E'))) {
            if (is_recording) last = kind ? kind : last;
            continue;
        }
        if ((kind == 'S' && last != 'S') || kind == 'T' || kind == 'H') check(&r);
        if (kind == 'S') unescape(&r.in, rest);
        if (kind == 'C') unescape(&r.want_out, rest);
        if (kind == 'E') {
            r.has_events = true;
            buf_add(&r.want_log, rest);
            buf_addc(&r.want_log, '\n');
        }
        if (kind == 'T') {
            uint64_t s = 0;
            start(&r);
            assert_true(num_duration(slice_from(rest, 1), 1000000, &s));
            r.now += (mono_t)s * 1000;
            imap_client_tick(r.c, r.now);
            pump(&r);
        }
        if (kind == 'H') host_line(&r, rest);
        if (kind == 'C' || kind == 'E') start(&r);
        last = kind;
    }
    check(&r);
    fed = r.fed;
    imap_client_free(r.c);
    buf_release(&r.log);
    buf_release(&r.in);
    buf_release(&r.out);
    buf_release(&r.want_out);
    buf_release(&r.want_log);
    return fed;
}

int main(int argc, char **argv) { return files_main(argc, argv, "imap-client transcripts"); }
