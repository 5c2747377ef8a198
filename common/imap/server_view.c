#include <stdlib.h>

#include "imap/server_impl.h"

enum { STEP_GONE, STEP_FRESH, STEP_FLAGS, STEP_END, VANISHED_LINE = 500 };

void imap_view_clear(struct imap_server *s) {
    s->place.uid = 0;
    imap_rows_drop(s->rows);
    s->rows = NULL;
    imap_saved_forget(s);
    free(s->fresh);
    free(s->gone);
    free(s->going);
    s->msgs = s->fresh = NULL;
    s->gone = s->going = NULL;
    s->n_msgs = s->n_fresh = s->cap_fresh = s->n_gone = s->cap_gone = s->n_going = 0;
    s->n_changed = 0;
    s->is_selected = false;
}

static bool grow(void **v, size_t *cap, size_t n, size_t size, size_t max) {
    size_t want = *cap ? *cap * 2 : 64;
    void *p;

    if (n < *cap) return true;
    if (n >= max) return false;
    if (want > max) want = max;
    if (!(p = realloc(*v, want * size))) return false;
    *v = p;
    *cap = want;
    return true;
}

static void adopt(struct imap_server *s) {
    s->msgs = s->rows->v;
    s->n_msgs = s->rows->n;
}

bool imap_view_own(struct imap_server *s, size_t cap) {
    bool is_ok = imap_rows_own(&s->rows, cap);

    if (is_ok) adopt(s);
    else imap_fail(s, ERR_MEMORY, "Out of memory.");
    return is_ok;
}

bool imap_view_open(struct imap_server *s, const struct imap_mailbox_info *info) {
    imap_view_clear(s);
    if (info->rows->n > IMAP_MESSAGES_MAX) return false;
    s->rows = imap_rows_share(info->rows);
    adopt(s);
    imap_keywords_release(&s->keywords);
    for (size_t i = 0; i < info->n_keywords && i < IMAP_KEYWORDS_MAX; i++) {
        const char *name = info->keywords[i];

        s->keywords.name[i] = name ? strdup(name) : NULL;
        s->keywords.n = (unsigned)i + 1;
    }
    s->uidvalidity = info->uidvalidity;
    s->uidnext = info->uidnext;
    s->modseq = s->modseq_whole = info->highest_modseq ? info->highest_modseq : 1;
    s->no_permanent = info->no_permanent;
    s->no_new_keywords = info->no_new_keywords;
    s->is_selected = true;
    return true;
}

uint32_t imap_view_last_uid(const struct imap_server *s) {
    return s->n_msgs ? s->msgs[s->n_msgs - 1].uid : 0;
}

size_t imap_view_find(const struct imap_server *s, uint32_t uid) {
    return s->rows ? imap_rows_find(s->rows, uid) : 0;
}

static size_t find_exact(const struct imap_server *s, uint32_t uid) {
    size_t i = imap_view_find(s, uid);
    return i < s->n_msgs && s->msgs[i].uid == uid ? i : SIZE_MAX;
}

bool imap_view_resolve(struct imap_server *s, struct imap_set *set, bool is_uid) {
    if (set->is_saved) return imap_saved_set(s, is_uid, set);
    imap_set_resolve(set, is_uid ? imap_view_last_uid(s) : (uint32_t)s->n_msgs);
    return is_uid || imap_set_max(set) <= s->n_msgs;
}

size_t imap_view_next(const struct imap_server *s, const struct imap_set *set, bool is_uid,
                      uint32_t from) {
    if (!is_uid) {
        uint32_t n = imap_set_next(set, from);
        return n && n <= s->n_msgs ? n - 1 : SIZE_MAX;
    }
    for (;;) { // jump between the next member and the next message: each step passes a gap
        uint32_t n = imap_set_next(set, from);
        size_t i;

        if (!n) return SIZE_MAX;
        i = imap_view_find(s, n);
        if (i == s->n_msgs) return SIZE_MAX;
        if (s->msgs[i].uid == n || imap_set_has(set, s->msgs[i].uid)) return i;
        from = s->msgs[i].uid;
    }
}

bool imap_view_collect(struct imap_server *s, const struct imap_set *set, bool is_uid,
                       uint64_t with, uint64_t without) {
    uint32_t from = 1;

    free(s->uids);
    s->n_uids = 0;
    s->uids = malloc((s->n_msgs ? s->n_msgs : 1) * sizeof *s->uids);
    if (!s->uids) return false;
    for (;;) {
        size_t i = set ? imap_view_next(s, set, is_uid, from) : from - 1;

        if (i >= s->n_msgs) break;
        if ((s->msgs[i].flags & with) == with && !(s->msgs[i].flags & without)) {
            s->uids[s->n_uids++] = s->msgs[i].uid;
        }
        from = set && is_uid ? s->msgs[i].uid : (uint32_t)i + 1;
        if (from == UINT32_MAX) break;
        from++;
    }
    return true;
}

/* --- updates -----------------------------------------------------------------------------------
 */

static void overflow(struct imap_server *s) {
    imap_fail(s, ERR_LIMIT, "too many changes wait to be told");
}

void imap_server_push_new(struct imap_server *s, const struct imap_msg *m) {
    uint32_t last = s->n_fresh ? s->fresh[s->n_fresh - 1].uid : imap_view_last_uid(s);
    void *v = s->fresh;

    if (!s->is_selected || s->has_failed || m->uid <= last) return;
    if (s->n_msgs + s->n_fresh >= IMAP_MESSAGES_MAX ||
        !grow(&v, &s->cap_fresh, s->n_fresh, sizeof *s->fresh, IMAP_MESSAGES_MAX)) {
        overflow(s);
        return;
    }
    s->fresh = v;
    s->fresh[s->n_fresh] = *m;
    if (m->uid >= s->uidnext) s->uidnext = m->uid + 1;
    s->fresh[s->n_fresh++].is_changed = false;
}

void imap_server_push_expunged(struct imap_server *s, uint32_t uid) {
    void *v = s->gone;

    if (!s->is_selected || s->has_failed) return;
    for (size_t i = 0; i < s->n_fresh; i++) {
        if (s->fresh[i].uid != uid) continue;
        s->n_fresh--;
        memmove(s->fresh + i, s->fresh + i + 1, (s->n_fresh - i) * sizeof *s->fresh);
        return;
    }
    if (find_exact(s, uid) == SIZE_MAX) return;
    if (!grow(&v, &s->cap_gone, s->n_gone, sizeof *s->gone, IMAP_MESSAGES_MAX)) {
        overflow(s);
        return;
    }
    s->gone = v;
    s->gone[s->n_gone++] = uid;
}

static uint64_t expected(const struct imap_server *s, uint64_t flags) {
    if (s->store_mode == IMAP_STORE_ADD) return flags | s->store_flags;
    if (s->store_mode == IMAP_STORE_REMOVE) return flags & ~s->store_flags;
    return s->store_flags | (flags & (IMAP_RECENT | IMAP_PASSED));
}

void imap_server_push_flags(struct imap_server *s, uint32_t uid, uint64_t flags, uint64_t modseq) {
    size_t i;
    struct imap_msg *m;
    bool is_news, is_quiet;

    if (!s->is_selected || s->has_failed) return;
    for (size_t k = 0; k < s->n_fresh; k++) {
        if (s->fresh[k].uid != uid) continue;
        s->fresh[k].flags = flags | (s->fresh[k].flags & IMAP_RECENT);
        s->fresh[k].modseq = modseq;
        return;
    }
    if ((i = find_exact(s, uid)) == SIZE_MAX) return;
    if (!imap_view_own(s, 0)) return;
    m = &s->msgs[i];
    flags |= m->flags & IMAP_RECENT; // that one is the session's own
    if (s->open == IMAP_EV_STORE && (!s->has_since || s->knows_modified))
        is_news = !s->is_silent || flags != expected(s, m->flags);
    else is_news = flags != m->flags;
    // RFC 7162 3.1.3: who knows modification sequences is told the new one, .SILENT or not
    is_quiet = !is_news && s->enabled & ON_CONDSTORE && modseq != m->modseq;
    m->flags = flags;
    m->modseq = modseq;
    if ((is_news || is_quiet) && !m->is_changed) {
        m->is_changed = true;
        m->is_quiet = is_quiet;
        s->n_changed++;
    } else if (is_news) {
        m->is_quiet = false;
    }
}

void imap_server_push_modseq(struct imap_server *s, uint64_t highest) {
    if (s->is_selected && highest > s->modseq) s->modseq = highest;
}

bool imap_view_has_updates(const struct imap_server *s) {
    return s->is_selected &&
           (s->n_changed || s->n_fresh || (s->n_gone && s->may_expunge) || s->n_going);
}

static int by_number(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

void imap_view_flush_begin(struct imap_server *s) {
    s->flush_step = STEP_GONE;
    s->flush_at = 0;
    if (s->may_expunge && !s->n_going && s->n_gone) {
        s->going = s->gone;
        s->n_going = s->going_at = s->n_gone;
        s->gone = NULL;
        s->n_gone = s->cap_gone = 0;
        qsort(s->going, s->n_going, sizeof *s->going, by_number);
    }
    if (!s->n_gone) s->modseq_whole = s->modseq;
}

/* The same by UID, in lines of a bounded length (RFC 7162 3.2.10). */
static bool tell_vanished(struct imap_server *s) {
    size_t at = s->n_going - s->going_at;

    while (at < s->n_going) {
        size_t n = 0;
        uint32_t some[VANISHED_LINE];

        if (!imap_out_has_room(s)) return false;
        for (; at < s->n_going && n < VANISHED_LINE; at++) {
            uint32_t uid = s->going[at];

            if ((n && some[n - 1] == uid) || find_exact(s, uid) == SIZE_MAX) continue;
            some[n++] = uid;
        }
        s->going_at = s->n_going - at;
        if (!n) continue;
        buf_add(&s->out, S("* VANISHED "));
        imap_set_put(&s->out, some, n);
        buf_add(&s->out, S("\r\n"));
    }
    return true;
}

static void tell_recent(struct imap_server *s) {
    size_t recent = 0;

    if (s->enabled & ON_REV2) return;
    for (size_t i = 0; i < s->n_msgs; i++) recent += (s->msgs[i].flags & IMAP_RECENT) != 0;
    buf_addf(&s->out, "* %zu RECENT\r\n", recent);
}

/* From the highest down, so that no number moves while they are told. */
static bool tell_gone(struct imap_server *s) {
    bool has_recent = false;
    size_t to = 0;

    if (s->enabled & (ON_QRESYNC | ON_UIDONLY) && !tell_vanished(s)) return false;
    while (s->going_at) {
        uint32_t uid = s->going[s->going_at - 1];
        size_t i;

        if (!imap_out_has_room(s)) return false;
        s->going_at--;
        if (s->going_at + 1 < s->n_going && s->going[s->going_at + 1] == uid) continue;
        if ((i = find_exact(s, uid)) == SIZE_MAX) continue;
        buf_addf(&s->out, "* %zu EXPUNGE\r\n", i + 1);
    }

    if (!imap_view_own(s, 0)) return false;
    for (size_t i = 0, g = 0; i < s->n_msgs; i++) {
        while (g < s->n_going && s->going[g] < s->msgs[i].uid) g++;
        if (g < s->n_going && s->going[g] == s->msgs[i].uid) {
            s->n_changed -= s->msgs[i].is_changed;
            has_recent |= (s->msgs[i].flags & IMAP_RECENT) != 0;
            continue;
        }
        s->msgs[to++] = s->msgs[i];
    }
    s->n_msgs = s->rows->n = to;
    if (has_recent && !s->n_fresh) tell_recent(s); // else it is told with what is fresh
    free(s->going);
    s->going = NULL;
    s->n_going = 0;
    return true;
}

static bool tell_fresh(struct imap_server *s) {
    size_t room = s->n_msgs + s->n_fresh;

    /* By more than is needed when it must grow, so that it does not grow each time. */
    if (room > s->rows->cap) room += room / 8;
    if (!imap_view_own(s, room)) return false;
    for (size_t k = 0; k < s->n_fresh; k++) {
        if (s->fresh[k].uid <= imap_view_last_uid(s)) continue;
        if (s->notify.n_items && !s->notify.new_from) s->notify.new_from = s->fresh[k].uid;
        s->msgs[s->n_msgs++] = s->fresh[k];
    }
    s->rows->n = s->n_msgs;
    s->n_fresh = 0;
    buf_addf(&s->out, "* %zu EXISTS\r\n", s->n_msgs);
    tell_recent(s);
    return true;
}

void imap_view_put_flags(struct imap_server *s, uint64_t flags) {
    buf_add(&s->out, S("FLAGS ("));
    if (s->enabled & ON_REV2) flags &= ~IMAP_RECENT;
    imap_flags_put(&s->out, flags, &s->keywords);
    buf_addc(&s->out, ')');
}

void imap_view_put_modseq(struct imap_server *s, uint64_t modseq) {
    buf_addf(&s->out, "MODSEQ (%llu)", (unsigned long long)modseq);
    if (modseq > s->modseq_told) s->modseq_told = modseq;
}

void imap_view_tell_modseq(struct imap_server *s) {
    buf_addf(&s->out, "* OK [HIGHESTMODSEQ %llu] Highest.\r\n",
             (unsigned long long)s->modseq_whole);
    s->modseq_told = s->modseq_whole;
}

void imap_view_tell_keywords(struct imap_server *s) {
    uint64_t all = IMAP_SYSTEM_FLAGS;

    for (unsigned i = 0; i < s->keywords.n; i++) all |= (uint64_t)1 << (IMAP_KEYWORD_FIRST + i);
    s->keywords_told = s->keywords.n;
    buf_add(&s->out, S("* "));
    imap_view_put_flags(s, all);
    buf_add(&s->out, S("\r\n* OK [PERMANENTFLAGS ("));
    if (!s->is_read_only) {
        imap_flags_put(&s->out, all & ~s->no_permanent, &s->keywords);
        if (!s->no_new_keywords && s->keywords.n < IMAP_KEYWORDS_MAX) buf_add(&s->out, S(" \\*"));
    }
    buf_add(&s->out, S(")] Flags permitted.\r\n"));
}

static bool tell_flags(struct imap_server *s) {
    if (s->keywords_told != s->keywords.n) imap_view_tell_keywords(s);
    for (; s->n_changed && s->flush_at < s->n_msgs; s->flush_at++) {
        struct imap_msg *m = &s->msgs[s->flush_at];

        if (!m->is_changed) continue;
        if (!imap_out_has_room(s)) return false;
        if (s->enabled & ON_UIDONLY) buf_addf(&s->out, "* %u UIDFETCH (", m->uid);
        else buf_addf(&s->out, "* %zu FETCH (UID %u ", s->flush_at + 1, m->uid);
        if (!m->is_quiet) imap_view_put_flags(s, m->flags);
        if (s->enabled & ON_CONDSTORE) {
            if (!m->is_quiet) buf_addc(&s->out, ' ');
            imap_view_put_modseq(s, m->modseq);
        }
        buf_add(&s->out, S(")\r\n"));
        m->is_changed = m->is_quiet = false;
        s->n_changed--;
    }
    return true;
}

bool imap_view_flush(struct imap_server *s) {
    if (!s->is_selected) return true;
    if (s->flush_step == STEP_GONE) {
        if (s->n_going && !tell_gone(s)) return false;
        s->flush_step = STEP_FRESH;
    }
    if (s->flush_step == STEP_FRESH) {
        if (s->n_fresh && !tell_fresh(s)) return false;
        s->flush_step = STEP_FLAGS;
    }
    if (s->flush_step == STEP_FLAGS) {
        if ((s->n_changed || s->keywords_told != s->keywords.n) && !tell_flags(s)) return false;
        s->flush_step = STEP_END;
        /* What has no MODSEQ of its own was told; or one was told while an EXPUNGE below it had to
         * wait, and who comes again from there would never hear of that (RFC 7162 3.2.4). */
        if (s->enabled & ON_CONDSTORE && s->modseq_told != s->modseq_whole)
            imap_view_tell_modseq(s);
    }
    return true;
}

size_t imap_server_view(const struct imap_server *s, const struct imap_msg **msgs) {
    if (msgs) *msgs = s->msgs;
    return s->n_msgs;
}
