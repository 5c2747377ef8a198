#include "store/mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/slice.h"

enum { PAGE = 4096, /* the smallest there is */ MAPS_LINE_MAX = 4096 + 256 };

/* What is mapped now, so that the handler can look without a lock. */
static struct {
    atomic_uintptr_t at; /* 0: free, 1: being set */
    atomic_size_t n;
} mappings[MAPPINGS_MAX];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static atomic_uint index_cuts;

static bool take_address(struct slice *s, uintptr_t *out) {
    static const char digits[] = "0123456789abcdef";
    const char *d;

    for (*out = 0; s->n && *s->p && (d = strchr(digits, *s->p)); *s = slice_from(*s, 1))
        *out = *out << 4 | (uintptr_t)(d - digits);
    return s->n > 0;
}

/* A line of /proc/self/maps: is `where` in it, and is it what SQLite maps beside an index? */
static bool is_index_line(struct slice line, uintptr_t where) {
    uintptr_t from, to;

    if (!take_address(&line, &from) || !slice_starts(line, S("-"))) return false;
    line = slice_from(line, 1);
    if (!take_address(&line, &to) || where < from || where >= to) return false;
    if (slice_ends(line, S(" (deleted)"))) line = slice_first(line, line.n - 10);
    return slice_ends(line, S("-index.db-shm"));
}

/* Only calls that a signal handler may make. */
static bool is_index(uintptr_t where) {
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    char line[MAPS_LINE_MAX], part[1024];
    bool is_found = false;
    size_t n = 0;
    ssize_t got;

    if (fd < 0) return false;
    while (!is_found && (got = read(fd, part, sizeof part)) > 0) {
        for (ssize_t i = 0; i < got && !is_found; i++) {
            if (part[i] != '\n') {
                if (n < sizeof line) line[n++] = part[i];
                continue;
            }
            is_found = is_index_line(slice_of(line, n), where);
            n = 0;
        }
    }
    close(fd);
    return is_found;
}

static bool put_page(uintptr_t where, int rights) {
    return mmap((void *)(where & ~(uintptr_t)(PAGE - 1)), PAGE, rights,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
}

/* Put a page of NUL where the file has none any more; only mappings of ours. */
static void on_sigbus(int sig, siginfo_t *info, void *ucontext) {
    uintptr_t where = (uintptr_t)info->si_addr;
    int kept = errno;

    (void)ucontext;
    for (size_t i = 0; i < MAPPINGS_MAX; i++) {
        uintptr_t at = atomic_load(&mappings[i].at);

        if (at <= 1 || where < at || where - at >= atomic_load(&mappings[i].n)) continue;
        if (!put_page(where, PROT_READ)) break;
        errno = kept;
        return;
    }
    if (info->si_code == BUS_ADRERR && is_index(where) && put_page(where, PROT_READ | PROT_WRITE)) {
        atomic_fetch_add(&index_cuts, 1);
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

void mapping_guard(void) { pthread_once(&once, set_handler); }

unsigned mapping_index_cuts(void) { return atomic_load(&index_cuts); }

void *mapping_open(int fd, size_t n) {
    void *map;

    mapping_guard();
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
