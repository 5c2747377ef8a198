#!/bin/bash
# The whole pipeline on this machine: two mail servers for two domains, a resolver of their own, and one message
# that travels from one to the other. Everything is on loopback and in one temporary directory; nothing is left.
set -u
cd "$(dirname "$0")/.." || exit 1
P=$PWD/build/release/postbag
work=$(mktemp -d /tmp/postbag-demo.XXXXXX) || exit 1
pids=()
failed=0
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'; else bold='' dim='' red='' green='' plain=''; fi

finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2> /dev/null; done
    for pid in "${pids[@]}"; do wait "$pid" 2> /dev/null; done
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

now() { date +%s%N; }
free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 20000))
        (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null || { echo "$port"; return; }
    done
}
wait_port() { # HOST PORT
    for _ in $(seq 100); do
        (exec 3<> "/dev/tcp/$1/$2") 2> /dev/null && return 0
        sleep 0.05
    done
    return 1
}

# step TITLE SHOWN COMMAND...: print what a user would type, run it, print its output and how long it took.
step() {
    local title=$1 shown=$2 start end status
    shift 2
    printf '\n%s%s%s\n%s$ %s%s\n' "$bold" "$title" "$plain" "$dim" "$shown" "$plain"
    start=$(now)
    (cd "$work" && "$@") > "$work/out" 2>&1
    status=$?
    end=$(now)
    sed "s|$work/||g; s/^/  /" "$work/out" | head -n 60
    if [ $status -eq 0 ]; then
        printf '  %sdone in %d ms%s\n' "$green" $(((end - start) / 1000000)) "$plain"
    else
        printf '  %sFAILED with status %d after %d ms%s\n' "$red" $status $(((end - start) / 1000000)) "$plain"
        failed=$((failed + 1))
    fi
    return $status
}

north=127.0.1.1 south=127.0.1.2
dns=$(free_port) smtp=$(free_port) sub=$(free_port) pop=$(free_port) imap=$(free_port)

# --- a resolver with two domains -----------------------------------------------------------------------
zone() { # NAME ADDRESS
    cat > "$work/$1.zone" << EOF
\$ORIGIN $1.
\$TTL 300
@    SOA ns.$1. hostmaster.$1. 1 3600 600 86400 60
@    NS  ns.$1.
ns   A   127.0.0.1
@    MX  10 mx.$1.
mx   A   $2
EOF
}
zone north.example $north
zone south.example $south
cat > "$work/nsd.conf" << EOF
server:
  ip-address: 127.0.0.1@$dns
  username: ""
  chroot: ""
  zonesdir: "$work"
  database: ""
  zonelistfile: "$work/zone.list"
  xfrdfile: "$work/xfrd.state"
  xfrdir: "$work"
  pidfile: "$work/nsd.pid"
  logfile: "$work/nsd.log"
  hide-version: yes
remote-control:
  control-enable: no
zone:
  name: north.example
  zonefile: north.example.zone
zone:
  name: south.example
  zonefile: south.example.zone
EOF
PATH=$PATH:/usr/sbin nsd -d -c "$work/nsd.conf" > "$work/nsd.out" 2>&1 &
pids+=($!)
if ! wait_port 127.0.0.1 "$dns"; then
    echo "demo: NSD did not start: $(tail -n 2 "$work/nsd.log" "$work/nsd.out" 2> /dev/null)"
    exit 69
fi

conf() { # NAME ADDRESS LISTEN...
    local name=$1
    shift
    {
        echo "hostname mx.$name.example"
        echo "domain   $name.example"
        echo "data     $work/$name"
        echo "resolver 127.0.0.1:$dns"
        echo "mx-port  $smtp"
        echo "relay-from none"
        printf 'listen   %s\n' "$@"
    } > "$work/$name.conf"
}
conf north "smtp $north:$smtp" "submission $north:$sub"
conf south "smtp $south:$smtp" "pop3s $south:$pop" "imaps $south:$imap"
printf 'let me send\n' > "$work/alice.pw"
printf 'let me read\n' > "$work/bob.pw"
chmod 600 "$work"/*.pw

printf '\n%snorth.conf%s (south.conf is like it)\n' "$bold" "$plain"
sed "s|$work/||; s/^/  /" "$work/north.conf"
printf '\n%sTwo servers, north.example and south.example, and a message with an attachment between them.%s\n' "$bold" "$plain"
step '1. An account in each domain' 'postbag account -C north.conf add alice < alice.pw; postbag account -C south.conf add bob < bob.pw' \
    sh -c "$P account -C north.conf add alice < alice.pw && $P account -C south.conf add bob < bob.pw"
for name in north south; do
    "$P" serve -C "$work/$name.conf" 2> "$work/$name.log" &
    pids+=($!)
done
step '2. Both servers run' 'postbag serve -C north.conf & postbag serve -C south.conf &' sh -c '
    for i in $(seq 100); do grep -q " ready " north.log && grep -q " ready " south.log && break; sleep 0.05; done
    grep -h -e listening -e ready north.log south.log | cut -d" " -f4-
    grep -q " ready " north.log && grep -q " ready " south.log' || exit 1

# --- the message ---------------------------------------------------------------------------------------
head -c 200000 /dev/urandom > "$work/photo.jpg"
{
    printf 'From: Alice <alice@north.example>\nTo: Bob <bob@south.example>\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe_aus_dem_Norden?=\n'
    printf 'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b1\n\n--b1\nContent-Type: text/plain\n\nThe picture is attached.\n.\n'
    printf -- '--b1\nContent-Type: image/jpeg; name=photo.jpg\nContent-Disposition: attachment; filename=photo.jpg\nContent-Transfer-Encoding: base64\n\n'
    base64 -w 76 "$work/photo.jpg"
    printf -- '--b1--\n'
} > "$work/message.eml"
sum() { sed '1,/^\r*$/d' "$1" | tr -d '\r' | sha256sum | cut -c1-64; }

step '3. Where would mail for bob go?' 'postbag mx-lookup -C north.conf bob@south.example' \
    "$P" mx-lookup -C north.conf bob@south.example
step '4. Would south take it? Asked as a sender, before anything is sent' \
    'postbag smtp-probe -C north.conf --tls verify --tls-ca south/tls/cert.pem --rcpt bob@south.example south.example' \
    "$P" smtp-probe -C north.conf --tls verify --tls-ca south/tls/cert.pem --rcpt bob@south.example south.example
step '5. Alice submits the message at her server: TLS verified, password, then the message' \
    "postbag sendmail -v -i -f alice@north.example --now --relay $north:$sub,alice,alice.pw --relay-tls verify --tls-ca north/tls/cert.pem bob@south.example < message.eml" \
    sh -c "$P sendmail -v -i -f alice@north.example --now --relay $north:$sub,alice,alice.pw --relay-tls verify --tls-ca north/tls/cert.pem bob@south.example < message.eml"
step '6. The queue of north relays it over STARTTLS to the MX of south, which puts it into the mailbox of bob' \
    "grep ' sent ' north.log south.log" sh -c '
    for i in $(seq 200); do grep -q " sent .*bob@south" north.log && grep -q " sent .*bob@south" south.log && break; sleep 0.05; done
    grep -h " sent .*bob@south" north.log south.log | cut -d" " -f4-
    grep -q " sent .*bob@south.*tls=" north.log && grep -q " sent .*bob@south" south.log'
step '7. Nothing is left in the queue of north' 'postbag queue-run -C north.conf && postbag queue-run -C north.conf --list' \
    sh -c "$P queue-run -C north.conf 2> /dev/null && $P queue-run -C north.conf --list | tee list && grep -q 'queue is empty' list"
step '8. The mailbox of bob by IMAP' \
    "postbag imap-list --tls-ca south/tls/cert.pem --password-file bob.pw imaps://bob@$south:$imap/INBOX" \
    "$P" imap-list --tls-ca south/tls/cert.pem --password-file bob.pw "imaps://bob@$south:$imap/INBOX"
step '9. Bob fetches it by POP3' \
    "postbag pop3-fetch --tls-ca south/tls/cert.pem --password-file bob.pw --maildir fetched pop3s://bob@$south:$pop" \
    "$P" pop3-fetch --tls-ca south/tls/cert.pem --password-file bob.pw --maildir fetched "pop3s://bob@$south:$pop"
sent=$(sum "$work/message.eml")
cat "$work"/fetched/new/* > "$work/got.eml" 2> /dev/null
got=$(sum "$work/got.eml")
printf '\n%s10. The body that arrived is the body that was sent%s\n  sent     %s\n  received %s\n' "$bold" "$plain" "$sent" "$got"
[ "$sent" = "$got" ] || { echo "  ${red}they differ$plain"; failed=$((failed + 1)); }

if [ $failed -eq 0 ]; then
    printf '\n%sThe message went the whole way. Everything is stopped and removed.%s\n' "$green" "$plain"
else
    printf '\n%s%d steps failed.%s\n' "$red" $failed "$plain"
    tail -n 5 "$work"/*.log | sed 's/^/  /'
    exit 1
fi
