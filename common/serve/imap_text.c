#include "serve/imap_text.h"

#include <stdlib.h>

#include "base/num.h"
#include "crypto/hash.h"
#include "imap/head.h"
#include "imap/preview.h"
#include "imap/render.h"
#include "imap/section.h"

enum { STREAK_MIN = 4 }; /* misses in a row before messages are read ahead */

/* The texts that the index keeps; the names carry a version of the rendering. */
static struct text_kind {
    unsigned need;
    struct slice key;
} const text_kinds[IMAP_TEXT_KINDS] = {
    {IMAP_NEED_ENVELOPE | IMAP_NEED_HEAD, S_INIT("imap-envelope-2")},
    {IMAP_NEED_BODY, S_INIT("imap-body-1")},
    {IMAP_NEED_BODYSTRUCTURE, S_INIT("imap-structure-1")},
    {IMAP_NEED_PREVIEW, S_INIT("imap-preview-1")},
    {IMAP_NEED_EMAILID, S_INIT("imap-emailid-1")},
};

/* Of the content, so that copies have the same one and it survives the index (RFC 8474 5.1). */
static bool put_emailid(struct buf *out, struct slice bytes, struct trail *trail) {
    uint8_t sum[SHA256_SIZE];

    if (!hash_sha256_trail(bytes, trail, sum)) return false;
    buf_addc(out, 'M');
    for (size_t i = 0; i < 16; i++) buf_addf(out, "%02x", sum[i]);
    return !out->bad;
}

/* Both are made from the header and wanted for all messages at once: one text, "SIZE LF" ahead. */
static bool put_envelope_and_head(struct buf *out, struct slice bytes) {
    struct buf envelope;
    bool is_good;

    buf_init(&envelope, IMAP_ITEM_MAX);
    is_good = imap_put_envelope(&envelope, bytes);
    buf_addu(out, envelope.n);
    buf_addc(out, '\n');
    buf_add(out, buf_slice(&envelope));
    buf_release(&envelope);
    return is_good && imap_put_head(out, bytes);
}

static void split_envelope(struct slice text, struct imap_content *c) {
    struct slice size;
    uint64_t n;

    if (!slice_cut(text, '\n', &size, &text) || !num_take(&size, IMAP_ITEM_MAX, &n) || n > text.n)
        return;
    c->envelope = slice_first(text, (size_t)n);
    c->head = slice_from(text, (size_t)n);
}

static bool render(unsigned need, struct buf *out, struct slice bytes, struct trail *trail) {
    switch (need) {
    case IMAP_NEED_ENVELOPE | IMAP_NEED_HEAD: return put_envelope_and_head(out, bytes);
    case IMAP_NEED_BODY: return imap_put_body(out, bytes, trail);
    case IMAP_NEED_PREVIEW: return imap_put_preview(out, bytes, trail);
    case IMAP_NEED_EMAILID: return put_emailid(out, bytes, trail);
    default: return imap_put_bodystructure(out, bytes, trail);
    }
}

/* --- ahead ------------------------------------------------------------------------------------ */

struct slot {
    uint32_t uid;
    bool is_there; /* it could be read */
    uint64_t size;
    struct buf text[IMAP_TEXT_KINDS];
};

struct batch {
    struct mailbox_reading *reading; /* NULL: it is all there */
    unsigned needs;                  /* what the slots have */
    size_t from, n, next;            /* indexes of the snapshot when it was begun; within slot */
    struct slot slot[IMAP_TEXT_AHEAD_MAX];
};

/* One batch is told while the next one is read. */
struct imap_ahead {
    uint32_t last;   /* uid that was missed last */
    unsigned streak; /* misses in a row */
    struct batch *now, *then;
    struct batch batch[2];
};

static void empty(struct batch *b) {
    mailbox_read_end(b->reading, false);
    b->reading = NULL;
    for (size_t i = 0; i < b->n; i++)
        for (size_t k = 0; k < IMAP_TEXT_KINDS; k++) buf_release(&b->slot[i].text[k]);
    b->n = b->next = 0;
}

/* Any thread, each with a slot of its own. */
static void visit(void *ctx, size_t i, struct message *msg) {
    struct batch *b = ctx;
    struct slot *slot = &b->slot[i - b->from];

    for (size_t k = 0; k < IMAP_TEXT_KINDS; k++) {
        if (!(b->needs & text_kinds[k].need)) continue;
        buf_init(&slot->text[k], IMAP_TEXT_AHEAD_BYTES_MAX);
        if (!render(text_kinds[k].need, &slot->text[k], msg->bytes, &msg->trail) ||
            slot->text[k].bad)
            buf_release(&slot->text[k]);
    }
    slot->size =
        b->needs & IMAP_NEED_SIZE ? imap_wire_size(msg->bytes, &msg->trail) : STORE_SIZE_UNKNOWN;
    slot->is_there = true;
}

/* Begin to read `n` messages from `from` on. */
static void begin(struct batch *b, struct mailbox *box, size_t from, size_t n, unsigned needs) {
    size_t all;
    const struct imap_msg *v = mailbox_messages(box, &all);

    empty(b);
    if (from >= all) return;
    if (n > all - from) n = all - from;
    b->from = from;
    b->needs = needs;
    for (size_t i = 0; i < n; i++) b->slot[i] = (struct slot){.uid = v[from + i].uid};
    b->reading = mailbox_read_begin(box, from, from + n, visit, b);
    if (b->reading) b->n = n;
}

static struct slot *find(struct batch *b, uint32_t uid, unsigned missing) {
    while (b->next < b->n && b->slot[b->next].uid < uid) b->next++;
    if (b->next == b->n || b->slot[b->next].uid != uid || missing & ~b->needs) return NULL;
    mailbox_read_end(b->reading, true);
    b->reading = NULL;
    return b->slot[b->next].is_there ? &b->slot[b->next] : NULL;
}

/* What is there about `uid`, or NULL; reads ahead when that is what is going on. */
static struct slot *ahead(struct imap_text *t, struct mailbox *box, uint32_t uid,
                          unsigned missing) {
    struct imap_ahead *a = t->ahead;
    const struct imap_msg *v, *m = mailbox_find(box, uid);
    struct batch *swap;
    struct slot *slot;
    size_t n, size;

    v = mailbox_messages(box, &n);
    if (!m || (missing & (IMAP_NEED_BYTES | IMAP_NEED_SAVEDATE))) return NULL;
    if (!a) {
        a = t->ahead = calloc(1, sizeof *a);
        if (!a) return NULL;
        a->now = &a->batch[0];
        a->then = &a->batch[1];
    }
    if (m > v && m[-1].uid == a->last) a->streak++;
    else a->streak = 0;
    a->last = uid;
    slot = find(a->now, uid, missing);
    if (slot || a->streak < STREAK_MIN) return slot;
    if (a->now->next < a->now->n && a->now->slot[a->now->next].uid == uid &&
        !(missing & ~a->now->needs))
        return NULL; /* that one could not be read */
    size =
        (size_t)a->streak * 4 < IMAP_TEXT_AHEAD_MAX ? (size_t)a->streak * 4 : IMAP_TEXT_AHEAD_MAX;
    slot = find(a->then, uid, missing);
    if (slot) {
        swap = a->now;
        a->now = a->then;
        a->then = swap;
    } else {
        begin(a->now, box, (size_t)(m - v), size, missing);
        slot = find(a->now, uid, missing);
    }
    begin(a->then, box, (size_t)(m - v) + (a->now->n - a->now->next), size, missing);
    return slot;
}

void imap_text_rest(struct imap_text *t) {
    if (!t->ahead) return;
    empty(t->ahead->now);
    empty(t->ahead->then);
    free(t->ahead);
    t->ahead = NULL;
}

/* --- one message ------------------------------------------------------------------------------ */

void imap_text_done(struct imap_text *t) {
    if (t->is_open) message_close(&t->message);
    t->is_open = false;
    for (size_t i = 0; i < IMAP_TEXT_KINDS; i++) buf_release(&t->text[i]);
}

/* Take what was rendered ahead; returns what is still missing. */
static unsigned take_slot(struct imap_text *t, struct mailbox *box, struct slot *slot,
                          unsigned missing, struct imap_content *out) {
    for (size_t k = 0; k < IMAP_TEXT_KINDS; k++) {
        if (!(missing & text_kinds[k].need) || !slot->text[k].n) continue;
        buf_release(&t->text[k]);
        t->text[k] = slot->text[k];
        buf_init(&slot->text[k], IMAP_TEXT_AHEAD_BYTES_MAX);
        mailbox_cache_put(box, slot->uid, text_kinds[k].key, buf_slice(&t->text[k]));
        missing &= ~text_kinds[k].need;
    }
    if (missing & IMAP_NEED_SIZE && slot->size != STORE_SIZE_UNKNOWN) {
        out->size_bytes = slot->size;
        mailbox_size_is(box, slot->uid, slot->size);
        missing &= ~(unsigned)IMAP_NEED_SIZE;
    }
    return missing;
}

bool imap_text_get(struct imap_text *t, struct mailbox *box, uint32_t uid, unsigned items,
                   struct imap_content *out, struct err *e) {
    struct buf *text = t->text;
    unsigned missing = items;
    const struct imap_msg *m;
    struct slot *slot;

    *out = (struct imap_content){0};
    imap_text_done(t);
    for (size_t i = 0; i < IMAP_TEXT_KINDS; i++) {
        buf_init(&text[i], IMAP_ITEM_MAX);
        if (!(items & text_kinds[i].need)) continue;
        if (mailbox_cache_get(box, uid, text_kinds[i].key, &text[i]) && text[i].n && !text[i].bad)
            missing &= ~text_kinds[i].need;
        else buf_reset(&text[i]);
    }
    if (missing & IMAP_NEED_SAVEDATE) {
        missing &= ~(unsigned)IMAP_NEED_SAVEDATE;
        out->save_date = mailbox_saved(box, uid);
    }
    if (missing & IMAP_NEED_DATE) {
        missing &= ~(unsigned)IMAP_NEED_DATE;
        if (mailbox_date(box, uid, &out->internal_date, e) != OK) return false;
    }
    if (missing & IMAP_NEED_SIZE && (m = mailbox_find(box, uid)) &&
        m->size_bytes != STORE_SIZE_UNKNOWN) {
        out->size_bytes = m->size_bytes; /* found since the engine got its view */
        missing &= ~(unsigned)IMAP_NEED_SIZE;
    }
    if (missing && (slot = ahead(t, box, uid, missing)))
        missing = take_slot(t, box, slot, missing, out);
    if (missing & IMAP_NEED_SIZE && !(missing & ~(unsigned)IMAP_NEED_SIZE) &&
        mailbox_size(box, uid, &out->size_bytes, NULL) == OK)
        missing = 0;
    if (missing) {
        if (message_open(box, uid, &t->message, e) != OK) return false;
        t->is_open = true;
        out->bytes = t->message.bytes;
        out->has_bytes = true;
        out->trail = &t->message.trail;
        if (missing & IMAP_NEED_SIZE) out->size_bytes = mailbox_size_of(box, uid, &t->message);
    }
    for (size_t i = 0; i < IMAP_TEXT_KINDS; i++) {
        if (!(missing & text_kinds[i].need)) continue;
        /* What cannot be rendered is left to the engine, which says so in its own way. */
        if (!render(text_kinds[i].need, &text[i], out->bytes, out->trail) || text[i].bad)
            buf_reset(&text[i]);
        else if (text[i].n <= STORE_CACHE_MAX)
            mailbox_cache_put(box, uid, text_kinds[i].key, buf_slice(&text[i]));
    }
    split_envelope(buf_slice(&text[0]), out);
    out->body = buf_slice(&text[1]);
    out->bodystructure = buf_slice(&text[2]);
    out->preview = buf_slice(&text[3]);
    out->emailid = buf_slice(&text[4]);
    return true;
}
