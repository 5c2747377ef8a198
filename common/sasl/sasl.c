#include "sasl/sasl.h"

#include "base/attr.h"

static const struct {
    struct slice name;
    unsigned bit;
} names[] = {
    // Best first: some clients take the first one that they know.
    {S_INIT("SCRAM-SHA-256-PLUS"), SASL_SCRAM_SHA_256_PLUS},
    {S_INIT("SCRAM-SHA-256"), SASL_SCRAM_SHA_256},
    {S_INIT("PLAIN"), SASL_PLAIN},
    {S_INIT("LOGIN"), SASL_LOGIN},
    {S_INIT("OAUTHBEARER"), SASL_OAUTHBEARER},
    {S_INIT("XOAUTH2"), SASL_XOAUTH2},
    {S_INIT("EXTERNAL"), SASL_EXTERNAL},
    {S_INIT("CRAM-MD5"), SASL_CRAM_MD5},
    {S_INIT("SCRAM-SHA-1"), SASL_SCRAM_SHA_1},
};

unsigned sasl_find(struct slice name) {
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (slice_ieq(name, names[i].name)) return names[i].bit;
    return 0;
}

const char *sasl_name(unsigned mechanism) {
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (mechanism == names[i].bit) return names[i].name.p;
    return "";
}

unsigned sasl_list(struct slice list) {
    unsigned set = 0;
    struct slice word;
    while (slice_word(&list, &word)) set |= sasl_find(word);
    return set;
}

void sasl_put_names(struct buf *out, unsigned set, const char *before) {
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (set & names[i].bit) buf_addf(out, "%s%s", before, names[i].name.p);
}
