#!/bin/bash
# First the fault matrix: calls on files fail, of each kind (FAULT_CASES places of each, in each way to fail; 0: one place,
# one or two ways; build/crash/matrix has the table). Then kill -9 of serve and queue-run at random moments under load, CRASH_ROUNDS
# rounds (50). The matrix of faults under a mailbox is mailfaults.py (MAILFAULT_PLACES of each kind, 3). After either every message that was answered 250 must be there, whole. Then kill -9 of serve and deliver while
# IMAP clients change mailboxes (MAILBOX_ROUNDS, 10). Ends with one summary line.
cd "$(dirname "$0")/../.." || exit 1
binary=${POSTBAG:-$PWD/build/release/postbag}
mkdir -p build/crash
"${CC:-cc}" -O1 -shared -fPIC -o build/crash/fault.so tests/crash/fault.c -ldl || exit 1
python3 tests/crash/faults.py "$binary" "$PWD/build/crash/fault.so" "${FAULT_CASES:-0}" > build/crash/matrix
status=$?
cat build/crash/matrix
[ $status = 0 ] || exit 1
faults=$(tail -n 1 build/crash/matrix)
random=$(python3 tests/crash/crash.py "$binary" "${CRASH_ROUNDS:-50}")
status=$?
[ $status = 0 ] || echo "$random"
mailbox=$(python3 tests/crash/mailbox.py "$binary" "${MAILBOX_ROUNDS:-10}")
worst=$?
[ $worst = 0 ] || echo "$mailbox"
under=$(python3 tests/crash/mailfaults.py "$binary" "$PWD/build/crash/fault.so" "${MAILFAULT_PLACES:-3}")
broken=$?
[ $broken = 0 ] || { echo "$under"; worst=1; }
echo "$faults; $(tail -n 1 <<< "$under"); $(tail -n 1 <<< "$random"); $(tail -n 1 <<< "$mailbox")"
[ $status = 0 ] && exit $worst
exit $status
