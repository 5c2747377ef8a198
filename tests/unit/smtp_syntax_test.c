/* Paths, domains, literals, xtext, parameters, replies, capabilities, SASL: tables of cases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "sasl/client.h"
#include "sasl/server.h"
#include "smtp/ext.h"
#include "smtp/param.h"
#include "smtp/reply.h"

static void paths(void **state) {
    (void)state;
    static const struct {
        const char *in, *address, *rest; // address NULL: refused
        unsigned flags;
    } cases[] = {
        {"<a@b.example> X", "a@b.example", " X", 0},
        {"<>", "", "", SMTP_PATH_NULL},
        {"<>", NULL, NULL, 0},
        {"<@x.y,@z:a@b>", "a@b", "", 0},
        {"<@x.y:>", NULL, NULL, SMTP_PATH_NULL},
        {"<\"a>b\\\"\"@b>", "\"a>b\\\"\"@b", "", 0},
        {"<a..b@c>", NULL, NULL, 0},
        {"<.a@c>", NULL, NULL, 0},
        {"<a@-c>", NULL, NULL, 0},
        {"<a@c.>", NULL, NULL, 0},
        {"<a@b", NULL, NULL, 0},
        {"<a b@c>", NULL, NULL, 0},
        {"<postMASTER>", "postMASTER", "", SMTP_PATH_POSTMASTER},
        {"<user>", NULL, NULL, SMTP_PATH_POSTMASTER},
        {"<user>", "user", "", SMTP_PATH_LOCAL},
        {" <a@b>", NULL, NULL, 0},
        {" <a@b>", "a@b", "", SMTP_PATH_LENIENT},
        {"a@b SIZE=1", "a@b", " SIZE=1", SMTP_PATH_LENIENT},
        {"<a@[127.0.0.1]>", "a@[127.0.0.1]", "", 0},
        {"<a@[256.0.0.1]>", NULL, NULL, 0},
        {"<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]", "", 0},
        {"<a@[2001:db8::1]>", NULL, NULL, 0},
        {"<a@[2001:db8::1]>", "a@[2001:db8::1]", "", SMTP_PATH_LENIENT},
        {"<a@[IPv6:1::2::3]>", NULL, NULL, 0},
        {"<a@[IPv6:::ffff:1.2.3.4]>", "a@[IPv6:::ffff:1.2.3.4]", "", 0},
        {"<\xc3\xa4@b>", NULL, NULL, 0},
        {"<\xc3\xa4@b>", "\xc3\xa4@b", "", SMTP_PATH_UTF8},
        {"<\xc3@b>", NULL, NULL, SMTP_PATH_UTF8},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct smtp_path p;
        struct slice in = slice_str(cases[i].in);
        enum err_code rc = smtp_path_parse(&in, cases[i].flags, &p, NULL);
        if ((rc == OK) != (cases[i].address != NULL)) fail_msg("%s", cases[i].in);
        if (rc) continue;
        if (!slice_eq(p.address, slice_str(cases[i].address))) fail_msg("%s", cases[i].in);
        if (!slice_eq(in, slice_str(cases[i].rest))) fail_msg("rest of %s", cases[i].in);
    }
}

static void xtext_goes_both_ways(void **state) {
    (void)state;
    struct buf a, b;
    buf_init(&a, 100);
    buf_init(&b, 100);
    assert_true(smtp_xtext_put(&a, S("a+b= \xff")));
    assert_true(slice_eq(buf_slice(&a), S("a+2Bb+3D+20+FF")));
    assert_true(smtp_xtext_get(&b, buf_slice(&a)));
    assert_true(slice_eq(buf_slice(&b), S("a+b= \xff")));
    assert_false(smtp_xtext_get(&b, S("+2b")));
    assert_false(smtp_xtext_get(&b, S("+2")));
    assert_false(smtp_xtext_get(&b, S("a b")));
    buf_release(&a);
    buf_release(&b);
}

static void replies_stay_within_512(void **state) {
    (void)state;
    char text[2000];
    struct buf out;
    struct slice rest, line;
    memset(text, 'x', sizeof text);
    buf_init(&out, 8192);
    assert_true(smtp_reply_put(&out, 550, STATUS(5, 7, 1), slice_of(text, sizeof text)));
    rest = buf_slice(&out);
    while (slice_line(&rest, &line)) {
        assert_true(line.n + 2 <= SMTP_REPLY_OUT_MAX);
        assert_true(slice_starts(line, rest.n ? S("550-5.7.1 ") : S("550 5.7.1 ")));
    }
    buf_reset(&out);
    assert_true(smtp_reply_put(&out, 250, STATUS(0, 0, 0), S("a\rb\n\xe4")));
    assert_true(slice_eq(buf_slice(&out), S("250-a?b\r\n250 ?\r\n")));
    buf_release(&out);
}

static void capabilities(void **state) {
    (void)state;
    struct smtp_caps c;
    smtp_caps_parse(S("mx PIPELINING\nsize 100\nAUTH PLAIN\nAUTH=LOGIN\nSIZE x\nNEW thing\n"
                      "LIMITS RCPTMAX=10 MAILMAX=x"),
                    &c);
    assert_int_equal(c.exts, SMTP_EXT_SIZE | SMTP_EXT_AUTH | SMTP_EXT_LIMITS);
    assert_int_equal(c.size_max, 100);
    assert_int_equal(c.auth, SASL_PLAIN | SASL_LOGIN);
    assert_int_equal(c.rcpt_max, 10);
}

static void classes(void **state) {
    (void)state;
    assert_int_equal(smtp_reply_class(SMTP_STAGE_RCPT, 552), SMTP_CLASS_TEMPORARY);
    assert_int_equal(smtp_reply_class(SMTP_STAGE_END, 552), SMTP_CLASS_PERMANENT);
    assert_int_equal(smtp_reply_class(SMTP_STAGE_END, 354), SMTP_CLASS_TEMPORARY);
    assert_int_equal(smtp_reply_class(SMTP_STAGE_DATA, 354), SMTP_CLASS_OK);
    assert_int_equal(smtp_reply_class(SMTP_STAGE_MAIL, 421), SMTP_CLASS_TEMPORARY);
    assert_int_equal(smtp_reply_class(SMTP_STAGE_MAIL, 599), SMTP_CLASS_PERMANENT);
}

static void sasl_sides_understand_each_other(void **state) {
    (void)state;
    static const unsigned mechanisms[] = {SASL_PLAIN, SASL_LOGIN};
    for (size_t i = 0; i < COUNT_OF(mechanisms); i++) {
        struct sasl_client c;
        struct sasl_server s;
        assert_true(
            sasl_client_start(&c, mechanisms[i], mechanisms[i], S("user"), S("pass word"), NULL));
        enum sasl_step step = sasl_server_start(&s, slice_str(sasl_client_name(&c)), c.has_initial,
                                                buf_slice(&c.out), NULL);
        for (int n = 0; step == SASL_CHALLENGE && n < 5; n++) {
            assert_true(sasl_client_step(&c, buf_slice(&s.out)));
            step = sasl_server_step(&s, buf_slice(&c.out));
        }
        assert_int_equal(step, SASL_CLAIMED);
        assert_true(slice_eq(buf_slice(&s.authcid), S("user")));
        assert_true(slice_eq(buf_slice(&s.password), S("pass word")));
        sasl_client_release(&c);
        sasl_server_release(&s);
    }
}

static void local_parts_quote_and_unquote(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    assert_true(smtp_local_quote(&b, S("a b\"c")));
    assert_true(slice_eq(buf_slice(&b), S("\"a b\\\"c\"")));
    struct slice q = S("\"a b\\\"c\"");
    buf_reset(&b);
    assert_true(smtp_local_unquote(&b, q));
    assert_true(slice_eq(buf_slice(&b), S("a b\"c")));
    buf_reset(&b);
    assert_false(smtp_local_quote(&b, S("a\nb")));
    buf_release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths),
        cmocka_unit_test(xtext_goes_both_ways),
        cmocka_unit_test(replies_stay_within_512),
        cmocka_unit_test(capabilities),
        cmocka_unit_test(classes),
        cmocka_unit_test(sasl_sides_understand_each_other),
        cmocka_unit_test(local_parts_quote_and_unquote),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
