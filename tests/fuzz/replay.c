/* replay: feed files through a fuzz target without a fuzzer, for compilers that have none.
 *
 *     build/asan/fuzz/address_fuzz tests/fuzz/seeds/address [FILE...]
 *
 * Every regular file below every argument is handed to LLVMFuzzerTestOneInput once whole, and once
 * in each of a few shortened forms, so that truncation is exercised too. Prints one summary line.
 * Exit 0 when all was read; a defect ends the process the sanitizer's way. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { FILE_MAX_BYTES = 16 << 20, DEPTH_MAX = 8, CUTS = 16 };

struct tally {
    unsigned long files, runs, failed;
};

/* A copy of exactly `n` bytes, so that a read past the end is seen. */
static void run_once(struct tally *t, const uint8_t *data, size_t n) {
    uint8_t *exact = malloc(n ? n : 1);

    if (!exact) {
        t->failed++;
        return;
    }
    if (n) memcpy(exact, data, n);
    LLVMFuzzerTestOneInput(exact, n);
    free(exact);
    t->runs++;
}

static void replay_file(struct tally *t, const char *path) {
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc(FILE_MAX_BYTES);
    size_t n;

    if (!f || !data) {
        fprintf(stderr, "cannot read %s\n", path);
        t->failed++;
    } else {
        n = fread(data, 1, FILE_MAX_BYTES, f);
        t->files++;
        run_once(t, data, n);
        for (size_t i = 1; i < CUTS && n >= CUTS; i++) run_once(t, data, n * i / CUTS);
    }
    free(data);
    if (f) fclose(f);
}

static void replay_path(struct tally *t, const char *path, int depth) {
    struct stat st;
    struct dirent *d;
    DIR *dir;

    if (stat(path, &st) != 0 || depth > DEPTH_MAX) {
        fprintf(stderr, "cannot read %s\n", path);
        t->failed++;
        return;
    }
    if (!S_ISDIR(st.st_mode)) {
        replay_file(t, path);
        return;
    }
    dir = opendir(path);
    if (!dir) {
        t->failed++;
        return;
    }
    while ((d = readdir(dir))) {
        char below[4096];
        int n;

        if (d->d_name[0] == '.') continue;
        n = snprintf(below, sizeof below, "%s/%s", path, d->d_name);
        if (n > 0 && (size_t)n < sizeof below) replay_path(t, below, depth + 1);
    }
    closedir(dir);
}

int main(int argc, char **argv) {
    struct tally t = {0, 0, 0};
    const char *name = strrchr(argv[0], '/');

    run_once(&t, NULL, 0);
    for (int i = 1; i < argc; i++) replay_path(&t, argv[i], 0);
    printf("%s: %lu files, %lu runs, %lu failed\n", name ? name + 1 : argv[0], t.files, t.runs,
           t.failed);
    return t.failed ? 1 : 0;
}
