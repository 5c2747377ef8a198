/* How long logins wait: a clock of the test's own, addresses from documentation networks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "serve/gate.h"

enum { STEP = 2000 };

static struct addr at(const char *text) {
    struct addr a;

    assert_true(addr_parse(text, 1, &a));
    return a;
}
static int64_t enter(struct gate *g, const char *from, const char *account, mono_t now) {
    struct addr a = at(from);
    bool shut = gate_is_shut(g, &a, slice_str(account), now);
    int64_t wait = gate_enter(g, &a, slice_str(account), now);

    assert_true(shut == (wait == GATE_SHUT));
    return wait;
}
static void told(struct gate *g, const char *from, const char *account, bool good, mono_t now) {
    struct addr a = at(from);

    gate_told(g, &a, slice_str(account), good, now);
}

/* 2, 4, 8, 16, 16 seconds, for the address and for the account; forgotten after a while. */
static void doubles(void **state) {
    struct gate *g = gate_new(STEP);
    mono_t now = 1000000;
    static const int64_t waits[] = {0, STEP, 2 * STEP, 4 * STEP, 8 * STEP, 8 * STEP, 8 * STEP};

    (void)state;
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(enter(g, "192.0.2.1", "ann", now), waits[i]);
        now += waits[i];
        told(g, "192.0.2.1", "ann", false, now);
    }
    /* Another account from there, the account from elsewhere, neither. */
    assert_int_equal(enter(g, "192.0.2.1", "bob", now), 8 * STEP);
    assert_int_equal(enter(g, "192.0.2.2", "ann", now), 8 * STEP);
    assert_int_equal(enter(g, "192.0.2.2", "bob", now), 0);
    assert_int_equal(enter(g, "192.0.2.1", "cle", now + GATE_FORGET_MS), 0);
    assert_int_equal(enter(g, "192.0.2.2", "ann", now + GATE_FORGET_MS), 0);
    gate_free(g);
}

/* One behind the other from one address, until that is too many; an account is never shut. */
static void lines_up(void **state) {
    struct gate *g = gate_new(STEP);
    mono_t now = 5;
    int n = 0;
    int64_t wait;

    (void)state;
    told(g, "2001:db8:1:2::5", "ann", false, now);
    while ((wait = enter(g, "2001:db8:1:2:aaaa::6", "x", now)) != GATE_SHUT) {
        assert_int_equal(wait, STEP * ++n);
        assert_true(n <= GATE_WAIT_STEPS);
    }
    assert_int_equal(n, GATE_WAIT_STEPS);
    assert_int_equal(enter(g, "2001:db8:1:3::5", "y", now), 0);
    for (int i = 0; i < 1000; i++) {
        char from[40];

        snprintf(from, sizeof from, "198.51.%d.%d", i / 250, 1 + i % 250);
        wait = enter(g, from, "ann", now);
        assert_true(wait >= 0 && wait <= 8 * STEP);
        told(g, from, "ann", false, now);
    }
    wait = enter(g, "203.0.113.1", "ann", now);
    assert_true(wait > 0 && wait <= 8 * STEP);
    gate_free(g);
}

/* Who logged in from there before waits only for his own failures. */
static void known(void **state) {
    struct gate *g = gate_new(STEP);
    mono_t now = 77;

    (void)state;
    told(g, "192.0.2.9", "ann", true, now);
    for (int i = 0; i < 50; i++) told(g, "192.0.2.9", "eve", false, now);
    for (int i = 0; i < 50; i++) told(g, "203.0.113.1", "ann", false, now);
    assert_int_equal(enter(g, "192.0.2.9", "ann", now), 0);
    assert_int_equal(enter(g, "192.0.2.9", "ANN", now), 0);
    assert_true(enter(g, "192.0.2.9", "bob", now) > 0);
    told(g, "192.0.2.9", "ann", false, now);
    assert_int_equal(enter(g, "192.0.2.9", "ann", now), STEP);
    assert_int_equal(enter(g, "192.0.2.9", "ann", now), 2 * STEP);
    told(g, "192.0.2.9", "ann", true, now + STEP);
    assert_int_equal(enter(g, "192.0.2.9", "ann", now + STEP), 0);
    told(g, "192.0.2.9", "ann", false, now + STEP);
    assert_int_equal(enter(g, "192.0.2.9", "ann", now + STEP + 2 * GATE_FORGET_MS), 0);
    gate_free(g);
}

/* Webmail is on this host: only accounts count. */
static void loopback(void **state) {
    struct gate *g = gate_new(STEP);

    (void)state;
    for (int i = 0; i < 50; i++) told(g, i & 1 ? "127.0.0.1" : "::1", "ann", false, 9);
    assert_int_equal(enter(g, "127.0.0.1", "bob", 9), 0);
    assert_int_equal(enter(g, "::1", "ann", 9), 8 * STEP);
    gate_free(g);
}

/* The tables are full of others: what has failed most stays. */
static void full(void **state) {
    struct gate *g = gate_new(STEP);
    char from[40], account[40];

    (void)state;
    for (int i = 0; i < 20; i++) told(g, "192.0.2.1", "ann", false, 1);
    for (int i = 0; i < 20 * GATE_PLACES; i++) {
        snprintf(from, sizeof from, "%d.%d.%d.1", 10 + i / 62500, i / 250 % 250, 1 + i % 250);
        snprintf(account, sizeof account, "user%d", i);
        told(g, from, account, false, 2);
    }
    assert_int_equal(enter(g, "198.51.100.1", "ann", 1), 8 * STEP);
    assert_int_equal(enter(g, "192.0.2.1", "new", 1), 8 * STEP);
    gate_free(g);
}

static void off(void **state) {
    struct gate *g = gate_new(0);

    (void)state;
    for (int i = 0; i < 50; i++) told(g, "192.0.2.1", "ann", false, 1);
    assert_int_equal(enter(g, "192.0.2.1", "ann", 1), 0);
    gate_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(doubles),  cmocka_unit_test(lines_up), cmocka_unit_test(known),
        cmocka_unit_test(loopback), cmocka_unit_test(full),     cmocka_unit_test(off),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
