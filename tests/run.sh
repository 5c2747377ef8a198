#!/bin/bash
# Run the kinds of test that are named, and end with one line "N passed, N failed, N skipped".
set -u
cd "$(dirname "$0")/.." || exit 1
passed=0 failed=0 skipped=0 broken=()
export POSTBAG=$PWD/build/release/postbag
jobs=$(nproc)

say() { printf '== %s\n' "$*"; }
# Add the counts of a runner; its output is shown when something failed, and named again at the end.
add() { # PASSED FAILED SKIPPED WHAT
    passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
    [ "$2" -eq 0 ] || broken+=("$4")
}

build() { # MODE TARGET...
    local mode=$1
    shift
    if ! make -s -j"$jobs" MODE="$mode" "$@" > build/make.log 2>&1; then
        tail -n 30 build/make.log
        say "the build failed"
        add 0 1 0 "build $mode"
        return 1
    fi
}

# cmocka: count its own lines.
unit() {
    local bin out ok bad skip
    build asan test-bins || return
    for bin in build/asan/unit/*_test; do
        [ -e "tests/unit/$(basename "$bin").c" ] || continue
        out=$(timeout 300 "$bin" 2>&1)
        local status=$?
        ok=$(grep -c '^\[       OK \]' <<< "$out")
        bad=$(grep -c '^\[  FAILED  \] [a-zA-Z_]*$' <<< "$out")
        skip=$(grep -c '^\[  SKIPPED \] [a-zA-Z_]*$' <<< "$out")
        # A crash or a leak is a failure though cmocka did not count it.
        if [ $status -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
        [ "$bad" -eq 0 ] || grep -avE '^\[( RUN|       OK) ' <<< "$out" | head -n 80
        say "$(basename "$bin"): $ok passed, $bad failed"
        add "$ok" "$bad" "$skip" "$(basename "$bin") $(grep -aoP '^\[  FAILED  \] \K[^ ]+$' <<< "$out" | sort -u | xargs)"
    done
}

wire() {
    local out line
    build asan test-bins || return
    out=$(timeout 600 build/asan/wire/wire tests/wire 2>&1)
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' <<< "$out" | tail -n 1)
    if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+) ]]; then
        [ "${BASH_REMATCH[2]}" = 0 ] || grep -v '^ok' <<< "$out" | tail -n 40
        add "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}" "${BASH_REMATCH[3]}" transcripts
        say "transcripts: $line"
    else
        tail -n 40 <<< "$out"
        add 0 1 0 transcripts
    fi
}

# Every seed and every input that once broke something goes through each target, with sanitizers.
fuzz() {
    local bin name
    build asan test-bins || return
    for bin in build/asan/fuzz/*_fuzz; do
        name=$(basename "$bin" _fuzz)
        [ -e "tests/fuzz/${name}_fuzz.c" ] || continue
        if timeout 300 "$bin" "tests/fuzz/seeds/$name" > build/fuzz.log 2>&1; then
            add 1 0 0
        else
            tail -n 30 build/fuzz.log
            say "fuzz seeds of $name: failed"
            add 0 1 0 "fuzz seeds of $name"
        fi
    done
    FUZZ_SECONDS=${FUZZ_SECONDS:-4} search
}

search() {
    local bin name
    if ! make -s -j"$jobs" MODE=fuzz fuzz-bins > build/make.log 2>&1; then
        tail -n 30 build/make.log
        add 0 1 0 "build fuzz"
        return
    fi
    for bin in build/fuzz/search/*_fuzz; do
        name=$(basename "$bin" _fuzz)
        mkdir -p "build/corpus/$name"
        if timeout $((FUZZ_SECONDS * 3 + 60)) "$bin" -max_total_time="$FUZZ_SECONDS" -timeout=20 -rss_limit_mb=2048 -artifact_prefix=build/ \
            "build/corpus/$name" "tests/fuzz/seeds/$name" > build/fuzz.log 2>&1; then
            add 1 0 0
        else
            tail -n 40 build/fuzz.log
            say "fuzzing $name: failed"
            add 0 1 0 "fuzzing $name"
        fi
    done
    say "fuzzed $(find build/fuzz/search -name '*_fuzz' | wc -l) targets, $FUZZ_SECONDS s each"
}

tap() { # DIRECTORY
    local out ok bad skip
    build release all || return
    out=$(bats --jobs $((jobs * 2)) --no-parallelize-within-files --tap "$1" 2>&1)
    ok=$(grep -c '^ok' <<< "$out")
    skip=$(grep -cE '^ok .* # skip' <<< "$out")
    bad=$(grep -c '^not ok' <<< "$out")
    grep -q '^1\.\.' <<< "$out" || bad=$((bad + 1))
    [ "$bad" -eq 0 ] || awk '/^not ok/{show=1} /^ok/{show=0} show' <<< "$out" | head -n 200
    [ "$skip" -eq 0 ] || grep -E '^ok .* # skip' <<< "$out"
    say "$1: $((ok - skip)) passed, $bad failed, $skip skipped"
    add $((ok - skip)) "$bad" "$skip" "$1: $(sed -n 's/^not ok [0-9]* //p' <<< "$out" | paste -sd '|')"
}
bats_tests() { build asan all && tap tests/bats; }
peers() { tap tests/peers; }

crash() {
    build release all || return
    if tests/crash/run.sh > build/crash.log 2>&1; then
        tail -n 1 build/crash.log
        add 1 0 0
    else
        tail -n 30 build/crash.log
        say "crash test: failed"
        add 0 1 0 "crash test"
    fi
}

# The long one: other clients at random each time; the short one is in peers.
imap() {
    build release all || return
    local out
    out=$(IMAPTEST_SECONDS=${IMAPTEST_SECONDS:-120} IMAPTEST_CLIENTS=${IMAPTEST_CLIENTS:-20} IMAPTEST_SEED=${IMAPTEST_SEED:-$RANDOM} \
        bats --tap tests/peers/imaptest.bats 2>&1)
    grep -vE '^ok' <<< "$out" | head -n 200
    add "$(grep -c '^ok' <<< "$out")" "$(grep -c '^not ok' <<< "$out")" 0 imaptest
}

mkdir -p build
for kind in "$@"; do
    case $kind in
    bats) bats_tests ;;
    unit | wire | fuzz | peers | crash | imap | search) $kind ;;
    *) echo "run.sh: unknown kind of test: $kind" >&2; exit 64 ;;
    esac
done
[ ${#broken[@]} -eq 0 ] || printf 'failed: %s\n' "${broken[@]}"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
