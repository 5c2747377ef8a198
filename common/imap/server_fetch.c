#include "base/ascii.h"
#include "imap/server_impl.h"
#include "mime/date.h"

enum item {
    ITEM_FLAGS,
    ITEM_UID,
    ITEM_MODSEQ,
    ITEM_INTERNALDATE,
    ITEM_SIZE,
    ITEM_ENVELOPE,
    ITEM_BODY,
    ITEM_BODYSTRUCTURE,
    ITEM_PREVIEW,
    ITEM_EMAILID,
    ITEM_THREADID,
    ITEM_SAVEDATE,
    ITEM_SECTION, /* this and those below may be there many times */
    ITEM_BINARY,
    ITEM_BINARY_SIZE
};

struct fetch_item {
    enum item what;
    bool is_peek;
    struct slice label; /* of RFC822, RFC822.HEADER, RFC822.TEXT: instead of BODY[...] */
    struct imap_section section;
};

static unsigned need_of(const struct fetch_item *it) {
    switch (it->what) {
    case ITEM_SIZE: return IMAP_NEED_SIZE;
    case ITEM_INTERNALDATE: return IMAP_NEED_DATE;
    case ITEM_ENVELOPE: return IMAP_NEED_ENVELOPE;
    case ITEM_BODY: return IMAP_NEED_BODY;
    case ITEM_BODYSTRUCTURE: return IMAP_NEED_BODYSTRUCTURE;
    case ITEM_PREVIEW: return IMAP_NEED_PREVIEW;
    case ITEM_EMAILID: return IMAP_NEED_EMAILID;
    case ITEM_SAVEDATE: return IMAP_NEED_SAVEDATE;
    case ITEM_SECTION:
    case ITEM_BINARY:
    case ITEM_BINARY_SIZE: return IMAP_NEED_BYTES;
    default: return 0;
    }
}

/* --- parse -------------------------------------------------------------------------------------
 */

static bool no(struct imap_server *s, const char *why) {
    s->cur.why = why;
    return false;
}

static struct fetch_item *add(struct imap_server *s, enum item what) {
    struct fetch_state *f = &s->fetch;

    for (size_t i = 0; i < f->n_items && what < ITEM_SECTION; i++) {
        if (f->items[i].what == what) return &f->items[i]; // once is enough
    }
    if (f->n_items == IMAP_FETCH_ITEMS_MAX) return NULL;
    f->items[f->n_items] = (struct fetch_item){.what = what, .is_peek = true};
    return &f->items[f->n_items++];
}

static bool add_rfc822(struct imap_server *s, const char *label, enum imap_section_what what,
                       bool is_peek) {
    struct fetch_item *it = add(s, ITEM_SECTION);

    if (!it) return false;
    it->label = slice_str(label);
    it->section.what = what;
    it->is_peek = is_peek;
    return true;
}

/* "PREVIEW (LAZY)": it is always at hand soon, so LAZY changes nothing (RFC 8970 3.1). */
static bool take_preview(struct imap_server *s) {
    struct imap_cursor save = s->cur;
    struct slice word;

    if (!add(s, ITEM_PREVIEW)) return no(s, "Too many data items");
    if (!imap_take_sp(&s->cur) || !imap_take(&s->cur, '(')) {
        s->cur = save;
        return true;
    }
    if (!imap_take_word(&s->cur, &word) || !slice_ieq(word, S("LAZY")))
        return no(s, "Unknown modifier of PREVIEW");
    return imap_take(&s->cur, ')');
}

/* "BINARY[1.2]<0.10>", "BINARY.PEEK[]", "BINARY.SIZE[1]". RFC 3516 has numbers of parts only; as
 * Dovecot does, what else BODY[] names is taken too, and is what BODY[] gives: nothing of it is
 * encoded. */
static bool take_binary(struct imap_server *s, struct slice word) {
    bool is_size = slice_ieq(word, S("BINARY.SIZE")), is_peek = slice_ieq(word, S("BINARY.PEEK"));
    struct fetch_item *it;

    if (!is_size && !is_peek && !slice_ieq(word, S("BINARY"))) return no(s, "Unknown data item");
    it = add(s, is_size ? ITEM_BINARY_SIZE : ITEM_BINARY);
    if (!it) return no(s, "Too many data items");
    it->is_peek = is_size || is_peek;
    if (!imap_take_section(&s->cur, &it->section)) return false;
    return !is_size || !it->section.has_partial || no(s, "BINARY.SIZE has no partial");
}

static bool take_item(struct imap_server *s) {
    static const struct {
        struct slice name;
        enum item what;
    } simple[] = {
        {S_INIT("FLAGS"), ITEM_FLAGS},
        {S_INIT("UID"), ITEM_UID},
        {S_INIT("MODSEQ"), ITEM_MODSEQ},
        {S_INIT("INTERNALDATE"), ITEM_INTERNALDATE},
        {S_INIT("RFC822.SIZE"), ITEM_SIZE},
        {S_INIT("ENVELOPE"), ITEM_ENVELOPE},
        {S_INIT("BODYSTRUCTURE"), ITEM_BODYSTRUCTURE},
        {S_INIT("EMAILID"), ITEM_EMAILID},
        {S_INIT("THREADID"), ITEM_THREADID},
        {S_INIT("SAVEDATE"), ITEM_SAVEDATE},
    };
    struct slice word;
    struct fetch_item *it;

    if (!imap_take_word(&s->cur, &word)) return false;
    for (size_t i = 0; i < sizeof simple / sizeof *simple; i++) {
        if (!slice_ieq(word, simple[i].name)) continue;
        return add(s, simple[i].what) || no(s, "Too many data items");
    }
    if (slice_ieq(word, S("PREVIEW"))) return take_preview(s);
    if (slice_istarts(word, S("BINARY"))) return take_binary(s, word);
    if (slice_ieq(word, S("RFC822"))) {
        return add_rfc822(s, "RFC822", IMAP_SECTION_ALL, false) || no(s, "Too many data items");
    }
    if (slice_ieq(word, S("RFC822.HEADER"))) {
        return add_rfc822(s, "RFC822.HEADER", IMAP_SECTION_HEADER, true) ||
               no(s, "Too many data items");
    }
    if (slice_ieq(word, S("RFC822.TEXT"))) {
        return add_rfc822(s, "RFC822.TEXT", IMAP_SECTION_TEXT, false) ||
               no(s, "Too many data items");
    }
    if (!slice_ieq(word, S("BODY")) && !slice_ieq(word, S("BODY.PEEK"))) {
        return no(s, "Unknown data item");
    }
    if (!s->cur.in.n || s->cur.in.p[0] != '[') {
        if (word.n > 4) return no(s, "BODY.PEEK needs a section");
        return add(s, ITEM_BODY) || no(s, "Too many data items");
    }
    if (!(it = add(s, ITEM_SECTION))) return no(s, "Too many data items");
    it->is_peek = word.n > 4;
    return imap_take_section(&s->cur, &it->section);
}

static bool take_macro(struct imap_server *s) {
    struct imap_cursor save = s->cur;
    struct slice word;
    bool is_all, is_full;

    if (!imap_take_word(&s->cur, &word)) return false;
    is_all = slice_ieq(word, S("ALL"));
    is_full = slice_ieq(word, S("FULL"));
    if (!is_all && !is_full && !slice_ieq(word, S("FAST"))) {
        s->cur = save;
        return false;
    }
    add(s, ITEM_FLAGS);
    add(s, ITEM_INTERNALDATE);
    add(s, ITEM_SIZE);
    if (is_all || is_full) add(s, ITEM_ENVELOPE);
    if (is_full) add(s, ITEM_BODY);
    return true;
}

static bool take_items(struct imap_server *s) {
    bool has_parens;

    if (take_macro(s)) return true;
    has_parens = imap_take(&s->cur, '(');
    do {
        if (!take_item(s)) return false;
    } while (has_parens && imap_take_sp(&s->cur));
    return !has_parens || imap_take(&s->cur, ')');
}

/* Of the UIDs that will be marked \\Seen only those that CHANGEDSINCE lets through. */
static bool changed_only(struct imap_server *s) {
    size_t n = 0;

    for (size_t i = 0; i < s->n_uids; i++) {
        const struct imap_msg *m = &s->msgs[imap_view_find(s, s->uids[i])];

        if (!s->fetch.has_since || m->modseq > s->fetch.since) s->uids[n++] = s->uids[i];
    }
    s->n_uids = n;
    return true;
}

/* Of the messages in the set only some, by their place among them (RFC 9394 3.3). */
static bool only_partial(struct imap_server *s) {
    struct fetch_state *f = &s->fetch;
    size_t from, to;

    if (!imap_view_collect(s, &f->set, true, 0, 0)) return false;
    imap_partial_of(&f->partial, s->n_uids, &from, &to);
    f->set.n = 0;
    if (from == to) return true;
    f->set.v = arena_new(&s->arena, (to - from) * sizeof *f->set.v);
    if (!f->set.v) return false;
    for (size_t i = from; i < to; i++)
        f->set.v[f->set.n++] = (struct imap_range){s->uids[i], s->uids[i]};
    imap_set_resolve(&f->set, imap_view_last_uid(s));
    return true;
}

void imap_cmd_fetch(struct imap_server *s) {
    struct fetch_state *f = &s->fetch;
    bool sets_seen = false;

    imap_fetch_clear(s);
    f->is_uid = s->is_uid;
    f->items = arena_new(&s->arena, IMAP_FETCH_ITEMS_MAX * sizeof *f->items);
    if (!f->items) {
        imap_finish(s, "NO", S("LIMIT"), S("Out of memory."));
        return;
    }
    if (!imap_take_sp(&s->cur) || !imap_take_set(&s->cur, IMAP_SET_MAX, &f->set) ||
        !imap_take_sp(&s->cur) || !take_items(s) || !imap_take_fetch_modifiers(s) ||
        !imap_at_end(&s->cur)) {
        f->n_items = 0;
        imap_finish_bad(s, s->cur.why);
        return;
    }
    if (!imap_view_resolve(s, &f->set, s->is_uid)) {
        f->n_items = 0;
        imap_finish_bad(s, "No such message.");
        return;
    }
    if (f->has_partial && !imap_limit_allows(s, f->partial.last - f->partial.first + 1)) {
        f->n_items = 0;
        return;
    }
    if (f->has_partial && !only_partial(s)) {
        f->n_items = 0;
        imap_finish(s, "NO", S("LIMIT"), S("Out of memory."));
        return;
    }
    imap_limit_set(s, &f->set, s->is_uid);
    for (size_t i = 0; i < f->n_items; i++) {
        f->has_uid |= f->items[i].what == ITEM_UID;
        f->has_flags |= f->items[i].what == ITEM_FLAGS;
        f->has_modseq |= f->items[i].what == ITEM_MODSEQ;
        f->need |= need_of(&f->items[i]);
        sets_seen |= !f->items[i].is_peek;
    }
    if (s->is_uid && !f->has_uid && !(s->enabled & ON_UIDONLY) &&
        f->n_items < IMAP_FETCH_ITEMS_MAX) {
        memmove(f->items + 1, f->items, f->n_items * sizeof *f->items);
        f->items[0] = (struct fetch_item){.what = ITEM_UID};
        f->n_items++;
    }
    if (f->has_since && !f->has_modseq) f->has_modseq = add(s, ITEM_MODSEQ) != NULL;
    if (f->has_modseq) imap_enable(s, ON_CONDSTORE);
    if (sets_seen && !s->is_read_only && !(s->no_permanent & IMAP_SEEN) &&
        imap_view_collect(s, &f->set, s->is_uid, 0, IMAP_SEEN) && changed_only(s) && s->n_uids) {
        struct imap_event *ev = imap_ask(s, IMAP_EV_STORE);

        s->store_mode = ev->store_mode = IMAP_STORE_ADD;
        s->store_flags = ev->flags = IMAP_SEEN;
        s->is_silent = false; // the rows below tell the new flags
        ev->uids = s->uids;
        ev->n_uids = s->n_uids;
        return;
    }
    imap_fetch_start(s);
}

/* --- run ---------------------------------------------------------------------------------------
 */

void imap_fetch_clear(struct imap_server *s) {
    struct fetch_state *f = &s->fetch;
    struct arena arena = f->arena;
    struct buf tmp = f->tmp;

    arena_release(&arena);
    buf_release(&tmp);
    buf_reset(&tmp);
    *f = (struct fetch_state){.arena = arena, .tmp = tmp};
}

void imap_fetch_start(struct imap_server *s) {
    if (s->fetch.wants_vanished) {
        s->fetch.wants_vanished = false;
        imap_ask_vanished(s, s->fetch.since);
        return;
    }
    s->fetch.next = 1;
    s->job = JOB_FETCH;
}

bool imap_fetch_changed(struct imap_server *s, const struct imap_set *known, uint64_t since) {
    struct fetch_state *f = &s->fetch;

    imap_fetch_clear(s);
    f->items = arena_new(&s->arena, 3 * sizeof *f->items);
    f->set = *known;
    if (!known->v && (f->set.v = arena_new(&s->arena, sizeof *f->set.v))) {
        f->set.v[0] = (struct imap_range){1, UINT32_MAX};
        f->set.n = 1;
    }
    if (!f->items || !f->set.v) return false;
    f->items[f->n_items++] = (struct fetch_item){.what = ITEM_UID};
    f->items[f->n_items++] = (struct fetch_item){.what = ITEM_FLAGS};
    f->items[f->n_items++] = (struct fetch_item){.what = ITEM_MODSEQ};
    f->is_uid = f->has_uid = f->has_flags = f->has_modseq = f->has_since = true;
    f->since = since;
    imap_fetch_start(s);
    return true;
}

bool imap_notify_items(struct imap_server *s) {
    struct notify_state *n = &s->notify;
    struct fetch_state *f = &s->fetch;
    struct arena *was = s->cur.arena;
    bool is_good;

    imap_fetch_clear(s);
    f->items = arena_new(&n->arena, IMAP_FETCH_ITEMS_MAX * sizeof *f->items);
    if (!f->items) return no(s, "Out of memory");
    s->cur.arena = &n->arena; // sections outlive the command
    is_good = take_items(s);
    s->cur.arena = was;
    for (size_t i = 0; i < f->n_items; i++) { // names are slices of the command: keep them
        struct imap_section *sec = &f->items[i].section;

        for (size_t k = 0; k < sec->n_fields; k++)
            sec->fields[k] = arena_copy(&n->arena, sec->fields[k]);
    }
    n->items = f->items;
    n->n_items = f->n_items;
    imap_fetch_clear(s);
    return is_good;
}

void imap_fetch_notice(struct imap_server *s, uint32_t from) {
    struct fetch_state *f = &s->fetch;

    imap_fetch_clear(s);
    f->items = s->notify.items;
    f->n_items = s->notify.n_items;
    f->set.v = arena_new(&s->arena, sizeof *f->set.v);
    if (!f->set.v) return;
    f->set.v[0] = (struct imap_range){from, UINT32_MAX};
    f->set.n = 1;
    f->is_uid = f->is_notice = true;
    for (size_t i = 0; i < f->n_items; i++) {
        f->has_uid |= f->items[i].what == ITEM_UID;
        f->has_flags |= f->items[i].what == ITEM_FLAGS;
        f->has_modseq |= f->items[i].what == ITEM_MODSEQ;
        f->need |= need_of(&f->items[i]);
    }
    f->next = from;
    s->job = JOB_FETCH;
}

static bool finish(struct imap_server *s) {
    if (s->fetch.is_notice) {
        imap_fetch_clear(s);
        s->job = JOB_NONE;
        return true;
    }
    if (slice_ieq(s->verb, S("SELECT")) || slice_ieq(s->verb, S("EXAMINE"))) {
        imap_select_done(s);
        return true;
    }
    if (s->fetch.has_unknown_cte) {
        imap_finish(s, "NO", S("UNKNOWN-CTE"), S("A part has an unknown transfer encoding."));
    } else if (s->fetch.has_unreadable) {
        imap_finish(s, "NO", S("UNAVAILABLE"), S("Some of the messages cannot be read now."));
    } else if (!s->fetch.has_lost) {
        imap_finish(s, "OK", S(""), S("Fetch completed."));
    } else {
        imap_finish(s, s->is_uid ? "OK" : "NO", S("EXPUNGEISSUED"),
                    S("Some of the messages no longer exist."));
    }
    return true;
}

static void row_begin(struct imap_server *s) {
    struct fetch_state *f = &s->fetch;

    if (s->keywords_told != s->keywords.n && f->has_flags) imap_view_tell_keywords(s);
    f->item = 0;
    f->has_written = f->is_streaming = false;
    f->is_in_row = true;
    buf_add(&s->out, S("* "));
    buf_addu(&s->out, s->enabled & ON_UIDONLY ? s->msgs[f->index].uid : f->index + 1);
    buf_add(&s->out, s->enabled & ON_UIDONLY ? S(" UIDFETCH (") : S(" FETCH ("));
}

static void row_end(struct imap_server *s) {
    struct fetch_state *f = &s->fetch;
    struct imap_msg *m = &s->msgs[f->index];

    if (!f->has_written && f->has_unknown_cte) { // a row has at least one item
        buf_addf(&s->out, "UID %u", m->uid);
        f->has_written = true;
    }
    if (m->is_changed && !f->has_flags && !m->is_quiet) {
        if (f->has_written) buf_addc(&s->out, ' ');
        imap_view_put_flags(s, m->flags);
        f->has_written = true;
    }
    if (m->is_changed && !f->has_modseq && s->enabled & ON_CONDSTORE) {
        if (f->has_written) buf_addc(&s->out, ' ');
        imap_view_put_modseq(s, m->modseq);
    }
    if (m->is_changed) {
        m->is_changed = m->is_quiet = false;
        s->n_changed--;
    }
    buf_add(&s->out, S(")\r\n"));
    f->is_in_row = false;
    if (f->is_held) imap_tell(s, IMAP_EV_MESSAGE_DONE)->uid = m->uid;
    f->is_held = false;
    f->content = (struct imap_content){0};
    f->root = NULL;
    arena_reset(&f->arena);
}

static struct part *parts(struct fetch_state *f) {
    if (!f->root) f->root = part_parse(&f->arena, f->content.bytes, f->content.trail);
    return f->root;
}

static void put_text(struct imap_server *s, struct slice given, enum item what) {
    struct fetch_state *f = &s->fetch;
    size_t at = s->out.n;
    bool is_ok;

    if (given.n) {
        buf_add(&s->out, given);
        return;
    }
    if (what == ITEM_ENVELOPE) is_ok = imap_put_envelope(&s->out, f->content.bytes);
    else
        is_ok = parts(f) &&
                imap_put_structure(&s->out, f->root, f->content.bytes, what == ITEM_BODYSTRUCTURE);
    if (!is_ok || s->out.n - at > IMAP_ITEM_MAX) { // absurd: say so rather than break the line
        s->out.bad = false;
        buf_cut(&s->out, at);
        buf_add(&s->out, what == ITEM_ENVELOPE
                             ? S("(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)")
                             : S("(\"application\" \"octet-stream\" NIL NIL NIL \"8bit\" 0)"));
    }
}

/* The name of a section without its partial; empty when it is too long to be kept. */
static struct slice place_name(const struct imap_section *sec, char room[PLACE_MAX]) {
    struct imap_section whole = *sec;
    struct buf b;
    struct slice name = {0};

    whole.has_partial = false;
    buf_init(&b, PLACE_MAX);
    if (imap_section_put(&b, &whole)) {
        memcpy(room, b.p, b.n);
        name = slice_of(room, b.n);
    }
    buf_release(&b);
    return name;
}

/* Go on where the last piece of this section ended. */
static bool place_resume(struct imap_server *s, const struct imap_section *sec) {
    struct fetch_place *p = &s->place;
    struct fetch_state *f = &s->fetch;
    char room[PLACE_MAX];

    if (!sec->has_partial || p->uid != s->msgs[f->index].uid || p->size != f->content.bytes.n ||
        sec->offset < p->offset || sec->offset > p->wire ||
        !slice_eq(place_name(sec, room), slice_of(p->section, p->n_section)))
        return false;
    f->stream = (struct imap_stream){
        .src = slice_of(f->content.bytes.p + p->at + p->src_at, p->n - p->src_at),
        .trail = f->content.trail,
        .left = p->wire - p->offset,
        .was_cr = p->was_cr,
        .half = p->half,
    };
    imap_stream_skip(&f->stream, sec->offset - p->offset);
    if (f->stream.left > sec->length) f->stream.left = sec->length;
    p->offset = sec->offset + f->stream.left;
    return true;
}

/* A piece of a large section begins. */
static void place_set(struct imap_server *s, const struct imap_section *sec, struct slice bytes,
                      uint64_t wire) {
    struct slice all = s->fetch.content.bytes;
    struct fetch_place *p = &s->place;

    *p = (struct fetch_place){.size = all.n, .n = bytes.n, .wire = wire};
    if (!sec->has_partial || sec->n_fields || bytes.n < PLACE_SIZE_MIN) return;
    p->at = (size_t)(bytes.p - all.p);
    p->n_section = place_name(sec, p->section).n;
    if (p->n_section) p->uid = s->msgs[s->fetch.index].uid;
    p->offset = sec->offset + s->fetch.stream.left;
}

/* What streams has come to an end. */
static void place_keep(struct imap_server *s) {
    struct fetch_state *f = &s->fetch;
    struct fetch_place *p = &s->place;

    if (p->uid != s->msgs[f->index].uid) return;
    p->src_at = (size_t)(f->stream.src.p - f->content.bytes.p) - p->at;
    p->was_cr = f->stream.was_cr;
    p->half = f->stream.half;
}

/* Set the stream up; false: there is no such section. */
static bool stream_section(struct imap_server *s, const struct imap_section *sec) {
    struct fetch_state *f = &s->fetch;
    struct slice bytes = {0};
    uint64_t wire = 0;
    struct part *root;

    if (place_resume(s, sec)) return true;
    root = imap_section_needs_parts(sec) ? parts(f) : NULL;
    if (!imap_section_find(sec, f->content.bytes, root, f->content.trail, &f->tmp, &bytes, &wire))
        return false;
    imap_stream_start(&f->stream, bytes, wire, sec->has_partial ? sec->offset : 0,
                      sec->has_partial ? sec->length : UINT64_MAX, f->content.trail);
    place_set(s, sec, bytes, wire);
    return true;
}

static void put_section(struct imap_server *s, const struct fetch_item *it) {
    struct fetch_state *f = &s->fetch;
    const struct imap_section *sec = &it->section;

    if (it->label.n) {
        buf_add(&s->out, it->label);
    } else {
        buf_add(&s->out, S("BODY"));
        imap_section_put(&s->out, sec);
    }
    if (!stream_section(s, sec)) {
        buf_add(&s->out, S(" NIL"));
        return;
    }
    buf_addf(&s->out, " {%llu}\r\n", (unsigned long long)f->stream.left);
    f->is_streaming = true;
}

/* The encoding that a section of numbers has; a multipart and a whole message have none. */
static struct slice encoding_of(struct fetch_state *f, const struct imap_section *sec) {
    bool has_one = sec->n_path && sec->what == IMAP_SECTION_ALL;
    const struct part *p = has_one && parts(f) ? part_find(f->root, sec->path, sec->n_path) : NULL;

    return p && !p->children ? p->encoding : S("");
}

/* The output was `before` long without this item and the space before it, and `has_more` says
 * whether the row has other items there. */
static void put_binary(struct imap_server *s, const struct fetch_item *it, size_t before,
                       bool has_more) {
    struct fetch_state *f = &s->fetch;
    const struct imap_section *sec = &it->section;
    bool is_size = it->what == ITEM_BINARY_SIZE, has_nul;
    struct slice bytes = {0}, encoding = encoding_of(f, sec);
    uint64_t wire = 0, size;
    struct part *root = imap_section_needs_parts(sec) ? parts(f) : NULL;

    buf_add(&s->out, is_size ? S("BINARY.SIZE") : S("BINARY"));
    imap_section_put(&s->out, sec);
    if (!imap_section_find(sec, f->content.bytes, root, f->content.trail, &f->tmp, &bytes, &wire)) {
        buf_add(&s->out, is_size ? S(" 0") : S(" NIL"));
        return;
    }
    if (!imap_binary_start(&f->binary, bytes, wire, encoding, f->content.trail)) { // RFC 3516 4.3
        f->has_unknown_cte = true;
        buf_cut(&s->out, before);
        f->has_written = has_more;
        return;
    }
    size = imap_binary_size(bytes, wire, encoding, f->content.trail, &has_nul);
    if (is_size) {
        buf_addf(&s->out, " %llu", (unsigned long long)size);
        return;
    }
    f->binary.skip = !sec->has_partial ? 0 : sec->offset < size ? sec->offset : size;
    f->binary.left = size - f->binary.skip;
    if (sec->has_partial && sec->length < f->binary.left) f->binary.left = sec->length;
    buf_addf(&s->out, has_nul ? " ~{%llu}\r\n" : " {%llu}\r\n", (unsigned long long)f->binary.left);
    f->is_streaming = f->is_binary = true;
}

static void put_preview(struct imap_server *s) {
    struct slice text = s->fetch.content.preview;
    bool is_plain = true;

    for (size_t i = 0; i < text.n; i++) is_plain &= (unsigned char)text.p[i] < 128;
    buf_add(&s->out, S("PREVIEW "));
    if (is_plain) {
        imap_put_nstring(&s->out, text.n ? text : S(""));
        return;
    }
    buf_addf(&s->out, "{%zu}\r\n", text.n);
    buf_add(&s->out, text);
}

static uint64_t content_size(const struct imap_content *c) {
    return c->size_bytes || !c->has_bytes ? c->size_bytes : imap_wire_size(c->bytes, c->trail);
}

static void put_item(struct imap_server *s, const struct fetch_item *it) {
    struct fetch_state *f = &s->fetch;
    const struct imap_msg *m = &s->msgs[f->index];
    char date[DATE_IMAP_MAX];
    uint64_t size = m->size_bytes;
    size_t before = s->out.n;
    bool has_more = f->has_written;

    if (f->has_written) buf_addc(&s->out, ' ');
    f->has_written = true;
    switch (it->what) {
    case ITEM_FLAGS: imap_view_put_flags(s, m->flags); break;
    case ITEM_UID:
        buf_add(&s->out, S("UID "));
        buf_addu(&s->out, m->uid);
        break;
    case ITEM_MODSEQ: imap_view_put_modseq(s, m->modseq); break;
    case ITEM_INTERNALDATE:
        buf_addf(
            &s->out, "INTERNALDATE \"%.*s\"",
            SP(date_format_imap(m->internal_date == IMAP_DATE_UNKNOWN ? f->content.internal_date
                                                                      : m->internal_date,
                                0, date)));
        break;
    case ITEM_SIZE:
        if (size == IMAP_SIZE_UNKNOWN) size = content_size(&f->content);
        buf_add(&s->out, S("RFC822.SIZE "));
        buf_addu(&s->out, size);
        break;
    case ITEM_ENVELOPE:
        buf_add(&s->out, S("ENVELOPE "));
        put_text(s, f->content.envelope, it->what);
        break;
    case ITEM_BODY:
        buf_add(&s->out, S("BODY "));
        put_text(s, f->content.body, it->what);
        break;
    case ITEM_BODYSTRUCTURE:
        buf_add(&s->out, S("BODYSTRUCTURE "));
        put_text(s, f->content.bodystructure, it->what);
        break;
    case ITEM_SECTION: put_section(s, it); break;
    case ITEM_BINARY:
    case ITEM_BINARY_SIZE: put_binary(s, it, before, has_more); break;
    case ITEM_PREVIEW: put_preview(s); break;
    case ITEM_EMAILID:
        if (f->content.emailid.n) buf_addf(&s->out, "EMAILID (%.*s)", SP(f->content.emailid));
        else buf_add(&s->out, S("EMAILID NIL"));
        break;
    case ITEM_THREADID: buf_add(&s->out, S("THREADID NIL")); break;
    case ITEM_SAVEDATE:
        if (f->content.save_date)
            buf_addf(&s->out, "SAVEDATE \"%.*s\"",
                     SP(date_format_imap(f->content.save_date, 0, date)));
        else buf_add(&s->out, S("SAVEDATE NIL"));
        break;
    }
}

static bool row_run(struct imap_server *s) {
    struct fetch_state *f = &s->fetch;

    while (imap_out_has_room(s)) {
        if (f->is_streaming) {
            if (f->is_binary) imap_binary_pull(&f->binary, &s->out, IMAP_CHUNK_MAX);
            else imap_stream_pull(&f->stream, &s->out, IMAP_CHUNK_MAX);
            if (s->out.bad) return false;
            f->is_streaming = (f->is_binary ? f->binary.left : f->stream.left) > 0;
            if (!f->is_streaming && !f->is_binary) place_keep(s);
            if (!f->is_streaming) f->is_binary = false;
        } else if (f->item < f->n_items) {
            put_item(s, &f->items[f->item++]);
        } else {
            row_end(s);
            return true;
        }
    }
    return false;
}

bool imap_fetch_run(struct imap_server *s) {
    struct fetch_state *f = &s->fetch;
    struct imap_event *ev;
    const struct imap_msg *m;
    unsigned need = f->need;

    if (f->is_in_row) return row_run(s);
    if (!f->next) return finish(s);
    f->index = imap_view_next(s, &f->set, f->is_uid, f->next);
    if (f->index >= s->n_msgs) return finish(s);
    m = &s->msgs[f->index];
    f->next = (f->is_uid ? m->uid : (uint32_t)f->index + 1) + 1;
    if (f->has_since && m->modseq <= f->since) return true;
    if (m->size_bytes != IMAP_SIZE_UNKNOWN) need &= ~(unsigned)IMAP_NEED_SIZE;
    if (m->internal_date != IMAP_DATE_UNKNOWN) need &= ~(unsigned)IMAP_NEED_DATE;
    if (!need) {
        row_begin(s);
        return true;
    }
    ev = imap_ask(s, IMAP_EV_NEED_MESSAGE);
    ev->uid = m->uid;
    ev->items = need;
    return false;
}

void imap_fetch_content(struct imap_server *s, const struct imap_content *c) {
    if (!c) {
        s->fetch.has_lost = true;
        return; // the run goes on with the next message
    }
    s->fetch.content = *c;
    s->fetch.is_held = true;
    if (c->bytes.n) s->fetch.content.has_bytes = true;
    row_begin(s);
}
