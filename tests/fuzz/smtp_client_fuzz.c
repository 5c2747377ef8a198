/* The SMTP client against any server. First byte: options. */
#include <stdlib.h>

#include "smtp/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    unsigned how = data[0];
    struct smtp_client_config c = {.is_lmtp = how & 1,
                                   .ehlo_name = S("me.example"),
                                   .tls = (enum smtp_client_tls)(how >> 1 & 3),
                                   .user = how & 8 ? S("u") : S(""),
                                   .password = S("p"),
                                   .plaintext_auth = true};
    struct smtp_client_rcpt rcpts[] = {{S("a@b"), 1, S("")}, {S("c@d"), 0, S("")}};
    struct smtp_client_message m = {.sender = S("x@y"), .rcpts = rcpts, .rcpt_count = 2};
    struct smtp_client *s = smtp_client_new(&c, 0);
    struct smtp_client_event ev;
    size_t at = 1, stuck = 0, sent = 0;
    while (stuck < 3) {
        bool moved = false;
        while (smtp_client_next(s, &ev)) {
            moved = true;
            if (ev.type == SMTP_CLIENT_NEED_TLS) smtp_client_tls_up(s, 0);
            if (ev.type == SMTP_CLIENT_READY) {
                if (sent++ < 3) smtp_client_send(s, &m);
                else smtp_client_quit(s);
            }
            if (ev.type == SMTP_CLIENT_NEED_BODY) {
                if (ev.offset < 10) smtp_client_body(s, S(".a\r\n\n.\rb"));
                else smtp_client_body_end(s);
            }
            for (size_t i = 0; i < 3; i++) (void)smtp_client_result(s, i);
        }
        size_t n = smtp_client_out(s).n;
        if (n) smtp_client_sent(s, n, 0), moved = true;
        n = size - at;
        if (how & 16 && n > 3) n = 3;
        if (n) {
            char *copy = malloc(n);
            memcpy(copy, data + at, n);
            n = smtp_client_feed(s, slice_of(copy, n), 0);
            free(copy);
            at += n;
            moved |= n > 0;
        }
        stuck = moved ? 0 : stuck + 1;
    }
    smtp_client_eof(s, 0);
    smtp_client_free(s);
    return 0;
}
