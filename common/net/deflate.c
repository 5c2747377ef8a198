#include "net/deflate.h"

#include <stdlib.h>

#include "net/zlib.h"

/* Raw: no header and no checksum (RFC 4978 3). The reader's window is always the whole 32 KiB. */
enum { RAW = -15, MEMORY = 8 };

struct deflate {
    z_stream in, up;    /* from the client, to it */
    bool is_up;         /* `up` is there: it is made when there is something to say */
    bool may_have_more; /* the last deflate_next filled all the room it had */
    struct buf wire;    /* packed bytes that came */
    struct buf out;
    size_t out_sent;
};

enum err_code deflate_new(struct deflate **out, struct err *e) {
    enum err_code code = zlib_load(e);
    struct deflate *d;

    *out = NULL;
    if (code != OK) return code;
    d = calloc(1, sizeof *d);
    if (!d || zlib.inflateInit2_(&d->in, RAW, ZLIB_VERSION, (int)sizeof d->in) != Z_OK) {
        free(d);
        return err_set(e, ERR_MEMORY, "no memory to compress with");
    }
    buf_init(&d->wire, DEFLATE_TAKE_MAX);
    buf_init(&d->out, 4 * (size_t)DEFLATE_PUT_MAX);
    *out = d;
    return OK;
}

void deflate_free(struct deflate *d) {
    if (!d) return;
    zlib.inflateEnd(&d->in);
    if (d->is_up) zlib.deflateEnd(&d->up);
    buf_release(&d->wire);
    buf_release(&d->out);
    free(d);
}

char *deflate_room(struct deflate *d, size_t *n) {
    *n = DEFLATE_TAKE_MAX - d->wire.n;
    return buf_room(&d->wire, *n);
}

void deflate_took(struct deflate *d, size_t n) { buf_grown(&d->wire, n); }

enum err_code deflate_next(struct deflate *d, char *p, size_t n, size_t *got) {
    int r;

    *got = 0;
    if (d->wire.n == 0 && !d->may_have_more) return OK;
    d->in.next_in = (const unsigned char *)d->wire.p;
    d->in.avail_in = (unsigned)d->wire.n;
    d->in.next_out = (unsigned char *)p;
    d->in.avail_out = (unsigned)n;
    r = zlib.inflate(&d->in, Z_SYNC_FLUSH);
    *got = n - d->in.avail_out;
    d->may_have_more = d->in.avail_out == 0;
    buf_drop(&d->wire, d->wire.n - d->in.avail_in);
    if (d->wire.n == 0) buf_release(&d->wire);
    if (*got > 0 || r == Z_OK || r == Z_BUF_ERROR) return OK;
    return r == Z_STREAM_END  ? ERR_CLOSED
           : r == Z_MEM_ERROR ? ERR_MEMORY
                              : ERR_PROTO; /* also a preset dictionary: there is none */
}

size_t deflate_put(struct deflate *d, struct slice text) {
    text = slice_first(text, DEFLATE_PUT_MAX);
    if (!d->is_up) {
        d->up = (z_stream){0};
        d->is_up = zlib.deflateInit2_(&d->up, Z_DEFAULT_COMPRESSION, Z_DEFLATED, RAW, MEMORY,
                                      Z_DEFAULT_STRATEGY, ZLIB_VERSION, (int)sizeof d->up) == Z_OK;
        if (!d->is_up) return 0;
    }
    d->up.next_in = (const unsigned char *)text.p;
    d->up.avail_in = (unsigned)text.n;
    do {
        size_t room = 4096;
        char *p = buf_room(&d->out, room);

        if (!p) return 0;
        d->up.next_out = (unsigned char *)p;
        d->up.avail_out = (unsigned)room;
        zlib.deflate(&d->up, Z_SYNC_FLUSH);
        buf_grown(&d->out, room - d->up.avail_out);
    } while (d->up.avail_out == 0);
    return text.n;
}

struct slice deflate_out(const struct deflate *d) {
    return slice_from(buf_slice(&d->out), d->out_sent);
}

void deflate_sent(struct deflate *d, size_t n) {
    d->out_sent += n;
    if (d->out_sent < d->out.n) return;
    d->out_sent = 0;
    if (d->out.cap > DEFLATE_PUT_MAX / 4) buf_release(&d->out);
    else buf_reset(&d->out);
}

void deflate_rest(struct deflate *d) {
    /* What is said next refers to nothing that was said before: any reader can follow. */
    if (!d || d->out.n > 0) return;
    if (d->is_up) zlib.deflateEnd(&d->up);
    d->is_up = false;
    buf_release(&d->out);
}
