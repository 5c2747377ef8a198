#include "sasl/server.h"

#include "base/attr.h"
#include "base/base64.h"

struct sasl_server_mechanism {
    unsigned bit;
    bool is_server_first; // begins with a challenge that means something
    enum sasl_step (*step)(struct sasl_server *x, struct slice in);
};

static bool put(struct buf *b, struct slice s, size_t max) {
    buf_init(b, max + 1);
    return s.n <= max && buf_add(b, s);
}

static enum sasl_step plain(struct sasl_server *x, struct slice in) {
    struct slice authzid, authcid, password;
    if (!slice_cut(in, '\0', &authzid, &in) || !slice_cut(in, '\0', &authcid, &password) ||
        !authcid.n || slice_chr(password, '\0') != SLICE_NONE)
        return SASL_MALFORMED;
    return put(&x->authzid, authzid, SASL_NAME_MAX) && put(&x->authcid, authcid, SASL_NAME_MAX) &&
                   put(&x->password, password, SASL_PASSWORD_MAX)
               ? SASL_VERIFY
               : SASL_MALFORMED;
}

// the prompts are exactly these; an initial response is the user name.
static enum sasl_step login(struct sasl_server *x, struct slice in) {
    if (slice_chr(in, '\0') != SLICE_NONE) return SASL_MALFORMED;
    if (x->state++ == 0) {
        if (!in.n || !put(&x->authcid, in, SASL_NAME_MAX)) return SASL_MALFORMED;
        buf_reset(&x->out);
        return base64_put(&x->out, S("Password:")) ? SASL_CHALLENGE : SASL_MALFORMED;
    }
    return put(&x->password, in, SASL_PASSWORD_MAX) ? SASL_VERIFY : SASL_MALFORMED;
}

static const struct sasl_server_mechanism mechanisms[] = {
    {SASL_PLAIN, false, plain},
    {SASL_LOGIN, true, login},
};

static void wipe(struct buf *b) {
    if (b->p) explicit_bzero(b->p, b->cap);
    buf_release(b);
}

enum sasl_step sasl_server_start(struct sasl_server *x, struct slice mechanism, bool has_initial,
                                 struct slice initial) {
    unsigned bit = sasl_find(mechanism);
    *x = (struct sasl_server){0};
    buf_init(&x->out, 4096);
    for (size_t i = 0; i < COUNT_OF(mechanisms); i++)
        if (bit == mechanisms[i].bit) x->mechanism = &mechanisms[i];
    if (!x->mechanism) return SASL_UNSUPPORTED;
    if (has_initial) return sasl_server_step(x, slice_eq(initial, S("=")) ? S("") : initial);
    if (x->mechanism->is_server_first && !base64_put(&x->out, S("Username:")))
        return SASL_MALFORMED;
    return SASL_CHALLENGE;
}

enum sasl_step sasl_server_step(struct sasl_server *x, struct slice line) {
    struct buf raw;
    enum sasl_step r = SASL_MALFORMED;
    if (slice_eq(line, S("*"))) return SASL_CANCELLED;
    buf_init(&raw, SASL_LINE_MAX);
    // Reserved at once: a buffer that moves would leave the secret behind.
    if (line.n <= SASL_LINE_MAX && buf_room(&raw, line.n + 1) && base64_get(&raw, line))
        r = x->mechanism->step(x, buf_slice(&raw));
    wipe(&raw);
    return r;
}

void sasl_server_release(struct sasl_server *x) {
    wipe(&x->out);
    wipe(&x->authzid);
    wipe(&x->authcid);
    wipe(&x->password);
    *x = (struct sasl_server){0};
}

const char *sasl_server_name(const struct sasl_server *x) {
    return x->mechanism ? sasl_name(x->mechanism->bit) : "";
}
