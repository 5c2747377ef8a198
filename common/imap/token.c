#include "imap/token.h"

#include "base/ascii.h"
#include "base/num.h"
#include "mime/date.h"

enum { LINE, LITERAL, SKIP };
enum { PARENS_MAX = 20, ATOM_MAX = 1000 };

void imap_reader_init(struct imap_reader *r, size_t max) {
    *r = (struct imap_reader){.state = LINE};
    buf_init(&r->cmd, max);
}

void imap_reader_release(struct imap_reader *r) {
    imap_reader_reset(r);
    buf_release(&r->cmd);
}

void imap_reader_reset(struct imap_reader *r) {
    if (r->cmd.p) explicit_bzero(r->cmd.p, r->cmd.n);
    if (r->cmd.cap > 64 * 1024) buf_release(&r->cmd);
    buf_reset(&r->cmd);
    r->state = LINE;
    r->left = 0;
    r->line_at = 0;
    r->has_skipped = false;
}

/* The line that is in cmd from line_at is complete (no line end in it): a command, or does it end
 * in a literal? */
static enum imap_read line_done(struct imap_reader *r) {
    struct slice line = slice_from(buf_slice(&r->cmd), r->line_at), digits;
    size_t open;
    uint64_t size;
    bool is_sync = true;

    if (line.n < 3 || line.p[line.n - 1] != '}') return IMAP_READ_COMMAND;
    open = slice_rchr(line, '{');
    if (open == SLICE_NONE) return IMAP_READ_COMMAND;
    digits = slice_of(line.p + open + 1, line.n - open - 2);
    if (digits.n && digits.p[digits.n - 1] == '+') is_sync = false, digits.n--;
    if (!num_parse(digits, INT64_MAX, &size)) {
        // {99999999999999999999+} would be followed by bytes that nobody can count
        return digits.n && !is_sync ? IMAP_READ_BAD : IMAP_READ_COMMAND;
    }
    if (!buf_add(&r->cmd, S("\r\n"))) return IMAP_READ_TOO_LONG;
    r->literal_size = r->left = size;
    r->literal_is_sync = is_sync;
    r->line_at = r->cmd.n;
    return IMAP_READ_LITERAL;
}

enum imap_read imap_reader_feed(struct imap_reader *r, struct slice in, size_t *used) {
    *used = 0;
    while (in.n) {
        size_t n;

        if (r->state != LINE) {
            n = in.n < r->left ? in.n : (size_t)r->left;
            if (r->state == LITERAL && !buf_add(&r->cmd, slice_first(in, n))) {
                return IMAP_READ_TOO_LONG;
            }
            r->left -= n;
            *used += n;
            in = slice_from(in, n);
            if (!r->left) r->state = LINE, r->line_at = r->cmd.n;
            continue;
        }
        const char *lf = memchr(in.p, '\n', in.n);
        n = lf ? (size_t)(lf - in.p) + 1 : in.n;
        struct slice piece = slice_of(in.p, lf ? n - 1 : n);
        if (memchr(piece.p, 0, piece.n)) return IMAP_READ_BAD;
        if (!buf_add(&r->cmd, piece)) return IMAP_READ_TOO_LONG;
        *used += n;
        in = slice_from(in, n);
        if (!lf) break;
        if (r->cmd.n > r->line_at && r->cmd.p[r->cmd.n - 1] == '\r') buf_cut(&r->cmd, r->cmd.n - 1);
        return line_done(r);
    }
    return IMAP_READ_MORE;
}

bool imap_reader_take(struct imap_reader *r) {
    if (r->left > r->cmd.max - r->cmd.n) return false;
    r->state = r->left ? LITERAL : LINE;
    return true;
}

void imap_reader_skip(struct imap_reader *r) {
    r->state = r->left ? SKIP : LINE;
    r->has_skipped = true;
}

/* --- cursor ------------------------------------------------------------------------------------
 */

static bool no(struct imap_cursor *c, const char *why) {
    c->why = why;
    return false;
}

bool imap_take(struct imap_cursor *c, char want) {
    if (!c->in.n || c->in.p[0] != want) return no(c, "unexpected character");
    c->in = slice_from(c->in, 1);
    return true;
}

bool imap_take_sp(struct imap_cursor *c) {
    if (!c->in.n || c->in.p[0] != ' ') return no(c, "missing argument");
    while (c->in.n && c->in.p[0] == ' ') c->in = slice_from(c->in, 1);
    return true;
}

bool imap_at_end(const struct imap_cursor *c) {
    for (size_t i = 0; i < c->in.n; i++) {
        if (c->in.p[i] != ' ') return false; // blanks at the end are forgiven
    }
    return true;
}

/* atom-specials without resp-specials are what the callers add: ( ) { SP CTL % * " \ and ] */
static bool is_atom_char(char ch) { return ascii_is_graph(ch) && !strchr("(){%*\"\\]", ch); }
static bool is_astring_char(char ch) { return is_atom_char(ch) || ch == ']'; }
static bool is_tag_char(char ch) { return is_astring_char(ch) && ch != '+'; }
static bool is_list_char(char ch) { return is_astring_char(ch) || ch == '%' || ch == '*'; }
static bool is_word_char(char ch) { return ascii_is_alnum(ch) || ch == '.' || ch == '-'; }

static bool run(struct imap_cursor *c, bool (*is)(char), struct slice *out, const char *why) {
    size_t n = 0;

    while (n < c->in.n && is(c->in.p[n])) n++;
    if (!n || n > ATOM_MAX) return no(c, why);
    *out = slice_first(c->in, n);
    c->in = slice_from(c->in, n);
    return true;
}

bool imap_take_tag(struct imap_cursor *c, struct slice *out) {
    return run(c, is_tag_char, out, "missing tag");
}
bool imap_take_atom(struct imap_cursor *c, struct slice *out) {
    return run(c, is_atom_char, out, "expected an atom");
}
bool imap_take_word(struct imap_cursor *c, struct slice *out) {
    return run(c, is_word_char, out, "expected a word");
}

static bool quoted(struct imap_cursor *c, struct slice *out) {
    size_t i = 1;
    bool has_escape = false;

    for (; i < c->in.n && c->in.p[i] != '"'; i++) {
        if (c->in.p[i] == '\r' || c->in.p[i] == '\n') break;
        if (c->in.p[i] != '\\') continue;
        has_escape = true;
        i++;
    }
    if (i >= c->in.n || c->in.p[i] != '"') return no(c, "quoted string does not end");
    *out = slice_of(c->in.p + 1, i - 1);
    if (has_escape) {
        char *to = arena_new(c->arena, out->n);
        size_t n = 0;

        if (!to) return no(c, "command too large");
        for (size_t k = 0; k < out->n; k++) {
            if (out->p[k] == '\\' && k + 1 < out->n) k++;
            to[n++] = out->p[k];
        }
        *out = slice_of(to, n);
    }
    c->in = slice_from(c->in, i + 1);
    return true;
}

static bool literal(struct imap_cursor *c, struct slice *out) {
    struct slice rest = slice_from(c->in, 1);
    uint64_t n;

    if (!num_take(&rest, INT64_MAX, &n)) return no(c, "malformed literal");
    if (rest.n && rest.p[0] == '+') rest = slice_from(rest, 1);
    if (!slice_starts(rest, S("}\r\n")) || rest.n - 3 < n) return no(c, "malformed literal");
    *out = slice_of(rest.p + 3, (size_t)n);
    c->in = slice_from(rest, 3 + (size_t)n);
    return true;
}

bool imap_take_string(struct imap_cursor *c, struct slice *out) {
    if (c->in.n && c->in.p[0] == '"') return quoted(c, out);
    if (c->in.n && c->in.p[0] == '{') return literal(c, out);
    return no(c, "expected a string");
}

bool imap_take_astring(struct imap_cursor *c, struct slice *out) {
    if (c->in.n && (c->in.p[0] == '"' || c->in.p[0] == '{')) return imap_take_string(c, out);
    return run(c, is_astring_char, out, "expected a string");
}

bool imap_take_list_mailbox(struct imap_cursor *c, struct slice *out) {
    if (c->in.n && (c->in.p[0] == '"' || c->in.p[0] == '{')) return imap_take_string(c, out);
    return run(c, is_list_char, out, "expected a mailbox pattern");
}

bool imap_take_number(struct imap_cursor *c, uint64_t max, uint64_t *out) {
    return num_take(&c->in, max, out) || no(c, "expected a number");
}

bool imap_take_flag(struct imap_cursor *c, struct slice *out) {
    struct imap_cursor save = *c;
    struct slice word;
    size_t slash = c->in.n && c->in.p[0] == '\\';

    c->in = slice_from(c->in, slash);
    if (!imap_take_atom(c, &word)) {
        *c = save;
        return no(c, "expected a flag");
    }
    *out = slice_of(save.in.p, word.n + slash);
    return true;
}

bool imap_take_date_time(struct imap_cursor *c, wall_t *t) {
    struct imap_cursor save = *c;
    struct slice s;

    if (c->in.n && c->in.p[0] == '"' && quoted(c, &s) && date_parse_imap(s, t, NULL)) return true;
    *c = save;
    return no(c, "malformed date-time");
}

bool imap_take_date(struct imap_cursor *c, wall_t *day) {
    struct imap_cursor save = *c;
    struct slice s;

    if (imap_take_astring(c, &s) && date_parse_imap_day(s, day)) return true;
    *c = save;
    return no(c, "malformed date");
}

bool imap_take_parens(struct imap_cursor *c, struct slice *out) {
    struct imap_cursor save = *c;
    unsigned depth = 0;

    do {
        char ch = c->in.n ? c->in.p[0] : 0;
        struct slice s;

        if (ch == '(') {
            if (++depth > PARENS_MAX) break;
            c->in = slice_from(c->in, 1);
        } else if (ch == ')' && depth) {
            depth--;
            c->in = slice_from(c->in, 1);
        } else if (ch == ' ' && depth) {
            c->in = slice_from(c->in, 1);
        } else if (!depth || !(imap_take_astring(c, &s) || imap_take_flag(c, &s))) {
            break;
        }
        if (!depth) {
            *out = slice_of(save.in.p, save.in.n - c->in.n);
            return true;
        }
    } while (c->in.n);
    *c = save;
    return no(c, "malformed list");
}
