#include "mime/header.h"

#include "base/ascii.h"

void header_begin(struct header_iter *it, struct slice message) {
    *it = (struct header_iter){.in = message};
}

/* Offset after the line that starts at `at`. */
static size_t line_end(struct slice in, size_t at) {
    const char *lf = at < in.n ? memchr(in.p + at, '\n', in.n - at) : NULL;

    return lf ? (size_t)(lf - in.p) + 1 : in.n;
}

static bool is_empty_line(struct slice in, size_t at) {
    if (at >= in.n) return false;
    return in.p[at] == '\n' || (in.p[at] == '\r' && at + 1 < in.n && in.p[at + 1] == '\n');
}

bool header_next(struct header_iter *it, struct header_field *f) {
    struct slice in = it->in, name, value, all;
    size_t at = it->at, end;

    if (at >= in.n || is_empty_line(in, at)) return false;
    if (it->fields >= HEADER_FIELDS_MAX || at >= HEADER_BYTES_MAX) {
        it->limited = true;
        return false;
    }
    end = line_end(in, at);
    while (end < in.n && ascii_is_wsp(in.p[end])) end = line_end(in, end);
    it->at = end;
    it->fields++;

    all = slice_of(in.p + at, end - at);
    *f = (struct header_field){.at = at, .end = end};
    if (slice_cut(all, ':', &name, &value)) {
        while (name.n > 0 && ascii_is_wsp(name.p[name.n - 1])) name.n--;
        if (header_name_valid(name)) {
            f->name = name;
            f->value = slice_chomp(value);
            return true;
        }
    }
    f->value = slice_chomp(all);
    return true;
}

size_t header_end(struct slice message, size_t *head) {
    size_t at = 0;

    while (at < message.n) {
        if (is_empty_line(message, at)) {
            if (head) *head = at;
            return line_end(message, at);
        }
        at = line_end(message, at);
    }
    if (head) *head = message.n;
    return message.n;
}

bool header_find(struct slice message, struct slice name, unsigned nth, struct header_field *f) {
    struct header_iter it;
    struct header_field found;

    for (header_begin(&it, message); header_next(&it, &found);) {
        if (!slice_ieq(found.name, name) || name.n == 0) continue;
        if (nth-- > 0) continue;
        *f = found;
        return true;
    }
    return false;
}

unsigned header_count(struct slice message, struct slice name) {
    struct header_iter it;
    struct header_field f;
    unsigned n = 0;

    for (header_begin(&it, message); header_next(&it, &f);)
        if (name.n > 0 && slice_ieq(f.name, name)) n++;
    return n;
}

struct slice header_value(struct slice message, struct slice name) {
    struct header_field f;

    return header_find(message, name, 0, &f) ? slice_trim(f.value) : S("");
}

void header_values(struct slice message, const struct slice *names, size_t n,
                   struct slice *values) {
    struct header_iter it;
    struct header_field f;

    for (size_t i = 0; i < n; i++) values[i] = (struct slice){0};
    for (header_begin(&it, message); header_next(&it, &f);) {
        for (size_t i = 0; i < n; i++) {
            if (f.name.n != names[i].n || values[i].p || !slice_ieq(f.name, names[i])) continue;
            values[i] = slice_trim(f.value);
            if (!values[i].p) values[i] = slice_of("", 0);
            break;
        }
    }
}

bool header_unfold(struct buf *out, struct slice value) {
    value = slice_trim(value);
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];

        if (c == '\r' && i + 1 < value.n && value.p[i + 1] == '\n') continue;
        if (c == '\n') {
            /* A line end that no blank follows cannot be in a field; keep words apart anyway. */
            if (i + 1 < value.n && ascii_is_wsp(value.p[i + 1])) continue;
            c = ' ';
        }
        buf_addc(out, c == '\0' || c == '\r' ? ' ' : c);
    }
    return !out->bad;
}

bool header_name_valid(struct slice name) {
    if (name.n == 0 || name.n > 76) return false;
    for (size_t i = 0; i < name.n; i++)
        if (!ascii_is_graph(name.p[i]) || name.p[i] == ':') return false;
    return true;
}
