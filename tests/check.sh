#!/bin/bash
# make check: the house rules that a machine can see.
set -u
cd "$(dirname "$0")/.." || exit 1
postbag=$1
bad=0
complain() { echo "check: $*"; bad=1; }

# 1. layers
below=1
while read -r line; do
    case $line in
    *waterline*) below=0; continue ;;
    '#'* | '') continue ;;
    esac
    folder=${line%%:*} allowed=" $folder ${line#*:} "
    for f in common/"$folder"/*.[ch]; do
        [ -e "$f" ] || continue
        while read -r inc; do
            case $allowed in *" $inc "*) ;; *) complain "$f includes $inc/, which common/LAYERS does not allow" ;; esac
        done < <(sed -nE 's/^#include "([a-z0-9]+)\/.*/\1/p' "$f" | sort -u)
        if [ $below = 1 ] && grep -nE '<sys/socket\.h>|<poll\.h>|<pthread\.h>|\b(time|getenv|rand|clock_gettime|open|fopen)\(' "$f" |
            grep -vE 'common/base/lazy\.c|^\s*\*|//|/\*' | grep -v "^$" > build/check.out 2>/dev/null && [ "$f" != common/base/lazy.c ] && [ -s build/check.out ]; then
            if grep -vE '\b(json|static void) ?open|open\(j,|void open\(' build/check.out | grep -q .; then
                complain "$f: I/O, clock or state below the waterline: $(grep -vE 'open\(j,|void open\(' build/check.out | head -n 1)"
            fi
        fi
    done
done < common/LAYERS
for d in common/*/; do grep -q "^$(basename "$d"):" common/LAYERS || complain "common/LAYERS lacks $(basename "$d")"; done

# 2. headers alone
for h in common/*/*.h; do
    gcc -std=c17 -D_GNU_SOURCE -Icommon -fsyntax-only -x c "$h" 2> build/check.out || complain "$h does not compile alone: $(head -n 1 build/check.out)"
done

# 3. calls that are not used here
grep -nE '\b(strcpy|strcat|sprintf|strtok|atoi|atol|gmtime|gets)\(|<ctype\.h>|\balloca\(' applets/*.c common/*/*.[ch] &&
    complain "banned calls (above)"

# 4. generated files are fresh
for in in man/*.in; do
    [ -e "$in" ] || continue
    name=$(basename "$in" .in)
    "$postbag" --print-man "${name%.*}" < "$in" | cmp -s - "man/$name" || complain "man/$name is not fresh: make man"
done
for a in $("$postbag" --list); do
    [ -e "man/$a.1.in" ] || "$postbag" --print-man "$a" < man/default | cmp -s - "man/$a.1" || complain "man/$a.1 is not fresh: make man"
done
for sh in bash zsh fish; do
    "$postbag" --print-completion $sh | cmp -s - completions/postbag.$sh || complain "completions/postbag.$sh is not fresh: make completions"
done
for a in $("$postbag" --list); do
    [ -e "man/$a.1" ] || complain "applet $a has no manual page"
    [ -e "tests/bats/$a.bats" ] || complain "applet $a has no tests/bats/$a.bats"
done
if [ "$(python3 -c 'import unicodedata; print(unicodedata.unidata_version)' 2> /dev/null)" = "$(sed -nE '1s/.*Unicode ([0-9.]+);.*/\1/p' common/imap/fold.def)" ]; then
    python3 common/imap/fold_def.py | cmp -s - common/imap/fold.def || complain "common/imap/fold.def is not fresh: python3 common/imap/fold_def.py > common/imap/fold.def"
fi
# 5. the applet table is sorted
grep '^APPLET' applets/list.h | LC_ALL=C sort -c 2> /dev/null || complain "applets/list.h is not sorted"

# 6. standards: what the code names is in man/standards.tsv, and what is done there is named in the code
while read -r rfc; do
    grep -q "^$rfc	" man/standards.tsv || complain "man/standards.tsv lacks RFC $rfc, which the code names"
done < <(grep -rhoE 'RFC [0-9]{3,5}' applets common | sed 's/RFC //' | sort -u)
while IFS=$'\t' read -r rfc status _; do
    case $status in yes | partial) ;; *) continue ;; esac
    grep -rqE "RFC $rfc\b|\b$rfc\b" applets common || complain "man/standards.tsv says $status to RFC $rfc, which no code names"
done < man/standards.tsv

# 7. shell scripts
if command -v shellcheck > /dev/null; then
    shellcheck -S warning tests/*.sh tests/*/*.sh .ci/run > build/check.out 2>&1 || { head -n 20 build/check.out; complain "shellcheck"; }
fi
[ $bad = 0 ] && echo "check: ok"
exit $bad
