#include "deliver/rcpt.h"

#include <stdio.h>
#include <stdlib.h>

#include "smtp/syntax.h"

enum err_code directory_open(const struct conf *c, struct directory *d, struct err *e) {
    enum err_code code;

    *d = (struct directory){.conf = c};
    code = accounts_new(c, &d->accounts, e);
    if (code == OK) code = aliases_new(c->aliases, c->alias_commands, &d->aliases, e);
    if (code != OK) directory_close(d);
    return code;
}

void directory_close(struct directory *d) {
    accounts_free(d->accounts);
    aliases_free(d->aliases);
    *d = (struct directory){0};
}

bool directory_is_local(const struct directory *d, struct slice domain) {
    if (domain.n == 0) return true;
    /* A host that passes all to a relay and names no domain has no mailboxes: mail to root@ITSELF
     * goes out too. */
    if (d->conf->relay.host && !d->conf->has_domain) return false;
    for (size_t i = 0; i < d->conf->domain.n; i++)
        if (slice_ieq(domain, slice_str(d->conf->domain.v[i]))) return true;
    return false;
}

static void split(struct slice address, struct slice *local, struct slice *domain) {
    size_t at = slice_rchr(address, '@');

    *local = at == SLICE_NONE ? address : slice_first(address, at);
    *domain = at == SLICE_NONE ? slice_from(address, address.n) : slice_from(address, at + 1);
}

/* The spellings under which a local recipient may be known, most exact first: the whole local part,
 * then without "+detail". */
struct names {
    char text[4][ACCOUNT_NAME_MAX + 2];
    size_t count;
    struct slice domain;
};

static bool make_names(const struct directory *d, struct slice address, struct names *n) {
    struct slice local, domain;
    struct buf plain;
    size_t plus;
    bool ok;

    split(address, &local, &domain);
    n->domain = domain.n ? domain : slice_str(d->conf->domain.v[0]);
    n->count = 0;
    buf_init(&plain, ACCOUNT_NAME_MAX);
    ok = smtp_local_unquote(&plain, local) && plain.n > 0 &&
         plain.n + n->domain.n + 1 <= ACCOUNT_NAME_MAX && !memchr(plain.p, 0, plain.n);
    if (ok) {
        local = buf_slice(&plain);
        plus = slice_chr(local, '+');
        for (int i = 0; i < (plus != SLICE_NONE && plus > 0 ? 2 : 1); i++) {
            struct slice part = i ? slice_first(local, plus) : local;

            snprintf(n->text[n->count++], sizeof n->text[0], "%.*s@%.*s", SP(part), SP(n->domain));
        }
    }
    buf_release(&plain);
    return ok;
}

/* The alias values of any spelling: with the domain, then (for the first domain's names) without.
 */
static enum err_code find_alias(const struct directory *d, const struct names *n, struct arena *a,
                                struct slice **values, size_t *count, struct err *e) {
    enum err_code code = OK;

    *count = 0;
    for (size_t i = 0; code == OK && *count == 0 && i < n->count; i++) {
        struct slice whole = slice_str(n->text[i]), local, domain;

        code = aliases_find(d->aliases, whole, a, values, count, e);
        if (code != OK || *count) break;
        split(whole, &local, &domain);
        code = aliases_find(d->aliases, local, a, values, count, e);
    }
    return code;
}

/* The values of "@domain", for what is nobody's. */
static enum err_code find_catch_all(const struct directory *d, const struct names *n,
                                    struct arena *a, struct slice **values, size_t *count,
                                    struct err *e) {
    char name[ACCOUNT_NAME_MAX + 2];
    int length = snprintf(name, sizeof name, "@%.*s", SP(n->domain));

    *count = 0;
    return aliases_find(d->aliases, slice_of(name, (size_t)length), a, values, count, e);
}

static enum err_code find_account(const struct directory *d, const struct names *n,
                                  struct account *out, struct err *e) {
    enum err_code code = ERR_NOT_FOUND;
    struct slice local, domain;

    for (size_t i = 0; code == ERR_NOT_FOUND && i < n->count; i++)
        code = accounts_find(d->accounts, slice_str(n->text[i]), out, e);
    if (code != ERR_NOT_FOUND) return code;
    split(slice_str(n->text[0]), &local, &domain);
    if (slice_ieq(local, S("postmaster"))) return accounts_first(d->accounts, n->domain, out, e);
    return code;
}

enum err_code directory_find(const struct directory *d, struct slice address, enum rcpt_kind *kind,
                             struct account *account, struct err *e) {
    struct slice local, domain, *values;
    struct account mine;
    struct names n;
    struct arena a;
    struct err why = {0};
    size_t count;
    enum err_code code;

    split(address, &local, &domain);
    if (!directory_is_local(d, domain)) {
        *kind = RCPT_REMOTE;
        return OK;
    }
    *kind = RCPT_NOBODY;
    if (!make_names(d, address, &n)) return OK;
    arena_init(&a, 4 * 1024 * 1024);
    code = find_alias(d, &n, &a, &values, &count, e);
    if (code == OK && !count) {
        code = find_account(d, &n, account ? account : &mine, &why);
        if (code == OK) *kind = RCPT_ACCOUNT;
        else if (code == ERR_NOT_FOUND) code = find_catch_all(d, &n, &a, &values, &count, e);
        else if (e) *e = why;
    }
    arena_release(&a);
    if (code == OK && count) *kind = RCPT_ALIAS;
    return code;
}

struct expansion {
    const struct directory *d;
    struct arena *a;
    struct rcpt_end *ends;
    size_t count, cap, dead;
    struct slice path[ALIAS_DEPTH_MAX + 1]; /* names being expanded */
    size_t depth;
    struct slice owner; /* of the list being expanded */
};

static enum err_code add_end(struct expansion *x, bool is_local, struct slice address,
                             const struct account *account, struct err *e) {
    for (size_t i = 0; i < x->count; i++)
        if (x->ends[i].is_local == is_local && slice_ieq(x->ends[i].address, address)) return OK;
    if (x->count == RCPT_EXPANSION_MAX)
        return err_mail(e, ERR_LIMIT, STATUS(5, 4, 6), "an alias leads to more than %d recipients",
                        RCPT_EXPANSION_MAX);
    if (x->count == x->cap) {
        size_t cap = x->cap ? x->cap * 2 : 8;
        struct rcpt_end *more = arena_new(x->a, cap * sizeof *more);

        if (!more) return err_mail(e, ERR_MEMORY, STATUS(4, 3, 0), "no memory to expand an alias");
        if (x->count) memcpy(more, x->ends, x->count * sizeof *more);
        x->ends = more;
        x->cap = cap;
    }
    x->ends[x->count] = (struct rcpt_end){
        .is_local = is_local, .address = arena_copy(x->a, address), .owner = x->owner};
    if (is_local) {
        struct account *copy = arena_new(x->a, sizeof *copy);

        if (!copy) return err_mail(e, ERR_MEMORY, STATUS(4, 3, 0), "no memory to expand an alias");
        *copy = *account;
        x->ends[x->count].account = copy;
    }
    x->count++;
    return OK;
}

static enum err_code expand(struct expansion *x, struct slice address, bool may_alias,
                            struct err *e);

/* The address "owner-NAME" when somebody has that name; else empty. */
static enum err_code owner_of(struct expansion *x, const struct names *n, struct slice *out,
                              struct err *e) {
    struct slice *values, owner = arena_printf(x->a, "owner-%s", n->text[0]);
    struct names names;
    struct account account;
    size_t count = 0;
    enum err_code code;

    *out = S("");
    if (slice_istarts(slice_str(n->text[0]), S("owner-")) || !make_names(x->d, owner, &names))
        return OK;
    code = find_alias(x->d, &names, x->a, &values, &count, e);
    if (code == OK && count == 0) {
        code = find_account(x->d, &names, &account, e);
        if (code == ERR_NOT_FOUND) return OK;
    }
    if (code == OK) *out = owner;
    return code;
}

/* One value of an alias. */
static enum err_code expand_value(struct expansion *x, const struct names *n, struct slice value,
                                  struct err *e) {
    bool final = slice_starts(value, S("\\"));
    struct slice to = slice_from(value, final), local, domain;
    struct smtp_path path;
    size_t was = x->count;
    enum err_code code;

    if (slice_starts(to, S("|")) || slice_starts(to, S("/"))) {
        code = add_end(x, false, to, NULL, e);
        if (x->count > was) x->ends[was].is_program = true;
        return code;
    }
    if (slice_starts(to, S("@"))) { /* the same name in another domain */
        split(slice_str(n->text[0]), &local, &domain);
        to = arena_printf(x->a, "%.*s%.*s", SP(local), SP(to));
    }
    if (smtp_address_parse(to, SMTP_PATH_LOCAL | SMTP_PATH_UTF8, &path, e) != OK)
        return err_mail(e, ERR_CONFIG, STATUS(4, 3, 5), "alias %s: \"%.*s\" is not an address",
                        n->text[0], SP(to));
    return expand(x, to, !final, e);
}

static enum err_code expand(struct expansion *x, struct slice address, bool may_alias,
                            struct err *e) {
    struct slice local, domain, before, owner, *values = NULL;
    struct account account;
    struct names n;
    size_t count = 0;
    enum err_code code = OK;

    split(address, &local, &domain);
    if (!directory_is_local(x->d, domain)) return add_end(x, false, address, NULL, e);
    if (!make_names(x->d, address, &n))
        return err_mail(e, ERR_NOT_FOUND, STATUS(5, 1, 1), "no such user: %.*s", SP(address));
    for (size_t i = 0; i < x->depth; i++) /* a name inside its own alias is the account */
        if (slice_ieq(x->path[i], slice_str(n.text[0]))) may_alias = false;
    if (may_alias) code = find_alias(x->d, &n, x->a, &values, &count, e);
    if (code != OK) return code;
    if (count == 0) {
        code = find_account(x->d, &n, &account, e);
        if (code == ERR_NOT_FOUND && may_alias) {
            code = find_catch_all(x->d, &n, x->a, &values, &count, e);
            if (code == OK && count == 0) code = ERR_NOT_FOUND;
            if (code != OK && code != ERR_NOT_FOUND) return code;
        } else if (code == OK) {
            return add_end(x, true, slice_str(account.name), &account, e);
        }
    }
    if (count == 0) {
        if (code == ERR_NOT_FOUND && !may_alias && x->depth > 0)
            return OK; /* a loop without an account ends here */
        if (code == ERR_NOT_FOUND && x->depth > 0) {
            /* The others of the alias get their mail all the same. */
            size_t was = x->count;

            code = add_end(x, false, slice_str(n.text[0]), NULL, e);
            if (x->count > was) x->ends[was].is_dead = true, x->dead++;
            return code;
        }
        if (code == ERR_NOT_FOUND)
            return err_mail(e, ERR_NOT_FOUND, STATUS(5, 1, 1), "no such user: %.*s", SP(address));
        return code;
    }
    before = x->owner;
    code = owner_of(x, &n, &owner, e);
    if (owner.n) x->owner = owner;
    if (x->depth == ALIAS_DEPTH_MAX)
        return err_mail(e, ERR_LIMIT, STATUS(5, 4, 6), "aliases nest deeper than %d",
                        ALIAS_DEPTH_MAX);
    x->path[x->depth++] = arena_copy(x->a, slice_str(n.text[0]));
    for (size_t i = 0; code == OK && i < count; i++) code = expand_value(x, &n, values[i], e);
    x->owner = before;
    x->depth--;
    return code;
}

enum err_code directory_expand(const struct directory *d, struct slice address, struct arena *a,
                               struct rcpt_end **ends, size_t *count, struct err *e) {
    struct expansion x = {.d = d, .a = a};
    enum err_code code = expand(&x, address, true, e);

    if (code == OK && x.count > 0 && x.dead == x.count)
        code = err_mail(e, ERR_NOT_FOUND, STATUS(5, 1, 1), "no such user: %.*s",
                        SP(x.ends[0].address));
    if (code == OK && x.count == 0)
        code = err_mail(e, ERR_NOT_FOUND, STATUS(5, 4, 6), "the alias %.*s leads only to itself",
                        SP(address));
    *ends = x.ends;
    *count = x.count;
    return code;
}
