#include "net/relay.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "base/num.h"
#include "sys/clock.h"
#include "sys/file.h"

enum { RELAY_READ = 16 * 1024, RELAY_OUT_MAX = 64 * 1024 };

/* The length that "{12}" or "{12+}" at the end of the line announces; 0: none. */
static uint64_t literal_of(struct slice line) {
    size_t open = slice_rchr(line, '{');
    struct slice digits;
    uint64_t n = 0;

    if (open == SLICE_NONE || !slice_ends(line, S("}"))) return 0;
    digits = slice_from(slice_first(line, line.n - 1), open + 1);
    if (slice_ends(digits, S("+")) || slice_ends(digits, S("-"))) digits.n--;
    return num_parse(digits, UINT32_MAX, &n) ? n : 0;
}

static void end_line(struct relay_lines *l) {
    struct slice line = slice_of(l->tail, l->tail_n);

    l->literal = literal_of(line);
    if (line.n) l->is_logout = slice_iends(line, S(" LOGOUT"));
    l->tail_n = 0;
}

void relay_lines_put(struct relay_lines *l, struct buf *out, struct slice in) {
    while (in.n) {
        char c = in.p[0];

        if (l->literal) {
            struct slice raw = slice_first(in, l->literal < in.n ? (size_t)l->literal : in.n);

            buf_add(out, raw);
            l->literal -= raw.n;
            in = slice_from(in, raw.n);
            continue;
        }
        in = slice_from(in, 1);
        if (c == '\n') {
            buf_add(out, S("\r\n"));
            end_line(l);
        } else if (c != '\r') { /* a bare CR is never sent */
            buf_addc(out, c);
            if (l->tail_n == sizeof l->tail) memmove(l->tail, l->tail + 1, --l->tail_n);
            l->tail[l->tail_n++] = c;
        }
    }
}

/* Everything the server has said so far. TLS_WANT_READ: no more for now. */
static enum tls_io drain(struct pump_io io, int out, bool *moved, struct err *e) {
    char room[RELAY_READ];

    for (;;) {
        size_t got = 0;
        enum tls_io r = io.read(io.self, room, sizeof room, &got, e);

        if (r != TLS_OK) return r;
        *moved = true;
        if (file_write(out, slice_of(room, got), "standard output", e) != OK) return TLS_FAIL;
    }
}

enum err_code relay_imap(struct pump_io io, int in, int out, unsigned timeout_ms, struct err *e) {
    struct relay_lines lines = {0};
    struct buf left;
    bool is_eof = false;
    mono_t end = clock_mono() + timeout_ms;
    enum err_code code = OK;

    buf_init(&left, 2 * RELAY_OUT_MAX + 64);
    for (;;) {
        struct pollfd p[2];
        enum tls_io r, w = TLS_OK;
        bool moved = false;
        char room[RELAY_READ];
        mono_t wait;

        while (left.n > 0) {
            size_t sent = 0;

            w = io.write(io.self, left.p, left.n, &sent, e);
            if (w != TLS_OK) break;
            buf_drop(&left, sent);
            moved = true;
        }
        r = drain(io, out, &moved, e);
        if (r == TLS_EOF) {
            if (!lines.is_logout) code = err_set(e, ERR_CLOSED, "the server closed the connection");
            break;
        }
        if (r == TLS_FAIL || w == TLS_FAIL || w == TLS_EOF) {
            code = e->code ? e->code : err_set(e, ERR_NET, "the connection broke");
            break;
        }
        if (moved) end = clock_mono() + timeout_ms;
        wait = end - clock_mono();
        if (wait <= 0 && (is_eof || left.n > 0)) {
            code = err_mail(e, ERR_TIMEOUT, STATUS(4, 4, 2), "no answer in time");
            break;
        }
        p[0] =
            (struct pollfd){.fd = is_eof || left.n > RELAY_OUT_MAX / 2 ? -1 : in, .events = POLLIN};
        p[1] = (struct pollfd){.fd = io.fd, .events = POLLIN};
        if (left.n > 0 && w == TLS_WANT_WRITE) p[1].events |= POLLOUT;
        if (poll(p, 2, is_eof || left.n > 0 ? (int)wait : -1) < 0 && errno != EINTR) {
            code = err_sys(e, "waiting");
            break;
        }
        if (p[0].fd >= 0 && p[0].revents) {
            ssize_t n = read(in, room, sizeof room);

            if (n > 0) {
                relay_lines_put(&lines, &left, slice_of(room, (size_t)n));
            } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
                is_eof = true;
                if (lines.tail_n) relay_lines_put(&lines, &left, S("\n"));
                if (!lines.is_logout) relay_lines_put(&lines, &left, S("bye LOGOUT\n"));
            }
            end = clock_mono() + timeout_ms;
        }
    }
    buf_release(&left);
    return code;
}
