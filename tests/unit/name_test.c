#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/attr.h"
#include "dns/name.h"

static void names_are_checked(void **state) {
    static const struct {
        struct slice name;
        bool is_host, is_domain;
    } rows[] = {
        {S_INIT("example.org"), true, true},
        {S_INIT("example.org."), true, true},
        {S_INIT("a"), true, true},
        {S_INIT("xn--bcher-kva.example"), true, true},
        {S_INIT("_25._tcp.mx"), false, true},
        {S_INIT(""), false, false},
        {S_INIT("."), false, false},
        {S_INIT("a..b"), false, false},
        {S_INIT(".a"), false, false},
        {S_INIT("-a.b"), false, false},
        {S_INIT("a-.b"), false, false},
        {S_INIT("192.0.2.1"), false, false},
        {S_INIT("[192.0.2.1]"), false, false},
        {S_INIT("a b"), false, false},
        {S_INIT("a\0b"), false, false},
        {S_INIT("b\xC3\xBC.de"), false, false},
        {S_INIT("1and1.com"), true, true},
        {S_INIT("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b"), true, true},
        {S_INIT("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b"), false,
         false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (name_is_host(rows[i].name) != rows[i].is_host ||
            name_is_domain(rows[i].name) != rows[i].is_domain)
            fail_msg("%.*s", SP(rows[i].name));
    assert_true(name_eq(S("Example.ORG."), S("example.org")));
    assert_true(name_is_within(S("a.example.org"), S("Example.org.")));
    assert_false(name_is_within(S("badexample.org"), S("example.org")));
}

static void names_go_to_a_labels_and_back(void **state) {
    struct buf b;
    struct err e = {0};

    (void)state;
    buf_init(&b, 1000);
    assert_int_equal(name_to_ascii(&b,
                                   S("B\xC3\xBC"
                                     "cher.Example."),
                                   &e),
                     OK);
    assert_string_equal(buf_cstr(&b), "xn--bcher-kva.example");
    buf_reset(&b);
    assert_int_equal(name_to_ascii(&b, S("EXAMPLE.org"), &e), OK);
    assert_string_equal(buf_cstr(&b), "example.org");
    buf_reset(&b);
    assert_int_equal(name_to_ascii(&b, S("fa\xC3\x9F.de"), &e), OK); /* nontransitional */
    assert_string_equal(buf_cstr(&b), "xn--fa-hia.de");
    buf_reset(&b);
    assert_int_equal(name_to_ascii(&b, S("a\xFF.de"), &e), ERR_SYNTAX);
    assert_int_equal(name_to_ascii(&b,
                                   S("\xC3\xBC"
                                     " .de"),
                                   &e),
                     ERR_SYNTAX);
    assert_int_equal(name_to_ascii(&b, S("bad domain"), &e), ERR_SYNTAX);
    assert_int_equal(b.n, 0);
    assert_true(name_to_utf8(&b, S("xn--bcher-kva.example")));
    assert_string_equal(buf_cstr(&b), "b\xC3\xBC"
                                      "cher.example");
    buf_reset(&b);
    assert_true(name_to_utf8(&b, S("xn--\xFF")));
    buf_release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(names_go_to_a_labels_and_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
