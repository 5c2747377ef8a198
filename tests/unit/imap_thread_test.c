/* Base subjects and threads (RFC 5256), also where they are deep, loop, or many; and that a search
 * finds the same with and without the kept head. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "imap/head.h"
#include "imap/thread.h"
#include "imap_host.h"

static void base_subjects(void **state) {
    static const struct {
        const char *subject, *base;
        bool is_reply;
    } rows[] = {
        {"hello", "hello", false},
        {"re: hello", "hello", true},
        {"re[2]: hello", "hello", true},
        {"re : hello", "hello", true},
        {"fw: fwd: re: hello (fwd) (fwd)", "hello", true},
        {"[list] hello", "hello", false},
        {"[list] re: [list] hello", "hello", true},
        {"[list]", "[list]", false},
        {"re: [list]", "[list]", true},
        {"[fwd: re: hello]", "hello", true},
        {"[fwd: hello", "[fwd: hello", false},
        {"regarding: x", "regarding: x", false},
        {"re", "re", false},
        {"(fwd)", "", true},
        {"", "", false},
        {"[a][b] [c] x", "x", false},
        {"[unclosed hello", "[unclosed hello", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        bool is_reply;
        struct slice base = imap_base_subject(slice_str(rows[i].subject), &is_reply);

        if (!slice_eq(base, slice_str(rows[i].base)) || is_reply != rows[i].is_reply)
            fail_msg("%s: %.*s %d", rows[i].subject, SP(base), is_reply);
    }
}

static void expect(enum imap_thread_way way, struct imap_thread_item *v, size_t n,
                   const char *want) {
    struct arena a;
    struct buf out;

    arena_init(&a, 64 * 1024 * 1024);
    buf_init(&out, 1024 * 1024);
    for (size_t i = 0; i < n; i++) v[i].number = (uint32_t)i + 1;
    assert_true(imap_thread(way, v, n, &a, &out));
    if (!slice_eq(buf_slice(&out), slice_str(want)))
        fail_msg("got %.*s, not %s", SP(buf_slice(&out)), want);
    buf_release(&out);
    arena_release(&a);
}

#define ITEM(d, i, r, s, is)                                                                       \
    {                                                                                              \
        .date = d, .id = S_INIT(i), .references = S_INIT(r), .base_subject = S_INIT(s),            \
        .is_reply = is                                                                             \
    }

static void threads(void **state) {
    (void)state;
    struct imap_thread_item chain[] = {ITEM(1, "a", "", "x", false), ITEM(2, "b", "a", "x", true),
                                       ITEM(3, "c", "a b", "x", true),
                                       ITEM(2, "d", "a", "x", true)};
    expect(IMAP_THREAD_REFERENCES, chain, 4, "(1 (2 3)(4))");
    struct imap_thread_item missing[] = {ITEM(5, "b", "gone", "y", true),
                                         ITEM(4, "c", "gone", "y", true)};
    expect(IMAP_THREAD_REFERENCES, missing, 2, "((2)(1))");
    struct imap_thread_item one_missing[] = {ITEM(5, "b", "gone", "y", true)};
    expect(IMAP_THREAD_REFERENCES, one_missing, 1, "(1)");
    struct imap_thread_item loop[] = {ITEM(1, "a", "b", "p", false), ITEM(2, "b", "a", "q", false)};
    expect(IMAP_THREAD_REFERENCES, loop, 2, "(2 1)");
    struct imap_thread_item self[] = {ITEM(1, "a", "a", "p", false)};
    expect(IMAP_THREAD_REFERENCES, self, 1, "(1)");
    struct imap_thread_item twice[] = {ITEM(1, "a", "", "p", false), ITEM(2, "a", "", "q", false),
                                       ITEM(3, "c", "a", "p", true)};
    expect(IMAP_THREAD_REFERENCES, twice, 3, "(1 3)(2)");
    /* without references the subject decides: a reply goes below who is none */
    struct imap_thread_item subject[] = {ITEM(1, "a", "", "p", false), ITEM(2, "b", "", "p", true),
                                         ITEM(3, "c", "", "", false)};
    expect(IMAP_THREAD_REFERENCES, subject, 3, "(1 2)(3)");
    struct imap_thread_item equals[] = {ITEM(1, "a", "", "p", false), ITEM(2, "b", "", "p", false)};
    expect(IMAP_THREAD_REFERENCES, equals, 2, "((1)(2))");
    struct imap_thread_item ordered[] = {ITEM(3, "", "", "b", false), ITEM(1, "", "", "a", false),
                                         ITEM(4, "", "", "a", false), ITEM(5, "", "", "a", false)};
    expect(IMAP_THREAD_ORDEREDSUBJECT, ordered, 4, "(2 (3)(4))(1)");
    expect(IMAP_THREAD_REFERENCES, ordered, 0, "");
}

/* One long chain, told by each from the newest on, and one thread with many branches. */
static void deep_and_wide(void **state) {
    enum { N = 50000 };
    struct imap_thread_item *v = calloc(N, sizeof *v);
    char *text = malloc(N * 32);
    struct arena a;
    struct buf out;

    (void)state;
    assert_non_null(v);
    assert_non_null(text);
    for (int wide = 0; wide < 2; wide++) {
        arena_init(&a, 256 * 1024 * 1024);
        buf_init(&out, 16 * 1024 * 1024);
        for (int i = 0; i < N; i++) {
            char *id = text + (size_t)i * 32;
            int k = N - 1 - i; /* the newest first */

            snprintf(id, 16, "m%d", k);
            snprintf(id + 16, 16, "m%d", wide ? 0 : k - 1);
            v[i] = (struct imap_thread_item){.number = (uint32_t)i + 1,
                                             .date = k,
                                             .id = slice_str(id),
                                             .references = k ? slice_str(id + 16) : S(""),
                                             .base_subject = S("same"),
                                             .is_reply = k > 0};
        }
        assert_true(imap_thread(IMAP_THREAD_REFERENCES, v, N, &a, &out));
        assert_true(out.n > N * 2);
        assert_true(slice_starts(buf_slice(&out), S("(50000")));
        buf_release(&out);
        arena_release(&a);
    }
    free(v);
    free(text);
}

/* What a SEARCH says with the head at hand and without. */
static void search(struct host *h, const char *command, struct buf *out) {
    struct imap_config cfg = {.hostname = S("x"), .preauth_user = S("u"), .delimiter = '/'};
    struct imap_event ev;
    struct buf in;

    h->s = imap_server_new(&cfg, 0);
    assert_non_null(h->s);
    buf_init(&in, 1 << 20);
    buf_addf(&in, "a SELECT INBOX\r\nb %s\r\n", command);
    for (struct slice rest = buf_slice(&in);;) {
        size_t used = imap_server_feed(h->s, rest, 0);
        struct slice o;

        rest = slice_from(rest, used);
        while (imap_server_next(h->s, &ev)) host_answer(h, &ev);
        while ((o = imap_server_out(h->s)).n) {
            buf_add(out, o);
            imap_server_sent(h->s, o.n, 0);
            while (imap_server_next(h->s, &ev)) host_answer(h, &ev);
        }
        if (!rest.n && !used) break;
    }
    imap_server_free(h->s);
    buf_release(&in);
}

static void head_and_bytes_find_the_same(void **state) {
    static const char *const odd[] = {
        "Subject: one\nSubject: =?utf-8?q?zw=C3=96lf?=\nFrom: a@b\nTo:\nDate: nonsense\n\nx",
        "Subject:\nFrom: \"A =?iso-8859-1?q?=E4?=\" <x@y>, other@z\nDate: 1 Jan 2020 23:30:00 "
        "-0800\n\n",
        "From: b\n\tfolded <c@d>\nCc: x,\n y\nBcc: hidden@e\nDate: Thu, 31 Dec 2009 23:59:59 "
        "+1400\n\nb",
        "\nno header",
        "Subject: \xe4\xf6 raw\x01 control\nto: lower@case\n\n",
    };
    static const char *const keys[] = {
        "SUBJECT one",
        "SUBJECT \"\xc3\xb6\"",
        "SUBJECT \"\"",
        "SUBJECT \"zw\xc3\x96LF\"",
        "FROM x@y",
        "FROM other",
        "FROM \"\xc3\xa4\"",
        "TO \"\"",
        "CC y",
        "BCC hidden",
        "HEADER Subject meeting",
        "HEADER subject \"\"",
        "SENTON 1-Jan-2020",
        "SENTON 2-Jan-2020",
        "SENTBEFORE 1-Jan-2010",
        "SENTSINCE 1-Jan-2010",
        "FROM folded",
        "SUBJECT \"\x01\"",
        "SUBJECT control",
        "TO lower",
        "FROM \"\"",
        "SUBJECT e",
        "SUBJECT \" \"",
        "NOT SUBJECT e",
        "OR TO lower SUBJECT one",
    };
    char *long_to = malloc(40000);
    struct host h;
    struct buf with, without;

    (void)state;
    assert_non_null(long_to);
    strcpy(long_to, "Subject: long\nTo: ");
    for (int i = 0; i < 1000; i++) sprintf(long_to + strlen(long_to), "r%d@many.test,\n ", i);
    strcat(long_to, "last@many.test\n\nx");
    host_init(&h);
    for (size_t i = 0; i < COUNT_OF(odd); i++) host_add(&h, slice_str(odd[i]), 0, 1500000000);
    host_add(&h, slice_str(long_to), 0, 1500000000);
    buf_init(&with, 1 << 20);
    buf_init(&without, 1 << 20);
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        char command[200];

        snprintf(command, sizeof command, "UID SEARCH CHARSET UTF-8 %s", keys[i]);
        buf_reset(&with);
        buf_reset(&without);
        h.has_no_head = false;
        search(&h, command, &with);
        h.has_no_head = true;
        search(&h, command, &without);
        if (!slice_eq(buf_slice(&with), buf_slice(&without)))
            fail_msg("%s: %.*s, and %.*s", keys[i], SP(buf_slice(&with)), SP(buf_slice(&without)));
        assert_true(slice_find(buf_slice(&with), S("* SEARCH")) != SLICE_NONE);
    }
    buf_reset(&with);
    search(&h, "SEARCH TO r999@many", &with);
    assert_true(slice_find(buf_slice(&with), S("* SEARCH 9\r\n")) != SLICE_NONE);
    buf_release(&with);
    buf_release(&without);
    host_release(&h);
    free(long_to);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base_subjects),
        cmocka_unit_test(threads),
        cmocka_unit_test(deep_and_wide),
        cmocka_unit_test(head_and_bytes_find_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
