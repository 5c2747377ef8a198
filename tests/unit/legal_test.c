/* legal: long lines, NUL and 8-bit made fit for the wire; types of files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mime/legal.h"
#include "mime/part.h"
#include "mime/type.h"

static struct arena arena;
static struct buf in, out;

static void begin(void) {
    arena_release(&arena);
    buf_release(&in);
    buf_release(&out);
    arena_init(&arena, 16 * 1024 * 1024);
    buf_init(&in, 16 * 1024 * 1024);
    buf_init(&out, 16 * 1024 * 1024);
}

static void fill(char c, size_t n) {
    while (n--) buf_addc(&in, c);
}

static struct slice make(bool seven_bit) {
    assert_int_equal(legal_make(&arena, buf_slice(&in), seven_bit, &out, NULL), OK);
    return buf_slice(&out);
}

static unsigned flaws(struct slice s, size_t chunk) {
    struct legal_scan scan = {0};

    for (size_t at = 0; at < s.n; at += chunk)
        legal_scan_add(&scan, slice_first(slice_from(s, at), chunk));
    return scan.flaws;
}

/* The text of the first readable part, which must be what went in. */
static struct slice text_of(struct slice message) {
    struct buf *b = &in;
    struct part *root = part_parse(&arena, message, NULL);

    buf_reset(b);
    assert_true(part_text(part_find_text(root, S("plain")), message, b));
    return buf_slice(b);
}

static void bounds_of_a_line(void **state) {
    (void)state;
    for (size_t n = 996; n <= 1000; n++) {
        begin();
        buf_add(&in, S("Subject: x\r\n\r\n"));
        fill('y', n);
        buf_add(&in, S("\r\n"));
        for (size_t chunk = 1; chunk < 2000; chunk += 499)
            assert_int_equal(flaws(buf_slice(&in), chunk), n > 998 ? LEGAL_LONG_LINE : 0);
        make(false);
        assert_int_equal(slice_eq(buf_slice(&in), buf_slice(&out)), n <= 998);
        assert_int_equal(flaws(buf_slice(&out), 7), 0);
    }
}

static void a_plain_message_becomes_quoted_printable(void **state) {
    struct slice got;

    (void)state;
    begin();
    buf_add(&in, S("Subject: x\r\n\r\nfirst = line\r\n"));
    fill('y', 5000);
    buf_add(&in, S("\r\nlast \r\n"));
    got = make(false);
    assert_int_equal(flaws(got, 1000), 0);
    assert_int_equal(header_count(got, S("MIME-Version")), 1);
    assert_true(slice_eq(header_value(got, S("Content-Transfer-Encoding")), S("quoted-printable")));
    got = text_of(got);
    assert_true(slice_starts(got, S("first = line\nyyy")));
    assert_true(slice_ends(got, S("yyy\nlast \n")));
    assert_int_equal(got.n, 13 + 5000 + 7);
}

static void only_the_part_that_needs_it(void **state) {
    struct slice got;

    (void)state;
    begin();
    buf_add(&in, S("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npre\r\n"
                   "--b\r\nContent-Type: text/plain; charset=utf-8\r\n"
                   "Content-Transfer-Encoding: 8bit\r\n\r\ngr\xc3\xbc\xc3\x9f"
                   "e and plain words\r\n--b\r\nContent-Type: application/x-y\r\n\r\n"));
    fill('z', 3000);
    buf_add(&in, S("\r\n--b--\r\n"));
    got = make(false);
    assert_int_equal(flaws(got, 1000), LEGAL_8BIT);
    assert_true(slice_find(got, S("Transfer-Encoding: 8bit\r\n\r\ngr\xc3\xbc")) != SLICE_NONE);
    assert_true(slice_find(got, S("\r\nContent-Transfer-Encoding: base64\r\n\r\nenp6")) !=
                SLICE_NONE);
    assert_true(slice_ends(got, S("\r\n--b--\r\n")));
    {
        struct part *root = part_parse(&arena, got, NULL);
        struct buf b;

        buf_init(&b, 10000);
        part_decode(root->children->next, got, &b);
        assert_int_equal(b.n, 3000);
        buf_release(&b);
    }
    buf_reset(&out);
    got = make(true);
    assert_int_equal(flaws(got, 1000), 0);
    assert_true(slice_find(got, S("gr=C3=BC=C3=9Fe and plain words\r\n--b\r\n")) != SLICE_NONE);
}

static void signed_stays(void **state) {
    static const char *const heads[] = {
        "DKIM-Signature: v=1\r\nSubject: x\r\n\r\n",
        "ARC-Seal: i=1\r\n\r\n",
        "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n",
        "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n"
        "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\nContent-Type: "
        "text/plain\r\n\r\n",
        "Content-Type: text/plain\r\nContent-MD5: x\r\n\r\n",
        "Content-Type: message/rfc822\r\n\r\nDKIM-Signature: v=1\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        begin();
        buf_add(&in, slice_str(heads[i]));
        fill('s', 2000);
        buf_add(&in, S("\r\n--b--\r\n--a--\r\n"));
        assert_true(slice_eq(make(true), buf_slice(&in)));
    }
}

static void eight_bit_without_mime_is_labelled(void **state) {
    struct slice got;

    (void)state;
    begin();
    buf_add(&in, S("Subject: x\r\n\r\ngr\xc3\xbc\xc3\x9f"
                   "e\r\n"));
    got = make(false);
    assert_true(slice_eq(got, S("Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; "
                                "charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
                                "gr\xc3\xbc\xc3\x9f"
                                "e\r\n")));
    begin();
    buf_add(&in, S("Subject: x\r\n\r\n\xff\r\n"));
    assert_true(slice_find(make(false), S("charset=unknown-8bit")) != SLICE_NONE);
    /* With a label of its own nothing is added. */
    begin();
    buf_add(&in, S("Content-Type: text/html\r\n\r\n\xff\r\n"));
    assert_true(slice_eq(make(false), buf_slice(&in)));
}

static void header_lines_are_folded(void **state) {
    struct slice got;
    struct buf b;

    (void)state;
    begin();
    buf_add(&in, S("References:"));
    for (int i = 0; i < 100; i++) buf_add(&in, S(" <0123456789012345@example.org>"));
    buf_add(&in, S("\r\nX-Long: "));
    fill('w', 2500);
    buf_add(&in, S("\r\nSubject: x\r\n\r\nbody\r\n"));
    got = make(false);
    assert_int_equal(flaws(got, 1000), 0);
    buf_init(&b, 10000);
    header_unfold(&b, header_value(got, S("References")));
    assert_int_equal(b.n, 100 * 31 - 1);
    buf_release(&b);
    assert_true(slice_ends(got, S("Subject: x\r\n\r\nbody\r\n")));
}

static void long_base64_and_nul(void **state) {
    struct slice got;
    struct part *root;
    struct buf b;

    (void)state;
    begin();
    buf_add(&in, S("Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n"));
    for (int i = 0; i < 1000; i++) buf_add(&in, S("AAAA"));
    buf_add(&in, S("\r\n"));
    got = make(false);
    assert_int_equal(flaws(got, 1000), 0);
    root = part_parse(&arena, got, NULL);
    buf_init(&b, 10000);
    part_decode(root, got, &b);
    assert_int_equal(b.n, 3000);
    buf_release(&b);
    begin();
    buf_add(&in, S("Subject: x\r\n\r\na"));
    buf_addc(&in, 0);
    buf_add(&in, S("b\r\n"));
    got = make(false);
    assert_true(slice_ends(got, S("\r\n\r\na=00b\r\n")));
}

static void line_feeds_alone_stay_alone(void **state) {
    struct slice got;

    (void)state;
    begin();
    buf_add(&in, S("Subject: x\n\n"));
    fill('y', 2000);
    buf_add(&in, S("\n"));
    got = make(false);
    assert_true(slice_chr(got, '\r') == SLICE_NONE);
    assert_int_equal(flaws(got, 1000), 0);
}

static void a_full_buffer_is_an_error(void **state) {
    struct err e = {0};

    (void)state;
    begin();
    buf_add(&in, S("Subject: x\r\n\r\n"));
    fill('y', 5000);
    buf_release(&out);
    buf_init(&out, 4000);
    assert_int_equal(legal_make(&arena, buf_slice(&in), false, &out, &e), ERR_LIMIT);
}

static void cut_anywhere_never_fails(void **state) {
    struct slice whole;
    struct buf copy;

    (void)state;
    begin();
    buf_init(&copy, 100000);
    buf_add(&copy, S("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: "
                     "message/rfc822\r\n\r\nSubject: i\r\n\r\n"));
    for (int i = 0; i < 1200; i++) buf_addc(&copy, 'q');
    buf_add(&copy, S("\r\n--b\r\n\r\n"));
    buf_addc(&copy, 0);
    buf_add(&copy, S("\r\n--b--\r\n"));
    whole = buf_slice(&copy);
    for (size_t n = 0; n <= whole.n; n++) {
        begin();
        buf_add(&in, slice_first(whole, n));
        assert_int_equal(flaws(make(true), 100) & LEGAL_LONG_LINE, 0);
    }
    buf_release(&copy);
}

static void types_of_files(void **state) {
    (void)state;
    assert_true(slice_eq(type_of(S("a.PDF"), S("")), S("application/pdf")));
    assert_true(slice_eq(type_of(S("a.tar.gz"), S("")), S("application/gzip")));
    assert_true(slice_eq(type_of(S("noname"), S("%PDF-1.4")), S("application/pdf")));
    assert_true(slice_eq(type_of(S("README"), S("gr\xc3\xbc\n")), S("text/plain")));
    assert_true(slice_eq(type_of(S("core"), S("\x7f"
                                              "ELF")),
                         S("application/octet-stream")));
    assert_true(slice_eq(type_of(S("x"), S("\xff\xfe")), S("application/octet-stream")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_of_a_line),
        cmocka_unit_test(a_plain_message_becomes_quoted_printable),
        cmocka_unit_test(only_the_part_that_needs_it),
        cmocka_unit_test(signed_stays),
        cmocka_unit_test(eight_bit_without_mime_is_labelled),
        cmocka_unit_test(header_lines_are_folded),
        cmocka_unit_test(long_base64_and_nul),
        cmocka_unit_test(line_feeds_alone_stay_alone),
        cmocka_unit_test(a_full_buffer_is_an_error),
        cmocka_unit_test(cut_anywhere_never_fails),
        cmocka_unit_test(types_of_files),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    arena_release(&arena);
    buf_release(&in);
    buf_release(&out);
    return failed;
}
