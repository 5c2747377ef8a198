/* MIME structure, and the builder read back through it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/attr.h"
#include "base/num.h"
#include "mime/build.h"
#include "mime/encword.h"
#include "mime/part.h"

static void same(struct slice got, struct slice want) {
    if (slice_eq(got, want)) return;
    print_error("got  \"%.*s\"\nwant \"%.*s\"\n", SP(got), SP(want));
    fail();
}

/* The example of RFC 3501 6.4.5, shortened. */
static const char nested[] = "Subject: top\n"
                             "Content-Type: multipart/mixed; boundary=\"b\"\n"
                             "\n"
                             "preamble\n"
                             "--b\n"
                             "\n"
                             "one\n"
                             "--b  \n"
                             "Content-Type: application/octet-stream\n"
                             "Content-Transfer-Encoding: base64\n"
                             "\n"
                             "dHdv\n"
                             "--b\n"
                             "Content-Type: message/rfc822\n"
                             "\n"
                             "Subject: inner\n"
                             "Content-Type: multipart/alternative; boundary=b-b\n"
                             "\n"
                             "--b-b\n"
                             "Content-Type: text/plain\n"
                             "\n"
                             "three one\n"
                             "line\n"
                             "\n"
                             "--b-b\n"
                             "Content-Type: text/html\n"
                             "\n"
                             "<p>\n"
                             "--b-b--\n"
                             "\n"
                             "--b\n"
                             "Content-Type: message/rfc822\n"
                             "\n"
                             "Subject: simple\n"
                             "\n"
                             "four\n"
                             "--b--\n"
                             "epilogue\n";

static void sections_are_cut_out(void **state) {
    static const struct {
        const char *path;
        enum part_section what;
        const char *want; /* NULL: there is none */
    } rows[] = {
        {"", PART_HEADER, "Subject: top\nContent-Type: multipart/mixed; boundary=\"b\"\n\n"},
        {"1", PART_BODY, "one"},
        {"1", PART_MIME, "\n"},
        {"1", PART_HEADER, NULL},
        {"1.1", PART_BODY, NULL},
        {"2", PART_BODY, "dHdv"},
        {"2", PART_MIME,
         "Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n"},
        {"3", PART_MIME, "Content-Type: message/rfc822\n\n"},
        {"3", PART_HEADER, "Subject: inner\nContent-Type: multipart/alternative; boundary=b-b\n\n"},
        {"3.1", PART_BODY, "three one\nline\n"},
        {"3.1", PART_MIME, "Content-Type: text/plain\n\n"},
        {"3.2", PART_BODY, "<p>"},
        {"3.3", PART_BODY, NULL},
        {"4", PART_BODY, "Subject: simple\n\nfour"},
        {"4", PART_TEXT, "four"},
        {"4.1", PART_BODY, "four"},
        {"4.1.1", PART_BODY, NULL},
        {"4.2", PART_BODY, NULL},
        {"5", PART_BODY, NULL},
        {"", PART_MIME, NULL},
    };

    (void)state;
    for (int crlf = 0; crlf < 2; crlf++) {
        struct arena a;
        struct buf m, want;
        struct part *root;

        arena_init(&a, 1 << 20);
        buf_init(&m, 10000);
        buf_init(&want, 10000);
        for (const char *p = nested; *p; p++) {
            if (crlf && *p == '\n') buf_addc(&m, '\r');
            buf_addc(&m, *p);
        }
        root = part_parse(&a, buf_slice(&m), NULL);
        assert_non_null(root);
        assert_int_equal(root->header.wire + root->body.wire,
                         sizeof nested - 1 + root->header.lines + root->body.lines);
        for (size_t i = 0; i < COUNT_OF(rows); i++) {
            struct slice rest = slice_str(rows[i].path), number;
            uint32_t path[8];
            uint64_t v;
            size_t n = 0, wire = 0;
            struct part_range r;
            bool has;

            while (rest.n) {
                slice_cut(rest, '.', &number, &rest);
                assert_true(num_parse(number, 100, &v));
                path[n++] = (uint32_t)v;
            }
            has = part_section(root, path, n, rows[i].what, &r);
            if (has != (rows[i].want != NULL)) fail_msg("%s: %d", rows[i].path, has);
            if (!has) continue;
            buf_reset(&want);
            for (const char *p = rows[i].want; *p; p++) {
                if (crlf && *p == '\n') buf_addc(&want, '\r');
                buf_addc(&want, *p);
                wire += *p == '\n' ? 2 : 1;
            }
            same(slice_first(slice_from(buf_slice(&m), r.at), r.n), buf_slice(&want));
            assert_int_equal(r.wire, wire);
        }
        arena_release(&a);
        buf_release(&m);
        buf_release(&want);
    }
}

static unsigned count(const struct part *p) {
    unsigned n = 0;

    for (; p; p = part_next(p)) n++;
    return n;
}

static void broken_messages_have_a_structure(void **state) {
    static const struct {
        const char *in;
        unsigned parts;
        const char *type;
    } rows[] = {
        {"", 1, "text"},
        {"\n", 1, "text"},
        {"no header at all", 1, "text"},
        {"Content-Type: garbage\n\nx", 1, "text"},
        {"Content-Type: multipart/mixed\n\nno boundary parameter", 1, "text"},
        {"Content-Type: multipart/mixed; boundary=x\n\nnever comes", 2, "multipart"},
        {"Content-Type: multipart/mixed; boundary=x\n\n--x\n\na\n--x\n\nunterminated", 3,
         "multipart"},
        {"Content-Type: multipart/mixed; boundary=x\n\n--x--\n", 2, "multipart"},
        {"Content-Type: multipart/mixed; boundary=x\n\n--x\n--x\n--x--\n", 3, "multipart"},
        {"Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: text/html\n--x--", 2,
         "multipart"},
        {"Content-Type: multipart/mixed; boundary=x\n--x\n\nin the header\n", 2, "multipart"},
        {"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nAAAA", 1,
         "application"},
        {"Content-Type: message/rfc822\n\nSubject: a\n\nb", 2, "message"},
        {"Content-Type: multipart/digest; boundary=x\n\n--x\n\nSubject: a\n\nb\n--x--", 3,
         "multipart"},
        /* the inner part forgets its end */
        {"Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: multipart/mixed; "
         "boundary=y\n\n"
         "--y\n\na\n--x\n\nb\n--x--",
         4, "multipart"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct arena a;
        struct part *p;

        arena_init(&a, 1 << 20);
        p = part_parse(&a, slice_str(rows[i].in), NULL);
        assert_non_null(p);
        if (count(p) != rows[i].parts) fail_msg("row %zu: %u parts", i, count(p));
        same(p->type, slice_str(rows[i].type));
        assert_true(p->header.n + p->body.n == strlen(rows[i].in) || i == 10);
        for (const struct part *q = p; q; q = part_next(q)) {
            assert_true(q->body.at + q->body.n <= strlen(rows[i].in));
            assert_true(!q->is_multipart || q->children);
            assert_true(!q->is_message || q->children);
        }
        arena_release(&a);
    }
}

static void depth_and_count_are_bounded(void **state) {
    struct arena a;
    struct buf b;
    struct part *p;

    (void)state;
    arena_init(&a, 64 << 20);
    buf_init(&b, 16 << 20);
    for (int i = 0; i < 500; i++)
        buf_addf(&b, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i);
    p = part_parse(&a, buf_slice(&b), NULL);
    assert_non_null(p);
    assert_true(count(p) <= PART_DEPTH_MAX + 2);
    buf_reset(&b);
    buf_add(&b, S("Content-Type: multipart/mixed; boundary=b\n\n"));
    for (int i = 0; i < PART_COUNT_MAX + 500; i++) buf_add(&b, S("--b\n\nx\n"));
    p = part_parse(&a, buf_slice(&b), NULL);
    assert_non_null(p);
    assert_int_equal(count(p), PART_COUNT_MAX);
    buf_reset(&b);
    for (int i = 0; i < 500; i++) buf_add(&b, S("Content-Type: message/rfc822\n\n"));
    p = part_parse(&a, buf_slice(&b), NULL);
    assert_non_null(p);
    assert_true(count(p) <= PART_DEPTH_MAX + 2);
    arena_release(&a);
    arena_init(&a, 300);
    assert_null(part_parse(&a, buf_slice(&b), NULL));
    arena_release(&a);
    buf_release(&b);
}

static void a_built_message_reads_back(void **state) {
    static const uint8_t random[12] = {9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 1, 2};
    struct slice text = S("Gr\xC3\xBC\xC3\x9F"
                          "e\n.\nFrom me\nend"),
                 rest, line;
    const struct build_file file = {.name = S("b\xC3\xBC"
                                              "cher/liste.txt"),
                                    .type = S("image/png"),
                                    .bytes = S("\0\1\2three")};
    struct arena a;
    struct buf out, b;
    struct build build;
    struct address_list to;
    struct part *root;
    const struct part *p;

    (void)state;
    arena_init(&a, 1 << 20);
    buf_init(&out, 100000);
    buf_init(&b, 100000);
    assert_int_equal(
        address_parse(&a,
                      S("J\xC3\xBCrgen von und zu Langen-Namenshausen am Rhein <j@example.org>, "
                        "\"Doe, Jane\" <jane.doe@a-rather-long-domain-name.example.net>, c@d, "
                        "list: a@example.com, b@example.com;"),
                      &to, NULL),
        OK);
    build_init(&build, &out, random, sizeof random);
    build_addresses(&build, S("To"), &to);
    build_text_field(&build, S("Subject"), S("\xC3\x84pfel\r\nBcc: evil@example.org"));
    build_date(&build, 1795395723, 60);
    build_raw_field(
        &build, S("References"),
        S("<aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@b> <aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@b> <c@d>"));
    build_body(&build, text, S("<p>hi</p>"), &file, 1);
    assert_false(out.bad);
    for (rest = buf_slice(&out); slice_line(&rest, &line);) {
        assert_true(line.n <= 78);
        assert_true(slice_chr(line, '\r') == SLICE_NONE);
    }
    root = part_parse(&a, buf_slice(&out), NULL);
    assert_int_equal(count(root), 5);
    p = part_find_text(root, S("plain"));
    assert_true(part_text(p, buf_slice(&out), &b));
    same(buf_slice(&b), S("Gr\xC3\xBC\xC3\x9F"
                          "e\n.\nFrom me\nend\n"));
    p = part_find(root, (uint32_t[]){2}, 1);
    buf_reset(&b);
    assert_true(part_decode(p, buf_slice(&out), &b));
    same(buf_slice(&b), file.bytes);
    buf_reset(&b);
    assert_true(part_filename(p, &b));
    same(buf_slice(&b), S("liste.txt"));
    assert_int_equal(header_count(buf_slice(&out), S("Bcc")), 0);
    buf_reset(&b);
    encword_decode(&b, header_value(buf_slice(&out), S("To")));
    assert_true(slice_starts(buf_slice(&b),
                             S("J\xC3\xBCrgen von und zu Langen-Namenshausen am Rhein <j@")));
    assert_int_equal(address_parse(&a, header_value(buf_slice(&out), S("To")), &to, NULL), OK);
    assert_int_equal(to.n, 7);
    arena_release(&a);
    buf_release(&out);
    buf_release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sections_are_cut_out),
        cmocka_unit_test(broken_messages_have_a_structure),
        cmocka_unit_test(depth_and_count_are_bounded),
        cmocka_unit_test(a_built_message_reads_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
