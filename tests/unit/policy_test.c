/* What is decided from facts: MTA-STS records and policies, usable TLSA records, TLS of a hop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "policy/dane.h"
#include "policy/tls.h"

static void records(void **state) {
    static const struct {
        const char *txt, *id;
    } good[] = {{"v=STSv1; id=20160831085700Z;", "20160831085700Z"},
                {"v=STSv1;id=a", "a"},
                {"v=STSv1; foo=bar; id=7 ;", "7"}};
    static const char *const bad[] = {"",
                                      "v=STSv1",
                                      "v=STSv1;",
                                      "v=STSv2; id=1;",
                                      "id=1; v=STSv1;",
                                      "v=STSv1; id=;",
                                      "v=STSv1; id=a-b;",
                                      "v=STSv1; id=123456789012345678901234567890123;"};
    struct slice id;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        assert_true(sts_record_id(slice_str(good[i].txt), &id));
        assert_true(slice_eq(id, slice_str(good[i].id)));
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) assert_false(sts_record_id(slice_str(bad[i]), &id));
}

static enum err_code parse(const char *text, struct arena *a, struct sts_policy *p) {
    arena_reset(a);
    return sts_policy_parse(slice_str(text), a, p, NULL);
}

static void policies(void **state) {
    char many[4096] = "version: STSv1\nmode: enforce\nmax_age: 1\n";
    struct sts_policy p;
    struct arena a;

    (void)state;
    arena_init(&a, 1024 * 1024);
    assert_int_equal(
        parse("version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\n"
              "max_age: 604800\r\n",
              &a, &p),
        OK);
    assert_int_equal(p.mode, STS_ENFORCE);
    assert_int_equal(p.max_age, 604800);
    assert_true(sts_matches(&p, S("MAIL.example.com")));
    assert_true(sts_matches(&p, S("a.example.net.")));
    assert_false(sts_matches(&p, S("a.b.example.net")));
    assert_false(sts_matches(&p, S("example.net")));
    assert_false(sts_matches(&p, S(".example.net")));
    assert_false(sts_matches(&p, S("")));
    /* The first of a repeated field counts; unknown ones are skipped; no line end at the end. */
    assert_int_equal(
        parse("version: STSv1\nmode: testing\nmode: enforce\nx: y\nmx: a\nmax_age: 99999999", &a,
              &p),
        OK);
    assert_int_equal(p.mode, STS_TESTING);
    assert_int_equal(p.max_age, STS_AGE_MAX);
    assert_int_equal(parse("version: STSv1\nmode: none\nmax_age: 1\n", &a, &p), OK);
    assert_int_equal(parse("mode: none\nmax_age: 1\n", &a, &p), ERR_SYNTAX);
    assert_int_equal(parse("version: STSv1\nmode: strict\nmax_age: 1\n", &a, &p), ERR_SYNTAX);
    assert_int_equal(parse("version: STSv1\nmode: enforce\nmax_age: 1\n", &a, &p), ERR_SYNTAX);
    assert_int_equal(parse("version: STSv1\nmode: enforce\nmx: a\nmax_age: -1\n", &a, &p),
                     ERR_SYNTAX);
    assert_int_equal(parse("version: STSv1\nmode: enforce\nmx: a b\nmax_age: 1\n", &a, &p),
                     ERR_SYNTAX);
    assert_int_equal(parse("<html>", &a, &p), ERR_SYNTAX);
    for (int i = 0; i <= STS_MX_MAX; i++) {
        if (i == STS_MX_MAX) assert_int_equal(parse(many, &a, &p), OK);
        strncat(many, "mx: a\n", sizeof many - strlen(many) - 1);
    }
    assert_int_equal(parse(many, &a, &p), ERR_LIMIT);
    arena_release(&a);
}

static void tlsa(void **state) {
    static const char data[64] = "x";
    static const struct {
        uint8_t usage, selector, matching;
        size_t n;
        bool usable;
    } rows[] = {{3, 1, 1, 32, true},  {3, 0, 2, 64, true},  {2, 0, 1, 32, true},
                {2, 0, 0, 10, true},  {3, 1, 1, 31, false}, {3, 1, 2, 32, false},
                {3, 2, 1, 32, false}, {3, 1, 3, 32, false}, {0, 0, 1, 32, false},
                {1, 1, 1, 32, false}, {4, 1, 1, 32, false}, {3, 1, 0, 0, false}};
    struct dns_record all[COUNT_OF(rows)] = {0};
    size_t usable = 0;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        all[i].usage = rows[i].usage;
        all[i].selector = rows[i].selector;
        all[i].matching = rows[i].matching;
        all[i].data = slice_of(data, rows[i].n);
        usable += rows[i].usable;
        assert_int_equal(dane_is_usable(&all[i]), rows[i].usable);
    }
    assert_int_equal(dane_count(all, COUNT_OF(all)), usable);
}

static void decisions(void **state) {
    static const struct {
        struct tls_facts f;
        enum hop_tls tls;
        bool skip;
    } rows[] = {
        {{0}, HOP_TLS_MAY, false},
        {{.dane = DANE_USABLE}, HOP_TLS_DANE, false},
        {{.dane = DANE_USABLE, .sts = STS_ENFORCE}, HOP_TLS_DANE, false},
        {{.dane = DANE_FAILED}, HOP_TLS_DANE, true},
        {{.dane = DANE_UNUSABLE}, HOP_TLS_REQUIRE, false},
        {{.dane = DANE_UNUSABLE, .sts = STS_ENFORCE, .sts_matches = true}, HOP_TLS_VERIFY, false},
        {{.sts = STS_ENFORCE}, HOP_TLS_VERIFY, true},
        {{.sts = STS_ENFORCE, .sts_matches = true}, HOP_TLS_VERIFY, false},
        {{.sts = STS_TESTING}, HOP_TLS_MAY, false},
        {{.rule = RULE_NONE, .dane = DANE_USABLE}, HOP_TLS_NONE, false},
        {{.rule = RULE_VERIFY, .dane = DANE_FAILED}, HOP_TLS_VERIFY, false},
        {{.is_relay = true}, HOP_TLS_MAY, false},
        {{.is_relay = true, .has_password = true}, HOP_TLS_VERIFY, false},
        {{.is_relay = true, .is_submission = true}, HOP_TLS_VERIFY, false},
        {{.is_relay = true, .has_password = true, .is_loopback = true}, HOP_TLS_REQUIRE, false},
        {{.is_relay = true, .has_password = true, .is_loopback = true, .may_clear_login = true},
         HOP_TLS_MAY,
         false},
        {{.is_requiretls = true}, HOP_TLS_VERIFY, false},
        {{.is_requiretls = true, .rule = RULE_NONE}, HOP_TLS_VERIFY, false},
        {{.is_requiretls = true, .dane = DANE_USABLE}, HOP_TLS_DANE, false},
        {{.is_optional = true, .dane = DANE_USABLE}, HOP_TLS_MAY, false},
        {{.is_optional = true, .sts = STS_ENFORCE}, HOP_TLS_MAY, false},
        {{.is_optional = true, .rule = RULE_REQUIRE}, HOP_TLS_REQUIRE, false},
        {{.is_optional = true, .is_relay = true, .has_password = true}, HOP_TLS_VERIFY, false},
        {{.is_optional = true, .is_requiretls = true}, HOP_TLS_VERIFY, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct tls_decision d = tls_decide(&rows[i].f);

        assert_int_equal(d.tls, rows[i].tls);
        assert_int_equal(d.skip != NULL, rows[i].skip);
        assert_non_null(d.why);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records),
        cmocka_unit_test(policies),
        cmocka_unit_test(tlsa),
        cmocka_unit_test(decisions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
