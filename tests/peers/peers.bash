# peers: other mail software beside postbag, on the loopback. See ../bats/helper.bash for the rest.

# A message with what breaks careless programs: lines of dots, long lines, 8-bit text, blanks at
# line ends, "From " at a line start. hard_message TO > file (LF line ends)
hard_message() {
    printf 'From: Ann <ann@a.test>\nTo: %s\nSubject: hard\nMIME-Version: 1.0\n' "$1"
    printf 'Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n'
    printf '.\n..\n...\n.x\n grüße, 你好 \nFrom here on\n\ttab\t\n'
    head -c 900 /dev/zero | tr '\0' y
    printf '\n\n\nlast line before dots\n.\n'
}
# 2 MB of base64, as an attachment has it.
big_message() {
    printf 'From: Ann <ann@a.test>\nTo: %s\nSubject: big\n\n' "$1"
    head -c 1500000 /dev/urandom | base64
}
# The checksum of the body of a message file, whatever its line ends are.
body_sum() { tr -d '\r' < "$1" | sed '1,/^$/d' | sha256sum; }
same_body() { [[ $(body_sum "$1") == "$(body_sum "$2")" ]]; }

make_cert() { # HOST: $T/HOST.pem, $T/HOST.key
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$1" -addext "subjectAltName=DNS:$1,DNS:localhost" \
        -keyout "$T/$1.key" -out "$T/$1.pem" 2> /dev/null
}

# A Postfix of its own: queue, settings, log and mailboxes in $PF. SMTP on port $PFPORT with
# STARTTLS; mail for pf.test goes to Maildirs, the rest to 127.0.0.1:RELAY. postfix_start RELAY
# [MAIN-CF-LINE...]
postfix_start() {
    need postfix postconf openssl
    [[ $(id -u) == 0 ]] || skip "Postfix needs root"
    local relay=$1 daemons
    shift
    daemons=$(postconf -h daemon_directory)
    free_port PFPORT
    # Postfix gives up root, and must still reach its files: the test's own directory is private.
    PF=$(mktemp -d /tmp/postbag-postfix.XXXXXX)
    chmod 755 "$PF"
    mkdir "$PF/queue" "$PF/data" "$PF/mail"
    chown postfix "$PF/data"
    chown nobody "$PF/mail"
    make_cert mail.pf.test
    cat > "$PF/main.cf" <<CF
compatibility_level = 3.6
queue_directory = $PF/queue
data_directory = $PF/data
mail_owner = postfix
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mail.pf.test
mydomain = pf.test
mynetworks = 127.0.0.0/8
mydestination =
local_recipient_maps =
alias_maps =
relayhost = [127.0.0.1]:$relay
virtual_mailbox_domains = pf.test
virtual_mailbox_base = $PF/mail
virtual_mailbox_maps = inline:{ { bob@pf.test = bob/Maildir/ } }
virtual_uid_maps = static:$(id -u nobody)
virtual_gid_maps = static:$(id -g nobody)
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_tls_cert_file = $T/mail.pf.test.pem
smtpd_tls_key_file = $T/mail.pf.test.key
smtpd_tls_security_level = may
smtpd_tls_received_header = yes
smtp_tls_security_level = may
smtp_host_lookup = native
smtp_dns_support_level = disabled
message_size_limit = 30000000
mailbox_size_limit = 0
virtual_mailbox_limit = 0
maillog_file = $PF/log
maillog_file_prefixes = /tmp
minimal_backoff_time = 1s
queue_run_delay = 2s
CF
    printf '%s\n' "$@" >> "$PF/main.cf"
    cat > "$PF/master.cf" <<CF
127.0.0.1:$PFPORT inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
CF
    echo "Postfix in $PF (daemons in $daemons)" >> log
    postfix -c "$PF" start >> log 2>&1
    wait_port "$PFPORT" 20
}

# By the process id of its own master.
story_teardown() {
    [[ -n ${PF:-} ]] || return 0
    postfix -c "$PF" stop >> "$T/log" 2>&1 || true
    [[ -n ${BATS_TEST_COMPLETED:-} ]] || tail -30 "$PF/log" >> "$T/log"
    rm -rf "$PF"
}
pf_mail() { find "$PF/mail/bob/Maildir/new" -type f 2> /dev/null | sort; }
pf_has() { [[ $(pf_mail | wc -l) -ge ${1:-1} ]]; }

# A site that takes mail on $P, and submission on $SUB and $TLS.
in_site() {
    free_port P SUB TLS
    site a "listen smtp 127.0.0.1:$P" "listen submission 127.0.0.1:$SUB" "listen submissions 127.0.0.1:$TLS" "$@"
    user a ann secret
    serve a
}

# A site that gives mail out: POP3 and IMAP on $POP $IMAP (STARTTLS) and $POPS $IMAPS; ann@a.test with the password
# "secret", kept as SCRAM keys, has four messages: hard, big, letter (an attachment, words in Chinese), short.
reading_site() {
    need openssl
    free_port POP POPS IMAP IMAPS
    make_cert localhost
    site a "listen pop3 127.0.0.1:$POP" "listen pop3s 127.0.0.1:$POPS" "listen imap 127.0.0.1:$IMAP" \
        "listen imaps 127.0.0.1:$IMAPS" "tls $T/localhost.pem $T/localhost.key" "$@"
    sed -i 's/^plaintext-auth yes/plaintext-auth no/' a.conf
    echo secret | "$POSTBAG" account add -C a.conf --scheme=scram-sha-256 ann >> log
    hard_message ann@a.test > hard
    big_message ann@a.test > big
    letter_message ann@a.test > letter
    printf 'From: Zoe <zoe@b.test>\nTo: ann@a.test\nSubject: short\nMessage-ID: <short@b.test>\nIn-Reply-To: <letter@a.test>\n\nhi\n' > short
    local f
    for f in hard big letter short; do "$POSTBAG" deliver -C a.conf ann < $f; done
    serve a
}
# letter_message TO > file
letter_message() {
    cat <<M
From: =?utf-8?B?5bCP546L?= <wang@b.test>
To: $1
Cc: "Doe, Jane" <jane@b.test>
Subject: =?utf-8?Q?gr=C3=BC=C3=9Fe?= letter
Date: Mon, 23 Nov 2026 10:00:00 +0100
Message-ID: <letter@a.test>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="=-b"

--=-b
Content-Type: text/plain; charset=gb18030
Content-Transfer-Encoding: base64

$(printf '你好，世界\n' | iconv -t gb18030 | base64)
--=-b
Content-Type: application/octet-stream; name="a b.bin"
Content-Disposition: attachment; filename="a b.bin"
Content-Transfer-Encoding: base64

$(seq 1 5000 | base64)
--=-b--
M
}
crlf() { sed 's/$/\r/' "$1"; }

# What ann's mailbox holds, asked over TLS by Python: a line "UID-ORDER FLAG FLAG..." a message, flags sorted.
# far_is MAILBOX LINE...: it is this.
far() { # MAILBOX
    python3 - "$IMAPS" "$1" "$ROOT" <<'PY'
import re, sys
sys.path.insert(0, sys.argv[3] + "/tests/bats")
from imapline import *
c = Line(sys.argv[1], "ann", "secret", tls=True)
c("EXAMINE \"%s\"" % sys.argv[2])
c("FETCH 1:* (FLAGS)")
for line in c.told("FETCH"):
    n, flags = re.match(r"\* (\d+) FETCH \(FLAGS \((.*?)\)\)", line).groups()
    print(n, *sorted(f for f in flags.split() if f != "\\Recent"))
PY
}
far_is() {
    local box=$1
    shift
    far "$box" > far.out
    { echo "far $box:"; cat far.out; } >> log
    diff <(printf '%s\n' "$@") far.out >> log
}
# far_body MAILBOX NUMBER: the octets of a message, which stays unread.
far_body() {
    python3 - "$IMAPS" "$1" "$2" "$ROOT" <<'PY'
import sys
sys.path.insert(0, sys.argv[4] + "/tests/bats")
from imapline import *
c = Line(sys.argv[1], "ann", "secret", tls=True)
c("EXAMINE \"%s\"" % sys.argv[2])
c("FETCH %s BODY.PEEK[]" % sys.argv[3])
text = c.told("FETCH")[0].encode("utf-8", "surrogateescape")
sys.stdout.buffer.write(text[text.index(b"}\r\n") + 3:-1])
PY
}
