/* applet: what an applet is: data, and one function. `applets/list.h` names them all.
 *
 * The struct is the only source of parsing, --help, manual page and completions. `run` gets a
 * context and a pointer to the applet's own `struct args`, filled by cli/opt; it returns an exit
 * status. */
#ifndef CLI_APPLET_H
#define CLI_APPLET_H

#include <stdio.h>

#include "cli/opt.h"
#include "conf/conf.h"
#include "sys/log.h"

struct exit_doc {
    int status;
    const char *when;
};

struct context {
    const struct applet *applet;
    const char *name;  /* the name it was called by: "sendmail" or "mailq" */
    struct conf *conf; /* loaded and finished */
    struct log log;
    FILE *in, *out, *err;
    int operand_count;
    char **operands;
};

struct applet {
    const char *name;
    const char *aliases;    /* other names, parted by blanks, or NULL */
    const char *summary;    /* "show where mail for a domain would go" */
    const char *about;      /* the manual's description, for applets without man/NAME.1.in; mdoc */
    const char *operands;   /* "DOMAIN...", or NULL */
    const struct opt *opts; /* ended by OPT_END */
    size_t args_size;       /* sizeof(struct args) */
    const char *settings; /* names of settings it reads, parted by blanks; each is a long option */
    const struct exit_doc *exits;   /* ended by a NULL text */
    int min_operands, max_operands; /* max -1: any number */
    bool stops_at_operand; /* no options after the first operand: the sendmail(8) contract */
    int (*run)(struct context *ctx, const void *args);
};

/* All applets, sorted by name, ended by NULL (applets/main.c). */
extern const struct applet *const applet_table[];
/* By name or alias, or NULL. */
const struct applet *applet_find(const char *name);

/* Run one: options, settings, log, then `run`. argv[0] is the name it was called by. Flushes and
 * checks `out`. Returns the exit status. */
int applet_main(const struct applet *a, int argc, char **argv);

/* "postbag APPLET: text" on ctx->err, one line. Returns the sysexit of the error (cli/exit). */
int fail(struct context *ctx, const struct err *e);
/* The same for a message of our own. */
int failf(struct context *ctx, int status, const char *fmt, ...) ATTR_PRINTF(3, 4);
/* A line that starts "postbag APPLET: " and does not end the run. */
void warnf(struct context *ctx, const char *fmt, ...) ATTR_PRINTF(2, 3);
/* Print the options and exit statuses on one screen. */
void applet_help(const struct applet *a, FILE *out);
/* The generated parts of the manual page: `template` is man/NAME.1.in. */
void applet_man(const struct applet *a, struct slice template, FILE *out);
/* postbag(1) from its template: @APPLETS@ becomes the list of applets. Other templates pass
 * unchanged. */
void overview_man(struct slice template, FILE *out);
/* postbag.conf(5) from its template. */
void conf_man(struct slice template, FILE *out);
/* The completion file of a shell: "bash", "zsh" or "fish". False: no such shell. */
bool applet_completion(const char *shell, FILE *out);

#endif
