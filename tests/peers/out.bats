# Mail out: postbag sends to other software.
load ../bats/helper
load peers

out_site() {
    site a "relay 127.0.0.1:$1" "relay-tls ${2:-auto}"
    user a ann
}
sm() { "$POSTBAG" sendmail -C a.conf -f ann@a.test "$@"; }
# smtp-sink keeps each message in a file of its own: $T/sink/...
postfix_sink() {
    need smtp-sink
    free_port Q
    mkdir -p sink
    chmod 777 sink
    local as=()
    [[ $(id -u) != 0 ]] || as=(-u root)
    start smtp-sink smtp-sink "${as[@]}" -d "$T/sink/m." "$@" "127.0.0.1:$Q" 100
    wait_port "$Q"
}

@test "to Postfix over STARTTLS: dots, 8-bit and 2 MB arrive octet for octet" {
    free_port NONE
    postfix_start "$NONE"
    out_site "$PFPORT" require
    hard_message bob@pf.test > hard
    big_message bob@pf.test > big
    sm -i bob@pf.test < hard
    sm -i bob@pf.test < big
    run_postbag 0 queue-run -C a.conf -v
    [[ $(grep -c delivered out) == 2 ]]
    wait_for 30 pf_has 2
    local f
    for f in hard big; do same_body "$f" "$(grep -l "^Subject: $f" $(pf_mail))"; done
    grep -q 'using TLSv1' $(pf_mail | head -1)
    grep -q 'Return-Path: <ann@a.test>' $(pf_mail | head -1)
}

@test "Postfix refuses an unknown user: the bounce is in the sender's mailbox" {
    free_port NONE
    postfix_start "$NONE"
    out_site "$PFPORT"
    message nobody@pf.test | sm nobody@pf.test
    run_postbag 0 queue-run -C a.conf
    out_has failed
    run_postbag 0 queue-run -C a.conf
    [[ $(count_mail a ann) == 1 ]]
    grep -q 'Action: failed' "$(mail_file a ann)"
}

@test "smtp-probe and Postfix understand each other" {
    free_port NONE
    postfix_start "$NONE"
    run_postbag 0 smtp-probe --starttls --rcpt bob@pf.test "127.0.0.1:$PFPORT"
    out_has "bob@pf.test: taken"
    out_has TLSv1.
    run_postbag 0 smtp-probe --tls=verify --tls-ca mail.pf.test.pem "localhost:$PFPORT"
    run_postbag 69 smtp-probe --rcpt nobody@pf.test "127.0.0.1:$PFPORT"
}

@test "to smtp-sink: with and without pipelining, ESMTP, 8BITMIME" {
    local options
    for options in "" "-p" "-e" "-8" "-E" "-N" "-p -8 -E -N"; do
        rm -rf a sink
        postfix_sink $options
        out_site "$Q"
        message bob@b.test x 'plain text' | sm bob@b.test eve@b.test
        run_postbag 0 queue-run -C a.conf -v
        [[ $(grep -c '  delivered ' out) == 2 ]]
        [[ $(find sink -type f | wc -l) -ge 1 ]]
    done
}

@test "smtp-sink -r: a temporary refusal at any stage keeps the message" {
    local stage
    for stage in connect ehlo,helo mail rcpt data .; do
        rm -rf a
        postfix_sink -r "$stage"
        out_site "$Q"
        message bob@b.test | sm bob@b.test
        run_postbag 0 queue-run -C a.conf
        out_has deferred
        run_postbag 0 queue-run -C a.conf --list --json
        json_is 'len(o) == 1'
    done
}

@test "smtp-sink -f: a refusal for good of MAIL, RCPT, DATA or the message bounces" {
    local stage
    for stage in mail rcpt data .; do
        rm -rf a
        postfix_sink -f "$stage"
        out_site "$Q"
        message bob@b.test | sm bob@b.test
        run_postbag 0 queue-run -C a.conf
        out_has failed
        run_postbag 0 queue-run -C a.conf
        [[ $(count_mail a ann) == 1 ]]
    done
}

@test "smtp-sink -q and -Q: it breaks off at any stage, and the message stays" {
    local how stage
    for how in -q -Q; do
        for stage in ehlo mail rcpt data .; do
            rm -rf a
            postfix_sink "$how" "$stage"
            out_site "$Q"
            message bob@b.test | sm bob@b.test
            run_postbag 0 queue-run -C a.conf
            out_has deferred
            run_postbag 0 queue-run -C a.conf --list --json
            json_is 'len(o) == 1'
        done
    done
}

@test "LMTP smtp-sink -L is asked by smtp-probe" {
    postfix_sink -L
    run_postbag 0 smtp-probe --lmtp --rcpt bob@b.test "127.0.0.1:$Q"
    out_has taken
}
