#include "mime/encword.h"

#include "base/ascii.h"
#include "base/utf8.h"
#include "mime/address.h"
#include "mime/b64.h"
#include "mime/charset.h"
#include "mime/header.h"

/* "=?charset*lang?B?text?=" */
struct word {
    struct slice charset, text;
    char encoding; /* 'B' or 'Q' */
    size_t n;      /* bytes of the whole */
};

static bool word_at(struct slice in, struct word *w) {
    struct slice charset, encoding, text, rest;
    size_t end;

    if (!slice_starts(in, S("=?"))) return false;
    rest = slice_first(slice_from(in, 2), ENCWORD_READ_MAX);
    if (!slice_cut(rest, '?', &charset, &rest) || !slice_cut(rest, '?', &encoding, &rest))
        return false;
    slice_cut(charset, '*', &charset, &text);
    if (charset.n == 0 || charset.n > CHARSET_NAME_MAX || encoding.n != 1) return false;
    for (size_t i = 0; i < charset.n; i++)
        if (!ascii_is_graph(charset.p[i])) return false;
    w->encoding = ascii_upper(encoding.p[0]);
    if (w->encoding != 'B' && w->encoding != 'Q') return false;
    end = slice_find(rest, S("?="));
    if (end == SLICE_NONE) return false;
    text = slice_first(rest, end);
    /* Blanks inside are wrong and seen; a line end is not crossed. */
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] == '\n' || text.p[i] == '\r' || text.p[i] == '\0') return false;
    w->charset = charset;
    w->text = text;
    w->n = (size_t)(text.p + text.n + 2 - in.p);
    return true;
}

static void decode_q(struct buf *out, struct slice text) {
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];

        if (c == '_') {
            c = ' ';
        } else if (c == '=' && i + 2 < text.n && ascii_hex(text.p[i + 1]) >= 0 &&
                   ascii_hex(text.p[i + 2]) >= 0) {
            c = (char)(ascii_hex(text.p[i + 1]) << 4 | ascii_hex(text.p[i + 2]));
            i += 2;
        }
        buf_addc(out, c);
    }
}

static void decode_b(struct buf *out, struct slice text) {
    struct b64_decoder d = {0};

    b64_decode(&d, text, out);
    b64_decode_end(&d, out);
}

/* Convert what was gathered; controls become spaces. */
static void flush(struct buf *out, struct buf *raw, struct slice charset) {
    size_t from = out->n;

    if (raw->n == 0) return;
    charset_to_utf8(out, buf_slice(raw), charset);
    for (size_t i = from; i < out->n; i++)
        if (ascii_is_ctl(out->p[i])) out->p[i] = ' ';
    buf_reset(raw);
}

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

/* Blanks of plain text, as many as there are; line ends of folds are none. */
static void put_blanks(struct buf *out, struct slice blanks) {
    for (size_t i = 0; i < blanks.n; i++)
        if (blanks.p[i] == ' ' || blanks.p[i] == '\t') buf_addc(out, ' ');
}

bool encword_decode(struct buf *out, struct slice value) {
    struct slice charset = S("");
    struct buf raw, plain;
    struct word w;
    size_t i = 0;
    bool after_word = false;

    value = slice_trim(value);
    buf_init(&raw, value.n + 16);
    buf_init(&plain, value.n + 16);
    while (i < value.n) {
        size_t from = i;

        while (i < value.n && is_blank(value.p[i])) i++;
        if (i < value.n && word_at(slice_from(value, i), &w)) {
            if (!after_word) put_blanks(&plain, slice_of(value.p + from, i - from));
            if (plain.n) {
                struct slice text = buf_slice(&plain);

                flush(out, &raw, charset);
                charset_guess(out, text);
                buf_reset(&plain);
            }
            if (!slice_ieq(charset, w.charset)) flush(out, &raw, charset);
            charset = w.charset;
            if (w.encoding == 'Q') decode_q(&raw, w.text);
            else decode_b(&raw, w.text);
            i += w.n;
            after_word = true;
            continue;
        }
        /* plain text up to the next blank or the next word glued to it */
        if (i == value.n) break;
        flush(out, &raw, charset);
        put_blanks(&plain, slice_of(value.p + from, i - from));
        do {
            char c = value.p[i++];

            buf_addc(&plain, ascii_is_ctl(c) ? ' ' : c);
        } while (i < value.n && !is_blank(value.p[i]) && !word_at(slice_from(value, i), &w));
        after_word = false;
    }
    flush(out, &raw, charset);
    charset_guess(out, buf_slice(&plain));
    if (raw.bad || plain.bad) out->bad = true;
    buf_release(&raw);
    buf_release(&plain);
    return !out->bad;
}

static bool is_q_plain(char c) {
    return ascii_is_alnum(c) || c == '!' || c == '*' || c == '+' || c == '-' || c == '/';
}

/* Bytes that `s` takes in Q. */
static size_t q_length(struct slice s) {
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++) n += is_q_plain(s.p[i]) || s.p[i] == ' ' ? 1 : 3;
    return n;
}

static void put_q(struct buf *out, struct slice s) {
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (c == ' ') buf_addc(out, '_');
        else if (is_q_plain(c)) buf_addc(out, c);
        else buf_addf(out, "=%02X", (unsigned)(unsigned char)c);
    }
}

static void put_b(struct buf *out, struct slice s) {
    struct b64_encoder q = {.n = 0};

    /* at most 45 bytes come here: one line, whose line end is cut off */
    b64_encode(&q, s, out);
    b64_encode_end(&q, out);
    if (out->n >= 2 && !out->bad) buf_cut(out, out->n - 2);
}

static void fold(struct buf *out, size_t *column) {
    buf_add(out, S("\r\n "));
    *column = 1;
}

/* A run of words with the blanks in it, as encoded words; `s` is UTF-8. */
static void put_encoded(struct buf *out, struct slice s, size_t *column, bool needs_blank) {
    enum { OVERHEAD = 12 }; /* "=?utf-8?Q?" and "?=" */
    bool is_q = q_length(s) <= (s.n + 2) / 3 * 4;

    while (s.n > 0) {
        size_t take = 0, cost = 0, room;

        room = ENCWORD_LINE_MAX - OVERHEAD;
        if (*column + needs_blank + OVERHEAD + 12 <= ENCWORD_LINE_MAX)
            room = ENCWORD_LINE_MAX - OVERHEAD - *column - needs_blank;
        else if (needs_blank) {
            fold(out, column);
            needs_blank = false;
            room = ENCWORD_LINE_MAX - OVERHEAD - *column;
        }
        if (room > ENCWORD_MAX - OVERHEAD) room = ENCWORD_MAX - OVERHEAD;
        while (take < s.n) {
            size_t len = utf8_char(slice_from(s, take), NULL);
            size_t more;

            if (len == 0) len = 1;
            more = is_q ? cost + q_length(slice_of(s.p + take, len)) : (take + len + 2) / 3 * 4;
            if (more > room && take > 0) break;
            cost = more;
            take += len;
        }
        if (needs_blank) {
            buf_addc(out, ' ');
            ++*column;
        }
        buf_add(out, is_q ? S("=?utf-8?Q?") : S("=?utf-8?B?"));
        if (is_q) put_q(out, slice_first(s, take));
        else put_b(out, slice_first(s, take));
        buf_add(out, S("?="));
        *column += OVERHEAD + cost;
        s = slice_from(s, take);
        needs_blank = true;
        if (s.n > 0) {
            fold(out, column);
            needs_blank = false;
        }
    }
}

static bool needs_encoding(struct slice word) {
    return !utf8_is_ascii(word) || word.n > 200 || slice_find(word, S("=?")) != SLICE_NONE;
}

/* One line of clean UTF-8. False: no memory. */
static bool cleaned(struct buf *line, struct slice utf8) {
    buf_init(line, utf8.n * 3 + 16);
    utf8_put_lossy(line, slice_trim(utf8));
    for (size_t i = 0; i < line->n; i++)
        if (ascii_is_ctl(line->p[i])) line->p[i] = ' ';
    return !line->bad;
}

bool encword_put_text(struct buf *out, struct slice utf8, size_t *column) {
    struct buf line;
    struct slice rest;
    bool needs_blank = false;

    if (!cleaned(&line, utf8)) out->bad = true;
    rest = buf_slice(&line);
    while (rest.n > 0 && !out->bad) {
        size_t at = 0, end;

        while (at < rest.n && rest.p[at] == ' ') at++;
        for (end = at; end < rest.n && rest.p[end] != ' ';) end++;
        if (needs_encoding(slice_of(rest.p + at, end - at))) {
            /* take following words that need it too, with the blanks between, into one run */
            for (;;) {
                size_t next = end, stop;

                while (next < rest.n && rest.p[next] == ' ') next++;
                for (stop = next; stop < rest.n && rest.p[stop] != ' ';) stop++;
                if (stop == next || !needs_encoding(slice_of(rest.p + next, stop - next))) break;
                end = stop;
            }
            /* one blank outside the word, further ones inside */
            if (at > 1) at = 1;
            put_encoded(out, slice_of(rest.p + at, end - at), column, needs_blank);
        } else {
            size_t n = end - at;

            if (needs_blank) {
                if (*column + at + n > ENCWORD_LINE_MAX) {
                    buf_add(out, S("\r\n"));
                    *column = 0;
                }
                buf_add(out, slice_first(rest, at));
                *column += at;
            }
            buf_add(out, slice_of(rest.p + at, n));
            *column += n;
        }
        rest = slice_from(rest, end);
        needs_blank = true;
    }
    buf_release(&line);
    return !out->bad;
}

bool encword_put_phrase(struct buf *out, struct slice utf8, size_t *column) {
    struct buf line;

    if (!cleaned(&line, utf8)) {
        out->bad = true;
    } else if (utf8_is_ascii(buf_slice(&line)) && line.n <= 200 &&
               slice_find(buf_slice(&line), S("=?")) == SLICE_NONE) {
        size_t before = out->n;

        address_put_phrase(out, buf_slice(&line));
        *column += out->n - before;
    } else {
        put_encoded(out, buf_slice(&line), column, false);
    }
    buf_release(&line);
    return !out->bad;
}
