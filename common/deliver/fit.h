/* fit: a message as one next hop can take it: SMTPUTF8 only where something needs it (S-3), 7-bit
 * for a host without 8BITMIME unless it is signed (S-2). One thread. */
#ifndef DELIVER_FIT_H
#define DELIVER_FIT_H

#include "base/arena.h"
#include "deliver/hop.h"
#include "queue/envelope.h"

enum {
    FIT_HEADER_MAX = 256 * 1024,       /* of the header, looked through for 8-bit octets */
    FIT_CONVERT_MAX = 64 * 1024 * 1024 /* a larger message is not made 7-bit */
};

struct fit {
    struct arena arena;
    const struct envelope *env;
    struct hop_body body;  /* as it is queued */
    struct hop_body seven; /* made 7-bit; fd -1: not yet */
    struct slice sender;
    bool needs_utf8;
};

void fit_init(struct fit *f, const struct envelope *env, const struct hop_body *body);
void fit_release(struct fit *f);
/* `address` with its domain as A-labels when its local part is ASCII (RFC 6531 3.2 leaves that to
 * the sender). The result lives in `f`. */
struct slice fit_address(struct fit *f, struct slice address);
/* Look whether SMTPUTF8 is needed for these recipients: an address or a header field in UTF-8. */
void fit_look(struct fit *f, const struct smtp_client_rcpt *rcpts, size_t n);
/* The octets for a host that has the extensions `exts`; as they are when they cannot be made to
 * fit. */
const struct hop_body *fit_body(struct fit *f, uint32_t exts);

#endif
