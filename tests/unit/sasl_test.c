/* SASL: SCRAM-SHA-256 (RFC 5802, RFC 7677), both sides, and what must not pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/attr.h"
#include "base/base64.h"
#include "sasl/client.h"
#include "sasl/scram.h"
#include "sasl/server.h"

/* The world of a server: one user, and a TLS connection or none. */
struct world {
    struct scram_keys keys;
    bool has_binding, is_other;
};

static bool keys(void *user, struct slice name, struct scram_keys *out) {
    struct world *w = user;
    *out = w->keys;
    return slice_eq(name, S("user"));
}
static bool binding(void *user, uint8_t out[32]) {
    struct world *w = user;
    memset(out, w->is_other ? 'o' : 'b', 32);
    return w->has_binding;
}
static void unpredictable(void *user, void *p, size_t n) {
    (void)user;
    memset(p, 7, n);
}

static struct sasl_env env_of(struct world *w) {
    w->keys = (struct scram_keys){.iterations = 4096, .salt_n = 16};
    assert_true(scram_derive(S("pencil"), &w->keys));
    return (struct sasl_env){.keys = keys, .random = unpredictable, .binding = binding, .user = w};
}

/* A line of the client, given in clear. */
static enum sasl_step say(struct sasl_server *s, const char *text, size_t n) {
    struct buf b;
    enum sasl_step r;
    buf_init(&b, 64 * 1024);
    assert_true(base64_put(&b, slice_of(text, n)));
    r = sasl_server_step(s, buf_slice(&b));
    buf_release(&b);
    return r;
}

/* The conversation of RFC 7677 3. */
static void the_conversation_of_the_rfc(void **state) {
    static const char first[] = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
                      challenge[] = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                                    "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
                      final[] = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                                "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                      last[] = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
    struct scram_server s = {.is_known = true};
    struct scram_client c = {.nonce = "rOprNGfwEbeRWgbNEkqO", .nonce_n = 20};
    struct scram_first f;
    struct buf b;

    (void)state;
    buf_init(&b, 4096);
    assert_true(base64_get(&b, S("W22ZaJ0SNY7soEsUEjb6gQ==")));
    memcpy(s.keys.salt, b.p, b.n);
    s.keys.salt_n = b.n;
    s.keys.iterations = 4096;
    assert_true(scram_derive(S("pencil"), &s.keys));

    buf_reset(&b);
    assert_true(scram_client_first(&c, 'n', NULL, S("user"), &b));
    assert_string_equal(buf_cstr(&b), first);
    assert_true(scram_first_parse(buf_slice(&b), &f));
    struct buf out;
    buf_init(&out, 4096);
    assert_true(scram_server_first(&s, &f, S("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"), NULL, &out));
    assert_string_equal(buf_cstr(&out), challenge);
    buf_reset(&b);
    assert_true(scram_client_final(&c, buf_slice(&out), S("pencil"), &b));
    assert_string_equal(buf_cstr(&b), final);
    buf_reset(&out);
    assert_int_equal(scram_server_final(&s, buf_slice(&b), &out), SCRAM_GOOD);
    assert_string_equal(buf_cstr(&out), last);
    assert_true(scram_client_verify(&c, buf_slice(&out)));
    out.p[5] ^= 1;
    assert_false(scram_client_verify(&c, buf_slice(&out)));
    assert_false(scram_client_verify(&c, S("e=other-error")));
    assert_false(scram_client_verify(&c, S("")));
    buf_release(&out);
    buf_release(&b);
    scram_client_release(&c);
    scram_server_release(&s);
}

static void first_messages(void **state) {
    static const struct {
        const char *text, *name;
        bool is_good;
    } cases[] = {
        {"n,,n=user,r=abc", "user", true},
        {"y,,n=user,r=abc", "user", true},
        {"p=tls-exporter,a=x,n=user,r=abc", "user", true},
        {"n,,n=a=2Cb=3Dc=2c=3d,r=abc", "a,b=c,=", true},
        {"n,,n=user,r=abc,x=ignored,y=2", "user", true},
        {"n,,n=\xc3\xa4,r=abc", "\xc3\xa4", true},
        {"n,,m=ext,n=user,r=abc", "", false},
        {"n,,n=user,m=ext,r=abc", "", false},
        {"n,,n=,r=abc", "", false},
        {"n,,n=user,r=", "", false},
        {"n,,n=user", "", false},
        {"n,,r=abc,n=user", "", false},
        {"n,n=user,r=abc", "", false},
        {"x,,n=user,r=abc", "", false},
        {"p=,,n=user,r=abc", "", false},
        {"n,a=,n=user,r=abc", "", false},
        {"n,user,n=user,r=abc", "", false},
        {",,n=user,r=abc", "", false},
        {"", "", false},
        {"n,,n=user,r=a\x01", "", false},
        {"n,,n=user,r=a b", "", false},
        {"n,,n=user,r=\xc3\xa4", "", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct scram_first f;
        struct buf b;
        bool good = scram_first_parse(slice_str(cases[i].text), &f);
        if (good != cases[i].is_good) fail_msg("%s", cases[i].text);
        buf_init(&b, 100);
        if (good) {
            assert_true(scram_name_get(&b, f.name));
            assert_string_equal(buf_cstr(&b), cases[i].name);
        }
        buf_release(&b);
    }
    static const char *const names[] = {"a=", "a=2", "=2X", "a\x7f", "\xff", "a\tb"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct buf b;
        buf_init(&b, 100);
        if (scram_name_get(&b, slice_str(names[i]))) fail_msg("%s", names[i]);
        buf_release(&b);
    }
}

static void a_nonce_has_a_bound(void **state) {
    char text[16 + SCRAM_NONCE_MAX];
    struct scram_first f;
    size_t most = SCRAM_NONCE_MAX - SCRAM_NONCE_OWN_MAX;

    (void)state;
    memset(text, 'x', sizeof text);
    memcpy(text, "n,,n=user,r=", 12);
    assert_true(scram_first_parse(slice_of(text, 12 + most), &f));
    assert_false(scram_first_parse(slice_of(text, 13 + most), &f));
}

static void stored_keys(void **state) {
    static const char good[] = "4096,W22ZaJ0SNY7soEsUEjb6gQ==,"
                               "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
                               "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    static const char *const bad[] = {
        "",
        "4096",
        "4096,,,",
        "4095,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuL"
        "mtbsT4qY=,wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        "1000001,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        "4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4g==,"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        "4096,!,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="};
    struct scram_keys k;
    struct buf b;

    (void)state;
    // what Dovecot and PostgreSQL make of "pencil" with this salt
    assert_true(scram_keys_parse(slice_str(good), &k));
    assert_true(scram_check(&k, S("pencil")));
    assert_false(scram_check(&k, S("pencils")));
    assert_false(scram_check(&k, S("")));
    buf_init(&b, SCRAM_STORED_MAX);
    assert_true(scram_keys_put(&b, &k));
    assert_string_equal(buf_cstr(&b), good);
    buf_release(&b);
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (scram_keys_parse(slice_str(bad[i]), &k)) fail_msg("%s", bad[i]);
}

/* A client of our own against the server: good, wrong password, nobody, and what was changed on the
 * way. */
static void what_a_server_takes(void **state) {
    static const struct {
        const char *what, *mechanism;
        char flag;
        const char *name, *password, *swap_from, *swap_to; // in the client's final message
        bool has_binding, is_other;
        enum sasl_step step;
        enum sasl_claim claim;
    } cases[] = {
        {"good", "SCRAM-SHA-256", 'n', "user", "pencil", 0, 0, false, false, SASL_CLAIMED,
         SASL_IS_PROVEN},
        {"good, though the server could bind", "scram-sha-256", 'n', "user", "pencil", 0, 0, true,
         false, SASL_CLAIMED, SASL_IS_PROVEN},
        {"good, client could bind, server not", "SCRAM-SHA-256", 'y', "user", "pencil", 0, 0, false,
         false, SASL_CLAIMED, SASL_IS_PROVEN},
        {"the offer was taken away", "SCRAM-SHA-256", 'y', "user", "pencil", 0, 0, true, false,
         SASL_CLAIMED, SASL_IS_DENIED},
        {"bound", "SCRAM-SHA-256-PLUS", 'p', "user", "pencil", 0, 0, true, false, SASL_CLAIMED,
         SASL_IS_PROVEN},
        {"bound to another connection", "SCRAM-SHA-256-PLUS", 'p', "user", "pencil", 0, 0, true,
         true, SASL_CLAIMED, SASL_IS_DENIED},
        {"PLUS without TLS", "SCRAM-SHA-256-PLUS", 'p', "user", "pencil", 0, 0, false, false,
         SASL_UNSUPPORTED, 0},
        {"PLUS without binding", "SCRAM-SHA-256-PLUS", 'n', "user", "pencil", 0, 0, true, false,
         SASL_MALFORMED, 0},
        {"binding without PLUS", "SCRAM-SHA-256", 'p', "user", "pencil", 0, 0, true, false,
         SASL_MALFORMED, 0},
        {"wrong password", "SCRAM-SHA-256", 'n', "user", "pen", 0, 0, false, false, SASL_CLAIMED,
         SASL_IS_DENIED},
        {"nobody", "SCRAM-SHA-256", 'n', "nobody", "pencil", 0, 0, false, false, SASL_CLAIMED,
         SASL_IS_DENIED},
        {"other header", "SCRAM-SHA-256", 'n', "user", "pencil", "c=biws", "c=eSws", false, false,
         SASL_CLAIMED, SASL_IS_DENIED},
        {"other nonce", "SCRAM-SHA-256", 'n', "user", "pencil", ",r=", ",r=x", false, false,
         SASL_CLAIMED, SASL_IS_DENIED},
        {"no proof", "SCRAM-SHA-256", 'n', "user", "pencil", ",p=", ",q=", false, false,
         SASL_MALFORMED, 0},
        {"short proof", "SCRAM-SHA-256", 'n', "user", "pencil", ",p=", ",p=AAAA", false, false,
         SASL_MALFORMED, 0},
        {"extension before the proof", "SCRAM-SHA-256", 'n', "user", "pencil", ",p=", ",x=1,p=",
         false, false, SASL_CLAIMED, SASL_IS_DENIED}, // it is part of what is signed
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct world w = {.has_binding = cases[i].has_binding, .is_other = cases[i].is_other};
        struct sasl_env env = env_of(&w);
        struct sasl_server s;
        struct scram_client c = {.nonce = "clientnonce", .nonce_n = 11};
        uint8_t bound[32];
        struct buf b, in;
        enum sasl_step r;

        memset(bound, 'b', sizeof bound);
        buf_init(&b, 4096);
        buf_init(&in, 4096);
        r = sasl_server_start(&s, slice_str(cases[i].mechanism), false, S(""), &env);
        if (r == SASL_CHALLENGE) {
            assert_int_equal(s.out.n, 0);
            assert_true(scram_client_first(&c, cases[i].flag, bound, slice_str(cases[i].name), &b));
            r = say(&s, b.p, b.n);
        }
        if (r == SASL_CHALLENGE) {
            assert_true(base64_get(&in, buf_slice(&s.out)));
            buf_reset(&b);
            assert_true(scram_client_final(&c, buf_slice(&in), slice_str(cases[i].password), &b));
            if (cases[i].swap_from) {
                struct slice from = slice_str(cases[i].swap_from), all = buf_slice(&b);
                size_t at = slice_find(all, from);
                assert_int_not_equal(at, SLICE_NONE);
                buf_reset(&in);
                buf_addf(&in, "%.*s%s%.*s", (int)at, all.p, cases[i].swap_to,
                         SP(slice_from(all, at + from.n)));
                r = say(&s, in.p, in.n);
            } else r = say(&s, b.p, b.n);
        }
        if (r == SASL_CHALLENGE) {
            buf_reset(&in);
            assert_true(base64_get(&in, buf_slice(&s.out)));
            assert_true(scram_client_verify(&c, buf_slice(&in)));
            r = sasl_server_step(&s, S(""));
        }
        if (r != cases[i].step || (r == SASL_CLAIMED && s.claim != cases[i].claim))
            fail_msg("%s: step %d claim %d", cases[i].what, r, s.claim);
        sasl_server_release(&s);
        scram_client_release(&c);
        buf_release(&b);
        buf_release(&in);
    }
}

/* A client does not work for a server that asks too little or too much. */
static void what_a_client_takes(void **state) {
    static const struct {
        const char *challenge;
        bool is_good;
    } cases[] = {
        {"r=mineyours,s=c2FsdA==,i=4096", true},
        {"r=mineyours,s=c2FsdA==,i=4096,x=y", true},
        {"r=mineyours,s=c2FsdA==,i=4095", false},
        {"r=mineyours,s=c2FsdA==,i=1000001", false},
        {"r=mine,s=c2FsdA==,i=4096", false},
        {"r=yoursmine,s=c2FsdA==,i=4096", false},
        {"r=mineyours,s=,i=4096", false},
        {"r=mineyours,s=c2FsdA==", false},
        {"m=x,r=mineyours,s=c2FsdA==,i=4096", false},
        {"", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct scram_client c = {.nonce = "mine", .nonce_n = 4};
        struct buf b;
        buf_init(&b, 4096);
        assert_true(scram_client_first(&c, 'n', NULL, S("a,b"), &b));
        assert_string_equal(buf_cstr(&b), "n,,n=a=2Cb,r=mine");
        buf_reset(&b);
        if (scram_client_final(&c, slice_str(cases[i].challenge), S("pw"), &b) != cases[i].is_good)
            fail_msg("%s", cases[i].challenge);
        buf_release(&b);
        scram_client_release(&c);
    }
}

/* RFC 7628 3.1 and 3.2.3; bounds; nothing that could end the pair early. */
static void what_a_client_does_with_a_token(void **state) {
    static char text[SASL_TOKEN_MAX + 1];
    const unsigned both = SASL_OAUTHBEARER | SASL_XOAUTH2 | SASL_PLAIN;
    struct sasl_server s;
    struct sasl_client c;
    struct world w = {0};
    struct sasl_env env = env_of(&w);
    (void)state;
    memset(text, 't', sizeof text);
    env.has_tokens = true;
    for (unsigned bit = SASL_XOAUTH2; bit <= SASL_OAUTHBEARER; bit <<= 1) {
        struct slice token = slice_of(text, SASL_TOKEN_MAX);
        assert_true(sasl_client_start(&c, both, bit, S("us,=er"), token, NULL));
        assert_string_equal(sasl_client_name(&c), sasl_name(bit));
        assert_int_equal(
            sasl_server_start(&s, slice_str(sasl_name(bit)), true, buf_slice(&c.out), &env),
            SASL_CLAIMED);
        assert_int_equal(s.claim, SASL_IS_TOKEN);
        assert_true(slice_eq(buf_slice(&s.authcid), S("us,=er")));
        assert_true(slice_eq(buf_slice(&s.password), token));
        assert_int_equal(sasl_server_denied(&s), SASL_CHALLENGE);
        assert_true(sasl_client_step(&c, buf_slice(&s.out)));
        assert_true(slice_eq(buf_slice(&c.out), bit == SASL_XOAUTH2 ? S("") : S("AQ==")));
        assert_int_equal(sasl_server_step(&s, buf_slice(&c.out)), SASL_CLAIMED);
        assert_false(sasl_client_step(&c, S("")));
        sasl_server_release(&s);
        sasl_client_release(&c);
    }
    static const struct slice bad[] = {S_INIT(""), S_INIT("a b"), S_INIT("a\1b"), S_INIT("a\nb")};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_false(sasl_client_start(&c, both, SASL_WITH_TOKEN, S("user"), bad[i], NULL));
        sasl_client_release(&c);
    }
    assert_false(sasl_client_start(&c, both, SASL_WITH_TOKEN, S("user"),
                                   slice_of(text, SASL_TOKEN_MAX + 1), NULL));
    sasl_client_release(&c);
    assert_false(sasl_client_start(&c, both, SASL_WITH_TOKEN, S("u\1auth=x"), S("t"), NULL));
    sasl_client_release(&c);
    // A token is never said as a password, nor the other way round.
    assert_false(sasl_client_start(&c, SASL_PLAIN, SASL_WITH_TOKEN, S("user"), S("t"), NULL));
    sasl_client_release(&c);
    assert_false(
        sasl_client_start(&c, SASL_WITH_TOKEN, SASL_WITH_PASSWORD, S("user"), S("p"), NULL));
    sasl_client_release(&c);
}

static void offers_follow_the_world(void **state) {
    struct world w = {0};
    struct sasl_env env = env_of(&w);
    struct buf b;

    (void)state;
    buf_init(&b, 200);
    assert_int_equal(sasl_server_offers(NULL), SASL_PLAIN | SASL_LOGIN);
    assert_int_equal(sasl_server_offers(&env), SASL_PLAIN | SASL_LOGIN | SASL_SCRAM_SHA_256);
    w.has_binding = true;
    sasl_put_names(&b, sasl_server_offers(&env), " ");
    assert_string_equal(buf_cstr(&b), " SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN");
    assert_int_equal(sasl_list(buf_slice(&b)), sasl_server_offers(&env));
    buf_release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_conversation_of_the_rfc),
        cmocka_unit_test(first_messages),
        cmocka_unit_test(a_nonce_has_a_bound),
        cmocka_unit_test(stored_keys),
        cmocka_unit_test(what_a_server_takes),
        cmocka_unit_test(what_a_client_takes),
        cmocka_unit_test(offers_follow_the_world),
        cmocka_unit_test(what_a_client_does_with_a_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
