#include "mime/charset.h"

#include "base/attr.h"
#include "base/utf8.h"

#include <errno.h>
#include <iconv.h>

/* Windows-1252 0x80-0x9F; 0 where it has nothing (shown as U+FFFD). */
static const uint16_t cp1252_high[32] = {
    0x20AC, 0,      0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
    0x2039, 0x0152, 0,      0x017D, 0,      0,      0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
    0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0,      0x017E, 0x0178};

static uint32_t latin9(unsigned char c) {
    switch (c) {
    case 0xA4: return 0x20AC;
    case 0xA6: return 0x0160;
    case 0xA8: return 0x0161;
    case 0xB4: return 0x017D;
    case 0xB8: return 0x017E;
    case 0xBC: return 0x0152;
    case 0xBD: return 0x0153;
    case 0xBE: return 0x0178;
    default: return c;
    }
}

static bool from_cp1252(struct buf *out, struct slice in) {
    bool is_exact = true;

    for (size_t i = 0; i < in.n; i++) {
        unsigned char c = (unsigned char)in.p[i];
        uint32_t cp = c;

        if (c >= 0x80 && c < 0xA0) cp = cp1252_high[c - 0x80];
        if (cp == 0 && c != 0) {
            cp = 0xFFFD;
            is_exact = false;
        }
        if (c < 0x80) buf_addc(out, (char)c);
        else utf8_put(out, cp);
    }
    return is_exact && !out->bad;
}

static bool from_latin9(struct buf *out, struct slice in) {
    for (size_t i = 0; i < in.n; i++) utf8_put(out, latin9((unsigned char)in.p[i]));
    return !out->bad;
}

bool charset_guess(struct buf *out, struct slice in) {
    if (utf8_valid(in)) return buf_add(out, in);
    return from_cp1252(out, in);
}

enum how { HOW_UTF8, HOW_GUESS, HOW_CP1252, HOW_LATIN9, HOW_ICONV };

static const struct {
    struct slice name;
    enum how how;
    const char *iconv;
} charsets[] = {
    {S_INIT("utf-8"), HOW_UTF8, NULL},
    {S_INIT("utf8"), HOW_UTF8, NULL},
    {S_INIT("unicode-1-1-utf-8"), HOW_UTF8, NULL},
    {S_INIT("us-ascii"), HOW_GUESS, NULL},
    {S_INIT("ascii"), HOW_GUESS, NULL},
    {S_INIT("ansi_x3.4-1968"), HOW_GUESS, NULL},
    {S_INIT("iso646-us"), HOW_GUESS, NULL},
    {S_INIT("unknown-8bit"), HOW_GUESS, NULL},
    {S_INIT("x-unknown"), HOW_GUESS, NULL},
    {S_INIT("unknown"), HOW_GUESS, NULL},
    {S_INIT("default"), HOW_GUESS, NULL},
    {S_INIT("iso-8859-1"), HOW_CP1252, NULL},
    {S_INIT("iso8859-1"), HOW_CP1252, NULL},
    {S_INIT("iso_8859-1"), HOW_CP1252, NULL},
    {S_INIT("latin1"), HOW_CP1252, NULL},
    {S_INIT("latin-1"), HOW_CP1252, NULL},
    {S_INIT("l1"), HOW_CP1252, NULL},
    {S_INIT("windows-1252"), HOW_CP1252, NULL},
    {S_INIT("cp1252"), HOW_CP1252, NULL},
    {S_INIT("cp-1252"), HOW_CP1252, NULL},
    {S_INIT("x-cp1252"), HOW_CP1252, NULL},
    {S_INIT("iso-8859-15"), HOW_LATIN9, NULL},
    {S_INIT("iso8859-15"), HOW_LATIN9, NULL},
    {S_INIT("iso_8859-15"), HOW_LATIN9, NULL},
    {S_INIT("latin9"), HOW_LATIN9, NULL},
    {S_INIT("latin-9"), HOW_LATIN9, NULL},
    {S_INIT("gb2312"), HOW_ICONV, "GB18030"},
    {S_INIT("gb_2312-80"), HOW_ICONV, "GB18030"},
    {S_INIT("gbk"), HOW_ICONV, "GB18030"},
    {S_INIT("x-gbk"), HOW_ICONV, "GB18030"},
    {S_INIT("cp936"), HOW_ICONV, "GB18030"},
    {S_INIT("euc-cn"), HOW_ICONV, "GB18030"},
    {S_INIT("hz-gb-2312"), HOW_ICONV, "HZ"},
    {S_INIT("big5"), HOW_ICONV, "BIG5-HKSCS"},
    {S_INIT("x-x-big5"), HOW_ICONV, "BIG5-HKSCS"},
    {S_INIT("cn-big5"), HOW_ICONV, "BIG5-HKSCS"},
    {S_INIT("euc-kr"), HOW_ICONV, "CP949"},
    {S_INIT("ks_c_5601"), HOW_ICONV, "CP949"},
    {S_INIT("ks_c_5601-1987"), HOW_ICONV, "CP949"},
    {S_INIT("ks_c_5601-1989"), HOW_ICONV, "CP949"},
    {S_INIT("ksc5601"), HOW_ICONV, "CP949"},
    {S_INIT("korean"), HOW_ICONV, "CP949"},
    {S_INIT("shift_jis"), HOW_ICONV, "CP932"},
    {S_INIT("shift-jis"), HOW_ICONV, "CP932"},
    {S_INIT("sjis"), HOW_ICONV, "CP932"},
    {S_INIT("x-sjis"), HOW_ICONV, "CP932"},
    {S_INIT("windows-31j"), HOW_ICONV, "CP932"},
    {S_INIT("iso-2022-jp"), HOW_ICONV, "ISO-2022-JP-3"},
    {S_INIT("x-euc-jp"), HOW_ICONV, "EUC-JP"},
    {S_INIT("iso-8859-8-i"), HOW_ICONV, "ISO-8859-8"},
    {S_INIT("iso-8859-8-e"), HOW_ICONV, "ISO-8859-8"},
    {S_INIT("iso-8859-9"), HOW_ICONV, "CP1254"},
    {S_INIT("windows-874"), HOW_ICONV, "CP874"},
    {S_INIT("tis-620"), HOW_ICONV, "CP874"},
    {S_INIT("macintosh"), HOW_ICONV, "MACINTOSH"},
    {S_INIT("x-mac-roman"), HOW_ICONV, "MACINTOSH"},
};

/* "windows-1251" and "cp-1251" are CP1251 to iconv. */
static bool iconv_name(struct slice charset, char out[CHARSET_NAME_MAX]) {
    struct slice prefix = S("");

    if (slice_istarts(charset, S("windows-"))) {
        charset = slice_from(charset, 8);
        prefix = S("CP");
    } else if (slice_istarts(charset, S("x-"))) {
        charset = slice_from(charset, 2);
    }
    if (charset.n == 0 || charset.n + prefix.n >= CHARSET_NAME_MAX) return false;
    for (size_t i = 0; i < charset.n; i++) {
        char c = charset.p[i];

        /* no slashes: glibc takes //IGNORE and file names of modules from them */
        if (c <= ' ' || c >= 127 || c == '/' || c == ',') return false;
    }
    if (prefix.n) memcpy(out, prefix.p, prefix.n);
    memcpy(out + prefix.n, charset.p, charset.n);
    out[prefix.n + charset.n] = '\0';
    return true;
}

/* Append; false when something in it was not UTF-8 and was replaced. */
static bool put_valid(struct buf *out, struct slice s) {
    if (utf8_valid(s)) return buf_add(out, s);
    utf8_put_lossy(out, s);
    return false;
}

static bool from_iconv(struct buf *out, struct slice in, const char *name, bool *is_known) {
    iconv_t cd = iconv_open("UTF-8", name);
    char *from = in.n ? (char *)(uintptr_t)in.p : NULL;
    size_t left = in.n;
    bool is_exact = true;

    *is_known = cd != (iconv_t)-1;
    if (!*is_known) return false;
    while (left > 0 && !out->bad) {
        char chunk[4096], *to = chunk;
        size_t room = sizeof chunk, n = iconv(cd, &from, &left, &to, &room);
        int sys = errno;

        /* glibc lets what is beyond U+10FFFF through; chunks hold whole characters */
        if (!put_valid(out, slice_of(chunk, sizeof chunk - room))) is_exact = false;
        if (n != (size_t)-1 || sys == E2BIG) continue;
        is_exact = false; /* EILSEQ: skip a byte; EINVAL: the end is cut */
        utf8_put(out, 0xFFFD);
        if (sys != EILSEQ) break;
        from++;
        left--;
    }
    if (!out->bad) { /* what a stateful charset still holds */
        char chunk[64], *to = chunk;
        size_t room = sizeof chunk;

        iconv(cd, NULL, NULL, &to, &room);
        buf_add(out, slice_of(chunk, sizeof chunk - room));
    }
    iconv_close(cd);
    return is_exact && !out->bad;
}

/* How to read a charset, and its name to iconv (in `name` or static), NULL: it cannot be one. */
static enum how look_up(struct slice charset, char name[CHARSET_NAME_MAX], const char **known) {
    for (size_t i = 0; i < COUNT_OF(charsets); i++) {
        if (!slice_ieq(charset, charsets[i].name)) continue;
        *known = charsets[i].iconv;
        return charsets[i].how;
    }
    *known = iconv_name(charset, name) ? name : NULL;
    return HOW_ICONV;
}

bool charset_is_known(struct slice charset) {
    char name[CHARSET_NAME_MAX];
    const char *known;
    iconv_t cd;

    if (look_up(slice_trim(charset), name, &known) != HOW_ICONV) return true;
    if (!known) return false;
    cd = iconv_open("UTF-8", known);
    if (cd == (iconv_t)-1) return false;
    iconv_close(cd);
    return true;
}

bool charset_to_utf8(struct buf *out, struct slice in, struct slice charset) {
    const char *known;
    char name[CHARSET_NAME_MAX];
    bool is_known, is_exact;

    charset = slice_trim(charset);
    if (charset.n == 0) return charset_guess(out, in);
    switch (look_up(charset, name, &known)) {
    case HOW_UTF8:
        if (utf8_valid(in)) return buf_add(out, in);
        utf8_put_lossy(out, in);
        return false;
    case HOW_GUESS: return charset_guess(out, in) && utf8_is_ascii(in);
    case HOW_CP1252: return from_cp1252(out, in);
    case HOW_LATIN9: return from_latin9(out, in);
    case HOW_ICONV: break;
    }
    if (known) {
        is_exact = from_iconv(out, in, known, &is_known);
        if (is_known) return is_exact;
    }
    charset_guess(out, in);
    return utf8_is_ascii(in) && !out->bad;
}
