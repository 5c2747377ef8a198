#include "imap/section.h"

#include "imap/render.h"
#include "imap/server.h"

static bool no(struct imap_cursor *c, const char *why) {
    c->why = why;
    return false;
}

static bool take_fields(struct imap_cursor *c, struct imap_section *out) {
    if (!imap_take_sp(c) || !imap_take(c, '(')) return false;
    out->fields = arena_new(c->arena, IMAP_SECTION_FIELDS_MAX * sizeof *out->fields);
    if (!out->fields) return no(c, "command too large");
    do {
        if (out->n_fields == IMAP_SECTION_FIELDS_MAX) return no(c, "too many header names");
        if (!imap_take_astring(c, &out->fields[out->n_fields++])) return false;
    } while (imap_take_sp(c));
    return imap_take(c, ')');
}

static bool take_what(struct imap_cursor *c, struct imap_section *out) {
    struct slice word;

    if (!imap_take_word(c, &word)) return false;
    if (slice_ieq(word, S("HEADER"))) out->what = IMAP_SECTION_HEADER;
    else if (slice_ieq(word, S("TEXT"))) out->what = IMAP_SECTION_TEXT;
    else if (slice_ieq(word, S("MIME")) && out->n_path) out->what = IMAP_SECTION_MIME;
    else if (slice_ieq(word, S("HEADER.FIELDS"))) out->what = IMAP_SECTION_FIELDS;
    else if (slice_ieq(word, S("HEADER.FIELDS.NOT"))) out->what = IMAP_SECTION_FIELDS_NOT;
    else return no(c, "unknown section");
    if (out->what == IMAP_SECTION_FIELDS || out->what == IMAP_SECTION_FIELDS_NOT) {
        return take_fields(c, out);
    }
    return true;
}

static bool take_inner(struct imap_cursor *c, struct imap_section *out) {
    uint64_t n;

    if (imap_take(c, ']')) return true;
    out->path = arena_new(c->arena, IMAP_SECTION_DEPTH_MAX * sizeof *out->path);
    if (!out->path) return no(c, "command too large");
    while (imap_take_number(c, UINT32_MAX, &n)) {
        if (!n || out->n_path == IMAP_SECTION_DEPTH_MAX) return no(c, "malformed section");
        out->path[out->n_path++] = (uint32_t)n;
        if (imap_take(c, ']')) return true;
        if (!imap_take(c, '.')) return no(c, "malformed section");
    }
    return take_what(c, out) && imap_take(c, ']');
}

bool imap_take_section(struct imap_cursor *c, struct imap_section *out) {
    struct imap_cursor save = *c;

    *out = (struct imap_section){.what = IMAP_SECTION_ALL};
    if (!imap_take(c, '[') || !take_inner(c, out)) goto bad;
    if (imap_take(c, '<')) {
        // without a length, as Dovecot takes it: to the end
        bool is_good = imap_take_number(c, UINT32_MAX, &out->offset);

        out->length = UINT64_MAX;
        if (is_good && imap_take(c, '.'))
            is_good = imap_take_number(c, UINT32_MAX, &out->length) && out->length;
        if (!is_good || !imap_take(c, '>')) {
            c->why = "malformed partial";
            goto bad;
        }
        out->has_partial = true;
    }
    return true;
bad:
    c->in = save.in;
    return false;
}

bool imap_section_put(struct buf *out, const struct imap_section *s) {
    static const char *const names[] = {
        [IMAP_SECTION_ALL] = "",
        [IMAP_SECTION_HEADER] = "HEADER",
        [IMAP_SECTION_FIELDS] = "HEADER.FIELDS",
        [IMAP_SECTION_FIELDS_NOT] = "HEADER.FIELDS.NOT",
        [IMAP_SECTION_TEXT] = "TEXT",
        [IMAP_SECTION_MIME] = "MIME",
    };

    buf_addc(out, '[');
    for (size_t i = 0; i < s->n_path; i++) buf_addf(out, i ? ".%u" : "%u", s->path[i]);
    if (s->n_path && s->what != IMAP_SECTION_ALL) buf_addc(out, '.');
    buf_add(out, slice_str(names[s->what]));
    for (size_t i = 0; i < s->n_fields; i++) {
        buf_add(out, i ? S(" ") : S(" ("));
        imap_put_astring(out, s->fields[i]);
    }
    buf_add(out, s->n_fields ? S(")]") : S("]"));
    if (s->has_partial) buf_addf(out, "<%llu>", (unsigned long long)s->offset);
    return !out->bad;
}

bool imap_section_needs_parts(const struct imap_section *s) { return s->n_path > 0; }

static bool is_listed(const struct imap_section *s, struct slice name) {
    for (size_t i = 0; i < s->n_fields; i++) {
        if (slice_ieq(s->fields[i], name)) return true;
    }
    return false;
}

/* The wanted fields of `header`, in CRLF form, and the empty line. What would pass the ceiling is
 * left out field by field. */
static void put_fields(const struct imap_section *s, struct slice header, struct buf *tmp) {
    struct header_iter it;
    struct header_field f;

    for (header_begin(&it, header); header_next(&it, &f);) {
        struct slice raw = slice_of(header.p + f.at, f.end - f.at);

        if (is_listed(s, f.name) != (s->what == IMAP_SECTION_FIELDS)) continue;
        if (raw.n > tmp->max / 2 || tmp->n + 2 * raw.n + 4 > tmp->max) break;
        for (struct slice line; slice_line(&raw, &line);) {
            buf_add(tmp, line);
            buf_add(tmp, S("\r\n"));
        }
    }
    buf_add(tmp, S("\r\n"));
}

bool imap_section_find(const struct imap_section *s, struct slice message, const struct part *root,
                       struct trail *trail, struct buf *tmp, struct slice *out, uint64_t *wire) {
    bool is_fields = s->what == IMAP_SECTION_FIELDS || s->what == IMAP_SECTION_FIELDS_NOT;

    if (!s->n_path) {
        size_t end = s->what == IMAP_SECTION_ALL ? 0 : header_end(message, NULL);
        *out = s->what == IMAP_SECTION_ALL    ? message
               : s->what == IMAP_SECTION_TEXT ? slice_from(message, end)
                                              : slice_first(message, end);
        if (!is_fields) *wire = imap_wire_size(*out, trail);
    } else {
        struct part_range r;
        enum part_section what = s->what == IMAP_SECTION_ALL    ? PART_BODY
                                 : s->what == IMAP_SECTION_MIME ? PART_MIME
                                 : s->what == IMAP_SECTION_TEXT ? PART_TEXT
                                                                : PART_HEADER;
        if (!root || !part_section(root, s->path, s->n_path, what, &r)) return false;
        *out = slice_first(slice_from(message, (size_t)r.at), (size_t)r.n);
        *wire = r.wire;
    }
    if (is_fields) {
        buf_reset(tmp);
        put_fields(s, *out, tmp);
        if (tmp->bad) return false;
        *out = buf_slice(tmp);
        *wire = imap_wire_size(*out, NULL);
    }
    return true;
}

/* --- stream ------------------------------------------------------------------------------------
 */

/* LFs in `n` bytes at `p` that have no CR before them; p[-1] is there. In blocks of a constant
 * length, which compilers turn into vector instructions: lines are short, and a memchr for each
 * takes twice as long. */
static uint64_t count_bare(const char *p, size_t n) {
    enum { BLOCK = 128 }; /* less than 256: the sum of a block is a byte */
    uint64_t sum = 0;

    for (; n >= BLOCK; p += BLOCK, n -= BLOCK) {
        uint8_t in_block = 0;

        for (int i = 0; i < BLOCK; i++) in_block += (uint8_t)((p[i] == '\n') & (p[i - 1] != '\r'));
        sum += in_block;
    }
    for (size_t i = 0; i < n; i++) sum += (p[i] == '\n') & (p[(ptrdiff_t)i - 1] != '\r');
    return sum;
}

uint64_t imap_wire_size(struct slice s, struct trail *trail) {
    uint64_t n = s.n;

    if (!s.n) return 0;
    n += s.p[0] == '\n';
    for (size_t at = 1, step; at < s.n; at += step) {
        step = s.n - at < TRAIL_STEP ? s.n - at : TRAIL_STEP;
        trail_at(trail, s.p + at);
        n += count_bare(s.p + at, step);
    }
    return n;
}

static void step(struct imap_stream *st, size_t n) {
    if (n) st->was_cr = st->src.p[n - 1] == '\r';
    st->src = slice_from(st->src, n);
}

void imap_stream_skip(struct imap_stream *st, uint64_t n) {
    if (n > st->left) n = st->left;
    st->left -= n;
    while (n && st->src.n) {
        const char *lf = trail_find(st->trail, st->src, '\n');
        size_t plain = lf ? (size_t)(lf - st->src.p) : st->src.n;

        if (plain >= n) {
            step(st, (size_t)n);
            return;
        }
        step(st, plain);
        n -= plain;
        if (!st->was_cr && !st->half) {
            st->half = true;
            if (!--n) return;
        }
        st->half = st->was_cr = false;
        st->src = slice_from(st->src, 1);
        n--;
    }
}

void imap_stream_start(struct imap_stream *st, struct slice src, uint64_t wire, uint64_t offset,
                       uint64_t length, struct trail *trail) {
    *st = (struct imap_stream){.src = src, .trail = trail, .left = wire};
    if (offset > wire) offset = wire;
    if (wire == src.n) { // nothing to convert: go there at once
        step(st, (size_t)offset);
        st->left -= offset;
    } else {
        imap_stream_skip(st, offset);
    }
    if (st->left > length) st->left = length;
}

static void add_plain(struct buf *out, struct slice s, bool keeps_nul) {
    for (const char *nul; !keeps_nul && (nul = memchr(s.p, 0, s.n)) != NULL;) {
        size_t n = (size_t)(nul - s.p);
        buf_add(out, slice_first(s, n));
        buf_addc(out, (char)0x80);
        s = slice_from(s, n + 1);
        if (!s.n) return;
    }
    buf_add(out, s);
}

bool imap_stream_pull(struct imap_stream *st, struct buf *out, size_t room) {
    if (room > st->left) room = (size_t)st->left;
    if (st->src.n) trail_at(st->trail, st->src.p);
    while (room && st->src.n) {
        const char *lf = memchr(st->src.p, '\n', st->src.n < room + 1 ? st->src.n : room + 1);
        size_t plain = lf ? (size_t)(lf - st->src.p) : st->src.n;
        bool is_bare;

        if (plain > room) plain = room;
        if (plain) {
            add_plain(out, slice_first(st->src, plain), st->keeps_nul);
            step(st, plain);
            st->left -= plain;
            room -= plain;
            continue;
        }
        is_bare = !st->was_cr && !st->half;
        if (is_bare) {
            buf_addc(out, '\r');
            st->half = true;
        } else {
            buf_addc(out, '\n');
            st->half = st->was_cr = false;
            st->src = slice_from(st->src, 1);
        }
        st->left--;
        room--;
    }
    if (!st->src.n) st->left = 0; // cannot happen while the bytes stay as they were counted
    return !out->bad;
}
