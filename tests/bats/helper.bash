# helper: what the bats stories share. `load helper` (or ../bats/helper from tests/peers).
#
# Each test works in a directory of its own ($T, also the current one), with HOME and TMPDIR there,
# with ports of its own on the loopback, and without any POSTBAG_* setting. Servers are started with
# `start`; teardown ends them by their process ids. $T/log tells every command with its status and
# both streams; it is shown when a test fails.
#
#   run_postbag STATUS ARG...   run it, demand the exit status; streams in $T/out and $T/err
#   out_has TEXT, err_has TEXT  the stream holds this text; out_lacks, err_lacks: it does not
#   one_error_line APPLET       standard error is one line "postbag APPLET: ..."
#   free_port VAR...            set each variable to a port nobody listens on
#   start NAME COMMAND...       run in the background; output in $T/NAME.out and NAME.err
#   wait_port PORT, wait_for SECONDS COMMAND...
#   site NAME [SETTING...]      a data directory and NAME.conf; users with `user SITE NAME PASSWORD`
#   serve SITE [ARG...]         start `postbag serve` for it and wait for its ports
#   zone DOMAIN, dns            zone text on standard input; then NSD on port $DNS; recursor: Unbound before it

ROOT=$(cd "${BASH_SOURCE[0]%/*}/../.." && pwd)
export POSTBAG=${POSTBAG:-$ROOT/build/${MODE:-release}/postbag}
PATH=$PATH:/usr/sbin:/sbin

setup() {
    T=$BATS_TEST_TMPDIR
    cd "$T" || return 1
    mkdir -p home tmp
    export HOME=$T/home TMPDIR=$T/tmp LC_ALL=C.UTF-8 TZ=UTC
    unset XDG_DATA_HOME JOURNAL_STREAM PERL5LIB
    while IFS='=' read -r name _; do unset "$name"; done < <(env | grep '^POSTBAG_')
    AS=()
    : > pids
    : > log
    if declare -F story_setup > /dev/null; then story_setup; fi
}

teardown() {
    local pid
    if declare -F story_teardown > /dev/null; then story_teardown; fi
    for pid in $(tac "$T/pids"); do kill "$pid" 2> /dev/null || true; done
    for pid in $(tac "$T/pids"); do
        for _ in $(seq 50); do kill -0 "$pid" 2> /dev/null || break; sleep 0.05; done
        kill -9 "$pid" 2> /dev/null || true
    done
    if [[ -z ${BATS_TEST_COMPLETED:-} ]]; then
        tail -60 "$T/log"
        for f in "$T"/*.err; do [[ -s $f ]] && { echo "--- $f"; tail -30 "$f"; }; done
    fi
    return 0
}

# Standard input goes to the command: run_postbag 0 sendmail a@b < message
run_postbag() {
    local want=$1 status=0
    shift
    "${AS[@]}" timeout -k 5 "${LIMIT:-60}" "$POSTBAG" "$@" > "$T/out" 2> "$T/err" || status=$?
    {
        printf '$ postbag'
        printf ' %q' "$@"
        printf '\n[%d, wanted %d]\n' "$status" "$want"
        sed 's/^/out: /' "$T/out" | head -c 4000
        sed 's/^/err: /' "$T/err" | head -c 4000
    } >> "$T/log"
    [[ $status == "$want" ]]
}

# From here on file permissions count for run_postbag, for root too.
plain_rights() {
    [[ $(id -u) != 0 ]] || AS=(setpriv --bounding-set=-dac_override,-dac_read_search,-fowner)
}

stream_has() { # FILE TEXT
    grep -qF -- "$2" "$1" || {
        printf '%s lacks: %s\n' "$1" "$2" >> "$T/log"
        return 1
    }
}
stream_lacks() {
    ! grep -qF -- "$2" "$1" || {
        printf '%s has: %s\n' "$1" "$2" >> "$T/log"
        return 1
    }
}
out_has() { stream_has "$T/out" "$1"; }
err_has() { stream_has "$T/err" "$1"; }
out_lacks() { stream_lacks "$T/out" "$1"; }
err_lacks() { stream_lacks "$T/err" "$1"; }

one_error_line() {
    [[ $(wc -l < "$T/err") == 1 ]] && grep -q "^postbag $1: " "$T/err"
}

# Every line of standard output is a JSON object with "v":1; then the Python expression holds, with
# the objects in `o` and the first in `d`.
json_is() {
    python3 - "$T/out" "$1" <<'PY' >> "$T/log" 2>&1
import json, sys
o = [json.loads(line) for line in open(sys.argv[1])]
assert o and all(x["v"] == 1 for x in o), "no version"
d = o[0]
ok = eval(sys.argv[2])
if not ok:
    print("json: false:", sys.argv[2], o)
sys.exit(not ok)
PY
}

# Below the range that the kernel takes ports from for outgoing connections. All in one Python, so
# that they differ; and no other test of this run gets them, which may not listen yet.
free_port() {
    local ports
    mkdir -p "$BATS_RUN_TMPDIR/ports"
    ports=$(python3 - $# "$BATS_RUN_TMPDIR/ports" <<'PY'
import os, random, socket, sys
got, held = [], []
while len(got) < int(sys.argv[1]):
    p = random.randint(12000, 32000)
    try:
        os.close(os.open("%s/%d" % (sys.argv[2], p), os.O_CREAT | os.O_EXCL))
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            s = socket.socket(socket.AF_INET, kind)
            s.bind(("127.0.0.1", p))
            held.append(s)
        got.append(p)
    except OSError:
        pass
print(*got)
PY
)
    read -r "$@" <<< "$ports"
}

start() {
    local name=$1
    shift
    "$@" > "$T/$name.out" 2> "$T/$name.err" < /dev/null 3>&- &
    PID=$!
    echo "$PID" >> "$T/pids"
    echo "started $name ($PID): $*" >> "$T/log"
}

# End what `start` began, as a service manager would; STATUS gets its exit status.
stop() {
    kill "$1"
    STATUS=0
    wait "$1" || STATUS=$?
}

wait_for() { # SECONDS COMMAND...
    local end=$((${EPOCHREALTIME/./} + $1 * 1000000))
    shift
    until "$@" > /dev/null 2>&1; do
        if ((${EPOCHREALTIME/./} > end)); then
            echo "waited in vain for: $*" >> "$T/log"
            return 1
        fi
        sleep 0.05
    done
}
port_open() { (exec 9<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }
wait_port() { wait_for "${2:-10}" port_open "$1"; }

# --- sites -----------------------------------------------------------------------------------------

# site NAME [SETTING...]: each further argument is a line of the file. The domain is NAME.test.
site() {
    local name=$1
    shift
    mkdir -p "$T/$name"
    {
        printf 'hostname mail.%s.test\ndomain %s.test\ndata %s\n' "$name" "$name" "$T/$name"
        printf 'plaintext-auth yes\nlog text\nauth-failure-delay 0s\n'
        printf '%s\n' "$@"
    } > "$T/$name.conf"
}
# A {PLAIN} password: the tests are not about hashes.
user() { printf '%s@%s.test:{PLAIN}%s\n' "$2" "$1" "${3:-secret}" >> "$T/$1/accounts"; }

serve() {
    local name=$1 port
    shift
    start "serve-$name" "$POSTBAG" serve -C "$T/$name.conf" "$@"
    SERVE=$PID
    for port in $(sed -n 's/^listen .*:\([0-9]*\)$/\1/p' "$T/$name.conf"); do
        wait_port "$port" || return 1
    done
}

maildir() { echo "$T/$1/mail/$1.test/$2/Maildir"; }
count_mail() { find "$(maildir "$1" "$2")"/{new,cur} -type f 2> /dev/null | wc -l; }
has_mail() { [[ $(count_mail "$1" "$2") -ge ${3:-1} ]]; }
# The newest message of a mailbox.
mail_file() { find "$(maildir "$1" "$2")"/{new,cur} -type f | sort | tail -1; }
queue_empty() { [[ $("$POSTBAG" mailq -C "$T/$1.conf" 2> /dev/null) == "Mail queue is empty" ]]; }

# --- name server ------------------------------------------------------------------------------------

zone() {
    mkdir -p "$T/nsd"
    {
        printf '$ORIGIN %s.\n$TTL 60\n@ SOA ns.%s. root.%s. 1 60 60 60 60\n@ NS ns.%s.\nns A 127.0.0.1\n' \
            "$1" "$1" "$1" "$1"
        cat
    } > "$T/nsd/$1.zone"
}

dns() {
    [[ -n ${DNS:-} ]] || free_port DNS
    {
        printf 'server:\n  ip-address: 127.0.0.1\n  port: %s\n  username: ""\n  chroot: ""\n' "$DNS"
        printf '  zonesdir: "%s"\n  database: ""\n  pidfile: ""\n  zonelistfile: "%s/zone.list"\n' \
            "$T/nsd" "$T/nsd"
        printf '  xfrdfile: "%s/xfrd"\n  xfrdir: "%s"\n  server-count: 1\nremote-control:\n' "$T/nsd" "$T/nsd"
        printf '  control-enable: no\n'
        for f in "$T"/nsd/*.zone; do
            printf 'zone:\n  name: "%s"\n  zonefile: "%s"\n' "$(basename "$f" .zone)" "$f"
        done
    } > "$T/nsd/nsd.conf"
    start nsd nsd -d -c "$T/nsd/nsd.conf"
    wait_port "$DNS"
}

# Unbound on port $REC, which asks NSD for everything below "test."; it validates with the keys in
# $T/anchor, unless MODULES has no validator.
recursor() {
    local modules=${MODULES:-validator iterator}
    free_port REC
    cat > "$T/rec.conf" <<CONF
server:
  interface: 127.0.0.1
  port: $REC
  username: ""
  chroot: ""
  directory: "$T"
  pidfile: ""
  use-syslog: no
  do-not-query-localhost: no
  module-config: "$modules"
  local-zone: "test." nodefault
$([[ $modules != *validator* ]] || printf '  trust-anchor-file: "%s/anchor"' "$T")
stub-zone:
  name: "test."
  stub-addr: 127.0.0.1@$DNS
remote-control:
  control-enable: no
CONF
    start unbound unbound -d -c "$T/rec.conf"
    wait_port "$REC"
}

# --- small peers ------------------------------------------------------------------------------------

# An SMTP server that takes everything and keeps each message in $T/NAME/N.eml with its envelope in
# $T/NAME/N.env (Python: no Debian package has one that keeps both). `sink NAME PORT [refuse=CODE]`
sink() {
    mkdir -p "$T/$1"
    start "$1" python3 "$ROOT/tests/bats/sink.py" "$2" "$T/$1" "${@:3}"
    wait_port "$2"
}
sink_count() { find "$T/$1" -name '*.eml' | wc -l; }

# peer PORT MODE: garbage (no SMTP), close (ends at once), silent (never answers), drop (ends in the
# middle of the dialogue).
peer() {
    start "peer-$1" python3 "$ROOT/tests/bats/peer.py" "$1" "$2"
    wait_for 10 test -s "$T/peer-$1.out"
}

# Speak: lines of standard input go to PORT one by one, each after an answer; the answers are
# printed.
talk() { python3 "$ROOT/tests/bats/talk.py" "$1" "${@:2}"; }

# A message: message TO [SUBJECT] [BODY]
message() {
    printf 'From: Ann <ann@a.test>\nTo: %s\nSubject: %s\n\n%s\n' "$1" "${2:-hello}" "${3:-the body}"
}

need() {
    local p
    for p; do
        command -v "$p" > /dev/null || skip "$p is not installed"
    done
}
