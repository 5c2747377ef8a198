#include "submit/compose.h"

#include <string.h>

#include "base/utf8.h"
#include "mime/build.h"
#include "mime/charset.h"
#include "mime/header.h"
#include "mime/param.h"
#include "mime/type.h"
#include "sys/clock.h"
#include "sys/file.h"

/* Fields that plain text may come with and that are made anew. */
static bool is_mime_field(struct slice name) {
    return slice_ieq(name, S("MIME-Version")) || slice_istarts(name, S("Content-"));
}

/* The text may only be text as it stands: anything else has a structure that would be lost. */
static enum err_code check_plain(struct submission *s, struct slice header, struct slice *charset,
                                 struct err *e) {
    struct slice type, encoding = header_value(header, S("Content-Transfer-Encoding"));
    struct param_list params;

    *charset = S("");
    param_parse(&s->arena, header_value(header, S("Content-Type")), &type, &params);
    if (type.n > 0 && !slice_ieq(type, S("text/plain")))
        return err_set(e, ERR_SYNTAX, "the message is %.*s already; it cannot get other parts",
                       SP(type));
    if (encoding.n > 0 && !slice_ieq(encoding, S("7bit")) && !slice_ieq(encoding, S("8bit")))
        return err_set(e, ERR_SYNTAX, "the message is encoded (%.*s) already", SP(encoding));
    if (type.n > 0) *charset = param_get(&params, S("charset"));
    return OK;
}

static struct slice base_name(const char *path) {
    const char *slash = strrchr(path, '/');

    return slice_str(slash ? slash + 1 : path);
}

static enum err_code read_files(struct submission *s, const struct compose *c, struct buf *html,
                                struct build_file *files, struct buf *bytes, struct err *e) {
    uint64_t total = s->size;
    enum err_code code = OK;

    if (c->html) code = file_read(c->html, html, e);
    if (code == OK && !utf8_valid(buf_slice(html)))
        return err_set(e, ERR_SYNTAX, "%s is not UTF-8", c->html);
    total += html->n;
    for (size_t i = 0; code == OK && i < c->count; i++) {
        buf_init(&bytes[i], (size_t)s->conf->message_size_limit);
        code = file_read(c->files[i], &bytes[i], e);
        total += bytes[i].n / 3 * 4;
        if (code != OK) return code;
        if (total > s->conf->message_size_limit) break;
        files[i] = (struct build_file){
            .name = base_name(c->files[i]),
            .type = type_of(base_name(c->files[i]), buf_slice(&bytes[i])),
            .bytes = buf_slice(&bytes[i]),
        };
    }
    if (code == OK && total > s->conf->message_size_limit)
        return err_mail(e, ERR_LIMIT, STATUS(5, 3, 4),
                        "with its files the message is larger than message-size-limit");
    return code;
}

static void put_message(struct submission *s, struct slice text, struct slice html,
                        const struct build_file *files, size_t count, struct buf *out) {
    uint8_t random[BUILD_RANDOM_MIN * 2];
    struct slice header = buf_slice(&s->header);
    struct header_iter it;
    struct header_field f;
    struct build b;

    random_bytes(random, sizeof random);
    for (header_begin(&it, header); header_next(&it, &f);)
        if (!is_mime_field(f.name)) buf_add(out, slice_of(header.p + f.at, f.end - f.at));
    build_init(&b, out, random, sizeof random);
    build_body(&b, text, html, files, count);
}

enum err_code compose_mime(struct submission *s, const struct compose *c, struct err *e) {
    size_t max = (size_t)s->conf->message_size_limit * 2 + 1024 * 1024;
    struct build_file *files = arena_new(&s->arena, (c->count + 1) * sizeof *files);
    struct buf *bytes = arena_new(&s->arena, (c->count + 1) * sizeof *bytes);
    struct buf html, whole, text, out;
    struct slice charset, body;
    enum err_code code;

    if (!files || !bytes) return err_set(e, ERR_MEMORY, "no memory for attachments");
    if (c->count > COMPOSE_FILES_MAX)
        return err_set(e, ERR_LIMIT, "more than %d attachments", COMPOSE_FILES_MAX);
    buf_init(&html, (size_t)s->conf->message_size_limit);
    buf_init(&whole, max);
    buf_init(&text, max);
    buf_init(&out, max);
    code = check_plain(s, buf_slice(&s->header), &charset, e);
    if (code == OK) code = read_files(s, c, &html, files, bytes, e);
    if (code == OK) code = submission_text(s, &whole, e);
    if (code == OK) {
        body = slice_from(buf_slice(&whole), header_end(buf_slice(&whole), NULL));
        charset_to_utf8(&text, body, charset);
        put_message(s, buf_slice(&text), buf_slice(&html), files, c->count, &out);
        if (out.bad || text.bad)
            code = err_mail(e, ERR_LIMIT, STATUS(5, 3, 4), "the message is too large");
    }
    if (code == OK) code = submission_replace(s, buf_slice(&out), e);
    for (size_t i = 0; i < c->count; i++) buf_release(&bytes[i]);
    buf_release(&html);
    buf_release(&whole);
    buf_release(&text);
    buf_release(&out);
    return code;
}
