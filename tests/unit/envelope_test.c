/* The envelope as text and back; a message that may not go before a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "queue/queue.h"
#include "sys/file.h"

static struct envelope_rcpt rcpts[] = {{.address = S_INIT("a@x.test")},
                                       {.address = S_INIT("b@x.test"), .notify = NOTIFY_DELAY}};

/* Format and parse again; the copy is checked by the caller. */
static struct envelope again(const struct envelope *env, struct arena *a) {
    struct envelope out;
    struct buf text;

    buf_init(&text, ENVELOPE_BYTES_MAX);
    assert_int_equal(envelope_format(env, &text, NULL), OK);
    assert_int_equal(envelope_parse(buf_slice(&text), a, &out, NULL), OK);
    buf_release(&text);
    return out;
}

static void every_wish_survives(void **state) {
    struct envelope env = {.sender = S("from@z.test"),
                           .arrived = 1700000000,
                           .rcpts = rcpts,
                           .rcpt_count = 2,
                           .is_8bit = true,
                           .is_requiretls = true,
                           .is_tls_optional = true,
                           .priority = -9,
                           .release_at = 1700000100,
                           .by_mode = BY_RETURN,
                           .by_trace = true,
                           .deliver_by = 1700000200},
                    got;
    struct arena a;

    (void)state;
    arena_init(&a, 65536);
    got = again(&env, &a);
    assert_true(got.is_requiretls && got.is_tls_optional && got.by_trace && got.is_8bit);
    assert_false(got.is_binary || got.is_smtputf8);
    assert_int_equal(got.priority, -9);
    assert_int_equal(got.release_at, 1700000100);
    assert_int_equal(got.by_mode, BY_RETURN);
    assert_int_equal(got.deliver_by, 1700000200);
    assert_int_equal(got.rcpt_count, 2);
    assert_int_equal(got.rcpts[1].notify, NOTIFY_DELAY);
    env.priority = 9;
    env.by_mode = BY_NOTIFY;
    env.by_trace = env.is_requiretls = false;
    got = again(&env, &a);
    assert_int_equal(got.priority, 9);
    assert_int_equal(got.by_mode, BY_NOTIFY);
    assert_false(got.by_trace || got.is_requiretls);
    arena_release(&a);
}

static void no_wish_is_no_line(void **state) {
    struct envelope env = {.sender = S("from@z.test"),
                           .arrived = 5,
                           .rcpts = rcpts,
                           .rcpt_count = 1},
                    got;
    struct arena a;
    struct buf text;

    (void)state;
    arena_init(&a, 65536);
    buf_init(&text, 4096);
    envelope_format(&env, &text, NULL);
    assert_true(slice_eq(buf_slice(&text), S("from from@z.test\nat 5\nrcpt a@x.test\n")));
    got = again(&env, &a);
    assert_int_equal(got.by_mode, BY_NONE);
    assert_int_equal(got.release_at, 0);
    assert_int_equal(got.priority, 0);
    buf_release(&text);
    arena_release(&a);
}

static void bad_wishes_are_none(void **state) {
    struct envelope got;
    struct arena a;

    (void)state;
    arena_init(&a, 65536);
    assert_int_equal(envelope_parse(S("from\npriority 10\nrelease x\nby return\nby notify y\n"
                                      "future 7\nrcpt a@x.test\n"),
                                    &a, &got, NULL),
                     OK);
    assert_int_equal(got.priority, 0);
    assert_int_equal(got.release_at, 0);
    assert_int_equal(got.by_mode, BY_NONE);
    arena_release(&a);
}

/* An envelope in a file of a stranger may be all lines: what it takes of the arena has a bound. */
static void lines_have_a_bound(void **state) {
    struct envelope got;
    struct arena a;
    struct buf text;

    (void)state;
    for (unsigned over = 0; over < 2; over++) {
        buf_init(&text, ENVELOPE_BYTES_MAX);
        arena_init(&a, 65536);
        buf_add(&text, S("from\nrcpt a@x.test\n"));
        for (unsigned i = 2; i < ENVELOPE_LINES_MAX + 3 + over; i++) buf_add(&text, S("proto x\n"));
        assert_int_equal(envelope_parse(buf_slice(&text), &a, &got, NULL), over ? ERR_LIMIT : OK);
        buf_release(&text);
        arena_release(&a);
    }
}

/* RFC 4865: what is to be released later is not due before, also after a restart. */
static void released_at_its_time(void **state) {
    struct envelope env = {.sender = S("from@z.test"),
                           .arrived = 100,
                           .rcpts = rcpts,
                           .rcpt_count = 1,
                           .release_at = 5000};
    char dir[] = "/tmp/postbag-envelope-XXXXXX", id[QUEUE_ID_MAX] = "";
    struct queue *q;

    (void)state;
    assert_non_null(mkdtemp(dir));
    for (int round = 0; round < 2; round++) {
        unsigned held;
        struct queue_msg *m;

        assert_int_equal(queue_open(dir, NULL, &q, NULL), OK);
        assert_int_equal(queue_lease(q, &held, NULL), OK);
        if (round == 0)
            assert_int_equal(queue_put(q, &env, S("Subject: later\r\n\r\n"), NULL, id, NULL), OK);
        assert_null(queue_next(q, QUEUE_LOCAL, 4999));
        assert_int_equal(queue_due(q, QUEUE_LOCAL), 5000);
        if (round == 1) {
            m = queue_next(q, QUEUE_LOCAL, 5000);
            assert_non_null(m);
            assert_string_equal(queue_msg_id(m), id);
            queue_done(q, m, QUEUE_LOCAL, 5000);
        }
        queue_close(q);
    }
    assert_int_equal(file_remove_tree(dir, NULL), OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_wish_survives),  cmocka_unit_test(no_wish_is_no_line),
        cmocka_unit_test(bad_wishes_are_none),  cmocka_unit_test(lines_have_a_bound),
        cmocka_unit_test(released_at_its_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
