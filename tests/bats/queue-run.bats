load helper

story_setup() {
    free_port P
    site a "relay 127.0.0.1:$P" "relay-tls none"
}
qr() { local want=$1; shift; run_postbag "$want" queue-run -C a.conf "$@"; }
put() { message "${1:-bob@b.test}" | "$POSTBAG" sendmail -C a.conf -f me@x.test "${@:-bob@b.test}"; }
msgid() { "$POSTBAG" queue-run -C a.conf --list --json | tail -1 | python3 -c 'import json,sys; print(json.load(sys.stdin)["id"])'; }

deferred() { "$POSTBAG" queue-run -C a.conf --list | grep -q refused; }

@test "a pass sends what is queued, tells each recipient, and leaves nothing" {
    sink s "$P"
    put bob@b.test eve@c.test
    qr 0 --verbose
    [[ $(grep -c '  delivered  ' out) == 2 ]]
    [[ $(sink_count s) -ge 1 ]]
    queue_empty a
    [[ -z $(find a/queue -name '*.seg') ]]
}

@test "an empty queue is a pass of nothing, and looking makes no directory" {
    qr 0 --list
    out_has "Mail queue is empty"
    [[ ! -e a/queue ]]
    qr 0
    [[ ! -s out ]]
}

@test "what fails for now stays, with the reason, and its time comes later" {
    sink s "$P" defer=1
    put
    qr 0
    out_has "deferred"
    qr 0 --list --json
    json_is 'd["attempts"] == 1 and d["recipients"][0]["state"] == "pending" and d["next"] is not None'
    json_is '"451" in json.dumps(d["recipients"][0]["last"])'
    # Not yet due: the pass does not touch it. With --all it does.
    qr 0
    out_lacks delivered
    [[ $(sink_count s) == 0 ]]
    qr 0 --all -v
    out_has delivered
    [[ $(sink_count s) == 1 ]]
    queue_empty a
}

@test "after the first interval the next pass tries again by itself" {
    sink s "$P" defer=1
    put
    qr 0 --retry 1s
    [[ $(sink_count s) == 0 ]]
    sleep 2.5
    qr 0 --retry 1s
    [[ $(sink_count s) == 1 ]]
}

@test "a refusal for good bounces to the sender, as RFC 3464 wants it" {
    sink s "$P" refuse=550
    put no@b.test
    qr 0
    out_has failed
    qr 0 --all
    [[ $(sink_count s) == 1 ]]
    grep -q 'MAIL FROM:<>' s/1.env
    grep -q 'RCPT TO:<me@x.test>' s/1.env
    python3 - <<'PY'
import email, email.policy
m = email.message_from_binary_file(open("s/1.eml", "rb"), policy=email.policy.default)
assert m.get_content_type() == "multipart/report" and m.get_param("report-type") == "delivery-status"
parts = list(m.iter_parts())
assert [p.get_content_type() for p in parts][1] == "message/delivery-status", parts
blocks = parts[1].get_payload()
assert blocks[0]["Reporting-MTA"] == "dns; mail.a.test", blocks[0]
assert blocks[1]["Final-Recipient"].replace(" ", "") == "rfc822;no@b.test"
assert blocks[1]["Action"] == "failed" and blocks[1]["Status"] == "5.1.1"
assert blocks[1]["Diagnostic-Code"] == "smtp; 550 5.1.1 not here", blocks[1]
assert blocks[1]["Remote-MTA"] == "dns; 127.0.0.1", blocks[1]
assert parts[2].get_content_type() in ("message/rfc822", "text/rfc822-headers")
assert m["Auto-Submitted"].startswith("auto-replied") or m["Auto-Submitted"].startswith("auto-generated")
assert not m.defects, m.defects
PY
    queue_empty a
}

@test "mail from the null sender never bounces" {
    sink s "$P" refuse=550
    message x | "$POSTBAG" sendmail -C a.conf -f '<>' no@b.test
    qr 0 --all
    qr 0 --all
    [[ $(sink_count s) == 0 ]]
    queue_empty a
}

@test "NOTIFY=never means no bounce" {
    sink s "$P" refuse=550
    message x | "$POSTBAG" sendmail -C a.conf -f me@x.test -N never no@b.test
    qr 0 --all
    qr 0 --all
    [[ $(sink_count s) == 0 ]]
    queue_empty a
}

@test "after queue-lifetime a message that only failed for now comes back" {
    sink s "$P" defer=1
    put
    sleep 1.2
    qr 0 --all --queue-lifetime 1s
    qr 0 --all --queue-lifetime 1d
    [[ $(sink_count s) == 1 ]]
    grep -q 'MAIL FROM:<>' s/1.env
}

@test "--show prints the message, --explain its story" {
    sink s "$P" defer=1
    put
    local m
    m=$(msgid)
    qr 0 --show "$m"
    out_has "Subject: "
    out_has "Received: by mail.a.test"
    qr 0
    qr 0 --explain "$m"
    out_has "bob@b.test"
    out_has "4.3.0 later"
    qr 0 --explain --json "$m"
    python3 -c 'import json; [json.loads(l) for l in open("out")]'
}

@test "--hold keeps a message, --release lets it go, --drop removes it" {
    sink s "$P"
    put
    local m
    m=$(msgid)
    qr 0 --hold "$m"
    qr 0 --all
    [[ $(sink_count s) == 0 ]]
    qr 0 --list
    out_has held
    run_postbag 0 mailq -C a.conf
    out_has "$m!"
    qr 0 --release "$m"
    qr 0
    [[ $(sink_count s) == 1 ]]
    put
    qr 0 --drop "$(msgid)"
    queue_empty a
    qr 0 --all
    [[ $(sink_count s) == 1 ]]
}

@test "an ID that is not there is 66" {
    put
    local verb
    for verb in show explain hold release drop; do
        qr 66 --$verb 0K0000000000000
        one_error_line queue-run
    done
    qr 66 --show '../../etc/passwd'
    one_error_line queue-run
}

@test "the command line is checked: 64" {
    qr 64 --show
    one_error_line queue-run
    qr 64 --hold --drop X
    one_error_line queue-run
    qr 66 X
    one_error_line queue-run
    qr 64 --jobs 100000
    one_error_line queue-run
    qr 64 --lits
    err_has -- --list
}

@test "a next hop that is not there, garbage, or silence: the message stays" {
    put
    qr 0
    out_has deferred
    peer "$P" garbage
    qr 0 --all
    out_has deferred
    [[ $(msgid) ]]
}

@test "a next hop that closes in the middle: the message stays" {
    peer "$P" drop
    put
    qr 0
    out_has deferred
    qr 0 --list --json
    json_is 'len(o) == 1'
}

@test "a pass that runs out of time is 75, and the message stays" {
    peer "$P" silent
    put
    LIMIT=30 qr 75 --deadline 2s
    err_has "out of time"
    qr 0 --list --json
    json_is 'len(o) == 1'
}

@test "two passes at once send every message once" {
    sink s "$P"
    local i
    for i in $(seq 20); do put; done
    "$POSTBAG" queue-run -C a.conf > one 2>&1 &
    local one=$!
    "$POSTBAG" queue-run -C a.conf > two 2>&1
    wait "$one"
    qr 0 --all
    [[ $(sink_count s) == 20 ]]
    queue_empty a
}

@test "beside serve: requests go to the process that holds the message" {
    free_port L
    echo "listen smtp 127.0.0.1:$L" >> a.conf
    put
    serve a --hold
    local m
    m=$(msgid)
    sleep 0.5
    qr 0 --drop "$m"
    wait_for 5 queue_empty a
}

@test "--all beside serve: it tries again at once, also what was unreachable a moment ago" {
    free_port L
    echo "listen smtp 127.0.0.1:$L" >> a.conf
    put bob@b.test
    serve a
    wait_for 5 deferred
    sink s "$P"
    qr 0 --all
    wait_for 5 queue_empty a
    [[ $(sink_count s) == 1 ]]
}

@test "a message on its way is not returned or sent another way as well" {
    free_port L
    echo "listen smtp 127.0.0.1:$L" >> a.conf
    sink s "$P" wait=1
    put
    serve a
    wait_for 10 test -e s/waiting
    local m verb
    m=$(msgid)
    for verb in --bounce --drop; do
        qr 75 "$verb" "$m"
        err_has "being delivered just now"
    done
    touch s/go
    wait_for 10 queue_empty a
    [[ $(sink_count s) == 1 ]]
}

@test "what waits for a slow host is held at once, and all of it by one request" {
    free_port L
    echo "listen smtp 127.0.0.1:$L" >> a.conf
    sink s "$P" wait=1
    local i sent
    for i in $(seq 60); do put; done
    serve a
    wait_for 10 test -e s/waiting
    qr 75 --hold --all
    touch s/go
    stop "$SERVE"
    sent=$(sink_count s)
    ((sent < 50))
    qr 0 --list --json --held
    [[ $(wc -l < out) == $((60 - sent)) ]]
    qr 0 --bounce --all
    queue_empty_but_notices() { qr 0 --list --json && json_is 'all(x["from"] == "" for x in o)'; }
    queue_empty_but_notices
    [[ $(wc -l < out) == $((60 - sent)) ]]
}

@test "local recipients get their mail by the pass as well" {
    user a ann
    message ann@a.test | "$POSTBAG" sendmail -C a.conf ann@a.test
    qr 0
    [[ $(count_mail a ann) == 1 ]]
    queue_empty a
}

@test "a damaged message is set aside and reported, the others go" {
    sink s "$P"
    put
    put
    local seg
    seg=$(find a/queue -name '*.seg' | sort | head -1)
    python3 - "$seg" <<'PY'
import sys
p = sys.argv[1]
d = bytearray(open(p, "rb").read())
at = d.find(b"the body")
d[at:at + 3] = b"THE"
open(p, "wb").write(d)
PY
    qr 0
    err_has "damaged record"
    [[ $(sink_count s) == 1 ]]
    ! grep -q 'THE body' s/*.eml
    grep -q 'THE body' a/queue/*.bad
}

@test "a torn tail, as a crash leaves it, is cut and the rest goes" {
    sink s "$P"
    put
    local seg
    seg=$(find a/queue -name '*.seg')
    head -c 60 "$seg" > tail
    cat tail >> "$seg"
    qr 0
    [[ $(sink_count s) == 1 ]]
    queue_empty a
}

@test "a queue that may not be read is 77" {
    plain_rights
    put
    chmod 0 a/queue
    qr 77
    one_error_line queue-run
    chmod 700 a/queue
}

@test "a wrong setting is 78" {
    echo 'relay host:notaport' >> a.conf
    qr 78
    one_error_line queue-run
}

@test "--json sums up the pass" {
    sink s "$P" refuse=550
    put no@b.test yes@b.test
    qr 0 --json
    json_is 'd["delivered"] >= 1 and d["failed"] == 1 and d["deferred"] == 0'
}

@test "twenty recipients of one domain go in few transactions" {
    sink s "$P"
    put $(seq -f 'r%g@b.test' 20)
    qr 0
    [[ $(sink_count s) -le 2 ]]
    [[ $(cat s/*.env | grep -c RCPT) == 20 ]]
}

@test "the relay's password comes from a file; a wrong one leaves the mail in the queue" {
    sink s "$P" auth=ann:pass-word
    echo pass-word > pw
    echo other > bad
    chmod 600 pw bad
    put
    qr 0 --relay "127.0.0.1:$P,ann,$T/bad"
    out_has deferred
    [[ $(sink_count s) == 0 ]]
    qr 0 --all --relay "127.0.0.1:$P,ann,$T/pw"
    [[ $(sink_count s) == 1 ]]
}

@test "a queue with more segments than descriptors is worked on part by part" {
    site a
    user a ann pw
    for i in $(seq 150); do run_postbag 0 sendmail -C a.conf -f '<>' ann@a.test <<< "m$i"; done
    ulimit -n 128
    run_postbag 0 queue-run -C a.conf
    [[ $(find "$(maildir a ann)/new" -type f | wc -l) == 150 ]]
    run_postbag 0 queue-run -C a.conf --list
    out_has 'queue is empty'
}

# --- which messages, and a hand on them -----------------------------------------------------------

@test "cron: a pass that delivers everything says nothing, one that does not says why" {
    sink s "$P" refuse=550
    put
    qr 0
    [[ ! -s out && ! -s err ]]
    put no@b.test
    qr 0
    out_has "failed     no@b.test"
    put no@b.test
    qr 0 --quiet
    [[ ! -s out && ! -s err ]]
}

@test "filters: sender, recipient, reason, age, held; every verb with --dry-run touches nothing" {
    put bob@b.test
    put eve@c.test
    message x | "$POSTBAG" sendmail -C a.conf -f '<>' ann@sub.c.test
    [[ $(count_ids) == 3 ]]
    [[ $(count_ids --recipient c.test) == 1 && $(count_ids --recipient @C.TEST) == 1 && $(count_ids --recipient bob@b.test) == 1 ]]
    [[ $(count_ids --sender x.test) == 2 && $(count_ids --sender '<>') == 1 && $(count_ids --sender y.test) == 0 ]]
    [[ $(count_ids --older 1h) == 0 && $(count_ids --younger 1h) == 3 ]]
    qr 0 --hold --recipient b.test
    [[ $(count_ids --held) == 1 ]]
    # Nobody listens at the relay: the reason is in the journal.
    qr 0 --all
    [[ $(count_ids --reason refused) == 2 && $(count_ids --reason xyzzy) == 0 ]]
    before=$(cat a/queue/*.jnl | wc -c)
    local verb
    for verb in --hold --release --drop --bounce '--reroute mx.test:26' --all; do
        qr 0 $verb --dry-run --sender x.test
        [[ $(grep -c would out) == 2 ]]
        qr 0 $verb --dry-run --json --sender x.test
        json_is 'len(o) == 2'
    done
    qr 66 --drop --recipient none.test
    qr 64 --drop
    [[ $(count_ids) == 3 && $(cat a/queue/*.jnl | wc -c) == "$before" ]]
    qr 0 --drop --sender x.test
    [[ $(count_ids) == 1 ]]
    qr 0 --drop --all
    queue_empty a
}
count_ids() { "$POSTBAG" queue-run -C a.conf --list --json "$@" | wc -l; }

@test "a pass for one recipient's domain tries that, before its time, and no other" {
    put bob@b.test
    put eve@c.test
    qr 0
    sink s "$P"
    qr 0 --recipient c.test
    [[ $(sink_count s) == 1 ]]
    grep -q eve@c.test s/1.env
    qr 0 "$(msgid)"
    [[ $(sink_count s) == 2 ]]
    queue_empty a
}

@test "sendmail -qRdomain, -qSsender and -qIid are that too; mailq lists with a filter" {
    put bob@b.test
    put eve@c.test
    qr 0
    sink s "$P"
    run_postbag 0 sendmail -C a.conf -qRc.test
    [[ $(sink_count s) == 1 ]]
    run_postbag 0 sendmail -C a.conf "-qI$(msgid)"
    [[ $(sink_count s) == 2 ]]
    put
    run_postbag 0 sendmail -C a.conf -qSx.test
    [[ $(sink_count s) == 3 ]]
    run_postbag 64 sendmail -C a.conf -qXnonsense
}

@test "--bounce returns a message to its sender with a notification, and finishes it" {
    put bob@b.test
    qr 0 --bounce "$(msgid)"
    sink s "$P"
    qr 0
    [[ $(sink_count s) == 1 ]]
    grep -q 'MAIL FROM:<>' s/1.env
    grep -q 'RCPT TO:<me@x.test>' s/1.env
    python3 - <<'PY'
import email, email.policy
m = email.message_from_binary_file(open("s/1.eml", "rb"), policy=email.policy.default)
b = list(m.iter_parts())[1].get_payload()[1]
assert b["Action"] == "failed" and b["Status"] == "5.0.0" and "bob@b.test" in b["Final-Recipient"]
PY
    queue_empty a
    # The null sender gets none.
    message x | "$POSTBAG" sendmail -C a.conf -f '<>' bob@b.test
    qr 0 --bounce --all
    queue_empty a
}

@test "--reroute that finds no room says that the message stays held" {
    free_port P
    site a "relay 127.0.0.1:$P"
    { message b@b.test; head -c 60000 /dev/zero | tr '\0' x | fold -w 70; } | "$POSTBAG" sendmail -C a.conf b@b.test
    run bash -c "trap '' XFSZ; ulimit -f 40; exec '$POSTBAG' queue-run -C a.conf --reroute 127.0.0.1:$P --recipient b@b.test"
    echo "$output" >> log
    [[ $status != 0 && $output == *"stays held"* ]]
    run_postbag 0 queue-run -C a.conf --list --held
    out_has b@b.test
}

@test "--reroute sends a message to the host that is named, also beside serve" {
    free_port OTHER
    sink other "$OTHER"
    put bob@b.test
    qr 0 --reroute "127.0.0.1:$OTHER" "$(msgid)"
    out_has "is now"
    [[ $(count_ids) == 1 ]]
    qr 0
    [[ $(sink_count other) == 1 ]]
    grep -q 'RCPT TO:<bob@b.test>' other/1.env
    queue_empty a
    put bob@b.test
    free_port L
    echo "listen smtp 127.0.0.1:$L" >> a.conf
    serve a
    tried() { "$POSTBAG" queue-run -C a.conf --list --json | grep -q '"attempts":1'; }
    wait_for 10 tried
    qr 0 --reroute "127.0.0.1:$OTHER" --sender x.test
    two() { [[ $(sink_count other) == 2 ]]; }
    wait_for 15 two
    wait_for 5 queue_empty a
    qr 64 --reroute 'not a:host:x' --all
}

@test "--explain: plain words, the next attempt, and what to do; also for a message with a hostile reply" {
    sink s "$P" defer=1
    put bob@b.test
    local m
    m=$(msgid)
    qr 0 --explain "$m"
    out_has "not tried yet"
    out_has "It is due: the next queue-run or serve tries it."
    qr 0
    qr 0 --explain "$m"
    out_has "1 attempt"
    out_has "arrived by local from uid"
    out_has "found by relay"
    out_has "reply: 4.3.0 later"
    out_has "the host has a fault. To do: nothing; the next attempt may do."
    out_has "Next attempt in"
    out_has "it is returned to the sender"
    qr 0 --hold "$m"
    qr 0 --explain --all
    out_has "held by the administrator"
    out_has "nothing happens until queue-run --release $m"
    qr 0 --explain --json "$m"
    json_is 'o[0]["event"] == "deferred" and o[0]["detail"]["text"] == "later" and o[0]["address"] == "bob@b.test"'
}

@test "--histogram counts pending recipients by domain and age" {
    put a1@b.test a2@b.test
    put a3@c.test
    qr 0 --histogram
    [[ $(sed -n 2p out | awk '{ print $1, $2, $3 }') == "TOTAL 3 3" ]]
    [[ $(sed -n 3p out | awk '{ print $1, $2, $3 }') == "b.test 2 2" ]]
    qr 0 --histogram --json --recipient c.test
    json_is 'd["domain"] == "c.test" and d["recipients"] == 1 and sum(d["by_age"]) == 1'
}

@test "--daemon makes a pass at once and after every interval, SIGHUP one now, SIGTERM ends it with 0" {
    sink s "$P"
    put
    start daemon "$POSTBAG" queue-run -C a.conf --daemon --interval 1s
    one() { [[ $(sink_count s) -ge ${1:-1} ]]; }
    wait_for 10 one
    put
    wait_for 10 one 2
    # It holds nothing between passes: another one may work.
    qr 0 --all
    stop "$PID"
    [[ $STATUS == 0 ]]
    start daemon "$POSTBAG" queue-run -C a.conf --daemon --interval 1h
    sleep 0.3
    put
    kill -HUP "$PID"
    wait_for 10 one 3
    stop "$PID"
    [[ $STATUS == 0 ]]
}

@test "what others ask for is done by a pass that runs" {
    peer "$P" silent
    put bob@b.test
    local m
    m=$(msgid)
    start long "$POSTBAG" queue-run -C a.conf --deadline 6s
    leased() { "$POSTBAG" queue-run -C a.conf --list --json | grep -q '"leased":true'; }
    wait_for 5 leased
    qr 0 --hold "$m"
    wait "$PID" || true
    [[ $(count_ids --held) == 1 ]]
}

@test "check_mailq of the monitoring plugins reads mailq" {
    local plugin=/usr/lib/nagios/plugins/check_mailq
    [[ -x $plugin ]] || skip "check_mailq is not installed"
    mkdir bin
    printf '#!/bin/sh\nexec %s mailq -C %s/a.conf\n' "$POSTBAG" "$T" > bin/mailq
    chmod 755 bin/mailq
    # The path of mailq is built in: a copy names ours.
    sed "s|\$utils::PATH_TO_MAILQ|'$T/bin/mailq'|g" "$plugin" > bin/check_mailq
    perl -I/usr/lib/nagios/plugins bin/check_mailq -M postfix -w 2 -c 5 > got || true
    grep -q 'OK: .*mailq.*empty' got
    put a@b.test
    put b@b.test
    put c@b.test
    perl -I/usr/lib/nagios/plugins bin/check_mailq -M postfix -w 2 -c 5 > got || [[ $? == 1 ]]
    cat got >> log
    grep -q '^WARNING: .*mailq is 3 ' got
}

@test "a pass with a filter tries what is meant, and nothing else" {
    sink s "$P"
    put bob@b.test
    put eve@c.test
    put zoe@b.test
    qr 0 --recipient b.test
    [[ $(sink_count s) == 2 ]]
    [[ $(grep -l 'eve@c.test' s/*.env | wc -l) == 0 ]]
    qr 0 --list
    out_has eve@c.test
    qr 0 "$(msgid)"
    [[ $(sink_count s) == 3 ]]
    queue_empty a
}
