/* See store_conform.h. Included by the test of a back end. */
#include "store_conform.h"

static void good(enum err_code code, const struct err *e) {
    if (code != OK) fail_msg("%s: %s", err_code_name(code), e->msg);
}

static uint64_t keyword(struct mailbox *m, struct slice name, bool may_add) {
    struct err e = {0};
    uint64_t bit;

    good(mailbox_keyword_bit(m, name, may_add, &bit, &e), &e);
    return bit;
}

static void put(struct store *s, const char *mailbox, const char *text) {
    struct slice part = slice_str(text);
    struct delivery d = {.mailbox = slice_str(mailbox), .parts = &part, .n_parts = 1};
    struct err e = {0};

    good(store_deliver(s, &d, &e), &e);
}

static struct mailbox *opened(struct store *s, const char *name, enum mailbox_mode mode) {
    struct mailbox *m = NULL;
    struct err e = {0};

    good(mailbox_open(s, slice_str(name), mode, &m, &e), &e);
    return m;
}

void conform_stored_and_read(struct store_bed *bed) {
    struct slice parts[] = {S("Return-Path: <a@b>\r\n"), S("Subject: x\r\n\r\nbo"), S("dy\r"),
                            S("\nend\n")};
    struct delivery d = {.parts = parts, .n_parts = 4, .date = 1000000000};
    const struct imap_msg *v;
    struct mailbox_changes ch;
    struct imap_stream w;
    struct mailbox *m;
    struct message msg;
    struct buf b;
    struct err e = {0};
    char uidl[STORE_UIDL_MAX];
    size_t n;

    good(store_deliver(bed->s, &d, &e), &e);
    m = opened(bed->s, "INBOX", MAILBOX_WRITE);
    v = mailbox_messages(m, &n);
    assert_int_equal(n, 1);
    assert_int_equal(v[0].uid, 1);
    assert_int_equal(v[0].flags, STORE_RECENT);
    assert_int_equal(v[0].internal_date, 1000000000);
    assert_int_equal(v[0].size_bytes, 20 + 12 + 2 + 6 + 5);
    assert_true(v[0].modseq > 0 && v[0].modseq <= mailbox_highest_modseq(m));
    assert_int_equal(mailbox_uidnext(m), 2);
    assert_int_equal(mailbox_uidl(m, 1, uidl).n, 16);
    good(message_open(m, 1, &msg, &e), &e);
    assert_true(slice_eq(msg.bytes, S("Return-Path: <a@b>\nSubject: x\n\nbody\nend\n")));
    assert_int_equal(imap_wire_size(msg.bytes, NULL), v[0].size_bytes);
    buf_init(&b, 1000);
    for (size_t max = 2; max < 60; max++) {
        buf_reset(&b);
        imap_stream_start(&w, msg.bytes, v[0].size_bytes, 0, UINT64_MAX, NULL);
        while (w.left) assert_true(imap_stream_pull(&w, &b, max));
        assert_true(
            slice_eq(buf_slice(&b), S("Return-Path: <a@b>\r\nSubject: x\r\n\r\nbody\r\nend\r\n")));
    }
    buf_release(&b);
    message_close(&msg);
    assert_int_equal(mailbox_watch(m) >= 0, 1);
    good(mailbox_sync(m, &ch, &e), &e);
    assert_int_equal(ch.n_new + ch.n_expunged + ch.n_flags, 0);
    put(bed->s, "", "second\n");
    assert_int_equal(poll(&(struct pollfd){.fd = mailbox_watch(m), .events = POLLIN}, 1, 1000), 1);
    good(mailbox_sync(m, &ch, &e), &e);
    assert_int_equal(ch.n_new, 1);
    assert_int_equal(ch.first_new, 1);
    assert_int_equal(mailbox_messages(m, &n)[1].uid, 2);
    assert_int_equal(message_open(m, 99, &msg, &e), ERR_NOT_FOUND);
    mailbox_close(m);
    m = opened(bed->s, "INBOX", MAILBOX_READ);
    assert_int_equal(mailbox_messages(m, &n)[0].flags, 0);
    mailbox_close(m);
}

void conform_flags_in_two_handles(struct store_bed *bed) {
    struct mailbox *a, *b;
    struct mailbox_changes ch;
    struct err e = {0};
    const char *const *names;
    uint32_t uid = 1, gone[1];
    uint64_t junk;
    size_t n;

    put(bed->s, "", "one\n");
    a = opened(bed->s, "INBOX", MAILBOX_WRITE);
    b = opened(bed->s, "INBOX", MAILBOX_WRITE);
    assert_int_equal(mailbox_find(a, 1)->flags, STORE_RECENT);
    assert_int_equal(mailbox_find(b, 1)->flags, 0);
    junk = keyword(a, S("$Junk"), true);
    assert_true(junk >= (uint64_t)1 << STORE_KEYWORD_FIRST);
    assert_int_equal(keyword(a, S("not an atom"), true), 0);
    good(mailbox_set_flags(a, &uid, 1, MAILBOX_FLAGS_ADD, STORE_SEEN | junk, NULL, &e), &e);
    /* b still knows the old name and flags */
    good(mailbox_set_flags(b, &uid, 1, MAILBOX_FLAGS_ADD, STORE_FLAGGED, NULL, &e), &e);
    assert_int_equal(mailbox_find(b, 1)->flags, STORE_SEEN | STORE_FLAGGED | junk);
    good(mailbox_sync(a, &ch, &e), &e);
    assert_int_equal(ch.n_flags, 1);
    assert_int_equal(mailbox_find(a, 1)->flags, STORE_RECENT | STORE_SEEN | STORE_FLAGGED | junk);
    assert_int_equal(mailbox_find(a, 1)->modseq, mailbox_find(b, 1)->modseq);
    good(mailbox_sync(b, &ch, &e), &e);
    assert_int_equal(mailbox_keywords(b, &names), 1);
    assert_string_equal(names[0], "$Junk");
    good(mailbox_set_flags(a, &uid, 1, MAILBOX_FLAGS_SET, STORE_ANSWERED, NULL, &e), &e);
    assert_int_equal(mailbox_find(a, 1)->flags, STORE_RECENT | STORE_ANSWERED);
    good(mailbox_expunge(a, &uid, 1, true, gone, &n, &e), &e);
    assert_int_equal(n, 0);
    good(mailbox_set_flags(b, &uid, 1, MAILBOX_FLAGS_ADD, STORE_DELETED, NULL, &e), &e);
    good(mailbox_sync(a, NULL, &e), &e);
    good(mailbox_set_flags(b, &uid, 1, MAILBOX_FLAGS_REMOVE, STORE_DELETED, NULL, &e), &e);
    good(mailbox_expunge(a, &uid, 1, true, gone, &n, &e), &e);
    assert_int_equal(n, 0); /* b took it back, though a did not know */
    good(mailbox_set_flags(b, &uid, 1, MAILBOX_FLAGS_ADD, STORE_DELETED, NULL, &e), &e);
    good(mailbox_sync(a, NULL, &e), &e);
    good(mailbox_expunge(a, &uid, 1, true, gone, &n, &e), &e);
    assert_int_equal(n, 1);
    mailbox_messages(a, &n);
    assert_int_equal(n, 0);
    good(mailbox_sync(b, &ch, &e), &e);
    assert_int_equal(ch.n_expunged, 1);
    mailbox_close(a);
    mailbox_close(b);
}

void conform_copy_move_append(struct store_bed *bed) {
    uint32_t uids[] = {1, 2, 3, 77}, from[4], to[4], validity, uid;
    struct store_append *ap;
    struct mailbox *m, *t;
    struct err e = {0};
    uint64_t bit;
    size_t n;

    for (int i = 0; i < 3; i++) put(bed->s, "", "text\nline\n");
    good(store_create(bed->s, S("Sent/2026.old"), &e), &e);
    m = opened(bed->s, "INBOX", MAILBOX_WRITE);
    bit = keyword(m, S("$Label1"), true);
    good(mailbox_set_flags(m, uids + 1, 1, MAILBOX_FLAGS_ADD, STORE_SEEN | bit, NULL, &e), &e);
    assert_int_equal(mailbox_copy(m, uids, 4, bed->s, S("Nowhere"), UINT64_MAX, false, &validity,
                                  from, to, &n, &e),
                     ERR_NOT_FOUND);
    good(mailbox_copy(m, uids, 4, bed->s, S("Sent/2026.old"), UINT64_MAX, false, &validity, from,
                      to, &n, &e),
         &e);
    assert_int_equal(n, 3);
    for (uint32_t i = 0; i < 3; i++) assert_true(from[i] == i + 1 && to[i] == i + 1);
    good(mailbox_copy(m, uids + 1, 2, bed->s, S("Sent/2026.old"), UINT64_MAX, true, &validity, from,
                      to, &n, &e),
         &e);
    assert_int_equal(n, 2);
    assert_true(to[0] == 4 && to[1] == 5);
    mailbox_messages(m, &n);
    assert_int_equal(n, 1);
    good(mailbox_copy(m, uids, 1, bed->s, S("INBOX"), UINT64_MAX, false, &validity, from, to, &n,
                      &e),
         &e);
    assert_int_equal(to[0], 4);
    mailbox_close(m);

    good(store_append_begin(bed->s, S("Sent/2026.old"), STORE_DRAFT, (struct slice[]){S("$New")}, 1,
                            1234567890, NULL, &ap, &e),
         &e);
    good(store_append_data(ap, S("Subject: a\r"), &e), &e);
    good(store_append_data(ap, S("\n\r\nbody"), &e), &e);
    good(store_append_end(ap, &validity, &uid, &e), &e);
    assert_int_equal(uid, 6);
    good(store_append_begin(bed->s, S("Sent/2026.old"), 0, NULL, 0, 0, NULL, &ap, &e), &e);
    store_append_abort(ap);
    assert_int_equal(store_append_begin(bed->s, S("Nowhere"), 0, NULL, 0, 0, NULL, &ap, &e),
                     ERR_NOT_FOUND);
    t = opened(bed->s, "Sent/2026.old", MAILBOX_WRITE);
    assert_int_equal(mailbox_uidvalidity(t), validity);
    mailbox_messages(t, &n);
    assert_int_equal(n, 6);
    assert_int_equal(mailbox_find(t, 2)->flags & keyword(t, S("$label1"), false),
                     keyword(t, S("$Label1"), false));
    assert_int_equal(mailbox_find(t, 2)->flags & STORE_SEEN, STORE_SEEN);
    assert_int_equal(mailbox_find(t, 2)->size_bytes, 12);
    assert_int_equal(mailbox_find(t, 6)->internal_date, 1234567890);
    assert_int_equal(mailbox_find(t, 6)->size_bytes, 18);
    assert_true(mailbox_find(t, 6)->flags & STORE_DRAFT);
    mailbox_close(t);
}

void conform_mailboxes(struct store_bed *bed) {
    struct store_names l;
    struct mailbox *m;
    struct mailbox_status st;
    struct err e = {0};
    uint32_t validity;

    good(store_create_defaults(bed->s, &e), &e);
    good(store_create(bed->s, S("Entw\xC3\xBCrfe & mehr/x"), &e), &e);
    assert_int_equal(store_create(bed->s, S("Sent"), &e), ERR_EXISTS);
    assert_int_equal(store_create(bed->s, S("a//b"), &e), ERR_SYNTAX);
    assert_int_equal(store_create(bed->s, S("inbox"), &e), ERR_SYNTAX);
    assert_int_equal(store_create(bed->s, S("a\nb"), &e), ERR_SYNTAX);
    good(store_create(bed->s, S(".."), &e), &e); /* harmless: escaped */
    good(store_delete(bed->s, S(".."), &e), &e);
    good(store_list(bed->s, &l, &e), &e);
    assert_int_equal(l.n, 7);
    assert_string_equal(l.v[0].name, "INBOX");
    assert_string_equal(l.v[1].name, "Archive");
    assert_true(l.v[1].use == STORE_USE_ARCHIVE && l.v[1].is_subscribed);
    assert_string_equal(l.v[3].name, "Entw\xC3\xBCrfe & mehr/x");
    assert_false(l.v[3].is_subscribed);
    store_names_release(&l);
    m = opened(bed->s, "Junk", MAILBOX_READ);
    validity = mailbox_uidvalidity(m);
    good(store_delete(bed->s, S("Junk"), &e), &e);
    assert_int_equal(mailbox_sync(m, NULL, &e), ERR_NOT_FOUND);
    mailbox_close(m);
    good(store_list(bed->s, &l, &e), &e);
    assert_int_equal(l.n, 7); /* subscribed, but missing */
    assert_true(l.v[4].is_missing && strcmp(l.v[4].name, "Junk") == 0);
    store_names_release(&l);
    good(store_create(bed->s, S("Junk"), &e), &e);
    m = opened(bed->s, "Junk", MAILBOX_READ);
    assert_true(mailbox_uidvalidity(m) > validity);
    validity = mailbox_uidvalidity(m);
    mailbox_close(m);
    good(store_create(bed->s, S("Junk/deep/er"), &e), &e);
    good(store_rename(bed->s, S("Junk"), S("Spam"), &e), &e);
    assert_true(store_has(bed->s, S("Spam/deep/er")) && !store_has(bed->s, S("Junk")));
    good(mailbox_status(bed->s, S("Spam"), &st, &e), &e);
    assert_int_equal(st.uidvalidity, validity);
    assert_int_equal(store_rename(bed->s, S("Spam"), S("Sent"), &e), ERR_EXISTS);
    assert_int_equal(store_delete(bed->s, S("INBOX"), &e), ERR_DENIED);
    assert_int_equal(store_delete(bed->s, S("Nowhere"), &e), ERR_NOT_FOUND);
    put(bed->s, "", "x\n");
    put(bed->s, "", "y\n");
    good(store_rename(bed->s, S("INBOX"), S("Old"), &e), &e);
    good(mailbox_status(bed->s, S("Old"), &st, &e), &e);
    assert_int_equal(st.messages, 2);
    assert_int_equal(st.size_bytes, 6);
    good(mailbox_status(bed->s, S("INBOX"), &st, &e), &e);
    assert_int_equal(st.messages, 0);
    assert_int_equal(st.uidnext, 3);
    good(store_subscribe(bed->s, S("Sent"), false, &e), &e);
}

void conform_modseq(struct store_bed *bed) {
    struct mailbox *a, *b;
    struct mailbox_changes ch;
    struct err e = {0};
    uint32_t one = 1, two = 2;
    uint64_t modseq;

    put(bed->s, "", "one\n");
    put(bed->s, "", "two\n");
    a = opened(bed->s, "INBOX", MAILBOX_WRITE);
    b = opened(bed->s, "INBOX", MAILBOX_WRITE);
    /* a change of its own is above that of b, which it has not read */
    good(mailbox_set_flags(b, &one, 1, MAILBOX_FLAGS_ADD, STORE_SEEN, NULL, &e), &e);
    modseq = mailbox_find(b, 1)->modseq;
    good(mailbox_set_flags(a, &two, 1, MAILBOX_FLAGS_ADD, STORE_SEEN, NULL, &e), &e);
    good(mailbox_sync(a, &ch, &e), &e);
    assert_int_equal(ch.n_flags, 1);
    assert_int_equal(mailbox_find(a, 1)->modseq, modseq);
    good(mailbox_sync(b, NULL, &e), &e);
    assert_int_equal(mailbox_find(b, 1)->modseq, modseq);
    assert_int_equal(mailbox_find(b, 2)->modseq, mailbox_find(a, 2)->modseq);
    /* set and taken away: the flags are as before, the modification sequence is not */
    good(mailbox_set_flags(b, &one, 1, MAILBOX_FLAGS_ADD, STORE_FLAGGED, NULL, &e), &e);
    good(mailbox_set_flags(b, &one, 1, MAILBOX_FLAGS_REMOVE, STORE_FLAGGED, NULL, &e), &e);
    good(mailbox_sync(a, &ch, &e), &e);
    assert_int_equal(ch.n_flags, 1);
    assert_int_equal(mailbox_find(a, 1)->modseq, mailbox_find(b, 1)->modseq);
    mailbox_close(a);
    mailbox_close(b);
}

void conform_many_deliver(struct store_bed *bed) {
    enum { WRITERS = 3, EACH = 60 };
    struct mailbox *m = opened(bed->s, "INBOX", MAILBOX_WRITE);
    struct mailbox_changes ch = {.n_new = 0};
    struct err e = {0};
    uint32_t last = 0;
    size_t n = 0, alive = WRITERS;
    int status;

    for (int w = 0; w < WRITERS; w++) {
        if (fork() == 0) {
            for (int i = 0; i < EACH; i += 20) {
                struct store_batch *b = store_batch_new();
                struct slice part = S("x\n");
                struct delivery d = {.parts = &part, .n_parts = 1};

                for (int k = 0; k < 20; k++)
                    if (store_batch_add(b, bed->s, &d, NULL, NULL) != OK) _exit(1);
                if (store_batch_commit(b, NULL) != OK) _exit(2);
                for (size_t k = 0; k < 20; k++)
                    if (store_batch_result(b, k, NULL) != OK) _exit(3);
                store_batch_free(b);
            }
            _exit(0);
        }
    }
    while (alive > 0 || ch.n_new) {
        if (alive && waitpid(-1, &status, WNOHANG) > 0) {
            assert_int_equal(status, 0);
            alive--;
        }
        good(mailbox_sync(m, &ch, &e), &e);
        assert_int_equal(ch.n_expunged, 0);
        for (size_t i = 0; i < ch.n_new; i++) {
            uint32_t uid = mailbox_messages(m, &n)[ch.first_new + i].uid;

            assert_true(uid > last);
            last = uid;
        }
    }
    mailbox_messages(m, &n);
    assert_int_equal(n, WRITERS * EACH);
    assert_int_equal(last, WRITERS * EACH);
    mailbox_close(m);
}

void conform_maildrop(struct store_bed *bed) {
    struct err e = {0};
    int a, b;

    good(store_lock_maildrop(bed->s, &a, &e), &e);
    assert_int_equal(store_lock_maildrop(bed->s, &b, &e), ERR_BUSY);
    close(a);
    good(store_lock_maildrop(bed->s, &b, &e), &e);
    close(b);
}

/* Names that are none, and the longest and deepest that are. */
void conform_names_at_the_limits(struct store_bed *bed) {
    static const struct slice bad[] = {S_INIT(""),     S_INIT("/"),    S_INIT("a/"),
                                       S_INIT("/a"),   S_INIT("a//b"), S_INIT("a\0b"),
                                       S_INIT("\377"), S_INIT("a\nb")};
    char deep[2 * STORE_DEPTH_MAX + 4], text[STORE_NAME_MAX + 2];
    struct err e = {0};
    struct store_names l;
    size_t n, found = 0;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_not_equal(store_create(bed->s, bad[i], &e), OK);
    /* Tildes and the like are names as others are, and lead nowhere. */
    good(store_create(bed->s, S("~root"), &e), &e);
    for (n = 0; n < 2 * STORE_DEPTH_MAX - 1; n++) deep[n] = n % 2 ? '/' : 'd';
    good(store_create(bed->s, slice_of(deep, n), &e), &e);
    deep[n++] = '/';
    deep[n++] = 'd';
    assert_int_not_equal(store_create(bed->s, slice_of(deep, n), &e), OK);
    memset(text, 'n', sizeof text);
    assert_int_not_equal(store_create(bed->s, slice_of(text, sizeof text), &e), OK);
    good(store_create(bed->s, slice_of(text, 200), &e), &e);
    good(store_list(bed->s, &l, &e), &e);
    for (size_t i = 0; i < l.n; i++) {
        struct slice name = slice_str(l.v[i].name);

        found += slice_eq(name, S("~root")) || slice_eq(name, slice_of(text, 200)) ||
                 slice_eq(name, slice_of(deep, n - 2)) || slice_eq(name, S("INBOX"));
    }
    assert_int_equal(found, 4);
    store_names_release(&l);
}

void conform_keywords_at_the_limit(struct store_bed *bed) {
    const char *const *names;
    struct mailbox *m;
    char name[32];

    put(bed->s, "INBOX", "x\n");
    m = opened(bed->s, "INBOX", MAILBOX_WRITE);
    for (int i = 0; i < STORE_KEYWORDS_MAX; i++) {
        snprintf(name, sizeof name, "k%d", i);
        assert_true(keyword(m, slice_str(name), true) == (uint64_t)1 << (STORE_KEYWORD_FIRST + i));
    }
    assert_true(keyword(m, S("one-more"), true) == 0);
    assert_true(keyword(m, S("K0"), false) == (uint64_t)1 << STORE_KEYWORD_FIRST); /* any case */
    assert_int_equal(mailbox_keywords(m, &names), STORE_KEYWORDS_MAX);
    mailbox_close(m);
}

/* All of an APPEND or none of it: one message too many is an error of the whole. */
void conform_append_at_the_limit(struct store_bed *bed) {
    for (int more = 1; more >= 0; more--) {
        struct store_append *a;
        struct err e = {0};
        uint32_t validity, uid;
        struct mailbox *m;
        size_t n;

        good(store_append_begin(bed->s, S("INBOX"), 0, NULL, 0, 0, NULL, &a, &e), &e);
        for (int i = 0; i < STORE_APPEND_MAX; i++) {
            good(store_append_data(a, S("a\r\n"), &e), &e);
            if (i + 1 < STORE_APPEND_MAX) good(store_append_next(a, 0, NULL, 0, 0, &e), &e);
        }
        if (more) assert_int_equal(store_append_next(a, 0, NULL, 0, 0, &e), ERR_LIMIT);
        assert_int_equal(store_append_end(a, &validity, &uid, &e), more ? ERR_LIMIT : OK);
        m = opened(bed->s, "INBOX", MAILBOX_READ);
        mailbox_messages(m, &n);
        assert_int_equal(n, more ? 0 : STORE_APPEND_MAX);
        mailbox_close(m);
    }
}

void conform_uids_never_come_back(struct store_bed *bed) {
    uint32_t last = 0;

    for (int round = 0; round < 5; round++) {
        struct store *s = bed->again(bed);
        uint32_t uids[3], gone[3];
        const struct imap_msg *v;
        struct err e = {0};
        struct mailbox *m;
        size_t n, n_gone;

        for (int i = 0; i < 3; i++) put(s, "INBOX", "x\n");
        m = opened(s, "INBOX", MAILBOX_WRITE);
        v = mailbox_messages(m, &n);
        assert_int_equal(n, 3);
        for (size_t i = 0; i < n; i++) {
            assert_true(v[i].uid > last);
            uids[i] = last = v[i].uid;
        }
        good(mailbox_expunge(m, uids, 3, false, gone, &n_gone, &e), &e);
        assert_int_equal(n_gone, 3);
        assert_int_equal(mailbox_uidnext(m), last + 1);
        mailbox_close(m);
        store_close(s);
    }
}

/* RFC 7162 3.2.5: what went after a modification sequence; after those of before nobody knows. */
void conform_what_went_is_told(struct store_bed *bed) {
    struct mailbox *m;
    struct err e = {0};
    uint32_t two = 2, gone, *uids;
    uint64_t before;
    bool is_all;
    size_t n;

    for (int i = 0; i < 3; i++) put(bed->s, "INBOX", "x\n");
    m = opened(bed->s, "INBOX", MAILBOX_WRITE);
    before = mailbox_highest_modseq(m);
    good(mailbox_expunge(m, &two, 1, false, &gone, &n, &e), &e);
    assert_true(mailbox_highest_modseq(m) > before);
    good(mailbox_vanished(m, before, &uids, &n, &is_all, &e), &e);
    assert_true(!is_all && n == 1 && uids[0] == 2);
    free(uids);
    good(mailbox_vanished(m, mailbox_highest_modseq(m), &uids, &n, &is_all, &e), &e);
    assert_true(!is_all && n == 0);
    free(uids);
    good(mailbox_vanished(m, 1, &uids, &n, &is_all, &e), &e);
    assert_true(is_all);
    free(uids);
    mailbox_close(m);
}

/* RFC 7162 3.2.4: what is told as HIGHESTMODSEQ does not pass over a change that is not known. */
void conform_highest_is_known(struct store_bed *bed) {
    struct store *s = bed->again(bed);
    struct mailbox *m, *other;
    struct err e = {0};
    uint32_t one = 1, two = 2, gone;
    uint64_t before, mine;
    size_t n;

    for (int i = 0; i < 3; i++) put(bed->s, "INBOX", "x\n");
    m = opened(bed->s, "INBOX", MAILBOX_WRITE);
    other = opened(s, "INBOX", MAILBOX_WRITE);
    before = mailbox_highest_modseq(m);
    good(mailbox_expunge(other, &two, 1, false, &gone, &n, &e), &e);
    good(mailbox_set_flags(m, &one, 1, MAILBOX_FLAGS_ADD, STORE_FLAGGED, NULL, &e), &e);
    mine = mailbox_find(m, 1)->modseq;
    assert_true(mine > mailbox_highest_modseq(other));
    assert_int_equal(mailbox_highest_modseq(m), before);
    good(mailbox_sync(m, NULL, &e), &e);
    assert_null(mailbox_find(m, 2));
    assert_int_equal(mailbox_highest_modseq(m), mine); /* that it went is not a change once more */
    good(mailbox_set_flags(m, &one, 1, MAILBOX_FLAGS_REMOVE, STORE_FLAGGED, NULL, &e), &e);
    assert_int_equal(mailbox_highest_modseq(m), mailbox_find(m, 1)->modseq);
    mailbox_close(other);
    mailbox_close(m);
    store_close(s);
}

/* RFC 9208: the message that is one too many is refused, by delivery and APPEND alike, until
 * something goes. */
void conform_quota(struct store_bed *bed) {
    struct slice part = S("12345\n");
    struct delivery d = {.parts = &part, .n_parts = 1};
    struct store *s = bed->again(bed);
    struct mailbox *m;
    struct quota q;
    struct err e = {0};
    uint32_t one = 1, gone;
    size_t n;

    assert_false(quota_read(s, &q));
    store_limit(s, 0, 2);
    for (int i = 0; i < 2; i++) good(store_deliver(s, &d, &e), &e);
    assert_true(quota_read(s, &q) && q.messages == 2 && q.octets == 12);
    assert_int_equal(quota_check(s, 6, 1, &e), ERR_FULL);
    assert_int_equal(store_deliver(s, &d, &e), ERR_FULL);
    m = opened(s, "INBOX", MAILBOX_WRITE);
    good(mailbox_expunge(m, &one, 1, false, &gone, &n, &e), &e);
    mailbox_close(m);
    good(store_deliver(s, &d, &e), &e);
    assert_true(quota_read(s, &q) && q.messages == 2 && q.octets == 12);
    store_close(s);
}

/* RFC 5464: all of a change or none; of a mailbox or of the account; they go with the mailbox. */
void conform_annotations(struct store_bed *bed) {
    struct annotation two[] = {{S("/private/comment"), S("a \n b")}, {S("/shared/x/y"), S("2")}};
    struct annotation bad[] = {{S("/private/other"), S("1")}, {S("no name"), S("2")}};
    struct annotations got;
    struct err e = {0};

    good(store_create(bed->s, S("Box"), &e), &e);
    good(annotations_change(bed->s, S("Box"), two, 2, &e), &e);
    assert_int_not_equal(annotations_change(bed->s, S("Box"), bad, 2, &e), OK);
    good(annotations_read(bed->s, S("Box"), &got, &e), &e);
    assert_int_equal(got.n, 2);
    assert_true(slice_eq(got.v[0].value, S("a \n b")) && slice_eq(got.v[1].value, S("2")));
    annotations_release(&got);
    good(annotations_read(bed->s, S(""), &got, &e), &e);
    assert_int_equal(got.n, 0);
    annotations_release(&got);
    good(store_rename(bed->s, S("Box"), S("Moved"), &e), &e);
    good(annotations_read(bed->s, S("Moved"), &got, &e), &e);
    assert_int_equal(got.n, 2);
    annotations_release(&got);
    two[0].value = slice_of(NULL, 0);
    good(annotations_change(bed->s, S("Moved"), two, 1, &e), &e);
    good(annotations_read(bed->s, S("Moved"), &got, &e), &e);
    assert_int_equal(got.n, 1);
    annotations_release(&got);
    good(store_delete(bed->s, S("Moved"), &e), &e);
    assert_int_equal(annotations_read(bed->s, S("Moved"), &got, &e), ERR_NOT_FOUND);
}
