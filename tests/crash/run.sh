#!/bin/bash
# kill -9 of serve and queue-run at random moments under load; then every message that was answered 250 must be
# there, whole. CRASH_ROUNDS rounds (50). Ends with one summary line.
cd "$(dirname "$0")/../.." || exit 1
exec python3 tests/crash/crash.py "${POSTBAG:-$PWD/build/release/postbag}" "${CRASH_ROUNDS:-50}"
