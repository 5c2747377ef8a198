/* startup: run two programs in turn N times and compare their wall times: startup N OTHER PROGRAM
 * [ARG...] */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sys/resource.h>
#include <time.h>
#include <fcntl.h>
#include <unistd.h>
extern char **environ;
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}
static int cmp(const void *a, const void *b) {
    double x = *(double *)a, y = *(double *)b;
    return x < y ? -1 : x > y;
}
int main(int c, char **v) {
    (void)c;
    int n = atoi(v[1]);
    double *a = calloc(n, 8), *b = calloc(n, 8);
    posix_spawn_file_actions_t fa;
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < 2; k++) {
            pid_t p;
            int st;
            double t = now();
            char *e[] = {v[2], 0};
            posix_spawn(&p, k ? v[3] : v[2], &fa, 0, k ? v + 3 : e, environ);
            waitpid(p, &st, 0);
            (k ? b : a)[i] = now() - t;
        }
    }
    qsort(a, n, 8, cmp);
    qsort(b, n, 8, cmp);
    printf("min %.3f vs %.3f = %.2f; p10 %.3f vs %.3f = %.2f; median %.3f vs %.3f = %.2f\n", b[0],
           a[0], b[0] / a[0], b[n / 10], a[n / 10], b[n / 10] / a[n / 10], b[n / 2], a[n / 2],
           b[n / 2] / a[n / 2]);
}
