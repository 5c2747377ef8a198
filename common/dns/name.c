#include "dns/name.h"

#include "base/ascii.h"
#include "base/utf8.h"
#include "dns/idn2.h"

struct slice name_trim(struct slice s) {
    return s.n > 0 && s.p[s.n - 1] == '.' ? slice_first(s, s.n - 1) : s;
}

static bool check(struct slice s, bool may_underscore) {
    bool has_alpha = false;
    size_t label = 0;

    s = name_trim(s);
    if (s.n == 0 || s.n > NAME_MAX_BYTES) return false;
    for (size_t i = 0; i <= s.n; i++) {
        char c = i < s.n ? s.p[i] : '.';

        if (c == '.') {
            if (label == 0 || label > NAME_LABEL_MAX) return false;
            if (s.p[i - 1] == '-' || s.p[i - label] == '-') return false;
            label = 0;
            continue;
        }
        if (!ascii_is_digit(c)) has_alpha = true;
        if (!ascii_is_alnum(c) && c != '-' && !(c == '_' && may_underscore)) return false;
        label++;
    }
    return has_alpha;
}

bool name_is_host(struct slice s) { return check(s, false); }
bool name_is_domain(struct slice s) { return check(s, true); }
bool name_eq(struct slice a, struct slice b) { return slice_ieq(name_trim(a), name_trim(b)); }

bool name_is_within(struct slice s, struct slice domain) {
    s = name_trim(s);
    domain = name_trim(domain);
    if (!slice_iends(s, domain)) return false;
    return s.n == domain.n || domain.n == 0 || s.p[s.n - domain.n - 1] == '.';
}

enum err_code name_to_ascii(struct buf *out, struct slice s, struct err *e) {
    char in[NAME_UTF8_MAX + 1], *ascii = NULL;
    enum err_code code = OK;
    int rc;

    s = name_trim(s);
    if (utf8_is_ascii(s)) {
        if (!check(s, true))
            return err_set(e, ERR_SYNTAX, "\"%.*s\" is not a domain name", SP(slice_first(s, 80)));
        for (size_t i = 0; i < s.n; i++) buf_addc(out, ascii_lower(s.p[i]));
        return out->bad ? err_set(e, ERR_LIMIT, "a domain name does not fit") : OK;
    }
    if (s.n > NAME_UTF8_MAX || memchr(s.p, '\0', s.n) || !utf8_valid(s))
        return err_set(e, ERR_SYNTAX, "a domain name is not UTF-8 or too long");
    if (idn2_load(e)) return e ? e->code : ERR_LIBRARY;
    memcpy(in, s.p, s.n);
    in[s.n] = '\0';
    rc = idn2.idn2_to_ascii_8z(in, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    if (rc != IDN2_OK)
        return err_set(e, ERR_SYNTAX, "\"%.*s\" is not a domain name: %s", SP(slice_first(s, 80)),
                       idn2.idn2_strerror(rc));
    if (!check(slice_str(ascii), true))
        code = err_set(e, ERR_SYNTAX, "\"%.*s\" is not a domain name", SP(slice_first(s, 80)));
    else if (!buf_add(out, slice_str(ascii)))
        code = err_set(e, ERR_LIMIT, "a domain name does not fit");
    idn2.idn2_free(ascii);
    return code;
}

bool name_to_utf8(struct buf *out, struct slice s) {
    char in[NAME_MAX_BYTES + 1], *utf8 = NULL;

    s = name_trim(s);
    if (s.n <= NAME_MAX_BYTES && slice_ifind(s, S("xn--")) != SLICE_NONE && check(s, true) &&
        idn2_load(NULL) == OK) {
        memcpy(in, s.p, s.n);
        in[s.n] = '\0';
        if (idn2.idn2_to_unicode_8z8z(in, &utf8, 0) == IDN2_OK) {
            buf_add(out, slice_str(utf8));
            idn2.idn2_free(utf8);
            return !out->bad;
        }
    }
    return buf_add(out, s);
}
