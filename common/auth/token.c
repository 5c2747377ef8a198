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

#include "sys/clock.h"
#include "sys/file.h"

/* Start it with `in` as standard input. 0, or an errno. */
static int start(char *const argv[], char *const env[], int in, pid_t *pid) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    sigset_t none, all;
    int r;

    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&how);
    posix_spawn_file_actions_adddup2(&files, in, 0);
    posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
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

enum err_code token_check(const char *command, const char *mechanism, const char *user,
                          struct slice token, struct err *e) {
    char words[4096], mech[64], who[512], path[] = "PATH=/usr/local/bin:/usr/bin:/bin";
    char *argv[TOKEN_WORDS_MAX + 1], *env[] = {path, mech, who, NULL}, *at = words, *word;
    size_t n = 0;
    pid_t pid;
    int in, r, status;

    snprintf(words, sizeof words, "%s", command);
    snprintf(mech, sizeof mech, "SASL_MECHANISM=%s", mechanism);
    snprintf(who, sizeof who, "SASL_USER=%s", user);
    while (n < TOKEN_WORDS_MAX && (word = strsep(&at, " \t")))
        if (*word) argv[n++] = word;
    argv[n] = NULL;
    if (n == 0 || at || strlen(command) >= sizeof words)
        return err_mail(e, ERR_CONFIG, STATUS(4, 7, 0), "token-command cannot be run: %s",
                        n ? "it is too long" : "it is empty");
    in = memfd_create("token", MFD_CLOEXEC);
    if (in < 0 || write(in, token.p, token.n) != (ssize_t)token.n || lseek(in, 0, SEEK_SET) < 0) {
        fd_close(&in);
        return err_mail(e, ERR_MEMORY, STATUS(4, 7, 0), "no memory to check a token");
    }
    r = start(argv, env, in, &pid);
    fd_close(&in);
    if (r != 0)
        return err_mail(e, ERR_CONFIG, STATUS(4, 7, 0), "token-command: cannot run %s: %s", argv[0],
                        strerrordesc_np(r));
    status = await(pid);
    if (status < 0)
        return err_mail(e, ERR_TIMEOUT, STATUS(4, 7, 0), "token-command took longer than %d s",
                        TOKEN_MS / 1000);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return OK;
    return err_mail(e, ERR_DENIED, STATUS(5, 7, 8), "the token is not accepted");
}
