#include "imap/binary.h"

enum { PIECE = 8 * 1024 };

bool imap_binary_start(struct imap_binary *b, struct slice src, uint64_t wire,
                       struct slice encoding, struct trail *trail) {
    static const char *const plain[] = {"", "7bit", "8bit", "binary"};
    bool is_known = false;

    *b = (struct imap_binary){.left = UINT64_MAX};
    imap_stream_start(&b->in, src, wire, 0, UINT64_MAX, trail);
    b->in.keeps_nul = true;
    for (size_t i = 0; i < COUNT_OF(plain); i++)
        is_known |= slice_ieq(encoding, slice_str(plain[i]));
    if (slice_ieq(encoding, S("base64"))) b->how = IMAP_BINARY_B64;
    else if (slice_ieq(encoding, S("quoted-printable"))) b->how = IMAP_BINARY_QP;
    else return is_known;
    return true;
}

/* The next decoded octets, of one piece of input. */
static bool decode_some(struct imap_binary *b, struct buf *raw, struct buf *out) {
    buf_reset(raw);
    if (!imap_stream_pull(&b->in, raw, PIECE)) return false;
    b->has_ended = b->in.left == 0;
    switch (b->how) {
    case IMAP_BINARY_PLAIN: return buf_add(out, buf_slice(raw));
    case IMAP_BINARY_B64:
        return b64_decode(&b->b64, buf_slice(raw), out) &&
               (!b->has_ended || b64_decode_end(&b->b64, out));
    case IMAP_BINARY_QP:
        return qp_decode(&b->qp, buf_slice(raw), out) &&
               (!b->has_ended || qp_decode_end(&b->qp, out));
    }
    return false;
}

bool imap_binary_pull(struct imap_binary *b, struct buf *out, size_t room) {
    size_t from = out->n;
    struct buf raw, piece;
    bool is_good = true;

    buf_init(&raw, 2 * PIECE);
    buf_init(&piece, 8 * PIECE);
    while (is_good && b->left && out->n - from < room) {
        struct slice s;

        if (b->has_ended) {
            b->left = 0; /* cannot happen while the bytes stay as they were counted */
            break;
        }
        buf_reset(&piece);
        is_good = decode_some(b, &raw, &piece);
        s = buf_slice(&piece);
        if (b->skip) {
            size_t n = b->skip < s.n ? (size_t)b->skip : s.n;

            b->skip -= n;
            s = slice_from(s, n);
        }
        if (s.n > b->left) s = slice_first(s, (size_t)b->left);
        b->left -= s.n;
        is_good = is_good && buf_add(out, s);
    }
    buf_release(&raw);
    buf_release(&piece);
    return is_good;
}

uint64_t imap_binary_size(struct slice src, uint64_t wire, struct slice encoding,
                          struct trail *trail, bool *has_nul) {
    struct imap_binary b;
    struct buf raw, piece;
    uint64_t size = 0;

    *has_nul = false;
    if (!imap_binary_start(&b, src, wire, encoding, trail)) return 0;
    buf_init(&raw, 2 * PIECE);
    buf_init(&piece, 8 * PIECE);
    while (!b.has_ended) {
        buf_reset(&piece);
        if (!decode_some(&b, &raw, &piece)) break;
        size += piece.n;
        *has_nul |= piece.n && memchr(piece.p, 0, piece.n) != NULL;
    }
    buf_release(&raw);
    buf_release(&piece);
    return size;
}
