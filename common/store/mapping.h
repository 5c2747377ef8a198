/* mapping: a large message file as memory, that neither grows us nor brings us down.
 *
 * Pages that were read are given back on the way (mapping_behind), so a message of any size costs
 * about TRAIL_STEP of memory. A file may be cut short by another program while it is mapped: what
 * is missing then reads as NUL instead of ending the process with SIGBUS, for which the first
 * mapping_open or mapping_guard sets a handler. The same goes for the memory that SQLite shares
 * beside an index ("...-index.db-shm"): it is made anew then. Any thread. */
#ifndef STORE_MAPPING_H
#define STORE_MAPPING_H

#include <stddef.h>

enum { MAPPINGS_MAX = 4096 }; /* at one time */

/* Set the handler, before an index is opened. */
void mapping_guard(void);
/* How often pages of an index were missing: when this is not 0, some index may be worth nothing. */
unsigned mapping_index_cuts(void);
/* Map the first `n` bytes, more than 0, for reading. NULL: errno says why; ENFILE: MAPPINGS_MAX. */
void *mapping_open(int fd, size_t n);
void mapping_close(void *map, size_t n);
/* Give back the memory of what lies before `at`: the function of a struct trail whose ctx is the
 * start of the mapping. The bytes can still be read. */
void mapping_behind(void *map, const char *at);

#endif
