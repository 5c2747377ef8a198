/* attr: the compiler extensions this project uses, and the only place that names them. */
#ifndef BASE_ATTR_H
#define BASE_ATTR_H

#define ATTR_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#define ATTR_NODISCARD __attribute__((warn_unused_result))
#define ATTR_NORETURN _Noreturn
#define ATTR_UNUSED __attribute__((unused))
#define ATTR_FALLTHROUGH __attribute__((fallthrough))

/* Number of elements of an array (not of a pointer). */
#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

#endif
