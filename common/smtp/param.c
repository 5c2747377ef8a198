#include "smtp/param.h"

#include "base/ascii.h"
#include "base/num.h"
#include "smtp/ext.h"

enum { ENVID_MAX = 100, ORCPT_MAX = 500, AUTH_MAX = 500 };
enum kind { MAIL, RCPT };

static bool mail_size(struct slice v, bool has, void *out) {
    return has && num_parse(v, UINT64_MAX / 2, &((struct smtp_mail *)out)->size);
}
static bool mail_body(struct slice v, bool has, void *out) {
    struct smtp_mail *m = out;
    if (has && slice_ieq(v, S("7BIT"))) m->body = SMTP_BODY_7BIT;
    else if (has && slice_ieq(v, S("8BITMIME"))) m->body = SMTP_BODY_8BITMIME;
    else if (has && slice_ieq(v, S("BINARYMIME"))) m->body = SMTP_BODY_BINARYMIME;
    else return false;
    return true;
}
static bool mail_smtputf8(struct slice v, bool has, void *out) {
    (void)v;
    ((struct smtp_mail *)out)->is_smtputf8 = true;
    return !has;
}
static bool mail_requiretls(struct slice v, bool has, void *out) {
    (void)v;
    ((struct smtp_mail *)out)->is_requiretls = true;
    return !has;
}
// "-3", "+3", "3" of at most 9 digits.
static bool number_of(struct slice v, uint64_t max, int32_t *out) {
    bool minus = slice_starts(v, S("-"));
    uint64_t n;
    if (!num_parse(slice_from(v, minus || slice_starts(v, S("+"))), max, &n)) return false;
    *out = minus ? -(int32_t)n : (int32_t)n;
    return true;
}
static bool mail_priority(struct slice v, bool has, void *out) {
    struct smtp_mail *m = out;
    int32_t n;
    if (!has || slice_starts(v, S("+")) || !number_of(v, SMTP_PRIORITY_MAX, &n)) return false;
    m->has_priority = true;
    m->priority = (int8_t)n;
    return true;
}
static bool mail_holdfor(struct slice v, bool has, void *out) {
    struct smtp_mail *m = out;
    uint64_t n;
    if (!has || m->hold != SMTP_HOLD_NONE || !num_parse(v, SMTP_SECONDS_MAX, &n)) return false;
    m->hold = SMTP_HOLD_FOR;
    m->hold_value = (wall_t)n;
    return true;
}
static bool two(struct slice *v, char end, int max, int *out) {
    uint64_t n;
    if (v->n < 2 || !num_parse(slice_first(*v, 2), (uint64_t)max, &n)) return false;
    *v = slice_from(*v, 2);
    *out = (int)n;
    if (!end) return true;
    if (!v->n || ascii_upper(*v->p) != end) return false;
    *v = slice_from(*v, 1);
    return true;
}
// RFC 3339 5.6, as RFC 4865 wants it: "2026-11-23T01:02:03Z", fractions are cut.
static bool mail_holduntil(struct slice v, bool has, void *out) {
    struct smtp_mail *m = out;
    struct civil c = {0};
    int century, year, hours, minutes;
    if (!has || m->hold != SMTP_HOLD_NONE || !two(&v, 0, 99, &century) || !two(&v, '-', 99, &year))
        return false;
    c.year = century * 100 + year;
    if (!two(&v, '-', 12, &c.month) || !two(&v, 'T', 31, &c.day) || !two(&v, ':', 23, &c.hour) ||
        !two(&v, ':', 59, &c.minute) || !two(&v, 0, 60, &c.second))
        return false;
    if (c.year < 1970 || !c.month || !c.day || c.day > civil_days_in_month(c.year, c.month))
        return false;
    if (v.n && *v.p == '.') {
        do v = slice_from(v, 1);
        while (v.n && ascii_is_digit(*v.p));
    }
    if (v.n && (*v.p == '+' || *v.p == '-')) {
        bool west = *v.p == '-';
        v = slice_from(v, 1);
        if (!two(&v, ':', 23, &hours) || !two(&v, 0, 59, &minutes) || v.n) return false;
        c.offset = (west ? -1 : 1) * (hours * 60 + minutes);
    } else if (!slice_ieq(v, S("Z"))) return false;
    m->hold = SMTP_HOLD_UNTIL;
    m->hold_value = civil_to_wall(&c);
    return true;
}
// "120;R", "-5;NT": RFC 2852 4.
static bool mail_by(struct slice v, bool has, void *out) {
    struct smtp_mail *m = out;
    struct slice time, mode;
    if (!has || !slice_cut(v, ';', &time, &mode) || !number_of(time, SMTP_SECONDS_MAX, &m->by_s))
        return false;
    m->by_trace = mode.n == 2 && ascii_upper(mode.p[1]) == 'T';
    if (mode.n != (m->by_trace ? 2u : 1u)) return false;
    m->by = ascii_upper(*mode.p) == 'R' ? SMTP_BY_RETURN : SMTP_BY_NOTIFY;
    if (m->by == SMTP_BY_NOTIFY && ascii_upper(*mode.p) != 'N') return false;
    return m->by == SMTP_BY_NOTIFY || m->by_s > 0;
}
static bool mail_ret(struct slice v, bool has, void *out) {
    struct smtp_mail *m = out;
    if (has && slice_ieq(v, S("FULL"))) m->ret = SMTP_RET_FULL;
    else if (has && slice_ieq(v, S("HDRS"))) m->ret = SMTP_RET_HDRS;
    else return false;
    return true;
}
static bool mail_envid(struct slice v, bool has, void *out) {
    ((struct smtp_mail *)out)->envid = v;
    return has && v.n && v.n <= ENVID_MAX && smtp_is_xtext(v);
}
static bool mail_auth(struct slice v, bool has, void *out) {
    ((struct smtp_mail *)out)->auth = v;
    return has && v.n && v.n <= AUTH_MAX && (slice_eq(v, S("<>")) || smtp_is_xtext(v));
}
static bool rcpt_notify(struct slice v, bool has, void *out) {
    return has && smtp_notify_parse(v, &((struct smtp_rcpt *)out)->notify);
}
static bool rcpt_orcpt(struct slice v, bool has, void *out) {
    struct slice type, rest;
    ((struct smtp_rcpt *)out)->orcpt = v;
    if (!has || v.n > ORCPT_MAX || !slice_cut(v, ';', &type, &rest) || !type.n || !rest.n)
        return false;
    for (size_t i = 0; i < type.n; i++)
        if (!ascii_is_alnum(type.p[i]) && type.p[i] != '-') return false;
    if (smtp_is_xtext(rest)) return true;
    // RFC 6533 3: "utf-8;" carries its own encodings, UTF-8 among them.
    if (!slice_ieq(type, S("utf-8"))) return false;
    for (size_t i = 0; i < rest.n; i++)
        if (ascii_is_ctl(rest.p[i]) || rest.p[i] == ' ') return false;
    return true;
}

static const struct row {
    struct slice word;
    enum kind kind;
    uint32_t ext;
    bool (*parse)(struct slice value, bool has_value, void *out);
} rows[] = {
#define PARAM(word, rfc, kind, ext, fn) {S_INIT(#word), kind, SMTP_EXT_##ext, fn},
#include "smtp/param.def"
#undef PARAM
};

static enum err_code params(struct slice in, enum kind kind, uint32_t exts, void *out,
                            struct err *e) {
    struct slice word, key, value;
    uint32_t seen = 0;
    unsigned count = 0;
    if (in.n && !ascii_is_wsp(*in.p))
        return err_mail(e, ERR_SYNTAX, STATUS(5, 5, 4), "no blank after the address");
    while (slice_word(&in, &word)) {
        if (++count > SMTP_PARAMS_MAX)
            return err_mail(e, ERR_LIMIT, STATUS(5, 5, 4), "too many parameters");
        bool has = slice_cut(word, '=', &key, &value);
        size_t i = 0;
        while (i < COUNT_OF(rows) && !(rows[i].kind == kind && slice_ieq(key, rows[i].word))) i++;
        if (i == COUNT_OF(rows) || !(exts & rows[i].ext))
            return err_mail(e, ERR_UNSUPPORTED, STATUS(5, 5, 4), "parameter not recognized");
        if (seen & 1u << i)
            return err_mail(e, ERR_SYNTAX, STATUS(5, 5, 4), "%.*s is given twice",
                            SP(rows[i].word));
        seen |= 1u << i;
        if (!rows[i].parse(value, has, out))
            return err_mail(e, ERR_SYNTAX, STATUS(5, 5, 4), "bad value of %.*s", SP(rows[i].word));
    }
    return OK;
}

enum err_code smtp_mail_parse(struct slice in, unsigned flags, uint32_t exts, struct smtp_mail *out,
                              struct err *e) {
    struct smtp_mail m = {0};
    struct err why = {0};
    // UTF-8 is allowed if SMTPUTF8 comes later on the line: parse with it, judge afterwards.
    unsigned f = flags | SMTP_PATH_NULL | (exts & SMTP_EXT_SMTPUTF8 ? SMTP_PATH_UTF8 : 0);
    enum err_code rc = smtp_path_parse(&in, f, &m.from, &why);
    if (rc == OK) rc = params(in, MAIL, exts, &m, &why);
    else if (why.status.subject == 1) why.status.detail = 7;
    if (rc == OK && m.from.is_utf8 && !m.is_smtputf8)
        rc = err_mail(&why, ERR_SYNTAX, STATUS(5, 6, 7), "the address needs SMTPUTF8");
    if (rc == OK && m.body == SMTP_BODY_BINARYMIME && !(exts & SMTP_EXT_BINARYMIME))
        rc = err_mail(&why, ERR_SYNTAX, STATUS(5, 5, 4), "BINARYMIME is not offered");
    if (rc == OK) *out = m;
    else if (e) *e = why;
    return rc;
}

enum err_code smtp_rcpt_parse(struct slice in, unsigned flags, uint32_t exts, struct smtp_rcpt *out,
                              struct err *e) {
    struct smtp_rcpt r = {0};
    enum err_code rc = smtp_path_parse(&in, flags | SMTP_PATH_POSTMASTER, &r.to, e);
    if (rc == OK) rc = params(in, RCPT, exts, &r, e);
    if (rc == OK) *out = r;
    return rc;
}

static const struct {
    struct slice word;
    unsigned bit;
} notify_words[] = {{S_INIT("NEVER"), SMTP_NOTIFY_NEVER},
                    {S_INIT("SUCCESS"), SMTP_NOTIFY_SUCCESS},
                    {S_INIT("FAILURE"), SMTP_NOTIFY_FAILURE},
                    {S_INIT("DELAY"), SMTP_NOTIFY_DELAY}};

bool smtp_notify_parse(struct slice in, unsigned *notify) {
    unsigned bits = 0;
    struct slice word;
    bool more = true;
    while (more) {
        unsigned bit = 0;
        more = slice_cut(in, ',', &word, &in);
        for (size_t i = 0; i < COUNT_OF(notify_words); i++)
            if (slice_ieq(word, notify_words[i].word)) bit = notify_words[i].bit;
        if (!bit) return false;
        bits |= bit;
    }
    if ((bits & SMTP_NOTIFY_NEVER) && bits != SMTP_NOTIFY_NEVER) return false;
    *notify = bits;
    return true;
}

bool smtp_notify_put(struct buf *out, unsigned notify) {
    bool first = true;
    for (size_t i = 0; i < COUNT_OF(notify_words); i++) {
        if (!(notify & notify_words[i].bit)) continue;
        if (!first) buf_addc(out, ',');
        buf_add(out, notify_words[i].word);
        first = false;
    }
    return !out->bad;
}
