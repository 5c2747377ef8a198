#include "base/json.h"

#include <assert.h>

#include "base/moment.h"
#include "base/utf8.h"

void json_init(struct json *j, struct buf *out) { *j = (struct json){.out = out}; }

static void put_text(struct json *j, struct slice s) {
    buf_addc(j->out, '"');
    while (s.n > 0) {
        unsigned char c = (unsigned char)s.p[0];
        size_t n = utf8_char(s, NULL);

        if (c == '"' || c == '\\') {
            buf_addc(j->out, '\\');
            buf_addc(j->out, (char)c);
        } else if (c == '\n') {
            buf_add(j->out, S("\\n"));
        } else if (c == '\r') {
            buf_add(j->out, S("\\r"));
        } else if (c == '\t') {
            buf_add(j->out, S("\\t"));
        } else if (c < 32 || c == 127) {
            buf_addf(j->out, "\\u%04x", c);
        } else if (n == 0) {
            n = 1;
            utf8_put(j->out, 0xFFFD);
        } else {
            buf_add(j->out, slice_first(s, n));
        }
        s = slice_from(s, n);
    }
    buf_addc(j->out, '"');
}

static void start(struct json *j, const char *key) {
    if (j->comma[j->depth]) buf_addc(j->out, ',');
    j->comma[j->depth] = true;
    if (key) {
        put_text(j, slice_str(key));
        buf_addc(j->out, ':');
    }
}

static void open(struct json *j, const char *key, char open_with, char close_with) {
    start(j, key);
    assert(j->depth < JSON_DEPTH_MAX);
    j->depth++;
    j->comma[j->depth] = false;
    j->close[j->depth] = close_with;
    buf_addc(j->out, open_with);
}

void json_object(struct json *j, const char *key) { open(j, key, '{', '}'); }
void json_array(struct json *j, const char *key) { open(j, key, '[', ']'); }

void json_end(struct json *j) {
    assert(j->depth > 0);
    buf_addc(j->out, j->close[j->depth]);
    j->depth--;
}

void json_str(struct json *j, const char *key, struct slice value) {
    start(j, key);
    put_text(j, value);
}

void json_str_or_null(struct json *j, const char *key, struct slice value) {
    if (value.n > 0) json_str(j, key, value);
    else json_null(j, key);
}

void json_int(struct json *j, const char *key, int64_t value) {
    start(j, key);
    buf_addf(j->out, "%lld", (long long)value);
}

void json_bool(struct json *j, const char *key, bool value) {
    start(j, key);
    buf_add(j->out, value ? S("true") : S("false"));
}

void json_null(struct json *j, const char *key) {
    start(j, key);
    buf_add(j->out, S("null"));
}

void json_time(struct json *j, const char *key, int64_t wall) {
    char text[MOMENT_RFC3339_MAX];

    json_str(j, key, moment_rfc3339(wall, text));
}

void json_line(struct json *j) {
    while (j->depth > 0) json_end(j);
    j->comma[0] = false;
    buf_addc(j->out, '\n');
}
