#include "smtp/xclient.h"

#include "base/ascii.h"
#include "base/num.h"
#include "smtp/syntax.h"

enum attribute { NAME, ADDR, PORT, PROTO, HELO, LOGIN, DESTADDR, DESTPORT, ATTRIBUTES };
static const struct slice words[ATTRIBUTES] = {
    S_INIT("NAME"), S_INIT("ADDR"),  S_INIT("PORT"),     S_INIT("PROTO"),
    S_INIT("HELO"), S_INIT("LOGIN"), S_INIT("DESTADDR"), S_INIT("DESTPORT")};

// The value without xtext, kept in x->text; empty for what is not known.
static enum err_code keep(struct smtp_xclient *x, struct slice v, struct slice *out,
                          struct err *e) {
    struct buf plain;
    bool ok;
    *out = S("");
    if (slice_ieq(v, S("[UNAVAILABLE]")) || slice_ieq(v, S("[TEMPUNAVAIL]"))) return OK;
    buf_init(&plain, SMTP_XCLIENT_BYTES_MAX);
    ok = smtp_xtext_get(&plain, v);
    for (size_t i = 0; i < plain.n; i++) ok = ok && !ascii_is_ctl(plain.p[i]);
    if (ok && plain.n <= sizeof x->text - x->text_n) {
        if (plain.n) memcpy(x->text + x->text_n, plain.p, plain.n);
        *out = slice_of(x->text + x->text_n, plain.n);
        x->text_n += plain.n;
    } else if (ok) ok = false;
    buf_release(&plain);
    return ok ? OK : err_mail(e, ERR_SYNTAX, STATUS(5, 5, 4), "bad value in XCLIENT");
}

static bool port_of(struct slice v, uint16_t *out) {
    uint64_t n = 0;
    if (v.n && !num_parse(v, 65535, &n)) return false;
    *out = (uint16_t)n;
    return true;
}

static struct slice address_of(struct slice v) {
    return slice_istarts(v, S("IPV6:")) ? slice_from(v, 5) : v;
}

enum err_code smtp_xclient_parse(struct slice args, struct smtp_xclient *out, struct err *e) {
    struct slice word, key, value;
    unsigned seen = 0;
    memset(out, 0, sizeof *out);
    while (slice_word(&args, &word)) {
        unsigned i = 0;
        enum err_code code;
        bool ok = slice_cut(word, '=', &key, &value);
        while (i < ATTRIBUTES && !slice_ieq(key, words[i])) i++;
        if (!ok || i == ATTRIBUTES || (seen & 1u << i))
            return err_mail(e, ERR_SYNTAX, STATUS(5, 5, 4), "bad attribute in XCLIENT");
        seen |= 1u << i;
        code = keep(out, value, &value, e);
        if (code != OK) return code;
        switch ((enum attribute)i) {
        case NAME: out->name = value; break;
        case ADDR: out->addr = address_of(value); break;
        case PORT: ok = port_of(value, &out->port); break;
        case PROTO:
            out->is_smtp = slice_ieq(value, S("SMTP"));
            ok = out->is_smtp || slice_ieq(value, S("ESMTP"));
            break;
        case HELO: out->helo = value; break;
        case LOGIN:
            out->login = value;
            out->has_login = true;
            break;
        case DESTADDR: out->dest_addr = address_of(value); break;
        case DESTPORT: ok = port_of(value, &out->dest_port); break;
        case ATTRIBUTES: break;
        }
        if (!ok) return err_mail(e, ERR_SYNTAX, STATUS(5, 5, 4), "bad value in XCLIENT");
    }
    return seen ? OK : err_mail(e, ERR_SYNTAX, STATUS(5, 5, 4), "XCLIENT needs an attribute");
}
