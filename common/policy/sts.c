#include "policy/sts.h"

#include "base/ascii.h"
#include "base/num.h"

static const char *const modes[] = {"none", "testing", "enforce"};

const char *sts_mode_name(enum sts_mode mode) { return modes[mode]; }

bool sts_record_id(struct slice txt, struct slice *id) {
    struct slice field, key, value, rest = txt;
    bool found = false;

    if (!slice_cut(rest, ';', &field, &rest) || !slice_eq(slice_trim(field), S("v=STSv1")))
        return false;
    for (bool more = true; more && !found;) {
        more = slice_cut(rest, ';', &field, &rest);
        if (!slice_cut(slice_trim(field), '=', &key, &value)) continue;
        if (!slice_eq(slice_trim(key), S("id"))) continue;
        *id = slice_trim(value);
        found = true;
    }
    if (!found || id->n == 0 || id->n > STS_ID_MAX) return false;
    for (size_t i = 0; i < id->n; i++)
        if (!ascii_is_alnum(id->p[i])) return false;
    return true;
}

static bool is_pattern(struct slice s) {
    if (slice_starts(s, S("*."))) s = slice_from(s, 2);
    if (s.n == 0 || s.n > 253 || s.p[0] == '.' || s.p[s.n - 1] == '.' ||
        slice_find(s, S("..")) != SLICE_NONE)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!ascii_is_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '.' && s.p[i] != '_')
            return false;
    return true;
}

static enum err_code wrong(struct err *e, const char *what) {
    return err_set(e, ERR_SYNTAX, "MTA-STS policy: %s", what);
}

enum err_code sts_policy_parse(struct slice text, struct arena *a, struct sts_policy *out,
                               struct err *e) {
    bool has_version = false, has_mode = false, has_age = false;
    struct slice line, key, value;
    uint64_t n;

    *out = (struct sts_policy){0};
    if (text.n > STS_TEXT_MAX) return err_set(e, ERR_LIMIT, "MTA-STS policy: larger than 64 KiB");
    while (text.n > 0) {
        if (!slice_cut(text, '\n', &line, &text)) text = S("");
        line = slice_trim(slice_chomp(line));
        if (line.n == 0) continue;
        if (!slice_cut(line, ':', &key, &value)) return wrong(e, "a line without a colon");
        key = slice_trim(key);
        value = slice_trim(value);
        if (slice_eq(key, S("version")) && !has_version) {
            if (!slice_eq(value, S("STSv1"))) return wrong(e, "its version is not STSv1");
            has_version = true;
        } else if (slice_eq(key, S("mode")) && !has_mode) {
            for (int i = 0; i < 3; i++)
                if (slice_eq(value, slice_str(modes[i])))
                    out->mode = (enum sts_mode)i, has_mode = true;
            if (!has_mode) return wrong(e, "its mode is unknown");
        } else if (slice_eq(key, S("max_age")) && !has_age) {
            if (!num_parse(value, UINT32_MAX, &n)) return wrong(e, "its max_age is no number");
            out->max_age = n > STS_AGE_MAX ? STS_AGE_MAX : (uint32_t)n;
            has_age = true;
        } else if (slice_eq(key, S("mx"))) {
            if (value.n > 0 && value.p[value.n - 1] == '.') value.n--;
            if (!is_pattern(value)) return wrong(e, "an mx that is no host name");
            if (out->mx_count == STS_MX_MAX)
                return err_set(e, ERR_LIMIT, "MTA-STS policy: more than %d mx", STS_MX_MAX);
            out->mx[out->mx_count] = arena_cstr(a, value);
            if (!out->mx[out->mx_count++]) return err_set(e, ERR_MEMORY, "no memory for a policy");
        }
    }
    if (!has_version) return wrong(e, "it has no version");
    if (!has_mode) return wrong(e, "it has no mode");
    if (!has_age) return wrong(e, "it has no max_age");
    if (out->mode != STS_NONE && out->mx_count == 0) return wrong(e, "it has no mx");
    return OK;
}

bool sts_matches(const struct sts_policy *p, struct slice host) {
    if (host.n > 0 && host.p[host.n - 1] == '.') host.n--;
    for (size_t i = 0; i < p->mx_count; i++) {
        struct slice pattern = slice_str(p->mx[i]);
        size_t dot = slice_chr(host, '.');

        if (slice_ieq(pattern, host)) return true;
        if (slice_starts(pattern, S("*.")) && dot != SLICE_NONE && dot > 0 &&
            slice_ieq(slice_from(pattern, 2), slice_from(host, dot + 1)))
            return true;
    }
    return false;
}
