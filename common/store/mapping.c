#include "store/mapping.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>

enum { PAGE = 4096 }; /* the smallest there is */

/* What is mapped now, so that the handler can look without a lock. */
static struct {
    atomic_uintptr_t at; /* 0: free, 1: being set */
    atomic_size_t n;
} mappings[MAPPINGS_MAX];
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Put a page of NUL where the file has none any more; only mappings of ours. */
static void on_sigbus(int sig, siginfo_t *info, void *ucontext) {
    uintptr_t where = (uintptr_t)info->si_addr;
    int kept = errno;

    (void)ucontext;
    for (size_t i = 0; i < MAPPINGS_MAX; i++) {
        uintptr_t at = atomic_load(&mappings[i].at);

        if (at <= 1 || where < at || where - at >= atomic_load(&mappings[i].n)) continue;
        if (mmap((void *)(where & ~(uintptr_t)(PAGE - 1)), PAGE, PROT_READ,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
            break;
        errno = kept;
        return;
    }
    signal(sig, SIG_DFL); /* not ours: it happens again, and ends us */
}

static void set_handler(void) {
    struct sigaction act = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};

    sigemptyset(&act.sa_mask);
    sigaction(SIGBUS, &act, NULL);
}

void *mapping_open(int fd, size_t n) {
    void *map;

    pthread_once(&once, set_handler);
    map = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED) return NULL;
    for (size_t i = 0; i < MAPPINGS_MAX; i++) {
        uintptr_t is_free = 0;

        if (!atomic_compare_exchange_strong(&mappings[i].at, &is_free, 1)) continue;
        atomic_store(&mappings[i].n, n);
        atomic_store(&mappings[i].at, (uintptr_t)map);
        return map;
    }
    munmap(map, n);
    errno = ENFILE;
    return NULL;
}

void mapping_close(void *map, size_t n) {
    for (size_t i = 0; i < MAPPINGS_MAX; i++) {
        uintptr_t at = (uintptr_t)map;

        if (atomic_compare_exchange_strong(&mappings[i].at, &at, 0)) break;
    }
    munmap(map, n);
}

void mapping_behind(void *map, const char *at) {
    size_t n = (size_t)(at - (const char *)map) & ~(size_t)(PAGE - 1);

    if (n) madvise(map, n, MADV_DONTNEED);
}
