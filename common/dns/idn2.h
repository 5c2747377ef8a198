/* idn2: libidn2, loaded when a domain name that is not ASCII appears (base/lazy). */
#ifndef DNS_IDN2_H
#define DNS_IDN2_H

#include <idn2.h>

#include "base/lazy.h"

#define IDN2_SYMS(X) X(idn2_to_ascii_8z) X(idn2_to_unicode_8z8z) X(idn2_strerror) X(idn2_free)

struct idn2_table {
    IDN2_SYMS(LAZY_FIELD)
};
extern struct idn2_table idn2;

/* Fill the table. ERR_LIBRARY as lazy_load. Any thread. */
enum err_code idn2_load(struct err *e);

#endif
