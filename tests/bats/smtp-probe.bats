load helper

probe() { local want=$1; shift; run_postbag "$want" smtp-probe --hostname probe.test "$@"; }
# A `serve` of our own with STARTTLS on $P, submission on $SUB, implicit TLS on $TLS.
server() {
    free_port P SUB TLS
    site a "listen smtp 127.0.0.1:$P" "listen submission 127.0.0.1:$SUB" \
        "listen submissions 127.0.0.1:$TLS" "relay-from none" "$@"
    user a ann secret
    serve a
}

@test "a host with STARTTLS: banner, times, extensions, session and certificate" {
    server
    probe 0 "127.0.0.1:$P"
    out_has "ok"
    out_has "banner      mail.a.test"
    out_has PIPELINING
    out_has "TLSv1.3"
    out_has "certificate"
    out_has "trust"
    [[ ! -s err ]]
}

@test "recipients are asked, and no message is sent" {
    server
    probe 0 --rcpt ann@a.test "127.0.0.1:$P"
    out_has "ann@a.test: taken: 250"
    [[ $(count_mail a ann) == 0 ]]
    queue_empty a
}

@test "an unknown recipient is 69, a relay attempt too" {
    server
    probe 69 --rcpt nobody@a.test "127.0.0.1:$P"
    out_has "nobody@a.test: refused: 550"
    probe 69 --rcpt x@elsewhere.test --rcpt ann@a.test "127.0.0.1:$P"
    out_has "relaying denied"
    out_has "ann@a.test: taken"
}

@test "a temporary refusal is 75" {
    free_port P
    sink s "$P" refuse=450
    probe 75 --rcpt no@b.test "127.0.0.1:$P"
    out_has "not now: 450"
}

@test "implicit TLS" {
    server
    probe 0 --implicit-tls "127.0.0.1:$TLS"
    out_has "TLSv1."
}

@test "a login that is right is 0, one that is wrong 77; the password is in no output" {
    server
    echo secret > pw
    echo wrong-password > bad
    chmod 600 pw bad
    probe 0 -u ann@a.test --password-file pw --trace --starttls "127.0.0.1:$SUB"
    out_lacks secret
    err_lacks secret
    err_lacks "$(printf '\0ann@a.test\0secret' | base64)"
    probe 77 -u ann@a.test --password-file bad --starttls "127.0.0.1:$SUB"
}

@test "a password file that everybody can read is refused" {
    server
    echo secret > pw
    chmod 644 pw
    probe 77 -u ann --password-file pw "127.0.0.1:$SUB" || probe 78 -u ann --password-file pw "127.0.0.1:$SUB"
    one_error_line smtp-probe
    err_has pw
}

@test "--tls=verify refuses a self-signed certificate with 75 and says why" {
    server
    probe 75 --tls=verify "127.0.0.1:$P"
    out_has "failed"
    grep -qi 'certificate' out
}

@test "--tls=verify takes a certificate of a CA that --tls-ca names" {
    need openssl
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
        -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' -keyout k.pem -out c.pem 2> /dev/null
    server "tls $T/c.pem $T/k.pem"
    probe 0 --tls=verify --tls-ca c.pem "localhost:$P"
    out_has "the certificate is valid"
}

@test "--tls=none stays in clear, --starttls demands" {
    server
    probe 0 --tls=none "127.0.0.1:$P"
    out_has "in clear"
    free_port Q
    sink s "$Q"
    probe 0 "127.0.0.1:$Q"
    out_has "in clear"
    probe 75 --starttls "127.0.0.1:$Q"
}

@test "LMTP: each recipient has its answer" {
    free_port L
    site a "listen lmtp 127.0.0.1:$L"
    user a ann
    serve a
    probe 0 --lmtp --rcpt ann@a.test "127.0.0.1:$L"
    probe 69 --lmtp --rcpt nobody@a.test "127.0.0.1:$L"
}

@test "--json has steps, extensions, TLS and recipients" {
    server
    probe 0 --json --rcpt ann@a.test "127.0.0.1:$P"
    json_is 'd["ok"] and "STARTTLS" in d["extensions"] or "PIPELINING" in d["extensions"]'
    json_is 'len(d["tls"]["key_sha256"]) == 64 and d["tls"]["trusted"] is False'
    json_is 'd["recipients"][0]["code"] == 250 and [s["stage"] for s in d["steps"]][0] == "connect"'
    probe 69 --json --rcpt nobody@a.test "127.0.0.1:$P"
    json_is 'd["ok"] is False and d["recipients"][0]["status"] == "5.1.1"'
}

@test "--plugin answers on one line" {
    server
    probe 0 --plugin "127.0.0.1:$P"
    grep -qE '^SMTP OK - .* \| time=[0-9]+ms' out
    [[ $(wc -l < out) == 1 ]]
    free_port NONE
    probe 3 --plugin "127.0.0.1:$NONE"
    grep -q '^SMTP UNKNOWN' out
}

@test "a closed port is 75" {
    free_port NONE
    probe 75 "127.0.0.1:$NONE"
    out_has "failed"
}

@test "a peer that talks garbage is 76" {
    free_port P
    peer "$P" garbage
    probe 76 "127.0.0.1:$P"
    # What it sent does not reach the terminal raw.
    ! grep -qP '[\x00-\x08\x0e-\x1f\x7f]' out
}

@test "a peer that closes at once or in the middle is 75" {
    free_port P Q
    peer "$P" close
    probe 75 "127.0.0.1:$P"
    peer "$Q" drop
    probe 75 "127.0.0.1:$Q"
}

@test "a peer that says 421 is 75" {
    free_port P
    peer "$P" tempfail
    probe 75 "127.0.0.1:$P"
    out_has 421
}

@test "a peer that never answers is left after --timeout" {
    free_port P
    peer "$P" silent
    local begin=$SECONDS
    probe 75 --timeout 2s "127.0.0.1:$P"
    ((SECONDS - begin < 6))
}

@test "a line without end is cut off" {
    free_port P
    peer "$P" flood
    probe 76 --timeout 10s "127.0.0.1:$P"
}

@test "a domain is probed by its MX hosts, with --all each of them" {
    need nsd
    free_port P
    zone b.test <<'Z'
@ MX 10 m1
@ MX 20 m2
m1 A 127.0.0.1
m2 A 127.0.0.1
null MX 0 .
Z
    dns
    sink s "$P"
    probe 0 --resolver "127.0.0.1:$DNS" --mx-port "$P" b.test
    out_has "m1.b.test [127.0.0.1:$P]: ok"
    out_lacks m2
    probe 0 --resolver "127.0.0.1:$DNS" --mx-port "$P" --all --json b.test
    json_is '[x["host"] for x in o] == ["m1.b.test", "m2.b.test"]'
    probe 68 --resolver "127.0.0.1:$DNS" null.b.test
    one_error_line smtp-probe
    probe 68 --resolver "127.0.0.1:$DNS" nowhere.b.test
    probe 68 --resolver "127.0.0.1:$DNS" -6 --mx-port "$P" b.test
}

@test "--trace shows the dialogue on standard error" {
    free_port P
    sink s "$P"
    probe 0 --trace "127.0.0.1:$P"
    err_has "<- 220 sink.test"
    err_has "-> EHLO probe.test"
}

@test "the command line is checked: 64" {
    run_postbag 64 smtp-probe
    one_error_line smtp-probe
    probe 64 --tls=perhaps a.test
    one_error_line smtp-probe
    probe 64 --port 70000 a.test
    one_error_line smtp-probe
    probe 64 -u ann a.test
    one_error_line smtp-probe
    probe 64 --timeout soon a.test
    one_error_line smtp-probe
    probe 64 --rctp x a.test
    err_has -- --rcpt
}

@test "an address that cannot be one is not sent" {
    free_port P
    sink s "$P"
    probe 65 --rcpt $'ann@a.test>\r\nDATA' "127.0.0.1:$P"
    out_has "cannot be sent"
    [[ $(sink_count s) == 0 ]]
}
