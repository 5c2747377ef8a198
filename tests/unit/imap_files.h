/* imap_files: every transcript of a folder as a test of its own: whole, in chunks, and cut in two
 * at every place; with one file as argument, what the engine says of it is printed instead. Whoever
 * includes this has `dir` and `play` and calls files_main. */
#ifndef TESTS_IMAP_FILES_H
#define TESTS_IMAP_FILES_H

#include <dirent.h>

#include "base/slice.h"

enum { FILE_MAX = 1 << 20, FILES_MAX = 500, SPLITS_MAX = 3000 };

/* Play `text`, fed in pieces of `chunk` octets (0: as they are) or cut at octet `split` (0:
 * nowhere); compare, or print when it `is_recording`. Returns how many octets were fed. */
static size_t play(struct slice text, const char *file, size_t chunk, size_t split,
                   bool is_recording);

static char *load(const char *path, size_t *n) {
    char *text = malloc(FILE_MAX);
    FILE *f = fopen(path, "rb");

    assert_non_null(f);
    assert_non_null(text);
    *n = fread(text, 1, FILE_MAX, f);
    fclose(f);
    return text;
}

static void one_file(void **state) {
    const char *file = *state;
    char path[512], *text;
    size_t n, fed;

    snprintf(path, sizeof path, "%s/%s", dir, file);
    text = load(path, &n);
    fed = play(slice_of(text, n), file, 0, 0, false);
    for (size_t chunk = 1; chunk <= 8; chunk++) play(slice_of(text, n), file, chunk, 0, false);
    for (size_t split = 1; split < fed && split < SPLITS_MAX; split++) {
        play(slice_of(text, n), file, 0, split, false);
    }
    free(text);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct CMUnitTest *)a)->name, ((const struct CMUnitTest *)b)->name);
}

/* The main function of a test; `name` is that of the group. */
static int files_main(int argc, char **argv, const char *name) {
    static struct CMUnitTest tests[FILES_MAX];
    size_t n = 0;
    DIR *d;

    if (argc > 1) {
        char *text = load(argv[1], &n);
        play(slice_of(text, n), argv[1], 0, 0, true);
        free(text);
        return 0;
    }
    d = opendir(dir);

    if (!d) {
        fprintf(stderr, "no %s here: run from the top of the tree\n", dir);
        return 1;
    }
    for (struct dirent *e; (e = readdir(d)) != NULL && n < FILES_MAX;) {
        if (!slice_ends(slice_str(e->d_name), S(".txt"))) continue;
        tests[n].name = strdup(e->d_name);
        tests[n].initial_state = strdup(e->d_name);
        tests[n++].test_func = one_file;
    }
    closedir(d);
    qsort(tests, n, sizeof *tests, by_name);
    int bad = _cmocka_run_group_tests(name, tests, n, NULL, NULL);
    for (size_t i = 0; i < n; i++) {
        free((void *)(uintptr_t)tests[i].name);
        free(tests[i].initial_state);
    }
    return bad;
}

#endif
