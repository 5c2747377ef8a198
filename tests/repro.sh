#!/bin/bash
# Two builds in two directories must give the same file.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for d in one two/deeper; do
    mkdir -p "$work/$d"
    cp -r Makefile VERSION applets common tests "$work/$d/"
    make -s -C "$work/$d" -j"$(nproc)" > /dev/null
done
a=$(sha256sum < "$work/one/build/release/postbag")
b=$(sha256sum < "$work/two/deeper/build/release/postbag")
echo "$a"
[ "$a" = "$b" ] && echo "reproducible: yes" || { echo "reproducible: no: $b"; exit 1; }
