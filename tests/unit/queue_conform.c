#include "queue_conform.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "sys/clock.h"

static struct envelope_rcpt two[] = {
    {.address = S_INIT("a@x.test"), .notify = NOTIFY_FAILURE},
    {.address = S_INIT("\"b c\"@y.test"), .orcpt = S_INIT("rfc822;b@y.test")}};

static struct envelope envelope(void) {
    return (struct envelope){.sender = S("from@z.test"),
                             .arrived = 1000,
                             .envid = S("E1"),
                             .ret = RET_HDRS,
                             .is_8bit = true,
                             .rcpts = two,
                             .rcpt_count = 2};
}

static void put(struct queue *q, const char *text, char id[QUEUE_ID_MAX]) {
    struct envelope env = envelope();
    struct spool body;
    struct err e = {0};

    spool_init(&body, "/tmp");
    assert_int_equal(spool_add(&body, slice_str(text), &e), OK);
    id[0] = 0;
    assert_int_equal(queue_put(q, &env, S("Head: 1\r\n\r\n"), &body, id, &e), OK);
    spool_release(&body);
}

static void settle(struct queue *q, struct queue_msg *m, size_t rcpt, enum queue_state s) {
    struct queue_outcome o = {.state = s, .detail = S("{\"text\":\"x\"}")};

    assert_int_equal(queue_note(q, m, rcpt, &o, NULL), OK);
}

static struct queue_msg *take(struct queue *q) {
    return queue_next(q, QUEUE_LOCAL, clock_wall() + 1);
}

void conform_put_and_take(struct queue_bed *b) {
    struct queue *q = b->open(b);
    struct queue_msg *m;
    struct envelope env;
    struct arena a;
    struct buf text;
    char id[QUEUE_ID_MAX], read_text[64] = "";
    uint64_t at, size;
    int fd;

    assert_int_equal(queue_lease(q, NULL, NULL), OK);
    assert_null(take(q));
    put(q, "body\r\n", id);
    m = take(q);
    assert_non_null(m);
    assert_string_equal(queue_msg_id(m), id);
    assert_null(take(q));
    arena_init(&a, 1024 * 1024);
    assert_int_equal(queue_msg_envelope(q, m, &a, &env, NULL), OK);
    assert_int_equal(env.rcpt_count, 2);
    assert_true(slice_eq(env.sender, S("from@z.test")));
    assert_true(slice_eq(env.rcpts[1].address, S("\"b c\"@y.test")));
    assert_true(slice_eq(env.rcpts[1].orcpt, S("rfc822;b@y.test")));
    assert_int_equal(env.rcpts[0].notify, NOTIFY_FAILURE);
    assert_int_equal(env.ret, RET_HDRS);
    assert_true(env.is_8bit && !env.is_smtputf8);
    queue_msg_body(m, &fd, &at, &size);
    assert_int_equal(size, strlen("Head: 1\r\n\r\nbody\r\n"));
    assert_int_equal(pread(fd, read_text, size, (off_t)at), (ssize_t)size);
    assert_string_equal(read_text, "Head: 1\r\n\r\nbody\r\n");
    buf_init(&text, 1024);
    assert_int_equal(queue_read(q, id, &text, NULL), OK);
    assert_true(slice_eq(buf_slice(&text), S("Head: 1\r\n\r\nbody\r\n")));
    assert_int_equal(queue_read(q, "NOSUCH", &text, NULL), ERR_NOT_FOUND);
    settle(q, m, 0, QUEUE_DELIVERED);
    settle(q, m, 1, QUEUE_FAILED);
    queue_done(q, m, QUEUE_LOCAL, 0);
    assert_null(take(q));
    buf_release(&text);
    arena_release(&a);
    queue_close(q);
}

void conform_survives_reopening(struct queue_bed *b) {
    struct queue *q = b->open(b);
    char id[3][QUEUE_ID_MAX];
    struct queue_msg *m;
    size_t n = 0;

    for (int i = 0; i < 3; i++) put(q, "x\r\n", id[i]);
    queue_close(q);
    q = b->open(b);
    assert_int_equal(queue_lease(q, NULL, NULL), OK);
    while ((m = take(q))) {
        for (size_t r = 0; r < 2; r++) settle(q, m, r, QUEUE_DELIVERED);
        queue_done(q, m, QUEUE_LOCAL, 0);
        n++;
    }
    assert_int_equal(n, 3);
    queue_close(q);
    q = b->open(b);
    assert_int_equal(queue_lease(q, NULL, NULL), OK);
    assert_null(take(q));
    queue_close(q);
}

void conform_states_are_kept(struct queue_bed *b) {
    struct queue *q = b->open(b);
    struct queue_msg *m;
    char id[QUEUE_ID_MAX];

    put(q, "x\r\n", id);
    assert_int_equal(queue_lease(q, NULL, NULL), OK);
    m = take(q);
    settle(q, m, 0, QUEUE_DELIVERED);
    settle(q, m, 1, QUEUE_PENDING);
    queue_done(q, m, QUEUE_LOCAL, clock_wall() - 1);
    queue_close(q);
    q = b->open(b);
    assert_int_equal(queue_lease(q, NULL, NULL), OK);
    m = take(q);
    assert_non_null(m);
    assert_int_equal(queue_msg_state(m, 0), QUEUE_DELIVERED);
    assert_int_equal(queue_msg_state(m, 1), QUEUE_PENDING);
    assert_int_equal(queue_msg_attempts(m), 1);
    settle(q, m, 1, QUEUE_FAILED);
    queue_done(q, m, QUEUE_LOCAL, 0);
    queue_close(q);
}

void conform_defers_until_due(struct queue_bed *b) {
    struct queue *q = b->open(b);
    struct queue_msg *m;
    char id[QUEUE_ID_MAX];
    wall_t now = clock_wall();

    assert_int_equal(queue_lease(q, NULL, NULL), OK);
    put(q, "x\r\n", id);
    m = take(q);
    queue_done(q, m, QUEUE_REMOTE, now + 100);
    assert_null(queue_next(q, QUEUE_LOCAL, now + 1000));
    assert_null(queue_next(q, QUEUE_REMOTE, now + 99));
    assert_int_equal(queue_due(q, QUEUE_REMOTE), now + 100);
    assert_true(queue_is_idle(q, now));
    assert_false(queue_is_idle(q, now + 100));
    m = queue_next(q, QUEUE_REMOTE, now + 100);
    assert_non_null(m);
    for (size_t r = 0; r < 2; r++) settle(q, m, r, QUEUE_DELIVERED);
    queue_done(q, m, QUEUE_LOCAL, 0);
    queue_close(q);
}

void conform_leases_are_exclusive(struct queue_bed *b) {
    struct queue *one = b->open(b), *two_ = b->open(b);
    struct queue_msg *m;
    char id[QUEUE_ID_MAX];
    unsigned held = 0;

    assert_int_equal(queue_lease(one, NULL, NULL), OK);
    put(one, "x\r\n", id);
    assert_int_equal(queue_lease(two_, &held, NULL), OK);
    assert_int_equal(held, 1);
    assert_null(take(two_));
    m = take(one);
    assert_non_null(m);
    queue_done(one, m, QUEUE_LOCAL, 0);
    queue_close(one);
    /* Whoever held it is gone: now it is free. */
    assert_int_equal(queue_lease(two_, &held, NULL), OK);
    m = take(two_);
    assert_non_null(m);
    for (size_t r = 0; r < 2; r++) settle(two_, m, r, QUEUE_DELIVERED);
    queue_done(two_, m, QUEUE_LOCAL, 0);
    queue_close(two_);
}

static bool count_entries(const struct queue_entry *e, void *p) {
    unsigned *n = p;

    n[0]++;
    n[1] += e->is_held;
    return true;
}

void conform_hold_release_drop(struct queue_bed *b) {
    struct queue *q = b->open(b), *other;
    char id[QUEUE_ID_MAX], second[QUEUE_ID_MAX];
    unsigned n[2] = {0, 0};

    put(q, "x\r\n", id);
    put(q, "y\r\n", second);
    queue_close(q);
    /* Nobody has the lease: the request is noted at once. */
    other = b->open(b);
    assert_int_equal(queue_request(other, QUEUE_HOLD, id, 100, NULL), OK);
    assert_int_equal(queue_request(other, QUEUE_HOLD, "NOSUCH", 100, NULL), ERR_NOT_FOUND);
    assert_int_equal(queue_walk(other, false, count_entries, n, NULL), OK);
    assert_int_equal(n[0], 2);
    assert_int_equal(n[1], 1);
    q = b->open(b);
    assert_int_equal(queue_lease(q, NULL, NULL), OK);
    {
        struct queue_msg *m = take(q);

        assert_non_null(m);
        assert_string_equal(queue_msg_id(m), second);
        assert_null(take(q));
        queue_done(q, m, QUEUE_LOCAL, 0);
    }
    /* Somebody has it: the holder does it. */
    assert_int_equal(queue_request(other, QUEUE_RELEASE, id, 0, NULL), ERR_TIMEOUT);
    assert_int_equal(queue_request(q, QUEUE_RELEASE, id, 0, NULL), OK);
    assert_int_equal(queue_request(q, QUEUE_DROP, id, 0, NULL), OK);
    assert_int_equal(queue_request(q, QUEUE_DROP, second, 0, NULL), OK);
    assert_null(take(q));
    queue_close(other);
    queue_close(q);
}

void conform_large_message(struct queue_bed *b) {
    struct queue *q = b->open(b);
    struct envelope env = envelope();
    struct spool body;
    struct buf text;
    char id[QUEUE_ID_MAX] = "", block[1000];
    struct err e = {0};

    spool_init(&body, "/tmp");
    for (int i = 0; i < 3000; i++) {
        memset(block, 'a' + i % 26, sizeof block);
        assert_int_equal(spool_add(&body, slice_of(block, sizeof block), &e), OK);
    }
    assert_true(body.fd >= 0);
    assert_int_equal(queue_put(q, &env, S(""), &body, id, &e), OK);
    spool_release(&body);
    buf_init(&text, 4 * 1024 * 1024);
    assert_int_equal(queue_read(q, id, &text, &e), OK);
    assert_int_equal(text.n, 3000000);
    for (size_t i = 0; i < text.n; i += 999)
        assert_int_equal(text.p[i], 'a' + (int)(i / 1000 % 26));
    buf_release(&text);
    assert_int_equal(queue_request(q, QUEUE_DROP, id, 0, &e), OK);
    assert_int_equal(queue_lease(q, NULL, &e), OK); /* whoever works on the queue next removes it */
    assert_null(take(q));
    queue_close(q);
}

enum { WRITERS = 8, EACH = 50 };

static void *write_some(void *p) {
    char id[QUEUE_ID_MAX];

    for (int i = 0; i < EACH; i++) put(p, "x\r\n", id);
    return NULL;
}

void conform_many_writers(struct queue_bed *b) {
    struct queue *q = b->open(b);
    pthread_t t[WRITERS];
    struct queue_msg *m;
    size_t n = 0;

    assert_int_equal(queue_lease(q, NULL, NULL), OK);
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, write_some, q), 0);
    for (int i = 0; i < WRITERS; i++) pthread_join(t[i], NULL);
    while ((m = take(q))) {
        for (size_t r = 0; r < 2; r++) settle(q, m, r, QUEUE_DELIVERED);
        queue_done(q, m, QUEUE_LOCAL, 0);
        n++;
    }
    assert_int_equal(n, WRITERS * EACH);
    queue_close(q);
}

static bool look_at(const struct queue_entry *e, void *p) {
    unsigned *seen = p;

    assert_int_equal(e->env->rcpt_count, 2);
    seen[0]++;
    seen[1] += e->attempts;
    seen[2] += e->state[0] == QUEUE_DELIVERED;
    seen[3] += e->state[1] == QUEUE_PENDING;
    seen[4] += slice_eq(e->detail[1], S("{\"text\":\"x\"}"));
    seen[5] += e->next == 5000;
    return seen[6] == 0; /* asked to end after the first */
}

static void see_line(wall_t at, int rcpt, struct slice word, struct slice detail, void *user) {
    unsigned *n = user;

    (void)detail;
    assert_true(at > 1000000);
    n[0]++;
    n[1] += rcpt == 0 && slice_eq(word, S("delivered"));
    n[2] += rcpt == 1 && slice_eq(word, S("deferred"));
}

/* Who looks needs no lease and sees what the holder of it noted. */
void conform_list_and_story(struct queue_bed *b) {
    struct queue *q = b->open(b), *other = b->open(b);
    char id[2][QUEUE_ID_MAX];
    struct queue_msg *m;
    unsigned seen[7] = {0}, one[7] = {[6] = 1}, lines[3] = {0};

    put(q, "x\r\n", id[0]);
    put(q, "y\r\n", id[1]);
    assert_int_equal(queue_lease(q, NULL, NULL), OK);
    for (int i = 0; i < 2; i++) {
        m = take(q);
        assert_non_null(m);
        settle(q, m, 0, QUEUE_DELIVERED);
        settle(q, m, 1, QUEUE_PENDING);
        queue_done(q, m, QUEUE_REMOTE, 5000);
    }
    assert_int_equal(queue_walk(other, false, look_at, seen, NULL), OK);
    for (int i = 0; i < 6; i++) assert_int_equal(seen[i], 2);
    assert_int_equal(queue_walk(other, false, look_at, one, NULL), OK);
    assert_int_equal(one[0], 1);
    assert_int_equal(queue_story(other, id[1], see_line, lines, NULL), OK);
    assert_int_equal(lines[0], 3);
    assert_int_equal(lines[1], 1);
    assert_int_equal(lines[2], 1);
    while ((m = queue_next(q, QUEUE_REMOTE, 5000))) {
        settle(q, m, 1, QUEUE_FAILED); /* a bounce is the end */
        queue_done(q, m, QUEUE_LOCAL, 0);
    }
    queue_close(q);
    memset(seen, 0, sizeof seen);
    assert_int_equal(queue_walk(other, false, look_at, seen, NULL), OK);
    assert_int_equal(seen[0], 0);
    queue_close(other);
}

/* What is over a bound is refused, and leaves nothing. */
void conform_limits(struct queue_bed *b) {
    struct queue *q = b->open(b);
    struct envelope env = envelope();
    char id[QUEUE_ID_MAX] = "", *text = malloc(ENVELOPE_BYTES_MAX + 1);
    struct err e = {0};

    assert_non_null(text);
    memset(text, 'x', ENVELOPE_BYTES_MAX + 1);
    env.envid = slice_of(text, ENVELOPE_BYTES_MAX + 1);
    assert_int_not_equal(queue_put(q, &env, S(""), NULL, id, &e), OK);
    assert_int_equal(queue_lease(q, NULL, NULL), OK);
    assert_null(take(q));
    free(text);
    queue_close(q);
}
