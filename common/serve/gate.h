/* gate: how long a login has to wait before it is looked at, so that passwords cannot be tried
 * fast.
 *
 * Failed logins are counted for the address they came from (IPv4, IPv6 /64; loopback is where
 * webmail comes from and does not count) and for the account they were for, whether there is such
 * an account or not. The next one waits: `step`, then twice, four and eight times that with each
 * further failure. Attempts from one address go one behind the other, so that more connections do
 * not make more attempts; an account's wait never is longer than the longest step, whoever tries it
 * meanwhile. Who has logged in to an account from an address before is known there: only failures
 * of that account from that address slow him down, and nobody can lock him out from elsewhere.
 *
 *     wait = gate_enter(g, &peer, name, now);      // GATE_SHUT: say "try later"
 *     ... wait, then check the password ...
 *     gate_told(g, &peer, name, ok, now);
 *
 * Counts are forgotten GATE_FORGET_MS after the last failure. The memory is fixed: a full table
 * loses its least entry (fewest failures, oldest). Any thread; time comes in as an argument. */
#ifndef SERVE_GATE_H
#define SERVE_GATE_H

#include "base/moment.h"
#include "base/slice.h"
#include "net/addr.h"

enum {
    GATE_FORGET_MS = 15 * 60 * 1000,
    GATE_DOUBLINGS = 3,
    GATE_WAIT_STEPS = 24, /* nobody waits for more than this many steps */
    GATE_PLACES = 4096    /* of each of the three tables */
};
/* How long a good login is remembered. */
#define GATE_KNOWN_MS ((mono_t)30 * 24 * 3600 * 1000)
#define GATE_SHUT ((int64_t)-1)

struct gate;

/* `step_ms`: the wait after one failure; 0: nobody ever waits. NULL: no memory. */
struct gate *gate_new(uint32_t step_ms);
void gate_free(struct gate *g);
/* A login for `account` (canonical name, or what was given) comes from `peer`. How many
 * milliseconds it must wait; GATE_SHUT: so many wait from there that this one must be refused for
 * now. */
int64_t gate_enter(struct gate *g, const struct addr *peer, struct slice account, mono_t now);
/* Would gate_enter refuse? Changes nothing. */
bool gate_is_shut(struct gate *g, const struct addr *peer, struct slice account, mono_t now);
/* What became of it: a good or a wrong password. Do not tell what was neither. */
void gate_told(struct gate *g, const struct addr *peer, struct slice account, bool is_good,
               mono_t now);

#endif
