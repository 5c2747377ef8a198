/* slice: a view of bytes that somebody else owns. It may hold NUL and any octet.
 *
 * Invariants: a slice never owns; `p` may be NULL only when `n` is 0. Whoever returns a slice says
 * how long it lives. No function here allocates or fails; all are safe from any thread.
 *
 *     struct slice rest = line, verb;
 *     slice_cut(rest, ' ', &verb, &rest);
 *     if (slice_ieq(verb, S("EHLO"))) printf("hello %.*s\n", SP(rest));
 */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const char *p;
    size_t n;
};

/* A literal as a slice, without its NUL. */
#define S(literal) ((struct slice){"" literal, sizeof(literal) - 1})
#define S_INIT(literal)                                                                            \
    { "" literal, sizeof(literal) - 1 }
/* The two arguments that "%.*s" wants. Text beyond INT_MAX bytes is cut. */
#define SP(s) ((int)((s).n > 0x7fffffff ? 0x7fffffff : (s).n)), ((s).p ? (s).p : "")

static inline struct slice slice_of(const char *p, size_t n) { return (struct slice){p, n}; }
/* A C string as a slice; NULL is the empty slice. */
static inline struct slice slice_str(const char *z) {
    return z ? (struct slice){z, strlen(z)} : (struct slice){NULL, 0};
}
static inline bool slice_eq(struct slice a, struct slice b) {
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Equal when A-Z and a-z count as the same; bytes above 127 must be identical. */
bool slice_ieq(struct slice a, struct slice b);
/* Order of bytes, shorter first when one begins the other: <0, 0, >0. */
int slice_cmp(struct slice a, struct slice b);
/* As slice_cmp, with ASCII letters folded. */
int slice_icmp(struct slice a, struct slice b);
bool slice_starts(struct slice s, struct slice prefix);
bool slice_istarts(struct slice s, struct slice prefix);
bool slice_ends(struct slice s, struct slice suffix);
bool slice_iends(struct slice s, struct slice suffix);

#define SLICE_NONE ((size_t)-1)
/* Offset of the first `c`, or SLICE_NONE. */
size_t slice_chr(struct slice s, char c);
/* Offset of the last `c`, or SLICE_NONE. */
size_t slice_rchr(struct slice s, char c);
/* Offset of the first `needle`, or SLICE_NONE. An empty needle is found at 0. */
size_t slice_find(struct slice s, struct slice needle);
/* As slice_find, with ASCII letters folded. */
size_t slice_ifind(struct slice s, struct slice needle);

/* The part from `at` on (empty when past the end), and the first `n` bytes (all when fewer). */
struct slice slice_from(struct slice s, size_t at);
struct slice slice_first(struct slice s, size_t n);
/* Without leading and trailing SP, HT, CR and LF. */
struct slice slice_trim(struct slice s);
/* Without one trailing CRLF or LF. */
struct slice slice_chomp(struct slice s);

/* Split `s` at the first `c`: `*before` and `*after` point into `s`. Without `c`: false, `*before`
 * is all of `s` and `*after` is empty. The outputs may be the variable that was passed in. */
bool slice_cut(struct slice s, char c, struct slice *before, struct slice *after);
/* Take the next word (bytes other than SP and HT) off `*s`. False when none is left. */
bool slice_word(struct slice *s, struct slice *word);
/* Take the next line off `*s`, without its CRLF or LF. False when `*s` is empty. */
bool slice_line(struct slice *s, struct slice *line);

#endif
