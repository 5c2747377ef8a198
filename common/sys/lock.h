/* lock: open file description locks (fcntl(2)). They belong to the open file, so they work between
 * threads as between processes, and vanish when the holder dies. */
#ifndef SYS_LOCK_H
#define SYS_LOCK_H

#include "base/err.h"

/* Take a lock on one byte at `offset` of `fd`, exclusive (fd open for writing) or shared. Does not
 * wait: ERR_BUSY when somebody else holds it. `name` is for the error. */
enum err_code lock_try(int fd, uint64_t offset, bool exclusive, const char *name, struct err *e);
/* The same, waiting at most `timeout_ms`; then ERR_BUSY. */
enum err_code lock_wait(int fd, uint64_t offset, bool exclusive, unsigned timeout_ms,
                        const char *name, struct err *e);
/* A lock on a whole directory (flock(2)): waits for a shared one, tries an exclusive one. `*fd` is
 * to be closed to give it back. ERR_BUSY: somebody else has a shared one. */
enum err_code lock_dir(const char *dir, bool exclusive, int *fd, struct err *e);
/* Give it back. Closing the last descriptor of the open file does so too. */
void lock_drop(int fd, uint64_t offset);
/* True when another open file holds a lock that conflicts with an exclusive one. */
bool lock_is_held(int fd, uint64_t offset);

#endif
