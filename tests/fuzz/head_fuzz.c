/* What is kept and shown of messages: the head, folding, the preview, conversations. The input is
 * messages with a NUL between them. */
#include <assert.h>

#include "base/ascii.h"
#include "base/utf8.h"
#include "imap/fold.h"
#include "imap/head.h"
#include "imap/preview.h"
#include "imap/thread.h"
#include "mime/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { MESSAGES_MAX = 64 };

// Folding twice is folding once, grows within its bound, and begins as the folding of a beginning.
static void check_fold(struct slice s) {
    size_t half = s.n / 2;
    struct buf all, again, part;

    buf_init(&all, IMAP_FOLD_GROWTH * s.n);
    buf_init(&again, IMAP_FOLD_GROWTH * s.n);
    buf_init(&part, IMAP_FOLD_GROWTH * s.n);
    assert(imap_fold(&all, s));
    assert(imap_fold(&again, buf_slice(&all)));
    assert(slice_eq(buf_slice(&all), buf_slice(&again)));
    if (half && (unsigned char)s.p[half] < 128) {
        assert(imap_fold(&part, slice_first(s, half)));
        assert(slice_starts(buf_slice(&all), buf_slice(&part)));
    }
    assert(imap_fold_cmp(buf_slice(&part), buf_slice(&all)) <= 0);
    buf_release(&all);
    buf_release(&again);
    buf_release(&part);
}

static void check_base_subject(struct slice folded) {
    bool is_reply, again;
    struct slice base = imap_base_subject(folded, &is_reply);

    assert(base.n <= folded.n);
    assert(slice_eq(imap_base_subject(base, &again), base));
}

// The kept fields say what the message says: a search in one finds what it finds in the other.
static void check_head(struct slice message, const struct imap_head *head) {
    bool is_there[IMAP_HEAD_FIELDS] = {false};
    struct header_iter it;
    struct header_field f;
    struct buf b;

    buf_init(&b, 64 << 20);
    for (header_begin(&it, message); header_next(&it, &f);) {
        enum imap_head_field at = imap_head_field(f.name);

        check_fold(f.value);
        if (at == IMAP_HEAD_FIELDS) continue;
        is_there[at] = true;
        buf_reset(&b);
        imap_fold_field(&b, f.value);
        if (head->field[at].is_known)
            assert(slice_find(head->field[at].text, buf_slice(&b)) != SLICE_NONE);
        if (at == IMAP_HEAD_SUBJECT) check_base_subject(buf_slice(&b));
    }
    for (int i = 0; i < IMAP_HEAD_FIELDS; i++)
        if (head->field[i].is_known) assert(head->field[i].is_there == is_there[i]);
    buf_release(&b);
}

static void check_preview(struct slice message) {
    size_t chars = 0;
    struct buf b;

    buf_init(&b, 4 * IMAP_PREVIEW_MAX);
    assert(imap_put_preview(&b, message, NULL));
    assert(utf8_valid(buf_slice(&b)));
    for (size_t i = 0; i < b.n; i++) {
        assert(!ascii_is_ctl(b.p[i]));
        chars += ((unsigned char)b.p[i] & 0xc0) != 0x80;
    }
    assert(chars <= IMAP_PREVIEW_MAX);
    buf_release(&b);
}

// Each number once, and the brackets fit.
static void check_threads(enum imap_thread_way way, const struct imap_thread_item *items,
                          size_t n) {
    struct imap_thread_item v[MESSAGES_MAX];
    bool is_seen[MESSAGES_MAX + 1] = {false};
    size_t depth = 0, seen = 0, number = 0;
    struct arena a;
    struct buf out;

    for (size_t i = 0; i < n; i++) v[i] = items[i];
    arena_init(&a, 64 << 20);
    buf_init(&out, 1 << 20);
    assert(imap_thread(way, v, n, &a, &out));
    for (size_t i = 0; i < out.n; i++) {
        char c = out.p[i];

        if (ascii_is_digit(c)) {
            number = 10 * number + (size_t)(c - '0');
            if (ascii_is_digit(out.p[i + 1])) continue;
            assert(depth && number && number <= n && !is_seen[number]);
            is_seen[number] = true;
            number = 0;
            seen++;
        } else if (c == '(') depth++;
        else if (c == ')') assert(depth--);
        else assert(c == ' ');
    }
    assert(!depth && seen == n);
    buf_release(&out);
    arena_release(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct slice rest = slice_of((const char *)data, n), message;
    struct imap_thread_item items[MESSAGES_MAX];
    struct buf text[MESSAGES_MAX];
    uint32_t count = 0;
    bool more = true;

    while (more && count < MESSAGES_MAX) {
        struct imap_head head;

        more = slice_cut(rest, '\0', &message, &rest);
        buf_init(&text[count], IMAP_HEAD_MAX);
        assert(imap_put_head(&text[count], message));
        assert(imap_head_get(buf_slice(&text[count]), &head));
        check_head(message, &head);
        check_preview(message);
        items[count] = (struct imap_thread_item){.number = count + 1,
                                                 .date = head.date,
                                                 .id = head.id,
                                                 .references = head.references,
                                                 .base_subject = head.base_subject,
                                                 .is_reply = head.is_reply};
        count++;
    }
    check_threads(IMAP_THREAD_REFERENCES, items, count);
    check_threads(IMAP_THREAD_ORDEREDSUBJECT, items, count);
    for (uint32_t i = 0; i < count; i++) buf_release(&text[i]);
    return 0;
}
