#include "smtp/ext.h"

#include "base/num.h"
#include "sasl/sasl.h"
#include "smtp/param.h"

static void ehlo_none(struct slice args, struct smtp_caps *caps) {
    (void)args;
    (void)caps;
}
static void ehlo_size(struct slice args, struct smtp_caps *caps) {
    uint64_t n;
    if (num_parse(slice_trim(args), UINT64_MAX / 2, &n)) caps->size_max = n;
}
static void ehlo_deliverby(struct slice args, struct smtp_caps *caps) {
    uint64_t n;
    if (num_parse(slice_trim(args), SMTP_SECONDS_MAX, &n)) caps->by_min_s = (int32_t)n;
}
static void ehlo_auth(struct slice args, struct smtp_caps *caps) { caps->auth |= sasl_list(args); }
static void ehlo_limits(struct slice args, struct smtp_caps *caps) {
    struct slice word, key, value;
    uint64_t n;
    while (slice_word(&args, &word)) {
        if (!slice_cut(word, '=', &key, &value) || !num_parse(value, 999999, &n)) continue;
        if (slice_ieq(key, S("MAILMAX"))) caps->mail_max = (unsigned)n;
        if (slice_ieq(key, S("RCPTMAX"))) caps->rcpt_max = (unsigned)n;
        if (slice_ieq(key, S("RCPTDOMAINMAX"))) caps->rcpt_domain_max = (unsigned)n;
    }
}

static void (*const parsers[SMTP_EXT_COUNT])(struct slice, struct smtp_caps *) = {
#define EXT(name, keyword, rfc, who, parse) parse,
#include "smtp/ext.def"
#undef EXT
};

#define CLIENT SMTP_EXT_CLIENT
#define SERVER SMTP_EXT_SERVER
const struct smtp_ext_info smtp_exts[SMTP_EXT_COUNT] = {
#define EXT(name, keyword, rfc, who, parse) {keyword, rfc, who},
#include "smtp/ext.def"
#undef EXT
};

uint32_t smtp_ext_find(struct slice keyword) {
    for (unsigned i = 0; i < SMTP_EXT_COUNT; i++)
        if (slice_ieq(keyword, slice_str(smtp_exts[i].keyword))) return (uint32_t)1 << i;
    return 0;
}

void smtp_caps_parse(struct slice text, struct smtp_caps *out) {
    struct slice line, word;
    *out = (struct smtp_caps){0};
    slice_line(&text, &line);
    while (slice_line(&text, &line)) {
        if (slice_istarts(line, S("AUTH="))) { // before RFC 2554
            out->exts |= SMTP_EXT_AUTH;
            ehlo_auth(slice_from(line, 5), out);
            continue;
        }
        if (!slice_word(&line, &word)) continue;
        uint32_t bit = smtp_ext_find(word);
        out->exts |= bit;
        for (unsigned i = 0; i < SMTP_EXT_COUNT; i++)
            if (bit == (uint32_t)1 << i) parsers[i](line, out);
    }
}
