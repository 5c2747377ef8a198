#include "mime/msgid.h"

#include "base/ascii.h"

bool msgid_put(struct buf *out, wall_t now, const uint8_t random[MSGID_RANDOM], struct slice host) {
    static const char base32[] = "abcdefghijklmnopqrstuvwxyz234567";
    struct civil c = civil_of(now, 0);
    bool is_fit = host.n > 0 && host.n <= 255;
    uint32_t bits = 0;
    unsigned n = 0;

    for (size_t i = 0; i < host.n && is_fit; i++)
        is_fit = ascii_is_alnum(host.p[i]) || host.p[i] == '-' || host.p[i] == '.';
    buf_addf(out, "<%04d%02d%02d%02d%02d%02d.", c.year, c.month, c.day, c.hour, c.minute, c.second);
    for (size_t i = 0; i < MSGID_RANDOM; i++) {
        bits = bits << 8 | random[i];
        for (n += 8; n >= 5; n -= 5) buf_addc(out, base32[bits >> (n - 5) & 31]);
    }
    buf_addc(out, '@');
    buf_add(out, is_fit ? host : S("localhost.invalid"));
    return buf_addc(out, '>');
}

bool msgid_next(struct slice *rest, struct slice *id) {
    for (;;) {
        size_t open = slice_chr(*rest, '<'), close;
        bool is_good = true;

        if (open == SLICE_NONE) break;
        *rest = slice_from(*rest, open + 1);
        close = slice_chr(*rest, '>');
        if (close == SLICE_NONE) break;
        *id = slice_first(*rest, close);
        open = slice_rchr(*id, '<'); /* "<a <b@c>": the last one opens */
        if (open != SLICE_NONE) *id = slice_from(*id, open + 1);
        *rest = slice_from(*rest, close + 1);
        *id = slice_trim(*id);
        if (id->n == 0 || id->n > MSGID_MAX) continue;
        for (size_t i = 0; i < id->n && is_good; i++)
            is_good = !ascii_is_ctl(id->p[i]) && id->p[i] != ' ';
        if (is_good) return true;
    }
    *rest = S("");
    return false;
}
