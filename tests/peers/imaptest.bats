# imaptest: what the server says is read strictly, and it is tried by many clients at once (after Dovecot's imaptest).
load ../bats/helper
load ../bats/dovecot

story_teardown() { dovecot_end; }

@test "every answer in the transcripts of the IMAP server is grammatical" {
    python3 "$ROOT/tests/peers/imapgrammar.py" "$ROOT"/tests/wire/imap-server/*.txt > out
    out_has ' 0 faults'
    [[ $(sed -n 's/ answers,.*//p' out) -gt 1000 ]]
}

# HIGHESTMODSEQ of an EXPUNGE is what a client says when it comes back: all before must have been told.
@test "what others changed before an EXPUNGE is told no later than its HIGHESTMODSEQ" {
    free_port IMAP
    site b "listen imap 127.0.0.1:$IMAP"
    user b jo
    serve b
    cat > story.py <<'PY'
import re, sys
from imapline import Line
def line():
    c = Line(int(sys.argv[1]), "jo", "secret")
    c("ENABLE QRESYNC")
    c("SELECT INBOX")
    return c
a = line()
for i in range(5): a("APPEND INBOX", b"Subject: x\r\n\r\nx\r\n")
for last in ("EXPUNGE", "UID MOVE 4 Trash"):
    a("NOOP")
    b = line()
    b("UID STORE 1 +FLAGS (\\Flagged %s)" % last[:3])
    if last == "EXPUNGE": b("UID STORE 5 +FLAGS (\\Deleted)"), b("UID EXPUNGE 5")
    a("UID STORE 2 +FLAGS (\\Deleted)") if last == "EXPUNGE" else None
    told = list(a.last)
    told += a(last)
    highest = re.search(r"HIGHESTMODSEQ (\d+)", a.tagged).group(1)
    c = Line(int(sys.argv[1]), "jo", "secret")
    c("ENABLE QRESYNC")
    validity = re.search(r"UIDVALIDITY (\d+)", " ".join(c("EXAMINE INBOX"))).group(1)
    told += c("EXAMINE INBOX (QRESYNC (%s %s))" % (validity, highest))
    assert [x for x in told if "UID 1 FLAGS" in x and last[:3] in x], told
    assert last != "EXPUNGE" or [x for x in told if x.startswith("* VANISHED") and "5" in x], told
PY
    PYTHONPATH="$ROOT/tests/bats" timeout 60 python3 story.py "$IMAP" >> log 2>&1
}
@test "what another did is told, though a silent conditional STORE of other messages does the same" {
    free_port IMAP
    site b "listen imap 127.0.0.1:$IMAP"
    user b jo
    serve b
    cat > story.py <<'PY'
import re, sys
from imapline import Line
a, b = [Line(int(sys.argv[1]), "jo", "secret") for _ in "ab"]
for i in range(3): a("APPEND INBOX", b"Subject: x\r\n\r\nx\r\n")
a("SELECT INBOX (CONDSTORE)"), b("SELECT INBOX")
top = re.search(r"HIGHESTMODSEQ (\d+)", " ".join(a.last)).group(1)
b("STORE 2 +FLAGS (\\Deleted)")
told = a("UID STORE 1 (UNCHANGEDSINCE %s) +FLAGS.SILENT (\\Deleted)" % top) + a("NOOP")
assert [x for x in told if "UID 2 FLAGS" in x and "Deleted" in x], told
assert not [x for x in told if "UID 1 FLAGS" in x], told
# the same of a message that it was refused for
b("STORE 3 +FLAGS (\\Flagged)")
told = a("UID STORE 3 (UNCHANGEDSINCE %s) +FLAGS.SILENT (\\Flagged)" % top)
assert "MODIFIED 3" in a.tagged, a.tagged
assert [x for x in told + a("NOOP") if "UID 3 FLAGS" in x and "Flagged" in x], told
PY
    PYTHONPATH="$ROOT/tests/bats" timeout 60 python3 story.py "$IMAP" >> log 2>&1
}

# Ten clients for eight seconds; `make test-imap` does more.
torture() { # SECONDS CLIENTS SERVERS SEED [ARG...]
    local seconds=$1 clients=$2 servers=$3 seed=$4 i ports=() port
    shift 4
    for i in $(seq "$servers"); do
        free_port port
        ports+=(--port "$port")
        site b "listen imap 127.0.0.1:$port"
        if [[ $i == 1 ]]; then user b jo; fi
        mv b.conf "b$i.conf"
        start "serve-$i" "$POSTBAG" serve -C "$T/b$i.conf"
        wait_port "$port"
    done
    timeout $((seconds + 240)) python3 "$ROOT/tests/peers/imaptest.py" "${ports[@]}" --user jo --password secret \
        --seconds "$seconds" --clients "$clients" --seed "$seed" "$@" > out 2>&1 || { { cut -c 1-400 out | head -1; tail -25 out; } >> log; return 1; }
    out_has ' 0 faults'
    out_lacks ' 0 checkpoints'
}

@test "many clients at random on two mailboxes are told the same" { torture "${IMAPTEST_SECONDS:-8}" "${IMAPTEST_CLIENTS:-10}" 1 "${IMAPTEST_SEED:-1}"; }

@test "the same with two servers on one store, a delivery agent, and files renamed by hand" {
    mkdir -p b/mail/b.test/jo/Maildir/{cur,new,tmp}
    torture "${IMAPTEST_SECONDS:-8}" "${IMAPTEST_CLIENTS:-10}" 2 "${IMAPTEST_SEED:-2}" \
        --maildir "$T/b/mail/b.test/jo/Maildir" --deliver "$POSTBAG deliver -C $T/b1.conf jo@b.test"
}

@test "of odd MIME messages BODYSTRUCTURE, sections, sizes and BINARY agree, and the answers are grammatical" {
    free_port IMAP
    site b "listen imap 127.0.0.1:$IMAP"
    user b jo
    python3 "$ROOT/tests/peers/imapmime.py" make b/mail/b.test/jo/Maildir
    serve b
    timeout 60 python3 "$ROOT/tests/peers/imapmime.py" check "$IMAP" jo secret >> log 2>&1
}
