/* Commands and files of aliases: output and time are bounded, a file is whole or as it was. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "deliver/program.h"

static struct conf conf;

static struct err deliver(const char *target, unsigned timeout_ms) {
    static char big[200000];
    struct err e = {0};
    struct program p = {.target = slice_str(target),
                        .sender = S("zoe@b.test"),
                        .recipient = S("cmd@a.test"),
                        .timeout_ms = timeout_ms};

    memset(big, 'x', sizeof big);
    p.message = slice_of(big, sizeof big);
    if (program_deliver(&conf, &p, &e) == OK) assert_int_equal(e.code, OK);
    else assert_true(e.status.cls >= 4);
    return e;
}

static void exit_status_is_the_verdict(void **state) {
    static const struct {
        const char *command;
        struct mail_status status;
    } cases[] = {
        {"|cat > /dev/null", {0, 0, 0}},
        {"|true", {0, 0, 0}}, /* reads nothing of it */
        {"|exit 75", {4, 3, 0}},
        {"|exit 67", {5, 1, 1}},
        {"|exit 77", {5, 7, 0}},
        {"|exit 1", {5, 3, 0}},
        {"|kill -9 $$", {4, 3, 0}},
        {"|/no/such/thing", {4, 3, 5}},
        {"|yes | head -c 10000000", {0, 0, 0}}, /* output beyond the bound */
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct err e = deliver(cases[i].command, 0);

        assert_int_equal(e.status.cls, cases[i].status.cls);
        assert_int_equal(e.status.subject, cases[i].status.subject);
        assert_int_equal(e.status.detail, cases[i].status.detail);
    }
}

/* It and what it started are gone; a background process cannot keep the session either. */
static void time_is_bounded(void **state) {
    (void)state;
    assert_int_equal(deliver("|sleep 1000", 100).code, ERR_TIMEOUT);
    assert_int_equal(deliver("|sleep 1000 & sleep 1000", 100).code, ERR_TIMEOUT);
    assert_int_equal(deliver("|trap '' TERM; exec >&- 2>&- <&-; sleep 1000", 100).status.cls, 4);
}

static void only_regular_files(void **state) {
    char dir[] = "/tmp/postbag-program-XXXXXX", path[64], link_path[64];
    struct stat st;

    (void)state;
    assert_non_null(mkdtemp(dir));
    chmod(dir, 0777);
    snprintf(path, sizeof path, "%s/box", dir);
    snprintf(link_path, sizeof link_path, "%s/link", dir);
    assert_int_equal(deliver(path, 0).code, OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_true(st.st_size > 200000);
    assert_int_equal(symlink(path, link_path), 0);
    assert_int_equal(deliver(link_path, 0).status.cls, 5);
    assert_int_equal(deliver(dir, 0).status.cls, 5);
    assert_int_equal(deliver("/dev/null", 0).code, OK);
    assert_int_not_equal(deliver("/dev/full", 0).code, OK);
    assert_int_not_equal(deliver("/no/such/dir/box", 0).code, OK);
    unlink(path);
    unlink(link_path);
    rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exit_status_is_the_verdict),
        cmocka_unit_test(time_is_bounded),
        cmocka_unit_test(only_regular_files),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
