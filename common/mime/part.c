#include "mime/part.h"

#include "base/utf8.h"
#include "mime/b64.h"
#include "mime/charset.h"
#include "mime/qp.h"

/* A place in the message with what lies before it. */
struct mark {
    uint64_t at, lines, bare; /* offset, number of LF, number of LF without CR */
};

struct frame {
    struct part *part, *last_child;
    struct slice boundary; /* empty: not a multipart, or its end was seen */
    struct mark body;      /* where the body starts */
};

struct scan {
    struct arena *a;
    struct slice in;
    struct trail *trail;
    struct mark now, before; /* start of the current line; the same before the preceding line end */
    struct frame stack[PART_DEPTH_MAX + 1];
    unsigned depth, count;
};

static struct part_range range(struct mark from, struct mark to) {
    if (to.at < from.at) to = from;
    return (struct part_range){
        .at = from.at,
        .n = to.at - from.at,
        .lines = to.lines - from.lines,
        .wire = to.at - from.at + (to.bare - from.bare),
    };
}

/* Step over the line at `now`. */
static void next_line(struct scan *s, struct slice line) {
    bool has_lf = line.n > 0 && line.p[line.n - 1] == '\n';
    bool has_cr = line.n > 1 && line.p[line.n - 2] == '\r';

    s->before = s->now;
    s->before.at += line.n - (has_lf ? (has_cr ? 2 : 1) : 0);
    s->now.at += line.n;
    s->now.lines += has_lf;
    s->now.bare += has_lf && !has_cr;
}

static struct slice line_at(const struct scan *s) {
    struct slice rest = slice_from(s->in, (size_t)s->now.at);
    const char *lf = trail_find(s->trail, rest, '\n');

    return lf ? slice_first(rest, (size_t)(lf - rest.p) + 1) : rest;
}

/* The open multipart whose delimiter this line is, innermost first. */
static bool is_delimiter(const struct scan *s, struct slice line, unsigned *level, bool *is_close) {
    if (line.n < 3 || line.p[0] != '-' || line.p[1] != '-') return false;
    line = slice_from(line, 2);
    while (line.n > 0 && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r' ||
                          line.p[line.n - 1] == ' ' || line.p[line.n - 1] == '\t'))
        line.n--;
    for (unsigned i = s->depth; i-- > 0;) {
        struct slice b = s->stack[i].boundary;

        if (b.n == 0 || !slice_starts(line, b)) continue;
        if (line.n == b.n || (line.n == b.n + 2 && slice_ends(line, S("--")))) {
            *level = i;
            *is_close = line.n > b.n;
            return true;
        }
    }
    return false;
}

static struct slice field_text(struct scan *s, struct slice value) {
    struct buf b;
    struct slice out;

    buf_init(&b, PARAM_BYTES_MAX);
    header_unfold(&b, slice_first(value, PARAM_BYTES_MAX));
    out = arena_copy(s->a, buf_slice(&b));
    buf_release(&b);
    return out;
}

static bool is_token(struct slice t) {
    for (size_t i = 0; i < t.n; i++)
        if ((unsigned char)t.p[i] <= ' ' || (unsigned char)t.p[i] >= 127 ||
            strchr("()<>@,;:\\\"/[]?=", t.p[i]))
            return false;
    return t.n > 0;
}

static void content_type(struct scan *s, struct part *p, struct slice value) {
    struct slice head, type, subtype;

    param_parse(s->a, value, &head, &p->params);
    if (!slice_cut(head, '/', &type, &subtype)) return;
    type = slice_trim(type);
    subtype = slice_trim(subtype);
    if (!is_token(type) || !is_token(subtype)) return;
    p->type = type;
    p->subtype = subtype;
    p->has_type = true;
}

static void languages(struct scan *s, struct part *p, struct slice value) {
    struct slice rest = field_text(s, value), one;

    p->languages = arena_new(s->a, PART_LANGUAGES_MAX * sizeof *p->languages);
    while (p->languages && p->n_languages < PART_LANGUAGES_MAX && rest.n > 0) {
        slice_cut(rest, ',', &one, &rest);
        one = slice_trim(one);
        if (one.n) p->languages[p->n_languages++] = one;
    }
}

static void fields(struct scan *s, struct part *p, struct slice header) {
    struct header_iter it;
    struct header_field f;

    for (header_begin(&it, header); header_next(&it, &f);) {
        struct slice head;

        if (!slice_istarts(f.name, S("Content-"))) continue;
        head = slice_from(f.name, 8);
        if (slice_ieq(head, S("Type")) && !p->has_type) {
            content_type(s, p, f.value);
        } else if (slice_ieq(head, S("Disposition")) && !p->disposition.n) {
            param_parse(s->a, f.value, &p->disposition, &p->disposition_params);
        } else if (slice_ieq(head, S("Transfer-Encoding"))) {
            struct param_list none;

            param_parse(s->a, f.value, &head, &none);
            if (head.n) p->encoding = head;
        } else if (slice_ieq(head, S("ID")) && !p->id.n) {
            p->id = field_text(s, f.value);
        } else if (slice_ieq(head, S("Description")) && !p->description.n) {
            p->description = field_text(s, f.value);
        } else if (slice_ieq(head, S("MD5")) && !p->md5.n) {
            p->md5 = field_text(s, f.value);
        } else if (slice_ieq(head, S("Location")) && !p->location.n) {
            p->location = field_text(s, f.value);
        } else if (slice_ieq(head, S("Language")) && !p->languages) {
            languages(s, p, f.value);
        }
    }
}

static bool is_identity(struct slice encoding) {
    return slice_ieq(encoding, S("7bit")) || slice_ieq(encoding, S("8bit")) ||
           slice_ieq(encoding, S("binary"));
}

/* What the type means for the structure. */
static void classify(struct scan *s, struct part *p, struct frame *f) {
    bool may_nest = s->depth < PART_DEPTH_MAX && s->count < PART_COUNT_MAX;

    if (slice_ieq(p->type, S("multipart"))) {
        struct buf b;

        buf_init(&b, PARAM_BYTES_MAX);
        if (may_nest && param_text(&p->params, S("boundary"), &b))
            f->boundary = arena_copy(s->a, slice_trim(buf_slice(&b)));
        buf_release(&b);
        p->is_multipart = f->boundary.n > 0;
        if (!p->is_multipart) {
            p->type = S("text");
            p->subtype = S("plain");
            p->params = (struct param_list){NULL, 0};
        }
    } else if (slice_ieq(p->type, S("message")) &&
               (slice_ieq(p->subtype, S("rfc822")) || slice_ieq(p->subtype, S("global")))) {
        p->is_message = may_nest && is_identity(p->encoding);
        if (!p->is_message) {
            p->type = S("application");
            p->subtype = S("octet-stream");
        }
    }
}

/* Hang a new part below the innermost frame. */
static struct part *new_part(struct scan *s) {
    struct frame *up = s->depth ? &s->stack[s->depth - 1] : NULL;
    struct part *p = arena_new(s->a, sizeof *p);

    if (!p) return NULL;
    p->number = 1;
    p->depth = s->depth;
    p->type = S("text");
    p->subtype = S("plain");
    p->encoding = S("7bit");
    s->count++;
    if (up) {
        p->parent = up->part;
        if (up->last_child) {
            p->number = up->last_child->number + 1;
            up->last_child->next = p;
        } else {
            up->part->children = p;
        }
        up->last_child = p;
        if (up->part->is_multipart && slice_ieq(up->part->subtype, S("digest"))) {
            p->type = S("message");
            p->subtype = S("rfc822");
        }
    }
    return p;
}

/* Read a header at `now`, up to the empty line, the end, or a delimiter; push the part. */
static bool open_part(struct scan *s) {
    struct mark start = s->now, end;
    struct part *p = new_part(s);
    struct frame *f;
    unsigned level;
    bool is_close, has_blank = false;

    if (!p) return false;
    while (s->now.at < s->in.n) {
        struct slice line = line_at(s);

        if (is_delimiter(s, line, &level, &is_close)) break;
        next_line(s, line);
        if (line.p[0] == '\n' || (line.n > 1 && line.p[0] == '\r' && line.p[1] == '\n')) {
            has_blank = true;
            break;
        }
    }
    end = s->now;
    if (!has_blank && s->now.at < s->in.n && s->before.at >= start.at) end = s->before;
    p->header = range(start, end);
    fields(s, p, slice_of(s->in.p + start.at, (size_t)p->header.n));
    f = &s->stack[s->depth++];
    *f = (struct frame){.part = p, .body = end};
    /* frames beyond the array cannot be: classify() lets only shallower parts nest */
    s->depth--;
    classify(s, p, f);
    s->depth++;
    return !s->a->bad;
}

/* Close frames down to `level` (exclusive of it) with bodies ending at `end`. */
static void close_to(struct scan *s, unsigned level, struct mark end) {
    while (s->depth > level) {
        struct frame *f = &s->stack[s->depth - 1];

        f->part->body = range(f->body, end);
        /* The line end before a boundary belongs to it, also where it looked like the empty line
         * behind the header of a message inside. */
        if (f->part->is_message && f->part->children && f->part->body.n == 0)
            f->part->children->header = f->part->body;
        if (f->part->is_multipart && !f->part->children) { /* a stand-in, see part.h */
            struct part *p = new_part(s);

            if (p) {
                p->type = S("text");
                p->subtype = S("plain");
                p->header = p->body = (struct part_range){.at = f->part->body.at + f->part->body.n};
            }
        }
        s->depth--;
    }
}

/* Open the part at `now` and, while it is a message, the one inside. */
static bool open_parts(struct scan *s) {
    do {
        if (!open_part(s)) return false;
    } while (s->stack[s->depth - 1].part->is_message);
    return true;
}

struct part *part_parse(struct arena *a, struct slice message, struct trail *trail) {
    struct scan s = {.a = a, .in = message, .trail = trail};
    struct part *root;

    if (!open_parts(&s)) return NULL;
    root = s.stack[0].part;
    while (s.now.at < s.in.n) {
        struct slice line = line_at(&s);
        unsigned level;
        bool is_close;

        if (!is_delimiter(&s, line, &level, &is_close)) {
            next_line(&s, line);
            continue;
        }
        if (!is_close && s.count >= PART_COUNT_MAX) { /* the rest stays in the part it is in */
            for (unsigned i = 0; i < s.depth; i++) s.stack[i].boundary = S("");
            next_line(&s, line);
            continue;
        }
        close_to(&s, level + 1, s.before);
        next_line(&s, line);
        if (is_close) s.stack[level].boundary = S("");
        else if (!open_parts(&s)) return NULL;
    }
    close_to(&s, 0, s.now);
    return a->bad ? NULL : root;
}

const struct part *part_next(const struct part *p) {
    if (p->children) return p->children;
    while (p && !p->next) p = p->parent;
    return p ? p->next : NULL;
}

const struct part *part_find(const struct part *root, const uint32_t *path, size_t n) {
    const struct part *p = root;

    for (size_t i = 0; i < n && p; i++) {
        if (i > 0 && !p->is_multipart) { /* only a message has more inside */
            if (!p->is_message) return NULL;
            p = p->children;
        }
        if (p && p->is_multipart) {
            p = p->children;
            while (p && p->number != path[i]) p = p->next;
        } else if (path[i] != 1) { /* a message without parts: its body is part 1 */
            return NULL;
        }
    }
    return p;
}

bool part_section(const struct part *root, const uint32_t *path, size_t n, enum part_section what,
                  struct part_range *out) {
    const struct part *p = part_find(root, path, n);

    if (!p) return false;
    switch (what) {
    case PART_MIME:
        if (n == 0) return false;
        *out = p->header;
        return true;
    case PART_BODY:
        if (n > 0) {
            *out = p->body;
            return true;
        }
        *out = p->header;
        out->n += p->body.n;
        out->wire += p->body.wire;
        out->lines += p->body.lines;
        return true;
    case PART_HEADER:
    case PART_TEXT:
        if (n > 0) p = p->is_message ? p->children : NULL;
        if (!p) return false;
        *out = what == PART_HEADER ? p->header : p->body;
        return true;
    }
    return false;
}

bool part_is(const struct part *p, struct slice type, struct slice subtype) {
    return slice_ieq(p->type, type) && slice_ieq(p->subtype, subtype);
}

const struct part *part_find_text(const struct part *root, struct slice subtype) {
    for (const struct part *p = root; p; p = part_next(p))
        if (!p->is_multipart && part_is(p, S("text"), subtype) &&
            !slice_ieq(p->disposition, S("attachment")))
            return p;
    return NULL;
}

bool part_decode(const struct part *p, struct slice message, struct buf *out) {
    struct slice in = slice_first(slice_from(message, (size_t)p->body.at), (size_t)p->body.n);

    if (slice_ieq(p->encoding, S("base64"))) {
        struct b64_decoder d = {0};

        b64_decode(&d, in, out);
        return b64_decode_end(&d, out);
    }
    if (slice_ieq(p->encoding, S("quoted-printable"))) {
        struct qp_decoder d = {.n_held = 0};

        qp_decode(&d, in, out);
        return qp_decode_end(&d, out);
    }
    return buf_add(out, in);
}

bool part_text(const struct part *p, struct slice message, struct buf *out) {
    size_t from = out->n, to;
    struct buf raw;

    buf_init(&raw, out->max);
    if (!part_decode(p, message, &raw)) out->bad = true;
    charset_to_utf8(out, buf_slice(&raw), param_get(&p->params, S("charset")));
    buf_release(&raw);
    to = from;
    for (size_t i = from; i < out->n; i++) {
        if (out->p[i] == '\r' && i + 1 < out->n && out->p[i + 1] == '\n') continue;
        out->p[to++] = out->p[i];
    }
    if (to < out->n) buf_cut(out, to);
    return !out->bad;
}

bool part_filename(const struct part *p, struct buf *out) {
    struct buf name;
    struct slice s;
    size_t cut;
    bool is_good;

    buf_init(&name, PARAM_BYTES_MAX * 3);
    if (!param_text(&p->disposition_params, S("filename"), &name))
        param_text(&p->params, S("name"), &name);
    s = slice_trim(buf_slice(&name));
    while ((cut = slice_chr(s, '/')) != SLICE_NONE || (cut = slice_chr(s, '\\')) != SLICE_NONE)
        s = slice_from(s, cut + 1);
    if (s.n > 255) { /* what a file system takes; whole characters */
        s.n = 255;
        while (s.n > 0 && !utf8_valid(s)) s.n--;
    }
    is_good = s.n > 0 && !slice_eq(s, S(".")) && !slice_eq(s, S(".."));
    for (size_t i = 0; i < s.n && is_good; i++)
        buf_addc(out, (unsigned char)s.p[i] < 32 || s.p[i] == 127 ? '_' : s.p[i]);
    buf_release(&name);
    return is_good && !out->bad;
}
