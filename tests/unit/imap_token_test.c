/* The reader and the cursor of commands, sequence sets, flags, patterns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include <stdlib.h>

#include "imap/flag.h"
#include "imap/server_impl.h"

static struct arena arena;

static struct imap_cursor cursor(const char *z) {
    return (struct imap_cursor){.in = slice_str(z), .arena = &arena};
}

static void strings_are_unescaped(void **state) {
    struct imap_cursor c = cursor("\"a\\\"b\\\\\" {3}\r\nx\r\n atom]");
    struct slice s;

    (void)state;
    assert_true(imap_take_astring(&c, &s) && slice_eq(s, S("a\"b\\")));
    assert_true(imap_take_sp(&c) && imap_take_astring(&c, &s) && slice_eq(s, S("x\r\n")));
    assert_true(imap_take_sp(&c) && imap_take_astring(&c, &s) && slice_eq(s, S("atom]")));
    assert_true(imap_at_end(&c));
}

static void broken_strings_are_refused(void **state) {
    static const char *const bad[] = {
        "\"", "\"a", "\"a\\",  "\"a\r\nb\"", "{3}\r\nab", "{3}ab", "{99999999999999999999}\r\n",
        "",   "(",   "{+}\r\n"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct imap_cursor c = cursor(bad[i]);
        struct slice s;
        assert_false(imap_take_astring(&c, &s));
        assert_int_equal(c.in.n, strlen(bad[i]));
    }
}

static void sets_are_sorted_and_joined(void **state) {
    struct imap_cursor c = cursor("9,1:3,4,*:7,2");
    struct imap_set s;

    (void)state;
    assert_true(imap_take_set(&c, 100, &s));
    imap_set_resolve(&s, 8);
    assert_int_equal(s.n, 2);
    assert_int_equal(s.v[0].first, 1);
    assert_int_equal(s.v[0].last, 4);
    assert_int_equal(s.v[1].first, 7);
    assert_int_equal(s.v[1].last, 9);
    assert_true(imap_set_has(&s, 4) && !imap_set_has(&s, 5));
    assert_int_equal(imap_set_next(&s, 5), 7);
    assert_int_equal(imap_set_next(&s, 10), 0);
}

static void sets_have_bounds(void **state) {
    static const char *const bad[] = {"", "0", "1:", ":1", "1,", "a", "4294967296", "1;2", "-1"};
    struct imap_set s;
    struct imap_cursor c = cursor("1,2,3,4");

    (void)state;
    assert_false(imap_take_set(&c, 3, &s));
    c = cursor("1,2,3,4");
    assert_true(imap_take_set(&c, 4, &s));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        c = cursor(bad[i]);
        assert_false(imap_take_set(&c, 100, &s) && !c.in.n);
    }
    c = cursor("4294967295:*");
    assert_true(imap_take_set(&c, 100, &s));
    imap_set_resolve(&s, 5);
    assert_int_equal(imap_set_max(&s), UINT32_MAX);
}

static void uid_lists_keep_their_order(void **state) {
    const uint32_t v[] = {5, 6, 7, 3, 9, 10};
    struct buf b;

    (void)state;
    buf_init(&b, 100);
    assert_true(imap_set_put(&b, v, 6));
    assert_true(slice_eq(buf_slice(&b), S("5:7,3,9:10")));
    buf_release(&b);
}

static void keywords_fill_up(void **state) {
    struct imap_keywords k = {0};
    char name[32];

    (void)state;
    for (unsigned i = 0; i < IMAP_KEYWORDS_MAX; i++) {
        snprintf(name, sizeof name, "k%u", i);
        assert_true(imap_keyword_bit(&k, slice_str(name), true) == (uint64_t)1
                                                                       << (IMAP_KEYWORD_FIRST + i));
    }
    assert_true(imap_keyword_bit(&k, S("more"), true) == 0);
    assert_true(imap_keyword_bit(&k, S("K3"), false) == (uint64_t)1 << (IMAP_KEYWORD_FIRST + 3));
    assert_true(imap_keyword_bit(&k, S("a b"), true) == 0);
    imap_keywords_release(&k);
}

static void patterns(void **state) {
    static const struct {
        const char *pattern, *name;
        bool is_match;
    } cases[] = {
        {"*", "a/b", true},
        {"%", "a/b", false},
        {"%/%", "a/b", true},
        {"a*c", "abbc", true},
        {"a%c", "ab/c", false},
        {"inbox", "INBOX", true},
        {"inbox/x", "INBOX/x", true},
        {"inboxes", "INBOXES", false},
        {"", "a", false},
        {"*%*%*%*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(
            imap_pattern_matches(slice_str(cases[i].pattern), slice_str(cases[i].name), '/'),
            cases[i].is_match);
    }
}

/* What a slow and obvious conversion says. */
static struct buf converted(struct slice s) {
    struct buf b;

    buf_init(&b, 1 << 20);
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\n' && (!i || s.p[i - 1] != '\r')) buf_addc(&b, '\r');
        buf_addc(&b, s.p[i] ? s.p[i] : (char)0x80);
    }
    return b;
}

static void streams_convert_at_every_offset(void **state) {
    static const struct slice texts[] = {S_INIT("a\nb\r\n\n\n\rc\r\r\n"),
                                         S_INIT("a\r\nb\r\n"),
                                         S_INIT("\n"),
                                         S_INIT("x\0y\n\0"),
                                         S_INIT("\n\n\n"),
                                         S_INIT("\r\n\n"),
                                         S_INIT("no end")};
    (void)state;
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
        struct buf want = converted(texts[t]);
        assert_int_equal(imap_wire_size(texts[t], NULL), want.n);
        for (size_t from = 0; from <= want.n + 1; from++) {
            for (size_t n = 0; n <= want.n + 1; n++) {
                for (size_t room = 1; room <= 4; room++) {
                    struct imap_stream st;
                    struct slice expect = slice_first(slice_from(buf_slice(&want), from), n);
                    struct buf got;
                    buf_init(&got, 1 << 20);
                    imap_stream_start(&st, texts[t], want.n, from, n, NULL);
                    assert_int_equal(st.left, expect.n);
                    while (st.left) assert_true(imap_stream_pull(&st, &got, room));
                    assert_true(slice_eq(buf_slice(&got), expect));
                    buf_release(&got);
                }
            }
        }
        buf_release(&want);
    }
}

static void streams_go_on_from_every_offset(void **state) {
    static const struct slice text = S_INIT("a\nb\r\n\n\n\rc\r\r\n\r");
    struct buf want = converted(text), got;

    (void)state;
    buf_init(&got, 1 << 20);
    for (size_t read = 0; read <= want.n; read++) {
        for (size_t skip = 0; skip <= want.n + 1; skip++) {
            struct imap_stream st;

            imap_stream_start(&st, text, want.n, 0, UINT64_MAX, NULL);
            buf_reset(&got);
            assert_true(imap_stream_pull(&st, &got, read));
            imap_stream_skip(&st, skip);
            buf_reset(&got);
            while (st.left) assert_true(imap_stream_pull(&st, &got, 3));
            assert_true(slice_eq(buf_slice(&got), slice_from(buf_slice(&want), read + skip)));
        }
    }
    buf_release(&got);
    buf_release(&want);
}

static void note_told(void *ctx, const char *at) {
    const char **told = ctx;

    assert_true(*told == NULL || at - *told >= TRAIL_STEP);
    *told = at;
}

/* The lender of a large message hears at least every TRAIL_STEP bytes, whatever its lines are. */
static void trails_tell_of_long_and_short_lines(void **state) {
    static const size_t lines[] = {70, 3 * TRAIL_STEP, 10 * TRAIL_STEP};
    size_t n = 8 * (size_t)TRAIL_STEP;
    char *text = malloc(n);

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        const char *told = NULL;
        struct trail t = {.behind = note_told, .ctx = &told};
        uint64_t wire = n;

        for (size_t k = 0; k < n; k++) {
            text[k] = (k + 1) % lines[i] ? 'x' : '\n';
            wire += text[k] == '\n';
        }
        assert_int_equal(imap_wire_size(slice_of(text, n), &t), wire);
        assert_true(text + n - told <= 2 * TRAIL_STEP);
    }
    free(text);
}

static void envelopes_are_ascii(void **state) {
    struct buf b;

    (void)state;
    buf_init(&b, 1 << 20);
    assert_true(
        imap_put_envelope(&b, S("Subject: gr\303\274\303\237\n\te \"q\"\\\nFrom: \377@x\n\n")));
    for (size_t i = 0; i < b.n; i++) assert_true((unsigned char)b.p[i] < 128 && b.p[i] >= 32);
    assert_true(slice_find(buf_slice(&b), S("\"gr=?UTF-8?B?w7zDnw==?=\te")) == SLICE_NONE);
    assert_true(slice_find(buf_slice(&b), S("=?UTF-8?B?w7zDnw==?=")) != SLICE_NONE);
    assert_true(slice_find(buf_slice(&b), S("\\\"q\\\"\\\\")) != SLICE_NONE);
    buf_release(&b);
}

/* Who it says it is from is shown, however it is written. */
static void envelopes_show_broken_addresses(void **state) {
    static const struct {
        struct slice from, shown;
    } cases[] = {
        {S_INIT("A <a@b> trailing"), S_INIT("((\"A\" NIL \"a\" \"b\"))")},
        {S_INIT("\"open <a@b>"), S_INIT("((\"open\" NIL \"a\" \"b\"))")},
        {S_INIT("<<a@b>>"), S_INIT("((NIL NIL \"a\" \"b\"))")},
        {S_INIT("<a@b"), S_INIT("((NIL NIL \"a\" \"b\"))")},
        {S_INIT("mail from a@b now"), S_INIT("((NIL NIL \"a\" \"b\"))")},
        {S_INIT("a b c"), S_INIT("((\"a b c\" NIL \"\" \"\"))")},
        {S_INIT("@"), S_INIT("((\"@\" NIL \"\" \"\"))")},
        {S_INIT("x <"), S_INIT("((\"x\" NIL \"\" \"\"))")},
        {S_INIT(",,"), S_INIT("NIL")},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf b, want, header;

        buf_init(&b, 1 << 16);
        buf_init(&want, 1 << 16);
        buf_init(&header, 1 << 16);
        buf_addf(&header, "From: %.*s\n\n", SP(cases[i].from));
        buf_addf(&want, "(NIL NIL %.*s %.*s %.*s NIL NIL NIL NIL NIL)", SP(cases[i].shown),
                 SP(cases[i].shown), SP(cases[i].shown));
        assert_true(imap_put_envelope(&b, buf_slice(&header)));
        assert_string_equal(buf_cstr(&b), buf_cstr(&want));
        buf_release(&b);
        buf_release(&want);
        buf_release(&header);
    }
}

/* A FETCH of a large message: the engine holds little while it goes out. */
static void large_fetch_holds_little(void **state) {
    enum { BIG = 20 * 1024 * 1024 };
    struct imap_config cfg = {.preauth_user = S_INIT("joe"), .message_size_max = 1};
    struct imap_server *s = imap_server_new(&cfg, 0);
    struct imap_rows *rows = imap_rows_new(1);
    struct imap_mailbox_info info = {.uidvalidity = 1, .uidnext = 2, .rows = rows};
    struct imap_content content = {.has_bytes = true};
    struct slice in = S("a SELECT INBOX\r\nb FETCH 1 (RFC822.SIZE BODY[])\r\n");
    char *big = malloc(BIG);
    size_t total = 0, peak = 0;
    bool is_done = false;

    (void)state;
    assert_non_null(s);
    assert_non_null(rows);
    rows->v[rows->n++] =
        (struct imap_msg){.uid = 1, .flags = IMAP_SEEN, .size_bytes = IMAP_SIZE_UNKNOWN};
    assert_non_null(big);
    for (size_t i = 0; i < BIG; i++) big[i] = i % 64 == 63 ? '\n' : 'x';
    content.bytes = slice_of(big, BIG);
    for (unsigned turn = 0; turn < 100000; turn++) {
        struct imap_event ev;
        struct slice o;

        while (imap_server_next(s, &ev)) {
            if (ev.type == IMAP_EV_SELECT) imap_server_selected(s, &info);
            if (ev.type == IMAP_EV_NEED_MESSAGE) imap_server_message(s, &content);
            is_done |= ev.type == IMAP_EV_MESSAGE_DONE;
        }
        o = imap_server_out(s);
        if (o.n > peak) peak = o.n;
        total += o.n;
        imap_server_sent(s, o.n < 5000 ? o.n : 5000, 0);
        total -= o.n < 5000 ? 0 : o.n - 5000;
        if (!o.n && !in.n) break;
        if (in.n) in = slice_from(in, imap_server_feed(s, in, 0));
    }
    assert_true(is_done);
    assert_true(total > BIG + BIG / 64);
    assert_true(peak < IMAP_OUT_LOW + IMAP_CHUNK_MAX + 4096);
    imap_server_free(s);
    imap_rows_drop(rows);
    free(big);
}

static void injected_in_one_packet(void **state) {
    struct imap_config cfg = {.can_starttls = true};
    struct imap_server *s = imap_server_new(&cfg, 0);
    struct imap_event ev;

    (void)state;
    imap_server_feed(s, S("a STARTTLS\r\nb LOGIN x y\r\n"), 0);
    assert_true(imap_server_next(s, &ev) && ev.type == IMAP_EV_END && ev.err.code == ERR_PROTO);
    assert_int_equal(imap_server_out(s).n, 0);
    imap_server_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_are_unescaped),
        cmocka_unit_test(broken_strings_are_refused),
        cmocka_unit_test(sets_are_sorted_and_joined),
        cmocka_unit_test(sets_have_bounds),
        cmocka_unit_test(uid_lists_keep_their_order),
        cmocka_unit_test(keywords_fill_up),
        cmocka_unit_test(patterns),
        cmocka_unit_test(streams_convert_at_every_offset),
        cmocka_unit_test(streams_go_on_from_every_offset),
        cmocka_unit_test(trails_tell_of_long_and_short_lines),
        cmocka_unit_test(envelopes_are_ascii),
        cmocka_unit_test(envelopes_show_broken_addresses),
        cmocka_unit_test(large_fetch_holds_little),
        cmocka_unit_test(injected_in_one_packet),
    };
    arena_init(&arena, 1 << 20);
    int bad = cmocka_run_group_tests(tests, NULL, NULL);
    arena_release(&arena);
    return bad;
}
