#!/bin/bash
# What the project claims of speed and memory on this machine, in ratios: start-up beside an empty program, the size of the
# binary, and what an idle server holds. Prints a table. (Beside other mail software: the command lines in postbag.cmds.)
set -eu
cd "$(dirname "$0")/../.."
P=${1:-build/release/postbag}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo 'int main(void) { return 0; }' > "$work/e.c"
gcc -O2 -o "$work/empty" "$work/e.c"
gcc -O2 -D_GNU_SOURCE -o "$work/startup" tests/bench/startup.c
printf '%-28s %s\n' 'start, sendmail --help' "$("$work/startup" 1000 "$work/empty" "$P" sendmail --help)"
strip -o "$work/stripped" "$P"
printf '%-28s %s bytes, stripped %s\n' 'binary' "$(stat -c %s "$P")" "$(stat -c %s "$work/stripped")"
printf 'pw\n' | "$P" account add jo --data "$work/d" --domain bench.test > /dev/null
"$P" serve --data "$work/d" --domain bench.test --listen smtp=127.0.0.1:0 --listen imaps=127.0.0.1:0 --listen pop3s=127.0.0.1:0 2> "$work/log" &
pid=$!
for _ in $(seq 100); do grep -q ' ready ' "$work/log" && break; sleep 0.05; done
sleep 0.5
printf '%-28s %s KiB resident, %s threads\n' 'idle serve' "$(awk '/VmRSS/{print $2}' /proc/$pid/status)" "$(awk '/Threads/{print $2}' /proc/$pid/status)"
kill $pid
wait $pid || true
