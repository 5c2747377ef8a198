/* A client that sends anything, in pieces whose size the first byte chooses, before or after login,
 * against the host of the unit tests. The engine may not crash, hang, or hold more than its bound.
 */
#include "../unit/imap_host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void pump(struct host *h, size_t *total) {
    struct imap_event ev;
    struct slice o;

    do {
        while (imap_server_next(h->s, &ev)) {
            if (ev.type == IMAP_EV_STARTTLS) {
                imap_server_tls_up(h->s);
                continue;
            }
            host_answer(h, &ev);
        }
        o = imap_server_out(h->s);
        if (o.n > IMAP_OUT_LOW + IMAP_ITEM_MAX) abort();
        *total += o.n;
        imap_server_sent(h->s, o.n, 0);
    } while (o.n && *total < (256 << 20));
    buf_reset(&h->log);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct host h;
    struct imap_config cfg = {.hostname = S_INIT("h"),
                              .can_starttls = true,
                              .message_size_max = 1000,
                              .allow_plaintext_auth = true};
    size_t chunk, total = 0;
    struct slice in;

    if (n < 2) return 0;
    chunk = data[0] & 63 ? data[0] & 63 : n;
    if (!(data[0] & 64)) cfg.preauth_user = S("joe");
    host_init(&h);
    h.s = imap_server_new(&cfg, 0);
    if (!h.s) return 0;
    pump(&h, &total);
    if (!(data[0] & 128)) {
        imap_server_feed(h.s, S("s SELECT INBOX\r\n"), 0);
        pump(&h, &total);
    }
    in = slice_of((const char *)data + 1, n - 1);
    while (in.n && !imap_server_done(h.s)) {
        size_t used = imap_server_feed(h.s, slice_first(in, chunk), 0);
        pump(&h, &total);
        if (!used && !imap_server_done(h.s)) abort(); // stuck: everything was answered and written
        in = slice_from(in, used);
        if (used % 7 == 3) imap_server_push_expunged(h.s, 101);
        if (used % 7 == 4) imap_server_push_flags(h.s, 102, used, 0);
    }
    imap_server_eof(h.s, 0);
    pump(&h, &total);
    imap_server_free(h.s);
    host_release(&h);
    return 0;
}
