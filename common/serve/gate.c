#include "serve/gate.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/ascii.h"
#include "sys/clock.h"

enum { PROBES = 8 };

struct place {
    uint64_t key; /* 0: free */
    mono_t last;  /* failure; of a known pair also login */
    mono_t turn;  /* when the next attempt may be looked at */
    uint32_t failures;
};

struct gate {
    pthread_mutex_t lock;
    uint64_t seed;
    uint32_t step_ms;
    /* A known pair is an account and an address it was logged in to from. */
    struct place addresses[GATE_PLACES], accounts[GATE_PLACES], known[GATE_PLACES];
};

struct gate *gate_new(uint32_t step_ms) {
    struct gate *g = calloc(1, sizeof *g);

    if (!g) return NULL;
    pthread_mutex_init(&g->lock, NULL);
    random_bytes(&g->seed, sizeof g->seed);
    g->step_ms = step_ms;
    return g;
}

void gate_free(struct gate *g) {
    if (!g) return;
    pthread_mutex_destroy(&g->lock);
    free(g);
}

/* Keys are guarded by the seed: nobody can make two that fall together. */
static uint64_t mix(uint64_t h) {
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdu;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53u;
    return h ^ h >> 33;
}
static uint64_t key_of(const struct gate *g, uint64_t start, struct slice s) {
    uint64_t h = mix(g->seed ^ start);

    for (size_t i = 0; i < s.n; i++) h = mix(h ^ (unsigned char)ascii_lower(s.p[i])) + g->seed;
    return h ? h : 1;
}

static bool is_old(const struct place *p, mono_t now, bool is_pair) {
    return p->key == 0 || p->last + (is_pair ? GATE_KNOWN_MS : GATE_FORGET_MS) <= now;
}

static struct place *find(struct place *table, uint64_t key, mono_t now, bool is_pair) {
    for (uint64_t i = 0; i < PROBES; i++) {
        struct place *p = &table[(key + i) % GATE_PLACES];

        if (p->key == key && !is_old(p, now, is_pair)) return p;
    }
    return NULL;
}

/* The entry, or a new one in the place of the least. */
static struct place *make(struct place *table, uint64_t key, mono_t now, bool is_pair) {
    struct place *p = find(table, key, now, is_pair), *least = NULL;

    if (p) return p;
    for (uint64_t i = 0; i < PROBES; i++) {
        p = &table[(key + i) % GATE_PLACES];
        if (is_old(p, now, is_pair)) {
            least = p;
            break;
        }
        if (!least || p->failures < least->failures ||
            (p->failures == least->failures && p->last < least->last))
            least = p;
    }
    *least = (struct place){.key = key, .last = now, .turn = now};
    return least;
}

static int64_t step(const struct gate *g, const struct place *p) {
    uint32_t n = p->failures;

    if (n == 0) return 0;
    return (int64_t)g->step_ms << (n > GATE_DOUBLINGS ? GATE_DOUBLINGS : n - 1);
}

/* Who an attempt is counted with: the pair when it is known, else address and account. */
struct places {
    struct place *address, *account, *pair;
};
struct keys {
    uint64_t address, account, pair;
};

static struct keys keys_of(const struct gate *g, const struct addr *peer, struct slice account) {
    struct slice net = addr_is_loopback(peer) ? S("") : addr_network(peer);
    struct keys k = {.account = key_of(g, 1, account)};

    if (net.n) k.address = key_of(g, 2, net);
    k.pair = key_of(g, k.account, net);
    return k;
}

static struct places look(struct gate *g, const struct keys *k, mono_t now) {
    struct places p = {.pair = find(g->known, k->pair, now, true)};

    if (p.pair && p.pair->failures > 0 && p.pair->turn + GATE_FORGET_MS <= now)
        p.pair->failures = 0;
    if (p.pair) return p;
    if (k->address) p.address = find(g->addresses, k->address, now, false);
    p.account = find(g->accounts, k->account, now, false);
    return p;
}

static int64_t wait_of(const struct place *p, mono_t now) {
    return p && p->failures && p->turn > now ? p->turn - now : 0;
}

/* The wait of those who go one behind the other; GATE_SHUT. */
static int64_t in_line(const struct gate *g, const struct places *p, mono_t now) {
    int64_t wait = wait_of(p->pair ? p->pair : p->address, now);

    return wait > (int64_t)g->step_ms * GATE_WAIT_STEPS ? GATE_SHUT : wait;
}

int64_t gate_enter(struct gate *g, const struct addr *peer, struct slice account, mono_t now) {
    struct keys k = keys_of(g, peer, account);
    struct places p;
    struct place *line;
    int64_t wait, other;

    if (g->step_ms == 0) return 0;
    pthread_mutex_lock(&g->lock);
    p = look(g, &k, now);
    wait = in_line(g, &p, now);
    if (wait != GATE_SHUT) {
        other = wait_of(p.account, now);
        if (p.account && other > step(g, p.account)) other = step(g, p.account);
        line = p.pair ? p.pair : p.address;
        if (line) line->turn = now + wait + step(g, line);
        if (p.account) p.account->turn = now + other + step(g, p.account);
        if (other > wait) wait = other;
    }
    pthread_mutex_unlock(&g->lock);
    return wait;
}

bool gate_is_shut(struct gate *g, const struct addr *peer, struct slice account, mono_t now) {
    struct keys k = keys_of(g, peer, account);
    struct places p;
    bool shut;

    if (g->step_ms == 0) return false;
    pthread_mutex_lock(&g->lock);
    p = look(g, &k, now);
    shut = in_line(g, &p, now) == GATE_SHUT;
    pthread_mutex_unlock(&g->lock);
    return shut;
}

static void fail(const struct gate *g, struct place *p, mono_t now) {
    p->last = now;
    if (p->failures < UINT32_MAX) p->failures++;
    if (p->turn < now + step(g, p)) p->turn = now + step(g, p);
}

void gate_told(struct gate *g, const struct addr *peer, struct slice account, bool is_good,
               mono_t now) {
    struct keys k = keys_of(g, peer, account);
    struct places p;

    if (g->step_ms == 0) return;
    pthread_mutex_lock(&g->lock);
    p = look(g, &k, now);
    if (is_good) {
        p.pair = make(g->known, k.pair, now, true);
        p.pair->last = now;
        p.pair->failures = 0;
    } else if (p.pair) {
        fail(g, p.pair, now);
    } else {
        if (k.address) fail(g, make(g->addresses, k.address, now, false), now);
        fail(g, make(g->accounts, k.account, now, false), now);
    }
    pthread_mutex_unlock(&g->lock);
}
