# Mail read: what people run reads, flags, files and deletes mail of `postbag serve` by IMAP and POP3, over
# STARTTLS and implicit TLS, by SCRAM where the program can. (More of curl, poplib, mpop and mbsync: read.bats;
# imaplib: tests/bats/imap.bats; imapflow: imapflow.bats.)
load ../bats/helper
load peers

story_setup() { reading_site; }
story_teardown() {
    local f
    [[ -n ${BATS_TEST_COMPLETED:-} ]] || for f in fetchmail.log fetchmail.out client.log terminal; do
        [[ ! -s $f ]] || { echo "--- $f"; tail -c 3000 "$f" | cat -v; } >> log
    done
}

# A program that wants a terminal gets one (terminal.py): on_terminal WAIT KEYS... -- COMMAND...
on_terminal() { python3 "$ROOT/tests/peers/terminal.py" "$@" > terminal; }
# The program's login was of this kind: login_was SERVICE MECHANISM
login_was() { grep -q "login service=$1 user=ann\(@a.test\)\? .*mechanism=${2:-.*} tls=\"TLS" serve-a.err; }
# All four messages are in the Maildir, octet for octet: maildir_has DIR [NAME...]
maildir_has() {
    local dir=$1 f
    shift
    for f in "${@:-hard big letter short}"; do
        # shellcheck disable=SC2086 # words
        for f in $f; do same_body $f "$(grep -rlE "^Subject: (=\?utf-8\?Q\?gr=C3=BC=C3=9Fe\?= )?$f" "$dir"/new "$dir"/cur)" || { echo "$dir lacks $f" >> log; return 1; }; done
    done
}

mutt_rc() { # URL [SETTING...]
    local url=$1
    shift
    printf 'set %s\n' "certificate_file=$T/localhost.pem" imap_user=ann@a.test imap_pass=secret pop_user=ann@a.test \
        pop_pass=secret "folder=${url%INBOX}" "spoolfile=$url" confirmcreate=no confirmappend=no delete=yes quit=yes pop_delete=no \
        pipe_decode=no wait_key=no "tmpdir=$T" sort=mailbox-order mark_old=no "$@" > rc
}

@test "mutt by IMAP: reads, flags, copies, moves, deletes and saves, by SCRAM over STARTTLS" {
    need mutt
    mutt_rc "imap://localhost:$IMAP/INBOX" ssl_force_tls=yes imap_authenticators=scram-sha-256
    on_terminal -- mutt -n -F rc -e 'push "<first-entry><pipe-message>cat > one<enter><display-message><exit><flag-message><first-entry><next-entry><pipe-message>cat > two<enter><copy-message>=Kept<enter><next-entry><save-message>=Moved<enter><next-entry><delete-message><sync-mailbox><quit>"'
    login_was imap SCRAM-SHA-256
    same_body hard one
    same_body big two
    far_is INBOX '1 \Flagged \Seen' '2'
    far_is Kept '1'
    far_is Moved '1'
    far_body Kept 1 > three
    same_body big three
    far_body Moved 1 > four
    same_body letter four
}

@test "neomutt by IMAP: the same over implicit TLS, with a cache of headers; a second session has the same UIDs" {
    need neomutt
    mkdir cache
    mutt_rc "imaps://localhost:$IMAPS/INBOX" "header_cache=$T/cache" "message_cachedir=$T/cache" imap_condstore=yes imap_qresync=yes
    on_terminal -- neomutt -n -F rc -e 'push "<first-entry><pipe-message>cat > one<enter><flag-message><last-entry><delete-message><sync-mailbox><quit>"'
    login_was imaps
    same_body hard one
    far_is INBOX '1 \Flagged' '2' '3'
    "$POSTBAG" deliver -C a.conf ann < short
    on_terminal -- neomutt -n -F rc -e 'push "<first-entry><pipe-message>cat > two<enter><last-entry><pipe-message>cat > new<enter><copy-message>=Kept<enter><quit>"'
    same_body hard two
    same_body short new
    far_body Kept 1 > three
    same_body short three
    far_is INBOX '1 \Flagged' '2' '3' '4'
}

@test "mutt by POP3: reads and deletes" {
    need mutt
    # mutt's gsasl cannot bind to TLS 1.3, and does not read the answer to its "*" when SCRAM-SHA-256-PLUS failed.
    mutt_rc "pops://localhost:$POPS/" pop_authenticators=scram-sha-256 "folder=$T"
    echo 'macro index X "<first-entry><pipe-message>cat > one<enter><next-entry><pipe-message>cat > two<enter><last-entry><delete-message><sync-mailbox><quit>"' >> rc
    on_terminal 'Msgs:4' X -- mutt -n -F rc -f "pops://localhost:$POPS/"
    login_was pop3s SCRAM-SHA-256
    same_body hard one
    same_body big two
    far_is INBOX '1' '2' '3'
}

# A program ./deliver-one that keeps each message in got/; got_all NAME...: these are there, and no more.
deliver_one() {
    mkdir -p got
    cat > deliver-one <<D
#!/bin/sh
f=\$(mktemp $T/got/XXXXXX) && cat > "\$f"
D
    chmod +x deliver-one
}
got_all() {
    local f
    [[ $(find got -type f | wc -l) == "$#" ]]
    for f in "$@"; do same_body "$f" "$(grep -lE "^Subject: (=\?utf-8\?Q\?gr=C3=BC=C3=9Fe\?= )?$f" got/*)"; done
}

fetchmail_rc() { # PROTOCOL PORT "OPTION OF THE SERVER..." OPTION OF THE USER...
    local proto=$1 port=$2 more=$3
    shift 3
    deliver_one
    # shellcheck disable=SC2145 # words of one line
    printf 'poll localhost protocol %s port %s %s user "ann@a.test" password "secret" sslcertck sslcertfile "%s" mda "%s" %s\n' \
        "$proto" "$port" "$more" "$T/localhost.pem" "$T/deliver-one" "$*" > rc
    chmod 600 rc
}
fetch_mail() { timeout 60 fetchmail -f rc --nosyslog -v "$@" >> fetchmail.log 2>&1; }

@test "fetchmail by POP3: keep with UIDL over STLS, then all of it away over implicit TLS" {
    need fetchmail
    fetchmail_rc pop3 "$POP" uidl keep sslproto '"TLS1.2+"'
    fetch_mail
    login_was pop3
    got_all hard big letter short
    local status=0
    fetch_mail || status=$?
    [[ $status == 1 ]] # nothing new
    "$POSTBAG" deliver -C a.conf ann < short
    rm -r got
    fetchmail_rc pop3 "$POP" uidl keep sslproto '"TLS1.2+"'
    fetch_mail
    got_all short
    rm -r got .fetchids 2> /dev/null || true
    fetchmail_rc pop3 "$POPS" uidl ssl fetchall no keep
    fetch_mail
    [[ $(find got -type f | wc -l) == 5 && $(count_mail a ann) == 0 ]]
}

@test "fetchmail by IMAP: keep, delete, and IDLE brings what arrives" {
    need fetchmail
    fetchmail_rc imap "$IMAP" "" keep sslproto '"TLS1.2+"'
    fetch_mail
    login_was imap
    got_all hard big letter short
    far_is INBOX '1 \Seen' '2 \Seen' '3 \Seen' '4 \Seen'
    rm -r got
    fetchmail_rc imap "$IMAPS" "" ssl no keep idle
    start fetchmail timeout 60 fetchmail -f rc --nosyslog -v
    wait_for 20 grep -q 'IDLE' fetchmail.out
    "$POSTBAG" deliver -C a.conf ann < short
    wait_for 20 grep -rq '^Subject: short' got
    wait_for 20 far_is INBOX '1 \Seen' '2 \Seen' '3 \Seen' '4 \Seen'
    got_all short
}

nail() { # URL, commands on standard input
    printf 'set v15-compat tls-ca-no-defaults tls-ca-file=%s tls-verify=strict imap-use-starttls pop3-use-starttls imap-delim=/ folder=%s\n' "$T/localhost.pem" "${1%%INBOX}" > nailrc
    MAILRC=$T/nailrc timeout 60 s-nail -:u -# -f "$1" >> client.log 2>&1
}

@test "s-nail by IMAP: reads, flags, copies, and deletes" {
    need s-nail
    nail "imap://ann%40a.test:secret@localhost:$IMAP/INBOX" <<'K'
headers
Show 1
flag 1
copy 2 +Kept
delete 4
quit
K
    login_was imap
    grep -q 'last line before dots' client.log
    far_is INBOX '1 \Flagged \Seen' '2 \Seen' '3'
    # It adds a Status field, and an empty line at the end.
    far_body Kept 1 | sed '$d' > two
    same_body big two
}

@test "s-nail by POP3: reads over STLS and implicit TLS, deletes" {
    need s-nail
    nail "pop3s://ann%40a.test:secret@localhost:$POPS" <<'K'
headers
copy 1 one
Show 3
delete 4
quit
K
    login_was pop3s
    sed '1d; s/^>From /From /; $d' one > body
    same_body hard body
    far_is INBOX '1' '2' '3'
    nail "pop3://ann%40a.test:secret@localhost:$POP" <<'K'
Show 2
delete 1
quit
K
    login_was pop3
    [[ $(count_mail a ann) == 2 ]]
}

getmail_rc() { # RETRIEVER PORT READ-ALL DELETE [LINE...]
    mkdir -p got state
    deliver_one
    printf '[retriever]\ntype=%s\nserver=localhost\nport=%s\nusername=ann@a.test\npassword=secret\nca_certs=%s\n' "$1" "$2" "$T/localhost.pem" > rc
    printf '%s\n' "${@:5}" >> rc
    printf '[destination]\ntype=MDA_external\npath=%s/deliver-one\nallow_root_commands=true\nunixfrom=false\n[options]\nread_all=%s\ndelete=%s\ndelivered_to=false\nreceived=false\nverbose=2\n' "$T" "$3" "$4" >> rc
    timeout 60 getmail -g "$T/state" -r "$T/rc" >> client.log 2>&1
}

@test "getmail by POP3: what was read is known by its UIDL" {
    need getmail
    getmail_rc SimplePOP3SSLRetriever "$POPS" false false
    login_was pop3s
    got_all hard big letter short
    rm got/*
    "$POSTBAG" deliver -C a.conf ann < short
    getmail_rc SimplePOP3SSLRetriever "$POPS" false true
    got_all short
}

@test "getmail by IMAP: what was read is known by its UID" {
    need getmail
    getmail_rc SimpleIMAPSSLRetriever "$IMAPS" false false 'mailboxes=("INBOX",)'
    login_was imaps
    got_all hard big letter short
    rm got/*
    "$POSTBAG" deliver -C a.conf ann < short
    getmail_rc SimpleIMAPSSLRetriever "$IMAPS" false true 'mailboxes=("INBOX",)'
    got_all short
    [[ $(count_mail a ann) == 0 ]]
}

@test "OfflineIMAP: mirrors, and takes flags, new and deleted mail both ways" {
    need offlineimap
    cat > rc <<R
[general]
accounts = a
metadata = $T/meta
ui = basic
[Account a]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = $T/md
[Repository far]
type = IMAP
remotehost = localhost
remoteport = $IMAPS
remoteuser = ann@a.test
remotepass = secret
ssl = yes
sslcacertfile = $T/localhost.pem
R
    sync() { timeout 90 offlineimap -o -c rc >> client.log 2>&1; }
    sync
    login_was imaps
    maildir_has md/INBOX
    local one
    one=$(grep -rl '^Subject: hard' md/INBOX)
    mv "$one" "md/INBOX/cur/$(basename "${one%,*}"),FS"
    rm "$(grep -rl '^Subject: big' md/INBOX)"
    sed 's/letter$/second/' letter > md/INBOX/new/1.new.local:2,
    sync
    far_is INBOX '1 \Flagged \Seen' '2' '3' '4'
    far_body INBOX 4 | grep -q '^Subject: .* second'
    "$POSTBAG" deliver -C a.conf ann < short
    python3 - "$IMAPS" "$ROOT" <<'PY'
import sys
sys.path.insert(0, sys.argv[2] + "/tests/bats")
from imapline import *
c = Line(sys.argv[1], "ann", "secret", tls=True)
c("SELECT INBOX"); c("STORE 1 -FLAGS (\\Flagged)"); c("STORE 3 +FLAGS (\\Deleted)"); c("EXPUNGE")
PY
    sync
    [[ $(find md/INBOX -type f | wc -l) == 4 && $(find md/INBOX -name '*,S' | wc -l) == 1 ]]
    [[ $(grep -rl '^Subject: short' md/INBOX | wc -l) == 1 ]]
}

@test "mpop by POP3: STLS and SCRAM, keep; a second session fetches what is new" {
    need mpop
    mkdir -p md/{cur,new,tmp}
    printf 'account default\nhost localhost\nport %s\nuser ann@a.test\npassword secret\nauth scram-sha-256\ntls on\ntls_starttls on\ntls_trust_file %s\ndelivery maildir %s\nkeep on\nuidls_file %s/uidls\nreceived_header off\n' \
        "$POP" "$T/localhost.pem" "$T/md" "$T" > rc
    chmod 600 rc
    mpop -C rc >> client.log 2>&1
    login_was pop3 SCRAM-SHA-256
    maildir_has md
    rm md/new/*
    "$POSTBAG" deliver -C a.conf ann < short
    mpop -C rc >> client.log 2>&1
    [[ $(find md/new -type f | wc -l) == 1 ]]
    same_body short md/new/*
    far_is INBOX '1' '2' '3' '4' '5'
}

@test "mbsync: both ways by SCRAM over STARTTLS; UIDs are the same in each session" {
    need mbsync
    mkdir md
    cat > rc <<R
IMAPAccount a
Host localhost
Port $IMAP
User ann@a.test
Pass secret
SSLType STARTTLS
AuthMechs SCRAM-SHA-256
CertificateFile $T/localhost.pem

IMAPStore far
Account a

MaildirStore near
Path $T/md/
Inbox $T/md/INBOX
SubFolders Verbatim

Channel c
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
R
    mbsync -c rc c >> client.log 2>&1
    login_was imap SCRAM-SHA-256
    maildir_has md/INBOX
    mkdir -p md/Neu/{cur,new,tmp}
    cp letter md/Neu/new/1.x.y
    local one
    one=$(grep -rl '^Subject: hard' md/INBOX/new md/INBOX/cur)
    mv "$one" "md/INBOX/cur/$(basename "${one%:*}"):2,FT"
    one=$(grep -rl '^Subject: big' md/INBOX/new md/INBOX/cur)
    mv "$one" "md/INBOX/cur/$(basename "${one%:*}"):2,RS"
    mbsync -c rc c >> client.log 2>&1
    far_is INBOX '1 \Answered \Seen' '2' '3'
    far_body Neu 1 > back
    same_body letter back
    cp -r md before
    mbsync -c rc c >> client.log 2>&1
    diff -r before md
}

@test "the UIDs and UIDVALIDITY that a client has kept hold in every session, also after a restart" {
    ids() {
        python3 - "$IMAP" "$T/localhost.pem" <<'PY'
import imaplib, ssl, sys
M = imaplib.IMAP4("localhost", int(sys.argv[1]))
M.starttls(ssl.create_default_context(cafile=sys.argv[2]))
M.login("ann@a.test", "secret")
M.select("INBOX", readonly=True)
print(M.response("UIDVALIDITY"), M.response("UIDNEXT"), M.uid("SEARCH", "ALL"), M.uid("FETCH", "1:*", "(RFC822.SIZE EMAILID)"))
M.logout()
PY
    }
    ids > before
    ids > again
    cmp before again
    stop "$SERVE"
    rm -f "$(maildir a ann)"/../*.sqlite "$(maildir a ann)"/postbag*.index*
    serve a
    ids > again
    diff before again >> log
}

@test "interimap: two accounts are as one, by QRESYNC, COMPRESS and NOTIFY, whichever side changes" {
    need interimap
    local side
    echo secret | "$POSTBAG" account add -C a.conf --scheme=scram-sha-256 bob >> log
    mkdir -m 700 -p data/interimap
    {
        echo "database = sync.db"
        for side in local/ann remote/bob; do
            printf '[%s]\ntype = imaps\nhost = localhost\nport = %s\nusername = %s\npassword = secret\nSSL_CAfile = %s\n' \
                "${side%/*}" "$IMAPS" "${side#*/}@a.test" "$T/localhost.pem"
        done
    } > inter.conf
    export XDG_DATA_HOME=$T/data
    inter() { timeout 60 interimap --config="$T/inter.conf" < /dev/null >> client.log 2>&1; }
    cat > both.py <<'PY'
import hashlib, re, sys, time
sys.path.insert(0, sys.argv[2] + "/tests/bats")
from imapline import *
def state(user):
    c, out = Line(sys.argv[1], user, "secret", tls=True), []
    for box in ("INBOX", "Archive"):
        c("EXAMINE " + box)
        c("UID FETCH 1:* (FLAGS BODY.PEEK[])")
        out.append(sorted((sorted(set(re.search(r"FLAGS \((.*?)\)", t)[1].split()) - {"\\Recent"}),
                           hashlib.sha256(t.split("}\r\n", 1)[1].encode("utf-8", "surrogateescape")).hexdigest())
                          for t in c.told("FETCH")))
    return out
if sys.argv[3] == "same": # soon: so many in INBOX, so many in Archive, flags and octets alike
    want, end = [int(n) for n in sys.argv[4:]], time.monotonic() + 20
    while True:
        ann, bob = state("ann"), state("bob")
        if ann == bob and [len(v) for v in ann] == want:
            sys.exit()
        if time.monotonic() > end:
            sys.exit("ann %s\nbob %s" % (ann, bob))
        time.sleep(0.1)
c = Line(sys.argv[1], sys.argv[3], "secret", tls=True)
c("SELECT INBOX")
for line in sys.argv[4:]:
    c(line)
PY
    same() { python3 both.py "$IMAPS" "$ROOT" same "$@" 2>> log; }
    as() { python3 both.py "$IMAPS" "$ROOT" "$@"; }
    inter
    same 4 0
    as ann 'UID STORE 1 +FLAGS (\Flagged Tag)' 'UID MOVE 3 Archive'
    as bob 'UID STORE 2 +FLAGS (\Deleted)' 'UID EXPUNGE 2' 'UID STORE 4 +FLAGS (\Answered)' 'UID COPY 4 Archive'
    inter
    same 2 2
    grep -q 'compr\.' client.log
    # It stays, and is told of what happens in any mailbox.
    start inter interimap --config="$T/inter.conf" --notify
    "$POSTBAG" deliver -C a.conf bob < short
    same 3 2
    as ann 'UID MOVE 1:* Archive'
    same 0 5
    as bob 'SELECT Archive' 'UID STORE 1:* +FLAGS.SILENT (\Seen)'
    as ann 'SELECT Archive' 'UID STORE 1:* +FLAGS.SILENT (\Draft)'
    same 0 5
}
