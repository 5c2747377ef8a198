#include "queue/filter.h"

bool filter_is_empty(const struct filter *f) {
    return f->id_count == 0 && !f->sender && !f->recipient && !f->reason && !f->older_s &&
           !f->younger_s && !f->is_held;
}

/* "ann@a.test", "@a.test" and "a.test" name what is behind the last "@", or all of it. */
static bool is_meant(const char *text, struct slice address) {
    struct slice want = slice_str(text);
    size_t at = slice_rchr(address, '@');
    struct slice domain = at == SLICE_NONE ? S("") : slice_from(address, at + 1);

    if (slice_eq(want, S("<>")) || want.n == 0) return address.n == 0;
    if (want.p[0] == '@') return slice_ieq(slice_from(want, 1), domain);
    if (slice_chr(want, '@') != SLICE_NONE) return slice_ieq(want, address);
    return slice_ieq(want, domain);
}

static bool has_id(const struct filter *f, const char *id) {
    for (size_t i = 0; i < f->id_count; i++)
        if (strcmp(f->ids[i], id) == 0) return true;
    return f->id_count == 0;
}

bool filter_matches(const struct filter *f, const struct queue_entry *q, wall_t now) {
    wall_t age = now - q->env->arrived;
    bool to = !f->recipient, why = !f->reason;

    if (!has_id(f, q->id) || (f->sender && !is_meant(f->sender, q->env->sender))) return false;
    if ((f->is_held && !q->is_held) || (f->older_s && age < (wall_t)f->older_s) ||
        (f->younger_s && age > (wall_t)f->younger_s))
        return false;
    for (size_t i = 0; i < q->env->rcpt_count; i++) {
        if (q->state[i] != QUEUE_PENDING) continue;
        to |= f->recipient && is_meant(f->recipient, q->env->rcpts[i].address);
        why |= f->reason && slice_ifind(q->detail[i], slice_str(f->reason)) != SLICE_NONE;
    }
    return to && why;
}
