#include "imap/head.h"

#include "base/num.h"
#include "imap/fold.h"
#include "mime/address.h"
#include "mime/date.h"
#include "mime/header.h"
#include "mime/msgid.h"

static const struct slice names[IMAP_HEAD_FIELDS] = {S_INIT("Subject"), S_INIT("From"),
                                                     S_INIT("To"), S_INIT("Cc"), S_INIT("Bcc")};

enum imap_head_field imap_head_field(struct slice name) {
    for (int i = 0; i < IMAP_HEAD_FIELDS; i++)
        if (slice_ieq(name, names[i])) return (enum imap_head_field)i;
    return IMAP_HEAD_FIELDS;
}

/* --- base subject (RFC 5256 2.1) ---------------------------------------------------------------
 */

/* "[list] " at the start, or 0. */
static size_t blob(struct slice s) {
    size_t n = 1;

    if (!s.n || s.p[0] != '[') return 0;
    while (n < s.n && s.p[n] != '[' && s.p[n] != ']') n++;
    if (n == s.n || s.p[n] != ']') return 0;
    for (n++; n < s.n && s.p[n] == ' ';) n++;
    return n;
}

/* "re:", "fwd [x]:" at the start, or 0. */
static size_t refwd(struct slice s) {
    size_t n = slice_starts(s, S("re"))    ? 2
               : slice_starts(s, S("fwd")) ? 3
               : slice_starts(s, S("fw"))  ? 2
                                           : 0;

    if (!n) return 0;
    while (n < s.n && s.p[n] == ' ') n++;
    n += blob(slice_from(s, n));
    return n < s.n && s.p[n] == ':' ? n + 1 : 0;
}

static struct slice without_trailers(struct slice s, bool *is_reply) {
    for (;;) {
        s = slice_trim(s);
        if (!slice_ends(s, S("(fwd)"))) return s;
        *is_reply = true;
        s.n -= 5;
    }
}

static struct slice without_leaders(struct slice s, bool *is_reply) {
    for (;;) {
        size_t blobs = 0, n;

        s = slice_trim(s);
        while ((n = blob(slice_from(s, blobs)))) blobs += n;
        n = refwd(slice_from(s, blobs));
        if (n) {
            *is_reply = true;
            s = slice_from(s, blobs + n);
            continue;
        }
        n = blob(s);
        if (!n || n == s.n) return s; /* a blob that is all there is stays */
        s = slice_from(s, n);
    }
}

struct slice imap_base_subject(struct slice s, bool *is_reply) {
    *is_reply = false;
    for (;;) {
        s = without_leaders(without_trailers(s, is_reply), is_reply);
        if (!slice_starts(s, S("[fwd:")) || !slice_ends(s, S("]"))) return s;
        *is_reply = true;
        s = slice_of(s.p + 5, s.n - 6);
    }
}

/* --- make --------------------------------------------------------------------------------------
 */

/* What of a header is kept, gathered in one pass. */
struct gathered {
    struct buf field[IMAP_HEAD_FIELDS]; /* all of a name, folded, with 0x01 between them */
    unsigned count[IMAP_HEAD_FIELDS];
    bool is_too_much[IMAP_HEAD_FIELDS];
    struct slice first[IMAP_HEAD_FIELDS]; /* as written */
    struct slice date, id, references, in_reply_to;
};

void imap_fold_head_field(struct buf *out, enum imap_head_field k, struct slice value) {
    struct address_list list = {0};
    struct arena a;
    struct buf text;

    imap_fold_field(out, value);
    if (k < IMAP_HEAD_FROM || k > IMAP_HEAD_BCC || slice_chr(value, '(') == SLICE_NONE) return;
    arena_init(&a, 1024 * 1024);
    buf_init(&text, IMAP_HEAD_FIELD_MAX);
    address_parse(&a, value, &list, NULL);
    for (size_t i = 0; i < list.n && !out->bad; i++) {
        buf_reset(&text);
        if (list.v[i].kind != ADDRESS_MAILBOX || !address_put_spec(&text, &list.v[i])) continue;
        buf_addc(out, 1);
        imap_fold(out, buf_slice(&text));
    }
    buf_release(&text);
    arena_release(&a);
}

static void gather_field(struct gathered *g, enum imap_head_field k, struct slice value) {
    struct buf *b = &g->field[k];

    if (g->count[k]++ == 0) g->first[k] = value;
    else buf_addc(b, 1);
    if (value.n <= 4 * IMAP_HEAD_FIELD_MAX) imap_fold_head_field(b, k, value);
    if (value.n > 4 * IMAP_HEAD_FIELD_MAX || b->bad || b->n > IMAP_HEAD_FIELD_MAX)
        g->is_too_much[k] = true;
}

static void gather(struct gathered *g, struct slice header) {
    struct header_iter it;
    struct header_field f;

    *g = (struct gathered){0};
    for (int i = 0; i < IMAP_HEAD_FIELDS; i++) buf_init(&g->field[i], 16 * IMAP_HEAD_FIELD_MAX);
    for (header_begin(&it, header); header_next(&it, &f);) {
        enum imap_head_field k = imap_head_field(f.name);
        struct slice *one = slice_ieq(f.name, S("Date"))          ? &g->date
                            : slice_ieq(f.name, S("Message-ID"))  ? &g->id
                            : slice_ieq(f.name, S("References"))  ? &g->references
                            : slice_ieq(f.name, S("In-Reply-To")) ? &g->in_reply_to
                                                                  : NULL;

        if (one && !one->p) *one = slice_trim(f.value);
        if (k == IMAP_HEAD_FIELDS || g->is_too_much[k]) continue;
        gather_field(g, k, f.value);
    }
}

/* "+" and the text; "-": there is none, "?": too much of it. */
static void put_field(struct buf *out, const struct gathered *g, int k) {
    buf_addc(out, g->is_too_much[k] ? '?' : g->count[k] ? '+' : '-');
    if (!g->is_too_much[k]) buf_add(out, buf_slice(&g->field[k]));
    buf_addc(out, '\n');
}

static void put_line(struct buf *out, struct slice s) {
    imap_fold_field(out, slice_first(s, IMAP_HEAD_FIELD_MAX));
    buf_addc(out, '\n');
}

/* The first address of a field: its mailbox, and what is shown of it. */
static void first_address(struct slice value, struct buf *mailbox, struct buf *display) {
    struct arena a;
    struct address_list list = {0};

    arena_init(&a, 1024 * 1024);
    if (value.n) address_parse(&a, slice_first(value, IMAP_HEAD_FIELD_MAX), &list, NULL);
    for (size_t i = 0; i < list.n; i++) {
        const struct address *ad = &list.v[i];

        if (ad->kind == ADDRESS_GROUP_END) continue;
        if (ad->kind == ADDRESS_GROUP) {
            buf_add(mailbox, ad->name);
            buf_add(display, ad->name);
            break;
        }
        buf_add(mailbox, ad->local);
        if (ad->name.n) buf_add(display, ad->name);
        else buf_addf(display, "%.*s@%.*s", SP(ad->local), SP(ad->domain));
        break;
    }
    arena_release(&a);
}

static void put_ids(struct buf *out, struct slice value) {
    struct slice rest = value, id;
    unsigned n = 0, skip;

    while (msgid_next(&rest, &id)) n++;
    /* The first is the root of the thread, the last are the nearest. */
    skip = n > IMAP_HEAD_REFERENCES_MAX ? n - IMAP_HEAD_REFERENCES_MAX : 0;
    rest = value;
    for (unsigned i = 0; msgid_next(&rest, &id); i++) {
        if (i > 0 && i <= skip) continue;
        if (i > 0) buf_addc(out, ' ');
        buf_add(out, id);
    }
}

bool imap_put_head(struct buf *out, struct slice message) {
    struct gathered g;
    struct slice rest, id;
    struct buf mailbox[3], display[3], subject;
    bool is_reply, has_references;
    int offset = 0;
    wall_t date;

    gather(&g, message);
    if (g.date.n && date_parse(g.date, &date, &offset))
        buf_addf(out, "%lld %d\n", (long long)date, offset);
    else buf_addc(out, '\n');
    for (int i = 0; i < IMAP_HEAD_FIELDS; i++) put_field(out, &g, i);

    buf_init(&subject, 8 * IMAP_HEAD_FIELD_MAX);
    if (g.count[IMAP_HEAD_SUBJECT] == 1 && !g.is_too_much[IMAP_HEAD_SUBJECT])
        buf_add(&subject, buf_slice(&g.field[IMAP_HEAD_SUBJECT]));
    else imap_fold_field(&subject, slice_first(g.first[IMAP_HEAD_SUBJECT], IMAP_HEAD_FIELD_MAX));
    buf_add(out, imap_base_subject(buf_slice(&subject), &is_reply));
    buf_add(out, is_reply ? S("\n1\n") : S("\n0\n"));
    buf_release(&subject);

    for (int i = 0; i < 3; i++) {
        buf_init(&mailbox[i], 4 * IMAP_HEAD_FIELD_MAX);
        buf_init(&display[i], 4 * IMAP_HEAD_FIELD_MAX);
        first_address(g.first[IMAP_HEAD_FROM + i], &mailbox[i], &display[i]);
    }
    for (int i = 0; i < 3; i++) put_line(out, buf_slice(&mailbox[i]));
    for (int i = 0; i < 2; i++) put_line(out, buf_slice(&display[i]));
    for (int i = 0; i < 3; i++) {
        buf_release(&mailbox[i]);
        buf_release(&display[i]);
    }

    rest = g.id;
    if (msgid_next(&rest, &id)) buf_add(out, id);
    buf_addc(out, '\n');
    rest = g.references;
    has_references = msgid_next(&rest, &id);
    if (has_references) {
        put_ids(out, g.references);
    } else { /* RFC 5256: the first valid identifier of In-Reply-To */
        rest = g.in_reply_to;
        if (msgid_next(&rest, &id)) buf_add(out, id);
    }
    buf_addc(out, '\n');
    for (int i = 0; i < IMAP_HEAD_FIELDS; i++) buf_release(&g.field[i]);
    return !out->bad;
}

/* --- read --------------------------------------------------------------------------------------
 */

/* Up to the next LF, not also at a CR as slice_line does. */
static bool next(struct slice *rest, struct slice *line) {
    return slice_cut(*rest, '\n', line, rest);
}

bool imap_head_get(struct slice text, struct imap_head *out) {
    struct slice line, *plain[] = {&out->from,       &out->to, &out->cc,        &out->display_from,
                                   &out->display_to, &out->id, &out->references};
    struct slice date, offset;

    *out = (struct imap_head){0};
    if (!next(&text, &line)) return false;
    if (slice_cut(line, ' ', &date, &offset)) {
        bool is_west = offset.n && offset.p[0] == '-', is_old = date.n && date.p[0] == '-';
        uint64_t t = 0, minutes = 0;

        if (is_old) date = slice_from(date, 1);
        if (is_west) offset = slice_from(offset, 1);
        if (!num_take(&date, INT64_MAX, &t) || !num_take(&offset, 10000, &minutes)) return false;
        out->has_date = true;
        out->date = is_old ? -(wall_t)t : (wall_t)t;
        out->date_offset = is_west ? -(int)minutes : (int)minutes;
    }
    for (int i = 0; i < IMAP_HEAD_FIELDS; i++) {
        if (!next(&text, &line) || !line.n) return false;
        out->field[i].is_known = line.p[0] != '?';
        out->field[i].is_there = line.p[0] == '+';
        out->field[i].text = slice_from(line, 1);
    }
    if (!next(&text, &out->base_subject) || !next(&text, &line)) return false;
    out->is_reply = slice_eq(line, S("1"));
    for (size_t i = 0; i < COUNT_OF(plain); i++)
        if (!next(&text, plain[i])) return false;
    return true;
}
