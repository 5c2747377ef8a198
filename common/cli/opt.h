/* opt: options as data.
 *
 *     struct args { bool ipv4; unsigned timeout_s; int format; struct opt_list attach; };
 *     static const char *const formats[] = {"text", "json", NULL};
 *     static const struct opt opts[] = {
 *         FLAG('4', "ipv4", ipv4, "use IPv4 only"),
 *         TIME('t', "timeout", timeout_s, "TIME", "give up after this long"),
 *         ENUM(0, "format", format, formats, "FORMAT", "text or json"),
 *         LIST('a', "attach", attach, "FILE", "attach FILE; may be repeated"),
 *         OPT_END};
 *
 * Forms: -x, -xVALUE, -x VALUE, bundled flags -ab, --name, --name=VALUE, --name VALUE, `--` ends.
 */
#ifndef CLI_OPT_H
#define CLI_OPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum opt_kind {
    OPT_NONE,
    OPT_FLAG,   /* bool */
    OPT_TEXT,   /* const char *, borrowed from argv */
    OPT_LIST,   /* struct opt_list */
    OPT_UINT,   /* unsigned, at most `max` */
    OPT_TIME,   /* unsigned, seconds */
    OPT_SIZE,   /* uint64_t, bytes */
    OPT_ENUM,   /* int: index in `words` */
    OPT_PREFIX, /* const char *: the value is glued to the letter and not empty: -bm */
    OPT_MAYBE   /* const char *: glued or "" : -q, -q30m */
};
enum { OPT_LIST_MAX = 256 };

struct opt_list {
    const char *v[OPT_LIST_MAX];
    size_t n;
};

struct opt {
    char letter;      /* 0: none */
    const char *name; /* NULL: none */
    enum opt_kind kind;
    size_t offset;            /* in struct args */
    const char *arg, *help;   /* help NULL: accepted and not shown */
    const char *const *words; /* OPT_ENUM: ended by NULL */
    unsigned max;
};

#define FLAG(l, n, field, h)                                                                       \
    { l, n, OPT_FLAG, offsetof(struct args, field), NULL, h, NULL, 0 }
#define TEXT(l, n, field, a, h)                                                                    \
    { l, n, OPT_TEXT, offsetof(struct args, field), a, h, NULL, 0 }
#define LIST(l, n, field, a, h)                                                                    \
    { l, n, OPT_LIST, offsetof(struct args, field), a, h, NULL, 0 }
#define UINT(l, n, field, m, a, h)                                                                 \
    { l, n, OPT_UINT, offsetof(struct args, field), a, h, NULL, m }
#define TIME(l, n, field, a, h)                                                                    \
    { l, n, OPT_TIME, offsetof(struct args, field), a, h, NULL, 0 }
#define SIZE(l, n, field, a, h)                                                                    \
    { l, n, OPT_SIZE, offsetof(struct args, field), a, h, NULL, 0 }
#define ENUM(l, n, field, w, a, h)                                                                 \
    { l, n, OPT_ENUM, offsetof(struct args, field), a, h, w, 0 }
#define PREFIX(l, field, a, h)                                                                     \
    { l, NULL, OPT_PREFIX, offsetof(struct args, field), a, h, NULL, 0 }
#define MAYBE(l, n, field, a, h)                                                                   \
    { l, n, OPT_MAYBE, offsetof(struct args, field), a, h, NULL, 0 }
#define OPT_END                                                                                    \
    { 0, NULL, OPT_NONE, 0, NULL, NULL, NULL, 0 }

/* What a parse found beside the applet's own options. */
struct opt_result {
    bool help, version;
    const char *config; /* -C FILE */
    struct {
        const char *name, *value;
    } set[64]; /* settings given as options, in order */
    size_t sets;
    int operand_count;
    char **operands; /* points into argv, which is permuted */
};

struct applet;
/* Parse argv[1..argc) for `a` into `args` (zeroed by the caller) and `out`. argv must outlive both.
 * ERR_USAGE names the option and the nearest right one. */
enum err_code opt_parse(const struct applet *a, int argc, char **argv, void *args,
                        struct opt_result *out, struct err *e);
/* True when the setting `name` is an option of `a`. */
bool opt_takes_setting(const struct applet *a, const char *name);

#endif
