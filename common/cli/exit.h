/* exit: one table from error codes to sysexits(3). */
#ifndef CLI_EXIT_H
#define CLI_EXIT_H

#include "base/err.h"

/* What a retry may cure is 75 (EX_TEMPFAIL); see cli/exit.c for the table. */
int exit_of(const struct err *e);

#endif
