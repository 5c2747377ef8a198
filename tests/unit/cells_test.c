/* What a terminal gets of text from outside, and what a relayed line becomes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "cli/cells.h"
#include "imap/caps.h"
#include "net/relay.h"

static void check_cells(struct slice in, size_t width, bool is_padded, const char *want,
                        size_t want_used) {
    struct buf out;
    size_t used;

    buf_init(&out, 4096);
    used = cells_put(&out, in, width, is_padded);
    if (!slice_eq(buf_slice(&out), slice_str(want)))
        fail_msg("\"%.*s\" is not \"%s\"", SP(buf_slice(&out)), want);
    assert_int_equal(used, want_used);
    buf_release(&out);
}

static void text_is_cut_and_padded_by_columns(void **state) {
    (void)state;
    check_cells(S("abc"), 5, true, "abc  ", 3);
    check_cells(S("abcde"), 5, true, "abcde", 5);
    check_cells(S("abcdef"), 5, true, "abcd\xe2\x80\xa6", 5);
    check_cells(S("\xe6\x97\xa5\xe6\x9c\xac"), 4, true, "\xe6\x97\xa5\xe6\x9c\xac", 4);
    check_cells(S("\xe6\x97\xa5\xe6\x9c\xac"), 3, true, "\xe6\x97\xa5\xe2\x80\xa6", 3);
    check_cells(S("a\xe6\x97\xa5\xe6\x9c\xac"), 3, true, "a\xe2\x80\xa6 ", 2);
    check_cells(S("e\xcc\x81x"), 2, false, "e\xcc\x81x", 2);
    check_cells(S("x"), 0, true, "", 0);
    check_cells(S(""), 2, true, "  ", 0);
}

static void nothing_that_steers_a_terminal_comes_through(void **state) {
    static const struct slice bad[] = {
        S_INIT("\033[2J"),  S_INIT("\007"),         S_INIT("\177"),
        S_INIT("\xc2\x9b"), S_INIT("\xe2\x80\xae"), S_INIT("\xe2\x81\xa6"),
        S_INIT("\xff"),     S_INIT("\0"),           S_INIT("\xf3\xa0\x80\xa1")};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct buf out;

        buf_init(&out, 64);
        cells_clean(&out, bad[i]);
        assert_true(slice_starts(buf_slice(&out), S("\xef\xbf\xbd")));
        buf_release(&out);
    }
    check_cells(S("a\r\n\tb"), 9, false, "a   b", 5);
}

static void check_lines(struct slice in, const char *want, bool is_logout) {
    for (size_t split = 0; split <= in.n; split++) {
        struct relay_lines l = {0};
        struct buf out;

        buf_init(&out, 4096);
        relay_lines_put(&l, &out, slice_first(in, split));
        relay_lines_put(&l, &out, slice_from(in, split));
        assert_true(slice_eq(buf_slice(&out), slice_str(want)));
        assert_int_equal(l.is_logout, is_logout);
        buf_release(&out);
    }
}

static void lines_get_crlf_and_literals_stay(void **state) {
    (void)state;
    check_lines(S("a NOOP\nb NOOP\r\n"), "a NOOP\r\nb NOOP\r\n", false);
    check_lines(S("a APPEND x {4}\n\n\r\n\n\nb LOGOUT\n"),
                "a APPEND x {4}\r\n\n\r\n\n\r\nb LOGOUT\r\n", true);
    check_lines(S("a LOGIN {2+}\nab {3}\nc\n\nz logout\n"),
                "a LOGIN {2+}\r\nab {3}\r\nc\n\nz logout\r\n", true);
    check_lines(S("a X {12\nb {x}\nc {0}\nd\n"), "a X {12\r\nb {x}\r\nc {0}\r\nd\r\n", false);
    check_lines(S("a {99999999999999999999999}\nb\n"), "a {99999999999999999999999}\r\nb\r\n",
                false);
    check_lines(S("a LOGOUT\nb NOOP\n"), "a LOGOUT\r\nb NOOP\r\n", false);
}

static void capabilities_have_their_rfc(void **state) {
    (void)state;
    assert_int_equal(imap_capability_rfc(S("idle")), 2177);
    assert_int_equal(imap_capability_rfc(S("AUTH=PLAIN")), 3501);
    assert_int_equal(imap_capability_rfc(S("QUOTA=RES-STORAGE")), 9208);
    assert_int_equal(imap_capability_rfc(S("XAPPLE")), 0);
    assert_int_equal(imap_capability_rfc(S("")), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_cut_and_padded_by_columns),
        cmocka_unit_test(nothing_that_steers_a_terminal_comes_through),
        cmocka_unit_test(lines_get_crlf_and_literals_stay),
        cmocka_unit_test(capabilities_have_their_rfc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
