/* What any store must keep: UIDs, sizes, flags, and nothing half-done. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "imap/section.h"
#include "store/signature.h"
#include "store/store.h"
#include "sys/file.h"

struct home {
    char path[64];
    struct store *s;
};

static int begin(void **state) {
    struct home *h = calloc(1, sizeof *h);
    struct err e;

    snprintf(h->path, sizeof h->path, "/tmp/postbag-store-XXXXXX");
    if (!mkdtemp(h->path)) return -1;
    if (store_open(h->path, &h->s, &e) != OK) {
        print_error("%s\n", e.msg);
        return -1;
    }
    *state = h;
    return 0;
}

static int end(void **state) {
    struct home *h = *state;

    store_close(h->s);
    file_remove_tree(h->path, NULL);
    free(h);
    return 0;
}

static void good(enum err_code code, const struct err *e) {
    if (code != OK) fail_msg("%s: %s", err_code_name(code), e->msg);
}

static uint64_t keyword(struct mailbox *m, struct slice name, bool may_add) {
    struct err e = {0};
    uint64_t bit;

    good(mailbox_keyword_bit(m, name, may_add, &bit, &e), &e);
    return bit;
}

static void put(struct home *h, const char *mailbox, const char *text) {
    struct slice part = slice_str(text);
    struct delivery d = {.mailbox = slice_str(mailbox), .parts = &part, .n_parts = 1};
    struct err e = {0};

    good(store_deliver(h->s, &d, &e), &e);
}

static struct mailbox *opened(struct home *h, const char *name, enum mailbox_mode mode) {
    struct mailbox *m = NULL;
    struct err e = {0};

    good(mailbox_open(h->s, slice_str(name), mode, &m, &e), &e);
    return m;
}

/* The only file below HOME/Maildir/`sub`, as a path. */
static void only_file(struct home *h, const char *sub, char out[600]) {
    char command[700];
    FILE *p;

    snprintf(command, sizeof command, "ls -d %s/Maildir/%s/* | head -1 | tr -d '\\n'", h->path,
             sub);
    p = popen(command, "r");
    assert_non_null(p);
    out[fread(out, 1, 599, p)] = '\0';
    pclose(p);
}

static int count_files(struct home *h, const char *sub) {
    char command[700], text[32] = "";
    FILE *p;

    snprintf(command, sizeof command, "ls %s/Maildir/%s | wc -l", h->path, sub);
    p = popen(command, "r");
    assert_non_null(p);
    text[fread(text, 1, sizeof text - 1, p)] = '\0';
    pclose(p);
    return (int)strtol(text, NULL, 10);
}

static void a_message_is_stored_and_read(void **state) {
    struct home *h = *state;
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

    good(store_deliver(h->s, &d, &e), &e);
    m = opened(h, "INBOX", MAILBOX_WRITE);
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
    put(h, "", "second\n");
    assert_int_equal(poll(&(struct pollfd){.fd = mailbox_watch(m), .events = POLLIN}, 1, 1000), 1);
    good(mailbox_sync(m, &ch, &e), &e);
    assert_int_equal(ch.n_new, 1);
    assert_int_equal(ch.first_new, 1);
    assert_int_equal(mailbox_messages(m, &n)[1].uid, 2);
    assert_int_equal(message_open(m, 99, &msg, &e), ERR_NOT_FOUND);
    mailbox_close(m);
    m = opened(h, "INBOX", MAILBOX_READ);
    assert_int_equal(mailbox_messages(m, &n)[0].flags, 0);
    mailbox_close(m);
}

static void the_same_key_is_delivered_once(void **state) {
    struct home *h = *state;
    struct slice part = S("x\n");
    struct delivery d = {.parts = &part, .n_parts = 1, .key = S("abc-1_r2"), .date = 1700000000};
    struct err e = {0};
    struct mailbox *m;
    size_t n;

    good(store_deliver(h->s, &d, &e), &e);
    assert_int_equal(store_deliver(h->s, &d, &e), ERR_EXISTS);
    m = opened(h, "INBOX", MAILBOX_WRITE); /* moves it to cur/ */
    good(mailbox_set_flags(m, (uint32_t[]){1}, 1, MAILBOX_FLAGS_ADD, STORE_SEEN, NULL, &e), &e);
    d.may_be_there = true;
    assert_int_equal(store_deliver(h->s, &d, &e), ERR_EXISTS);
    good(mailbox_sync(m, NULL, &e), &e);
    mailbox_messages(m, &n);
    assert_int_equal(n, 1);
    assert_int_equal(count_files(h, "tmp"), 0);
    d.key = S("../x");
    assert_int_equal(store_deliver(h->s, &d, &e), ERR_SYNTAX);
    mailbox_close(m);
}

static void uids_stay_when_the_index_goes(void **state) {
    struct home *h = *state;
    char path[200], command[300];
    struct mailbox *m;
    struct buf b;
    struct err e = {0};
    uint32_t validity, gone[1];
    uint64_t modseq;
    size_t n;

    for (int i = 0; i < 3; i++) put(h, "", "x\n");
    m = opened(h, "INBOX", MAILBOX_WRITE);
    validity = mailbox_uidvalidity(m);
    good(mailbox_expunge(m, (uint32_t[]){2}, 1, false, gone, &n, &e), &e);
    assert_int_equal(n, 1);
    mailbox_cache_put(m, 3, S("envelope.1"), S("(text)"));
    modseq = mailbox_highest_modseq(m);
    mailbox_close(m);
    m = opened(h, "INBOX", MAILBOX_WRITE);
    assert_true(mailbox_find(m, 1)->modseq < modseq);
    buf_init(&b, 1000);
    assert_true(mailbox_cache_get(m, 3, S("envelope.1"), &b));
    assert_true(slice_eq(buf_slice(&b), S("(text)")));
    assert_false(mailbox_cache_get(m, 1, S("envelope.1"), &b));
    mailbox_close(m);
    for (int round = 0; round < 3; round++) {
        snprintf(path, sizeof path, "%s/postbag-index.db", h->path);
        snprintf(command, sizeof command, "rm -f %s*", path);
        assert_int_equal(system(command), 0);
        if (round == 1) { /* damaged */
            snprintf(command, sizeof command, "head -c 100000 /dev/urandom > %s", path);
            assert_int_equal(system(command), 0);
        } else if (round == 2) { /* cannot be */
            assert_int_equal(mkdir(path, 0700), 0);
        }
        m = opened(h, "INBOX", MAILBOX_WRITE);
        assert_int_equal(mailbox_uidvalidity(m), validity);
        assert_int_equal(mailbox_uidnext(m), 4);
        assert_int_equal(mailbox_messages(m, &n)[0].uid, 1);
        assert_int_equal(mailbox_messages(m, &n)[1].uid, 3);
        assert_int_equal(n, 2);
        assert_true(mailbox_find(m, 1)->modseq > modseq);
        mailbox_close(m);
    }
    /* the uidlist itself is lost */
    snprintf(path, sizeof path, "%s/Maildir/postbag-uidlist", h->path);
    m = opened(h, "INBOX", MAILBOX_WRITE);
    unlink(path);
    put(h, "", "y\n");
    assert_int_equal(mailbox_sync(m, NULL, &e), ERR_NOT_FOUND);
    assert_int_equal(mailbox_sync(m, NULL, &e), ERR_NOT_FOUND);
    mailbox_close(m);
    m = opened(h, "INBOX", MAILBOX_WRITE);
    assert_true(mailbox_uidvalidity(m) > validity);
    mailbox_messages(m, &n);
    assert_int_equal(n, 3);
    mailbox_close(m);
    buf_release(&b);
}

static void give(struct home *h, const char *sub, const char *text) {
    char path[600];
    FILE *f;

    snprintf(path, sizeof path, "%s/Maildir/%s", h->path, sub);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void remove_file(struct home *h, const char *mailbox, const char *name) {
    char path[600];

    snprintf(path, sizeof path, "%s/Maildir/.%s/%s", h->path, mailbox, name);
    unlink(path);
}

/* What Dovecot noted is believed once, line by line; what cannot be is as if it were not there. */
static void what_dovecot_noted_is_taken_over(void **state) {
    static const struct {
        const char *list;
        uint32_t validity, a, b, next; /* validity 0: a new one */
    } cases[] = {
        {"3 V77 N20 G0f\n5 W9 :a\n9 :b:2,S\n", 77, 5, 9, 20},
        {"1 77 20\n5 a\n9 b\n", 77, 5, 9, 20},
        {"3 V77 N20\n5 :a\nx\n\n4 :b\n7 b\n9 :../b\n", 77, 5, 7, 20},
        {"3 V77 N6\n5 :a\n9 :b\n", 77, 5, 9, 10},
        {"3 V77 N20\n5 :a\n5 :b", 77, 5, 20, 21},
        {"3 N20 V2147483648\n5 :a\n", 0, 1, 2, 3},
        {"3 N20 V2147483647\n4294967294 :a\n4294967295 :b\n5 :b\n", 2147483647, 0, 0, 0},
        {"3 V0 N20\n5 :a\n", 0, 1, 2, 3},
        {"2 V77 N20\n5 :a\n", 0, 1, 2, 3},
        {"3 V77 N4294967296\n5 :a\n", 0, 1, 2, 3},
        {"", 0, 1, 2, 3},
        {"3", 0, 1, 2, 3},
    };
    struct home *h = *state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[32], sub[64];
        const struct imap_msg *v;
        struct mailbox *m;
        struct err e;
        size_t n;

        snprintf(name, sizeof name, "Box%zu", i);
        good(store_create(h->s, slice_str(name), &e), &e);
        remove_file(h, name, "postbag-uidlist");
        for (const char *c = "ab"; *c; c++) {
            snprintf(sub, sizeof sub, ".%s/cur/%c:2,", name, *c);
            give(h, sub, "Subject: x\n\n");
        }
        snprintf(sub, sizeof sub, ".%s/dovecot-uidlist", name);
        give(h, sub, cases[i].list);
        if (cases[i].a == 0) { /* no UID is left for the second message: an error, no crash */
            if (mailbox_open(h->s, slice_str(name), MAILBOX_READ, &m, &e) == OK) mailbox_close(m);
            continue;
        }
        m = opened(h, name, MAILBOX_READ);
        v = mailbox_messages(m, &n);
        assert_int_equal(n, 2);
        if (cases[i].validity) assert_int_equal(mailbox_uidvalidity(m), cases[i].validity);
        else assert_true(mailbox_uidvalidity(m) > 77);
        assert_int_equal(v[0].uid, cases[i].a);
        assert_int_equal(v[1].uid, cases[i].b);
        assert_int_equal(mailbox_uidnext(m), cases[i].next);
        mailbox_close(m);
        /* Not a second time: what was given since is not given again. */
        remove_file(h, name, "postbag-uidlist");
        m = opened(h, name, MAILBOX_READ);
        assert_int_not_equal(mailbox_uidvalidity(m), cases[i].validity);
        mailbox_close(m);
        good(store_delete(h->s, slice_str(name), &e), &e);
    }
}

/* Two mailboxes with one UIDVALIDITY would be one for the index: whoever comes second gets a new
 * one. So it is whatever became of the list of them that is kept beside. */
static void a_uidvalidity_is_taken_over_once(void **state) {
    static const char *const lists[] = {NULL, "", "9999999999\n", "2147483647\n77", "x\n1\n"};
    struct home *h = *state;
    struct mailbox *m;
    struct err e;
    char text[80];
    uint32_t own;

    good(store_create(h->s, S("Own"), &e), &e);
    m = opened(h, "Own", MAILBOX_READ);
    own = mailbox_uidvalidity(m);
    mailbox_close(m);
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        static const char *const names[] = {"A", "B", "C", "D", "E"};
        uint32_t got[COUNT_OF(names)];

        for (size_t k = 0; k < COUNT_OF(names); k++) {
            good(store_create(h->s, slice_str(names[k]), &e), &e);
            remove_file(h, names[k], "postbag-uidlist");
            snprintf(text, sizeof text, ".%s/dovecot-uidlist", names[k]);
            give(h, text, ""); /* its directory is there */
        }
        give(h, ".A/dovecot-uidlist", "3 V78 N5\n");
        give(h, ".B/dovecot-uidlist", "3 V77 N5\n"); /* smaller than the one before */
        give(h, ".C/dovecot-uidlist", "3 V77 N5\n");
        snprintf(text, sizeof text, "3 V%u N5\n", own);
        give(h, ".D/dovecot-uidlist", text);
        give(h, ".E/dovecot-uidlist", "3 V78 N5\n");
        for (size_t k = 0; k < COUNT_OF(names); k++) {
            if (k == 2 && lists[i]) give(h, "postbag-validities", lists[i]);
            if (k == 2 && !lists[i]) remove_file(h, "A", "../postbag-validities");
            m = opened(h, names[k], MAILBOX_READ);
            got[k] = mailbox_uidvalidity(m);
            mailbox_close(m);
        }
        assert_int_equal(got[0], 78);
        assert_int_equal(got[1], 77);
        for (size_t k = 2; k < COUNT_OF(names); k++) {
            assert_true(got[k] > own);
            for (size_t j = 0; j < k; j++) assert_int_not_equal(got[k], got[j]);
        }
        for (size_t k = 0; k < COUNT_OF(names); k++)
            good(store_delete(h->s, slice_str(names[k]), &e), &e);
    }
}

/* Messages come into the search file in any order; when those that are gone are most of it, it is
 * begun anew. */
static void the_search_file_is_of_living_messages(void **state) {
    const struct slice needle[] = {S("needle")};
    struct home *h = *state;
    char path[600], name[64];
    struct mailbox *m;
    struct stat st;
    struct err e;
    uint32_t *uids;
    size_t n;
    bool wants_text;

    good(store_create(h->s, S("Box"), &e), &e);
    remove_file(h, "Box", "postbag-uidlist");
    for (int i = 1; i <= 3 * SIGNATURE_COLUMNS; i++) {
        snprintf(name, sizeof name, ".Box/cur/%d.M%d.x:2,", i, i);
        give(h, name, "Subject: x\n\n");
    }
    give(h, ".Box/dovecot-uidlist", "3 V77 N1\n");
    m = opened(h, "Box", MAILBOX_WRITE);
    for (uint32_t uid = 3 * SIGNATURE_COLUMNS; uid > 0; uid--)
        mailbox_sign(m, uid, uid == 700 ? S("the needle") : S("hay and straw"));
    for (int again = 0; again < 2; again++) {
        assert_true(mailbox_candidates(m, needle, 1, &uids, &n, &wants_text));
        assert_int_equal(n, 1);
        assert_int_equal(uids[0], 700);
        free(uids);
        mailbox_rest(m); /* and as a new handle reads it */
    }
    snprintf(path, sizeof path, "%s/Maildir/.Box/postbag-search", h->path);
    mailbox_close(m);

    /* The same mailbox, in which many UIDs were given to messages that are gone. */
    good(store_delete(h->s, S("Box"), &e), &e);
    good(store_create(h->s, S("Box"), &e), &e);
    remove_file(h, "Box", "postbag-uidlist");
    give(h, ".Box/cur/a:2,", "Subject: x\n\n");
    give(h, ".Box/dovecot-uidlist", "3 V78 N100000\n1 :a\n");
    m = opened(h, "Box", MAILBOX_WRITE);
    for (uint32_t uid = 1; uid <= SIGNATURE_DEAD_MAX + SIGNATURE_COLUMNS; uid++)
        mailbox_sign(m, uid, S("needle"));
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size > SIGNATURE_DEAD_MAX * (SIGNATURE_ROWS / 8));
    for (uint32_t uid = 1; uid <= SIGNATURE_COLUMNS; uid++) mailbox_sign(m, 50000 + uid, S("hay"));
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size < 2 * SIGNATURE_COLUMNS * (SIGNATURE_ROWS / 8));
    mailbox_close(m);
}

/* Arrivals in a mailbox that is large enough to be spared a look at all of it. */
static void arrivals_are_taken_in_alone(void **state) {
    struct home *h = *state;
    struct mailbox_changes ch;
    const struct imap_msg *v;
    struct mailbox *m;
    struct err e = {0};
    char path[600], to[600];
    size_t n, at = 200;

    for (int i = 0; i < 200; i++) {
        snprintf(path, sizeof path, "cur/%d.M%d.x:2,S", 1000 + i, i);
        give(h, path, "Subject: x\n\n");
    }
    m = opened(h, "INBOX", MAILBOX_WRITE);
    for (int round = 0; round < 6; round++) {
        static const int arrivals[] = {1, 3, 64, 65, 2, 1};

        usleep(60 * 1000); /* past the grain of the clock */
        for (int i = 0; i < arrivals[round]; i++) put(h, "", "Subject: y\n\ntext\n");
        if (round == 4) { /* and a hand in cur/ at the same time */
            snprintf(path, sizeof path, "%s/Maildir/cur/1000.M0.x:2,S", h->path);
            snprintf(to, sizeof to, "%s/Maildir/cur/1000.M0.x:2,FS", h->path);
            assert_int_equal(rename(path, to), 0);
        }
        if (round == 5) { /* one that was there before, taken back to new/ */
            snprintf(path, sizeof path, "%s/Maildir/cur/1001.M1.x:2,S", h->path);
            snprintf(to, sizeof to, "%s/Maildir/new/1001.M1.x", h->path);
            assert_int_equal(rename(path, to), 0);
        }
        good(mailbox_sync(m, &ch, &e), &e);
        v = mailbox_messages(m, &n);
        assert_int_equal(ch.n_new, arrivals[round]);
        assert_int_equal(ch.first_new, at);
        assert_int_equal(ch.n_expunged, 0);
        assert_int_equal(ch.n_flags, round >= 4 ? 1 : 0);
        assert_int_equal(n, at + ch.n_new);
        for (size_t i = at; i < n; i++) {
            struct message msg;

            assert_int_equal(v[i].uid, i + 1);
            assert_true(v[i].flags & STORE_RECENT);
            assert_true(v[i].modseq > v[at - 1].modseq);
            good(message_open(m, v[i].uid, &msg, &e), &e);
            message_close(&msg);
        }
        at = n;
        assert_int_equal(mailbox_uidnext(m), n + 1);
    }
    mailbox_close(m);
    m = opened(h, "INBOX", MAILBOX_WRITE); /* as one who comes now has it */
    v = mailbox_messages(m, &n);
    assert_int_equal(n, at);
    for (size_t i = 0; i < n; i++) assert_int_equal(v[i].uid, i + 1);
    mailbox_close(m);
}

/* A disk that was full, or a crash: half a line is no keyword, and does not spoil the next one. */
/* Two files may not have one UID, one after the other: each becomes a message of its own. */
static void files_of_one_base_are_parted(void **state) {
    struct home *h = *state;
    struct mailbox_changes ch;
    struct mailbox *m;
    struct err e = {0};
    const struct imap_msg *v;
    uint32_t first, gone;
    size_t n, n_gone;

    mailbox_close(opened(h, "INBOX", MAILBOX_WRITE));
    give(h, "cur/1.a:2,S", "one\n");
    give(h, "cur/1.a:2,FS", "another\n");
    give(h, "new/1.a", "a third\n");
    m = opened(h, "INBOX", MAILBOX_WRITE);
    for (int i = 0; i < 5; i++) good(mailbox_sync(m, &ch, &e), &e);
    v = mailbox_messages(m, &n);
    assert_int_equal(n, 3);
    first = v[0].uid;
    assert_true(v[1].uid > first && v[2].uid > v[1].uid);
    good(mailbox_expunge(m, &first, 1, false, &gone, &n_gone, &e), &e);
    assert_int_equal(n_gone, 1);
    mailbox_close(m);
    m = opened(h, "INBOX", MAILBOX_WRITE);
    for (int i = 0; i < 5; i++) good(mailbox_sync(m, &ch, &e), &e);
    v = mailbox_messages(m, &n);
    assert_int_equal(n, 2);
    for (size_t i = 0; i < n; i++) assert_true(v[i].uid > first);
    mailbox_close(m);
}

static void a_torn_keyword_line_is_cut(void **state) {
    struct home *h = *state;
    struct mailbox *m;
    char path[600];
    uint64_t bit;
    FILE *f;

    put(h, "INBOX", "a\n");
    m = opened(h, "INBOX", MAILBOX_WRITE);
    bit = keyword(m, S("first"), true);
    assert_true(bit != 0);
    mailbox_close(m);
    snprintf(path, sizeof path, "%s/Maildir/postbag-keywords", h->path);
    f = fopen(path, "a");
    assert_non_null(f);
    fputs("1 sec", f);
    fclose(f);
    m = opened(h, "INBOX", MAILBOX_WRITE);
    assert_int_equal(keyword(m, S("sec"), false), 0);
    assert_int_equal(keyword(m, S("second"), true), bit << 1);
    mailbox_close(m);
    m = opened(h, "INBOX", MAILBOX_WRITE);
    assert_int_equal(keyword(m, S("first"), false), bit);
    assert_int_equal(keyword(m, S("second"), false), bit << 1);
    mailbox_close(m);
}

static void a_torn_uidlist_line_is_cut(void **state) {
    struct home *h = *state;
    char path[200];
    struct mailbox *m;
    size_t n;
    int fd;

    put(h, "", "x\n");
    mailbox_close(opened(h, "INBOX", MAILBOX_WRITE));
    snprintf(path, sizeof path, "%s/Maildir/postbag-uidlist", h->path);
    fd = open(path, O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, "2 17000", 7), 7);
    close(fd);
    put(h, "", "y\n");
    m = opened(h, "INBOX", MAILBOX_WRITE);
    assert_int_equal(mailbox_messages(m, &n)[1].uid, 2);
    assert_int_equal(n, 2);
    mailbox_close(m);
    m = opened(h, "INBOX", MAILBOX_WRITE);
    assert_int_equal(mailbox_messages(m, &n)[1].uid, 2);
    mailbox_close(m);
}

static void what_other_programs_do_is_seen(void **state) {
    struct home *h = *state;
    char path[600], to[700];
    struct mailbox_changes ch;
    struct mailbox *m;
    struct message msg;
    struct err e = {0};
    uint64_t modseq;
    size_t n;

    put(h, "", "one\n");
    m = opened(h, "INBOX", MAILBOX_READ);
    mailbox_messages(m, &n);
    assert_int_equal(n, 1);
    assert_int_equal(count_files(h, "new"), 1); /* a reader without rights moves nothing */
    modseq = mailbox_highest_modseq(m);
    only_file(h, "new", path);
    snprintf(to, sizeof to, "%s/Maildir/cur/%s:2,FS", h->path, strrchr(path, '/') + 1);
    assert_int_equal(rename(path, to), 0);
    good(message_open(m, 1, &msg, &e), &e); /* under its new name */
    message_close(&msg);
    good(mailbox_sync(m, &ch, &e), &e);
    assert_int_equal(ch.n_flags, 1);
    assert_int_equal(ch.n_new + ch.n_expunged, 0);
    assert_int_equal(mailbox_find(m, 1)->flags & ~STORE_RECENT, STORE_FLAGGED | STORE_SEEN);
    assert_true(mailbox_find(m, 1)->modseq > modseq);
    /* a file without sizes, put there by hand */
    snprintf(path, sizeof path, "%s/Maildir/cur/1.byhand:2,", h->path);
    good(file_replace(path, S("a\nb\r\nc"), 0600, &e), &e);
    good(mailbox_sync(m, &ch, &e), &e);
    assert_int_equal(ch.n_new, 1);
    assert_int_equal(mailbox_find(m, 2)->size_bytes, STORE_SIZE_UNKNOWN);
    {
        uint64_t size;

        good(mailbox_size(m, 2, &size, &e), &e);
        assert_int_equal(size, 7);
    }
    unlink(to);
    assert_int_equal(message_open(m, 1, &msg, &e), ERR_NOT_FOUND);
    good(mailbox_sync(m, &ch, &e), &e);
    assert_int_equal(ch.n_expunged, 1);
    assert_int_equal(ch.expunged[0], 1);
    assert_int_equal(
        mailbox_set_flags(m, (uint32_t[]){2}, 1, MAILBOX_FLAGS_ADD, STORE_SEEN, NULL, &e),
        ERR_DENIED);
    mailbox_close(m);
}

static void flags_and_keywords_change_in_two_handles(void **state) {
    struct home *h = *state;
    struct mailbox *a, *b;
    struct mailbox_changes ch;
    struct err e = {0};
    const char *const *names;
    uint32_t uid = 1, gone[1];
    uint64_t junk;
    size_t n;

    put(h, "", "one\n");
    a = opened(h, "INBOX", MAILBOX_WRITE);
    b = opened(h, "INBOX", MAILBOX_WRITE);
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

static void copies_moves_and_appends(void **state) {
    struct home *h = *state;
    uint32_t uids[] = {1, 2, 3, 77}, from[4], to[4], validity, uid;
    struct store_append *ap;
    struct mailbox *m, *t;
    struct err e = {0};
    uint64_t bit;
    size_t n;

    for (int i = 0; i < 3; i++) put(h, "", "text\nline\n");
    good(store_create(h->s, S("Sent/2026.old"), &e), &e);
    m = opened(h, "INBOX", MAILBOX_WRITE);
    bit = keyword(m, S("$Label1"), true);
    good(mailbox_set_flags(m, uids + 1, 1, MAILBOX_FLAGS_ADD, STORE_SEEN | bit, NULL, &e), &e);
    assert_int_equal(mailbox_copy(m, uids, 4, h->s, S("Nowhere"), UINT64_MAX, false, &validity,
                                  from, to, &n, &e),
                     ERR_NOT_FOUND);
    good(mailbox_copy(m, uids, 4, h->s, S("Sent/2026.old"), UINT64_MAX, false, &validity, from, to,
                      &n, &e),
         &e);
    assert_int_equal(n, 3);
    for (uint32_t i = 0; i < 3; i++) assert_true(from[i] == i + 1 && to[i] == i + 1);
    good(mailbox_copy(m, uids + 1, 2, h->s, S("Sent/2026.old"), UINT64_MAX, true, &validity, from,
                      to, &n, &e),
         &e);
    assert_int_equal(n, 2);
    assert_true(to[0] == 4 && to[1] == 5);
    mailbox_messages(m, &n);
    assert_int_equal(n, 1);
    good(mailbox_copy(m, uids, 1, h->s, S("INBOX"), UINT64_MAX, false, &validity, from, to, &n, &e),
         &e);
    assert_int_equal(to[0], 4);
    mailbox_close(m);

    good(store_append_begin(h->s, S("Sent/2026.old"), STORE_DRAFT, (struct slice[]){S("$New")}, 1,
                            1234567890, NULL, &ap, &e),
         &e);
    good(store_append_data(ap, S("Subject: a\r"), &e), &e);
    good(store_append_data(ap, S("\n\r\nbody"), &e), &e);
    good(store_append_end(ap, &validity, &uid, &e), &e);
    assert_int_equal(uid, 6);
    good(store_append_begin(h->s, S("Sent/2026.old"), 0, NULL, 0, 0, NULL, &ap, &e), &e);
    store_append_abort(ap);
    assert_int_equal(store_append_begin(h->s, S("Nowhere"), 0, NULL, 0, 0, NULL, &ap, &e),
                     ERR_NOT_FOUND);
    t = opened(h, "Sent/2026.old", MAILBOX_WRITE);
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
    assert_int_equal(count_files(h, ".Sent.2026\\&AC4-old/tmp"), 0);
}

static void mailboxes_come_and_go(void **state) {
    struct home *h = *state;
    struct store_names l;
    struct mailbox *m;
    struct mailbox_status st;
    struct err e = {0};
    uint32_t validity;

    good(store_create_defaults(h->s, &e), &e);
    good(store_create(h->s, S("Entw\xC3\xBCrfe & mehr/x"), &e), &e);
    assert_int_equal(store_create(h->s, S("Sent"), &e), ERR_EXISTS);
    assert_int_equal(store_create(h->s, S("a//b"), &e), ERR_SYNTAX);
    assert_int_equal(store_create(h->s, S("inbox"), &e), ERR_SYNTAX);
    assert_int_equal(store_create(h->s, S("a\nb"), &e), ERR_SYNTAX);
    good(store_create(h->s, S(".."), &e), &e); /* harmless: escaped */
    good(store_delete(h->s, S(".."), &e), &e);
    good(store_list(h->s, &l, &e), &e);
    assert_int_equal(l.n, 7);
    assert_string_equal(l.v[0].name, "INBOX");
    assert_string_equal(l.v[1].name, "Archive");
    assert_true(l.v[1].use == STORE_USE_ARCHIVE && l.v[1].is_subscribed);
    assert_string_equal(l.v[3].name, "Entw\xC3\xBCrfe & mehr/x");
    assert_false(l.v[3].is_subscribed);
    store_names_release(&l);
    m = opened(h, "Junk", MAILBOX_READ);
    validity = mailbox_uidvalidity(m);
    good(store_delete(h->s, S("Junk"), &e), &e);
    assert_int_equal(mailbox_sync(m, NULL, &e), ERR_NOT_FOUND);
    mailbox_close(m);
    good(store_list(h->s, &l, &e), &e);
    assert_int_equal(l.n, 7); /* subscribed, but missing */
    assert_true(l.v[4].is_missing && strcmp(l.v[4].name, "Junk") == 0);
    store_names_release(&l);
    good(store_create(h->s, S("Junk"), &e), &e);
    m = opened(h, "Junk", MAILBOX_READ);
    assert_true(mailbox_uidvalidity(m) > validity);
    validity = mailbox_uidvalidity(m);
    mailbox_close(m);
    good(store_create(h->s, S("Junk/deep/er"), &e), &e);
    good(store_rename(h->s, S("Junk"), S("Spam"), &e), &e);
    assert_true(store_has(h->s, S("Spam/deep/er")) && !store_has(h->s, S("Junk")));
    good(mailbox_status(h->s, S("Spam"), &st, &e), &e);
    assert_int_equal(st.uidvalidity, validity);
    assert_int_equal(store_rename(h->s, S("Spam"), S("Sent"), &e), ERR_EXISTS);
    assert_int_equal(store_delete(h->s, S("INBOX"), &e), ERR_DENIED);
    assert_int_equal(store_delete(h->s, S("Nowhere"), &e), ERR_NOT_FOUND);
    put(h, "", "x\n");
    put(h, "", "y\n");
    good(store_rename(h->s, S("INBOX"), S("Old"), &e), &e);
    good(mailbox_status(h->s, S("Old"), &st, &e), &e);
    assert_int_equal(st.messages, 2);
    assert_int_equal(st.size_bytes, 6);
    good(mailbox_status(h->s, S("INBOX"), &st, &e), &e);
    assert_int_equal(st.messages, 0);
    assert_int_equal(st.uidnext, 3);
    good(store_subscribe(h->s, S("Sent"), false, &e), &e);
}

static void a_full_disk_leaves_nothing(void **state) {
    struct home *h = *state;
    int status;
    pid_t child = fork();

    if (child == 0) { /* the limit stays in this process */
        char *big = malloc(200000);
        struct rlimit limit = {.rlim_cur = 100000, .rlim_max = 100000};
        struct slice part;
        struct delivery d = {.parts = &part, .n_parts = 1};
        struct err e = {0};

        if (!big) _exit(9);
        memset(big, 'x', 200000);
        part = slice_of(big, 200000);
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        status = store_deliver(h->s, &d, &e) == ERR_FULL && e.status.cls == 4 ? 0 : 1;
        free(big);
        _exit(status);
    }
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(count_files(h, "new"), 0);
    assert_int_equal(count_files(h, "tmp"), 0);
}

static void many_deliver_while_one_reads(void **state) {
    enum { WRITERS = 3, EACH = 60 };
    struct home *h = *state;
    struct mailbox *m = opened(h, "INBOX", MAILBOX_WRITE);
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
                    if (store_batch_add(b, h->s, &d, NULL, NULL) != OK) _exit(1);
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

/* Append for ever, and tell each uid that was promised. */
static void append_until_killed(struct home *h, int out) {
    for (;;) {
        struct store_append *ap;
        uint32_t validity, uid;
        char text[64];
        int n = snprintf(text, sizeof text, "pid %ld\n", (long)getpid());

        if (store_append_begin(h->s, S("INBOX"), STORE_SEEN, NULL, 0, 0, NULL, &ap, NULL) != OK)
            _exit(1);
        if (store_append_data(ap, slice_of(text, (size_t)n), NULL) != OK) _exit(1);
        if (store_append_end(ap, &validity, &uid, NULL) != OK) _exit(1);
        if (write(out, &uid, sizeof uid) != sizeof uid) _exit(1);
    }
}

static void a_killed_writer_breaks_no_promise(void **state) {
    struct home *h = *state;
    struct err e = {0};
    uint32_t last = 0, validity = 0;

    for (unsigned round = 0; round < 20; round++) {
        uint32_t uid, gone[1];
        struct mailbox *m;
        int fds[2], status;
        size_t n;
        pid_t child;

        assert_int_equal(pipe(fds), 0);
        child = fork();
        if (child == 0) {
            close(fds[0]);
            append_until_killed(h, fds[1]);
        }
        close(fds[1]);
        usleep(3000 + round * 1777);
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        assert_true(WIFSIGNALED(status));
        m = opened(h, "INBOX", MAILBOX_WRITE);
        if (validity) assert_int_equal(mailbox_uidvalidity(m), validity);
        validity = mailbox_uidvalidity(m);
        while (read(fds[0], &uid, sizeof uid) == sizeof uid) {
            struct message msg;
            char text[64];

            assert_true(uid > last);
            last = uid;
            snprintf(text, sizeof text, "pid %ld\n", (long)child);
            good(message_open(m, uid, &msg, &e), &e);
            assert_true(slice_eq(msg.bytes, slice_str(text)));
            message_close(&msg);
        }
        assert_true(mailbox_uidnext(m) > last);
        /* the highest uid goes away; it must not come again */
        if (last && mailbox_find(m, last))
            good(mailbox_expunge(m, &last, 1, false, gone, &n, &e), &e);
        mailbox_rest(m);
        good(mailbox_sync(m, NULL, &e), &e);
        mailbox_close(m);
        close(fds[0]);
    }
    assert_true(last > 0);
}

static void a_modseq_is_not_made_again_by_who_reads_it(void **state) {
    struct home *h = *state;
    struct mailbox *a, *b;
    struct mailbox_changes ch;
    struct err e = {0};
    uint32_t one = 1, two = 2;
    uint64_t modseq;

    put(h, "", "one\n");
    put(h, "", "two\n");
    a = opened(h, "INBOX", MAILBOX_WRITE);
    b = opened(h, "INBOX", MAILBOX_WRITE);
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

static void a_maildrop_is_locked_once(void **state) {
    struct home *h = *state;
    struct err e = {0};
    int a, b;

    good(store_lock_maildrop(h->s, &a, &e), &e);
    assert_int_equal(store_lock_maildrop(h->s, &b, &e), ERR_BUSY);
    close(a);
    good(store_lock_maildrop(h->s, &b, &e), &e);
    close(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_message_is_stored_and_read, begin, end),
        cmocka_unit_test_setup_teardown(the_same_key_is_delivered_once, begin, end),
        cmocka_unit_test_setup_teardown(uids_stay_when_the_index_goes, begin, end),
        cmocka_unit_test_setup_teardown(a_uidvalidity_is_taken_over_once, begin, end),
        cmocka_unit_test_setup_teardown(the_search_file_is_of_living_messages, begin, end),
        cmocka_unit_test_setup_teardown(arrivals_are_taken_in_alone, begin, end),
        cmocka_unit_test_setup_teardown(what_dovecot_noted_is_taken_over, begin, end),
        cmocka_unit_test_setup_teardown(a_torn_uidlist_line_is_cut, begin, end),
        cmocka_unit_test_setup_teardown(files_of_one_base_are_parted, begin, end),
        cmocka_unit_test_setup_teardown(a_torn_keyword_line_is_cut, begin, end),
        cmocka_unit_test_setup_teardown(what_other_programs_do_is_seen, begin, end),
        cmocka_unit_test_setup_teardown(flags_and_keywords_change_in_two_handles, begin, end),
        cmocka_unit_test_setup_teardown(a_modseq_is_not_made_again_by_who_reads_it, begin, end),
        cmocka_unit_test_setup_teardown(copies_moves_and_appends, begin, end),
        cmocka_unit_test_setup_teardown(mailboxes_come_and_go, begin, end),
        cmocka_unit_test_setup_teardown(a_full_disk_leaves_nothing, begin, end),
        cmocka_unit_test_setup_teardown(many_deliver_while_one_reads, begin, end),
        cmocka_unit_test_setup_teardown(a_killed_writer_breaks_no_promise, begin, end),
        cmocka_unit_test_setup_teardown(a_maildrop_is_locked_once, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
