#include "base/attr.h"
#include "base/num.h"
#include "base/utf7.h"
#include "base/utf8.h"
#include "imap/client_impl.h"
#include "imap/server.h"
#include "mime/date.h"

void cl_text(struct slice in, struct slice *code, struct slice *text) {
    size_t end;

    in = slice_trim(in);
    *code = (struct slice){0};
    *text = in;
    if (!in.n || in.p[0] != '[') return;
    if ((end = slice_chr(in, ']')) == SLICE_NONE) return;
    *code = slice_of(in.p + 1, end - 1);
    *text = slice_trim(slice_from(in, end + 1));
}

void cl_set_capabilities(struct imap_client *c, struct slice words) {
    buf_reset(&c->caps);
    for (struct slice w; slice_word(&words, &w);) {
        if (c->caps.n) buf_addc(&c->caps, ' ');
        buf_add(&c->caps, w);
    }
}

static bool take_nil(struct imap_cursor *c) {
    struct slice next = slice_first(c->in, 3), behind = slice_from(c->in, 3);

    if (!slice_ieq(next, S("NIL"))) return false;
    if (behind.n && behind.p[0] != ' ' && behind.p[0] != ')') return false;
    c->in = behind;
    return true;
}

/* NIL gives an empty slice. Atoms are taken too, since some servers forget the quotes. */
static bool take_nstring(struct imap_cursor *c, struct slice *out) {
    *out = (struct slice){0};
    if (c->in.n && c->in.p[0] == '~') c->in = slice_from(c->in, 1); // literal8
    return take_nil(c) || imap_take_astring(c, out);
}

/* --- LIST and STATUS ---------------------------------------------------------------------------
 */

static const struct {
    struct slice name;
    unsigned bit;
} attributes[] = {
    {S_INIT("\\Noselect"), IMAP_NOSELECT},
    {S_INIT("\\NonExistent"), IMAP_NOSELECT},
    {S_INIT("\\Noinferiors"), IMAP_NOINFERIORS},
    {S_INIT("\\Marked"), IMAP_MARKED},
    {S_INIT("\\Unmarked"), IMAP_UNMARKED},
    {S_INIT("\\HasChildren"), IMAP_HAS_CHILDREN},
    {S_INIT("\\HasNoChildren"), IMAP_HAS_NO_CHILDREN},
    {S_INIT("\\All"), IMAP_USE_ALL},
    {S_INIT("\\Archive"), IMAP_USE_ARCHIVE},
    {S_INIT("\\Drafts"), IMAP_USE_DRAFTS},
    {S_INIT("\\Flagged"), IMAP_USE_FLAGGED},
    {S_INIT("\\Junk"), IMAP_USE_JUNK},
    {S_INIT("\\Sent"), IMAP_USE_SENT},
    {S_INIT("\\Trash"), IMAP_USE_TRASH},
};

static struct slice utf8_name(struct imap_client *c, struct slice raw) {
    struct buf b;
    struct slice out = raw;

    buf_init(&b, 2 * raw.n + 16);
    if (utf7_get(&b, raw) && b.n) out = arena_copy(&c->arena, buf_slice(&b));
    buf_release(&b);
    return out;
}

/* The mailbox of LIST and STATUS; unquoted names with odd bytes are taken up to the next space. */
static bool take_name(struct imap_cursor *c, struct slice *out) {
    size_t n = slice_chr(c->in, ' ');

    if (c->in.n && (c->in.p[0] == '"' || c->in.p[0] == '{')) return imap_take_string(c, out);
    *out = slice_first(c->in, n);
    c->in = slice_from(c->in, out->n);
    return out->n > 0;
}

static bool list(struct imap_client *c, struct imap_cursor *cur, bool is_lsub) {
    struct imap_client_event *ev;
    struct slice flags = {0}, delimiter, raw, word;

    if (!imap_take_sp(cur) || !imap_take(cur, '(')) return false;
    flags.p = cur->in.p;
    while (!imap_take(cur, ')')) {
        if (!imap_take_flag(cur, &word)) return false;
        flags.n = (size_t)(cur->in.p - flags.p);
        imap_take_sp(cur);
    }
    if (!imap_take_sp(cur) || !take_nstring(cur, &delimiter) || !imap_take_sp(cur) ||
        !take_name(cur, &raw)) {
        return false;
    }
    ev = cl_event(c, IMAP_CL_LIST);
    ev->is_lsub = is_lsub;
    ev->attribute_text = flags;
    for (struct slice rest = flags; slice_word(&rest, &word);) {
        for (size_t i = 0; i < COUNT_OF(attributes); i++) {
            if (slice_ieq(word, attributes[i].name)) ev->attributes |= attributes[i].bit;
        }
    }
    ev->delimiter = delimiter.n ? delimiter.p[0] : 0;
    ev->raw_name = raw;
    ev->name = utf8_name(c, raw);
    return true;
}

static bool status(struct imap_client *c, struct imap_cursor *cur) {
    struct imap_mailbox_numbers m = {0};
    const struct {
        struct slice name;
        bool *has;
        uint64_t *value;
    } items[] = {
        {S("MESSAGES"), &m.has_messages, &m.messages},
        {S("RECENT"), &m.has_recent, &m.recent},
        {S("UIDNEXT"), &m.has_uidnext, &m.uidnext},
        {S("UIDVALIDITY"), &m.has_uidvalidity, &m.uidvalidity},
        {S("UNSEEN"), &m.has_unseen, &m.unseen},
        {S("SIZE"), &m.has_size, &m.size_bytes},
        {S("HIGHESTMODSEQ"), &m.has_modseq, &m.modseq},
    };
    struct imap_client_event *ev;
    struct slice raw, word, skipped;
    uint64_t n;

    if (!imap_take_sp(cur) || !take_name(cur, &raw) || !imap_take_sp(cur) || !imap_take(cur, '(')) {
        return false;
    }
    while (!imap_take(cur, ')')) {
        if (!imap_take_word(cur, &word) || !imap_take_sp(cur)) return false;
        if (imap_take_number(cur, INT64_MAX, &n)) {
            for (size_t i = 0; i < COUNT_OF(items); i++) {
                if (slice_ieq(word, items[i].name)) *items[i].has = true, *items[i].value = n;
            }
        } else if (!imap_take_parens(cur, &skipped) && !take_nstring(cur, &skipped)) {
            return false;
        }
        imap_take_sp(cur);
    }
    ev = cl_event(c, IMAP_CL_STATUS);
    ev->raw_name = raw;
    ev->name = utf8_name(c, raw);
    ev->mailbox = m;
    return true;
}

/* --- FETCH -------------------------------------------------------------------------------------
 */

static bool addresses(struct imap_cursor *c, struct imap_address_list *out) {
    size_t cap = 0;

    *out = (struct imap_address_list){0};
    if (take_nil(c)) return true;
    if (!imap_take(c, '(')) return false;
    while (!imap_take(c, ')')) {
        struct imap_address a = {0};

        if (!imap_take(c, '(') || !take_nstring(c, &a.name) || !imap_take_sp(c) ||
            !take_nstring(c, &a.route) || !imap_take_sp(c) || !take_nstring(c, &a.mailbox) ||
            !imap_take_sp(c)) {
            return false;
        }
        a.is_nil_host = take_nil(c);
        if (!a.is_nil_host && !take_nstring(c, &a.host)) return false;
        if (!imap_take(c, ')')) return false;
        imap_take_sp(c);
        if (out->n == IMAP_CL_ADDRESSES_MAX) continue;
        if (out->n == cap) {
            struct imap_address *v = arena_new(c->arena, (cap = cap ? 2 * cap : 4) * sizeof *v);
            if (!v) return false;
            if (out->n) memcpy(v, out->v, out->n * sizeof *v);
            out->v = v;
        }
        out->v[out->n++] = a;
    }
    return true;
}

static bool envelope(struct imap_cursor *c, struct imap_envelope *e) {
    struct imap_address_list *lists[] = {&e->from, &e->sender, &e->reply_to,
                                         &e->to,   &e->cc,     &e->bcc};

    if (!imap_take(c, '(') || !take_nstring(c, &e->date) || !imap_take_sp(c) ||
        !take_nstring(c, &e->subject)) {
        return false;
    }
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        if (!imap_take_sp(c) || !addresses(c, lists[i])) return false;
    }
    return imap_take_sp(c) && take_nstring(c, &e->in_reply_to) && imap_take_sp(c) &&
           take_nstring(c, &e->message_id) && imap_take(c, ')');
}

static bool flags(struct imap_cursor *c, struct slice *out) {
    struct slice word;

    if (!imap_take(c, '(')) return false;
    *out = slice_of(c->in.p, 0);
    while (!imap_take(c, ')')) {
        if (!imap_take_flag(c, &word) && !imap_take(c, '\\')) return false;
        imap_take(c, '*'); // "\*"
        out->n = (size_t)(c->in.p - out->p);
        imap_take_sp(c);
    }
    return true;
}

/* Any value of an attribute we do not know: skipped. */
static bool skip_value(struct imap_cursor *c, struct slice *out) {
    const char *from = c->in.p;
    struct slice s;

    if (!imap_take_parens(c, &s) && !take_nstring(c, &s)) return false;
    *out = slice_of(from, (size_t)(c->in.p - from));
    return true;
}

/* "BODY[...]<0>" or "RFC822.TEXT": the section, up to where the value comes. */
static bool section(struct imap_cursor *c, struct slice word, struct slice *out) {
    const char *from = c->in.p + 1;
    bool in_quotes = false;

    *out = slice_ieq(word, S("RFC822"))          ? S("")
           : slice_ieq(word, S("RFC822.HEADER")) ? S("HEADER")
                                                 : S("TEXT");
    if (!slice_ieq(word, S("BODY"))) return true;
    for (size_t i = 1; i < c->in.n; i++) {
        char ch = c->in.p[i];

        if (ch == '"') in_quotes = !in_quotes;
        if (ch != ']' || in_quotes) continue;
        *out = slice_of(from, i - 1);
        c->in = slice_from(c->in, i + 1);
        if (imap_take(c, '<')) {
            uint64_t n;
            return imap_take_number(c, INT64_MAX, &n) && imap_take(c, '>');
        }
        return true;
    }
    return false;
}

static bool body(struct imap_client *c, struct imap_cursor *cur, struct slice word, uint32_t number,
                 struct imap_fetched *f, bool is_probe) {
    struct slice name, bytes;

    if (!section(cur, word, &name) || !imap_take_sp(cur)) return false;
    if (imap_take(cur, CL_STREAMED)) return true;
    if (!take_nstring(cur, &bytes)) return false;
    if (!is_probe) {
        struct imap_client_event *ev = cl_event(c, IMAP_CL_BODY);
        ev->number = number;
        ev->uid = f->uid;
        ev->section = name;
        ev->bytes = bytes;
        ev->size_bytes = bytes.n;
        ev->is_last = true;
    }
    return true;
}

static bool attribute(struct imap_client *c, struct imap_cursor *cur, uint32_t number,
                      struct imap_fetched *f, bool is_probe) {
    struct slice word, value;
    uint64_t n;

    if (!imap_take_word(cur, &word)) return false;
    if ((slice_ieq(word, S("BODY")) && cur->in.n && cur->in.p[0] == '[') ||
        slice_ieq(word, S("RFC822")) || slice_ieq(word, S("RFC822.TEXT")) ||
        slice_ieq(word, S("RFC822.HEADER"))) {
        return body(c, cur, word, number, f, is_probe);
    }
    if (!imap_take_sp(cur)) return false;
    if (slice_ieq(word, S("UID"))) {
        if (!imap_take_number(cur, UINT32_MAX, &n)) return false;
        f->uid = (uint32_t)n;
        return true;
    }
    if (slice_ieq(word, S("FLAGS"))) return f->has_flags = flags(cur, &f->flags);
    if (slice_ieq(word, S("RFC822.SIZE"))) {
        return f->has_size = imap_take_number(cur, INT64_MAX, &f->size_bytes);
    }
    if (slice_ieq(word, S("INTERNALDATE"))) {
        if (!take_nstring(cur, &value)) return false;
        f->has_date = date_parse_imap(value, &f->internal_date, &f->date_offset);
        return true;
    }
    if (slice_ieq(word, S("ENVELOPE"))) return f->has_envelope = envelope(cur, &f->envelope);
    if (!skip_value(cur, &value)) return false;
    if (slice_ieq(word, S("BODYSTRUCTURE")) || slice_ieq(word, S("BODY"))) f->bodystructure = value;
    return true;
}

static bool fetch(struct imap_client *c, struct imap_cursor *cur, uint32_t number,
                  struct imap_fetched *f, bool is_probe) {
    if (!imap_take_sp(cur) || !imap_take(cur, '(')) return false;
    while (!imap_take(cur, ')')) {
        if (!attribute(c, cur, number, f, is_probe)) return false;
        imap_take_sp(cur);
    }
    return true;
}

bool cl_is_streamed(struct imap_client *c, struct slice before) {
    struct imap_cursor cur = {.in = before, .arena = &c->arena};
    struct imap_fetched f = {0};
    struct slice word, s;
    uint64_t number;
    size_t at;

    if (!imap_take(&cur, '*') || !imap_take_sp(&cur) ||
        !imap_take_number(&cur, UINT32_MAX, &number) || !imap_take_sp(&cur) ||
        !imap_take_word(&cur, &word) || !slice_ieq(word, S("FETCH"))) {
        return false;
    }
    // walk over what is complete; where that ends a section must be, with nothing behind it
    if (!imap_take_sp(&cur) || !imap_take(&cur, '(')) return false;
    for (;;) {
        struct imap_cursor save = cur;
        if (attribute(c, &cur, (uint32_t)number, &f, true) && imap_take_sp(&cur)) continue;
        cur = save;
        break;
    }
    if (!imap_take_word(&cur, &word)) return false;
    if (!slice_ieq(word, S("BODY")) && !slice_istarts(word, S("RFC822"))) return false;
    if (slice_ieq(word, S("BODY")) && (!cur.in.n || cur.in.p[0] != '[')) return false;
    if (!section(&cur, word, &s)) return false;
    if (!imap_take_sp(&cur)) return false;
    imap_take(&cur, '~');
    at = cur.in.n;
    if (at) return false;
    c->stream_number = (uint32_t)number;
    c->stream_uid = f.uid;
    buf_reset(&c->stream_section);
    buf_add(&c->stream_section, s);
    return true;
}

/* --- SEARCH and the rest -----------------------------------------------------------------------
 */

bool cl_search_piece(struct imap_client *c, bool is_last) {
    struct slice line = slice_chomp(buf_slice(&c->line)), rest = slice_from(line, 8), word;
    size_t end = is_last ? rest.n : slice_rchr(rest, ' ');
    uint32_t *v;
    size_t n = 0;

    if (end == SLICE_NONE || (!is_last && !end)) return true;
    rest = slice_first(rest, end);
    if (!(v = arena_new(&c->arena, (rest.n / 2 + 1) * sizeof *v))) return false;
    while (slice_word(&rest, &word)) {
        uint64_t x;
        if (word.p[0] == '(') break; // (MODSEQ n) of RFC 7162
        if (!num_parse(word, UINT32_MAX, &x)) return false;
        v[n++] = (uint32_t)x;
    }
    if (n) {
        struct imap_client_event *ev = cl_event(c, IMAP_CL_SEARCH);
        ev->numbers = v;
        ev->n_numbers = n;
    }
    if (!is_last) {
        struct slice tail = slice_from(line, 8 + end);
        memmove(c->line.p + 8, tail.p, tail.n);
        buf_cut(&c->line, 8 + tail.n);
    }
    return true;
}

static void note(struct imap_client *c, enum imap_client_status st, struct slice rest) {
    struct imap_client_event *ev;
    struct slice code, text;

    cl_text(rest, &code, &text);
    if (slice_istarts(code, S("CAPABILITY "))) cl_set_capabilities(c, slice_from(code, 11));
    if (st == IMAP_CL_BYE) {
        buf_reset(&c->bye);
        buf_add(&c->bye, slice_first(text, 150));
    }
    ev = cl_event(c, IMAP_CL_NOTE);
    ev->status = st;
    ev->code = code;
    ev->text = text;
}

static bool numbered(struct imap_client *c, struct imap_cursor *cur, struct slice line) {
    struct slice word;
    uint64_t n;
    struct imap_fetched f = {0};

    if (!imap_take_number(cur, UINT32_MAX, &n) || !imap_take_sp(cur) ||
        !imap_take_word(cur, &word)) {
        return false;
    }
    if (slice_ieq(word, S("FETCH"))) {
        if (!fetch(c, cur, (uint32_t)n, &f, false)) return false;
        struct imap_client_event *ev = cl_event(c, IMAP_CL_FETCH);
        ev->number = (uint32_t)n;
        ev->uid = f.uid;
        ev->fetched = f;
        return true;
    }
    if (slice_ieq(word, S("EXISTS"))) cl_event(c, IMAP_CL_EXISTS)->number = (uint32_t)n;
    else if (slice_ieq(word, S("RECENT"))) cl_event(c, IMAP_CL_RECENT)->number = (uint32_t)n;
    else if (slice_ieq(word, S("EXPUNGE"))) cl_event(c, IMAP_CL_EXPUNGE)->number = (uint32_t)n;
    else cl_event(c, IMAP_CL_OTHER)->text = line;
    return true;
}

bool cl_untagged(struct imap_client *c, struct slice line) {
    struct imap_cursor cur = {.in = line, .arena = &c->arena};
    struct slice word;

    if (line.n && line.p[0] >= '0' && line.p[0] <= '9') return numbered(c, &cur, line);
    if (!imap_take_word(&cur, &word)) return false;
    if (slice_ieq(word, S("OK"))) note(c, IMAP_CL_OK, cur.in);
    else if (slice_ieq(word, S("NO"))) note(c, IMAP_CL_NO, cur.in);
    else if (slice_ieq(word, S("BAD"))) note(c, IMAP_CL_BAD, cur.in);
    else if (slice_ieq(word, S("BYE"))) note(c, IMAP_CL_BYE, cur.in);
    else if (slice_ieq(word, S("CAPABILITY"))) cl_set_capabilities(c, cur.in);
    else if (slice_ieq(word, S("LIST"))) return list(c, &cur, false);
    else if (slice_ieq(word, S("LSUB"))) return list(c, &cur, true);
    else if (slice_ieq(word, S("STATUS"))) return status(c, &cur);
    else if (slice_ieq(word, S("SEARCH"))) return cl_search_piece(c, true);
    else if (slice_ieq(word, S("FLAGS"))) {
        struct slice all;
        if (!imap_take_sp(&cur) || !flags(&cur, &all)) return false;
        cl_event(c, IMAP_CL_FLAGS)->text = all;
    } else cl_event(c, IMAP_CL_OTHER)->text = line;
    return true;
}
