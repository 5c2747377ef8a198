/* ascii: character classes of protocols. Never the locale; bytes above 127 belong to no class. */
#ifndef BASE_ASCII_H
#define BASE_ASCII_H

#include <stdbool.h>
#include <stddef.h>

static inline bool ascii_is_digit(char c) { return c >= '0' && c <= '9'; }
static inline bool ascii_is_upper(char c) { return c >= 'A' && c <= 'Z'; }
static inline bool ascii_is_lower(char c) { return c >= 'a' && c <= 'z'; }
static inline bool ascii_is_alpha(char c) { return ascii_is_upper(c) || ascii_is_lower(c); }
static inline bool ascii_is_alnum(char c) { return ascii_is_alpha(c) || ascii_is_digit(c); }
/* SP or HT: the white space of RFC 5322 and RFC 5321. */
static inline bool ascii_is_wsp(char c) { return c == ' ' || c == '\t'; }
/* 0-31 and 127. */
static inline bool ascii_is_ctl(char c) { return (unsigned char)c < 32 || c == 127; }
/* Is p[i] of n bytes part of a C1 control (U+0080-U+009F) in UTF-8? Terminals obey those too. */
static inline bool ascii_is_c1(const char *p, size_t n, size_t i) {
    unsigned char c = (unsigned char)p[i];

    return (c == 0xc2 && i + 1 < n && ((unsigned char)p[i + 1] & 0xe0) == 0x80) ||
           ((c & 0xe0) == 0x80 && i > 0 && (unsigned char)p[i - 1] == 0xc2);
}
/* 33-126. */
static inline bool ascii_is_graph(char c) { return c > 32 && c < 127; }
static inline char ascii_lower(char c) { return ascii_is_upper(c) ? (char)(c + 32) : c; }
static inline char ascii_upper(char c) { return ascii_is_lower(c) ? (char)(c - 32) : c; }
/* Value of a hexadecimal digit of either case, or -1. */
static inline int ascii_hex(char c) {
    if (ascii_is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

#endif
