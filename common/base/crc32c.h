/* crc32c: the Castagnoli checksum (RFC 3385), for records on disk. */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include "base/slice.h"

/* Go on from `crc` (0 at the start) over `s`. crc32c(0, "123456789") is 0xe3069283. */
uint32_t crc32c(uint32_t crc, struct slice s);

#endif
