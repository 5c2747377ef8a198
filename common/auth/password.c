#include "auth/password.h"

#include <stdlib.h>

#include "auth/crypt_lib.h"
#include "base/ascii.h"
#include "sys/clock.h"

bool password_equal(struct slice a, struct slice b) {
    unsigned char diff = a.n != b.n;

    for (size_t i = 0; i < a.n; i++) diff |= (unsigned char)(a.p[i] ^ (b.n ? b.p[i % b.n] : 0));
    return diff == 0;
}

static enum err_code hash(const char *setting, struct slice given, struct buf *out, struct err *e) {
    struct crypt_data *data;
    char text[PASSWORD_MAX + 1];
    const char *made;
    enum err_code code = OK;

    if (given.n > PASSWORD_MAX || memchr(given.p ? given.p : "", 0, given.n))
        return err_set(e, ERR_DENIED, "the password is too long or has a NUL");
    if (crypt_load(e) != OK) return ERR_LIBRARY;
    data = calloc(1, sizeof *data);
    if (!data) return err_mail(e, ERR_MEMORY, STATUS(4, 7, 0), "no memory to check a password");
    if (given.n) memcpy(text, given.p, given.n);
    text[given.n] = 0;
    made = xcrypt.crypt_r(text, setting, data);
    explicit_bzero(text, sizeof text);
    if (!made || made[0] == '*')
        code = err_set(e, ERR_UNSUPPORTED, "crypt(3) does not know this kind of password");
    else if (!buf_add(out, slice_str(made)))
        code = err_mail(e, ERR_MEMORY, STATUS(4, 7, 0), "no memory to check a password");
    explicit_bzero(data, sizeof *data);
    free(data);
    return code;
}

/* $7$ (scrypt) at its usual cost takes 67 MiB: a few logins at once would take the machine down. */
static bool is_too_dear(struct slice stored) { return slice_starts(stored, S("$7$")); }

/* Take "{SCHEME}" off `*stored`. */
static struct slice take_scheme(struct slice *stored) {
    struct slice scheme = S("CRYPT");
    size_t end;

    if (slice_starts(*stored, S("{")) && (end = slice_chr(*stored, '}')) != SLICE_NONE) {
        scheme = slice_of(stored->p + 1, end - 1);
        *stored = slice_from(*stored, end + 1);
    }
    return scheme;
}

static bool is_plain(struct slice scheme) {
    return slice_ieq(scheme, S("PLAIN")) || slice_ieq(scheme, S("CLEARTEXT"));
}

static bool is_scram(struct slice scheme) { return slice_ieq(scheme, S("SCRAM-SHA-256")); }

enum err_code password_check(struct slice stored, struct slice given, struct err *e) {
    struct slice scheme = take_scheme(&stored);
    struct scram_keys keys;
    struct buf made;
    char setting[512];
    enum err_code code;

    if (is_scram(scheme)) {
        if (!scram_keys_parse(stored, &keys))
            return err_set(e, ERR_UNSUPPORTED, "the stored SCRAM keys cannot be used");
        return scram_check(&keys, given) ? OK : err_set(e, ERR_DENIED, "wrong password");
    }
    if (is_plain(scheme))
        return stored.n > 0 && password_equal(given, stored)
                   ? OK
                   : err_set(e, ERR_DENIED, "wrong password");
    if (!slice_ieq(scheme, S("CRYPT")) && !slice_iends(scheme, S("-CRYPT")) &&
        !slice_ieq(scheme, S("YESCRYPT")))
        return err_set(e, ERR_UNSUPPORTED, "password scheme {%.*s} is not supported", SP(scheme));
    if (stored.n == 0 || stored.n >= sizeof setting || stored.p[0] != '$' || is_too_dear(stored))
        return err_set(e, ERR_UNSUPPORTED, "this kind of stored password is not supported");
    memcpy(setting, stored.p, stored.n);
    setting[stored.n] = 0;
    buf_init(&made, CRYPT_OUTPUT_SIZE + 1);
    code = hash(setting, given, &made, e);
    if (code == OK && !password_equal(buf_slice(&made), stored))
        code = err_set(e, ERR_DENIED, "wrong password");
    buf_release(&made);
    return code;
}

enum err_code password_make(struct slice password, struct buf *out, struct err *e) {
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];

    if (crypt_load(e) != OK) return ERR_LIBRARY;
    if (!xcrypt.crypt_gensalt_rn("$y$", 0, NULL, 0, setting, sizeof setting))
        return err_sys(e, "cannot make a salt");
    buf_add(out, S("{CRYPT}"));
    return hash(setting, password, out, e);
}

enum err_code password_make_scram(struct slice password, struct buf *out, struct err *e) {
    struct scram_keys keys = {.iterations = SCRAM_ITERATIONS, .salt_n = SCRAM_SALT};
    enum err_code code = OK;

    random_bytes(keys.salt, keys.salt_n);
    if (!scram_is_clean(password))
        return err_set(e, ERR_SYNTAX, "the password has control characters or is not UTF-8");
    buf_add(out, S("{SCRAM-SHA-256}"));
    if (!scram_derive(password, &keys) || !scram_keys_put(out, &keys))
        code = err_set(e, ERR_LIBRARY, "cannot make SCRAM keys of the password");
    explicit_bzero(&keys, sizeof keys);
    return code;
}

bool password_has_keys(struct slice stored) {
    struct slice scheme = take_scheme(&stored);

    return is_plain(scheme) || is_scram(scheme);
}

bool password_keys(struct slice stored, struct scram_keys *out) {
    struct slice scheme = take_scheme(&stored);

    if (is_scram(scheme)) return scram_keys_parse(stored, out);
    return is_plain(scheme) && stored.n > 0 && scram_derive(stored, out);
}

bool password_is_cheap(struct slice stored) { return password_has_keys(stored); }

void password_waste(struct slice given) {
    struct buf out;

    buf_init(&out, CRYPT_OUTPUT_SIZE + 1);
    hash("$y$j9T$abcdefghijklmnopqrstu.", slice_first(given, PASSWORD_MAX), &out, NULL);
    buf_release(&out);
}
