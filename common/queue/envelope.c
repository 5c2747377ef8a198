#include "queue/envelope.h"

#include "base/num.h"

static bool put_line(struct buf *out, const char *name, struct slice v) {
    if (memchr(v.p ? v.p : "", '\n', v.n) || memchr(v.p ? v.p : "", '\r', v.n) ||
        memchr(v.p ? v.p : "", 0, v.n))
        return false;
    return buf_addf(out, "%s", name) && (v.n == 0 || (buf_addc(out, ' ') && buf_add(out, v))) &&
           buf_addc(out, '\n');
}

enum err_code envelope_format(const struct envelope *env, struct buf *out, struct err *e) {
    bool ok = put_line(out, "from", env->sender);

    buf_addf(out, "at %lld\n", (long long)env->arrived);
    if (env->proto.n) ok = put_line(out, "proto", env->proto) && ok;
    if (env->client.n) ok = put_line(out, "client", env->client) && ok;
    if (env->user.n) ok = put_line(out, "user", env->user) && ok;
    if (env->via.n) ok = put_line(out, "via", env->via) && ok;
    if (env->envid.n) ok = put_line(out, "envid", env->envid) && ok;
    if (env->ret) buf_addf(out, "ret %s\n", env->ret == RET_FULL ? "full" : "hdrs");
    if (env->is_binary) buf_add(out, S("body binary\n"));
    else if (env->is_8bit) buf_add(out, S("body 8bit\n"));
    if (env->is_smtputf8) buf_add(out, S("smtputf8\n"));
    if (env->is_requiretls) buf_add(out, S("requiretls\n"));
    if (env->is_tls_optional) buf_add(out, S("tls-optional\n"));
    if (env->priority) buf_addf(out, "priority %d\n", env->priority);
    if (env->release_at) buf_addf(out, "release %lld\n", (long long)env->release_at);
    if (env->by_mode != BY_NONE)
        buf_addf(out, "by %s%s %lld\n", env->by_mode == BY_RETURN ? "return" : "notify",
                 env->by_trace ? "+trace" : "", (long long)env->deliver_by);
    for (size_t i = 0; i < env->rcpt_count; i++) {
        const struct envelope_rcpt *r = &env->rcpts[i];

        ok = put_line(out, "rcpt", r->address) && ok;
        if (r->orcpt.n) ok = put_line(out, "orcpt", r->orcpt) && ok;
        if (r->notify) buf_addf(out, "notify %u\n", r->notify);
    }
    if (out->bad) return err_mail(e, ERR_LIMIT, STATUS(4, 3, 1), "the envelope is too large");
    if (!ok)
        return err_mail(e, ERR_SYNTAX, STATUS(5, 5, 4), "the envelope has a line break or NUL");
    return OK;
}

/* "9", "-3": what MT-PRIORITY may be; else 0. */
static int8_t parse_priority(struct slice v) {
    bool minus = slice_starts(v, S("-"));
    uint64_t n;

    if (!num_parse(slice_from(v, minus), ENVELOPE_PRIORITY_MAX, &n)) return 0;
    return (int8_t)(minus ? -(int)n : (int)n);
}

/* "return+trace 1700000000" */
static void parse_by(struct slice value, struct envelope *env) {
    struct slice how, when, mode, trace;
    uint64_t v;

    if (!slice_cut(value, ' ', &how, &when) || !num_parse(when, INT64_MAX, &v)) return;
    slice_cut(how, '+', &mode, &trace);
    env->by_mode = slice_eq(mode, S("return")) ? BY_RETURN : BY_NOTIFY;
    env->by_trace = trace.n > 0;
    env->deliver_by = (wall_t)v;
}

enum err_code envelope_parse(struct slice text, struct arena *a, struct envelope *env,
                             struct err *e) {
    struct slice rest = text, line;
    size_t count = 0, lines = 0, at = 0;

    *env = (struct envelope){0};
    for (; slice_line(&rest, &line); lines++) count += slice_starts(line, S("rcpt "));
    if (count > ENVELOPE_RCPT_MAX)
        return err_set(e, ERR_LIMIT, "more than %d recipients", ENVELOPE_RCPT_MAX);
    /* So that what it takes of the arena has a bound: each line may be copied. */
    if (lines > ENVELOPE_LINES_MAX + 3 * count)
        return err_set(e, ERR_LIMIT, "more lines than an envelope has");
    env->rcpts = arena_new(a, count * sizeof *env->rcpts);
    if (!env->rcpts) return err_set(e, ERR_MEMORY, "no memory for the envelope");
    env->rcpt_count = count;
    while (slice_line(&text, &line)) {
        struct slice name, value;
        uint64_t v;

        slice_cut(line, ' ', &name, &value);
        if (slice_eq(name, S("from"))) env->sender = arena_copy(a, value);
        else if (slice_eq(name, S("at")))
            env->arrived = num_parse(value, INT64_MAX, &v) ? (wall_t)v : 0;
        else if (slice_eq(name, S("proto"))) env->proto = arena_copy(a, value);
        else if (slice_eq(name, S("client"))) env->client = arena_copy(a, value);
        else if (slice_eq(name, S("user"))) env->user = arena_copy(a, value);
        else if (slice_eq(name, S("via"))) env->via = arena_copy(a, value);
        else if (slice_eq(name, S("envid"))) env->envid = arena_copy(a, value);
        else if (slice_eq(name, S("ret")))
            env->ret = slice_eq(value, S("full")) ? RET_FULL : RET_HDRS;
        else if (slice_eq(name, S("body"))) {
            env->is_binary = slice_eq(value, S("binary"));
            env->is_8bit = true;
        } else if (slice_eq(name, S("smtputf8"))) env->is_smtputf8 = true;
        else if (slice_eq(name, S("requiretls"))) env->is_requiretls = true;
        else if (slice_eq(name, S("tls-optional"))) env->is_tls_optional = true;
        else if (slice_eq(name, S("priority"))) env->priority = parse_priority(value);
        else if (slice_eq(name, S("release")))
            env->release_at = num_parse(value, INT64_MAX, &v) ? (wall_t)v : 0;
        else if (slice_eq(name, S("by"))) parse_by(value, env);
        else if (slice_eq(name, S("rcpt")) && at < count && value.n > 0)
            env->rcpts[at++].address = arena_copy(a, value);
        else if (slice_eq(name, S("orcpt")) && at > 0)
            env->rcpts[at - 1].orcpt = arena_copy(a, value);
        else if (slice_eq(name, S("notify")) && at > 0 && num_parse(value, 15, &v))
            env->rcpts[at - 1].notify = (uint8_t)v;
    }
    if (at != count || count == 0) return err_set(e, ERR_SYNTAX, "the envelope names no recipient");
    if (a->bad) return err_set(e, ERR_MEMORY, "no memory for the envelope");
    return OK;
}
