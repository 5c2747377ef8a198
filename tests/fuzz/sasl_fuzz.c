/* Both sides of a SASL exchange against anybody. First byte: how (side, TLS, what is wanted). Then
 * lines: of a client, the first names the mechanism, maybe with an initial response; of a server,
 * the first lists what it offers. With bit 3 every line is put into base64 first. */
#include <assert.h>
#include <string.h>

#include "base/base64.h"
#include "sasl/client.h"
#include "sasl/scram.h"
#include "sasl/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool keys(void *user, struct slice name, struct scram_keys *out) {
    (void)user;
    *out = (struct scram_keys){.iterations = SCRAM_ITERATIONS_MIN, .salt_n = SCRAM_SALT};
    return slice_eq(name, S("user"));
}
static void unpredictable(void *user, void *p, size_t n) {
    (void)user;
    memset(p, 0, n);
}
static bool binding(void *user, uint8_t out[32]) {
    (void)user;
    memset(out, 'b', 32);
    return true;
}
static bool certificate(void *user, struct slice authzid, struct buf *out) {
    (void)user;
    return (!authzid.n || slice_eq(authzid, S("user"))) && (!out || buf_add(out, S("user")));
}

/* The next line of the rest; `coded` owns it. */
static struct slice next_line(struct slice *rest, bool encode, struct buf *coded) {
    struct slice line;

    slice_cut(*rest, '\n', &line, rest);
    if (!encode) return line;
    buf_reset(coded);
    base64_put(coded, line);
    return buf_slice(coded);
}

static void server(struct slice in, unsigned how, const struct sasl_env *env) {
    struct sasl_server x = {0};
    struct slice first, mechanism, initial;
    struct buf coded;
    enum sasl_step r;

    buf_init(&coded, 1 << 20);
    slice_cut(in, '\n', &first, &in);
    bool has_initial = slice_cut(first, ' ', &mechanism, &initial);
    if (how & 8 && base64_put(&coded, initial)) initial = buf_slice(&coded);
    r = sasl_server_start(&x, mechanism, has_initial, initial, how & 16 ? NULL : env);
    for (int turns = 0; r == SASL_CHALLENGE; turns++) {
        assert(turns < 8); /* no mechanism asks without end */
        r = sasl_server_step(&x, next_line(&in, how & 8, &coded));
    }
    if (r == SASL_CLAIMED) {
        assert(x.authcid.n <= SASL_NAME_MAX && x.authzid.n <= SASL_NAME_MAX);
        if (x.claim == SASL_IS_TOKEN && sasl_server_denied(&x) == SASL_CHALLENGE) {
            assert(sasl_server_step(&x, next_line(&in, how & 8, &coded)) == SASL_CLAIMED);
            assert(x.claim == SASL_IS_DENIED);
        }
    }
    sasl_server_release(&x);
    buf_release(&coded);
}

static void client(struct slice in, unsigned how, const struct sasl_env *env) {
    struct sasl_client x = {0};
    struct slice offers;
    struct buf coded, raw;
    bool ok;

    buf_init(&coded, 1 << 20);
    buf_init(&raw, 1 << 20);
    slice_cut(in, '\n', &offers, &in);
    ok = sasl_client_start(&x, sasl_list(offers), how & 4 ? SASL_WITH_TOKEN : SASL_WITH_PASSWORD,
                           S("us,=er"), S("pencil"), how & 16 ? NULL : env);
    for (int turns = 0; ok; turns++) {
        assert(turns < 8);
        /* What it says is base64 and fits a line. */
        buf_reset(&raw);
        assert(x.out.n <= SASL_LINE_MAX && base64_get(&raw, buf_slice(&x.out)));
        ok = sasl_client_step(&x, next_line(&in, how & 8, &coded));
    }
    /* Nobody proves keys that it does not have. */
    if (sasl_find(slice_str(sasl_client_name(&x))) & (SASL_SCRAM_SHA_256 | SASL_SCRAM_SHA_256_PLUS))
        assert(!sasl_client_is_satisfied(&x));
    sasl_client_release(&x);
    buf_release(&coded);
    buf_release(&raw);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sasl_env env = {
        .keys = keys, .random = unpredictable, .certificate = certificate, .has_tokens = true};
    struct slice in;

    if (size < 1 || size > 64 * 1024) return 0;
    in = slice_of((const char *)data + 1, size - 1);
    if (data[0] & 2) env.binding = binding;
    if (data[0] & 1) client(in, data[0], &env);
    else server(in, data[0], &env);
    return 0;
}
