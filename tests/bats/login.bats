# login: guessing passwords is slow, and those who know theirs do not notice.
load helper

story_setup() {
    free_port IMAP POP SUB
    site a "listen imap 127.0.0.1:$IMAP" "listen pop3 127.0.0.1:$POP" "listen submission 127.0.0.1:$SUB" "proxy-from 127.0.0.0/8"
    user a ann
    user a bob
}
slow() { sed -i "s/^auth-failure-delay .*/auth-failure-delay $1/" a.conf; }

# Python with attempt(service, from, user, password): a connection behind a proxy header and one login sent;
# said(connection, seconds) is what is answered to it in that time, "" when nothing is.
story() {
    cat > story.py <<PY
import re, socket, sys, time
ports = {"imap": $IMAP, "pop3": $POP, "smtp": $SUB}
class Conn(socket.socket):
    pass
def attempt(service, source, user, password):
    s = Conn(socket.AF_INET)
    s.settimeout(30)
    s.connect(("127.0.0.1", ports[service]))
    s.sendall(("PROXY TCP%d %s %s 1 1\r\n" % ((4, source, "192.0.2.250") if "." in source else (6, source, "2001:db8::250"))).encode())
    s.f = s.makefile("rb")
    s.f.readline()
    s.service = service
    again(s, user, password)
    return s
def again(s, user, password):
    import base64
    plain = base64.b64encode(("\0%s\0%s" % (user, password)).encode()).decode()
    if s.service == "imap":
        s.sendall(("a LOGIN %s %s\r\n" % (user, password)).encode())
    elif s.service == "pop3":
        s.sendall(("AUTH PLAIN %s\r\n" % plain).encode())
    else:
        s.sendall(b"EHLO x\r\n")
        while not s.f.readline().startswith(b"250 "):
            pass
        s.sendall(("AUTH PLAIN %s\r\n" % plain).encode())
def said(s, seconds=20):
    s.settimeout(seconds)
    try:
        while True:
            line = s.f.readline().decode()
            if not line or re.match(r"a |[+]OK|-ERR|235|4|5", line):
                return line
    except TimeoutError:
        return ""
right = {"imap": "a OK", "pop3": "+OK", "smtp": "235"}
wrong = {"imap": "a NO [AUTHENTICATIONFAILED]", "pop3": "-ERR [AUTH]", "smtp": "535 5.7.8"}
later = {"imap": "a NO [UNAVAILABLE]", "pop3": "-ERR [SYS/TEMP]", "smtp": "454 4.7.0"}
PY
    cat >> story.py
    timeout 120 python3 story.py >> log 2>&1
}

@test "after a wrong password the next waits: from that address, for that account, over any service, not for those who are known" {
    slow 60s
    serve a
    story <<'PY'
c = attempt("imap", "192.0.2.7", "ann", "secret")
assert said(c).startswith(right["imap"])
for i, service in enumerate(wrong):
    s = attempt(service, "203.0.113.%d" % (10 + i), "nobody-%s" % service, "x")
    assert said(s).startswith(wrong[service])
s = attempt("imap", "203.0.113.1", "ann", "wrong")
assert said(s).startswith(wrong["imap"])
waiting = []
again(s, "ann", "secret"); waiting.append(s)                              # the same connection
waiting.append(attempt("pop3", "203.0.113.1", "bob", "secret"))           # the address, another account and service
waiting.append(attempt("smtp", "198.51.100.9", "ann", "secret"))          # the account from where nobody knows it
waiting.append(attempt("imap", "198.51.100.9", "nobody-imap", "x"))       # an account that is none
for w in waiting:
    assert said(w, 0.5) == "", w
for service in right:                                                     # known, and not concerned
    assert said(attempt(service, "192.0.2.7", "ann", "secret")).startswith(right[service])
    assert said(attempt(service, "198.51.100.77", "bob", "secret")).startswith(right[service])
PY
    # Those who wait do not hold the server's end up.
    stop "$SERVE"
    [[ $STATUS == 0 ]]
}

@test "more connections do not make more attempts: an address that has failed lines up, and is refused for now when the line is long" {
    slow 60s
    serve a
    story <<'PY'
for i, service in enumerate(later):
    source = "2001:db8:%d::1" % i if service != "smtp" else "203.0.113.9"
    assert said(attempt(service, source, "x-%s" % service, "x")).startswith(wrong[service])
    line = [attempt(service, source.replace("::1", "::%x" % k), "y%d" % k, "x") for k in range(40)]
    got = [said(s, 0.2) for s in line]
    assert got.count("") == 24, got
    assert all(x == "" or x.startswith(later[service]) for x in got), got
assert said(attempt("imap", "192.0.2.7", "ann", "secret")).startswith(right["imap"])
PY
}

@test "SCRAM: a line that is long is shut before the client can learn anything" {
    need gsasl
    sed -i '/^proxy-from/d' a.conf
    rm a/accounts
    echo secret | "$POSTBAG" account add -C a.conf --scheme=scram-sha-256 ann > /dev/null
    slow 60s
    serve a
    scram() { timeout "$1" gsasl --imap --connect="127.0.0.1:$IMAP" -m SCRAM-SHA-256 -a ann -p "$2" --no-starttls < /dev/null > gsasl.out 2>&1; }
    scram 20 secret
    grep -q 'server trusted' gsasl.out
    ! scram 20 wrong
    grep -q AUTHENTICATIONFAILED gsasl.out
    for _ in $(seq 30); do start try timeout 30 python3 -c "
import socket; s = socket.create_connection(('127.0.0.1', $IMAP)); s.recv(999); s.sendall(b'a LOGIN ann x\r\n'); s.recv(9)"; done
    wait_for 10 eval 'grep -q "login failed.*try later" serve-a.err'
    ! scram 20 secret
    ! grep -q 'server trusted' gsasl.out
    grep -q UNAVAILABLE gsasl.out
}

@test "a name that nobody has costs the server the same work as a wrong password" {
    slow 0s
    echo secret | "$POSTBAG" account add -C a.conf yes > /dev/null
    echo secret | "$POSTBAG" account add -C a.conf --scheme=scram-sha-256 scram > /dev/null
    serve a
    ticks() { # USER: processor time of twenty failed logins
        local before after stat
        read -ra stat < "/proc/$SERVE/stat"
        before=$((stat[13] + stat[14]))
        { for _ in $(seq 20); do printf 'USER %s\r\nPASS wrong\r\n' "$1"; done; } > lines
        python3 - "$POP" <<'PY'
import socket, sys
for i in range(20):
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
    s.sendall(b"PROXY UNKNOWN\r\n")
    f = s.makefile("rb"); f.readline()
    for line in open("lines", "rb").read().split(b"\r\n")[:2]:
        s.sendall(line + b"\r\n"); got = f.readline()
    assert got.startswith(b"-ERR [AUTH]"), got
PY
        read -ra stat < "/proc/$SERVE/stat"
        after=$((stat[13] + stat[14]))
        echo $((after - before))
    }
    local nobody user cost
    nobody=$(ticks nobody)
    ((nobody >= 10))
    for user in yes ann scram; do
        cost=$(ticks $user)
        echo "nobody: $nobody, $user: $cost" >> log
        ((cost * 2 > nobody && cost < nobody * 2))
    done
}
