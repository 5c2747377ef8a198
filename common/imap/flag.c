#include "imap/flag.h"

#include <stdlib.h>

#include "base/ascii.h"
#include "base/attr.h"

static const struct {
    uint64_t bit;
    struct slice name;
} system_flags[] = {
    {IMAP_ANSWERED, S_INIT("\\Answered")}, {IMAP_FLAGGED, S_INIT("\\Flagged")},
    {IMAP_DELETED, S_INIT("\\Deleted")},   {IMAP_SEEN, S_INIT("\\Seen")},
    {IMAP_DRAFT, S_INIT("\\Draft")},       {IMAP_RECENT, S_INIT("\\Recent")},
};

void imap_keywords_release(struct imap_keywords *k) {
    for (unsigned i = 0; i < k->n; i++) free(k->name[i]);
    *k = (struct imap_keywords){0};
}

uint64_t imap_keyword_bit(struct imap_keywords *k, struct slice name, bool may_add) {
    if (!name.n || name.n > IMAP_KEYWORD_LEN_MAX) return 0;
    for (size_t i = 0; i < name.n; i++) {
        if (!ascii_is_graph(name.p[i]) || strchr("(){%*\"\\]", name.p[i])) return 0;
    }
    for (unsigned i = 0; i < k->n; i++) {
        if (k->name[i] && slice_ieq(slice_str(k->name[i]), name))
            return (uint64_t)1 << (IMAP_KEYWORD_FIRST + i);
    }
    if (!may_add || k->n == IMAP_KEYWORDS_MAX) return 0;
    if (!(k->name[k->n] = strndup(name.p, name.n))) return 0;
    return (uint64_t)1 << (IMAP_KEYWORD_FIRST + k->n++);
}

uint64_t imap_system_flag(struct slice name) {
    for (size_t i = 0; i < COUNT_OF(system_flags); i++) {
        if (slice_ieq(name, system_flags[i].name)) return system_flags[i].bit;
    }
    return 0;
}

bool imap_flags_put(struct buf *out, uint64_t flags, const struct imap_keywords *k) {
    bool is_first = true;

    for (size_t i = 0; i < COUNT_OF(system_flags); i++) {
        if (!(flags & system_flags[i].bit)) continue;
        if (!is_first) buf_addc(out, ' ');
        buf_add(out, system_flags[i].name);
        is_first = false;
    }
    for (unsigned i = 0; k && i < k->n; i++) {
        if (!k->name[i] || !(flags & (uint64_t)1 << (IMAP_KEYWORD_FIRST + i))) continue;
        if (!is_first) buf_addc(out, ' ');
        buf_add(out, slice_str(k->name[i]));
        is_first = false;
    }
    return !out->bad;
}
