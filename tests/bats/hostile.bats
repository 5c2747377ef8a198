#!/usr/bin/env bats
# What attackers and bad days do to the running binary.
load helper

@test "no descriptors left: clients are told at once, and the server does not spin" {
    free_port smtp
    site a "listen smtp 127.0.0.1:$smtp"
    user a u
    start serve-a bash -c "ulimit -n 64; exec $POSTBAG serve -C $T/a.conf"
    pid=$PID
    wait_port "$smtp"
    run python3 - "$smtp" <<'PY'
import socket, sys
held, words = [], []
for _ in range(100):
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)
    s.settimeout(5)
    words.append(s.recv(100)[:3])
    held.append(s)
assert words.count(b"421") >= 50, words
assert words.count(b"220") >= 16, words
PY
    echo "$output" >> log
    [[ $status == 0 ]]
    read -ra stat < "/proc/$pid/stat"
    ((stat[13] + stat[14] < 200))
}

@test "smtp-probe: a banner cannot drive the terminal, not with C1 controls either" {
    free_port port
    start peer python3 -c "
import socket
l = socket.socket(); l.bind(('127.0.0.1', $port)); l.listen(5); print('ready', flush=True)
c, _ = l.accept(); c.sendall(b'220 \x1b[31m \xc2\x9b31m hi\r\n'); c.recv(99); c.close()"
    wait_for 5 grep -q ready peer.out
    run_postbag 75 smtp-probe --timeout=5s "127.0.0.1:$port"
    out_has hi
    ! LC_ALL=C grep -q $'\xc2\x9b\|\x1b' out
}

@test "mail to the address literal of this end stays here, and does not go round" {
    free_port smtp
    site a "listen smtp 127.0.0.1:$smtp" "mx-port $smtp"
    user a u
    serve a
    printf 'EHLO c.test\nMAIL FROM:<>\nRCPT TO:<u@[127.0.0.1]>\nRCPT TO:<none@[127.0.0.1]>\nDATA\nSubject: x\n\nhi\n.\nQUIT\n' |
        python3 "$ROOT/tests/bats/talk.py" "$smtp" > talk
    cat talk >> log
    grep -q '^550 5.1.1' talk
    wait_for 5 has_mail a u
    [[ $(grep -c '^Received:' "$(mail_file a u)") == 1 ]]
}

@test "an MX or address that leads back to this host is a loop at once, not after fifty rounds" {
    free_port smtp
    printf '@ MX 10 lo\nlo A 127.0.0.1\n' | zone lo.test
    printf '@ MX 10 any\nany A 0.0.0.0\n' | zone any.test
    printf '@ A 127.0.0.1\n' | zone implicit.test
    printf '@ MX 10 two\n@ MX 20 lo\nlo A 127.0.0.1\ntwo A 127.0.0.2\n' | zone backup.test
    dns
    site a "resolver 127.0.0.1:$DNS" "mx-port $smtp" "listen smtp 127.0.0.1:$smtp"
    user a u
    start two python3 "$ROOT/tests/bats/script.py" 127.0.0.2 "$smtp"
    wait_for 10 test -s two.out
    for d in lo any implicit backup; do message "u@$d.test" | "$POSTBAG" sendmail -C a.conf -f u@a.test "u@$d.test"; done
    serve a
    wait_for 20 has_mail a u 3
    wait_for 10 queue_empty a
    [[ $(grep -c 'bounced.*5.4.6' serve-a.err) == 3 ]]
    [[ $(grep -c ' sent .*relay=two.backup.test' serve-a.err) == 1 && $(grep -c 'end of data' two.out) == 1 ]]
    refute_loop() { ! grep -q 'queued as' serve-a.err; }
    refute_loop
}

@test "drop directory: sockets, directories and taken names do not hold others' mail up" {
    site a "drop-dir $T/drop"
    user a bob
    mkdir -m 1733 drop
    python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("drop/0.msg")'
    mkdir drop/d.msg
    touch drop/d.bad
    run_postbag 0 queue-run -C a.conf
    [[ -z $(find drop -name '*.msg') ]]
    [[ $(find drop -name '*.bad' | wc -l) == 3 ]]
}

@test "aliases: a FIFO in the place of an included list holds nobody up" {
    site a
    mkfifo list
    printf 'team: :include:%s/list\nother: bob@a.test\n' "$T" > a/aliases
    user a bob
    printf 'Subject: x\n\nhi\n' | LIMIT=10 run_postbag 0 sendmail -C a.conf bob@a.test
    LIMIT=10 run_postbag 0 queue-run -C a.conf
    [[ $(find a -path '*new*' -type f | wc -l) -ge 1 ]]
}

@test "an attempt while the clock was days ahead does not make the message wait for days" {
    need faketime
    free_port P
    site a "relay 127.0.0.1:$P" "relay-tls none"
    message b@b.test | "$POSTBAG" sendmail -C a.conf -f ann@a.test b@b.test
    faketime -m -f +3d "$POSTBAG" queue-run -C a.conf --all > first
    grep -q deferred first
    sink s "$P"
    run_postbag 0 queue-run -C a.conf -v
    out_has delivered
    queue_empty a
}
