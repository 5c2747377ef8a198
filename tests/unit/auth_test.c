/* accounts, passwords, aliases, recipients. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "auth/accounts.h"
#include "auth/password.h"
#include "deliver/rcpt.h"
#include "sys/file.h"

struct bed {
    char dir[64];
    struct conf conf;
    struct directory d;
};

static void put(const char *dir, const char *name, const char *text) {
    char path[128];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(file_replace(path, slice_str(text), 0600, NULL), OK);
}

static void bed_init(struct bed *b, const char *accounts, const char *aliases) {
    struct err e = {0};

    snprintf(b->dir, sizeof b->dir, "/tmp/postbag-auth-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    conf_init(&b->conf);
    assert_int_equal(conf_set(&b->conf, "data", b->dir, "test", &e), OK);
    assert_int_equal(conf_set(&b->conf, "domain", "a.test b.test", "test", &e), OK);
    assert_int_equal(conf_finish(&b->conf, &e), OK);
    put(b->dir, "accounts", accounts);
    put(b->dir, "aliases", aliases);
    assert_int_equal(directory_open(&b->conf, &b->d, &e), OK);
}

static void bed_release(struct bed *b) {
    directory_close(&b->d);
    conf_release(&b->conf);
    file_remove_tree(b->dir, NULL);
}

static void passwords(void **state) {
    struct buf b;
    struct err e = {0};

    (void)state;
    assert_int_equal(password_check(S("{PLAIN}pw"), S("pw"), &e), OK);
    assert_int_equal(password_check(S("{plain}pw"), S("pw2"), &e), ERR_DENIED);
    assert_int_equal(password_check(S("{PLAIN}"), S(""), &e), ERR_DENIED);
    assert_int_equal(password_check(S("{MD5}x"), S("x"), &e), ERR_UNSUPPORTED);
    assert_int_equal(password_check(S(""), S(""), &e), ERR_UNSUPPORTED);
    assert_int_equal(password_check(S("$7$DU..../....x"), S("x"), &e), ERR_UNSUPPORTED);
    buf_init(&b, 1024);
    assert_int_equal(password_make(S("secret"), &b, &e), OK);
    assert_int_equal(password_check(buf_slice(&b), S("secret"), &e), OK);
    assert_int_equal(password_check(buf_slice(&b), S("Secret"), &e), ERR_DENIED);
    buf_release(&b);
}

/* The last field of a line is the password, with and without the fields of Dovecot behind it. */
static void accounts_lines(void **state) {
    struct bed b;
    struct account a;
    struct err e = {0};

    (void)state;
    bed_init(&b, "# users\njo:{PLAIN}pw\nann@b.test:{PLAIN}x::::/srv/ann::\n\n", "");
    assert_int_equal(accounts_login(b.d.accounts, S("jo"), S("pw"), &a, &e), OK);
    assert_string_equal(a.name, "jo@a.test");
    assert_int_equal(accounts_login(b.d.accounts, S("JO@A.Test"), S("pw"), &a, &e), OK);
    assert_int_equal(accounts_login(b.d.accounts, S("jo"), S("px"), &a, &e), ERR_DENIED);
    assert_int_equal(accounts_login(b.d.accounts, S("nobody"), S("pw"), &a, &e), ERR_DENIED);
    assert_int_equal(accounts_find(b.d.accounts, S("ann@b.test"), &a, &e), OK);
    assert_string_equal(a.home, "/srv/ann");
    assert_int_equal(accounts_find(b.d.accounts, S("../jo"), &a, &e), ERR_NOT_FOUND);
    bed_release(&b);
}

static void accounts_are_changed(void **state) {
    struct bed b;
    struct account a;
    struct err e = {0};

    (void)state;
    bed_init(&b, "jo:{PLAIN}pw\nann:{PLAIN}x::::/srv/ann::\n", "");
    assert_int_equal(accounts_put(b.d.accounts, S("ann"), "{PLAIN}new", NULL, &e), OK);
    assert_int_equal(accounts_find(b.d.accounts, S("ann"), &a, &e), OK);
    assert_string_equal(a.home, "/srv/ann");
    assert_string_equal(a.password, "{PLAIN}new");
    assert_int_equal(accounts_remove(b.d.accounts, S("jo"), &e), OK);
    assert_int_equal(accounts_find(b.d.accounts, S("jo"), &a, &e), ERR_NOT_FOUND);
    assert_int_equal(accounts_remove(b.d.accounts, S("jo"), &e), ERR_NOT_FOUND);
    assert_int_equal(accounts_put(b.d.accounts, S("a/b"), "{PLAIN}x", NULL, &e), ERR_SYNTAX);
    bed_release(&b);
}

static void recipients(void **state) {
    static const struct {
        const char *address;
        enum rcpt_kind kind;
    } cases[] = {
        {"jo@a.test", RCPT_ACCOUNT},        {"Jo@A.TEST", RCPT_ACCOUNT},
        {"jo+list@a.test", RCPT_ACCOUNT},   {"jo", RCPT_ACCOUNT},
        {"\"jo\"@a.test", RCPT_ACCOUNT},    {"team@a.test", RCPT_ALIAS},
        {"jo@b.test", RCPT_NOBODY},         {"x@c.test", RCPT_REMOTE},
        {"nobody@a.test", RCPT_NOBODY},     {"postmaster@a.test", RCPT_ACCOUNT},
        {"postmaster@b.test", RCPT_NOBODY}, {"jo@sub.a.test", RCPT_REMOTE},
        {"../../etc@a.test", RCPT_NOBODY},  {"jo/x@a.test", RCPT_NOBODY},
    };
    struct bed b;
    struct err e = {0};

    (void)state;
    bed_init(&b, "jo:{PLAIN}pw\nann:{PLAIN}x\n", "team: jo, ann, ext@c.test\n");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum rcpt_kind kind;

        assert_int_equal(directory_find(&b.d, slice_str(cases[i].address), &kind, NULL, &e), OK);
        if (kind != cases[i].kind) fail_msg("%s: %d", cases[i].address, kind);
    }
    bed_release(&b);
}

static void expansion(void **state) {
    struct bed b;
    struct arena a;
    struct rcpt_end *ends;
    struct err e = {0};
    size_t n;

    (void)state;
    bed_init(&b, "jo:{PLAIN}pw\nann:{PLAIN}x\n",
             "team: jo, ann,\n  ext@c.test, jo\nloop1: loop2\nloop2: loop1\njo: \\jo, "
             "copy@c.test\nbad: gone\n");
    arena_init(&a, 1024 * 1024);
    assert_int_equal(directory_expand(&b.d, S("team@a.test"), &a, &ends, &n, &e), OK);
    assert_int_equal(n, 4); /* jo, copy, ann, ext */
    assert_int_equal(directory_expand(&b.d, S("loop1"), &a, &ends, &n, &e), ERR_NOT_FOUND);
    assert_int_equal(directory_expand(&b.d, S("bad"), &a, &ends, &n, &e), ERR_NOT_FOUND);
    assert_int_equal(directory_expand(&b.d, S("who@z.test"), &a, &ends, &n, &e), OK);
    assert_false(ends[0].is_local);
    arena_release(&a);
    bed_release(&b);
}

static void aliases_complain(void **state) {
    static const char *const bad[] = {"x: |cmd\n", "x: /file\n", "no colon\n", "x:\n",
                                      "x: :include:relative\n"};
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct bed b;
        size_t n;

        bed_init(&b, "", bad[i]);
        e = (struct err){0};
        assert_int_equal(aliases_check(b.d.aliases, &n, &e), ERR_CONFIG);
        assert_non_null(strstr(e.msg, "aliases:1"));
        bed_release(&b);
    }
}

/* A line that is wrong stops the mail for its own name and for no other. */
static void a_bad_alias_stops_no_other(void **state) {
    struct bed b;
    struct arena a;
    struct slice *values;
    struct err e = {0};
    size_t n;

    (void)state;
    bed_init(&b, "jo:{PLAIN}pw\n", "bad: |cmd\nno colon here\ngood: jo\n");
    arena_init(&a, 65536);
    assert_int_equal(aliases_find(b.d.aliases, S("good"), &a, &values, &n, &e), OK);
    assert_int_equal(n, 1);
    assert_int_equal(aliases_find(b.d.aliases, S("jo"), &a, &values, &n, &e), OK);
    assert_int_equal(n, 0);
    assert_int_equal(aliases_find(b.d.aliases, S("bad"), &a, &values, &n, &e), ERR_CONFIG);
    assert_int_equal(e.status.cls, 4);
    assert_int_equal(aliases_check(b.d.aliases, &n, &e), ERR_CONFIG);
    arena_release(&a);
    bed_release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passwords),
        cmocka_unit_test(accounts_lines),
        cmocka_unit_test(accounts_are_changed),
        cmocka_unit_test(recipients),
        cmocka_unit_test(expansion),
        cmocka_unit_test(aliases_complain),
        cmocka_unit_test(a_bad_alias_stops_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
