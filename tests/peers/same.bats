# same: the same mailbox asked the same questions, by Dovecot and by us: the answers are compared.
load ../bats/helper
load ../bats/dovecot

story_teardown() { dovecot_end; }

# A mailbox of odd messages in two copies, then both servers.
both() {
    dovecot_start
    DOVE_IMAP=$IMAP
    free_port IMAP
    site b "listen imap 127.0.0.1:$IMAP"
    user b jo
    python3 - "$DOVE/mail/u1/Maildir" "b/mail/b.test/jo/Maildir" <<'PY'
import os, random, sys
r = random.Random(7)
dirs = sys.argv[1:]
for d in dirs:
    for sub in ("cur", "new", "tmp"): os.makedirs(os.path.join(d, sub), exist_ok=True)
words = ["alpha", "Beta", "GAMMA", "delta eps", "z\u00fcrich", "\u6771\u4eac"]
import base64
def enc(s):
    return s if s.isascii() else "=?utf-8?B?%s?=" % base64.b64encode(s.encode()).decode()
ids = []
for i in range(200):
    subject = " ".join(r.choice(words) for _ in range(r.randrange(1, 3)))
    prefix = r.choice(["", "", "Re: ", "RE: re: ", "Fwd: ", "[list] ", "Re: [list] ", "[list] Re[2]: ", "fw: "])
    suffix = r.choice(["", "", " (fwd)"])
    refs = ""
    if ids and r.random() < .6:
        k = r.randrange(1, 4)
        refs = "References: %s\n" % " ".join("<%s>" % x for x in r.choices(ids + ["gone%d@x" % r.randrange(9)], k=k))
    elif ids and r.random() < .3:
        refs = "In-Reply-To: <%s>\n" % r.choice(ids)
    mid = "m%d@x" % i
    idline = "Message-ID: <%s>\n" % mid if r.random() < .95 else ""
    ids.append(mid)
    names = r.sample(["ann", "Bob", "cy.d", "Dora"], 3)
    text = ("From: %s <%s@a.test>\nTo: \"%s\" <%s@b.test>, x@y.test\n%s" % (enc(r.choice(words)), names[0], names[1], names[1].lower(),
            "Cc: %s@c.test\n" % names[2] if r.random() < .5 else "") +
            "Date: %d %s 2026 %02d:%02d:%02d %s\n" % (r.randrange(1, 28), r.choice(["Jan", "Feb", "Mar"]), r.randrange(24), r.randrange(60), r.randrange(60), r.choice(["+0000", "+0100", "-0830"])) +
            "Subject: %s%s%s\n%s%sMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" % (prefix, enc(subject), suffix, idline, refs) +
            " ".join(r.choice(words) for _ in range(30)) + "\n" * r.randrange(1, 30))
    name = "%d.M%dP1.host" % (1767225600 + i * 3600, i)
    flags = r.choice(["", "S", "FS", "R"])
    for d in dirs:
        path = os.path.join(d, "cur", name + ":2," + flags)
        with open(path, "wb") as f: f.write(text.encode())
        os.utime(path, (1767225600 + i * 3600,) * 2)
PY
    if [[ $(id -u) == 0 ]]; then chown -R nobody: "$DOVE/mail"; fi
    serve b
}

@test "SORT, THREAD and SEARCH answer as Dovecot does" {
    both
    cat > story.py <<'PY'
import re, sys
from imapline import Line
d, p = Line(int(sys.argv[1]), "u1", "pw"), Line(int(sys.argv[2]), "jo", "secret")
for x in (d, p): x("SELECT INBOX")
def rows(x, c):
    return [r for r in x(c) if re.match(r"\* (SORT|THREAD|SEARCH|ESEARCH|\d+ FETCH)", r)]
bad = []
for q in ["SORT (%s) UTF-8 ALL" % k for k in (
        "ARRIVAL", "DATE", "REVERSE DATE", "SUBJECT DATE", "FROM DATE", "TO DATE", "CC DATE", "SIZE DATE",
        "REVERSE SUBJECT REVERSE DATE", "DISPLAYFROM DATE", "DISPLAYTO DATE")] + [
        "UID SORT (SUBJECT DATE) UTF-8 UNSEEN", "THREAD ORDEREDSUBJECT UTF-8 ALL", "THREAD REFERENCES UTF-8 ALL",
        "UID THREAD REFERENCES UTF-8 SEEN",
        "SEARCH SUBJECT alpha", "SEARCH CHARSET UTF-8 SUBJECT \"Z\u00dcRICH\"", "SEARCH CHARSET UTF-8 BODY \u0022\u6771\u4eac\u0022",
        "SEARCH FROM ann", "SEARCH TO b.test", "SEARCH CC c.test", "SEARCH HEADER References gone", "SEARCH TEXT gamma",
        "SEARCH SENTSINCE 3-Feb-2026", "SEARCH SENTON 14-Mar-2026", "SEARCH SENTBEFORE 2-Jan-2026", "SEARCH SINCE 3-Jan-2026",
        "SEARCH OR FLAGGED ANSWERED", "SEARCH NOT SEEN LARGER 500", "SEARCH RETURN (MIN MAX COUNT) UNSEEN",
        "SEARCH 5:20,100 NOT (SUBJECT beta FROM bob)", "UID SEARCH UID 10:50 KEYWORD $x"]:
    a, b = rows(d, q), rows(p, q)
    a, b = [re.sub(r'\(TAG "[^"]*"\)', "", r) for r in a], [re.sub(r'\(TAG "[^"]*"\)', "", r) for r in b]
    assert a and (len(a[0].split()) > 2 or "KEYWORD" in q or "RETURN" in q or "2-Jan" in q), (q, a)
    if a != b: bad.append((q, a, b))
for q, a, b in bad:
    print(q, "\n  dovecot", str(a)[:1500], "\n  postbag", str(b)[:1500], file=sys.stderr)
assert not bad
PY
    PYTHONPATH="$ROOT/tests/bats" timeout 60 python3 story.py "$DOVE_IMAP" "$IMAP" >> log 2>&1
}
