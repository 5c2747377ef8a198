#include <stdlib.h>

#include "imap/server_impl.h"

/* What a SEARCH found: kept as indexes of the view, told as SEARCH or ESEARCH (RFC 4731, RFC 9394),
 * saved for "$" (RFC 5182). */

/* --- what is asked for -------------------------------------------------------------------------
 */

static bool refuse(struct imap_server *s, const char *why) {
    s->cur.why = why;
    return false;
}

/* "1:10" or "-1:-10". */
bool imap_take_partial(struct imap_server *s, struct imap_partial *p) {
    uint64_t a, b;

    *p = (struct imap_partial){.is_from_end = imap_take(&s->cur, '-')};
    if (!imap_take_number(&s->cur, UINT32_MAX, &a) || !imap_take(&s->cur, ':') ||
        (p->is_from_end && !imap_take(&s->cur, '-')) ||
        !imap_take_number(&s->cur, UINT32_MAX, &b) || !a || !b)
        return refuse(s, "Malformed range of PARTIAL");
    p->first = (uint32_t)(a < b ? a : b);
    p->last = (uint32_t)(a < b ? b : a);
    p->asked_first = (uint32_t)a;
    p->asked_last = (uint32_t)b;
    return true;
}

void imap_partial_of(const struct imap_partial *p, size_t n, size_t *from, size_t *to) {
    *from = *to = 0;
    if (p->first > n) return;
    if (!p->is_from_end) {
        *from = p->first - 1;
        *to = p->last < n ? p->last : n;
    } else {
        *from = p->last < n ? n - p->last : 0;
        *to = n - p->first + 1;
    }
}

bool imap_take_return(struct imap_server *s) {
    static const struct {
        struct slice name;
        unsigned bit;
    } options[] = {
        {S_INIT("MIN"), RETURN_MIN},   {S_INIT("MAX"), RETURN_MAX},
        {S_INIT("ALL"), RETURN_ALL},   {S_INIT("COUNT"), RETURN_COUNT},
        {S_INIT("SAVE"), RETURN_SAVE}, {S_INIT("PARTIAL"), RETURN_PARTIAL},
    };
    struct search_state *q = &s->search;
    struct imap_cursor save = s->cur;
    struct slice word;

    q->returns = 0;
    q->is_extended = false;
    if (!imap_take_word(&s->cur, &word) || !slice_ieq(word, S("RETURN"))) {
        s->cur = save;
        q->is_extended = (s->enabled & ON_REV2) != 0; // RFC 9051 6.4.4
        q->returns = RETURN_ALL;
        return true;
    }
    if (!imap_take_sp(&s->cur) || !imap_take(&s->cur, '(')) return false;
    q->is_extended = q->has_return = true;
    while (!imap_take(&s->cur, ')')) {
        unsigned bit = 0;

        if (!imap_take_word(&s->cur, &word)) return false;
        for (size_t i = 0; i < COUNT_OF(options); i++)
            if (slice_ieq(word, options[i].name)) bit = options[i].bit;
        if (!bit || q->returns & bit) return refuse(s, "Unknown or repeated return option");
        if (bit == RETURN_PARTIAL && (!imap_take_sp(&s->cur) || !imap_take_partial(s, &q->partial)))
            return false;
        q->returns |= bit;
        imap_take_sp(&s->cur);
    }
    if (!q->returns) q->returns = RETURN_ALL;
    if (q->returns & RETURN_PARTIAL && q->returns & RETURN_ALL)
        return refuse(s, "ALL and PARTIAL exclude each other");
    return imap_take_sp(&s->cur);
}

/* --- keep --------------------------------------------------------------------------------------
 */

bool imap_search_hit(struct imap_server *s, size_t index) {
    struct search_state *q = &s->search;

    if (q->n_hits == q->cap_hits) {
        size_t cap = q->cap_hits ? 2 * q->cap_hits : 256;
        uint32_t *v = realloc(q->hits, cap * sizeof *v);

        if (!v) {
            imap_fail(s, ERR_MEMORY, "Out of memory.");
            return false;
        }
        q->hits = v;
        q->cap_hits = cap;
    }
    q->hits[q->n_hits++] = (uint32_t)index;
    if (s->msgs[index].modseq > q->modseq) q->modseq = s->msgs[index].modseq;
    return true;
}

/* RFC 5182 2.1: with MIN or MAX alone only those are kept. */
static void keep(struct imap_server *s) {
    struct search_state *q = &s->search;
    unsigned ends = q->returns & (RETURN_MIN | RETURN_MAX);
    size_t lowest = 0, highest = 0, from = 0, to = q->n_hits;

    free(s->saved);
    s->saved = NULL;
    s->n_saved = 0;
    if (!q->n_hits) return;
    if (q->returns & RETURN_PARTIAL) imap_partial_of(&q->partial, q->n_hits, &from, &to);
    s->saved = malloc((q->n_hits + 2) * sizeof *s->saved);
    if (!s->saved) return;
    for (size_t i = 0; i < q->n_hits; i++) {
        if (q->hits[i] < q->hits[lowest]) lowest = i;
        if (q->hits[i] > q->hits[highest]) highest = i;
    }
    if (ends && !(q->returns & (RETURN_ALL | RETURN_COUNT | RETURN_PARTIAL))) {
        if (ends & RETURN_MIN) s->saved[s->n_saved++] = s->msgs[q->hits[lowest]].uid;
        if (ends & RETURN_MAX) s->saved[s->n_saved++] = s->msgs[q->hits[highest]].uid;
        return;
    }
    for (size_t i = from; i < to; i++) s->saved[s->n_saved++] = s->msgs[q->hits[i]].uid;
}

void imap_saved_forget(struct imap_server *s) {
    free(s->saved);
    s->saved = NULL;
    s->n_saved = 0;
}

static int by_number(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

bool imap_saved_set(struct imap_server *s, bool is_uid, struct imap_set *out) {
    size_t n = 0;

    out->v = arena_new(&s->arena, (s->n_saved + 1) * sizeof *out->v);
    out->n = 0;
    if (!out->v) return false;
    if (s->n_saved > 1) qsort(s->saved, s->n_saved, sizeof *s->saved, by_number);
    for (size_t i = 0; i < s->n_saved; i++) {
        size_t at = imap_view_find(s, s->saved[i]);
        uint32_t x = is_uid ? s->saved[i] : (uint32_t)at + 1;

        if (at >= s->n_msgs || s->msgs[at].uid != s->saved[i]) continue;
        if (n && out->v[n - 1].last + 1 >= x) out->v[n - 1].last = x;
        else out->v[n++] = (struct imap_range){x, x};
    }
    out->n = n;
    return true;
}

/* --- tell --------------------------------------------------------------------------------------
 */

static uint32_t number_of(const struct imap_server *s, size_t i) {
    const struct search_state *q = &s->search;

    return q->is_uid ? s->msgs[q->hits[i]].uid : q->hits[i] + 1;
}

static void put_ends(struct imap_server *s) {
    struct search_state *q = &s->search;
    size_t lowest = 0, highest = 0;

    for (size_t i = 0; i < q->n_hits && q->returns & (RETURN_MIN | RETURN_MAX); i++) {
        if (q->hits[i] < q->hits[lowest]) lowest = i;
        if (q->hits[i] > q->hits[highest]) highest = i;
    }
    /* Of SORT they are the first and the last in its order (RFC 5267 3.1). */
    if (q->is_sort) lowest = 0, highest = q->n_hits ? q->n_hits - 1 : 0;
    if (q->returns & RETURN_MIN && q->n_hits) buf_addf(&s->out, " MIN %u", number_of(s, lowest));
    if (q->returns & RETURN_MAX && q->n_hits) buf_addf(&s->out, " MAX %u", number_of(s, highest));
    if (q->returns & RETURN_COUNT) buf_addf(&s->out, " COUNT %zu", q->n_hits);
}

/* The head of the answer; says which of the hits follow. */
static void begin(struct imap_server *s) {
    struct search_state *q = &s->search;

    q->at = 0;
    q->end = q->n_hits;
    if (!q->is_extended) {
        buf_add(&s->out, q->is_sort ? S("* SORT") : S("* SEARCH"));
        return;
    }
    buf_addf(&s->out, "* ESEARCH (TAG \"%.*s\")%s", SP(s->tag), q->is_uid ? " UID" : "");
    put_ends(s);
    if (q->returns & RETURN_PARTIAL) {
        imap_partial_of(&q->partial, q->n_hits, &q->at, &q->end);
        buf_addf(&s->out, q->partial.is_from_end ? " PARTIAL (-%u:-%u" : " PARTIAL (%u:%u",
                 q->partial.asked_first, q->partial.asked_last);
        if (q->at == q->end) buf_add(&s->out, S(" NIL"));
    } else if (!(q->returns & RETURN_ALL)) {
        q->end = 0;
    } else if (q->n_hits) {
        buf_add(&s->out, S(" ALL"));
    }
}

static void end(struct imap_server *s) {
    struct search_state *q = &s->search;

    if (q->is_extended && q->returns & RETURN_PARTIAL) buf_addc(&s->out, ')');
    if (q->has_modseq && q->n_hits)
        buf_addf(&s->out, q->is_extended ? " MODSEQ %llu" : " (MODSEQ %llu)",
                 (unsigned long long)q->modseq);
    buf_add(&s->out, S("\r\n"));
}

/* Numbers one by one, or runs that ascend by one as ranges. */
static bool put_numbers(struct imap_server *s) {
    struct search_state *q = &s->search;

    while (q->at < q->end) {
        uint32_t first = number_of(s, q->at), last = first;

        if (!imap_out_has_room(s)) return false;
        if (!q->is_extended) {
            buf_addf(&s->out, " %u", first);
            q->at++;
            continue;
        }
        for (q->at++; q->at < q->end && number_of(s, q->at) == last + 1; q->at++) last++;
        buf_addf(&s->out, first == last ? "%c%u" : "%c%u:%u", q->has_numbers ? ',' : ' ', first,
                 last);
        q->has_numbers = true;
    }
    return true;
}

bool imap_search_tell(struct imap_server *s) {
    struct search_state *q = &s->search;
    bool is_saved_only = q->returns == RETURN_SAVE;

    if (!q->is_telling) {
        q->is_telling = true;
        if (q->returns & RETURN_SAVE) keep(s);
        if (!is_saved_only) begin(s);
        else q->at = q->end = 0;
    }
    if (!put_numbers(s)) return false;
    if (!is_saved_only) end(s);
    imap_finish(s, "OK", S(""), q->is_sort ? S("Sort completed.") : S("Search completed."));
    return true;
}
