/* The transcripts of tests/wire/imap-server, each run whole, in chunks of 1, 2, 3 and 7 bytes, and
 * split at every byte of every client block.
 *
 *   Of the capabilities after login only "LITERAL+ ..." is compared.
 *   C: line of the client, CRLF added; \r \n \0 \\ \xNN are escapes, \c at the end: no CRLF
 *   S: line of the server, the same          E: an event of the engine, as tests/unit/imap_host.h
 *                                               writes it
 *   T: +30s time passes, the engine ticks    H: what the host does: tls, plaintext, scram, binding,
 * preauth, empty, tls-up, push new|gone N|flags N BITS, eof, bye
 *
 * With a file as argument: prints that transcript with what the engine says now, to be read and
 * compared by a person before it is kept. Client lines that follow each other are one block. Server
 * lines and events behind it are compared in order, each kind for itself. A line "E: ..." may be
 * left out altogether in a block: then the events of that block are not compared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/num.h"
#include "imap_host.h"
#include "tests/wire/sasl_world.h"

static const char dir[] = "tests/wire/imap-server";
#include "tests/unit/imap_files.h"

struct run {
    struct host h;
    struct imap_config cfg;
    mono_t now;
    struct buf in, out, want_out, want_log;
    bool is_recording;   /* print what happens instead of comparing */
    size_t chunk, split; /* 0: whole; split counts over all client bytes */
    size_t fed;
    bool has_events, is_started;
    const char *file;
};

static unsigned hex(char c) { return (unsigned)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10); }

static void unescape(struct buf *b, struct slice s) {
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\\' && i + 3 < s.n && s.p[i + 1] == 'x') {
            buf_addc(b, (char)(hex(s.p[i + 2]) * 16 + hex(s.p[i + 3])));
            i += 3;
            continue;
        }
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

static void pump(struct run *r) {
    struct imap_event ev;
    struct slice o;
    size_t n;

    do {
        while (imap_server_next(r->h.s, &ev)) {
            // an engine that waits for an answer takes nothing, however late the answer is
            if (imap_server_is_waiting(r->h.s) && ev.type != IMAP_EV_STARTTLS) {
                assert_int_equal(imap_server_feed(r->h.s, S("x NOOP\r\n"), r->now), 0);
            }
            host_answer(&r->h, &ev);
        }
        o = imap_server_out(r->h.s);
        n = r->chunk && r->chunk < o.n ? r->chunk : o.n;
        buf_add(&r->out, slice_first(o, n));
        if (n) imap_server_sent(r->h.s, n, r->now);
    } while (n);
}

static void start(struct run *r) {
    if (r->is_started) return;
    r->is_started = true;
    r->h.s = imap_server_new(&r->cfg, r->now);
    imap_server_wall(r->h.s, 1600001000);
    assert_non_null(r->h.s);
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
        used = imap_server_feed(r->h.s, slice_of(exact, n), r->now);
        free(exact);
        pump(r);
        if (!used && imap_server_done(r->h.s)) break;
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
            if (kind == 'S' && line.p[i] == '\r') printf("\\r");
            else if (kind == 'S' && line.p[i] == '\n') printf("\\n");
            else if (kind == 'S' && line.p[i] == 0) printf("\\0");
            else if (kind == 'S' && line.p[i] == '\\' && i + 1 < line.n &&
                     strchr("rn0\\c", line.p[i + 1]))
                printf("\\\\");
            else putchar(line.p[i]);
        }
        printf(is_whole ? "\n" : "\\c\n");
    }
}

/* What is offered after login grows: the transcripts have "..." for it, and one test below the
 * whole. */
static void shorten(struct buf *b) {
    struct buf out;
    struct slice in = buf_slice(b), mark = S("LITERAL+ ");
    size_t at;

    buf_init(&out, b->max);
    while ((at = slice_find(in, mark)) != SLICE_NONE) {
        buf_add(&out, slice_first(in, at + mark.n));
        buf_add(&out, S("..."));
        in = slice_from(in, at + mark.n);
        while (in.n && in.p[0] != ']' && in.p[0] != '\r') in = slice_from(in, 1);
    }
    buf_add(&out, in);
    buf_release(b);
    *b = out;
}

/* Compare what came with what the block wants. */
static void check(struct run *r) {
    if (!r->in.n && !r->want_out.n && !r->want_log.n && !r->out.n && !r->h.log.n) return;
    feed(r);
    shorten(&r->out);
    if (r->h.in_append_data) buf_addc(&r->h.log, '\n'), r->h.in_append_data = false;
    if (r->is_recording) {
        print_lines('S', buf_slice(&r->out));
        print_lines('E', buf_slice(&r->h.log));
    } else if (!slice_eq(buf_slice(&r->out), buf_slice(&r->want_out))) {
        print_error("%s (chunk %zu, split %zu):\nwanted:\n%.*s\ngot:\n%.*s\n", r->file, r->chunk,
                    r->split, SP(buf_slice(&r->want_out)), SP(buf_slice(&r->out)));
        fail();
    }
    if (!r->is_recording && r->has_events &&
        !slice_eq(buf_slice(&r->h.log), buf_slice(&r->want_log))) {
        print_error("%s (chunk %zu, split %zu) events:\nwanted:\n%.*s\ngot:\n%.*s\n", r->file,
                    r->chunk, r->split, SP(buf_slice(&r->want_log)), SP(buf_slice(&r->h.log)));
        fail();
    }
    buf_reset(&r->out);
    buf_reset(&r->want_out);
    buf_reset(&r->want_log);
    buf_reset(&r->h.log);
    r->has_events = false;
}

static void host_line(struct run *r, struct slice s) {
    struct slice word;
    uint64_t n = 0, bits = 0;

    slice_word(&s, &word);
    if (slice_eq(word, S("tls"))) r->cfg.has_tls = true;
    else if (slice_eq(word, S("plaintext"))) r->cfg.allow_plaintext_auth = true;
    else if (slice_eq(word, S("scram"))) r->cfg.sasl = sasl_world(true, false, false);
    else if (slice_eq(word, S("binding"))) r->cfg.sasl = sasl_world(true, true, false);
    else if (slice_eq(word, S("preauth"))) r->cfg.preauth_user = S("joe");
    else if (slice_eq(word, S("slow"))) r->h.slow = 4000;
    else if (slice_eq(word, S("limit"))) {
        s = slice_trim(s);
        num_take(&s, UINT32_MAX, &n);
        r->cfg.message_limit = (uint32_t)n;
    } else if (slice_eq(word, S("hide"))) {
        static const char *const hidden[] = {"QRESYNC", "imap4rev2", "COMPRESS=DEFLATE"};

        r->cfg.hidden = hidden;
        r->cfg.n_hidden = 3;
    } else if (slice_eq(word, S("empty"))) r->h.is_empty = true;
    else if (slice_eq(word, S("tls-up"))) imap_server_tls_up(r->h.s);
    else if (slice_eq(word, S("eof"))) imap_server_eof(r->h.s, r->now);
    else if (slice_eq(word, S("bye"))) imap_server_bye(r->h.s, slice_trim(s));
    else if (slice_eq(word, S("push"))) {
        slice_word(&s, &word);
        s = slice_trim(s);
        num_take(&s, UINT32_MAX, &n);
        s = slice_trim(s);
        num_take(&s, UINT32_MAX, &bits);
        if (slice_eq(word, S("new"))) {
            host_add(&r->h, slice_str(host_simple), IMAP_RECENT, 1600000000);
            imap_server_push_new(r->h.s, &r->h.v[r->h.n - 1].m);
            imap_server_push_modseq(r->h.s, r->h.modseq);
        } else if (slice_eq(word, S("gone"))) {
            if (host_find(&r->h, (uint32_t)n)) host_find(&r->h, (uint32_t)n)->is_gone = true;
            imap_server_push_expunged(r->h.s, (uint32_t)n);
            imap_server_push_modseq(r->h.s, ++r->h.modseq);
        } else if (slice_eq(word, S("vanish"))) { // gone, and nobody says so
            if (host_find(&r->h, (uint32_t)n)) host_find(&r->h, (uint32_t)n)->is_gone = true;
        } else {
            imap_server_push_flags(r->h.s, (uint32_t)n, bits, ++r->h.modseq);
            imap_server_push_modseq(r->h.s, r->h.modseq);
        }
    }
    if (r->is_started) pump(r);
}

/* Returns how many bytes the client sends in all. */
static size_t play(struct slice text, const char *file, size_t chunk, size_t split,
                   bool is_recording) {
    struct run r = {.chunk = chunk, .split = split, .file = file, .is_recording = is_recording};
    size_t fed;
    char last = 0;

    r.cfg = (struct imap_config){.hostname = S("mail.example"),
                                 .delimiter = '/',
                                 .can_starttls = true,
                                 .message_size_max = 1000000,
                                 .software = S("postbag")};
    host_init(&r.h);
    buf_init(&r.in, 16 << 20);
    buf_init(&r.out, 64 << 20);
    buf_init(&r.want_out, 64 << 20);
    buf_init(&r.want_log, 16 << 20);
    for (struct slice line; slice_line(&text, &line);) {
        struct slice rest = slice_from(line, 3);
        char kind = line.n >= 3 && line.p[1] == ':' ? line.p[0] : 0;

        if (is_recording && kind != 'S' && kind != 'E') {
            if ((kind == 'C' && last != 'C') || kind == 'T' || kind == 'H') check(&r);
            printf("%.*s\n", SP(line));
        }
        if (!kind || line.p[0] == '#' || (is_recording && (kind == 'S' || kind == 'E'))) {
            if (is_recording) last = kind ? kind : last;
            continue;
        }
        if ((kind == 'C' && last != 'C') || kind == 'T' || kind == 'H') check(&r);
        if (kind == 'C') unescape(&r.in, rest);
        if (kind == 'S') unescape(&r.want_out, rest);
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
            imap_server_tick(r.h.s, r.now);
            pump(&r);
        }
        if (kind == 'H') host_line(&r, rest);
        if (kind == 'S' || kind == 'E') start(&r);
        last = kind;
    }
    check(&r);
    fed = r.fed;
    imap_server_free(r.h.s);
    host_release(&r.h);
    buf_release(&r.in);
    buf_release(&r.out);
    buf_release(&r.want_out);
    buf_release(&r.want_log);
    return fed;
}

int main(int argc, char **argv) { return files_main(argc, argv, "imap-server transcripts"); }
