# S-1 … S-22: how mail leaves, trap by trap. Names begin with the trap's number.
load helper

# A pass of site a over one message for the recipients given; what happened is in `pass`.
go() {
    message "${1:-bob@b.test}" | "$POSTBAG" sendmail -C a.conf -f ann@a.test "${@:-bob@b.test}"
    run_postbag 0 queue-run -C a.conf --all -v
    cp out pass
}
delivered() { grep -q '  delivered  ' pass; }
refute() { if "$@"; then return 1; fi; }
last() {
    "$POSTBAG" queue-run -C a.conf --list --json | python3 -c '
import json, sys
print(json.loads(sys.stdin.readline())["recipients"][0]["last"].get(sys.argv[1]))' "$1"
}
story_setup() { free_port P; }
relay() { site a "relay 127.0.0.1:$P" "relay-tls none"; }
by_mx() { # zone lines of b.test on standard input
    zone b.test
    dns
    site a "resolver 127.0.0.1:$DNS" "mx-port $P"
}

@test "S-3 SMTPUTF8 is asked for only when an address or a header needs it" {
    relay
    sink s "$P" extensions=SMTPUTF8,8BITMIME
    message bob@b.test | "$POSTBAG" sendmail -C a.conf -f ann@a.test bob@bücher.test
    printf 'Subject: Grüße\n\nx\n' | "$POSTBAG" sendmail -C a.conf -f ann@a.test bob@b.test
    message bob@b.test | "$POSTBAG" sendmail -C a.conf -f ann@a.test bär@b.test
    run_postbag 0 queue-run -C a.conf --all -v
    [[ $(sink_count s) == 3 ]]
    grep -h '^RCPT' s/*.env > rcpts
    grep -q 'xn--bcher-kva.test' rcpts
    [[ $(grep -l 'xn--bcher' s/*.env | xargs grep -c SMTPUTF8) == 0 ]]
    [[ $(grep -l 'bär@' s/*.env | xargs grep -c SMTPUTF8) == 1 ]]
}

@test "S-3 a host without SMTPUTF8 gets what needs only its domain written otherwise; the rest bounces" {
    relay
    sink s "$P" extensions=PIPELINING
    message bob@b.test | "$POSTBAG" sendmail -C a.conf -f ann@a.test bob@bücher.test
    message bob@b.test | "$POSTBAG" sendmail -C a.conf -f ann@a.test bär@b.test
    run_postbag 0 queue-run -C a.conf --all -v
    [[ $(sink_count s) == 1 ]]
    grep -q 'failed .*bär@b.test.*5.6.7' out
}

@test "S-2 a host without 8BITMIME gets 7-bit; a signed message goes as it is" {
    relay
    sink s "$P" extensions=PIPELINING
    printf 'Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nGrüße\n' |
        "$POSTBAG" sendmail -C a.conf -f ann@a.test bob@b.test
    run_postbag 0 queue-run -C a.conf --all -v
    [[ $(sink_count s) == 1 ]]
    python3 - s/1.eml <<'PY'
import email, sys
raw = open(sys.argv[1], "rb").read()
assert all(c < 128 for c in raw), raw
assert email.message_from_bytes(raw).get_payload(decode=True).decode() == "Grüße\r\n"
PY
    printf 'DKIM-Signature: v=1; a=x\nSubject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nGrüße\n' |
        "$POSTBAG" sendmail -C a.conf -f ann@a.test bob@b.test
    run_postbag 0 queue-run -C a.conf --all -v
    grep -q 'Grüße' s/2.eml
}

@test "S-7 a name server that fails is temporary, and no address is tried instead" {
    site a "resolver 127.0.0.1:$P" "mx-port $P"
    sink s "$P"
    LIMIT=90 go
    refute delivered
    [[ $(last status) == 4.4.3 && $(sink_count s) == 0 ]]
}

@test "S-12 a banner of 5xx: the next host takes it; permanent only when all say so" {
    printf '@ MX 10 one\n@ MX 20 two\none A 127.0.0.11\ntwo A 127.0.0.12\n' | by_mx
    start one python3 "$ROOT/tests/bats/script.py" 127.0.0.11 "$P" '554 no service here'
    start two python3 "$ROOT/tests/bats/script.py" 127.0.0.12 "$P"
    wait_for 10 test -s one.out
    wait_for 10 test -s two.out
    go
    delivered
    grep -q 'end of data' two.out
}

@test "S-12 all hosts refuse at the banner: it bounces" {
    printf '@ MX 10 one\n@ MX 20 two\none A 127.0.0.11\ntwo A 127.0.0.12\n' | by_mx
    start one python3 "$ROOT/tests/bats/script.py" 127.0.0.11 "$P" '554 no service here'
    start two python3 "$ROOT/tests/bats/script.py" 127.0.0.12 "$P" '554 nor here'
    wait_for 10 test -s one.out
    wait_for 10 test -s two.out
    go
    grep -q '  failed  ' pass
}

@test "S-12 552 at RCPT counts as 452: the recipient waits" {
    relay
    start one python3 "$ROOT/tests/bats/script.py" 127.0.0.1 "$P" rcpt='552 too many recipients'
    wait_for 10 test -s one.out
    go
    grep -q '  deferred  ' pass
}

@test "S-12 recipients that are too many for one transaction go in the next ones, at once" {
    free_port P
    site a "relay 127.0.0.1:$P"
    start one python3 "$ROOT/tests/bats/script.py" 127.0.0.1 "$P" rcpt-max=3
    wait_for 10 test -s one.out
    message bob@b.test | "$POSTBAG" sendmail -C a.conf -f ann@a.test u{1..8}@b.test
    run_postbag 0 queue-run -C a.conf --all -v
    [[ $(grep -c delivered out) == 8 && $(grep -c '^connect' one.out) == 1 ]]
    [[ $(grep -c 'end of data' one.out) == 3 ]]
    queue_empty a
}

@test "S-12 a reply with a bare LF or octets that are no text is a reply: nothing is sent twice" {
    relay
    start one python3 "$ROOT/tests/bats/script.py" 127.0.0.1 "$P" lf
    wait_for 10 test -s one.out
    go
    delivered
    [[ $(grep -c 'end of data' one.out) == 1 ]]
}

@test "S-15 a refusal that names IPv6 or the reverse name is asked again over IPv4" {
    printf '@ MX 10 mx\nmx A 127.0.0.1\nmx AAAA ::1\n' | by_mx
    start six python3 "$ROOT/tests/bats/script.py" ::1 "$P" rcpt='550 5.7.25 no PTR for your IPv6 address'
    start four python3 "$ROOT/tests/bats/script.py" 127.0.0.1 "$P"
    wait_for 10 test -s six.out
    wait_for 10 test -s four.out
    go
    delivered
    grep -q 'RCPT' six.out
    grep -q 'end of data' four.out
}

@test "S-15 a family that does not answer costs seconds, not the message: the other one of the same preference is tried beside it" {
    printf '@ MX 10 mx\nmx A 127.0.0.21\nmx A 127.0.0.22\n' | by_mx
    start silent python3 "$ROOT/tests/bats/script.py" 127.0.0.21 "$P" silent
    start four python3 "$ROOT/tests/bats/script.py" 127.0.0.22 "$P"
    wait_for 10 test -s silent.out
    wait_for 10 test -s four.out
    LIMIT=30 go
    delivered
}

@test "S-16 what goes wrong at QUIT changes nothing" {
    relay
    start one python3 "$ROOT/tests/bats/script.py" 127.0.0.1 "$P" quit=drop
    wait_for 10 test -s one.out
    go
    delivered
    queue_empty a
}

@test "S-18 EHLO is said once without STARTTLS; a server that knows HELO only is spoken to" {
    relay
    start one python3 "$ROOT/tests/bats/script.py" 127.0.0.1 "$P" ehlo='502 what?'
    wait_for 10 test -s one.out
    go
    delivered
    [[ $(grep -c '^EHLO' one.out) == 1 && $(grep -c '^HELO' one.out) == 1 ]]
}

@test "S-19 a banner of many lines that comes in pieces is waited for" {
    relay
    start one python3 "$ROOT/tests/bats/script.py" 127.0.0.1 "$P" slow-banner
    wait_for 10 test -s one.out
    go
    delivered
    refute grep -q 'early' one.out
}

@test "S-20 many messages share a connection; a stale one is replaced without loss" {
    relay
    start one python3 "$ROOT/tests/bats/script.py" 127.0.0.1 "$P" drop-after=2
    wait_for 10 test -s one.out
    for i in 1 2 3 4 5; do message bob@b.test | "$POSTBAG" sendmail -C a.conf -f ann@a.test "u$i@b.test"; done
    run_postbag 0 queue-run -C a.conf --all -v
    [[ $(grep -c 'end of data' one.out) == 5 ]]
    [[ $(grep -c '^connect' one.out) -lt 5 ]]
    queue_empty a
}

@test "S-14 421 at any stage closes and waits; the message goes with the next pass" {
    relay
    start one python3 "$ROOT/tests/bats/script.py" 127.0.0.1 "$P" mail='421 4.3.2 shutting down' once
    wait_for 10 test -s one.out
    go
    refute delivered
    run_postbag 0 queue-run -C a.conf --all -v
    out_has delivered
}

@test "an unreachable host is tried once, not once a message, and left alone for a while" {
    relay
    for i in 1 2 3; do message bob@b.test | "$POSTBAG" sendmail -C a.conf -f ann@a.test "u$i@b.test"; done
    run_postbag 0 queue-run -C a.conf
    [[ $(grep -c deferred out) == 3 ]]
    [[ -s a/state/unreachable/127.0.0.1:$P ]]
    sink s "$P"
    message bob@b.test | "$POSTBAG" sendmail -C a.conf -f ann@a.test u4@b.test
    run_postbag 0 queue-run -C a.conf
    out_has "not tried"
    [[ $(sink_count s) == 0 ]]
    # Asked for by hand it is tried.
    run_postbag 0 queue-run -C a.conf --all -v
    [[ $(grep -c delivered out) == 4 && ! -e a/state/unreachable/127.0.0.1:$P ]]
}

@test "S-17 a reply lost after the final dot is not asked for at the next host" {
    by_mx <<'ZONE'
@ MX 10 m1
@ MX 20 m2
m1 A 127.0.0.1
m2 A 127.0.0.3
ZONE
    peer "$P" lose
    go
    refute delivered
    [[ $(grep -c taken "peer-$P.out") == 1 ]]
    last text > text
    grep -q 'at end' text
    refute grep -q 'cannot connect' text
}
