#include <stdio.h>

#include "base/num.h"
#include "smtp/server_impl.h"

enum { TEXT_LINE_MAX = 998 };

void smtp_server_data_begin(struct smtp_server *s) {
    // Binary content has no lines; CR and LF are octets like others (RFC 3030 3).
    s->is_binary = s->in_mail && s->mail.body == SMTP_BODY_BINARYMIME;
    s->dot = (struct smtp_dot_decoder){
        .mode = s->is_strict || s->is_binary ? 0 : SMTP_DOT_NORMALISE};
    s->size = s->discarded = s->line_length = 0;
    s->flags = 0;
    s->is_over = s->is_refused = false;
    buf_reset(&s->chunk);
    s->chunk_given = false;
}

// Look at decoded text for the flags of DATA_END.
static void inspect(struct smtp_server *s, struct slice t) {
    unsigned char high = 0;
    for (size_t i = 0; i < t.n; i++) high |= (unsigned char)t.p[i];
    if (high & 128) s->flags |= SMTP_DATA_8BIT;
    if (t.n && memchr(t.p, 0, t.n)) s->flags |= SMTP_DATA_NUL;
    while (t.n) {
        size_t lf = slice_chr(t, '\n');
        s->line_length += lf == SLICE_NONE ? t.n : lf; // with the CR
        if (s->line_length > TEXT_LINE_MAX + 1) s->flags |= SMTP_DATA_LONG_LINE;
        if (lf == SLICE_NONE) break;
        s->line_length = 0;
        t = slice_from(t, lf + 1);
    }
}

// Decoded bytes arrived in `chunk` from offset `from` on.
static void got(struct smtp_server *s, size_t from) {
    struct slice t = slice_from(buf_slice(&s->chunk), from);
    if (s->chunk.bad) {
        s->chunk.bad = false;
        s->is_over = true; // no memory: refused like a message that is too big
    }
    s->size += t.n;
    if (s->is_strict && !s->is_binary && !s->is_refused && (s->dot.has_bare_cr || s->dot.has_bare_lf)) {
        s->is_refused = true;
        // The connection ends after it, so a lax end cannot be abused, and spares the wait.
        s->dot.mode |= SMTP_DOT_LAX_END;
    }
    if (!s->is_over && s->config.size_max && s->size > s->config.size_max) s->is_over = true;
    if (s->is_over || s->is_refused || s->bdat_skip) {
        buf_cut(&s->chunk, 0);
        if (!s->bdat_skip) smtp_server_void(s);
        s->discarded += t.n;
        if (s->discarded > SMTP_SERVER_DISCARD_MAX)
            smtp_server_die(s, 421, STATUS(4, 3, 4), ERR_LIMIT, "message too big, closing");
        return;
    }
    inspect(s, t);
}

static void finish(struct smtp_server *s) {
    if (s->dot.has_bare_cr) s->flags |= SMTP_DATA_BARE_CR;
    if (s->dot.has_bare_lf) s->flags |= SMTP_DATA_BARE_LF;
    s->state = STATE_COMMAND;
    s->in_bdat = false;
    // Content may be the first of a pipelined group (RFC 2920 3.1).
    s->is_sync = !s->is_ehlo || !(s->exts & SMTP_EXT_PIPELINING);
    if (s->is_refused)
        smtp_server_die(s, 521, STATUS(5, 5, 2), ERR_PROTO,
                        s->dot.has_bare_lf ? "bare LF in the message" : "bare CR in the message");
    else if (s->is_over) {
        smtp_server_put(s, 552, STATUS(5, 3, 4), S("message too big"));
        s->rcpt_count = s->rcpt_tried = 0;
    } else smtp_server_ask(s, SMTP_SERVER_DATA_END);
}

static void bdat_done(struct smtp_server *s) {
    s->state = STATE_COMMAND;
    if (s->bdat_skip) {
        bool bad = s->skip_code == 503;
        s->bdat_skip = false;
        (bad ? smtp_server_bad : smtp_server_put)(s, s->skip_code, s->skip_status,
                                                  buf_slice(&s->skip_text));
        if (s->skip_code == 421) smtp_server_die(s, 0, STATUS(0, 0, 0), ERR_LIMIT, "refused");
        return;
    }
    if (s->bdat_last) {
        size_t from = s->chunk.n;
        if (s->dot.state > 1) s->flags |= SMTP_DATA_NO_EOL;
        smtp_dot_finish(&s->dot, &s->chunk);
        got(s, from);
        if (s->state != STATE_END) finish(s);
        return;
    }
    if (s->is_refused) finish(s);
    else if (s->is_over) {
        s->bdat_failed = true;
        s->in_bdat = false;
        smtp_server_put(s, 552, STATUS(5, 3, 4), S("message too big"));
    } else {
        char text[64];
        int n =
            snprintf(text, sizeof text, "%llu octets received", (unsigned long long)s->bdat_size);
        smtp_server_put(s, 250, STATUS(2, 0, 0), slice_of(text, (size_t)n));
    }
}

void smtp_server_data_take(struct smtp_server *s, struct slice *in) {
    if (s->chunk_given) {
        buf_reset(&s->chunk);
        s->chunk_given = false;
    }
    size_t from = s->chunk.n;
    if (s->state == STATE_DATA) {
        bool end = smtp_dot_take(&s->dot, in, &s->chunk, SMTP_SERVER_CHUNK_MAX - 4);
        got(s, from);
        if (end && s->state != STATE_END) finish(s);
        return;
    }
    struct slice part = slice_first(*in, s->bdat_left < in->n ? (size_t)s->bdat_left : in->n);
    size_t before = part.n;
    smtp_dot_take(&s->dot, &part, &s->chunk, SMTP_SERVER_CHUNK_MAX - 4);
    before -= part.n;
    *in = slice_from(*in, before);
    s->bdat_left -= before;
    got(s, from);
    if (!s->bdat_left && s->state != STATE_END) bdat_done(s);
}

void smtp_server_bdat_go(struct smtp_server *s, unsigned code, struct mail_status st,
                         struct slice text) {
    if (code) {
        s->bdat_skip = true;
        s->bdat_failed = true;
        s->skip_code = code;
        s->skip_status = st;
        buf_reset(&s->skip_text);
        buf_add(&s->skip_text, text);
    }
    s->state = STATE_BDAT;
    if (!s->bdat_left) bdat_done(s);
}

void smtp_server_bdat(struct smtp_server *s, struct slice args) {
    struct slice word, last = S("");
    uint64_t n;
    slice_word(&args, &word);
    bool has_last = slice_word(&args, &last);
    if (!num_parse(word, UINT64_MAX / 2, &n) || (has_last && !slice_ieq(last, S("LAST"))) ||
        slice_trim(args).n) {
        // Where the next command begins is unknown now.
        smtp_server_die(s, 501, STATUS(5, 5, 4), ERR_PROTO, "bad BDAT, closing");
        return;
    }
    s->bdat_left = s->bdat_size = n;
    s->bdat_last = has_last;
    if (n > SMTP_SERVER_DISCARD_MAX && s->config.size_max && n > s->config.size_max) {
        smtp_server_die(s, 552, STATUS(5, 3, 4), ERR_LIMIT, "message too big, closing");
        return;
    }
    if (s->in_bdat) {
        s->state = STATE_BDAT;
        if (!n) bdat_done(s);
        return;
    }
    smtp_server_data_begin(s);
    s->dot.mode |= SMTP_DOT_RAW;
    s->flags = SMTP_DATA_CHUNKED;
    if (!s->in_mail || s->bdat_failed || !s->rcpt_count) {
        s->discarded = 0;
        bool no_rcpt = s->in_mail && s->rcpt_tried && !s->bdat_failed;
        smtp_server_bdat_go(s, no_rcpt && s->config.role != SMTP_ROLE_LMTP ? 554 : 503,
                            STATUS(5, 5, 1),
                            no_rcpt ? S("no valid recipients") : S("bad sequence of commands"));
        return;
    }
    s->in_bdat = true;
    smtp_server_ask(s, SMTP_SERVER_DATA);
}
