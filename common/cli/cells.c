#include "cli/cells.h"

#include "base/utf8.h"

struct range {
    uint32_t first, last;
};

static bool is_in(const struct range *v, size_t n, uint32_t c) {
    for (size_t i = 0; i < n; i++)
        if (c >= v[i].first && c <= v[i].last) return true;
    return false;
}

/* Unicode 15: ranges that matter in mail, not every assigned character. */
static size_t width_of(uint32_t c) {
    static const struct range none[] = {
        {0x300, 0x36f},   {0x483, 0x489},   {0x591, 0x5bd},   {0x610, 0x61a},   {0x64b, 0x65f},
        {0x200b, 0x200d}, {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xe0100, 0xe01ef}};
    static const struct range wide[] = {{0x1100, 0x115f},   {0x2e80, 0x303e},   {0x3041, 0xa4cf},
                                        {0xa960, 0xa97c},   {0xac00, 0xd7a3},   {0xf900, 0xfaff},
                                        {0xfe30, 0xfe6f},   {0xff00, 0xff60},   {0xffe0, 0xffe6},
                                        {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff},
                                        {0x20000, 0x3fffd}};

    if (c < 0x300) return 1;
    if (is_in(none, sizeof none / sizeof *none, c)) return 0;
    return is_in(wide, sizeof wide / sizeof *wide, c) ? 2 : 1;
}

/* What is shown instead of `c`; `c` itself when it is harmless. */
static uint32_t harmless(uint32_t c) {
    static const struct range bad[] = {{0, 0x1f},        {0x7f, 0x9f},     {0x61c, 0x61c},
                                       {0x200e, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f},
                                       {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe007f}};

    if (c == '\t' || c == '\r' || c == '\n') return ' ';
    return is_in(bad, sizeof bad / sizeof *bad, c) ? 0xfffd : c;
}

/* The next character of `*in`, taken off and made harmless. */
static uint32_t take(struct slice *in) {
    uint32_t c;
    size_t n = utf8_char(*in, &c);

    *in = slice_from(*in, n ? n : 1);
    return n ? harmless(c) : 0xfffd;
}

void cells_clean(struct buf *out, struct slice in) {
    while (in.n) utf8_put(out, take(&in));
}

size_t cells_put(struct buf *out, struct slice in, size_t width, bool is_padded) {
    size_t used = 0, mark = out->n, mark_used = 0;

    while (in.n) {
        uint32_t c = take(&in);
        size_t w = width_of(c);

        if (used + w > width) {
            /* The mark is the last place with room for the sign that says "cut". */
            if (width > 0) {
                buf_cut(out, mark);
                buf_add(out, S("\xe2\x80\xa6"));
                used = mark_used + 1;
            }
            break;
        }
        utf8_put(out, c);
        used += w;
        if (used < width) {
            mark = out->n;
            mark_used = used;
        }
    }
    for (size_t i = used; is_padded && i < width; i++) buf_addc(out, ' ');
    return used;
}
