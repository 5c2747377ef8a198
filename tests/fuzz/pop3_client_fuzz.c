/* The POP3 client against any server. */
#include <stdlib.h>

#include "pop3/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    unsigned how = data[0];
    struct pop3_client_config c = {.tls = (enum pop3_client_tls)(how & 3),
                                   .user = S("u"),
                                   .password = S("p"),
                                   .plaintext_auth = true};
    struct pop3_client *s = pop3_client_new(&c, 0);
    struct pop3_client_event ev;
    size_t at = 1, stuck = 0, ready = 0;
    while (stuck < 3) {
        bool moved = false;
        while (pop3_client_next(s, &ev)) {
            moved = true;
            if (ev.type == POP3_CLIENT_NEED_TLS) pop3_client_tls_up(s, 0);
            if (ev.type != POP3_CLIENT_READY) continue;
            if (ready++) pop3_client_quit(s);
            else {
                pop3_client_stat(s);
                pop3_client_uidl(s);
                pop3_client_list(s);
                pop3_client_retr(s, 1);
                pop3_client_top(s, 2, 3);
                pop3_client_dele(s, 1);
            }
        }
        size_t n = pop3_client_out(s).n;
        if (n) pop3_client_sent(s, n, 0), moved = true;
        n = size - at;
        if (how & 4 && n > 3) n = 3;
        if (n) {
            char *copy = malloc(n);
            memcpy(copy, data + at, n);
            n = pop3_client_feed(s, slice_of(copy, n), 0);
            free(copy);
            at += n;
            moved |= n > 0;
        }
        stuck = moved ? 0 : stuck + 1;
    }
    pop3_client_eof(s, 0);
    pop3_client_free(s);
    return 0;
}
