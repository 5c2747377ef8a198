/* The store of Maildirs: the conformance cases, and what is its own: other programs, damaged files,
 * a full disk, kill -9. */
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
#include "store/annotation.h"
#include "store/quota.h"
#include "store/signature.h"
#include "store/store.h"
#include "sys/file.h"

#include "store_conform.h"

#include "store_conform.c"

struct home {
    struct store_bed bed;
    char path[64];
};

static struct store *again(struct store_bed *bed) {
    struct home *h = (struct home *)(void *)bed;
    struct err e = {0};
    struct store *s;

    good(store_open(h->path, &s, &e), &e);
    return s;
}

static int begin(void **state) {
    struct home *h = calloc(1, sizeof *h);
    struct err e;

    snprintf(h->path, sizeof h->path, "/tmp/postbag-store-XXXXXX");
    if (!mkdtemp(h->path)) return -1;
    if (store_open(h->path, &h->bed.s, &e) != OK) {
        print_error("%s\n", e.msg);
        return -1;
    }
    h->bed.again = again;
    *state = h;
    return 0;
}

static int end(void **state) {
    struct home *h = *state;

    store_close(h->bed.s);
    file_remove_tree(h->path, NULL);
    free(h);
    return 0;
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

/* Whatever was done, nothing half-written stays. */
#define CONFORM(name)                                                                              \
    static void name##_case(void **state) {                                                        \
        struct home *h = *state;                                                                   \
        conform_##name(&h->bed);                                                                   \
        assert_int_equal(count_files(h, "tmp"), 0);                                                \
    }
CONFORM(stored_and_read)
CONFORM(flags_in_two_handles)
CONFORM(copy_move_append)
CONFORM(mailboxes)
CONFORM(modseq)
CONFORM(many_deliver)
CONFORM(maildrop)
CONFORM(names_at_the_limits)
CONFORM(keywords_at_the_limit)
CONFORM(append_at_the_limit)
CONFORM(uids_never_come_back)
CONFORM(what_went_is_told)
CONFORM(highest_is_known)
CONFORM(quota)
CONFORM(annotations)

static void the_same_key_is_delivered_once(void **state) {
    struct home *h = *state;
    struct slice part = S("x\n");
    struct delivery d = {.parts = &part, .n_parts = 1, .key = S("abc-1_r2"), .date = 1700000000};
    struct err e = {0};
    struct mailbox *m;
    size_t n;

    good(store_deliver(h->bed.s, &d, &e), &e);
    assert_int_equal(store_deliver(h->bed.s, &d, &e), ERR_EXISTS);
    m = opened(h->bed.s, "INBOX", MAILBOX_WRITE); /* moves it to cur/ */
    good(mailbox_set_flags(m, (uint32_t[]){1}, 1, MAILBOX_FLAGS_ADD, STORE_SEEN, NULL, &e), &e);
    d.may_be_there = true;
    assert_int_equal(store_deliver(h->bed.s, &d, &e), ERR_EXISTS);
    good(mailbox_sync(m, NULL, &e), &e);
    mailbox_messages(m, &n);
    assert_int_equal(n, 1);
    assert_int_equal(count_files(h, "tmp"), 0);
    d.key = S("../x");
    assert_int_equal(store_deliver(h->bed.s, &d, &e), ERR_SYNTAX);
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

    for (int i = 0; i < 3; i++) put(h->bed.s, "", "x\n");
    m = opened(h->bed.s, "INBOX", MAILBOX_WRITE);
    validity = mailbox_uidvalidity(m);
    good(mailbox_expunge(m, (uint32_t[]){2}, 1, false, gone, &n, &e), &e);
    assert_int_equal(n, 1);
    mailbox_cache_put(m, 3, S("envelope.1"), S("(text)"));
    modseq = mailbox_highest_modseq(m);
    mailbox_close(m);
    m = opened(h->bed.s, "INBOX", MAILBOX_WRITE);
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
        m = opened(h->bed.s, "INBOX", MAILBOX_WRITE);
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
    m = opened(h->bed.s, "INBOX", MAILBOX_WRITE);
    unlink(path);
    put(h->bed.s, "", "y\n");
    assert_int_equal(mailbox_sync(m, NULL, &e), ERR_NOT_FOUND);
    assert_int_equal(mailbox_sync(m, NULL, &e), ERR_NOT_FOUND);
    mailbox_close(m);
    m = opened(h->bed.s, "INBOX", MAILBOX_WRITE);
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
/* A backup leaves lock files out; HIGHESTMODSEQ is at least that of every message all the same. */
static void modseq_stays_when_the_lock_goes(void **state) {
    struct home *h = *state;
    char path[200];
    struct store *s;
    struct mailbox *m;
    struct err e = {0};
    uint64_t modseq;

    put(h->bed.s, "", "x\n");
    m = opened(h->bed.s, "INBOX", MAILBOX_WRITE);
    modseq = mailbox_highest_modseq(m);
    mailbox_close(m);
    snprintf(path, sizeof path, "%s/Maildir/postbag-lock", h->path);
    assert_int_equal(unlink(path), 0);
    s = h->bed.again(&h->bed);
    m = opened(s, "INBOX", MAILBOX_READ);
    assert_true(mailbox_find(m, 1)->modseq == modseq);
    assert_true(mailbox_highest_modseq(m) >= modseq);
    modseq = mailbox_highest_modseq(m);
    good(mailbox_sync(m, NULL, &e), &e);
    assert_int_equal(mailbox_highest_modseq(m), modseq);
    mailbox_close(m);
    store_close(s);
}

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
        good(store_create(h->bed.s, slice_str(name), &e), &e);
        remove_file(h, name, "postbag-uidlist");
        for (const char *c = "ab"; *c; c++) {
            snprintf(sub, sizeof sub, ".%s/cur/%c:2,", name, *c);
            give(h, sub, "Subject: x\n\n");
        }
        snprintf(sub, sizeof sub, ".%s/dovecot-uidlist", name);
        give(h, sub, cases[i].list);
        if (cases[i].a == 0) { /* no UID is left for the second message: an error, no crash */
            if (mailbox_open(h->bed.s, slice_str(name), MAILBOX_READ, &m, &e) == OK)
                mailbox_close(m);
            continue;
        }
        m = opened(h->bed.s, name, MAILBOX_READ);
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
        m = opened(h->bed.s, name, MAILBOX_READ);
        assert_int_not_equal(mailbox_uidvalidity(m), cases[i].validity);
        mailbox_close(m);
        good(store_delete(h->bed.s, slice_str(name), &e), &e);
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

    good(store_create(h->bed.s, S("Own"), &e), &e);
    m = opened(h->bed.s, "Own", MAILBOX_READ);
    own = mailbox_uidvalidity(m);
    mailbox_close(m);
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        static const char *const names[] = {"A", "B", "C", "D", "E"};
        uint32_t got[COUNT_OF(names)];

        for (size_t k = 0; k < COUNT_OF(names); k++) {
            good(store_create(h->bed.s, slice_str(names[k]), &e), &e);
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
            m = opened(h->bed.s, names[k], MAILBOX_READ);
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
            good(store_delete(h->bed.s, slice_str(names[k]), &e), &e);
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

    good(store_create(h->bed.s, S("Box"), &e), &e);
    remove_file(h, "Box", "postbag-uidlist");
    for (int i = 1; i <= 3 * SIGNATURE_COLUMNS; i++) {
        snprintf(name, sizeof name, ".Box/cur/%d.M%d.x:2,", i, i);
        give(h, name, "Subject: x\n\n");
    }
    give(h, ".Box/dovecot-uidlist", "3 V77 N1\n");
    m = opened(h->bed.s, "Box", MAILBOX_WRITE);
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
    good(store_delete(h->bed.s, S("Box"), &e), &e);
    good(store_create(h->bed.s, S("Box"), &e), &e);
    remove_file(h, "Box", "postbag-uidlist");
    give(h, ".Box/cur/a:2,", "Subject: x\n\n");
    give(h, ".Box/dovecot-uidlist", "3 V78 N100000\n1 :a\n");
    m = opened(h->bed.s, "Box", MAILBOX_WRITE);
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
    m = opened(h->bed.s, "INBOX", MAILBOX_WRITE);
    for (int round = 0; round < 6; round++) {
        static const int arrivals[] = {1, 3, 64, 65, 2, 1};

        usleep(60 * 1000); /* past the grain of the clock */
        for (int i = 0; i < arrivals[round]; i++) put(h->bed.s, "", "Subject: y\n\ntext\n");
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
    m = opened(h->bed.s, "INBOX", MAILBOX_WRITE); /* as one who comes now has it */
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

    mailbox_close(opened(h->bed.s, "INBOX", MAILBOX_WRITE));
    give(h, "cur/1.a:2,S", "one\n");
    give(h, "cur/1.a:2,FS", "another\n");
    give(h, "new/1.a", "a third\n");
    m = opened(h->bed.s, "INBOX", MAILBOX_WRITE);
    for (int i = 0; i < 5; i++) good(mailbox_sync(m, &ch, &e), &e);
    v = mailbox_messages(m, &n);
    assert_int_equal(n, 3);
    first = v[0].uid;
    assert_true(v[1].uid > first && v[2].uid > v[1].uid);
    good(mailbox_expunge(m, &first, 1, false, &gone, &n_gone, &e), &e);
    assert_int_equal(n_gone, 1);
    mailbox_close(m);
    m = opened(h->bed.s, "INBOX", MAILBOX_WRITE);
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

    put(h->bed.s, "INBOX", "a\n");
    m = opened(h->bed.s, "INBOX", MAILBOX_WRITE);
    bit = keyword(m, S("first"), true);
    assert_true(bit != 0);
    mailbox_close(m);
    snprintf(path, sizeof path, "%s/Maildir/postbag-keywords", h->path);
    f = fopen(path, "a");
    assert_non_null(f);
    fputs("1 sec", f);
    fclose(f);
    m = opened(h->bed.s, "INBOX", MAILBOX_WRITE);
    assert_int_equal(keyword(m, S("sec"), false), 0);
    assert_int_equal(keyword(m, S("second"), true), bit << 1);
    mailbox_close(m);
    m = opened(h->bed.s, "INBOX", MAILBOX_WRITE);
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

    put(h->bed.s, "", "x\n");
    mailbox_close(opened(h->bed.s, "INBOX", MAILBOX_WRITE));
    snprintf(path, sizeof path, "%s/Maildir/postbag-uidlist", h->path);
    fd = open(path, O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, "2 17000", 7), 7);
    close(fd);
    put(h->bed.s, "", "y\n");
    m = opened(h->bed.s, "INBOX", MAILBOX_WRITE);
    assert_int_equal(mailbox_messages(m, &n)[1].uid, 2);
    assert_int_equal(n, 2);
    mailbox_close(m);
    m = opened(h->bed.s, "INBOX", MAILBOX_WRITE);
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

    put(h->bed.s, "", "one\n");
    m = opened(h->bed.s, "INBOX", MAILBOX_READ);
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
        status = store_deliver(h->bed.s, &d, &e) == ERR_FULL && e.status.cls == 4 ? 0 : 1;
        free(big);
        _exit(status);
    }
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(count_files(h, "new"), 0);
    assert_int_equal(count_files(h, "tmp"), 0);
}

/* Append for ever, and tell each uid that was promised. */
static void append_until_killed(struct home *h, int out) {
    for (;;) {
        struct store_append *ap;
        uint32_t validity, uid;
        char text[64];
        int n = snprintf(text, sizeof text, "pid %ld\n", (long)getpid());

        if (store_append_begin(h->bed.s, S("INBOX"), STORE_SEEN, NULL, 0, 0, NULL, &ap, NULL) != OK)
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
        m = opened(h->bed.s, "INBOX", MAILBOX_WRITE);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(stored_and_read_case, begin, end),
        cmocka_unit_test_setup_teardown(flags_in_two_handles_case, begin, end),
        cmocka_unit_test_setup_teardown(copy_move_append_case, begin, end),
        cmocka_unit_test_setup_teardown(mailboxes_case, begin, end),
        cmocka_unit_test_setup_teardown(modseq_case, begin, end),
        cmocka_unit_test_setup_teardown(many_deliver_case, begin, end),
        cmocka_unit_test_setup_teardown(maildrop_case, begin, end),
        cmocka_unit_test_setup_teardown(names_at_the_limits_case, begin, end),
        cmocka_unit_test_setup_teardown(keywords_at_the_limit_case, begin, end),
        cmocka_unit_test_setup_teardown(append_at_the_limit_case, begin, end),
        cmocka_unit_test_setup_teardown(uids_never_come_back_case, begin, end),
        cmocka_unit_test_setup_teardown(what_went_is_told_case, begin, end),
        cmocka_unit_test_setup_teardown(highest_is_known_case, begin, end),
        cmocka_unit_test_setup_teardown(quota_case, begin, end),
        cmocka_unit_test_setup_teardown(annotations_case, begin, end),
        cmocka_unit_test_setup_teardown(the_same_key_is_delivered_once, begin, end),
        cmocka_unit_test_setup_teardown(uids_stay_when_the_index_goes, begin, end),
        cmocka_unit_test_setup_teardown(a_uidvalidity_is_taken_over_once, begin, end),
        cmocka_unit_test_setup_teardown(the_search_file_is_of_living_messages, begin, end),
        cmocka_unit_test_setup_teardown(arrivals_are_taken_in_alone, begin, end),
        cmocka_unit_test_setup_teardown(modseq_stays_when_the_lock_goes, begin, end),
        cmocka_unit_test_setup_teardown(what_dovecot_noted_is_taken_over, begin, end),
        cmocka_unit_test_setup_teardown(a_torn_uidlist_line_is_cut, begin, end),
        cmocka_unit_test_setup_teardown(files_of_one_base_are_parted, begin, end),
        cmocka_unit_test_setup_teardown(a_torn_keyword_line_is_cut, begin, end),
        cmocka_unit_test_setup_teardown(what_other_programs_do_is_seen, begin, end),
        cmocka_unit_test_setup_teardown(a_full_disk_leaves_nothing, begin, end),
        cmocka_unit_test_setup_teardown(a_killed_writer_breaks_no_promise, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
