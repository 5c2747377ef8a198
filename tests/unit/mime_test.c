/* Formats of mail: fields, dates, encoded words, parameters, transfer encodings, charsets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/attr.h"
#include "mime/b64.h"
#include "mime/charset.h"
#include "mime/date.h"
#include "mime/encword.h"
#include "mime/header.h"
#include "mime/msgid.h"
#include "mime/param.h"
#include "mime/qp.h"

static void same(struct slice got, struct slice want) {
    if (slice_eq(got, want)) return;
    print_error("got  \"%.*s\"\nwant \"%.*s\"\n", SP(got), SP(want));
    fail();
}

static void fields_are_found_with_folds_and_broken_lines(void **state) {
    struct slice m = S(
        "From someone Mon\nA: 1\r\nB : two\r\n\tfolded\r\nno colon here\r\nA:3\r\n\r\nA: body\r\n");
    struct header_iter it;
    struct header_field f;
    struct buf b;
    size_t n = 0, head;

    (void)state;
    for (header_begin(&it, m); header_next(&it, &f);) n++;
    assert_int_equal(n, 5);
    assert_int_equal(header_count(m, S("a")), 2);
    assert_true(header_find(m, S("a"), 1, &f));
    same(f.value, S("3"));
    same(header_value(m, S("b")), S("two\r\n\tfolded"));
    buf_init(&b, 100);
    header_unfold(&b, header_value(m, S("B")));
    same(buf_slice(&b), S("two\tfolded"));
    buf_release(&b);
    same(slice_from(m, header_end(m, &head)), S("A: body\r\n"));
    same(slice_from(slice_first(m, head), head - 5), S("A:3\r\n"));
    assert_int_equal(header_end(S("A: 1\n"), NULL), 5);
    assert_int_equal(header_end(S("\nbody"), NULL), 1);
    assert_false(header_find(m, S("C"), 0, &f));
}

static void dates_of_all_kinds_are_read(void **state) {
    static const struct {
        struct slice in;
        wall_t t;
        int offset;
        bool is_good;
    } rows[] = {
        {S_INIT("Mon, 23 Nov 2026 01:02:03 +0000"), 1795395723, 0, true},
        {S_INIT("23 Nov 2026 01:02:03 +0100"), 1795392123, 60, true},
        {S_INIT("Mon, 23 Nov 2026 01:02 -0500 (EST)"), 1795413720, -300, true},
        {S_INIT("Fri, 21 Nov 97 09:55:06 EST"), 880124106, -300, true},
        {S_INIT("Fri, 21 Nov 103 09:55:06 GMT"), 1069408506, 0, true},
        {S_INIT("Mon Nov 23 01:02:03 2026"), 1795395723, 0, true},
        {S_INIT("Mon, 23 (a (nested) one) Nov\r\n 2026 1:02:03 Z"), 1795395723, 0, true},
        {S_INIT("23-Nov-2026 01:02:03 +0000"), 1795395723, 0, true},
        {S_INIT("Mon,23 Nov 2026 01:02:03 GMT+0100"), 1795392123, 60, true},
        {S_INIT("Mon, 23 Nov 2026 01:02:03.123 +0000"), 1795395723, 0, true},
        {S_INIT("31 Feb 2026 00:00:00 +0000"), 0, 0, false},
        {S_INIT("Mon, 23 Nov 2026 25:00:00 +0000"), 0, 0, false},
        {S_INIT("yesterday"), 0, 0, false},
        {S_INIT(""), 0, 0, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        wall_t t = 0;
        int offset = 0;
        bool is_good = date_parse(rows[i].in, &t, &offset);

        if (is_good != rows[i].is_good || t != rows[i].t || offset != rows[i].offset) {
            print_error("%.*s: %d %lld %d\n", SP(rows[i].in), is_good, (long long)t, offset);
            fail();
        }
    }
}

static void imap_dates_are_strict(void **state) {
    char text[DATE_IMAP_MAX];
    wall_t t;
    int offset;

    (void)state;
    assert_true(date_parse_imap(S("23-Nov-2026 01:02:03 +0100"), &t, &offset));
    assert_int_equal(t, 1795392123);
    same(date_format_imap(t, offset, text), S("23-Nov-2026 01:02:03 +0100"));
    assert_true(date_parse_imap(S(" 1-Jan-2026 00:00:00 -0830"), &t, &offset));
    assert_int_equal(offset, -510);
    assert_false(date_parse_imap(S("1-Jan-2026 00:00:00 -0830"), &t, &offset));
    assert_false(date_parse_imap(S("32-Jan-2026 00:00:00 +0000"), &t, &offset));
    assert_false(date_parse_imap(S("23-Nov-2026 01:02:03 *0100"), &t, &offset));
    assert_true(date_parse_imap_day(S("1-Jan-1970"), &t));
    assert_int_equal(t, 0);
    assert_false(date_parse_imap_day(S("1-Jan-1970x"), &t));
}

static void encoded_words_are_decoded(void **state) {
    static const struct {
        struct slice in, out;
    } rows[] = {
        {S_INIT("plain text"), S_INIT("plain text")},
        {S_INIT("=?utf-8?Q?Gr=C3=BC=C3=9Fe?="), S_INIT("Gr\xC3\xBC\xC3\x9F"
                                                       "e")},
        {S_INIT("=?ISO-8859-1?q?a_b?= =?ISO-8859-1?q?_c?="), S_INIT("a b c")},
        {S_INIT("=?UTF-8?B?w?=\r\n =?UTF-8?B?7w=?="), S_INIT("")}, /* checked not to crash */
        {S_INIT("=?utf-8?B?4oI=?= =?utf-8?B?rA==?="), S_INIT("\xE2\x82\xAC")},
        {S_INIT("(=?utf-8*de?Q?a?=) b"), S_INIT("(a) b")},
        {S_INIT("a =?utf-8?Q?b?= c"), S_INIT("a b c")},
        {S_INIT("=?utf-8?Q?x=0D=0ABcc:_y?="), S_INIT("x  Bcc: y")},
        {S_INIT("=?utf-8?X?x?= =?utf-8?Q?"), S_INIT("=?utf-8?X?x?= =?utf-8?Q?")},
        {S_INIT("caf\xE9"), S_INIT("caf\xC3\xA9")},
        {S_INIT("caf\xC3\xA9"), S_INIT("caf\xC3\xA9")},
        {S_INIT("=?iso-8859-1?Q?=80?="), S_INIT("\xE2\x82\xAC")},
        {S_INIT("folded\r\n text"), S_INIT("folded text")},
    };
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        buf_reset(&b);
        assert_true(encword_decode(&b, rows[i].in));
        if (rows[i].out.n) same(buf_slice(&b), rows[i].out);
    }
    buf_release(&b);
}

static void encoded_text_comes_back_and_folds(void **state) {
    static const struct slice rows[] = {
        S_INIT("short"),
        S_INIT("Gr\xC3\xBC\xC3\x9F"
               "e aus K\xC3\xB6ln und anderswo, mit sehr viel Text dahinter, der gefaltet "
               "werden muss, weil er lang ist"),
        S_INIT("\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E\xE6\x97"
               "\xA5\xE6\x9C\xAC"
               "\xE8\xAA\x9E\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA"
               "\x9E\xE6\x97\xA5"),
        S_INIT("looks =?utf-8?Q?encoded?= but is not"),
        S_INIT("two \xC3\xA9 \xC3\xA9 words"),
    };
    char longest[1500];
    struct buf enc, dec;

    (void)state;
    memset(longest, 'x', sizeof longest);
    buf_init(&enc, 10000);
    buf_init(&dec, 10000);
    for (size_t i = 0; i <= COUNT_OF(rows); i++) {
        struct slice in = i < COUNT_OF(rows) ? rows[i] : slice_of(longest, sizeof longest), rest,
                     line;
        size_t column = 9;

        buf_reset(&enc);
        buf_reset(&dec);
        buf_add(&enc, S("Subject: "));
        assert_true(encword_put_text(&enc, in, &column));
        rest = buf_slice(&enc);
        while (slice_line(&rest, &line)) assert_true(line.n <= 78);
        encword_decode(&dec, slice_from(buf_slice(&enc), 9));
        same(buf_slice(&dec), in);
    }
    buf_reset(&enc);
    encword_put_phrase(&enc, S("Doe, John"), &(size_t){0});
    same(buf_slice(&enc), S("\"Doe, John\""));
    buf_release(&enc);
    buf_release(&dec);
}

static void parameters_are_joined(void **state) {
    static const struct {
        struct slice in, head, name, value;
    } rows[] = {
        {S_INIT("text/plain; charset=\"utf-8\""), S_INIT("text/plain"), S_INIT("charset"),
         S_INIT("utf-8")},
        {S_INIT("text/plain (comment);charset=us-ascii (another); x=y"), S_INIT("text/plain"),
         S_INIT("charset"), S_INIT("us-ascii")},
        {S_INIT("attachment; filename*=utf-8'de'Gr%C3%BC%C3%9Fe.txt; filename=bad"),
         S_INIT("attachment"), S_INIT("filename"),
         S_INIT("Gr\xC3\xBC\xC3\x9F"
                "e.txt")},
        {S_INIT(
             "attachment; filename*1*=%9Fe; filename*0*=utf-8''Gr%C3%BC%C3; filename*2=\".txt\""),
         S_INIT("attachment"), S_INIT("filename"),
         S_INIT("Gr\xC3\xBC\xC3\x9F"
                "e.txt")},
        {S_INIT("a/b; name=\"=?utf-8?Q?=C3=A9?=\""), S_INIT("a/b"), S_INIT("name"),
         S_INIT("\xC3\xA9")},
        {S_INIT("a/b; name=two words; x"), S_INIT("a/b"), S_INIT("name"), S_INIT("two words")},
        {S_INIT("a/b; name=\"quo\\\"ted\\\\; here\""), S_INIT("a/b"), S_INIT("name"),
         S_INIT("quo\"ted\\; here")},
        {S_INIT("a/b; name=\"open"), S_INIT("a/b"), S_INIT("name"), S_INIT("open")},
        {S_INIT(";;; name=x"), S_INIT(""), S_INIT("name"), S_INIT("x")},
    };
    struct arena a;
    struct buf b;

    (void)state;
    arena_init(&a, 1 << 20);
    buf_init(&b, 10000);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct param_list l;
        struct slice head;

        buf_reset(&b);
        assert_true(param_parse(&a, rows[i].in, &head, &l));
        same(head, rows[i].head);
        assert_true(param_text(&l, rows[i].name, &b));
        same(buf_slice(&b), rows[i].value);
        buf_reset(&b);
        buf_add(&b, S("x"));
        param_put(&b, S("name"), rows[i].value);
        param_parse(&a, buf_slice(&b), &head, &l);
        buf_reset(&b);
        assert_true(param_text(&l, S("name"), &b));
        same(buf_slice(&b), rows[i].value);
    }
    arena_release(&a);
    buf_release(&b);
}

/* Decode `in` in pieces of every size. */
static void decodes_to(bool is_qp, struct slice in, struct slice want) {
    struct buf b;

    buf_init(&b, 10000);
    for (size_t step = 1; step <= in.n; step++) {
        struct qp_decoder q = {.n_held = 0};
        struct b64_decoder d = {0};

        buf_reset(&b);
        for (size_t i = 0; i < in.n; i += step) {
            if (is_qp) qp_decode(&q, slice_first(slice_from(in, i), step), &b);
            else b64_decode(&d, slice_first(slice_from(in, i), step), &b);
        }
        if (is_qp) qp_decode_end(&q, &b);
        else b64_decode_end(&d, &b);
        same(buf_slice(&b), want);
    }
    buf_release(&b);
}

static void transfer_encodings_are_decoded_at_every_split(void **state) {
    (void)state;
    decodes_to(true, S("a=3D=3d b  \r\nsoft=\r\nhard=  \r\n=C3=A9=\n."),
               S("a== b\r\nsofthard\xC3\xA9."));
    decodes_to(true, S("bad =XY =4 ==41 end="), S("bad =XY =4 =A end"));
    decodes_to(false, S("aGVs\r\nbG8=\r\n"), S("hello"));
    decodes_to(false, S("aGVs!bG8"), S("hello"));
    decodes_to(false, S("YQ==YQ=="), S("aa"));
    decodes_to(false, S("A"), S(""));
}

static void transfer_encodings_come_back(void **state) {
    char bytes[1000], text[] = "dots\n.\nblank at end \nand =\ttab\t\n\xC3\xA9"
                               "no newline";
    struct buf b, c;
    struct slice rest, line;

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)(i * 7);
    buf_init(&b, 10000);
    buf_init(&c, 10000);
    for (size_t step = 1; step < 90; step++) {
        struct b64_encoder e = {.n = 0};
        struct qp_encoder q = {.is_binary = true};
        struct b64_decoder d = {0};
        struct qp_decoder qd = {.n_held = 0};
        struct slice in = slice_of(bytes, sizeof bytes);

        buf_reset(&b);
        buf_reset(&c);
        for (size_t i = 0; i < in.n; i += step)
            b64_encode(&e, slice_first(slice_from(in, i), step), &b);
        b64_encode_end(&e, &b);
        for (rest = buf_slice(&b); slice_line(&rest, &line);) assert_true(line.n <= 76);
        b64_decode(&d, buf_slice(&b), &c);
        b64_decode_end(&d, &c);
        assert_false(d.is_damaged);
        same(buf_slice(&c), in);
        buf_reset(&b);
        buf_reset(&c);
        for (size_t i = 0; i < in.n; i += step)
            qp_encode(&q, slice_first(slice_from(in, i), step), &b);
        qp_encode_end(&q, &b);
        for (rest = buf_slice(&b); slice_line(&rest, &line);) assert_true(line.n <= 76);
        qp_decode(&qd, buf_slice(&b), &c);
        qp_decode_end(&qd, &c);
        same(buf_slice(&c), in);
    }
    buf_reset(&b);
    qp_encode(&(struct qp_encoder){0}, S("x"), &b);
    buf_reset(&b);
    {
        struct qp_encoder q = {0};

        qp_encode(&q, slice_of(text, sizeof text - 1), &b);
        qp_encode_end(&q, &b);
        same(buf_slice(&b),
             S("dots\r\n=2E\r\nblank at end=20\r\nand =3D\ttab=09\r\n=C3=A9no newline"));
    }
    buf_release(&b);
    buf_release(&c);
}

static void charsets_become_utf8(void **state) {
    static const struct {
        struct slice charset, in, out;
        bool is_exact;
    } rows[] = {
        {S_INIT("utf-8"), S_INIT("\xC3\xA9"), S_INIT("\xC3\xA9"), true},
        {S_INIT("UTF-8"), S_INIT("\xE9"), S_INIT("\xEF\xBF\xBD"), false},
        {S_INIT("iso-8859-15"), S_INIT("\xA4"), S_INIT("\xE2\x82\xAC"), true},
        {S_INIT("windows-1252"), S_INIT("\x80\x81"), S_INIT("\xE2\x82\xAC\xEF\xBF\xBD"), false},
        {S_INIT("gb2312"), S_INIT("\xC4\xE3\xBA\xC3"), S_INIT("\xE4\xBD\xA0\xE5\xA5\xBD"), true},
        {S_INIT("big5"), S_INIT("\xA7\x41\xA6\x6E"), S_INIT("\xE4\xBD\xA0\xE5\xA5\xBD"), true},
        {S_INIT("iso-2022-jp"), S_INIT("\x1B$B$\"\x1B(B"), S_INIT("\xE3\x81\x82"), true},
        {S_INIT("shift_jis"), S_INIT("\x82\xA0"), S_INIT("\xE3\x81\x82"), true},
        {S_INIT("ks_c_5601-1987"), S_INIT("\xB0\xA1"), S_INIT("\xEA\xB0\x80"), true},
        {S_INIT("koi8-r"), S_INIT("\xC1"), S_INIT("\xD0\xB0"), true},
        {S_INIT("x-no-such-thing"), S_INIT("caf\xE9"), S_INIT("caf\xC3\xA9"), false},
        {S_INIT("//IGNORE"), S_INIT("a"), S_INIT("a"), true},
    };
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        buf_reset(&b);
        assert_int_equal(charset_to_utf8(&b, rows[i].in, rows[i].charset), rows[i].is_exact);
        same(buf_slice(&b), rows[i].out);
        assert_int_equal(charset_is_known(rows[i].charset),
                         !slice_eq(rows[i].charset, S("x-no-such-thing")) &&
                             !slice_eq(rows[i].charset, S("//IGNORE")));
    }
    buf_release(&b);
}

static void message_ids_are_made_and_listed(void **state) {
    static const uint8_t random[MSGID_RANDOM] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 255};
    struct slice rest = S("<a@b>\r\n <c@d> junk <bad id@x> (x) <e <f@g>"), id;
    struct buf b;

    (void)state;
    assert_true(msgid_next(&rest, &id));
    same(id, S("a@b"));
    assert_true(msgid_next(&rest, &id));
    same(id, S("c@d"));
    assert_true(msgid_next(&rest, &id));
    same(id, S("f@g"));
    assert_false(msgid_next(&rest, &id));
    buf_init(&b, 200);
    msgid_put(&b, 1795395723, random, S("mx.example"));
    assert_true(slice_starts(buf_slice(&b), S("<20261123010203.")));
    assert_true(slice_ends(buf_slice(&b), S("@mx.example>")));
    assert_int_equal(b.n, 1 + 15 + 16 + 12);
    buf_release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_found_with_folds_and_broken_lines),
        cmocka_unit_test(dates_of_all_kinds_are_read),
        cmocka_unit_test(imap_dates_are_strict),
        cmocka_unit_test(encoded_words_are_decoded),
        cmocka_unit_test(encoded_text_comes_back_and_folds),
        cmocka_unit_test(parameters_are_joined),
        cmocka_unit_test(transfer_encodings_are_decoded_at_every_split),
        cmocka_unit_test(transfer_encodings_come_back),
        cmocka_unit_test(charsets_become_utf8),
        cmocka_unit_test(message_ids_are_made_and_listed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
