/* The base: slices, buffers, arenas, numbers, dates, text encodings, JSON, errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/moment.h"
#include "base/num.h"
#include "base/utf7.h"
#include "base/utf8.h"

static void same(struct slice got, struct slice want) {
    if (slice_eq(got, want)) return;
    print_error("got  \"%.*s\"\nwant \"%.*s\"\n", SP(got), SP(want));
    fail();
}

static void slices_are_compared_cut_and_searched(void **state) {
    struct slice a, b, rest;

    (void)state;
    assert_true(slice_ieq(S("EHLO"), S("ehLo")));
    assert_false(slice_ieq(S("\xC4"), S("\xE4"))); /* no locale */
    assert_true(slice_eq(S(""), (struct slice){NULL, 0}));
    assert_true(slice_cmp(S("a"), S("ab")) < 0 && slice_cmp(S("b"), S("ab")) > 0);
    assert_true(slice_cmp(S("\xFF"), S("a")) > 0);
    assert_int_equal(slice_icmp(S("A"), S("a")), 0);
    assert_true(slice_cut(S("a:b:c"), ':', &a, &b));
    same(a, S("a"));
    same(b, S("b:c"));
    assert_false(slice_cut(S("abc"), ':', &a, &b));
    same(a, S("abc"));
    assert_int_equal(b.n, 0);
    rest = S("  one\ttwo ");
    assert_true(slice_word(&rest, &a));
    same(a, S("one"));
    assert_true(slice_word(&rest, &a));
    same(a, S("two"));
    assert_false(slice_word(&rest, &a));
    rest = S("a\r\n\nlast");
    assert_true(slice_line(&rest, &a));
    same(a, S("a"));
    assert_true(slice_line(&rest, &a));
    same(a, S(""));
    assert_true(slice_line(&rest, &a));
    same(a, S("last"));
    assert_false(slice_line(&rest, &a));
    assert_int_equal(slice_find(S("abcabd"), S("abd")), 3);
    assert_int_equal(slice_find(S("abc"), S("")), 0);
    assert_true(slice_find(S("ab"), S("abc")) == SLICE_NONE);
    assert_int_equal(slice_ifind(S("xxFOO"), S("foo")), 2);
    assert_int_equal(slice_rchr(S("a.b.c"), '.'), 3);
    assert_int_equal(slice_from(S("abc"), 9).n, 0);
    assert_int_equal(slice_first(S("abc"), 9).n, 3);
    same(slice_trim(S(" \t\r\nx y\r\n ")), S("x y"));
    same(slice_chomp(S("x\r\n")), S("x"));
    same(slice_chomp(S("x\n\n")), S("x\n"));
    assert_true(slice_istarts(S("Content-Type"), S("content-")) &&
                slice_iends(S("a.ORG"), S(".org")));
}

static void a_buffer_keeps_its_ceiling(void **state) {
    struct buf b;
    size_t n;
    char *p;

    (void)state;
    buf_init(&b, 8);
    assert_true(buf_add(&b, S("12345678")));
    assert_false(buf_addc(&b, '9'));
    assert_true(b.bad);
    same(buf_slice(&b), S("12345678"));
    buf_reset(&b);
    assert_true(buf_addf(&b, "%s-%d", "ab", 42));
    assert_string_equal(buf_cstr(&b), "ab-42");
    assert_false(buf_addf(&b, "%s", "too long"));
    same(buf_slice(&b), S("ab-42"));
    buf_reset(&b);
    assert_true(buf_addf(&b, "%s%d", "abcde", 678)); /* the ceiling, and the NUL behind it */
    assert_string_equal(buf_cstr(&b), "abcde678");
    assert_false(buf_addu(&b, 0));
    same(buf_slice(&b), S("abcde678"));
    buf_release(&b);
    buf_init(&b, 40);
    assert_true(buf_addu(&b, 0) && buf_addu(&b, 10) && buf_addu(&b, UINT64_MAX));
    same(buf_slice(&b), S("01018446744073709551615"));
    buf_release(&b);
    buf_init(&b, 8);
    buf_add(&b, S("abcdef"));
    buf_drop(&b, 2);
    buf_cut(&b, 3);
    same(buf_slice(&b), S("cde"));
    p = buf_take(&b, &n);
    assert_string_equal(p, "cde");
    assert_int_equal(n, 3);
    assert_int_equal(b.n, 0);
    free(p);
    assert_null(buf_room(&b, 9));
    buf_release(&b);
    buf_release(&(struct buf){0});
}

static void an_arena_aligns_and_stops_at_its_bound(void **state) {
    struct arena a;
    char *first, *p;

    (void)state;
    arena_init(&a, 10000);
    first = arena_new(&a, 1);
    p = arena_new(&a, 8);
    assert_true(first && p && (uintptr_t)p % _Alignof(max_align_t) == 0 && *first == 0);
    assert_non_null(arena_new(&a, 0));
    assert_string_equal(arena_cstr(&a, S("text")), "text");
    same(arena_printf(&a, "%d", 7), S("7"));
    assert_null(arena_new(&a, 20000));
    assert_true(a.bad);
    assert_null(arena_new(&a, SIZE_MAX));
    arena_reset(&a);
    assert_false(a.bad);
    assert_non_null(arena_new(&a, 9000));
    arena_release(&a);
}

static void numbers_have_a_maximum(void **state) {
    struct slice s = S("12ab");
    uint64_t v = 99;

    (void)state;
    assert_true(num_parse(S("18446744073709551615"), UINT64_MAX, &v) && v == UINT64_MAX);
    assert_false(num_parse(S("18446744073709551616"), UINT64_MAX, &v));
    assert_false(num_parse(S("256"), 255, &v));
    assert_false(num_parse(S(""), 255, &v) || num_parse(S("+1"), 255, &v) ||
                 num_parse(S(" 1"), 255, &v) || num_parse(S("1 "), 255, &v) ||
                 num_parse(S("0x1"), 255, &v));
    assert_true(v == UINT64_MAX);
    assert_true(num_take(&s, 100, &v) && v == 12);
    same(s, S("ab"));
    assert_false(num_take(&s, 100, &v));
    assert_true(num_duration(S("5m"), 1000, &v) && v == 300);
    assert_true(num_duration(S("2w"), UINT64_MAX, &v) && v == 1209600);
    assert_false(num_duration(S("5y"), UINT64_MAX, &v) || num_duration(S("5h"), 100, &v));
    assert_true(num_size(S("10M"), UINT64_MAX, &v) && v == 10 << 20);
    assert_false(num_size(S("18446744073709551615k"), UINT64_MAX, &v));
}

static void dates_go_there_and_back(void **state) {
    static const wall_t rows[] = {0, 951782399, 951782400, 1795395723, 4102444799, -1, -2208988800};
    char text[MOMENT_RFC5322_MAX], utc[MOMENT_RFC3339_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct civil c = civil_of(rows[i], 330);

        assert_true(civil_to_wall(&c) == rows[i]);
    }
    same(moment_rfc3339(1795395723, utc), S("2026-11-23T01:02:03Z"));
    same(moment_rfc5322(1795395723, -90, text), S("Sun, 22 Nov 2026 23:32:03 -0130"));
    assert_int_equal(civil_days_in_month(2000, 2), 29);
    assert_int_equal(civil_days_in_month(1900, 2), 28);
}

static void base64_is_strict(void **state) {
    static const struct slice bad[] = {S_INIT("YQ"),   S_INIT("YQ="),      S_INIT("YR=="),
                                       S_INIT("Y Q="), S_INIT("YQ==YQ=="), S_INIT("===="),
                                       S_INIT("Y*Q="), S_INIT("YWI=\n")};
    static const struct {
        struct slice plain, coded;
    } rows[] = {{S_INIT(""), S_INIT("")},
                {S_INIT("a"), S_INIT("YQ==")},
                {S_INIT("ab"), S_INIT("YWI=")},
                {S_INIT("\0\xFF\xFE"), S_INIT("AP/+")}};
    struct buf b;

    (void)state;
    buf_init(&b, 100);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        buf_reset(&b);
        assert_true(base64_put(&b, rows[i].plain));
        same(buf_slice(&b), rows[i].coded);
        buf_reset(&b);
        assert_true(base64_get(&b, rows[i].coded));
        same(buf_slice(&b), rows[i].plain);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        buf_reset(&b);
        if (base64_get(&b, bad[i]) || b.n) fail_msg("%.*s", SP(bad[i]));
    }
    buf_release(&b);
}

static void utf8_has_no_surrogates_and_no_long_forms(void **state) {
    static const struct slice bad[] = {
        S_INIT("\xC0\x80"), S_INIT("\xED\xA0\x80"), S_INIT("\xF4\x90\x80\x80"),
        S_INIT("\xE2\x82"), S_INIT("\x80"),         S_INIT("\xF8\x88\x80\x80\x80")};
    struct buf b;

    (void)state;
    assert_true(utf8_valid(S("a\0\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80")));
    for (size_t i = 0; i < COUNT_OF(bad); i++) assert_false(utf8_valid(bad[i]));
    buf_init(&b, 100);
    utf8_put_lossy(&b, S("a\xE2\x82z"));
    same(buf_slice(&b), S("a\xEF\xBF\xBD\xEF\xBF\xBDz"));
    buf_reset(&b);
    utf8_put(&b, 0xD800);
    same(buf_slice(&b), S("\xEF\xBF\xBD"));
    buf_release(&b);
}

static void mailbox_names_in_modified_utf7(void **state) {
    static const struct {
        struct slice utf8, utf7;
    } rows[] = {
        {S_INIT("~peter/mail/\xE5\x8F\xB0\xE5\x8C\x97/\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E"),
         S_INIT("~peter/mail/&U,BTFw-/&ZeVnLIqe-")},
        {S_INIT("a & b"), S_INIT("a &- b")},
        {S_INIT("\xF0\x9F\x98\x80"), S_INIT("&2D3eAA-")},
        {S_INIT("\xC3\xA9&\xC3\xA9"), S_INIT("&AOk-&-&AOk-")},
    };
    static const struct slice bad[] = {
        S_INIT("&AGE-"),      /* "a" in base64 */
        S_INIT("&AOk-&AOk-"), /* two shifts where one does */
        S_INIT("&AOk"),       S_INIT("&"),        S_INIT("&2D0-"), S_INIT("&3gA-"),
        S_INIT("&AO--"),      S_INIT("\xC3\xA9"), S_INIT("&AOl-"), S_INIT("&A*k-"),
    };
    struct buf b;

    (void)state;
    buf_init(&b, 100);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        buf_reset(&b);
        assert_true(utf7_put(&b, rows[i].utf8));
        same(buf_slice(&b), rows[i].utf7);
        buf_reset(&b);
        assert_true(utf7_get(&b, rows[i].utf7));
        same(buf_slice(&b), rows[i].utf8);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        buf_reset(&b);
        buf_addc(&b, '+');
        if (utf7_get(&b, bad[i]) || b.n != 1) fail_msg("%.*s", SP(bad[i]));
    }
    buf_release(&b);
}

static void json_escapes_and_closes(void **state) {
    struct buf b;
    struct json j;

    (void)state;
    buf_init(&b, 1000);
    json_init(&j, &b);
    json_object(&j, NULL);
    json_int(&j, "v", -1);
    json_str(&j, "s", S("a\"\\\n\x01\xE9"));
    json_array(&j, "l");
    json_bool(&j, NULL, true);
    json_null(&j, NULL);
    json_end(&j);
    json_str_or_null(&j, "n", S(""));
    json_end(&j);
    json_line(&j);
    same(buf_slice(&b),
         S("{\"v\":-1,\"s\":\"a\\\"\\\\\\n\\u0001\xEF\xBF\xBD\",\"l\":[true,null],\"n\":null}\n"));
    buf_release(&b);
}

static void errors_carry_code_status_and_words(void **state) {
    struct err e = {0};

    (void)state;
    assert_int_equal(err_set(&e, ERR_SYNTAX, "bad %d", 7), ERR_SYNTAX);
    assert_string_equal(e.msg, "bad 7");
    assert_false(err_is_temporary(&e));
    assert_int_equal(err_note(&e, "reading %s", "x"), ERR_SYNTAX);
    assert_string_equal(e.msg, "reading x: bad 7");
    errno = ENOSPC;
    assert_int_equal(err_sys(&e, "writing"), ERR_FULL);
    assert_int_equal(e.sys, ENOSPC);
    assert_true(e.status.cls == 4 && e.status.subject == 3 && e.status.detail == 1);
    assert_true(err_is_temporary(&e));
    err_mail(&e, ERR_DENIED, STATUS(5, 7, 1), "no");
    assert_false(err_is_temporary(&e));
    assert_int_equal(err_set(NULL, ERR_LIMIT, "x"), ERR_LIMIT);
    assert_string_equal(err_code_name(ERR_NOT_FOUND), "not-found");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_are_compared_cut_and_searched),
        cmocka_unit_test(a_buffer_keeps_its_ceiling),
        cmocka_unit_test(an_arena_aligns_and_stops_at_its_bound),
        cmocka_unit_test(numbers_have_a_maximum),
        cmocka_unit_test(dates_go_there_and_back),
        cmocka_unit_test(base64_is_strict),
        cmocka_unit_test(utf8_has_no_surrogates_and_no_long_forms),
        cmocka_unit_test(mailbox_names_in_modified_utf7),
        cmocka_unit_test(json_escapes_and_closes),
        cmocka_unit_test(errors_carry_code_status_and_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
