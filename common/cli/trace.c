#include "cli/trace.h"

static void put(FILE *out, const char *arrow, struct slice line) {
    fputs(arrow, out);
    for (size_t i = 0; i < line.n; i++) {
        unsigned char c = (unsigned char)line.p[i];

        fputc(c < 32 || c == 127 ? '?' : c, out);
    }
    fputc('\n', out);
}

void trace_bytes(void *user, bool is_out, struct slice bytes) {
    struct trace *t = user;
    struct slice line;

    if (is_out && t->in_body) {
        t->body_bytes += bytes.n;
        return;
    }
    if (!is_out && t->in_body && t->body_bytes > 0) {
        fprintf(t->out, "-> (message, %zu bytes)\n", t->body_bytes);
        t->in_body = false;
        t->body_bytes = 0;
    }
    while (slice_line(&bytes, &line)) {
        if (!is_out) {
            /* 334 asks for the next part of a login: what answers it is secret. */
            t->after_auth = slice_starts(line, S("334")) || slice_starts(line, S("+ "));
            if (slice_starts(line, S("354"))) t->in_body = true;
            put(t->out, "<- ", line);
        } else if (t->after_auth) {
            put(t->out, "-> ", S("***"));
        } else if (slice_istarts(line, S("AUTH ")) || slice_istarts(line, S("PASS "))) {
            put(t->out, "-> ", slice_istarts(line, S("AUTH ")) ? S("AUTH ***") : S("PASS ***"));
        } else {
            put(t->out, "-> ", line);
        }
    }
}
