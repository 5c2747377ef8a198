/* cond: condition variables that wait by the monotonic clock. */
#ifndef SYS_COND_H
#define SYS_COND_H

#include <pthread.h>

#include "base/moment.h"

void cond_init(pthread_cond_t *c);
/* Wait at most `ms`; may wake for no reason. `lock` is held before and after. */
void cond_wait_ms(pthread_cond_t *c, pthread_mutex_t *lock, mono_t ms);

#endif
