/* engine: what every protocol dialogue looks like from outside. No engine does I/O, reads a clock
 * or waits; a driver moves the bytes. Each engine NAME has these functions with its own types, plus
 * NAME_next(engine, &event) for its events and one call per answer, and offers a `struct engine` so
 * that one driver pumps them all (blocking: net/pump; event loop: serve; script: tests/wire; fuzz).
 *
 *   feed      Bytes arrived. Returns how many were taken; fewer than offered is the back-pressure:
 *             the driver keeps the rest and offers it again after an event was answered or output
 *             went out. An engine that waits for an answer takes no bytes.
 *   eof       The peer will send nothing more. Called once, after all bytes were taken.
 *   out       Bytes to send, valid until the next call on the engine. Empty: nothing now. Output is
 *             pulled: an engine makes more only after `sent`, and never holds more than a bound.
 *   sent      The driver wrote `n` of them.
 *   deadline  When `tick` must be called if nothing else happens; MONO_NEVER: no limit.
 *   tick      `now` has reached the deadline. The engine says its last words and ends.
 *   done      The dialogue is over: once `out` is empty the driver closes.
 *
 * Order for a driver after any call: pull and answer all events, then write all of `out`, then, if
 * the engine asked for TLS and `out` is empty, do the handshake and say so; then read.
 * Failure is an event and is final. One thread at a time per engine; engines share nothing.
 */
#ifndef BASE_ENGINE_H
#define BASE_ENGINE_H

#include "base/moment.h"
#include "base/slice.h"

struct engine_ops {
    size_t (*feed)(void *self, struct slice in, mono_t now);
    void (*eof)(void *self, mono_t now);
    struct slice (*out)(void *self);
    void (*sent)(void *self, size_t n, mono_t now);
    mono_t (*deadline)(const void *self);
    void (*tick)(void *self, mono_t now);
    bool (*done)(const void *self);
};

struct engine {
    const struct engine_ops *ops; /* static */
    void *self;                   /* borrowed: lives as long as the engine it names */
};

#endif
