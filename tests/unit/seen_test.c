/* deliver/seen: the file of fetched messages, also when it is torn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "deliver/seen.h"
#include "sys/file.h"

static char dir[] = "/tmp/postbag-seen.XXXXXX", path[64];

static int make_dir(void **state) {
    (void)state;
    if (!mkdtemp(dir)) return -1;
    snprintf(path, sizeof path, "%s/a/b", dir);
    return 0;
}

static int drop_dir(void **state) {
    (void)state;
    return file_remove_tree(dir, NULL) == OK ? 0 : -1;
}

static struct seen *open_it(void) {
    struct seen *s = NULL;
    struct err e = {0};

    if (seen_open(path, &s, &e) != OK) fail_msg("%s", e.msg);
    return s;
}

static void noted_messages_are_found_after_a_crash(void **state) {
    struct seen *s = open_it(), *other;
    struct err e = {0};
    struct buf b;
    FILE *f;

    (void)state;
    assert_false(seen_was_cut(s));
    assert_int_equal(seen_find(s, S("one"), 100), 0);
    assert_int_equal(seen_open(path, &other, &e), ERR_BUSY);
    assert_int_equal(seen_add(s, S("one"), 100, &e), OK);
    assert_int_equal(seen_add(s, S("two"), 101, &e), OK);
    assert_int_equal(seen_flush(s, &e), OK);
    assert_int_equal(seen_add(s, S("never-flushed"), 102, &e), OK);
    assert_int_equal(seen_add(s, S("with blank"), 102, &e), ERR_SYNTAX);
    assert_int_equal(seen_add(s, S(""), 102, &e), ERR_SYNTAX);
    seen_close(s);
    f = fopen(path, "a"); /* a torn line: no newline */
    assert_non_null(f);
    fputs("three 10", f);
    fclose(f);
    s = open_it();
    assert_true(seen_was_cut(s));
    assert_int_equal(seen_find(s, S("one"), 200), 100);
    assert_int_equal(seen_find(s, S("two"), 200), 101);
    assert_int_equal(seen_find(s, S("three"), 200), 0);
    assert_int_equal(seen_find(s, S("never-flushed"), 200), 0);
    assert_int_equal(seen_add(s, S("three"), 200, &e), OK);
    assert_int_equal(seen_flush(s, &e), OK);
    seen_drop(s, S("two"));
    assert_int_equal(seen_finish(s, 200, &e), OK);
    seen_close(s);
    buf_init(&b, 4096);
    assert_int_equal(file_read(path, &b, &e), OK);
    assert_string_equal(buf_cstr(&b), "postbag-seen 1 done\none 100 200\nthree 200 200\n");
    buf_release(&b);
}

static void what_the_server_no_longer_shows_is_forgotten(void **state) {
    struct seen *s = open_it();
    struct err e = {0};
    wall_t later = 200 + SEEN_FORGET_S + 1;

    (void)state;
    assert_false(seen_was_cut(s));
    assert_int_equal(seen_find(s, S("three"), later), 200);
    assert_int_equal(seen_finish(s, later, &e), OK);
    seen_close(s);
    s = open_it();
    assert_int_equal(seen_find(s, S("one"), later), 0);
    assert_int_equal(seen_find(s, S("three"), later), 200);
    seen_close(s);
}

static void many_are_found(void **state) {
    struct seen *s = open_it();
    struct err e = {0};
    char uid[32];

    (void)state;
    for (int i = 0; i < 20000; i++) {
        snprintf(uid, sizeof uid, "uid-%d", i);
        assert_int_equal(seen_add(s, slice_str(uid), 300 + i, &e), OK);
    }
    assert_int_equal(seen_flush(s, &e), OK);
    seen_close(s);
    s = open_it();
    for (int i = 0; i < 20000; i++) {
        snprintf(uid, sizeof uid, "uid-%d", i);
        assert_int_equal(seen_find(s, slice_str(uid), 400), 300 + i);
    }
    seen_close(s);
}

static void another_file_is_left_alone(void **state) {
    struct err e = {0};
    struct seen *s;

    (void)state;
    assert_int_equal(file_replace(path, S("root:x:0:0:root:/root:/bin/sh\n"), 0600, &e), OK);
    assert_int_equal(seen_open(path, &s, &e), ERR_SYNTAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noted_messages_are_found_after_a_crash),
        cmocka_unit_test(what_the_server_no_longer_shows_is_forgotten),
        cmocka_unit_test(many_are_found),
        cmocka_unit_test(another_file_is_left_alone),
    };

    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
