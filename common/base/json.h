/* json: a writer for one object per line (RFC 8259). Escapes what must be; bytes that are not UTF-8
 * become U+FFFD. Keys are literals of ours. Nesting is at most JSON_DEPTH_MAX.
 *
 *     struct json j;
 *     json_init(&j, &out);
 *     json_object(&j, NULL);
 *     json_int(&j, "v", 1);
 *     json_str(&j, "host", host);
 *     json_end(&j);
 *     json_line(&j);              // newline; `out` has the line, or out.bad
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/buf.h"

enum { JSON_DEPTH_MAX = 16 };

struct json {
    struct buf *out; /* borrowed until the last call */
    unsigned depth;
    bool comma[JSON_DEPTH_MAX + 1];
    char close[JSON_DEPTH_MAX + 1];
};

void json_init(struct json *j, struct buf *out);
/* Open an object or an array; `key` is NULL at the top and inside arrays. */
void json_object(struct json *j, const char *key);
void json_array(struct json *j, const char *key);
/* Close the innermost. */
void json_end(struct json *j);
void json_str(struct json *j, const char *key, struct slice value);
/* As json_str, or null when `value` is empty. */
void json_str_or_null(struct json *j, const char *key, struct slice value);
void json_int(struct json *j, const char *key, int64_t value);
void json_bool(struct json *j, const char *key, bool value);
void json_null(struct json *j, const char *key);
/* A point in time as RFC 3339 text. */
void json_time(struct json *j, const char *key, int64_t wall);
/* End the line; the writer is ready for the next. */
void json_line(struct json *j);

#endif
