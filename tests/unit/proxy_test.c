/* The header of a proxy, at every split, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "serve/proxy.h"

/* Give the parser what it wants of `all`, and never more; how many bytes it took. */
static enum step play(struct slice all, struct proxy *p, size_t *taken) {
    size_t at = 0, want;

    for (;;) {
        char *copy = malloc(at ? at : 1); /* so that the sanitizer sees a byte too many */
        enum step step;

        memcpy(copy, all.p, at);
        step = proxy_parse(slice_of(copy, at), p, &want);
        free(copy);
        *taken = at;
        if (step != STEP_MORE || at == all.n) return step;
        assert_true(want > 0);
        at = at + want > all.n ? all.n : at + want;
    }
}

static void lines(void **state) {
    static const struct {
        struct slice in;
        enum step step;
        const char *client;
    } cases[] = {
        {S_INIT("PROXY TCP4 192.0.2.7 192.0.2.1 56324 25\r\nEHLO x"), STEP_DONE, "192.0.2.7:56324"},
        {S_INIT("PROXY TCP6 2001:db8::7 2001:db8::1 4 25\r\n"), STEP_DONE, "[2001:db8::7]:4"},
        {S_INIT("PROXY UNKNOWN\r\nEHLO x"), STEP_DONE, NULL},
        {S_INIT("PROXY UNKNOWN ffff:: ffff:: 1 1\r\n"), STEP_DONE, NULL},
        {S_INIT("PROXY TCP4 192.0.2.7 192.0.2.1 56324 25\n"), STEP_BAD, NULL},
        {S_INIT("PROXY TCP4 192.0.2.7 192.0.2.1 56324\r\n"), STEP_BAD, NULL},
        {S_INIT("PROXY TCP4 192.0.2.7 192.0.2.1 56324 25 1\r\n"), STEP_BAD, NULL},
        {S_INIT("PROXY TCP4 192.0.2.7 192.0.2.1 70000 25\r\n"), STEP_BAD, NULL},
        {S_INIT("PROXY TCP6 192.0.2.7 192.0.2.1 1 25\r\n"), STEP_BAD, NULL},
        {S_INIT("PROXY UDP4 192.0.2.7 192.0.2.1 1 25\r\n"), STEP_BAD, NULL},
        {S_INIT("EHLO me.example\r\n"), STEP_BAD, NULL},
        {S_INIT("PROXY TCP4 192.0.2.7"), STEP_MORE, NULL},
        {S_INIT(""), STEP_MORE, NULL},
    };
    char text[ADDR_TEXT_MAX], over[PROXY_V1_MAX + 2];
    struct proxy p;
    size_t taken;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        size_t lf = slice_chr(cases[i].in, '\n');

        assert_int_equal(play(cases[i].in, &p, &taken), cases[i].step);
        assert_int_equal(p.has_addresses, cases[i].client != NULL);
        if (cases[i].client) assert_string_equal(addr_text(&p.client, text), cases[i].client);
        if (cases[i].step == STEP_DONE) assert_int_equal(taken, lf + 1);
    }
    memset(over, 'x', sizeof over);
    memcpy(over, "PROXY UNKNOWN ", 14);
    assert_int_equal(play(slice_of(over, PROXY_V1_MAX - 1), &p, &taken), STEP_MORE);
    assert_int_equal(play(slice_of(over, PROXY_V1_MAX), &p, &taken), STEP_BAD);
    memcpy(over + PROXY_V1_MAX - 2, "\r\n", 2);
    assert_int_equal(play(slice_of(over, PROXY_V1_MAX), &p, &taken), STEP_DONE);
}

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
static void binary(void **state) {
    static const struct {
        struct slice in;
        enum step step;
        const char *client, *local;
        size_t size;
    } cases[] = {
        {S_INIT(SIGNATURE "\x21\x11\0\x0c\xc0\0\2\7\xc0\0\2\1\x10\0\0\x19"
                          "EHLO"),
         STEP_DONE, "192.0.2.7:4096", "192.0.2.1:25", 28},
        {S_INIT(SIGNATURE "\x21\x11\0\x0f\xc0\0\2\7\xc0\0\2\1\x10\0\0\x19"
                          "TLVEHLO"),
         STEP_DONE, "192.0.2.7:4096", "192.0.2.1:25", 31},
        {S_INIT(SIGNATURE "\x20\0\0\0"
                          "EHLO"),
         STEP_DONE, NULL, NULL, 16},
        {S_INIT(SIGNATURE "\x21\x31\0\0"
                          "EHLO"),
         STEP_DONE, NULL, NULL, 16},
        {S_INIT(SIGNATURE "\x21\x11\0\x0b\xc0\0\2\7\xc0\0\2\1\x10\0\0"), STEP_BAD, NULL, NULL, 0},
        {S_INIT(SIGNATURE "\x11\x11\0\x0c"), STEP_BAD, NULL, NULL, 0},
        {S_INIT(SIGNATURE "\x22\x11\0\x0c"), STEP_BAD, NULL, NULL, 0},
        {S_INIT(SIGNATURE "\x21\x11\x08\x01"), STEP_BAD, NULL, NULL, 0},
        {S_INIT(SIGNATURE "\x21\x11\x08\0"), STEP_MORE, NULL, NULL, 0},
        {S_INIT(SIGNATURE "\x21\x21\0\x24\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\7\x20\1\xd\xb8\0\0\0\0"
                          "\0\0\0\0\0\0\0\1\0\x19\0\x19"),
         STEP_DONE, "[2001:db8::7]:25", "[2001:db8::1]:25", 52},
        {S_INIT("\r\n\r\n\0\r\nQUIX"), STEP_BAD, NULL, NULL, 0},
    };
    char text[ADDR_TEXT_MAX];
    struct proxy p;
    size_t taken;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(play(cases[i].in, &p, &taken), cases[i].step);
        assert_int_equal(p.has_addresses, cases[i].client != NULL);
        if (cases[i].client) {
            assert_string_equal(addr_text(&p.client, text), cases[i].client);
            assert_string_equal(addr_text(&p.local, text), cases[i].local);
        }
        if (cases[i].step == STEP_DONE) assert_int_equal(taken, cases[i].size);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(lines), cmocka_unit_test(binary)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
