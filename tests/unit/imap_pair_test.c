/* Our client against our server, in memory: what one writes the other reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "imap/client.h"
#include "imap_host.h"

struct pair {
    struct host h;
    struct imap_client *c;
    struct buf body;
    unsigned lists, fetches, hits, step;
    bool saw_exists, saw_ready, is_over;
    struct imap_fetched last;
    char subject[100];
    struct err err;
};

static void command(struct pair *p) {
    switch (p->step++) {
    case 0: assert_true(imap_client_list(p->c, S(""), S("*"))); break;
    case 1: assert_true(imap_client_select(p->c, S("INBOX"), false)); break;
    case 2: assert_true(imap_client_search(p->c, S("FROM \"j\303\274rgen\""))); break;
    case 3:
        assert_true(imap_client_fetch(
            p->c, S("1:*"), S("UID FLAGS ENVELOPE BODYSTRUCTURE RFC822.SIZE BODY.PEEK[]")));
        break;
    case 4: assert_true(imap_client_command(p->c, S("UID STORE 103 +FLAGS (\\Deleted $x)"))); break;
    case 5: assert_true(imap_client_idle(p->c)); break;
    default: assert_true(imap_client_logout(p->c)); break;
    }
}

static void client_event(struct pair *p, const struct imap_client_event *ev) {
    switch (ev->type) {
    case IMAP_CL_READY: p->saw_ready = true; break;
    case IMAP_CL_LIST: p->lists++; break;
    case IMAP_CL_SEARCH: p->hits += (unsigned)ev->n_numbers; break;
    case IMAP_CL_EXISTS: p->saw_exists = true; break;
    case IMAP_CL_BODY: buf_add(&p->body, ev->bytes); break;
    case IMAP_CL_FETCH:
        p->fetches++;
        assert_true(ev->fetched.uid >= 101);
        if (ev->fetched.has_envelope) {
            snprintf(p->subject, sizeof p->subject, "%.*s", SP(ev->fetched.envelope.subject));
            assert_true(ev->fetched.bodystructure.n > 0 && ev->fetched.has_size);
        }
        break;
    case IMAP_CL_IDLE:
        host_add(&p->h, slice_str(host_simple), IMAP_RECENT, 0);
        imap_server_push_new(p->h.s, &p->h.v[p->h.n - 1].m);
        p->saw_exists = false;
        break;
    case IMAP_CL_REPLY: assert_int_equal(ev->status, IMAP_CL_OK); break;
    case IMAP_CL_END:
        p->is_over = true;
        p->err = ev->err;
        break;
    default: break;
    }
}

static void talk(size_t chunk) {
    struct imap_config scfg = {
        .hostname = S_INIT("h"), .can_starttls = true, .message_size_max = 1000};
    struct imap_client_config ccfg = {
        .tls = IMAP_CL_TLS_REQUIRED, .user = S_INIT("joe"), .password = S_INIT("secret")};
    struct pair p = {0};
    struct imap_client_event cev;
    struct imap_event sev;
    bool client_tls = false;
    uint64_t total = 0;

    host_init(&p.h);
    buf_init(&p.body, 1 << 20);
    p.h.s = imap_server_new(&scfg, 0);
    p.c = imap_client_new(&ccfg, 0);
    assert_non_null(p.h.s);
    assert_non_null(p.c);
    for (unsigned turn = 0; turn < 100000 && !p.is_over; turn++) {
        struct slice o;

        while (imap_server_next(p.h.s, &sev)) host_answer(&p.h, &sev);
        while (imap_client_next(p.c, &cev)) {
            client_tls |= cev.type == IMAP_CL_NEED_TLS;
            client_event(&p, &cev);
        }
        if (client_tls && p.h.wants_tls_up && !imap_server_out(p.h.s).n) {
            client_tls = p.h.wants_tls_up = false;
            imap_server_tls_up(p.h.s);
            imap_client_tls_up(p.c);
        }
        if (p.step == 6 && p.saw_exists) imap_client_idle_done(p.c);
        if (imap_client_is_free(p.c)) command(&p);
        o = slice_first(imap_client_out(p.c), chunk);
        if (o.n) imap_client_sent(p.c, imap_server_feed(p.h.s, o, 0), 0);
        o = slice_first(imap_server_out(p.h.s), chunk);
        if (o.n) imap_server_sent(p.h.s, imap_client_feed(p.c, o, 0), 0);
    }
    assert_true(p.is_over && p.saw_ready);
    assert_int_equal(p.err.code, OK);
    assert_int_equal(p.lists, 8);
    assert_int_equal(p.hits, 1);
    assert_int_equal(p.fetches, 4); // three and the one that STORE tells
    assert_string_equal(p.subject, "Fwd");
    for (size_t i = 0; i < 3; i++) total += p.h.v[i].m.size_bytes;
    assert_int_equal(p.body.n, total);
    imap_client_free(p.c);
    imap_server_free(p.h.s);
    host_release(&p.h);
    buf_release(&p.body);
}

static void whole_and_in_pieces(void **state) {
    (void)state;
    talk(SIZE_MAX);
    for (size_t chunk = 1; chunk < 20; chunk++) talk(chunk);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(whole_and_in_pieces)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
