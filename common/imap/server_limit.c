#include <stdio.h>

#include "imap/server_impl.h"

/* How a client keeps its commands small, UIDBATCHES (RFC 10022), and how a server does,
 * MESSAGELIMIT (RFC 9738). */

enum { BATCH_MIN = 500 }; // RFC 10022: a server takes no smaller ones

/* --- UIDBATCHES --------------------------------------------------------------------------------
 */

/* "2000 [1:10]": of batches of 2000 messages, counted from the newest, all or those. */
static bool take_batches(struct imap_server *s, uint64_t *size, uint64_t *from, uint64_t *to) {
    *from = 1;
    *to = UINT32_MAX;
    if (!imap_take_sp(&s->cur) || !imap_take_number(&s->cur, UINT32_MAX, size) || !*size)
        return false;
    if (imap_take_sp(&s->cur) &&
        (!imap_take_number(&s->cur, UINT32_MAX, from) || !imap_take(&s->cur, ':') ||
         !imap_take_number(&s->cur, UINT32_MAX, to) || !*from || *to < *from))
        return false;
    return imap_at_end(&s->cur);
}

void imap_cmd_uidbatches(struct imap_server *s) {
    uint64_t size, from, to;
    char separator = ' ';

    if (!take_batches(s, &size, &from, &to)) {
        imap_finish_bad(s, "Expected the size of a batch and perhaps a range of batches.");
        return;
    }
    if (size < BATCH_MIN) {
        imap_finish(s, "NO", S("TOOFEW"), S("The smallest batch is 500 messages."));
        return;
    }
    buf_addf(&s->out, "* UIDBATCHES (TAG \"%.*s\")", SP(s->tag));
    for (uint64_t i = from; i <= to && (i - 1) * size < s->n_msgs; i++) {
        size_t end = s->n_msgs - (size_t)((i - 1) * size); // behind its newest message
        /* Each begins below the one before: no UID between two of them is in none. */
        uint32_t low = end > size ? s->msgs[end - size].uid : 1;

        buf_addf(&s->out, "%c%u:%u", separator,
                 end == s->n_msgs ? s->msgs[end - 1].uid : s->msgs[end].uid - 1, low);
        separator = ',';
    }
    buf_add(&s->out, S("\r\n"));
    imap_finish(s, "OK", S(""), S("Uidbatches completed."));
}

/* --- MESSAGELIMIT ------------------------------------------------------------------------------
 */

/* The messages of one range of a resolved set: [*from, *to) of the view. */
static void span(const struct imap_server *s, const struct imap_range *r, bool is_uid, size_t *from,
                 size_t *to) {
    *from = is_uid ? imap_view_find(s, r->first) : r->first - 1;
    *to = !is_uid ? r->last : r->last == UINT32_MAX ? s->n_msgs : imap_view_find(s, r->last + 1);
    if (*to > s->n_msgs) *to = s->n_msgs;
    if (*from > *to) *from = *to;
}

void imap_limit_set(struct imap_server *s, struct imap_set *set, bool is_uid) {
    size_t left = s->cfg.message_limit;
    uint32_t lowest = 0;

    if (!left) return;
    for (size_t k = set->n; k-- > 0;) {
        size_t from, to;

        span(s, &set->v[k], is_uid, &from, &to);
        if (from == to) continue;
        if (to - from > left) {
            size_t first = to - left; // the first that is still looked at, when there is one

            if (left) lowest = s->msgs[first].uid;
            else k++;
            s->limited_to = lowest;
            set->v += k;
            set->n -= k;
            if (left) set->v[0].first = is_uid ? lowest : (uint32_t)first + 1;
            return;
        }
        left -= to - from;
        lowest = s->msgs[from].uid;
    }
}

bool imap_limit_allows(struct imap_server *s, size_t n) {
    char code[48];

    if (!s->cfg.message_limit || n <= s->cfg.message_limit) return true;
    snprintf(code, sizeof code, "MESSAGELIMIT %u", s->cfg.message_limit);
    imap_finish(s, "NO", slice_str(code), S("Too many messages for one command."));
    return false;
}

void imap_limit_uids(struct imap_server *s) {
    size_t over;

    if (!s->cfg.message_limit || s->n_uids <= s->cfg.message_limit) return;
    over = s->n_uids - s->cfg.message_limit;
    s->n_uids -= over;
    memmove(s->uids, s->uids + over, s->n_uids * sizeof *s->uids);
    s->limited_to = s->uids[0];
}

void imap_limit_tell(struct imap_server *s, char out[IMAP_LIMIT_CODE_MAX]) {
    snprintf(out, IMAP_LIMIT_CODE_MAX, "MESSAGELIMIT %u %u", s->cfg.message_limit, s->limited_to);
    s->limited_to = 0;
}
