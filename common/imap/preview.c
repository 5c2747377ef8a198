#include "imap/preview.h"

#include "base/ascii.h"
#include "base/num.h"
#include "base/utf8.h"
#include "mime/part.h"

enum { LOOK_MAX = 64 * 1024 }; /* bytes of a part, as stored, that are looked at */

/* Characters with blanks joined, until there are enough. */
struct line {
    struct buf *out;
    size_t from;
    unsigned count;
    bool has_blank;
};

static bool is_full(const struct line *l) { return l->count >= IMAP_PREVIEW_MAX || l->out->bad; }

static void put(struct line *l, uint32_t c) {
    bool is_blank = c <= ' ' || c == 0x7f || c == 0xa0 || c == 0x200b || c == 0xfeff ||
                    (c >= 0x2000 && c <= 0x200f) || c == 0x2028 || c == 0x2029;

    if (is_full(l)) return;
    if (is_blank) {
        l->has_blank = true;
        return;
    }
    if (l->has_blank && l->out->n > l->from) {
        buf_addc(l->out, ' ');
        l->count++;
    }
    l->has_blank = false;
    if (is_full(l)) return;
    utf8_put(l->out, c);
    l->count++;
}

static size_t next(struct slice s, size_t at, uint32_t *c) {
    size_t n = utf8_char(slice_from(s, at), c);

    if (n) return n;
    *c = 0xfffd;
    return 1;
}

static void put_plain(struct line *l, struct slice text) {
    for (struct slice row; !is_full(l) && slice_line(&text, &row);) {
        if (row.n && row.p[0] == '>') continue; /* what somebody else wrote */
        for (size_t i = 0; i < row.n && !is_full(l);) {
            uint32_t c;

            i += next(row, i, &c);
            put(l, c);
        }
        put(l, ' ');
    }
}

/* "&amp;" at the start of `s`; 0: none. */
static size_t entity(struct slice s, uint32_t *c) {
    static const struct {
        struct slice name;
        uint32_t c;
    } known[] = {
        {S_INIT("&amp;"), '&'},     {S_INIT("&lt;"), '<'},       {S_INIT("&gt;"), '>'},
        {S_INIT("&quot;"), '"'},    {S_INIT("&apos;"), '\''},    {S_INIT("&nbsp;"), ' '},
        {S_INIT("&zwnj;"), ' '},    {S_INIT("&mdash;"), 0x2014}, {S_INIT("&ndash;"), 0x2013},
        {S_INIT("&euro;"), 0x20ac},
    };
    struct slice rest = slice_from(s, 2);
    uint64_t n;

    for (size_t i = 0; i < COUNT_OF(known); i++) {
        if (!slice_istarts(s, known[i].name)) continue;
        *c = known[i].c;
        return known[i].name.n;
    }
    if (s.n > 3 && s.p[1] == '#' && num_take(&rest, 0x10ffff, &n) && rest.n && rest.p[0] == ';' &&
        (n < 0xd800 || n > 0xdfff)) {
        *c = (uint32_t)n;
        return s.n - rest.n + 1;
    }
    return 0;
}

/* Behind an element whose content is not to be read, or 0. */
static size_t skip_element(struct slice s) {
    static const struct {
        struct slice open, close;
    } hidden[] = {
        {S_INIT("<style"), S_INIT("</style")}, {S_INIT("<script"), S_INIT("</script")},
        {S_INIT("<head"), S_INIT("</head")},   {S_INIT("<title"), S_INIT("</title")},
        {S_INIT("<!--"), S_INIT("-->")},
    };

    for (size_t i = 0; i < COUNT_OF(hidden); i++) {
        struct slice open = hidden[i].open, close = hidden[i].close;

        if (!slice_istarts(s, open)) continue;
        if (open.p[1] != '!' && s.n > open.n && ascii_is_alnum(s.p[open.n])) continue;
        for (size_t k = open.n; k < s.n; k++)
            if (s.p[k] == close.p[0] && slice_istarts(slice_from(s, k), close)) return k;
        return s.n;
    }
    return 0;
}

static void put_html(struct line *l, struct slice text) {
    size_t i = 0;

    while (i < text.n && !is_full(l)) {
        struct slice rest = slice_from(text, i);
        uint32_t c;
        size_t n;

        if (rest.p[0] == '<') {
            size_t end;

            n = skip_element(rest);
            end = slice_chr(slice_from(rest, n), '>');
            i += end == SLICE_NONE ? rest.n : n + end + 1;
            put(l, ' ');
        } else if (rest.p[0] == '&' && (n = entity(rest, &c))) {
            put(l, c);
            i += n;
        } else {
            i += next(text, i, &c);
            put(l, c);
        }
    }
}

bool imap_put_preview(struct buf *out, struct slice message, struct trail *trail) {
    struct arena a;
    struct part *root;
    const struct part *p = NULL;
    struct line l = {.out = out, .from = out->n};
    bool is_html = false;

    arena_init(&a, 64 * 1024 * 1024);
    root = part_parse(&a, message, trail);
    if (root) p = part_find_text(root, S("plain"));
    if (root && !p) {
        p = part_find_text(root, S("html"));
        is_html = true;
    }
    if (p) {
        struct part some = *p;
        struct buf text;

        if (some.body.n > LOOK_MAX) some.body.n = LOOK_MAX;
        buf_init(&text, 8 * LOOK_MAX);
        part_text(&some, message, &text);
        if (is_html) put_html(&l, buf_slice(&text));
        else put_plain(&l, buf_slice(&text));
        buf_release(&text);
    }
    arena_release(&a);
    return root && !out->bad;
}
