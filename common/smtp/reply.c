#include "smtp/reply.h"

#include <stdio.h>

#include "base/ascii.h"

static const char *const stages[SMTP_STAGE_COUNT] = {"none", "connect", "ehlo", "starttls", "tls",
                                                     "auth", "mail",    "rcpt", "data",     "body",
                                                     "end",  "rset",    "quit"};

const char *smtp_stage_name(enum smtp_stage stage) {
    return (unsigned)stage < SMTP_STAGE_COUNT ? stages[stage] : "";
}

enum smtp_stage smtp_stage_find(struct slice word) {
    for (int i = 1; i < SMTP_STAGE_COUNT; i++)
        if (slice_ieq(word, slice_str(stages[i]))) return (enum smtp_stage)i;
    return SMTP_STAGE_NONE;
}

enum smtp_class smtp_reply_class(enum smtp_stage stage, unsigned code) {
    if (code / 100 == 2) return SMTP_CLASS_OK;
    if (code == 354 && stage == SMTP_STAGE_DATA) return SMTP_CLASS_OK;
    if (code == 552 && stage == SMTP_STAGE_RCPT) return SMTP_CLASS_TEMPORARY;
    return code / 100 == 5 ? SMTP_CLASS_PERMANENT : SMTP_CLASS_TEMPORARY;
}

static bool take_num(struct slice *s, unsigned *out) {
    size_t n = 0;
    unsigned v = 0;
    while (n < s->n && n < 4 && ascii_is_digit(s->p[n])) v = v * 10 + (unsigned)(s->p[n++] - '0');
    if (!n || n > 3) return false;
    *s = slice_from(*s, n);
    *out = v;
    return true;
}

bool smtp_status_take(struct slice *text, struct mail_status *status) {
    struct slice s = *text;
    unsigned c, sub, det;
    if (!take_num(&s, &c) || (c != 2 && c != 4 && c != 5) || !s.n || *s.p != '.') return false;
    s = slice_from(s, 1);
    if (!take_num(&s, &sub) || !s.n || *s.p != '.') return false;
    s = slice_from(s, 1);
    if (!take_num(&s, &det) || (s.n && !ascii_is_wsp(*s.p))) return false;
    *status = STATUS((uint16_t)c, (uint16_t)sub, (uint16_t)det);
    *text = slice_from(s, s.n ? 1 : 0);
    return true;
}

void smtp_reply_parser_init(struct smtp_reply_parser *p) {
    *p = (struct smtp_reply_parser){0};
    buf_init(&p->line, SMTP_REPLY_LINE_MAX);
    buf_init(&p->text, SMTP_REPLY_TEXT_MAX);
}

void smtp_reply_parser_release(struct smtp_reply_parser *p) {
    buf_release(&p->line);
    buf_release(&p->text);
}

bool smtp_reply_parser_is_idle(const struct smtp_reply_parser *p) {
    return p->is_done || (!p->line.n && !p->lines);
}

// One whole line without CRLF. True: it was the last of its reply.
static enum step line_done(struct smtp_reply_parser *p, struct smtp_reply *out, struct err *e) {
    struct slice s = buf_slice(&p->line);
    unsigned code;
    if (s.n < 3 || !take_num(&s, &code) || code < 200 || code > 599 ||
        (s.n && *s.p != ' ' && *s.p != '-')) {
        err_set(e, ERR_SYNTAX, "the peer sent a line that is no reply");
        return STEP_BAD;
    }
    bool last = !s.n || *s.p == ' ';
    s = slice_from(s, 1);
    struct mail_status st;
    if (code / 100 != 3 && smtp_status_take(&s, &st) && st.cls == code / 100) {
        if (!p->status.cls || last) p->status = st;
    } else {
        s = buf_slice(&p->line);
        s = slice_from(s, s.n > 3 ? 4 : 3);
    }
    if (++p->lines > SMTP_REPLY_LINES_MAX) {
        err_set(e, ERR_LIMIT, "the peer's reply has too many lines");
        return STEP_BAD;
    }
    if (p->lines > 1) buf_addc(&p->text, '\n');
    char *room = buf_room(&p->text, s.n);
    if (p->text.bad || (!room && s.n)) {
        err_set(e, ERR_LIMIT, "the peer's reply is too long");
        return STEP_BAD;
    }
    for (size_t i = 0; i < s.n; i++)
        room[i] =
            (ascii_is_ctl(s.p[i]) && s.p[i] != '\t') || ascii_is_c1(s.p, s.n, i) ? '?' : s.p[i];
    if (s.n) buf_grown(&p->text, s.n);
    buf_reset(&p->line);
    if (!last) return STEP_MORE;
    *out = (struct smtp_reply){code, p->status, buf_slice(&p->text)};
    if (p->status.cls != code / 100) out->status = STATUS(0, 0, 0);
    p->is_done = true;
    return STEP_DONE;
}

enum step smtp_reply_feed(struct smtp_reply_parser *p, struct slice *in, struct smtp_reply *out,
                          struct err *e) {
    if (p->is_done) {
        buf_reset(&p->text);
        p->lines = 0;
        p->status = STATUS(0, 0, 0);
        p->is_done = false;
    }
    while (in->n) {
        size_t lf = slice_chr(*in, '\n');
        struct slice part = slice_first(*in, lf == SLICE_NONE ? in->n : lf + 1);
        if (!buf_add(&p->line, part)) {
            err_set(e, ERR_LIMIT, "the peer sent a line of more than %d bytes",
                    SMTP_REPLY_LINE_MAX);
            return STEP_BAD;
        }
        *in = slice_from(*in, part.n);
        if (lf == SLICE_NONE) return STEP_MORE;
        buf_cut(&p->line, slice_chomp(buf_slice(&p->line)).n);
        enum step r = line_done(p, out, e);
        if (r != STEP_MORE) return r;
    }
    return STEP_MORE;
}

bool smtp_reply_put(struct buf *out, unsigned code, struct mail_status st, struct slice text) {
    struct slice line;
    do {
        if (!slice_line(&text, &line)) line = S("");
        do {
            char head[40];
            int n = st.cls ? snprintf(head, sizeof head, "%u.%u.%u ", st.cls, st.subject, st.detail)
                           : 0;
            size_t room = SMTP_REPLY_OUT_MAX - 6 - (size_t)n;
            struct slice part = slice_first(line, room);
            line = slice_from(line, part.n);
            buf_addf(out, "%03u%c%.*s", code % 1000, line.n || text.n ? '-' : ' ', n, head);
            for (size_t i = 0; i < part.n; i++)
                buf_addc(out, part.p[i] >= 32 && part.p[i] < 127 ? part.p[i] : '?');
            buf_add(out, S("\r\n"));
        } while (line.n);
    } while (text.n);
    return !out->bad;
}
