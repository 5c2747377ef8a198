/* Folding of texts (RFC 5051 and what goes beyond it). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/utf8.h"
#include "imap/fold.h"
#include "mime/encword.h"

static void folds_to(const char *in, const char *want) {
    struct buf b;

    buf_init(&b, 1000);
    assert_true(imap_fold(&b, slice_str(in)));
    if (!slice_eq(buf_slice(&b), slice_str(want)))
        fail_msg("\"%s\" folds to \"%.*s\", not \"%s\"", in, SP(buf_slice(&b)), want);
    buf_release(&b);
}

static void texts_that_differ_in_case_or_form_are_one(void **state) {
    static const char *const rows[][2] = {
        {"Hello World", "hello world"},
        {"a \t\r\n b", "a b"},
        {"\u00c9t\u00e9", "e\u0301te\u0301"},
        {"E\u0301te\u0301", "e\u0301te\u0301"},
        {"stra\u00dfe STRA\u1e9eE", "stra\u00dfe stra\u00dfe"},
        {"\u03a3\u03c3\u03c2", "\u03a3\u03a3\u03a3"},
        {"\u041f\u0440\u0418", "\u041f\u0420\u0418"},
        {"\u0401\u0451", "\u0415\u0308\u0415\u0308"},
        {"\uff28\uff49\u3000\uff11", "hi 1"},
        {"\ufb01ne \u017ft", "fine st"},
        {"a\u00a0 b", "a b"},
        {"\u6771\u4eac\u90fd \ud55c", "\u6771\u4eac\u90fd \ud55c"},
        {"\uff76\uff9e", "\u30ab\u3099"},
        {"\u30ac", "\u30ab\u3099"},
        {"\u1c90\u10d0", "\u10d0\u10d0"},
        {"\u0130", "i\u0307"},
        {"\u01c4\u01c5\u01c6", "dz\u030cdz\u030cdz\u030c"},
        {"\U0001d400\U0001f130", "aa"},
        {"\U00010428\U00010400", "\U00010400\U00010400"},
        {"\U0002f800\U0002fa1d\U0002fa20", "\u4e3d\U0002a600\U0002fa20"},
        {"\U0010ffff", "\U0010ffff"},
        {"\xff\xc3(\xc3", "\xff\xc3(\xc3"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) folds_to(rows[i][0], rows[i][1]);
}

/* The short way for plain fields says the same as the long one. */
static void a_field_is_folded_as_it_is_decoded(void **state) {
    static const char letters[] = "aB =?\t\r\n\x01\x7f\xc3\x84_Q-";
    uint32_t x = 1;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        char text[12];
        struct buf d, slow, fast;
        size_t n = (size_t)round % sizeof text;

        for (size_t i = 0; i < n; i++) {
            x = x * 1103515245 + 12345;
            text[i] = letters[(x >> 16) % (sizeof letters - 1)];
            if (text[i] == '\n' && i + 1 < n) text[++i] = ' '; /* as fields are folded */
        }
        buf_init(&d, 1000);
        buf_init(&slow, 1000);
        buf_init(&fast, 1000);
        encword_decode(&d, slice_of(text, n));
        imap_fold(&slow, buf_slice(&d));
        assert_true(imap_fold_field(&fast, slice_of(text, n)));
        if (!slice_eq(buf_slice(&fast), buf_slice(&slow)))
            fail_msg("round %d: \"%.*s\" and \"%.*s\"", round, SP(buf_slice(&fast)),
                     SP(buf_slice(&slow)));
        buf_release(&d);
        buf_release(&slow);
        buf_release(&fast);
    }
}

/* So that an index made of folded texts, and a text folded twice, say the same. */
static void folding_twice_is_folding_once_and_growth_is_bounded(void **state) {
    size_t most = 0;
    struct buf in, once, twice;

    (void)state;
    buf_init(&in, 16);
    buf_init(&once, 256);
    buf_init(&twice, 256);
    for (uint32_t c = 1; c < 0x110000; c++) {
        if (c >= 0xd800 && c < 0xe000) continue;
        buf_reset(&in);
        buf_reset(&once);
        buf_reset(&twice);
        utf8_put(&in, c);
        assert_true(imap_fold(&once, buf_slice(&in)));
        assert_true(once.n <= IMAP_FOLD_GROWTH * in.n);
        assert_true(utf8_valid(buf_slice(&once)));
        if (once.n > most) most = once.n;
        assert_true(imap_fold(&twice, buf_slice(&once)));
        if (!slice_eq(buf_slice(&once), buf_slice(&twice))) fail_msg("U+%04X", c);
    }
    assert_int_equal(most, 33); // the bound is one that is reached
    buf_release(&in);
    buf_release(&once);
    buf_release(&twice);
}

static void a_part_of_a_text_folds_to_a_part_of_its_folding(void **state) {
    static const char text[] =
        "Gr\u00fc\u00dfe  \u00a0 an \uff21\uff22\r\n \ufdfa \u0130\u4f1a\u8bae "
        "\xff x \u03a3\u0345 \U0001d400 longer than that by some words";
    struct slice s = slice_str(text);
    struct buf all, part;

    (void)state;
    buf_init(&all, 1000);
    buf_init(&part, 1000);
    assert_true(imap_fold(&all, s));
    for (size_t i = 0; i < s.n; i++) {
        if (((unsigned char)s.p[i] & 0xc0) == 0x80) continue;
        for (size_t k = i; k <= s.n; k++) {
            if (k < s.n && ((unsigned char)s.p[k] & 0xc0) == 0x80) continue;
            buf_reset(&part);
            imap_fold(&part, slice_of(s.p + i, k - i));
            if (slice_find(buf_slice(&all), buf_slice(&part)) == SLICE_NONE)
                fail_msg("%zu to %zu", i, k);
        }
    }
    buf_release(&all);
    buf_release(&part);
}

static void a_full_buffer_is_told(void **state) {
    struct buf b;

    (void)state;
    for (size_t max = 0; max < 33; max++) {
        buf_init(&b, max);
        assert_false(imap_fold(&b, S("\ufdfa")));
        buf_release(&b);
    }
}

/* RFC 5051 2: letters count in upper case, so "_" is behind them. */
static void the_order_is_that_of_titlecase(void **state) {
    (void)state;
    assert_int_equal(imap_fold_cmp(S("_a"), S("za")), 1);
    assert_int_equal(imap_fold_cmp(S("a"), S("ab")), -1);
    assert_int_equal(imap_fold_cmp(S("ab"), S("ab")), 0);
    assert_int_equal(imap_fold_cmp(S("\u0415"), S("z")), 1);
    assert_int_equal(imap_fold_cmp(S(""), S("")), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_field_is_folded_as_it_is_decoded),
        cmocka_unit_test(texts_that_differ_in_case_or_form_are_one),
        cmocka_unit_test(folding_twice_is_folding_once_and_growth_is_bounded),
        cmocka_unit_test(a_part_of_a_text_folds_to_a_part_of_its_folding),
        cmocka_unit_test(a_full_buffer_is_told),
        cmocka_unit_test(the_order_is_that_of_titlecase),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
