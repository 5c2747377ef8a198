#include "cli/opt.h"

#include "base/num.h"
#include "cli/applet.h"
#include "conf/conf.h"

bool opt_takes_setting(const struct applet *a, const char *name) {
    struct slice rest = slice_str(a->settings), word;

    while (slice_word(&rest, &word))
        if (slice_eq(word, slice_str(name))) return conf_setting(name) != NULL;
    return false;
}

static const struct opt *by_letter(const struct applet *a, char letter) {
    for (const struct opt *o = a->opts; o && o->kind != OPT_NONE; o++)
        if (o->letter == letter) return o;
    return NULL;
}

static const struct opt *by_name(const struct applet *a, struct slice name) {
    for (const struct opt *o = a->opts; o && o->kind != OPT_NONE; o++)
        if (o->name && slice_eq(name, slice_str(o->name))) return o;
    return NULL;
}

static enum err_code unknown(const struct applet *a, struct slice name, struct err *e) {
    const char *names[160];
    const char *near;
    size_t n = 0;

    for (const struct opt *o = a->opts; o && o->kind != OPT_NONE; o++)
        if (o->name && n < COUNT_OF(names)) names[n++] = o->name;
    for (const struct setting *s = conf_settings; s->name; s++)
        if (opt_takes_setting(a, s->name) && n < COUNT_OF(names)) names[n++] = s->name;
    if (n + 2 < COUNT_OF(names)) {
        names[n++] = "config";
        names[n++] = "help";
    }
    near = conf_nearest(name, names, n);
    if (near)
        return err_set(e, ERR_USAGE, "unknown option --%.*s; did you mean --%s?", SP(name), near);
    return err_set(e, ERR_USAGE, "unknown option --%.*s; see --help", SP(name));
}

/* "--name" or "-x", for messages. */
static const char *shown(const struct opt *o, char text[64]) {
    if (o->name) snprintf(text, 64, "--%s", o->name);
    else snprintf(text, 64, "-%c", o->letter);
    return text;
}

static enum err_code store(const struct opt *o, const char *value, void *args, struct err *e) {
    char *at = (char *)args + o->offset;
    char name[64];
    struct slice v = slice_str(value);
    uint64_t n;

    switch (o->kind) {
    case OPT_NONE: break;
    case OPT_FLAG: *(bool *)(void *)at = true; break;
    case OPT_TEXT:
    case OPT_PREFIX:
    case OPT_MAYBE: *(const char **)(void *)at = value; break;
    case OPT_LIST: {
        struct opt_list *l = (void *)at;

        if (l->n == OPT_LIST_MAX)
            return err_set(e, ERR_USAGE, "%s is given more than %d times", shown(o, name),
                           OPT_LIST_MAX);
        l->v[l->n++] = value;
        break;
    }
    case OPT_UINT:
        if (!num_parse(v, o->max ? o->max : UINT32_MAX, &n))
            return err_set(e, ERR_USAGE, "%s wants a number from 0 to %u, not \"%s\"",
                           shown(o, name), o->max ? o->max : UINT32_MAX, value);
        *(unsigned *)(void *)at = (unsigned)n;
        break;
    case OPT_TIME:
        if (!num_duration(v, 365 * 86400, &n))
            return err_set(e, ERR_USAGE, "%s wants a time such as 30s, 5m, 4h or 5d, not \"%s\"",
                           shown(o, name), value);
        *(unsigned *)(void *)at = (unsigned)n;
        break;
    case OPT_SIZE:
        if (!num_size(v, UINT64_MAX / 2, &n))
            return err_set(e, ERR_USAGE, "%s wants a size such as 500k or 10M, not \"%s\"",
                           shown(o, name), value);
        *(uint64_t *)(void *)at = n;
        break;
    case OPT_ENUM: {
        size_t count = 0;
        const char *near;

        for (; o->words[count]; count++) {
            if (slice_eq(v, slice_str(o->words[count]))) {
                *(int *)(void *)at = (int)count;
                return OK;
            }
        }
        near = conf_nearest(v, o->words, count);
        return err_set(e, ERR_USAGE, "%s does not take \"%s\"%s%s%s", shown(o, name), value,
                       near ? "; did you mean \"" : "; see --help", near ? near : "",
                       near ? "\"?" : "");
    }
    }
    return OK;
}

static bool wants_value(const struct opt *o) {
    return o->kind != OPT_FLAG && o->kind != OPT_PREFIX && o->kind != OPT_MAYBE;
}

struct walk {
    const struct applet *a;
    int argc, at;
    char **argv;
    void *args;
    struct opt_result *out;
};

static enum err_code long_option(struct walk *w, const char *word, struct err *e) {
    struct slice name, value;
    bool has_value = slice_cut(slice_str(word), '=', &name, &value);
    const struct opt *o = by_name(w->a, name);
    const char *text = has_value ? value.p : NULL;
    char known[64];

    snprintf(known, sizeof known, "%.*s", SP(name));
    if (!o && slice_eq(name, S("help"))) {
        w->out->help = true;
        return OK;
    }
    if (!o && slice_eq(name, S("version"))) {
        w->out->version = true;
        return OK;
    }
    if (!o && !slice_eq(name, S("config")) && !opt_takes_setting(w->a, known))
        return unknown(w->a, name, e);
    if (o && !wants_value(o)) {
        if (text && o->kind == OPT_FLAG) return err_set(e, ERR_USAGE, "--%s takes no value", known);
        return store(o, text ? text : "", w->args, e);
    }
    if (!text) {
        if (w->at + 1 >= w->argc) return err_set(e, ERR_USAGE, "--%s wants a value", known);
        text = w->argv[++w->at];
    }
    if (o) return store(o, text, w->args, e);
    if (slice_eq(name, S("config"))) {
        w->out->config = text;
        return OK;
    }
    if (w->out->sets == COUNT_OF(w->out->set))
        return err_set(e, ERR_USAGE, "too many settings as options");
    w->out->set[w->out->sets].name = conf_setting(known)->name;
    w->out->set[w->out->sets++].value = text;
    return OK;
}

static enum err_code letters(struct walk *w, const char *word, struct err *e) {
    for (const char *p = word; *p; p++) {
        const struct opt *o = by_letter(w->a, *p);
        const char *value = NULL;

        if (!o && *p == 'h') {
            w->out->help = true;
            continue;
        }
        if (!o && *p != 'C') {
            unsigned char c = (unsigned char)*p;

            return err_set(e, ERR_USAGE, "unknown option -%c; see --help",
                           c > 32 && c < 127 ? c : '?');
        }
        if (o && o->kind == OPT_FLAG) {
            enum err_code code = store(o, "", w->args, e);

            if (code != OK) return code;
            continue;
        }
        value = p + 1;
        if (o && o->kind == OPT_PREFIX && !*value)
            return err_set(e, ERR_USAGE, "-%c wants a value right behind it; see --help", *p);
        if ((!o || wants_value(o)) && !*value) {
            if (w->at + 1 >= w->argc) return err_set(e, ERR_USAGE, "-%c wants a value", *p);
            value = w->argv[++w->at];
        }
        if (o) return store(o, value, w->args, e);
        w->out->config = value;
        return OK;
    }
    return OK;
}

enum err_code opt_parse(const struct applet *a, int argc, char **argv, void *args,
                        struct opt_result *out, struct err *e) {
    struct walk w = {a, argc, 1, argv, args, out};
    int kept = 1;

    *out = (struct opt_result){0};
    for (; w.at < argc; w.at++) {
        char *word = argv[w.at];
        enum err_code code = OK;

        if (word[0] != '-' || word[1] == 0) {
            if (a->stops_at_operand) break;
            argv[kept++] = word;
        } else if (strcmp(word, "--") == 0) {
            w.at++;
            break;
        } else if (word[1] == '-') {
            code = long_option(&w, word + 2, e);
        } else {
            code = letters(&w, word + 1, e);
        }
        if (code != OK) return code;
    }
    for (; w.at < argc; w.at++) argv[kept++] = argv[w.at];
    out->operands = argv + 1;
    out->operand_count = kept - 1;
    if (out->help || out->version) return OK;
    if (out->operand_count < a->min_operands)
        return err_set(e, ERR_USAGE, "%s is missing; see --help",
                       a->operands ? a->operands : "an operand");
    if (a->max_operands >= 0 && out->operand_count > a->max_operands) {
        const char *extra = out->operands[a->max_operands];

        return err_set(e, ERR_USAGE, "\"%.80s\" is one operand too many; see --help", extra);
    }
    return OK;
}
