#include "sys/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/json.h"
#include "base/moment.h"
#include "base/utf8.h"
#include "sys/clock.h"

void log_init(struct log *l, int fd, enum log_format format, const char *name) {
    *l = (struct log){.fd = fd, .format = format, .level = LEVEL_NOTE, .name = name};
}

bool log_wants(const struct log *l, enum log_level level) {
    return l && l->format != LOG_NONE && level <= l->level;
}

struct slice log_num(char b[24], int64_t v) {
    int n = snprintf(b, 24, "%lld", (long long)v);

    return slice_of(b, n > 0 ? (size_t)n : 0);
}

static bool is_plain(struct slice v) {
    for (size_t i = 0; i < v.n; i++)
        if ((unsigned char)v.p[i] <= 32 || v.p[i] == '"' || v.p[i] == '=' || v.p[i] == 127)
            return false;
    return v.n > 0 && utf8_valid(v);
}

static void put_text(struct buf *b, const char *key, struct slice v) {
    struct json j;

    buf_addf(b, " %s=", key);
    if (is_plain(v)) {
        buf_add(b, v);
        return;
    }
    json_init(&j, b);
    json_str(&j, NULL, v);
}

void log_event(const struct log *l, enum log_level level, const char *event, ...) {
    static const char *const names[] = {"error", "warn", "note", "debug"};
    static const int priority[] = {3, 4, 5, 7};
    char when[MOMENT_RFC3339_MAX];
    struct buf b;
    struct json j;
    va_list ap;
    const char *key;

    if (!log_wants(l, level)) return;
    buf_init(&b, LOG_LINE_MAX);
    json_init(&j, &b);
    if (l->format == LOG_JSON) {
        json_object(&j, NULL);
        json_int(&j, "v", 1);
        json_time(&j, "time", clock_wall());
        json_str(&j, "level", slice_str(names[level]));
        json_str(&j, "applet", slice_str(l->name));
        json_str(&j, "event", slice_str(event));
    } else {
        if (l->format == LOG_JOURNAL) buf_addf(&b, "<%d>", priority[level]);
        else buf_addf(&b, "%s ", moment_rfc3339(clock_wall(), when).p);
        buf_addf(&b, "postbag %s: %s%s", l->name, level <= LEVEL_WARN ? names[level] : "",
                 level <= LEVEL_WARN ? ": " : "");
        buf_add(&b, slice_str(event));
    }
    va_start(ap, event);
    while ((key = va_arg(ap, const char *)) != NULL) {
        struct slice v = va_arg(ap, struct slice);

        if (v.n == 0) continue;
        if (v.n > 1024) v.n = 1024;
        if (l->format == LOG_JSON) json_str(&j, key, v);
        else put_text(&b, key, v);
    }
    va_end(ap);
    if (l->format == LOG_JSON) json_line(&j);
    else buf_addc(&b, '\n');
    if (!b.bad) {
        /* One write per line, so that lines of several threads and processes never mix. A full disk
         * or a closed pipe must not stop the mail: the result is not looked at. */
        ssize_t n;

        do n = write(l->fd, b.p, b.n);
        while (n < 0 && errno == EINTR);
    }
    buf_release(&b);
}
