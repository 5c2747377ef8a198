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

/* All fields of that name, one behind the other with 0x01 between them, behind "+"; "-": there is
 * none, "?": too much of it. */
static void put_fields(struct buf *out, struct slice header, struct slice name) {
    struct header_iter it;
    struct header_field f;
    size_t at = out->n;
    unsigned n = 0;

    buf_addc(out, '-');
    for (header_begin(&it, header); header_next(&it, &f);) {
        if (!slice_ieq(f.name, name)) continue;
        if (out->bad) return;
        if (n++ == 0) out->p[at] = '+';
        else buf_addc(out, 1);
        if (f.value.n <= 4 * IMAP_HEAD_FIELD_MAX) imap_fold_field(out, f.value);
        if (f.value.n > 4 * IMAP_HEAD_FIELD_MAX || out->n - at > IMAP_HEAD_FIELD_MAX) {
            buf_cut(out, at);
            buf_addc(out, '?');
            break;
        }
    }
    buf_addc(out, '\n');
}

static void put_line(struct buf *out, struct slice s) {
    imap_fold_field(out, slice_first(s, IMAP_HEAD_FIELD_MAX));
    buf_addc(out, '\n');
}

/* The first address of a field: its mailbox, and what is shown of it. */
static void first_address(struct slice header, struct slice name, struct buf *mailbox,
                          struct buf *display) {
    struct arena a;
    struct address_list list = {0};
    struct header_field f;

    arena_init(&a, 1024 * 1024);
    if (header_find(header, name, 0, &f))
        address_parse(&a, slice_first(f.value, IMAP_HEAD_FIELD_MAX), &list, NULL);
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
    struct slice header = slice_first(message, header_end(message, NULL)), rest, id, value;
    struct buf mailbox[3], display[3], subject;
    bool is_reply, has_references;
    int offset = 0;
    wall_t date;

    if (date_parse(header_value(header, S("Date")), &date, &offset))
        buf_addf(out, "%lld %d\n", (long long)date, offset);
    else buf_addc(out, '\n');
    for (int i = 0; i < IMAP_HEAD_FIELDS; i++) put_fields(out, header, names[i]);

    buf_init(&subject, 8 * IMAP_HEAD_FIELD_MAX);
    value = header_value(header, S("Subject"));
    imap_fold_field(&subject, slice_first(value, IMAP_HEAD_FIELD_MAX));
    buf_add(out, imap_base_subject(buf_slice(&subject), &is_reply));
    buf_addf(out, "\n%d\n", is_reply);
    buf_release(&subject);

    for (int i = 0; i < 3; i++) {
        buf_init(&mailbox[i], 4 * IMAP_HEAD_FIELD_MAX);
        buf_init(&display[i], 4 * IMAP_HEAD_FIELD_MAX);
        first_address(header, names[IMAP_HEAD_FROM + i], &mailbox[i], &display[i]);
    }
    for (int i = 0; i < 3; i++) put_line(out, buf_slice(&mailbox[i]));
    for (int i = 0; i < 2; i++) put_line(out, buf_slice(&display[i]));
    for (int i = 0; i < 3; i++) {
        buf_release(&mailbox[i]);
        buf_release(&display[i]);
    }

    rest = header_value(header, S("Message-ID"));
    if (msgid_next(&rest, &id)) buf_add(out, id);
    buf_addc(out, '\n');
    rest = value = header_value(header, S("References"));
    has_references = msgid_next(&rest, &id);
    if (has_references) {
        put_ids(out, value);
    } else { /* RFC 5256: the first valid identifier of In-Reply-To */
        rest = header_value(header, S("In-Reply-To"));
        if (msgid_next(&rest, &id)) buf_add(out, id);
    }
    buf_addc(out, '\n');
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
