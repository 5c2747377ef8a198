/* help: the renderings of the tables: --help, manual pages, completions. */
#include "base/ascii.h"
#include "cli/applet.h"

/* How an option is written: "-4, --ipv4", "    --json", "-o VALUE". */
static void spell(const struct opt *o, char *text, size_t n) {
    const char *arg = o->arg ? o->arg : "";
    bool glued = o->kind == OPT_PREFIX || o->kind == OPT_MAYBE;
    char letter[16] = "   ";

    if (o->letter) snprintf(letter, sizeof letter, o->name ? "-%c," : "-%c", o->letter);
    if (o->name) snprintf(text, n, "%s --%s%s%s", letter, o->name, *arg ? "=" : "", arg);
    else
        snprintf(text, n, "%s%s%s%s%s", letter, *arg && !glued ? " " : "",
                 o->kind == OPT_MAYBE ? "[" : "", arg, o->kind == OPT_MAYBE ? "]" : "");
}

static void row(FILE *out, const char *left, const char *right) {
    if (strlen(left) > 30) fprintf(out, "  %s\n  %-30s  %s\n", left, "", right);
    else fprintf(out, "  %-30s  %s\n", left, right);
}

enum { HELP_LINES_MAX = 48, HELP_COLUMNS = 96 };

static bool next_setting(const struct applet *a, struct slice *rest, const struct setting **s) {
    struct slice word;
    char name[64];

    (void)a;
    while (slice_word(rest, &word)) {
        snprintf(name, sizeof name, "%.*s", SP(word));
        *s = conf_setting(name);
        if (*s) return true;
    }
    return false;
}

/* Help is one screen: how many lines it has with a line for each setting. */
static int help_lines(const struct applet *a) {
    struct slice rest = slice_str(a->settings);
    const struct setting *s;
    int n = 8;

    for (const struct opt *o = a->opts; o && o->kind != OPT_NONE; o++) n += o->help != NULL;
    while (next_setting(a, &rest, &s)) n++;
    for (const struct exit_doc *x = a->exits; x && x->when; x++) n++;
    return n;
}

/* Settings by name alone, where there are too many for a line each. */
static void settings_row(const struct applet *a, FILE *out) {
    struct slice rest = slice_str(a->settings);
    const struct setting *s;
    size_t column = 0;

    while (next_setting(a, &rest, &s)) {
        size_t n = strlen(s->name) + strlen(s->arg) + 4;

        if (column > 0 && column + n > HELP_COLUMNS) {
            fputc('\n', out);
            column = 0;
        }
        fprintf(out, "%s --%s=%s", column ? "" : "     ", s->name, s->arg);
        column += n + (column ? 0 : 5);
    }
    fputc('\n', out);
}

void applet_help(const struct applet *a, FILE *out) {
    struct slice rest = slice_str(a->settings);
    const struct setting *s;
    bool is_long = help_lines(a) > HELP_LINES_MAX;
    char text[128];

    fprintf(out, "postbag %s: %s\n\nusage: postbag %s [OPTION...]%s%s\n", a->name, a->summary,
            a->name, a->operands ? " " : "", a->operands ? a->operands : "");
    if (a->aliases) fprintf(out, "also called: %s\n", a->aliases);
    fprintf(out, "\noptions\n");
    for (const struct opt *o = a->opts; o && o->kind != OPT_NONE; o++) {
        if (!o->help) continue;
        spell(o, text, sizeof text);
        row(out, text, o->help);
    }
    if (rest.n > 0)
        fprintf(out, "settings (also in postbag.conf and as POSTBAG_NAME%s)\n",
                is_long ? "; see postbag.conf(5)" : "");
    if (is_long) settings_row(a, out);
    while (!is_long && next_setting(a, &rest, &s)) {
        snprintf(text, sizeof text, "    --%s=%s", s->name, s->arg);
        row(out, text, s->help);
    }
    row(out, "-C, --config=FILE", "read settings from FILE");
    row(out, "-h, --help", "show this");
    if (a->exits) {
        fprintf(out, "exit status\n");
        for (const struct exit_doc *x = a->exits; x->when; x++) {
            snprintf(text, sizeof text, "%d", x->status);
            fprintf(out, "  %3s  %s\n", text, x->when);
        }
    }
}

/* Text for mdoc, with a full stop added: no line may begin with a dot or a quote, a backslash is an
 * escape, lines are short, and a sentence starts a line. */
static void put_mdoc(FILE *out, struct slice s) {
    struct slice word;
    size_t column = 0;

    while (slice_word(&s, &word)) {
        bool last = slice_trim(s).n == 0,
             ends = word.p[word.n - 1] == '.' || word.p[word.n - 1] == '?';

        if (column > 0 && column + word.n > 72) {
            fputc('\n', out);
            column = 0;
        }
        if (column > 0) fputc(' ', out);
        else if (word.p[0] == '.' || word.p[0] == '\'') fputs("\\&", out);
        for (size_t i = 0; i < word.n; i++) {
            if (word.p[i] == '\\') fputs("\\e", out);
            else if (word.p[i] == '-') fputs("\\-", out);
            else fputc(word.p[i], out);
        }
        column += word.n + 1;
        if (ends && !last) {
            fputc('\n', out);
            column = 0;
        }
        if (last && !ends) fputc('.', out);
    }
    fputc('\n', out);
}

static void man_options(const struct applet *a, FILE *out) {
    struct slice rest = slice_str(a->settings);
    const struct setting *s;

    fputs(".Bl -tag -width Ds\n", out);
    for (const struct opt *o = a->opts; o && o->kind != OPT_NONE; o++) {
        bool glued = o->kind == OPT_PREFIX || o->kind == OPT_MAYBE;

        if (!o->help) continue;
        fputs(".It", out);
        if (o->letter) {
            fprintf(out, " Fl %c", o->letter);
            if (o->arg && !o->name) fprintf(out, "%s Ar %s", glued ? " Ns" : "", o->arg);
            if (o->name) fputs(" ,", out);
        }
        if (o->name) {
            fprintf(out, " Fl Fl %s", o->name);
            if (o->arg) fprintf(out, " Ns = Ns Ar %s", o->arg);
        }
        fputc('\n', out);
        put_mdoc(out, slice_str(o->help));
    }
    while (next_setting(a, &rest, &s)) {
        fprintf(out, ".It Fl Fl %s Ns = Ns Ar %s\n", s->name, s->arg);
        put_mdoc(out, slice_str(s->help));
        fputs("A setting of\n.Xr postbag.conf 5 .\n", out);
    }
    fputs(".It Fl C , Fl Fl config Ns = Ns Ar FILE\nRead settings from\n.Ar FILE .\n"
          ".It Fl h , Fl Fl help\nShow the options and end.\n.El\n",
          out);
}

static void man_exits(const struct applet *a, FILE *out) {
    fputs(".Bl -tag -width Ds\n", out);
    for (const struct exit_doc *x = a->exits; x && x->when; x++) {
        fprintf(out, ".It %d\n", x->status);
        put_mdoc(out, slice_str(x->when));
    }
    fputs(".El\n", out);
}

/* Copy the template; a line "@NAME@", "@SYNOPSIS@", "@OPTIONS@" or "@EXITS@" is replaced. */
void applet_man(const struct applet *a, struct slice template, FILE *out) {
    struct slice line;

    while (slice_line(&template, &line)) {
        if (slice_eq(line, S("@NAME@"))) {
            fprintf(out, ".Sh NAME\n.Nm %s%s\n", a->name, a->aliases ? " ," : "");
            if (a->aliases) {
                struct slice rest = slice_str(a->aliases), word;

                while (slice_word(&rest, &word))
                    fprintf(out, ".Nm %.*s%s\n", SP(word), rest.n ? " ," : "");
            }
            fprintf(out, ".Nd %s\n", a->summary);
        } else if (slice_eq(line, S("@SYNOPSIS@"))) {
            fprintf(out, ".Sh SYNOPSIS\n.Nm postbag %s\n.Op Ar OPTION ...\n", a->name);
            if (a->operands) fprintf(out, ".Ar %s\n", a->operands);
        } else if (slice_eq(line, S("@OPTIONS@"))) {
            man_options(a, out);
        } else if (slice_eq(line, S("@TITLE@"))) {
            fputs(".Dt ", out);
            for (const char *p = a->name; *p; p++) fputc(ascii_upper(*p), out);
            fputs(" 1\n", out);
        } else if (slice_eq(line, S("@ABOUT@"))) {
            fprintf(out, "%s\n", a->about ? a->about : a->summary);
        } else if (slice_eq(line, S("@EXITS@"))) {
            man_exits(a, out);
        } else {
            fprintf(out, "%.*s\n", SP(line));
        }
    }
}

void overview_man(struct slice template, FILE *out) {
    struct slice line;

    while (slice_line(&template, &line)) {
        if (!slice_eq(line, S("@APPLETS@"))) {
            fprintf(out, "%.*s\n", SP(line));
            continue;
        }
        fputs(".Bl -tag -width \"mx-lookup\" -offset indent\n", out);
        for (const struct applet *const *a = applet_table; *a; a++) {
            fprintf(out, ".It Xr postbag-%s 1\n", (*a)->name);
            put_mdoc(out, slice_str((*a)->summary));
        }
        fputs(".El\n", out);
    }
}

void conf_man(struct slice template, FILE *out) {
    struct slice line;

    while (slice_line(&template, &line)) {
        if (!slice_eq(line, S("@SETTINGS@"))) {
            fprintf(out, "%.*s\n", SP(line));
            continue;
        }
        fputs(".Bl -tag -width Ds\n", out);
        for (const struct setting *s = conf_settings; s->name; s++) {
            fprintf(out, ".It Cm %s Ar %s\n", s->name, s->arg);
            put_mdoc(out, slice_str(s->help));
            if (s->dflt) fprintf(out, "Default:\n.Cm %s .\n", s->dflt);
        }
        fputs(".El\n", out);
    }
}

/* --- completions ---------------------------------------------------------------------------------
 */

/* An option as the shells see it. */
struct word {
    char letter;
    const char *name, *arg, *help;
    const char *const *values; /* what it takes, `n` of them; NULL: anything */
    size_t n;
};

/* Call `emit` for every long option of an applet, its own and its settings. */
static void each_option(const struct applet *a, FILE *out,
                        void (*emit)(FILE *, const struct applet *, const struct word *)) {
    struct slice rest = slice_str(a->settings);
    const struct setting *s;
    struct word w;

    for (const struct opt *o = a->opts; o && o->kind != OPT_NONE; o++) {
        if (!o->help || !(o->name || o->kind == OPT_FLAG || o->kind == OPT_TEXT)) continue;
        w = (struct word){o->letter, o->name, o->arg, o->help, o->words, 0};
        while (w.values && w.values[w.n]) w.n++;
        emit(out, a, &w);
    }
    while (next_setting(a, &rest, &s)) {
        w = (struct word){0, s->name, s->arg, s->help, NULL, 0};
        w.values = conf_words(s->kind, &w.n);
        emit(out, a, &w);
    }
    emit(out, a, &(struct word){'C', "config", "FILE", "read settings from FILE", NULL, 0});
    emit(out, a, &(struct word){'h', "help", NULL, "show the options", NULL, 0});
}

static void put_values(FILE *out, const struct word *w) {
    for (size_t i = 0; i < w->n; i++) fprintf(out, "%s%s", i ? " " : "", w->values[i]);
}

static void put_names(FILE *out, const struct applet *a) {
    fprintf(out, "%s", a->name);
    if (a->aliases) fprintf(out, " %s", a->aliases);
}

static void bash_word(FILE *out, const struct applet *a, const struct word *w) {
    (void)a;
    if (w->name) fprintf(out, " --%s%s", w->name, w->arg ? "=" : "");
    else fprintf(out, " -%c", w->letter);
}

static void bash_values(FILE *out, const struct applet *a, const struct word *w) {
    if (!w->values) return;
    fprintf(out, "    %s:--%s) values=\"", a->name, w->name);
    put_values(out, w);
    fputs("\" ;;\n", out);
}

static void bash(FILE *out) {
    fputs("# bash completion of postbag; made from its tables by `make completions`\n"
          "_postbag() {\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} cmd=${COMP_WORDS[0]##*/} words values= option=\n"
          "    # the option whose value stands here: --name VALUE, or --name = VALUE\n"
          "    option=${COMP_WORDS[COMP_CWORD-1]}\n"
          "    [[ $option == = && COMP_CWORD -ge 2 ]] && option=${COMP_WORDS[COMP_CWORD-2]}\n"
          "    [[ $cur == = ]] && cur=\n"
          "    if [[ $cmd == postbag ]]; then\n"
          "        if (( COMP_CWORD == 1 )); then\n            words=\"--list --install --version "
          "--help",
          out);
    for (const struct applet *const *a = applet_table; *a; a++) {
        fputc(' ', out);
        put_names(out, *a);
    }
    fputs("\"\n            mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n           "
          " return\n        fi\n"
          "        cmd=${COMP_WORDS[1]}\n    fi\n    case $cmd in\n",
          out);
    for (const struct applet *const *a = applet_table; *a; a++) {
        struct slice rest = slice_str((*a)->aliases), word;

        fprintf(out, "    %s", (*a)->name);
        while (slice_word(&rest, &word)) fprintf(out, "|%.*s", SP(word));
        fputs(") words=\"", out);
        each_option(*a, out, bash_word);
        fputs("\" ;;\n", out);
    }
    fputs("    *) return ;;\n    esac\n"
          "    case $cmd in mailq) cmd=queue-run ;; newaliases) cmd=sendmail ;; esac\n"
          "    case $cmd:$option in\n",
          out);
    for (const struct applet *const *a = applet_table; *a; a++) each_option(*a, out, bash_values);
    fputs("    esac\n"
          "    if [[ $values ]]; then\n"
          "        mapfile -t COMPREPLY < <(compgen -W \"$values\" -- \"$cur\")\n"
          "    elif [[ $cur == -* ]]; then\n"
          "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
          "        [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace\n"
          "    else\n        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n    fi\n}\n"
          "complete -F _postbag postbag",
          out);
    for (const struct applet *const *a = applet_table; *a; a++) {
        fputc(' ', out);
        put_names(out, *a);
    }
    fputc('\n', out);
}

static void put_quoted(FILE *out, const char *s, const char *escape) {
    for (; *s; s++) {
        if (*s == '\'') {
            fputs("'\\''", out);
            continue;
        }
        if (strchr(escape, *s)) fputc('\\', out);
        fputc(*s, out);
    }
}

static void zsh_word(FILE *out, const struct applet *a, const struct word *w) {
    (void)a;
    if (w->name) fprintf(out, "        '--%s%s[", w->name, w->arg ? "=" : "");
    else fprintf(out, "        '-%c[", w->letter);
    put_quoted(out, w->help, "[]:\\");
    fputs("]", out);
    if (w->arg) {
        fputc(':', out);
        put_quoted(out, w->arg, "[]:\\");
        if (w->values) {
            fputs(":(", out);
            put_values(out, w);
            fputc(')', out);
        } else {
            fputs(":_files", out);
        }
    }
    fputs("' \\\n", out);
}

static void zsh(FILE *out) {
    fputs("#compdef postbag", out);
    for (const struct applet *const *a = applet_table; *a; a++) {
        fputc(' ', out);
        put_names(out, *a);
    }
    fputs("\n# zsh completion of postbag; made from its tables by `make completions`\n"
          "_postbag() {\n    local cmd=$service\n    if [[ $cmd == postbag ]]; then\n"
          "        if (( CURRENT == 2 )); then\n            local -a applets=(\n",
          out);
    for (const struct applet *const *a = applet_table; *a; a++) {
        fprintf(out, "                '%s:", (*a)->name);
        put_quoted(out, (*a)->summary, ":\\");
        fputs("'\n", out);
    }
    fputs("            )\n            _describe applet applets\n            return\n        fi\n"
          "        cmd=$words[2]\n        shift words\n        (( CURRENT-- ))\n    fi\n    case "
          "$cmd in\n",
          out);
    for (const struct applet *const *a = applet_table; *a; a++) {
        struct slice rest = slice_str((*a)->aliases), word;

        fprintf(out, "    %s", (*a)->name);
        while (slice_word(&rest, &word)) fprintf(out, "|%.*s", SP(word));
        fputs(") _arguments \\\n", out);
        each_option(*a, out, zsh_word);
        fputs("        '*:operand:_files' ;;\n", out);
    }
    fputs("    esac\n}\n_postbag \"$@\"\n", out);
}

static void fish_word(FILE *out, const struct applet *a, const struct word *w) {
    fputs("complete -c postbag -n '__fish_seen_subcommand_from ", out);
    put_names(out, a);
    fputc('\'', out);
    if (w->letter) fprintf(out, " -s %c", w->letter);
    if (w->name) fprintf(out, " -l %s", w->name);
    if (w->values) {
        fputs(" -x -a '", out);
        put_values(out, w);
        fputc('\'', out);
    } else if (w->arg) {
        fputs(" -r", out);
    }
    fputs(" -d '", out);
    for (const char *p = w->help; *p; p++) {
        if (*p == '\'' || *p == '\\') fputc('\\', out);
        fputc(*p, out);
    }
    fputs("'\n", out);
}

static void fish(FILE *out) {
    fputs("# fish completion of postbag; made from its tables by `make completions`\n", out);
    for (const struct applet *const *a = applet_table; *a; a++)
        fprintf(out, "complete -c postbag -n __fish_use_subcommand -f -a %s -d '%s'\n", (*a)->name,
                (*a)->summary);
    for (const struct applet *const *a = applet_table; *a; a++) each_option(*a, out, fish_word);
}

bool applet_completion(const char *shell, FILE *out) {
    if (strcmp(shell, "bash") == 0) bash(out);
    else if (strcmp(shell, "zsh") == 0) zsh(out);
    else if (strcmp(shell, "fish") == 0) fish(out);
    else return false;
    return true;
}
