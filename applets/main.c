/* main: find the applet by the name of the link or the first argument. */
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include <errno.h>
#include <limits.h>
#include <signal.h>

#include "base/json.h"
#include "cli/applet.h"
#include "cli/exit.h"
#include "sys/file.h"

#define APPLET(name) extern const struct applet applet_##name;
#include "applets/list.h"
#undef APPLET

const struct applet *const applet_table[] = {
#define APPLET(name) &applet_##name,
#include "applets/list.h"
#undef APPLET
    NULL};

enum { EXIT_UNKNOWN_APPLET = 127 };

static int complain(int status, const char *fmt, const char *word) {
    fputs("postbag: ", stderr);
    fprintf(stderr, fmt, word);
    fputc('\n', stderr);
    return status;
}

static int version(bool as_json) {
    struct buf out;
    struct json j;

    if (!as_json) {
        puts("postbag " POSTBAG_VERSION);
        return EX_OK;
    }
    buf_init(&out, 4096);
    json_init(&j, &out);
    json_object(&j, NULL);
    json_int(&j, "v", 1);
    json_str(&j, "name", S("postbag"));
    json_str(&j, "version", S(POSTBAG_VERSION));
#ifdef LINK_DIRECT
    json_str(&j, "linkage", S("direct"));
#else
    json_str(&j, "linkage", S("lazy"));
#endif
    json_array(&j, "applets");
    for (const struct applet *const *a = applet_table; *a; a++)
        json_str(&j, NULL, slice_str((*a)->name));
    json_end(&j);
    json_line(&j);
    fwrite(out.p, 1, out.n, stdout);
    buf_release(&out);
    return EX_OK;
}

/* Symbolic links to this executable in `dir`, one per applet and alias. What is there is kept
 * unless it is a link of ours. */
static int install_links(const char *dir) {
    char self[PATH_MAX], path[PATH_MAX + 64], old[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    struct err e = {0};
    int status = EX_OK;

    if (n < 0) return complain(EX_OSERR, "cannot find my own path: %s", strerror(errno));
    self[n] = 0;
    if (strlen(dir) > PATH_MAX - 64) return complain(EX_USAGE, "the path is too long: %s", dir);
    if (file_mkdirs(dir, 0755, &e) != OK) return complain(exit_of(&e), "%s", e.msg);
    for (const struct applet *const *a = applet_table; *a; a++) {
        struct slice rest = slice_str((*a)->aliases), name = slice_str((*a)->name);

        do {
            ssize_t was;

            snprintf(path, sizeof path, "%s/%.*s", dir, SP(name));
            was = readlink(path, old, sizeof old - 1);
            if (was > 0 && slice_eq(slice_of(old, (size_t)was), slice_str(self))) continue;
            if (symlink(self, path) < 0) {
                fprintf(stderr, "postbag: cannot make %s: %s\n", path, strerror(errno));
                status = EX_CANTCREAT;
            } else {
                puts(path);
            }
        } while (slice_word(&rest, &name));
    }
    return status;
}

static void list(void) {
    for (const struct applet *const *a = applet_table; *a; a++) puts((*a)->name);
}

static void overview(FILE *out) {
    fputs("postbag: a mail system in one executable\n\nusage: postbag APPLET [OPTION...] "
          "[OPERAND...]\n\napplets\n",
          out);
    for (const struct applet *const *a = applet_table; *a; a++)
        fprintf(out, "  %-12s  %s\n", (*a)->name, (*a)->summary);
    fputs("\noptions\n"
          "  --list           names of the applets\n"
          "  --install DIR    make a link per applet in DIR\n"
          "  --version        version; with --json as JSON\n"
          "  --help           show this; postbag APPLET --help shows an applet's\n",
          out);
}

/* The generators behind `make man completions`: not for users, so not in the overview. */
static int generate(int argc, char **argv) {
    struct buf in;
    struct err e = {0};

    if (strcmp(argv[1], "--print-completion") == 0)
        return argc == 3 && applet_completion(argv[2], stdout)
                   ? EX_OK
                   : complain(EX_USAGE, "%s", "bash, zsh or fish?");
    if (argc != 3) return complain(EX_USAGE, "%s wants a name", argv[1]);
    buf_init(&in, 1024 * 1024);
    if (file_read_fd(STDIN_FILENO, "standard input", &in, &e) != OK)
        return complain(exit_of(&e), "%s", e.msg);
    if (strcmp(argv[2], "postbag.conf") == 0) conf_man(buf_slice(&in), stdout);
    else if (applet_find(argv[2])) applet_man(applet_find(argv[2]), buf_slice(&in), stdout);
    else overview_man(buf_slice(&in), stdout);
    buf_release(&in);
    return EX_OK;
}

static int own_options(int argc, char **argv) {
    const char *word = argv[1];

    if (strcmp(word, "--list") == 0) {
        list();
        return EX_OK;
    }
    if (strcmp(word, "--version") == 0) {
        if (argc > 2 && strcmp(argv[2], "--json") != 0)
            return complain(EX_USAGE, "unknown option %s; see --help", argv[2]);
        return version(argc > 2);
    }
    if (strcmp(word, "--install") == 0)
        return argc == 3 ? install_links(argv[2])
                         : complain(EX_USAGE, "%s wants a directory", word);
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        overview(stdout);
        return EX_OK;
    }
    if (strncmp(word, "--print-", 8) == 0) return generate(argc, argv);
    return complain(EX_USAGE, "unknown option %s; see --help", word);
}

/* A short command is spared the destructors of libraries it loaded; sanitizers need them. */
static int leave(int status) {
    if (fflush(stdout) != 0 && status == EX_OK) status = EX_IOERR;
#ifdef LINK_DIRECT
    return status;
#else
    _exit(status);
#endif
}

int main(int argc, char **argv) {
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char *name = slash ? slash + 1 : argc > 0 ? argv[0] : "postbag";
    const struct applet *a = applet_find(name);

    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* over the limit of ulimit -f a write fails, as on a full disk */
    if (a) return leave(applet_main(a, argc, argv));
    if (argc < 2) {
        overview(stderr);
        return EX_USAGE;
    }
    if (argv[1][0] == '-') return leave(own_options(argc, argv));
    a = applet_find(argv[1]);
    if (!a) {
        const char *names[128], *near;
        size_t n = 0;

        for (const struct applet *const *t = applet_table; *t && n < COUNT_OF(names); t++)
            names[n++] = (*t)->name;
        near = conf_nearest(slice_str(argv[1]), names, n);
        fprintf(stderr, "postbag: unknown applet \"%s\"%s%s%s\n", argv[1],
                near ? "; did you mean \"" : "; see postbag --list", near ? near : "",
                near ? "\"?" : "");
        return EXIT_UNKNOWN_APPLET;
    }
    return leave(applet_main(a, argc - 1, argv + 1));
}
