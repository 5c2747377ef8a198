/* charset: text of any charset to UTF-8.
 *
 * Built in, so that a container without gconv modules still shows mail: UTF-8, US-ASCII,
 * ISO-8859-1, ISO-8859-15, Windows-1252. All else by iconv(3) with the names that mail really uses
 * (gb2312 is read as GB18030, ks_c_5601-1987 as CP949, shift_jis as CP932 ...). What cannot be
 * converted is never an error that hides the mail: it is shown as far as it can be, with U+FFFD in
 * the gaps. Any thread; nothing is kept between calls.
 */
#ifndef MIME_CHARSET_H
#define MIME_CHARSET_H

#include "base/buf.h"

enum {
    CHARSET_NAME_MAX = 64,
    CHARSET_GROWTH = 12 /* UTF-8 has at most so many times the bytes */
};

/* Append `in` as UTF-8. True: exact. False: something was lost (unknown charset, ill-formed bytes),
 * or `out` is full (out->bad). An empty or unknown `charset` means UTF-8 where the bytes are that,
 * else Windows-1252. Labels US-ASCII and ISO-8859-1 are read as Windows-1252, a superset of both as
 * far as mail goes; US-ASCII with well-formed UTF-8 in it as UTF-8. */
bool charset_to_utf8(struct buf *out, struct slice in, struct slice charset);

/* Is there a converter for that name, so that exact conversion is possible? */
bool charset_is_known(struct slice charset);

/* Append bytes without label: as UTF-8 when well-formed, else as Windows-1252. */
bool charset_guess(struct buf *out, struct slice in);

#endif
