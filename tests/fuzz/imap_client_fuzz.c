/* A server that sends anything, in pieces whose size the first byte chooses. */
#include <stdlib.h>

#include "imap/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void pump(struct imap_client *c, unsigned *step) {
    struct imap_client_event ev;

    while (imap_client_next(c, &ev)) {
        // look at what is handed out, so that a dangling slice is seen
        volatile char sum = 0;
        for (size_t i = 0; i < ev.bytes.n; i++) sum = (char)(sum + ev.bytes.p[i]);
        for (size_t i = 0; i < ev.text.n; i++) sum = (char)(sum + ev.text.p[i]);
        for (size_t i = 0; i < ev.name.n; i++) sum = (char)(sum + ev.name.p[i]);
        for (size_t i = 0; i < ev.n_numbers; i++) sum = (char)(sum + (char)ev.numbers[i]);
        for (size_t i = 0; i < ev.fetched.envelope.to.n; i++) {
            const struct imap_address *a = &ev.fetched.envelope.to.v[i];
            if (a->mailbox.n) sum = (char)(sum + a->mailbox.p[a->mailbox.n - 1]);
        }
        if (ev.type == IMAP_CL_NEED_TLS) imap_client_tls_up(c);
    }
    imap_client_sent(c, imap_client_out(c).n, 0);
    if (!imap_client_is_free(c)) return;
    switch ((*step)++ % 5) {
    case 0: imap_client_list(c, S(""), S("*")); break;
    case 1: imap_client_select(c, S("INBOX"), true); break;
    case 2: imap_client_search(c, S("ALL")); break;
    case 3: imap_client_fetch(c, S("1:*"), S("ENVELOPE BODY.PEEK[]")); break;
    default: imap_client_idle(c); break;
    }
    imap_client_sent(c, imap_client_out(c).n, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct imap_client_config cfg = {.tls = IMAP_CL_TLS_IF_OFFERED,
                                     .user = S_INIT("joe"),
                                     .password = S_INIT("x"),
                                     .allow_plaintext_auth = true};
    struct imap_client *c;
    struct slice in;
    size_t chunk;
    unsigned step = 0;

    if (n < 2) return 0;
    chunk = data[0] & 63 ? data[0] & 63 : n;
    cfg.is_logged_in = !(data[0] & 64);
    step = data[0] >> 5;
    if (!(c = imap_client_new(&cfg, 0))) return 0;
    pump(c, &step);
    in = slice_of((const char *)data + 1, n - 1);
    while (in.n && !imap_client_done(c)) {
        size_t used = imap_client_feed(c, slice_first(in, chunk), 0);
        pump(c, &step);
        if (!used && !imap_client_done(c)) abort();
        in = slice_from(in, used);
    }
    imap_client_eof(c, 0);
    pump(c, &step);
    imap_client_free(c);
    return 0;
}
