# How much TLS a next hop needs: DANE (RFC 7672), MTA-STS (RFC 8461), rules of the settings, REQUIRETLS.
load helper

# A certificate authority of our own, and the receiver's certificate from it.
certificates() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 30 \
        -subj "/CN=test authority" 2> openssl.log
    local name
    for name; do
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$name.key" -out "$name.csr" -subj "/CN=$name" 2>> openssl.log
        openssl x509 -req -in "$name.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out "$name.pem" \
            -extfile <(echo "subjectAltName=DNS:$name") 2>> openssl.log
        chmod 600 "$name.key"
    done
}
spki256() { openssl x509 -in "$1" -pubkey -noout | openssl pkey -pubin -outform DER | openssl dgst -sha256 -r | cut -d' ' -f1; }
cert256() { openssl x509 -in "$1" -outform DER | openssl dgst -sha256 -r | cut -d' ' -f1; }

# A validating resolver before NSD; zones named as arguments are signed.
resolver() {
    local z key
    : > anchor
    for z; do
        (cd nsd && key=$(ldns-keygen -a ECDSAP256SHA256 -k "$z") && ldns-signzone "$z.zone" "$key" &&
            cat "$key.key" >> "$T/anchor" && mv "$z.zone.signed" "$z.zone")
    done
    dns
    recursor
}

# The receiver: a server for b.test on 127.0.0.1:$IN with the certificate of mx.b.test.
receiver() {
    site b "listen smtp 127.0.0.1:$IN" "tls $T/mx.b.test.pem $T/mx.b.test.key"
    user b bob
    serve b
}
sender() {
    site a "resolver 127.0.0.1:$REC" "mx-port $IN" "tls-ca $T/ca.pem" "$@"
}
# Port 443 cannot be chosen, so each test has an address of its own for it.
story_setup() {
    free_port IN
    WWW=127.1.$((IN / 256)).$((IN % 256))
}

go() { # the pass; what became of the only message is in $T/last
    message bob@b.test | "$POSTBAG" sendmail -C a.conf -f ann@a.test "${@:-bob@b.test}"
    run_postbag 0 queue-run -C a.conf --all -v
    cp out pass
}
last() { # FIELD: of the newest record of the message that is still queued
    "$POSTBAG" queue-run -C a.conf --list --json | python3 -c '
import json, sys
print(json.loads(sys.stdin.readline())["recipients"][0]["last"].get(sys.argv[1]))' "$1"
}
not_delivered() { ! delivered; }
delivered() { grep -q '  delivered  ' pass; }

dane_story() { # TLSA data; further: other zone lines
    certificates mx.b.test
    { printf '@ MX 10 mx\nmx A 127.0.0.1\n_%s._tcp.mx TLSA %s\n' "$IN" "$1"; } | zone b.test
    resolver b.test
    receiver
    sender
}

@test "S-10 DANE-EE 3 1 1 that matches: delivered, and the record says dane" {
    certificates mx.b.test
    local hash
    hash=$(spki256 mx.b.test.pem)
    printf '@ MX 10 mx\nmx A 127.0.0.1\n_%s._tcp.mx TLSA 3 1 1 %s\n' "$IN" "$hash" | zone b.test
    resolver b.test
    receiver
    sender
    go
    delivered
    wait_for 10 has_mail b bob
    grep -q 'TLSv1' "$(mail_file b bob)"
    run_postbag 0 mx-lookup -C a.conf b.test
    out_has dane
    run_postbag 0 smtp-probe -C a.conf b.test
    out_has "policy      dane: dane, the certificate is the one of the TLSA records"
    run_postbag 0 smtp-probe -C a.conf --json b.test
    json_is 'd["policy"] == "dane" and d["tlsa"] == 1 and d["tlsa_matches"]'
}

@test "S-10 DANE-EE that does not match: nothing is sent, the mail waits with 4.7.5" {
    dane_story "3 1 1 0000000000000000000000000000000000000000000000000000000000000000"
    go
    not_delivered
    [[ $(last policy) == dane && $(last class) == temporary && $(last status) == 4.7.5 ]]
    [[ $(count_mail b bob) == 0 ]]
    # The probe sees what delivery sees; asked for less, it reports less.
    run_postbag 75 smtp-probe -C a.conf b.test
    out_has "matches no TLSA record"
    run_postbag 0 smtp-probe -C a.conf --tls=require b.test
    out_has "policy      require"
}

@test "S-10 DANE-TA 2 0 1: the anchor in the chain counts, the name must be right" {
    certificates mx.b.test other.test
    cat ca.pem >> mx.b.test.pem
    local ca
    ca=$(cert256 ca.pem)
    printf '@ MX 10 mx\nmx A 127.0.0.1\n_%s._tcp.mx TLSA 2 0 1 %s\n' "$IN" "$ca" | zone b.test
    printf '@ MX 10 mx\nmx A 127.0.0.1\n_%s._tcp.mx TLSA 2 0 1 %s\n' "$IN" "$ca" | zone c.test
    resolver b.test c.test
    receiver
    sender
    go
    delivered
    # mx.c.test is the same server: its certificate is for another name.
    go bob@c.test
    not_delivered
    [[ $(last policy) == dane && $(last status) == 4.7.5 ]]
}

@test "S-10 records that SMTP cannot use (PKIX-EE 1): TLS is required, the certificate is not looked at" {
    dane_story "1 1 1 0000000000000000000000000000000000000000000000000000000000000000"
    go
    delivered
    run_postbag 0 mx-lookup -C a.conf b.test
    out_has "require"
}

@test "S-9 a TLSA record in a zone that is not signed is nothing" {
    certificates mx.b.test
    printf '@ MX 10 mx\nmx A 127.0.0.1\n_%s._tcp.mx TLSA 3 1 1 %064d\n' "$IN" 0 | zone b.test
    resolver
    receiver
    sender
    go
    delivered
}

@test "S-10 a TLSA answer that is bogus: the host is not used" {
    certificates mx.b.test
    printf '@ MX 10 mx\nmx A 127.0.0.1\n_%s._tcp.mx TLSA 3 1 1 %s\n' "$IN" "$(spki256 mx.b.test.pem)" | zone b.test
    resolver b.test
    kill "$(tail -n 2 pids | head -n 1)"
    sed -i -E "s/^(_$IN\._tcp\.mx\.b\.test\.\s+[0-9]+\s+IN\s+TLSA\s+3 1 1 ).*/\1$(printf %064d 7)/" nsd/b.test.zone
    DNS=$DNS dns
    receiver
    sender
    go
    not_delivered
    [[ $(last status) == 4.7.5 || $(last status) == 4.4.3 ]]
    [[ $(count_mail b bob) == 0 ]]
}

# --- MTA-STS ---------------------------------------------------------------------------------------

# A policy server on 127.0.0.1:443 for mta-sts.b.test; policy on standard input.
policy_server() {
    mkdir -p www/.well-known
    cat > www/.well-known/mta-sts.txt
    cat > https.py <<'PY'
import functools, http.server, ssl, sys
t = sys.argv[1]
class Handler(http.server.SimpleHTTPRequestHandler):
    extensions_map = {".txt": sys.argv[2]}
    def log_message(self, *a): print(self.path, flush=True)
s = http.server.ThreadingHTTPServer((sys.argv[3], 443), functools.partial(Handler, directory=t + "/www"))
c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
c.load_cert_chain(t + "/mta-sts.b.test.pem", t + "/mta-sts.b.test.key")
s.socket = c.wrap_socket(s.socket, server_side=True)
s.serve_forever()
PY
    start https python3 https.py "$T" "${TYPE:-text/plain}" "$WWW"
    wait_for 10 bash -c "exec 9<> /dev/tcp/$WWW/443"
}
sts_story() { # policy on standard input
    [[ $(id -u) == 0 ]] || skip "port 443 wants root"
    cat > policy.txt
    certificates "${CERT:-mx.b.test}" mta-sts.b.test
    [[ -e mx.b.test.pem ]] || { cp "$CERT.pem" mx.b.test.pem; cp "$CERT.key" mx.b.test.key; }
    printf '@ MX 10 mx\nmx A 127.0.0.1\nmta-sts A %s\n_mta-sts TXT "v=STSv1; id=20260101;"\n' "$WWW" | zone b.test
    printf '@ MX 10 mx.b.test.\n' | zone c.test
    resolver
    policy_server < policy.txt
    receiver
    sender
}
policy() { printf 'version: STSv1\r\nmode: %s\r\nmx: %s\r\nmax_age: 86400\r\n' "$1" "$2"; }

@test "S-11 MTA-STS enforce: a certificate that is right: delivered, policy kept" {
    policy enforce '*.b.test' | sts_story
    go
    delivered
    run_postbag 0 mx-lookup -C a.conf b.test
    out_has "verify"
    out_has "mta-sts"
    [[ -s a/state/mta-sts/b.test ]]
    [[ $(grep -c mta-sts.txt https.out) == 1 ]]
}

@test "S-11 MTA-STS enforce: a certificate for another name: nothing is sent" {
    policy enforce mx.b.test | CERT=other.test sts_story
    go
    not_delivered
    [[ $(last policy) == verify && $(last policy_why) == mta-sts && $(last status) == 4.7.5 ]]
    [[ $(count_mail b bob) == 0 ]]
}

@test "S-11 MTA-STS enforce: a host that the policy does not list is not used" {
    policy enforce mx.elsewhere.test | sts_story
    go
    not_delivered
    [[ $(last status) == 4.7.5 ]]
    [[ $(count_mail b bob) == 0 ]]
    run_postbag 75 smtp-probe -C a.conf b.test
    err_has "MTA-STS policy"
}

@test "S-11 MTA-STS testing never fails a delivery" {
    policy testing mx.elsewhere.test | CERT=other.test sts_story
    go
    delivered
}

@test "S-11 a policy of another media type, or one that redirects, is no policy" {
    policy enforce mx.elsewhere.test | TYPE=text/html sts_story
    go
    delivered
}

@test "S-11 the policy in the cache holds when the record is gone, until it is too old" {
    policy enforce mx.elsewhere.test | sts_story
    mkdir -p a/state/mta-sts
    { printf 'old %s\n' "$(date +%s)"; policy enforce mx.elsewhere.test; } > a/state/mta-sts/c.test
    chmod 600 a/state/mta-sts/c.test
    go bob@c.test
    not_delivered
    [[ $(last status) == 4.7.5 ]]
    sed -i "1s/.*/old $(($(date +%s) - 86401))/" a/state/mta-sts/c.test
    run_postbag 0 queue-run -C a.conf --all -v
    out_has delivered
}

# --- rules -----------------------------------------------------------------------------------------

@test "destination tls=require: a host without STARTTLS gets nothing; tls=verify wants a trusted name" {
    certificates mx.b.test
    printf '@ MX 10 mx\nmx A 127.0.0.1\n' | zone b.test
    resolver
    sink s "$IN"
    sender "destination b.test tls=require"
    go
    not_delivered
    [[ $(last policy) == require && $(last policy_why) == settings && $(sink_count s) == 0 ]]
}

@test "destination via=lmtp: the mail goes there by LMTP; via=mx passes by the relay; .parent and * match" {
    free_port LMTP
    site b "listen lmtp 127.0.0.1:$LMTP" "domain lists.b.test"
    printf 'bob@lists.b.test:{PLAIN}x\n' > b/accounts
    serve b
    free_port DEAD
    site a "relay 127.0.0.1:$DEAD" "destination .b.test via=lmtp:127.0.0.1:$LMTP"
    go bob@lists.b.test
    delivered
    wait_for 10 test -n "$(find b/mail -type f -path '*/new/*')"
}

@test "destination source= connects from there" {
    certificates mx.b.test
    printf '@ MX 10 mx\nmx A 127.0.0.1\n' | zone b.test
    resolver
    receiver
    sender "destination * source=127.0.0.7"
    go
    delivered
    wait_for 10 has_mail b bob
    grep -q '127\.0\.0\.7' "$(mail_file b bob)"
}

@test "a wrong destination rule is named: word, value, nearest" {
    site a "destination b.test concurency=2"
    run_postbag 78 config check -C a.conf
    err_has 'did you mean "concurrency"'
    site a "destination b.test via=smtp"
    run_postbag 78 config check -C a.conf
    site a "destination b.test concurrency=0"
    run_postbag 78 config check -C a.conf
}
