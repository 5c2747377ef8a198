load helper

story_setup() {
    need nsd
    zone a.test <<'Z'
@ MX 20 second
@ MX 10 first
@ MX 10 other
first A 127.0.0.11
second A 127.0.0.12
second AAAA ::1
other A 127.0.0.13
bare A 127.0.0.14
null MX 0 .
alias CNAME @
chain CNAME alias
nothing TXT "no address here"
dead MX 10 ghost
half MX 10 ghost
half MX 20 first
mxalias MX 10 tofirst
tofirst CNAME first
loop CNAME loop2
loop2 CNAME loop
self MX 10 me
self MX 20 first
self MX 5 second
me A 127.0.0.99
z._tcp A 127.0.0.1
lit MX 10 first.a.test.
xn--grn-ioa MX 10 first
many MX 1 h1
many MX 2 h2
Z
    dns
}
look() { local want=$1; shift; run_postbag "$want" mx-lookup --resolver "127.0.0.1:$DNS" --hostname me.a.test "$@"; }
# The hosts in the order of the report.
hosts() { awk '/^ +[0-9]/ { print $2 }' out | tr '\n' ' '; }

@test "the hosts come by preference, with their addresses" {
    look 0 a.test
    out_has "by MX"
    [[ $(hosts) == "first.a.test other.a.test second.a.test " || $(hosts) == "other.a.test first.a.test second.a.test " ]]
    out_has 127.0.0.12
    out_has ::1
    [[ ! -s err ]]
}

@test "equal preferences are not always in the same order" {
    local i
    for i in $(seq 30); do
        look 0 a.test
        echo "$(hosts)" >> orders
    done
    [[ $(sort -u orders | wc -l) == 2 ]]
}

@test "an address in place of a domain: what is behind the @ counts" {
    look 0 'someone@a.test'
    out_has first.a.test
}

@test "without MX the domain itself is the host" {
    look 0 bare.a.test
    out_has "no MX: the domain itself"
    out_has 127.0.0.14
}

@test "null MX: no mail, 68" {
    look 68 null.a.test
    out_has "null MX"
    out_has "5.1.10"
}

@test "a domain that does not exist is 68" {
    look 68 nowhere.a.test
    out_has "5.1.2"
}

@test "a domain without MX and address is 68" {
    look 68 nothing.a.test
    out_has "neither MX nor address"
}

@test "a CNAME is followed, and said" {
    look 0 chain.a.test
    out_has "behind a CNAME"
    out_has first.a.test
}

@test "a CNAME loop ends, with a failure" {
    look 68 loop.a.test || look 75 loop.a.test
}

@test "an MX without address is said; with another host the mail can go" {
    look 68 dead.a.test || look 75 dead.a.test
    out_has ghost.a.test
    look 0 half.a.test
    out_has ghost.a.test
    out_has first.a.test
}

@test "an MX that is a CNAME is followed" {
    look 0 mxalias.a.test
    out_has 127.0.0.11
}

@test "this host, and all that is not better, is not tried" {
    look 0 self.a.test
    out_has second.a.test
    out_has "this host: not tried"
}

@test "an IDN domain is asked for by its A-label" {
    look 0 'grün.a.test'
    out_has first.a.test
}

@test "an address literal needs no DNS" {
    look 0 'joe@[127.0.0.77]'
    out_has 127.0.0.77
}

@test "a name server that is dead is 75, within the time of its retries" {
    free_port DEAD
    LIMIT=40 run_postbag 75 mx-lookup --resolver "127.0.0.1:$DEAD" a.test
    out_has "4.4.3"
}

@test "a zone the server does not have is SERVFAIL or REFUSED: 75" {
    look 75 other.invalid
    out_has "4.4.3"
}

@test "--records prints them as a zone file has them" {
    look 0 --records a.test
    grep -E '^a\.test\.\s+60\s+IN\s+MX\s+10\s+first\.a\.test\.' out
}

@test "--json: one object for each domain" {
    look 68 --json a.test null.a.test
    json_is 'len(o) == 2 and [h["preference"] for h in d["hosts"]] == [10, 10, 20]'
    json_is 'd["hosts"][2]["addresses"] in (["127.0.0.12", "::1"], ["::1", "127.0.0.12"])'
}

@test "--plugin answers 0, 2 and 3 on one line" {
    look 0 --plugin a.test
    grep -q '^MX OK - a.test' out
    [[ $(wc -l < out) == 1 ]]
    look 2 --plugin null.a.test
    grep -q '^MX CRITICAL' out
    look 3 --plugin other.invalid
    grep -q '^MX UNKNOWN' out
}

@test "--with-relay shows the relay, without it the MX" {
    look 0 --relay first.a.test:2525 a.test
    out_has "by MX"
    look 0 --relay first.a.test:2525 --with-relay a.test
    out_has "through the relay"
    out_has 2525
}

@test "the worst of several domains is the exit status" {
    look 75 a.test null.a.test other.invalid
    look 68 null.a.test a.test
}

@test "names that are none: an error, not a crash" {
    local name
    for name in 'a..test' '.' "$(printf 'x%.0s' $(seq 70)).test" "$(printf 'abcdefgh.%.0s' $(seq 40))test" $'a\tb' '-' 'a b.test' ''; do
        local status=0
        timeout 20 "$POSTBAG" mx-lookup --resolver "127.0.0.1:$DNS" -- "$name" > out 2> err || status=$?
        echo "$name: $status" >> log
        cat out err >> log
        [[ $status == 64 || $status == 65 || $status == 68 ]]
        # Nothing from outside reaches the terminal raw.
        ! grep -qP '\t' out err
    done
}

@test "the command line is checked: 64" {
    run_postbag 64 mx-lookup
    one_error_line mx-lookup
    look 64 --recrods a.test
    err_has -- --records
    run_postbag 64 mx-lookup --resolver 'not an address' a.test || run_postbag 78 mx-lookup --resolver 'not an address' a.test
    one_error_line mx-lookup
}

@test "a name server that answers rubbish is 75" {
    free_port BAD
    start bad python3 -c "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('127.0.0.1', $BAD))
print('ready', flush=True)
while True:
    q, a = s.recvfrom(4096)
    s.sendto(q[:2] + b'\x81\x80\0\x01\0\xff\0\0\0\0' + b'\xc0\x0c' * 40, a)
"
    wait_for 5 test -s bad.out
    LIMIT=60 run_postbag 75 mx-lookup --resolver "127.0.0.1:$BAD" a.test
    out_has "4.4.3"
}
