/* The POP3 server under any bytes. */
#include <stdlib.h>

#include "pop3/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct pop3_message list[] = {{20, S_INIT("u1")}, {10, S_INIT("u2")}};
    if (size < 1) return 0;
    unsigned how = data[0];
    struct pop3_server_config c = {
        .hostname = S("pop.example"), .offer_tls = true, .plaintext_auth = true};
    struct pop3_server *s = pop3_server_new(&c, 0);
    struct pop3_server_event ev;
    size_t at = 1, stuck = 0;
    while (stuck < 3) {
        bool moved = false;
        while (pop3_server_next(s, &ev)) {
            moved = true;
            if (ev.type == POP3_SERVER_LOGIN) pop3_server_maildrop(s, list, 2);
            else if (ev.type == POP3_SERVER_NEED_TLS) pop3_server_tls_up(s, 0);
            else if (ev.type == POP3_SERVER_NEED_BODY) {
                if (ev.offset < 12) pop3_server_body(s, S("A: b\n\n.x\ny"));
                else pop3_server_body_end(s);
            } else pop3_server_ok(s);
        }
        size_t n = pop3_server_out(s).n;
        if (n) pop3_server_sent(s, n, 0), moved = true;
        n = size - at;
        if (how & 1 && n > 3) n = 3;
        if (n) {
            char *copy = malloc(n);
            memcpy(copy, data + at, n);
            n = pop3_server_feed(s, slice_of(copy, n), 0);
            free(copy);
            at += n;
            moved |= n > 0;
        }
        stuck = moved ? 0 : stuck + 1;
    }
    pop3_server_eof(s, 0);
    pop3_server_free(s);
    return 0;
}
