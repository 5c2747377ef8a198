#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/attr.h"
#include "mime/address.h"

/* Each member as kind|name|local|domain, joined by spaces; then "!" for an error. */
static void lists_are_read(void **state) {
    static const struct {
        const char *in, *want;
    } rows[] = {
        {"a@b", "|a|b"},
        {"a@b, c@d", "|a|b |c|d"},
        {"John Doe <j@d.org>", "John Doe|j|d.org"},
        {"\"Doe, John\" <j@d.org>", "Doe, John|j|d.org"},
        {"John Q. Public <j@d>", "John Q. Public|j|d"},
        {"j@d (John)", "John|j|d"},
        {"j@d (John (the \\) one))", "John (the ) one)|j|d"},
        {"\"quoted local\"@d", "|quoted local|d"},
        {"\"a\".b@d", "|a.b|d"},
        {"Group: a@b, c@d;, e@f", "{Group |a|b |c|d } |e|f"},
        {"undisclosed-recipients:;", "{undisclosed-recipients }"},
        {"<@a,@b:c@d>", "|c|d"},
        {"x@[192.0.2.1]", "|x|[192.0.2.1]"},
        {"x@[IPv6:::1]", "|x|[IPv6:::1]"},
        {",, a@b ,,", "|a|b"},
        {"root", "|root|"},
        {"a . b @ c . d", "|a.b|c.d"},
        {"J\xC3\xBCrgen <j\xC3\xBC@d\xC3\xBC.de>", "J\xC3\xBCrgen|j\xC3\xBC|d\xC3\xBC.de"},
        {"=?utf-8?Q?J=C3=BC?= <a@b>", "=?utf-8?Q?J=C3=BC?=|a|b"},
        {"a@b <a@b>", "a@b|a|b"},
        {"[list] Tag <a@b>", "[list] Tag|a|b"},
        {"", ""},
        {"(only a comment)", ""},
        {"a@b, <c@d, e@f", "|a|b |e|f !"},
        {"\"open <a@b>, c@d", "|c|d !"},
        {"a@, b@c", "|b|c !"},
        {"a b@c d, e@f", "|e|f !"},
        {"a@b;c@d", "|a|b |c|d"},
        {"A: <x@y>", "{A |x|y }"},
        {"a@b.", "|a|b"},
        {"<>", "||"},
    };
    struct arena a;
    struct buf b;

    (void)state;
    arena_init(&a, 1 << 20);
    buf_init(&b, 1000);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct address_list list;
        struct err e = {0};
        enum err_code code = address_parse(&a, slice_str(rows[i].in), &list, &e);

        buf_reset(&b);
        for (size_t k = 0; k < list.n; k++) {
            const struct address *ad = &list.v[k];

            if (k) buf_addc(&b, ' ');
            if (ad->kind == ADDRESS_GROUP) buf_addf(&b, "{%.*s", SP(ad->name));
            else if (ad->kind == ADDRESS_GROUP_END) buf_addc(&b, '}');
            else buf_addf(&b, "%.*s|%.*s|%.*s", SP(ad->name), SP(ad->local), SP(ad->domain));
        }
        if (code != OK) buf_addf(&b, "%s!", list.n ? " " : "");
        if (!slice_eq(buf_slice(&b), slice_str(rows[i].want))) {
            print_error("%s: got %s\n", rows[i].in, buf_cstr(&b));
            fail();
        }
        assert_true(code == OK || e.msg[0]);
    }
    arena_release(&a);
    buf_release(&b);
}

static void what_is_written_reads_back(void **state) {
    static const struct {
        const char *in, *want;
    } rows[] = {
        {"j@d (John)", "John <j@d>"},     {"\"Doe, John\" <j@d>", "\"Doe, John\" <j@d>"},
        {"\"a b\"@d", "\"a b\"@d"},       {"\"ab\"@d", "ab@d"},
        {"\"a\\\\b\"@d", "\"a\\\\b\"@d"}, {"G: a@b, c@d;, e@f", "G: a@b, c@d;, e@f"},
    };
    struct arena a;
    struct buf b;

    (void)state;
    arena_init(&a, 1 << 20);
    buf_init(&b, 1000);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct address_list list;

        buf_reset(&b);
        assert_int_equal(address_parse(&a, slice_str(rows[i].in), &list, NULL), OK);
        address_list_put(&b, &list);
        assert_string_equal(buf_cstr(&b), rows[i].want);
    }
    arena_release(&a);
    buf_release(&b);
}

static void one_is_one(void **state) {
    struct arena a;
    struct address ad;

    (void)state;
    arena_init(&a, 1 << 20);
    assert_int_equal(address_parse_one(&a, S("A <a@b>"), &ad, NULL), OK);
    assert_int_equal(address_parse_one(&a, S("a@b, c@d"), &ad, NULL), ERR_SYNTAX);
    assert_int_equal(address_parse_one(&a, S(""), &ad, NULL), ERR_SYNTAX);
    assert_int_equal(address_parse_one(&a, S("g: a@b;"), &ad, NULL), ERR_SYNTAX);
    arena_release(&a);
}

static void bounds_hold(void **state) {
    struct arena a;
    struct buf b;
    struct address_list list;

    (void)state;
    arena_init(&a, 64 << 20);
    buf_init(&b, 4 << 20);
    for (int i = 0; i <= ADDRESS_LIST_MAX; i++) buf_add(&b, S("a@b,"));
    assert_int_equal(address_parse(&a, buf_slice(&b), &list, NULL), ERR_LIMIT);
    assert_int_equal(list.n, ADDRESS_LIST_MAX);
    buf_reset(&b);
    for (int i = 0; i < 100000; i++) buf_addc(&b, '(');
    assert_int_equal(address_parse(&a, buf_slice(&b), &list, NULL), ERR_SYNTAX);
    buf_reset(&b);
    for (int i = 0; i < 200000; i++) buf_addc(&b, i % 2 ? '"' : '<');
    assert_int_equal(address_parse(&a, buf_slice(&b), &list, NULL), ERR_SYNTAX);
    arena_release(&a);
    arena_init(&a, 100);
    assert_int_equal(address_parse(&a, S("a@b, c@d, e@f"), &list, NULL), ERR_MEMORY);
    arena_release(&a);
    buf_release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_are_read),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(one_is_one),
        cmocka_unit_test(bounds_hold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
