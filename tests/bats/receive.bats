load helper
# shellcheck disable=SC2016

# Taking mail: extensions, proxies, recipients, and the traps R-1 to R-14 that mail servers fall in.
# In a test, `py ARG...` runs Python from standard input with tests/bats/dialogue.py imported.
py() {
    { printf 'import sys\nfrom dialogue import *\n'; cat; } > "$T/dialogue.run.py"
    PYTHONPATH="$ROOT/tests/bats" python3 "$T/dialogue.run.py" "$@" >> "$T/log" 2>&1
}
# A site with SMTP on $P, submission on $SUB, submission under TLS on $TLS.
mail_site() {
    free_port P SUB TLS
    site a "listen smtp 127.0.0.1:$P" "listen submission 127.0.0.1:$SUB" \
        "listen submissions 127.0.0.1:$TLS" "relay-from none" "$@"
    user a ann secret
}
# The queue as text: envelope lines are readable.
in_queue() { grep -aqx -- "$1" "$T"/a/queue/*.seg; }
log_has() { grep -qE -- "$1" "$T/serve-a.err"; }

# --- extensions ------------------------------------------------------------------------------------

@test "EHLO announces on each port what works there" {
    free_port L
    mail_site "listen lmtp 127.0.0.1:$L"
    serve a
    py "$P" "$SUB" "$TLS" "$L" <<'PY'
base = {"PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES", "CHUNKING",
        "BINARYMIME", "LIMITS MAILMAX=100000 RCPTMAX=1000", "DELIVERBY", "MT-PRIORITY"}
clear = {"STARTTLS"}
auth = {"AUTH PLAIN LOGIN"}
def caps(port, verb="EHLO", tls=False, up=False):
    d = Dialogue(port, tls=tls)
    got = d.ehlo(verb=verb)
    if up: d.starttls(); got = d.ehlo(verb=verb)
    got = {w for w in got[1:]}
    future = {w for w in got if w.startswith("FUTURERELEASE ")}
    got -= future
    assert all(w.split()[1] == "2592000" for w in future), future
    d.ask("QUIT")
    return got, bool(future)
def same(got, want, future):
    words = {w for w in got[0] if not w.startswith("AUTH")}
    assert words == want and got[1] == future, (sorted(words ^ want), got[1])
same(caps(sys.argv[1]), base | clear, False)
same(caps(sys.argv[1], up=True), base | {"REQUIRETLS"}, False)
same(caps(sys.argv[2]), base | clear, True)
same(caps(sys.argv[3], tls=True), base | {"REQUIRETLS"}, True)
same(caps(sys.argv[4], verb="LHLO"), base | clear, False)
PY
}

@test "what a sender asks for is kept with the message: REQUIRETLS, priority, deliver-by, DSN" {
    mail_site
    serve a --hold
    py "$TLS" <<'PY'
d = Dialogue(sys.argv[1], tls=True); d.ehlo()
assert d.login("ann@a.test", "secret").startswith("235")
assert d.ask("MAIL FROM:<ann@a.test> REQUIRETLS MT-PRIORITY=4 BY=3600;RT RET=HDRS ENVID=q1").startswith("250 2.1.0")
assert d.ask("RCPT TO:<bob@b.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;bob@b.test").startswith("250")
assert d.ask("DATA").startswith("354")
d.send(b"From: ann@a.test\r\n\r\nx\r\n.\r\n")
assert d.answer().startswith("250"), 1
PY
    in_queue requiretls
    in_queue 'priority 4'
    in_queue 'ret hdrs'
    in_queue 'envid q1'
    in_queue 'notify 10'
    grep -aqx 'by return+trace [0-9]*' a/queue/*.seg
}

@test "a stranger's message comes before no other: MT-PRIORITY above 0 becomes 0, and he is told" {
    mail_site
    serve a --hold
    py "$P" <<'PY'
d = Dialogue(sys.argv[1]); d.ehlo()
got = d.ask("MAIL FROM:<zoe@b.test> MT-PRIORITY=9")
assert got.startswith("250 2.3.6 0 "), got
d.ask("RSET")
got = d.mail("zoe@b.test", ["ann@a.test"], b"Subject: x\r\n\r\nx\r\n.\r\n", " MT-PRIORITY=-3")
assert got[0].startswith("250 2.1.0") and got[-1].startswith("250"), got
PY
    in_queue 'priority -3'
    ! in_queue 'priority 9'
}

@test "a submitted message may be held: FUTURERELEASE, within hold-limit, not on port 25" {
    mail_site "hold-limit 1h"
    serve a
    py "$SUB" "$P" <<'PY'
import time
d = Dialogue(sys.argv[1]); d.ehlo(); d.login("ann@a.test", "secret")
assert d.ask("MAIL FROM:<ann@a.test> HOLDFOR=3601").startswith("501 5.5.4")
until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1800))
for how in ("HOLDFOR=3600", "HOLDUNTIL=" + until, "HOLDFOR=0", "HOLDFOR=1"):
    got = d.mail("ann@a.test", ["ann@a.test"], f"Subject: {how}\r\n\r\nx\r\n.\r\n".encode(), " " + how)
    assert got[-1].startswith("250"), got
d = Dialogue(sys.argv[2]); d.ehlo()
assert d.ask("MAIL FROM:<zoe@b.test> HOLDFOR=1").startswith("555 5.5.4")
PY
    wait_for 10 has_mail a ann 2
    [[ $("$POSTBAG" mailq -C a.conf | grep -c 'ann@a.test') -ge 2 ]]
    [[ $(count_mail a ann) == 2 ]]
    grep -qh 'Subject: HOLDFOR=[01]' "$(mail_file a ann)"
}

@test "\"TLS-Required: No\" is understood, unless REQUIRETLS says the contrary" {
    mail_site
    serve a --hold
    py "$P" <<'PY'
d = Dialogue(sys.argv[1]); d.ehlo()
for value in (b"no", b"Yes"):
    got = d.mail("zoe@b.test", ["ann@a.test"], b"TLS-Required: " + value + b"\r\n\r\nx\r\n.\r\n")
    assert got[-1].startswith("250"), got
d.starttls(); d.ehlo()
got = d.mail("zoe@b.test", ["ann@a.test"], b"TLS-Required: No\r\n\r\nx\r\n.\r\n", " REQUIRETLS")
assert got[-1].startswith("250"), got
PY
    [[ $(grep -acx tls-optional a/queue/*.seg) == 1 ]]
    [[ $(grep -acx requiretls a/queue/*.seg) == 1 ]]
}

# Maildir files end their lines in LF, so a body with bare CR or LF is stored base64: no octet is lost.
@test "a binary message by BDAT arrives: NUL, bare CR, bare LF and all octets are there (BINARYMIME)" {
    mail_site
    serve a
    py "$P" <<'PY'
d = Dialogue(sys.argv[1]); d.ehlo()
d.ask("MAIL FROM:<zoe@b.test> BODY=BINARYMIME"); d.ask("RCPT TO:<ann@a.test>")
body = b"Subject: binary\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" \
    b"--b\r\nContent-Type: text/plain\r\n\r\nplain\r\n--b\r\nContent-Type: application/x\r\nContent-Transfer-Encoding: binary\r\n\r\n" \
    + bytes(range(256)) + b"a\nb\r\nc\rd\r\r\n\n.\r\n" + b"\r\n--b--\r\n"
d.send(b"BDAT %d\r\n" % 20 + body[:20])
assert d.answer().startswith("250 2.0.0 20 octets")
d.send(b"BDAT %d LAST\r\n" % (len(body) - 20) + body[20:])
assert d.answer().startswith("250")
PY
    wait_for 10 has_mail a ann
    python3 - "$(mail_file a ann)" <<'PY'
import email, sys
raw = open(sys.argv[1], "rb").read()
assert b"\r" not in raw
plain, binary = email.message_from_bytes(raw).get_payload()
assert plain.get_payload() == "plain" and not plain["Content-Transfer-Encoding"]
assert binary["Content-Transfer-Encoding"] == "base64"
assert binary.get_payload(decode=True) == bytes(range(256)) + b"a\nb\r\nc\rd\r\r\n\n.\r\n"
PY
}

@test "Python's smtplib sends SMTPUTF8 and 8BITMIME; DSN parameters reach the queue" {
    mail_site
    serve a --hold
    python3 - "$P" <<'PY'
import smtplib, sys
from email.message import EmailMessage
m = EmailMessage()
m["From"], m["To"], m["Subject"] = "zoé@b.test", "ann@a.test", "grüß"
m.set_content("ü\n", cte="8bit")
s = smtplib.SMTP("127.0.0.1", int(sys.argv[1]), timeout=20)
s.send_message(m, mail_options=["RET=FULL", "ENVID=e1"], rcpt_options=["NOTIFY=NEVER"])
s.quit()
PY
    in_queue smtputf8
    in_queue 'from zoé@b.test'
    in_queue 'ret full'
    in_queue 'notify 1'
    in_queue 'proto UTF8SMTP'
}

# --- proxies ---------------------------------------------------------------------------------------

@test "swaks says XCLIENT from a listed network: log and Received name the client" {
    need swaks
    mail_site "xclient-from 127.0.0.0/8"
    serve a
    swaks --server 127.0.0.1 --port "$P" --from zoe@b.test --to ann@a.test --helo real.b.test \
        --xclient-name spike.b.test --xclient-addr 192.0.2.7 --xclient-helo real.b.test \
        >> "$T/log" 2>&1
    wait_for 10 has_mail a ann
    grep -q '^Received: from real.b.test (spike.b.test \[192.0.2.7\])' "$(mail_file a ann)"
    log_has 'queued id=.* client=spike.b.test\[192.0.2.7\] helo=real.b.test'
}

@test "XCLIENT gives no rights to who is not listed, and those of the client to who is" {
    mail_site "xclient-from 127.0.0.2" "relay-from 127.0.0.1"
    serve a
    py "$P" <<'PY'
d = Dialogue(sys.argv[1]); d.ehlo()
assert d.ask("XCLIENT ADDR=192.0.2.7").startswith("550 5.7.1")
PY
    stop "$SERVE"
    sed -i 's/^xclient-from.*/xclient-from 127.0.0.1/' a.conf
    serve a --hold
    py "$P" "$SUB" <<'PY'
d = Dialogue(sys.argv[1]); d.ehlo()
d.ask("MAIL FROM:<zoe@b.test>")
assert d.ask("RCPT TO:<x@c.test>").startswith("250")
d.ask("RSET")
assert d.ask("XCLIENT ADDR=192.0.2.7 LOGIN=[UNAVAILABLE]").startswith("220 ")
assert d.ask("MAIL FROM:<zoe@b.test>").startswith("503")
d.ehlo(); d.ask("MAIL FROM:<zoe@b.test>")
assert d.ask("RCPT TO:<x@c.test>").startswith("550 5.7.1")
d = Dialogue(sys.argv[2]); d.ehlo()
assert d.ask("XCLIENT ADDR=192.0.2.7 LOGIN=ann@a.test").startswith("220 ")
d.ehlo()
assert d.ask("MAIL FROM:<ann@a.test>").startswith("250")
assert d.ask("RCPT TO:<x@c.test>").startswith("250")
PY
}

@test "a PROXY header of version 1 or 2 tells the client, also before TLS; without it nothing goes" {
    mail_site "proxy-from 127.0.0.0/8"
    serve a --hold
    py "$P" "$TLS" <<'PY'
v1 = b"PROXY TCP4 192.0.2.7 192.0.2.1 4000 25\r\n"
v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\x00\x24" + bytes.fromhex("20010db8" + "0" * 23 + "7" + "20010db8" + "0" * 23 + "1") + b"\x10\0\0\x19"
for header in (v1, v2):
    d = Dialogue(sys.argv[1], header); d.ehlo()
    assert d.mail("zoe@b.test", ["ann@a.test"], b"Subject: x\r\n\r\nx\r\n.\r\n")[-1].startswith("250")
d = Dialogue(sys.argv[2], v1, tls=True); d.ehlo()
assert d.login("ann@a.test", "secret").startswith("235")
d = Dialogue(sys.argv[1], b"EHLO x.test\r\n", greet=False)
assert d.is_closed()
PY
    log_has 'queued id=.* client=unknown\[192.0.2.7\]'
    log_has 'queued id=.* client=unknown\[2001:db8::7\]'
    log_has 'login .*client=192.0.2.7'
    log_has 'no PROXY header'
}

@test "swaks speaks PROXY 1 and 2 to the server" {
    need swaks
    mail_site "proxy-from 127.0.0.0/8"
    serve a
    for version in 1 2; do
        swaks --server 127.0.0.1 --port "$P" --from zoe@b.test --to ann@a.test --proxy-version $version \
            --proxy-family "$([[ $version == 1 ]] && echo TCP4 || echo AF_INET)" --proxy-source "192.0.2.1$version" \
            --proxy-source-port 4000 --proxy-dest 192.0.2.1 --proxy-dest-port 25 >> "$T/log" 2>&1
        log_has "queued id=.* client=unknown\[192.0.2.1$version\]"
    done
    wait_for 10 has_mail a ann 2
}

@test "a PROXY header from elsewhere is only an unknown command" {
    mail_site
    serve a
    py "$P" <<'PY'
d = Dialogue(sys.argv[1])
assert d.ask("PROXY TCP4 192.0.2.7 192.0.2.1 4000 25").startswith("500")
PY
}

@test "R-9 limits: one address has so many connections and no more; the others are served" {
    mail_site "proxy-from 127.0.0.0/8" "client-limit 3"
    serve a
    py "$P" <<'PY'
def come(addr, kind="TCP4", dst="192.0.2.1"):
    return Dialogue(sys.argv[1], f"PROXY {kind} {addr} {dst} 4000 25\r\n".encode())
held = [come("192.0.2.7") for i in range(3)]
assert all(d.greeting.startswith("220 ") for d in held)
over = come("192.0.2.7")
assert over.greeting.startswith("421 4.3.2") and over.is_closed()
assert come("192.0.2.8").greeting.startswith("220 ")
# IPv6 counts by /64
six = [come(f"2001:db8::{i}", "TCP6", "2001:db8::ffff") for i in range(1, 4)]
assert come("2001:db8::9", "TCP6", "2001:db8::ffff").greeting.startswith("421")
assert come("2001:db8:0:1::9", "TCP6", "2001:db8::ffff").greeting.startswith("220")
held[0].ask("QUIT"); assert held[0].is_closed()
import time
for i in range(100):
    if come("192.0.2.7").greeting.startswith("220"): break
    time.sleep(0.05)
else: raise SystemExit("the place is never free again")
PY
    log_has 'refused service=smtp client=192.0.2.7 why="too many connections"'
}

@test "R-9 limits: connections in all, recipients with 452, commands that lead nowhere" {
    mail_site "connection-limit 4"
    serve a
    py "$P" <<'PY'
import time
held = []
for i in range(100):
    d = Dialogue(sys.argv[1])
    if d.greeting.startswith("421"): break
    held.append(d)
assert d.greeting.startswith("421 4.3.2") and len(held) <= 4, (d.greeting, len(held))
d = held.pop(); d.ehlo()
d.ask("MAIL FROM:<zoe@b.test>")
d.send(b"RCPT TO:<ann@a.test>\r\n" * 1001)
got = [d.answer() for i in range(1001)]
assert all(g.startswith("250") for g in got[:1000]) and got[1000].startswith("452 4.5.3"), got[-1]
d.ask("RSET")
for i in range(20):
    got = d.ask("WHAT")
    if not got.startswith("500"): break
assert got.startswith("421 4.7.0") and d.is_closed(), got
d = held.pop()
for i in range(101):
    got = d.ask("NOOP")
assert got.startswith("421 4.7.0") and d.is_closed(), got
PY
}

# --- recipients ------------------------------------------------------------------------------------

# A directory that the user of alias commands may write: $O.
open_dir() {
    O=$(mktemp -d /tmp/postbag-alias.XXXXXX)
    chmod 1777 "$O"
}
story_teardown() { [[ -z ${O:-} ]] || rm -rf "$O"; }
# to ADDRESS...: one message from zoe@b.test to each
to() {
    py "$P" "$@" <<'PY'
for rcpt in sys.argv[2:]:
    d = Dialogue(sys.argv[1]); d.ehlo()
    got = d.mail("zoe@b.test", [rcpt], f"Subject: to {rcpt}\r\n\r\nFrom here\r\n.\r\n".encode())
    assert got[-1].startswith("250"), got
PY
}

@test "aliases: lists, included files that change, the same name in another domain, the catch-all" {
    mail_site
    sed -i 's/^domain .*/domain a.test old.test/' a.conf
    user a bob
    {
        echo "team: :include:$T/members, bob"
        echo '@old.test: @a.test'
        echo '@a.test: \bob'
    } > a/aliases
    echo ann > members
    serve a
    to team@a.test ann@old.test whoever@a.test
    wait_for 10 has_mail a ann 2
    wait_for 10 has_mail a bob 2
    printf '# all of them\nann@a.test\nbob\n' > members
    to team+x@a.test
    wait_for 10 has_mail a ann 3
    wait_for 10 has_mail a bob 3
    wait_for 10 queue_empty a
    [[ $(count_mail a ann) == 3 && $(count_mail a bob) == 3 ]]
}

@test "a list with an owner sends in his name, inside and outside; a notification stays without sender" {
    free_port R
    sink s "$R"
    mail_site "relay 127.0.0.1:$R" "relay-tls none"
    user a bob
    printf 'list: ann, x@c.test\nowner-list: bob\n' > a/aliases
    serve a
    to list@a.test
    wait_for 10 has_mail a ann
    wait_for 10 test -s s/1.eml
    grep -q '^Return-Path: <owner-list@a.test>' "$(mail_file a ann)"
    grep -qi 'owner-list@a.test' s/1.env
    py "$P" <<'PY'
d = Dialogue(sys.argv[1]); d.ehlo()
assert d.mail("", ["list@a.test"], b"Subject: none\r\n\r\nx\r\n.\r\n")[-1].startswith("250")
PY
    wait_for 10 test -s s/2.eml
    ! grep -qi 'owner-list@a.test' s/2.env
}

@test "alias commands and files: only when alias-commands says so; else the mail waits" {
    open_dir
    mail_site
    printf 'cmd: "|cat > %s/out"\nfile: %s/box\nnull: /dev/null\n' "$O" "$O" > a/aliases
    serve a
    py "$P" <<'PY'
d = Dialogue(sys.argv[1]); d.ehlo(); d.ask("MAIL FROM:<zoe@b.test>")
assert d.ask("RCPT TO:<cmd@a.test>").startswith("451 4.3.5")
assert d.ask("RCPT TO:<file@a.test>").startswith("451 4.3.5")
assert d.ask("RCPT TO:<null@a.test>").startswith("250")
PY
    to null@a.test
    wait_for 10 queue_empty a
    stop "$SERVE"
    echo 'alias-commands yes' >> a.conf
    serve a
    to cmd@a.test file@a.test file@a.test
    run_postbag 0 sendmail -C a.conf -bv cmd@a.test ann@a.test
    out_has "cmd@a.test: command or file |cat"
    run_postbag 0 sendmail -C a.conf --dry-run file@a.test <<< $'Subject: x\n\nx'
    out_has "$O/box: command or file"
    wait_for 10 queue_empty a
    grep -q '^From zoe@b.test ' "$O/out"
    grep -q '^Subject: to cmd@a.test$' "$O/out"
    grep -q '^From here$' "$O/out"
    [[ $(grep -c '^From ' "$O/box") == 2 && $(grep -c '^>From here$' "$O/box") == 2 ]]
    [[ $(stat -c %a "$O/box") == 600 ]]
    [[ $(id -u) != 0 || $(stat -c %U "$O/box") == nobody ]]
}

@test "the exit status of an alias command decides: 67 bounces, 75 is tried again, and nobody else waits" {
    open_dir
    mail_site "alias-commands yes"
    {
        echo 'gone: "|echo no such person; exit 67"'
        echo 'later: "|exit 75"'
        echo 'missing: |/no/such/program'
        echo "slow: \"|touch $O/started; sleep 60\""
        echo "env: |\"echo \\\"\$SENDER \$RECIPIENT \$(env | wc -l)\\\" > $O/env\""
    } > a/aliases
    serve a
    to slow@a.test
    wait_for 10 test -e "$O/started"
    py "$P" <<'PY'
d = Dialogue(sys.argv[1]); d.ehlo()
for rcpt in ("gone", "later", "missing", "env"):
    got = d.mail("ann@a.test", [rcpt + "@a.test"], b"Subject: x\r\n\r\nx\r\n.\r\n")
    assert got[-1].startswith("250"), got
PY
    wait_for 10 has_mail a ann
    grep -q 'Status: 5.1.1' "$(mail_file a ann)"
    grep -q 'no such person' "$(mail_file a ann)"
    wait_for 10 test -s "$O/env"
    grep -q '^ann@a.test env@a.test [0-9]*$' "$O/env"
    wait_for 10 log_has 'deferred .*to=later@a.test'
    wait_for 10 log_has 'deferred .*to=missing@a.test'
    stop "$SERVE"
    [[ $STATUS == 0 ]]
    [[ $("$POSTBAG" mailq -C a.conf | grep -c 'slow@a.test\|later@a.test\|missing@a.test') -ge 3 ]]
}

@test "an included file may not run commands or name files" {
    open_dir
    mail_site "alias-commands yes"
    echo "team: :include:$T/members" > a/aliases
    serve a
    for line in "|touch $O/x" "\"|touch $O/x\"" "$O/x" "ann, $O/x" "ann,\"|touch $O/x\"" ":include:$T/members"; do
        echo "$line" > members
        py "$P" <<'PY'
d = Dialogue(sys.argv[1]); d.ehlo(); d.ask("MAIL FROM:<zoe@b.test>")
assert d.ask("RCPT TO:<team@a.test>").startswith("451 4.3.5")
PY
    done
    [[ ! -e $O/x ]]
}

@test "relay tricks: routes, percent, bang, quoted and trailing forms go nowhere, also with a catch-all" {
    mail_site
    echo '@a.test: ann' > a/aliases
    serve a
    py "$P" <<'PY'
d = Dialogue(sys.argv[1]); d.ehlo(); d.ask("MAIL FROM:<zoe@b.test>")
for trick in ("<x@c.test>", "<@a.test:x@c.test>", "<@a.test,@b.test:x@c.test>", "<x@c.test@a.test>",
              "<x@[127.0.0.9]>", "<x@[IPv6:::1]>", "<x@c.test.>", "<x@a.test.>", "<x@a.test@c.test>", "<c.test!x>",
              '<"x@c.test">', "<x@>", "<@a.test>", "<x%c.test>", "<x@sub.a.test>", "<x@mail.a.test>", "<x@a.test\t>"):
    got = d.ask("RCPT TO:" + trick)
    assert got[0] == "5", (trick, got)
# These name mailboxes of a.test, and nobody else's: the catch-all has them
for local in ("x%c.test", "c.test!x", '"x@c.test"'):
    assert d.ask(f"RCPT TO:<{local}@a.test>").startswith("250"), local
d.ask("DATA"); d.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
assert d.answer().startswith("250")
PY
    wait_for 10 has_mail a ann
    wait_for 10 queue_empty a
    ! log_has 'to=[^ ]*c.test .*relay=[^l]'
}

# --- what is added and what is told ----------------------------------------------------------------

@test "submission adds Date, Message-ID and From where they are missing, and port 25 does not" {
    mail_site
    serve a
    py "$SUB" "$P" <<'PY'
d = Dialogue(sys.argv[1]); d.ehlo(); d.login("ann@a.test", "secret")
assert d.mail("ann@a.test", ["ann@a.test"], b"Subject: bare\r\n\r\nx\r\n.\r\n")[-1].startswith("250")
d = Dialogue(sys.argv[2]); d.ehlo()
assert d.mail("zoe@b.test", ["ann@a.test"], b"Subject: as it came\r\n\r\nx\r\n.\r\n")[-1].startswith("250")
PY
    wait_for 10 has_mail a ann 2
    f=$(grep -l 'Subject: bare' a/mail/a.test/ann/Maildir/new/*)
    for field in Date Message-ID From; do [[ $(grep -c "^$field: " "$f") == 1 ]]; done
    f=$(grep -l 'Subject: as it came' a/mail/a.test/ann/Maildir/new/*)
    ! grep -q '^Date: \|^Message-ID: \|^From: ' "$f"
}

@test "a message without any header keeps its text as text" {
    mail_site
    serve a
    py "$P" <<'PY'
d = Dialogue(sys.argv[1]); d.ehlo()
assert d.mail("zoe@b.test", ["ann@a.test"], b"just words\r\nX-Not: a field\r\n.\r\n")[-1].startswith("250")
PY
    wait_for 10 has_mail a ann
    [[ $(sed '1,/^$/d' "$(mail_file a ann)" | tr -d '\r') == $'just words\nX-Not: a field' ]]
}

@test "the log has one line for a message, with the fields of other mail software; JSON on request" {
    mail_site
    serve a
    py "$TLS" "$P" <<'PY'
d = Dialogue(sys.argv[1], tls=True); d.ehlo(); d.login("ann@a.test", "secret")
got = d.mail("ann@a.test", ["ann@a.test", "ann+x@a.test"], b"Message-ID: <one@x>\r\n\r\nx\r\n.\r\n")
assert got[-1].startswith("250"), got
d = Dialogue(sys.argv[2]); d.ehlo()
assert d.mail("", ["ann@a.test"], b"Subject: x\r\n\r\nx\r\n.\r\n")[-1].startswith("250")
PY
    log_has ' queued id=[0-9A-Z]{14} client=unknown\[127.0.0.1\] helo=x.test from=<ann@a.test> to=<ann@a.test>,<ann\+x@a.test> nrcpt=2 size=[0-9]+ proto=ESMTPSA sasl_username=ann@a.test tls="TLSv1[^"]*" message-id=<one@x>$'
    log_has ' queued id=[0-9A-Z]{14} client=.* from=<> to=<ann@a.test> nrcpt=1 '
    [[ $(grep -c ' queued ' serve-a.err) == 2 ]]
    stop "$SERVE"
    sed -i 's/^log text/log json/' a.conf
    serve a
    to ann@a.test
    grep '"event":"queued"' serve-a.err > out
    json_is 'd["from"] == "<zoe@b.test>" and d["client"] == "unknown[127.0.0.1]" and d["nrcpt"] in ("1", 1)'
}

# --- traps -----------------------------------------------------------------------------------------

@test "R-1 end of data: only CRLF.CRLF; every other end is refused on 25, and carries no second message" {
    mail_site
    serve a
    py "$P" <<'PY'
inner = b"MAIL FROM:<evil@b.test>\r\nRCPT TO:<ann@a.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\nQUIT\r\n"
for end in (b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n.\r", b"\r.\r\n", b"\n.\r"):
    d = Dialogue(sys.argv[1]); d.ehlo()
    d.ask("MAIL FROM:<zoe@b.test>"); d.ask("RCPT TO:<ann@a.test>"); d.ask("DATA")
    d.send(b"Subject: outer\r\n\r\nx" + end + inner)
    got = d.answer()
    assert got.startswith("521 5.5.2"), (end, got)
    assert d.is_closed(), end
d = Dialogue(sys.argv[1]); d.ehlo()
assert d.mail("zoe@b.test", ["ann@a.test"], b"Subject: right\r\n\r\nx\r\n.\r\n")[-1].startswith("250")
PY
    wait_for 10 has_mail a ann
    wait_for 10 queue_empty a
    [[ $(count_mail a ann) == 1 ]]
}

@test "R-2 outbound smuggling: stray CR and LF of a submitted message never leave" {
    free_port R
    sink s "$R"
    mail_site "relay 127.0.0.1:$R" "relay-tls none"
    serve a
    py "$SUB" <<'PY'
d = Dialogue(sys.argv[1]); d.ehlo(); d.login("ann@a.test", "secret")
got = d.mail("ann@a.test", ["bob@b.test"],
             b"From: ann@a.test\nSubject: x\n\none\n.\ntwo\r.\rthree\r\n.\nMAIL FROM:<evil@b.test>\r\n.\r\n")
assert got[-1].startswith("250"), got
PY
    wait_for 10 test -s s/1.eml
    wait_for 10 queue_empty a
    [[ $(sink_count s) == 1 ]]
    python3 - s/1.eml <<'PY'
import sys
m = open(sys.argv[1], "rb").read()
assert b"evil" in m and b"\r" not in m.replace(b"\r\n", b"") and b"\n" not in m.replace(b"\r\n", b""), m
PY
}

@test "R-3 STARTTLS injection: octets behind STARTTLS end the session; after TLS all is forgotten" {
    mail_site
    serve a
    py "$P" <<'PY'
for extra in (b"RSET\r\n", b"EHLO evil.test\r\nMAIL FROM:<evil@b.test>\r\n", b"x"):
    d = Dialogue(sys.argv[1]); d.ehlo()
    d.send(b"STARTTLS\r\n" + extra)
    got = d.answer()
    assert not got or (got.startswith("220") and d.is_closed()), got
d = Dialogue(sys.argv[1]); d.ehlo(); d.starttls()
assert d.ask("MAIL FROM:<zoe@b.test>").startswith("503")
assert "STARTTLS" not in d.ehlo()
assert d.ask("STARTTLS").startswith("503")
PY
}

@test "R-4 early talk: before the greeting, and behind EHLO and DATA, it ends the session" {
    mail_site
    serve a
    py "$P" <<'PY'
for ahead in (b"EHLO x.test\r\nMAIL FROM:<zoe@b.test>\r\n", b"HELO x.test\r\nNOOP\r\n"):
    d = Dialogue(sys.argv[1]); d.send(ahead)
    got = [d.answer(), d.answer()]
    assert got[1].startswith("554 5.5.1") and d.is_closed(), got
d = Dialogue(sys.argv[1]); d.ehlo()
d.send(b"MAIL FROM:<zoe@b.test>\r\nRCPT TO:<ann@a.test>\r\nDATA\r\n")
assert [d.answer()[:3] for i in range(3)] == ["250", "250", "354"]
d = Dialogue(sys.argv[1]); d.ehlo()
d.send(b"MAIL FROM:<zoe@b.test>\r\nRCPT TO:<ann@a.test>\r\nDATA\r\nSubject: early\r\n\r\n.\r\n")
got = [d.answer() for i in range(4)]
assert got[3].startswith("554 5.5.1") and d.is_closed(), got
PY
}

@test "R-5 BDAT: octets are read even when refused, 0 LAST ends, DATA does not mix in, size is the sum" {
    mail_site "message-size-limit 1k"
    serve a
    py "$P" <<'PY'
d = Dialogue(sys.argv[1]); d.ehlo()
d.send(b"BDAT 6\r\nQUIT\r\n")
assert d.answer().startswith("503 5.5.1")
d.ask("MAIL FROM:<zoe@b.test>")
d.send(b"BDAT 6 LAST\r\nQUIT\r\n")
assert d.answer().startswith("503 5.5.1")
d.ask("RSET"); d.ask("MAIL FROM:<zoe@b.test>"); d.ask("RCPT TO:<ann@a.test>")
d.send(b"BDAT 14\r\nSubject: one\r\n")
assert d.answer().startswith("250 2.0.0 14 octets")
assert d.ask("DATA").startswith("503 5.5.1")
d.send(b"BDAT 5\r\n\r\nx\r\n")
assert d.answer().startswith("250")
assert d.ask("BDAT 0 LAST").startswith("250")
d.ask("MAIL FROM:<zoe@b.test>"); d.ask("RCPT TO:<ann@a.test>")
d.send(b"BDAT 600\r\n" + b"x" * 598 + b"\r\n")
assert d.answer().startswith("250")
d.send(b"BDAT 600 LAST\r\n" + b"y" * 598 + b"\r\n")
assert d.answer().startswith("552 5.3.4")
assert d.ask("NOOP").startswith("250")
PY
    wait_for 10 has_mail a ann
    wait_for 10 queue_empty a
    [[ $(count_mail a ann) == 1 ]]
}

@test "R-6 syntax: lenient on submission, strict on 25; the case of a local part is kept" {
    mail_site
    serve a --hold
    py "$P" "$SUB" <<'PY'
d = Dialogue(sys.argv[1]); assert d.ask("EHLO my phone").startswith("250") is True
for bad in ("MAIL FROM: <zoe@b.test>", "MAIL FROM:zoe@b.test", "MAIL FROM:<zoe>", "MAIL <zoe@b.test>"):
    got = d.ask(bad)
    assert got[:3] in ("501", "553"), (bad, got)
assert d.ask("mail from:<zoe@b.test> auth=<>").startswith("250")
assert d.ask("rcpt to:<@x.test,@y.test:ann@a.test>").startswith("250")
d = Dialogue(sys.argv[2])
assert d.ask("EHLO my_phone!").startswith("250")
d.login("ann@a.test", "secret")
assert d.ask("MAIL FROM: <ann@a.test>").startswith("250")
assert d.ask("RCPT TO: <Bob.X@b.test>").startswith("250")
d.ask("DATA"); d.send(b"From: ann@a.test\r\n\r\nx\r\n.\r\n"); assert d.answer().startswith("250")
PY
    in_queue 'rcpt Bob.X@b.test'
}

@test "R-7 AUTH LOGIN: Username: and Password:, an initial response, = for none, * to cancel" {
    mail_site
    serve a
    py "$SUB" <<'PY'
b = lambda t: base64.b64encode(t.encode()).decode()
d = Dialogue(sys.argv[1]); d.ehlo()
assert d.ask("AUTH LOGIN") == "334 " + b("Username:")
assert d.ask("*").startswith("501 5.7.0")
assert d.ask("AUTH PLAIN") == "334 "
assert d.ask("*").startswith("501 5.7.0")
assert d.ask("AUTH LOGIN " + b("ann@a.test")) == "334 " + b("Password:")
assert d.ask(b("secret")).startswith("235 2.7.0")
d = Dialogue(sys.argv[1]); d.ehlo()
d.ask("AUTH LOGIN"); d.ask(b("ann@a.test"))
assert d.ask(b("secret")).startswith("235")
d = Dialogue(sys.argv[1]); d.ehlo()
assert d.ask("AUTH PLAIN =").startswith("5")
PY
}

@test "R-8 lines: long text lines pass whole, long commands are refused and the session goes on" {
    mail_site
    serve a
    py "$P" <<'PY'
d = Dialogue(sys.argv[1]); d.ehlo()
assert d.ask("NOOP " + "x" * 12000).startswith("250")
assert d.ask("NOOP " + "x" * 13000).startswith("500 5.5.2")
assert d.ask(b"NOOP \xff\xfe").startswith(("250", "500"))
assert d.ask(b"NO\0OP").startswith("500")
assert d.ask(b"MAIL FROM:<z\xff@b.test>").startswith(("501", "553"))
got = d.mail("zoe@b.test", ["ann@a.test"], b"Subject: long\r\n\r\n" + b"x" * 100000 + b"\r\n.\r\n")
assert got[-1].startswith("250"), got
PY
    wait_for 10 has_mail a ann
    [[ $(tr -d '\r' < "$(mail_file a ann)" | awk '{ if (length > n) n = length } END { print n }') == 100000 ]]
}

@test "R-10 replies: enhanced codes that agree, the queue id in the last 250, no version in the banner" {
    mail_site
    serve a
    py "$P" <<'PY'
import re
d = Dialogue(sys.argv[1])
assert not re.search(r"\d+\.\d+", d.greeting), d.greeting
d.ehlo()
for line in ("WHAT", "MAIL", "RCPT TO:<a@b>", "DATA", "BDAT", "MAIL FROM:<z@b.test> X=1", "VRFY ann", "EXPN x",
             "AUTH PLAIN", "STARTTLS now", "NOOP", "HELP", "MAIL FROM:<zoe@b.test>", "RCPT TO:<no@a.test>",
             "RCPT TO:<x@c.test>", "RCPT TO:<ann@a.test>"):
    if line == "BDAT": continue  # its argument missing ends the session: R-5
    got = d.ask(line)
    m = re.match(r"(\d)\d\d (\d)\.\d{1,3}\.\d{1,3} ", got)
    assert m and m[1] == m[2], (line, got)
assert d.ask("DATA").startswith("354")
d.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
assert re.match(r"250 2\.0\.0 .*[0-9A-Z]{14}$", d.answer())
PY
}

@test "R-11 loops: more than 50 Received fields, and an own Delivered-To, are 5.4.6" {
    mail_site
    user a bob
    serve a
    py "$P" <<'PY'
d = Dialogue(sys.argv[1]); d.ehlo()
hop = b"Received: from x by y; Mon, 1 Jan 2024 00:00:00 +0000\r\n"
got = d.mail("zoe@b.test", ["ann@a.test"], hop * 50 + b"Subject: fifty\r\n\r\nx\r\n.\r\n")
assert got[-1].startswith("250"), got
got = d.mail("zoe@b.test", ["ann@a.test"], hop * 51 + b"Subject: more\r\n\r\nx\r\n.\r\n")
assert got[-1].startswith("554 5.4.6"), got
got = d.mail("bob@a.test", ["ann@a.test"], b"Delivered-To: ann@a.test\r\nSubject: again\r\n\r\nx\r\n.\r\n")
assert got[-1].startswith("250"), got
PY
    wait_for 10 has_mail a bob
    wait_for 10 has_mail a ann
    [[ $(count_mail a ann) == 1 ]]
    grep -q 'Status: 5.4.6' "$(mail_file a bob)"
}

@test "R-12 From: more than one is refused on submission" {
    mail_site
    serve a
    py "$SUB" "$P" <<'PY'
two = b"From: ann@a.test\r\nfrom: ceo@a.test\r\nSubject: x\r\n\r\nx\r\n.\r\n"
d = Dialogue(sys.argv[1]); d.ehlo(); d.login("ann@a.test", "secret")
got = d.mail("ann@a.test", ["ann@a.test"], two)
assert got[-1].startswith("554 5.6.0"), got
got = d.mail("ann@a.test", ["ann@a.test"], b"From: ann@a.test\r\n\r\nFrom: body\r\n.\r\n")
assert got[-1].startswith("250"), got
PY
}

@test "a header that is larger than what is checked is refused, not half checked" {
    free_port smtp
    site a "listen smtp 127.0.0.1:$smtp"
    user a u
    serve a
    run python3 - "$smtp" <<'PY'
import smtplib, sys
fold = "X-Fill: a\r\n" + (" " + "x" * 70 + "\r\n") * 4000
many = "X-A: b\r\n" * 5000
loop = "Received: from a by b; now\r\n" * 60
def send(text):
    with smtplib.SMTP("127.0.0.1", int(sys.argv[1])) as c:
        try:
            c.sendmail("x@y.test", "u@a.test", text)
            return 250
        except smtplib.SMTPResponseException as e:
            return e.smtp_code
got = [send(t) for t in (fold + loop + "\r\nhi\r\n", many + loop + "\r\nhi\r\n",
                         "Subject: x\r\n\r\n" + fold, "just text, no header\r\n" + fold)]
assert got == [552, 552, 250, 250], got
PY
    echo "$output" >> log
    [[ $status == 0 ]]
    wait_for 5 has_mail a u 2
    [[ $(count_mail a u) == 2 ]]
}

@test "R-13 TLS: an unknown name gets the default certificate; no session tickets; TLS 1.2 and later" {
    need openssl
    mail_site
    serve a
    for name in unknown.test mail.a.test. mail.a.test; do
        echo QUIT | openssl s_client -connect "127.0.0.1:$P" -starttls smtp -servername "$name" \
            > "tls.$name" 2>&1
        grep -q 'subject=CN = mail.a.test' "tls.$name"
        ! grep -qi 'session ticket' "tls.$name"
    done
    echo QUIT | openssl s_client -connect "127.0.0.1:$P" -starttls smtp -tls1_2 > tls12 2>&1
    grep -q 'Protocol  *: TLSv1.2' tls12
    ! grep -q 'TLS session ticket' tls12
    ! grep -q 'Acceptable client certificate' tls12
}

@test "R-14 a full disk is 452 4.3.1 at MAIL, before any data; SIZE counts" {
    mail_site "disk-reserve 4000G"
    serve a
    py "$P" <<'PY'
d = Dialogue(sys.argv[1]); d.ehlo()
assert d.ask("MAIL FROM:<zoe@b.test>").startswith("452 4.3.1")
assert d.ask("MAIL FROM:<zoe@b.test> SIZE=60000000").startswith("552 5.3.4")
PY
}

@test "settings out of their bounds are refused by name" {
    for line in 'client-limit 0' 'connection-limit 1000001' 'proxy-from 192.0.2.0/33' 'xclient-from nowhere' \
        'disk-reserve 1' 'hold-limit soon' 'alias-commands perhaps'; do
        echo "$line" > c.conf
        run_postbag 78 config check -C c.conf
        err_has "c.conf:1"
    done
    printf 'client-limit 1\nconnection-limit 1000000\nproxy-from 192.0.2.0/24 2001:db8::/32\nxclient-from none\n' > c.conf
    run_postbag 0 config check -C c.conf
}

@test "S-4 submission: a line over 998 octets is encoded anew, signed mail and port 25 stay as they are" {
    mail_site
    serve a
    python3 - "$P" "$SUB" <<'PY'
import smtplib, sys
long = "x" * 3000
plain = f"Subject: %s\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n{long}\r\nend\r\n"
for port, subject, extra in ((int(sys.argv[2]), "plain", ""), (int(sys.argv[2]), "signed", "DKIM-Signature: v=1\r\n"),
                             (int(sys.argv[1]), "foreign", "")):
    s = smtplib.SMTP("127.0.0.1", port)
    s.ehlo()
    if port == int(sys.argv[2]): s.login("ann@a.test", "secret")
    s.sendmail("ann@a.test", ["ann@a.test"], extra + plain % subject)
    s.quit()
PY
    wait_for 10 has_mail a ann 3
    python3 - "$(maildir a ann)" <<'PY'
import email, glob, sys
seen = {}
for f in glob.glob(sys.argv[1] + "/*/*"):
    raw = open(f, "rb").read()
    m = email.message_from_bytes(raw)
    seen[m["Subject"]] = (max(map(len, raw.split(b"\n"))), m.get_payload(decode=True).replace(b"\r\n", b"\n"))
want = b"x" * 3000 + b"\nend\n"
assert seen["plain"] == (seen["plain"][0], want) and seen["plain"][0] < 998, seen["plain"][0]
assert seen["signed"] == (3000, want) and seen["foreign"] == (3000, want)
PY
}

@test "DELIVERBY and MT-PRIORITY go on to the next hop; what it cannot promise comes back" {
    local n
    free_port N
    mail_site "relay 127.0.0.1:$N" "relay-tls none"
    sink s "$N" extensions=PIPELINING,DELIVERBY,MT-PRIORITY
    n=$PID
    serve a
    cat > send.py <<'PY'
d = Dialogue(sys.argv[1], tls=True); d.ehlo()
assert d.login("ann@a.test", "secret").startswith("235")
assert d.ask("MAIL FROM:<ann@a.test> " + sys.argv[2]).startswith("250")
assert d.ask("RCPT TO:<bob@b.test>").startswith("250")
assert d.ask("DATA").startswith("354")
d.send(b"From: ann@a.test\r\n\r\nx\r\n.\r\n")
assert d.answer().startswith("250")
PY
    py "$TLS" "MT-PRIORITY=3 BY=3600;RT" < send.py
    wait_for 10 test -e s/1.env
    grep -qE '^MAIL FROM:<ann@a.test> .*MT-PRIORITY=3 BY=3(600|59[0-9]);RT' s/1.env
    # The trace: the sender hears of the relay.
    wait_for 10 has_mail a ann
    grep -q '^Action: relayed' "$(mail_file a ann)"
    # A host that does not know DELIVERBY never gets what must be returned in time.
    stop "$n"
    sink t "$N" extensions=PIPELINING
    py "$TLS" "BY=3600;R" < send.py
    wait_for 20 has_mail a ann 2
    n=$(grep -l '^Status: 5.3.3' "$(maildir a ann)"/{new,cur}/* | wc -l)
    [[ $n == 1 ]]
    [[ $(sink_count t) == 0 ]]
}
