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
