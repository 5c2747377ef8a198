#include "sasl/client.h"

#include "base/attr.h"
#include "base/base64.h"

struct sasl_client_mechanism {
    unsigned bit;
    bool has_initial;
    bool (*step)(struct sasl_client *x, struct slice challenge);
};

static void wipe(struct buf *b) {
    if (b->p) explicit_bzero(b->p, b->cap);
    buf_release(b);
}

static bool plain(struct sasl_client *x, struct slice challenge) {
    struct buf raw;
    bool ok;
    (void)challenge;
    if (x->state++) return false;
    buf_init(&raw, SASL_NAME_MAX + SASL_PASSWORD_MAX + 2);
    ok = buf_room(&raw, x->user.n + x->password.n + 2) && buf_addc(&raw, '\0') &&
         buf_add(&raw, x->user) && buf_addc(&raw, '\0') && buf_add(&raw, x->password) &&
         base64_put(&x->out, buf_slice(&raw));
    wipe(&raw);
    return ok;
}

// Whatever the prompts say: servers differ in their words, never in their order.
static bool login(struct sasl_client *x, struct slice challenge) {
    (void)challenge;
    int step = x->state++;
    return step < 2 && base64_put(&x->out, step == 0 ? x->user : x->password);
}

static const struct sasl_client_mechanism mechanisms[] = {
    {SASL_PLAIN, true, plain},
    {SASL_LOGIN, false, login},
};

bool sasl_client_start(struct sasl_client *x, unsigned offered, struct slice user,
                       struct slice password) {
    *x = (struct sasl_client){.user = user, .password = password};
    buf_init(&x->out, 2 * (SASL_NAME_MAX + SASL_PASSWORD_MAX));
    if (user.n > SASL_NAME_MAX || password.n > SASL_PASSWORD_MAX || !user.n ||
        slice_chr(user, '\0') != SLICE_NONE || slice_chr(password, '\0') != SLICE_NONE ||
        !buf_room(&x->out, x->out.max))
        return false;
    for (size_t i = 0; i < COUNT_OF(mechanisms); i++) {
        if (!(offered & mechanisms[i].bit)) continue;
        x->mechanism = &mechanisms[i];
        x->has_initial = mechanisms[i].has_initial;
        return !x->has_initial || x->mechanism->step(x, S(""));
    }
    return false;
}

bool sasl_client_step(struct sasl_client *x, struct slice challenge) {
    buf_reset(&x->out);
    return x->mechanism->step(x, challenge);
}

void sasl_client_release(struct sasl_client *x) {
    wipe(&x->out);
    *x = (struct sasl_client){0};
}

const char *sasl_client_name(const struct sasl_client *x) {
    return x->mechanism ? sasl_name(x->mechanism->bit) : "";
}
