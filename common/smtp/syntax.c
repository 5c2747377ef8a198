#include "smtp/syntax.h"

#include "base/ascii.h"
#include "base/num.h"
#include "base/utf8.h"

static bool is_atext(char c) {
    return ascii_is_alnum(c) || (c && memchr("!#$%&'*+-/=?^_`{|}~", c, 19));
}

bool smtp_is_domain(struct slice s, bool utf8) {
    if (!s.n || s.n > SMTP_DOMAIN_MAX || (utf8 && !utf8_valid(s))) return false;
    size_t label = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '.') {
            if (!label || s.p[i - 1] == '-') return false;
            label = 0;
            continue;
        }
        bool is_high = (unsigned char)c > 127;
        if (is_high ? !utf8 : !(ascii_is_alnum(c) || c == '_' || (c == '-' && label))) return false;
        if (++label > 63 && !utf8) return false;
    }
    return label && s.p[s.n - 1] != '-';
}

static bool is_ipv4(struct slice s) {
    for (int i = 0; i < 4; i++) {
        uint64_t v;
        if (i && (!s.n || *s.p != '.')) return false;
        if (i) s = slice_from(s, 1);
        if (!num_take(&s, 255, &v)) return false;
    }
    return s.n == 0;
}

static bool is_ipv6(struct slice s) {
    int groups = 0;
    bool gap = false;
    if (s.n < 2) return false;
    if (s.p[0] == ':') {
        if (s.p[1] != ':') return false;
        gap = true;
        s = slice_from(s, 2);
    }
    while (s.n) {
        size_t n = 0;
        while (n < s.n && ascii_hex(s.p[n]) >= 0) n++;
        if (n < s.n && s.p[n] == '.') return is_ipv4(s) && (gap ? groups <= 5 : groups == 6);
        if (n < 1 || n > 4 || ++groups > 8) return false;
        s = slice_from(s, n);
        if (!s.n) break;
        if (*s.p != ':') return false;
        s = slice_from(s, 1);
        if (!s.n) return false;
        if (*s.p == ':') {
            if (gap) return false;
            gap = true;
            s = slice_from(s, 1);
        }
    }
    return gap ? groups <= 7 : groups == 8;
}

bool smtp_is_literal(struct slice s, bool lenient) {
    if (s.n < 3 || s.n > SMTP_DOMAIN_MAX || s.p[0] != '[' || s.p[s.n - 1] != ']') return false;
    s = slice_of(s.p + 1, s.n - 2);
    if (slice_istarts(s, S("IPv6:"))) return is_ipv6(slice_from(s, 5));
    return is_ipv4(s) || (lenient && is_ipv6(s));
}

// Length of the local part that `s` begins with, 0 when there is none.
static size_t local_length(struct slice s, bool utf8) {
    size_t i = 0;
    if (s.n && s.p[0] == '"') {
        for (i = 1; i < s.n; i++) {
            unsigned char c = (unsigned char)s.p[i];
            if (c == '"') return i + 1;
            if (c == '\\') {
                if (++i >= s.n) return 0;
                c = (unsigned char)s.p[i];
                if (c < 32 || c > 126) return 0;
            } else if (c > 127 ? !utf8 : (c < 32 || c == 127)) return 0;
        }
        return 0;
    }
    bool dot = true;
    for (; i < s.n; i++) {
        char c = s.p[i];
        if (c == '.') {
            if (dot) return 0;
            dot = true;
        } else if (is_atext(c) || (utf8 && (unsigned char)c > 127)) dot = false;
        else break;
    }
    return dot ? 0 : i;
}

bool smtp_is_local_part(struct slice s, bool utf8) {
    return s.n && s.n <= SMTP_LOCAL_MAX && local_length(s, utf8) == s.n && (!utf8 || utf8_valid(s));
}

enum err_code smtp_address_parse(struct slice in, unsigned flags, struct smtp_path *out,
                                 struct err *e) {
    struct mail_status st = STATUS(5, 1, 3);
    struct smtp_path p = {.address = in};
    bool utf8 = flags & SMTP_PATH_UTF8;
    if (in.n > SMTP_PATH_MAX) return err_mail(e, ERR_LIMIT, st, "the address is too long");
    if (!in.n) {
        if (!(flags & SMTP_PATH_NULL)) return err_mail(e, ERR_SYNTAX, st, "the address is empty");
        p.is_null = true;
        *out = p;
        return OK;
    }
    p.is_utf8 = !utf8_is_ascii(in);
    if (p.is_utf8 && (!utf8 || !utf8_valid(in)))
        return err_mail(e, ERR_SYNTAX, utf8 ? st : STATUS(5, 6, 7),
                        utf8 ? "the address is not UTF-8" : "the address needs SMTPUTF8");
    size_t n = local_length(in, utf8);
    if (!n) return err_mail(e, ERR_SYNTAX, st, "bad local part in the address");
    if (n > SMTP_LOCAL_MAX) return err_mail(e, ERR_LIMIT, st, "the local part is too long");
    p.local_part = slice_first(in, n);
    if (n == in.n) {
        if (!(flags & SMTP_PATH_LOCAL) &&
            !((flags & SMTP_PATH_POSTMASTER) && slice_ieq(in, S("postmaster"))))
            return err_mail(e, ERR_SYNTAX, st, "the address has no domain");
        *out = p;
        return OK;
    }
    if (in.p[n] != '@') return err_mail(e, ERR_SYNTAX, st, "bad local part in the address");
    p.domain = slice_from(in, n + 1);
    p.is_literal = p.domain.n && p.domain.p[0] == '[';
    if (p.is_literal ? !smtp_is_literal(p.domain, flags & SMTP_PATH_LENIENT)
                     : !smtp_is_domain(p.domain, utf8))
        return err_mail(e, p.domain.n > SMTP_DOMAIN_MAX ? ERR_LIMIT : ERR_SYNTAX, st,
                        "bad domain in the address");
    *out = p;
    return OK;
}

enum err_code smtp_path_parse(struct slice *in, unsigned flags, struct smtp_path *out,
                              struct err *e) {
    struct mail_status st = STATUS(5, 1, 3);
    struct slice s = *in;
    if (flags & SMTP_PATH_LENIENT)
        while (s.n && ascii_is_wsp(*s.p)) s = slice_from(s, 1);
    if (!s.n || *s.p != '<') {
        struct slice word;
        if (!(flags & SMTP_PATH_LENIENT) || !slice_word(&s, &word) ||
            slice_chr(word, '>') != SLICE_NONE)
            return err_mail(e, ERR_SYNTAX, st, "the address is not in angle brackets");
        enum err_code rc = smtp_address_parse(word, flags & ~SMTP_PATH_NULL, out, e);
        if (rc == OK) *in = s;
        return rc;
    }
    // The closing bracket: the first one outside a quoted string.
    size_t end = 1;
    for (bool quoted = false; end < s.n && (quoted || s.p[end] != '>'); end++) {
        if (s.p[end] == '"') quoted = !quoted;
        else if (quoted && s.p[end] == '\\') end++;
    }
    if (end >= s.n) return err_mail(e, ERR_SYNTAX, st, "the address has no closing bracket");
    if (end > SMTP_PATH_MAX) return err_mail(e, ERR_LIMIT, st, "the address is too long");
    struct slice inner = slice_of(s.p + 1, end - 1);
    if (inner.n && *inner.p == '@') { // a source route: checked for shape, then forgotten
        size_t colon = slice_chr(inner, ':');
        if (colon == SLICE_NONE) return err_mail(e, ERR_SYNTAX, st, "bad source route");
        struct slice route = slice_first(inner, colon), hop;
        inner = slice_from(inner, colon + 1);
        while (route.n) {
            slice_cut(route, ',', &hop, &route);
            if (!hop.n || *hop.p != '@' || !smtp_is_domain(slice_from(hop, 1), true))
                return err_mail(e, ERR_SYNTAX, st, "bad source route");
        }
        if (!inner.n) return err_mail(e, ERR_SYNTAX, st, "the address is empty");
    }
    enum err_code rc = smtp_address_parse(inner, flags, out, e);
    if (rc == OK) *in = slice_from(s, end + 1);
    return rc;
}

bool smtp_local_unquote(struct buf *out, struct slice l) {
    if (l.n < 2 || l.p[0] != '"') return buf_add(out, l);
    for (size_t i = 1; i + 1 < l.n; i++) {
        if (l.p[i] == '\\' && i + 2 < l.n) i++;
        if (!buf_addc(out, l.p[i])) return false;
    }
    return true;
}

bool smtp_local_quote(struct buf *out, struct slice raw) {
    if (raw.n && raw.p[0] != '"' && local_length(raw, true) == raw.n) return buf_add(out, raw);
    for (size_t i = 0; i < raw.n; i++)
        if (ascii_is_ctl(raw.p[i])) return false;
    buf_addc(out, '"');
    for (size_t i = 0; i < raw.n; i++) {
        if (raw.p[i] == '"' || raw.p[i] == '\\') buf_addc(out, '\\');
        buf_addc(out, raw.p[i]);
    }
    return buf_addc(out, '"');
}

static bool is_xchar(char c) { return ascii_is_graph(c) && c != '+' && c != '='; }

bool smtp_xtext_put(struct buf *out, struct slice raw) {
    for (size_t i = 0; i < raw.n; i++) {
        char c = raw.p[i];
        if (is_xchar(c)) buf_addc(out, c);
        else buf_addf(out, "+%02X", (unsigned)(unsigned char)c);
    }
    return !out->bad;
}

bool smtp_is_xtext(struct slice s) {
    for (size_t i = 0; i < s.n; i++) {
        if (is_xchar(s.p[i])) continue;
        if (s.p[i] != '+' || i + 2 >= s.n) return false;
        for (int k = 1; k <= 2; k++) // upper case only: RFC 3461 4
            if (ascii_hex(s.p[i + k]) < 0 || ascii_is_lower(s.p[i + k])) return false;
        i += 2;
    }
    return true;
}

bool smtp_xtext_get(struct buf *out, struct slice x) {
    size_t before = out->n;
    if (!smtp_is_xtext(x)) return false;
    for (size_t i = 0; i < x.n; i++) {
        char c = x.p[i];
        if (c == '+') {
            c = (char)(ascii_hex(x.p[i + 1]) * 16 + ascii_hex(x.p[i + 2]));
            i += 2;
        }
        if (!buf_addc(out, c)) {
            buf_cut(out, before);
            return false;
        }
    }
    return true;
}
