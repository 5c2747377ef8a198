#!/usr/bin/env python3
"""The table of imap/fold.c, from the Unicode data of Python: python3 common/imap/fold_def.py > common/imap/fold.def

RFC 5051: each character's titlecase, then its decomposition, compatibility ones too, again and again. Two things go beyond
it, so that more is equal and nothing less: what a decomposition leaves is titlecased as well (the RFC leaves the "fi" of a
ligature in lower case), and so is the lower case of what is its own titlecase (capital sharp s, Georgian capitals). ASCII
letters stand in lower case here. Hangul syllables stay, as in UnicodeData.txt."""
import unicodedata as u

PAGE = 64


def simple(c, mapped):
    return mapped if len(mapped) == 1 else c


def title(c):
    t = simple(c, c.title())
    low = simple(t, t.lower())
    return simple(low, low.title())


def decompose(c):
    d = [x for x in u.decomposition(c).split() if x[0] != "<"]
    return "".join(decompose(chr(int(x, 16))) for x in d) if d else c


def fold(c):
    t = "".join(title(y) for x in decompose(title(c)) for y in decompose(title(x)))
    return "".join(x.lower() if x < "\x80" else x for x in t)


def literal(s):
    return "".join("\\" + x if x in "\"\\" else x if x < "\x80" else "\\u%04x" % ord(x) if x < "\U00010000" else "\\U%08x" % ord(x) for x in s)


table = {}
for i in list(range(0x80, 0xAC00)) + list(range(0xD7A4, 0xD800)) + list(range(0xE000, 0x110000)):
    folded = fold(chr(i))
    if folded != chr(i):
        table[i] = folded
assert all("".join(map(fold, x)) == x for x in table.values())

# a text that ends another one lies in it
pool, at, units = [], {}, 1
for s in sorted(set(table.values()), key=lambda s: (s[::-1], len(s)), reverse=True):
    if pool and pool[-1].endswith(s):
        at[s] = units - 1 - len(s.encode("utf-16-le")) // 2
    else:
        pool.append(s)
        at[s] = units
        units += len(s.encode("utf-16-le")) // 2 + 1
assert units < 65536

pages, index = [[0] * PAGE], []
for first in range(0, max(table) + 1, PAGE):
    page = [at[table[i]] if i in table else 0 for i in range(first, first + PAGE)]
    if page not in pages:
        pages.append(page)
    index.append(pages.index(page))
assert len(pages) < 256


def rows(items, between, indent="    "):
    line = indent
    for x in items:
        if len(line) + len(x) + len(between) > 100:
            yield line.rstrip()
            line = indent
        line += x + between
    yield line.rstrip()


print("/* Made by fold_def.py from Unicode %s; do not edit. */" % u.unidata_version)
print("// clang-format off")
print("enum { FOLD_PAGE = %d, FOLD_END = 0x%x };" % (PAGE, len(index) * PAGE))
print("/* UTF-16, each text ended by NUL; the first is empty. */")
print('static const uint16_t fold_texts[] = u"\\0"')
print("\n".join(rows(('u"%s\\0"' % literal(s) for s in pool), " ")) + ";")
print("/* Where in it the text of each character of a page is; 0: it stays. */")
print("static const uint16_t fold_pages[][FOLD_PAGE] = {")
for page in pages:
    print("\n".join(rows(map(str, page), ",", "    {")).replace("\n    {", "\n     ")[:-1] + "},")
print("};")
print("static const uint8_t fold_index[] = {")
print("\n".join(rows(map(str, index), ",")))
print("};")
