#include "auth/token.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sasl/sasl.h"
#include "sys/clock.h"
#include "sys/file.h"

/* Start it with `in` as standard input and `out` as standard output, -1: neither. 0, or an errno.
 */
static int start(char *const argv[], char *const env[], int in, int out, pid_t *pid) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    sigset_t none, all;
    int r;

    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&how);
    if (in >= 0) posix_spawn_file_actions_adddup2(&files, in, 0);
    else posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    if (out >= 0) posix_spawn_file_actions_adddup2(&files, out, 1);
    else posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_setpgroup(&how, 0);
    posix_spawnattr_setsigmask(&how, &none);
    posix_spawnattr_setsigdefault(&how, &all);
    posix_spawnattr_setflags(&how, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                       POSIX_SPAWN_SETSIGDEF);
    r = posix_spawnp(pid, argv[0], &files, &how, argv, env);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&how);
    return r;
}

/* Its wait status; -1: it took too long and was ended. */
static int await(pid_t pid) {
    mono_t end = clock_mono() + TOKEN_MS;
    struct pollfd p = {.fd = pidfd_open(pid, 0), .events = POLLIN};
    int status = -1, left = TOKEN_MS;
    bool is_over = false;

    while (p.fd >= 0 && !is_over && left > 0) {
        is_over = poll(&p, 1, left) > 0;
        left = (int)(end - clock_mono());
    }
    if (!is_over) kill(-pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    fd_close(&p.fd);
    return is_over ? status : -1;
}

/* Run `setting`'s command to its end. `status` is of waitpid. */
static enum err_code run(const char *setting, const char *command, const char *mechanism,
                         const char *user, int in, int out, int *status, struct err *e) {
    char words[4096], mech[64], who[SASL_NAME_MAX + 16];
    char path[] = "PATH=/usr/local/bin:/usr/bin:/bin";
    char *argv[TOKEN_WORDS_MAX + 1], *env[] = {path, who, mechanism ? mech : NULL, NULL};
    char *at = words, *word;
    size_t n = 0;
    pid_t pid;
    int r;

    snprintf(words, sizeof words, "%s", command);
    snprintf(mech, sizeof mech, "SASL_MECHANISM=%s", mechanism ? mechanism : "");
    snprintf(who, sizeof who, "SASL_USER=%s", user);
    while (n < TOKEN_WORDS_MAX && (word = strsep(&at, " \t")))
        if (*word) argv[n++] = word;
    argv[n] = NULL;
    if (n == 0 || at || strlen(command) >= sizeof words)
        return err_mail(e, ERR_CONFIG, STATUS(4, 7, 0), "%s cannot be run: %s", setting,
                        n ? "it is too long" : "it is empty");
    r = start(argv, env, in, out, &pid);
    if (r != 0)
        return err_mail(e, ERR_CONFIG, STATUS(4, 7, 0), "%s: cannot run %s: %s", setting, argv[0],
                        strerrordesc_np(r));
    *status = await(pid);
    if (*status < 0)
        return err_mail(e, ERR_TIMEOUT, STATUS(4, 7, 0), "%s took longer than %d s", setting,
                        TOKEN_MS / 1000);
    return OK;
}

enum err_code token_check(const char *command, const char *mechanism, const char *user,
                          struct slice token, struct err *e) {
    int in = memfd_create("token", MFD_CLOEXEC), status = -1;
    enum err_code code;

    if (in < 0 || write(in, token.p, token.n) != (ssize_t)token.n || lseek(in, 0, SEEK_SET) < 0) {
        fd_close(&in);
        return err_mail(e, ERR_MEMORY, STATUS(4, 7, 0), "no memory to check a token");
    }
    code = run("token-command", command, mechanism, user, in, -1, &status, e);
    fd_close(&in);
    if (code != OK || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) return code;
    return err_mail(e, ERR_DENIED, STATUS(5, 7, 8), "the token is not accepted");
}

enum err_code token_get(const char *command, const char *user, struct buf *out, struct err *e) {
    char text[SASL_TOKEN_MAX + 64];
    struct slice line = S(""), rest = S("");
    int file = memfd_create("token", MFD_CLOEXEC), status = -1;
    enum err_code code;
    ssize_t n;

    if (file < 0) return err_mail(e, ERR_MEMORY, STATUS(4, 7, 0), "no memory for a token");
    code = run("relay-token-command", command, NULL, user, -1, file, &status, e);
    n = code == OK ? pread(file, text, sizeof text, 0) : 0;
    fd_close(&file);
    if (code != OK) return code;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return err_mail(e, ERR_CONFIG, STATUS(4, 7, 0), "relay-token-command failed");
    if (n > 0) slice_cut(slice_of(text, (size_t)n), '\n', &line, &rest);
    line = slice_trim(line);
    if (line.n == 0 || line.n > SASL_TOKEN_MAX || !buf_add(out, line))
        code = err_mail(e, ERR_CONFIG, STATUS(4, 7, 0), "relay-token-command printed %s",
                        line.n ? "more than a token" : "no token");
    explicit_bzero(text, sizeof text);
    return code;
}
