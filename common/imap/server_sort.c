#include <stdlib.h>

#include "imap/fold.h"
#include "imap/head.h"
#include "imap/server_impl.h"
#include "imap/thread.h"

/* SORT and THREAD (RFC 5256), SORT=DISPLAY (RFC 5957): a search, then what is known of the header
 * of each hit, then the order. */

enum { KEYS_MAX = 20, GATHER_BYTES_MAX = 1024 * 1024 * 1024 };

enum sort_by {
    SORT_ARRIVAL,
    SORT_CC,
    SORT_DATE,
    SORT_FROM,
    SORT_SIZE,
    SORT_SUBJECT,
    SORT_TO,
    SORT_DISPLAYFROM,
    SORT_DISPLAYTO,
    SORT_BYS
};

static const struct slice sort_names[SORT_BYS] = {
    S_INIT("ARRIVAL"), S_INIT("CC"), S_INIT("DATE"),        S_INIT("FROM"),     S_INIT("SIZE"),
    S_INIT("SUBJECT"), S_INIT("TO"), S_INIT("DISPLAYFROM"), S_INIT("DISPLAYTO")};

/* One key of one message. */
struct sort_value {
    int64_t number;
    struct slice text;
};

struct order_state {
    struct arena arena; /* of the keys, or of the threads */
    unsigned need;
    /* SORT */
    struct {
        enum sort_by by;
        bool is_reverse;
    } key[KEYS_MAX];
    size_t n_keys;
    struct sort_value *values; /* n_keys for each hit */
    /* THREAD */
    bool is_thread;
    enum imap_thread_way way;
    struct imap_thread_item *items;
    struct buf text;
    size_t at; /* hits that were looked at; then what of the text was told */
    bool is_ready;
};

void imap_order_clear(struct imap_server *s) {
    struct order_state *o = s->search.order;

    if (!o) return;
    arena_release(&o->arena);
    buf_release(&o->text);
    free(o->values);
    free(o->items);
    free(o);
    s->search.order = NULL;
}

static struct order_state *begin(struct imap_server *s) {
    struct order_state *o = calloc(1, sizeof *o);

    s->search.order = o;
    if (!o) {
        imap_finish(s, "NO", S("LIMIT"), S("Out of memory."));
        return NULL;
    }
    arena_init(&o->arena, GATHER_BYTES_MAX);
    buf_init(&o->text, 256 * 1024 * 1024);
    return o;
}

/* --- arguments ---------------------------------------------------------------------------------
 */

static bool refuse(struct imap_server *s, const char *why) {
    s->cur.why = why;
    return false;
}

static bool take_keys(struct imap_server *s, struct order_state *o) {
    struct slice word;

    if (!imap_take(&s->cur, '(')) return false;
    do {
        bool is_reverse = false;
        int by = 0;

        if (!imap_take_word(&s->cur, &word)) return false;
        if (slice_ieq(word, S("REVERSE"))) {
            is_reverse = true;
            if (!imap_take_sp(&s->cur) || !imap_take_word(&s->cur, &word)) return false;
        }
        while (by < SORT_BYS && !slice_ieq(word, sort_names[by])) by++;
        if (by == SORT_BYS) return refuse(s, "Unknown sort key");
        if (o->n_keys == KEYS_MAX) return refuse(s, "Too many sort keys");
        o->key[o->n_keys].by = (enum sort_by)by;
        o->key[o->n_keys++].is_reverse = is_reverse;
        o->need |= by == SORT_ARRIVAL ? 0 : by == SORT_SIZE ? IMAP_NEED_SIZE : IMAP_NEED_HEAD;
    } while (imap_take_sp(&s->cur));
    return imap_take(&s->cur, ')') && imap_take_sp(&s->cur);
}

void imap_cmd_sort(struct imap_server *s) {
    struct order_state *o = begin(s);

    if (!o) return;
    s->search.is_sort = true;
    if (!imap_take_sp(&s->cur) || !imap_take_return(s) || !take_keys(s, o)) {
        imap_finish_bad(s, s->cur.why);
        return;
    }
    /* ESORT is asked for by RETURN; IMAP4rev2 says nothing of SORT. */
    s->search.is_extended = s->search.is_extended && s->search.has_return;
    imap_search_start(s, true);
}

void imap_cmd_thread(struct imap_server *s) {
    struct order_state *o = begin(s);
    struct slice word;

    if (!o) return;
    s->search.is_sort = o->is_thread = true;
    s->search.returns = RETURN_ALL;
    o->need = IMAP_NEED_HEAD;
    if (!imap_take_sp(&s->cur) || !imap_take_atom(&s->cur, &word) || !imap_take_sp(&s->cur)) {
        imap_finish_bad(s, s->cur.why);
        return;
    }
    if (slice_ieq(word, S("REFERENCES"))) o->way = IMAP_THREAD_REFERENCES;
    else if (slice_ieq(word, S("ORDEREDSUBJECT"))) o->way = IMAP_THREAD_ORDEREDSUBJECT;
    else {
        imap_finish_bad(s, "Unknown way of threading.");
        return;
    }
    imap_search_start(s, true);
}

/* --- gather ------------------------------------------------------------------------------------
 */

static struct slice keep(struct order_state *o, struct slice s) {
    return s.n ? arena_copy(&o->arena, s) : S("");
}

static int64_t sent_at(const struct imap_msg *m, const struct imap_head *head,
                       const struct imap_content *c) {
    if (head->has_date) return head->date;
    if (m->internal_date != IMAP_DATE_UNKNOWN) return m->internal_date;
    return c ? c->internal_date : 0;
}

static void keep_values(struct imap_server *s, struct order_state *o, const struct imap_head *head,
                        const struct imap_content *c) {
    const struct imap_msg *m = &s->msgs[s->search.hits[o->at]];

    for (size_t k = 0; k < o->n_keys; k++) {
        struct sort_value *v = &o->values[o->at * o->n_keys + k];

        switch (o->key[k].by) {
        case SORT_ARRIVAL:
            v->number = m->internal_date != IMAP_DATE_UNKNOWN ? m->internal_date
                        : c                                   ? c->internal_date
                                                              : 0;
            break;
        case SORT_DATE: v->number = sent_at(m, head, c); break;
        case SORT_SIZE:
            v->number =
                (int64_t)(m->size_bytes != IMAP_SIZE_UNKNOWN ? m->size_bytes
                          : !c                               ? 0
                          : c->has_bytes && !c->size_bytes   ? imap_wire_size(c->bytes, c->trail)
                                                             : c->size_bytes);
            break;
        case SORT_CC: v->text = keep(o, head->cc); break;
        case SORT_FROM: v->text = keep(o, head->from); break;
        case SORT_TO: v->text = keep(o, head->to); break;
        case SORT_SUBJECT: v->text = keep(o, head->base_subject); break;
        case SORT_DISPLAYFROM: v->text = keep(o, head->display_from); break;
        case SORT_DISPLAYTO: v->text = keep(o, head->display_to); break;
        case SORT_BYS: break;
        }
    }
}

static void keep_item(struct imap_server *s, struct order_state *o, const struct imap_head *head,
                      const struct imap_content *c) {
    uint32_t index = s->search.hits[o->at];
    const struct imap_msg *m = &s->msgs[index];

    o->items[o->at] = (struct imap_thread_item){
        .number = s->search.is_uid ? m->uid : index + 1,
        .date = sent_at(m, head, c),
        .id = keep(o, head->id),
        .references = keep(o, head->references),
        .base_subject = keep(o, head->base_subject),
        .is_reply = head->is_reply,
    };
}

static void keep_hit(struct imap_server *s, const struct imap_content *c) {
    struct order_state *o = s->search.order;
    struct imap_head head = {0};
    struct buf made;

    buf_init(&made, IMAP_HEAD_MAX);
    if (c && (!c->head.n || !imap_head_get(c->head, &head)) && c->has_bytes &&
        imap_put_head(&made, c->bytes))
        imap_head_get(buf_slice(&made), &head);
    if (o->is_thread) keep_item(s, o, &head, c);
    else keep_values(s, o, &head, c);
    buf_release(&made);
    o->at++;
}

void imap_order_content(struct imap_server *s, const struct imap_content *c) {
    uint32_t index = s->search.hits[s->search.order->at];

    keep_hit(s, c); /* one that vanished is sorted as an empty one */
    if (c) imap_tell(s, IMAP_EV_MESSAGE_DONE)->uid = s->msgs[index].uid;
}

/* --- order -------------------------------------------------------------------------------------
 */

static int compare(const void *a, const void *b, void *arg) {
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    const struct order_state *o = arg;

    for (size_t k = 0; k < o->n_keys; k++) {
        const struct sort_value *p = &o->values[x * o->n_keys + k];
        const struct sort_value *q = &o->values[y * o->n_keys + k];
        int order = p->number != q->number ? (p->number < q->number ? -1 : 1)
                                           : imap_fold_cmp(p->text, q->text);

        if (order) return o->key[k].is_reverse ? -order : order;
    }
    return (x > y) - (x < y);
}

static bool order_hits(struct imap_server *s) {
    struct search_state *q = &s->search;
    struct order_state *o = q->order;
    uint32_t *places = malloc((q->n_hits + 1) * sizeof *places);

    if (!places) return false;
    for (size_t i = 0; i < q->n_hits; i++) places[i] = (uint32_t)i;
    if (q->n_hits > 1) qsort_r(places, q->n_hits, sizeof *places, compare, o);
    for (size_t i = 0; i < q->n_hits; i++) places[i] = q->hits[places[i]];
    if (q->n_hits) memcpy(q->hits, places, q->n_hits * sizeof *places);
    free(places);
    return true;
}

/* Everything is known; make the order. */
static bool finish(struct imap_server *s) {
    struct search_state *q = &s->search;
    struct order_state *o = q->order;
    bool is_good = !o->arena.bad;

    o->is_ready = true;
    o->at = 0;
    if (is_good && o->is_thread)
        is_good = imap_thread(o->way, o->items, q->n_hits, &o->arena, &o->text);
    else if (is_good) is_good = order_hits(s);
    if (!is_good) imap_finish(s, "NO", S("LIMIT"), S("Too much to put in order."));
    return is_good;
}

/* The threads, piece by piece. */
static bool tell_threads(struct imap_server *s) {
    struct order_state *o = s->search.order;

    if (!o->at) buf_add(&s->out, o->text.n ? S("* THREAD ") : S("* THREAD"));
    while (o->at < o->text.n) {
        struct slice rest = slice_from(buf_slice(&o->text), o->at);

        if (!imap_out_has_room(s)) return false;
        rest = slice_first(rest, IMAP_CHUNK_MAX);
        buf_add(&s->out, rest);
        o->at += rest.n;
    }
    buf_add(&s->out, S("\r\n"));
    imap_finish(s, "OK", S(""), S("Thread completed."));
    return true;
}

bool imap_order_run(struct imap_server *s, bool *is_done) {
    struct search_state *q = &s->search;
    struct order_state *o = q->order;

    *is_done = false;
    if (!o->is_ready && !o->values && !o->items) {
        if (o->is_thread) o->items = calloc(q->n_hits + 1, sizeof *o->items);
        else o->values = calloc((q->n_hits + 1) * o->n_keys, sizeof *o->values);
        if (!o->items && !o->values) {
            imap_finish(s, "NO", S("LIMIT"), S("Out of memory."));
            *is_done = true;
            return true;
        }
    }
    for (; !o->is_ready && o->at < q->n_hits;) {
        const struct imap_msg *m = &s->msgs[q->hits[o->at]];
        unsigned need = o->need;
        struct imap_event *ev;

        if (m->size_bytes != IMAP_SIZE_UNKNOWN) need &= ~(unsigned)IMAP_NEED_SIZE;
        if (m->internal_date == IMAP_DATE_UNKNOWN) need |= IMAP_NEED_DATE;
        if (!need) {
            keep_hit(s, NULL);
            continue;
        }
        ev = imap_ask(s, IMAP_EV_NEED_MESSAGE);
        ev->uid = m->uid;
        ev->items = need;
        return false;
    }
    if (!o->is_ready && !finish(s)) {
        *is_done = true;
        return true;
    }
    if (!o->is_thread) return true; /* told as the result of a search */
    *is_done = tell_threads(s);
    return *is_done;
}
