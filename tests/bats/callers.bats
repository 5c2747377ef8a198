load helper

# Every known caller of /usr/sbin/sendmail on Debian, with the arguments and the input that it was seen to
# use. tests/peers/callers.bats runs the programs themselves.
story_setup() {
    site a
    user a ann
    mkdir bin
    "$POSTBAG" --install bin > /dev/null
}
sm() { local want=$1; shift; run_postbag "$want" sendmail -C a.conf "$@"; }
last_id() { "$POSTBAG" queue-run -C a.conf --list --json | tail -1 | cut -d'"' -f6; }
sent() { "$POSTBAG" queue-run -C a.conf --show "$(last_id)"; }
# The envelope of the newest message: sender, then recipients.
envelope() {
    "$POSTBAG" queue-run -C a.conf --list --json | tail -1 | python3 -c '
import json, sys
d = json.load(sys.stdin)
print(d["from"], *[r["address"] for r in d["recipients"]])'
}
ME=$(id -un)

@test "cron: a comma list in one argument, -F and -B glued" {
    sm 0 -FCronDaemon -i -B8BITMIME -oem root,ops@x.test < <(printf 'From: root (Cron Daemon)\nTo: root\nSubject: Cron\n\n.\nü\n')
    [[ $(envelope) == "$ME@a.test root@a.test ops@x.test" ]]
    sent | grep -q 'ü'
}

@test "at: no From, no Date: they are made" {
    sm 0 -i root < <(printf 'Subject: Output\nTo: root\n\nhi\n')
    sent > m
    grep -q "^From: .*<$ME@a.test>" m
    grep -qE '^Date: [A-Z][a-z]{2}, ' m
    grep -qE '^Message-ID: <.*@mail.a.test>' m
}

@test "anacron: -odi and a full name" {
    sm 0 -FAnacron -odi root < <(printf 'Subject: x\n\nhi\n')
    sent | grep -q "^From: Anacron <$ME@a.test>"
}

@test "sudo and mdadm: -t alone, and a lone dot ends the message" {
    sm 0 -t < <(printf 'To: root\nSubject: x\n\none\n.\ntwo\n')
    sent > m
    grep -q one m
    ! grep -q two m
}

@test "php: CRLF in the header, LF in the body, glued -f, Bcc in the header" {
    sm 0 -t -i -fbounce@x.test < <(printf 'To: bob@b.test\r\nSubject: x\r\nBcc: hidden@c.test\r\n\r\nline one\nline two\r\n.\nline four')
    [[ $(envelope) == "bounce@x.test bob@b.test hidden@c.test" ]]
    sent > m
    ! grep -qi '^bcc\|hidden' m
    grep -q 'line four' m
    # Each line ends with CRLF, none with more or less.
    python3 -c 'd = open("m", "rb").read(); t = d.replace(b"\r\n", b""); assert b"\r" not in t and b"\n" not in t'
}

@test "bsd-mailx: addresses behind -- beside -t are added" {
    sm 0 -i -t -f me@x.test < <(message bob@b.test)
    [[ $(envelope) == "me@x.test bob@b.test" ]]
    sm 0 -i -t -- other@x.test < <(message bob@b.test)
    [[ $(envelope) == "$ME@a.test other@x.test bob@b.test" ]]
}

@test "s-nail and Email::Sender: -i -f ADDRESS -- RECIPIENT" {
    sm 0 -i -f me@x.test -- one@b.test two@b.test < <(message undisclosed:\;)
    [[ $(envelope) == "me@x.test one@b.test two@b.test" ]]
}

@test "mutt: -oem -oi -f -N -R -B" {
    sm 0 -oem -oi -f me@x.test -N failure,delay -R hdrs -B 8BITMIME -- bob@b.test < <(message bob@b.test s 'grüße')
    [[ $(envelope) == "me@x.test bob@b.test" ]]
}

@test "git send-email: -f ADDRESS -i RECIPIENT" {
    sm 0 -f me@x.test -i bob@b.test eve@b.test < <(message bob@b.test)
    [[ $(envelope) == "me@x.test bob@b.test eve@b.test" ]]
}

@test "MIME::Lite: -t -oi -oem -fme@x.test, by the name of a link" {
    bin/sendmail -C a.conf -t -oi -oem -fme@x.test < <(message bob@b.test)
    [[ $(envelope) == "me@x.test bob@b.test" ]]
}

@test "Symfony: -bs, a dialogue with HELO and no login" {
    python3 - "$POSTBAG" > answers <<'PY'
import subprocess, sys
p = subprocess.Popen([sys.argv[1], "sendmail", "-C", "a.conf", "-bs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
def say(line, want):
    if line is not None:
        p.stdin.write(line.encode() + b"\r\n"); p.stdin.flush()
    while True:
        got = p.stdout.readline().decode()
        print(got, end="")
        if got[3:4] != "-": break
    assert got.startswith(want), (line, got)
say(None, "220")
say("HELO [127.0.0.1]", "250")
say("MAIL FROM:<me@x.test>", "250")
say("RCPT TO:<bob@b.test>", "250")
say("DATA", "354")
say("Subject: x\r\n\r\nhi\r\n..dot\r\n.", "250")
say("QUIT", "221")
assert p.wait(10) == 0
PY
    [[ $(envelope) == "me@x.test bob@b.test" ]]
    sent | grep -q '^\.dot'
}

@test "Request Tracker: long -O options are swallowed; a bounce has -f <>" {
    sm 0 -oi -ODeliveryMode=b -OErrorMode=m -f '<>' bob@b.test < <(message bob@b.test)
    [[ $(envelope) == " bob@b.test" ]]
    sm 0 -f '' bob@b.test < <(message bob@b.test)
    [[ $(envelope) == " bob@b.test" ]]
}

@test "-f with a name and angle brackets" {
    sm 0 -f 'Me Myself <me@x.test>' bob@b.test < <(message bob@b.test)
    [[ $(envelope) == "me@x.test bob@b.test" ]]
}

@test "systemd-cron: -i -B8BITMIME USER" {
    sm 0 -i -B8BITMIME root < <(printf 'From: root\nTo: root\nSubject: [unit] failed\n\nlog\n')
    [[ $(envelope) == "$ME@a.test root@a.test" ]]
}

@test "Perl MailTools: -t; apt-listchanges and cron-apt: -oi -t and -t -oi" {
    local flags
    for flags in -t '-oi -t' '-t -oi'; do
        sm 0 $flags < <(message bob@b.test)
        [[ $(envelope) == "$ME@a.test bob@b.test" ]]
    done
    sent | grep -q '^the body'
}

@test "popularity-contest: -oi -f FROM TO; fail2ban: -f FROM TO without -i" {
    sm 0 -oi -f me@x.test survey@b.test < <(message survey@b.test x $'one\n.\ntwo')
    sent | grep -q '^two'
    sm 0 -f 'fail2ban@x.test' 'root@b.test' < <(message root@b.test x $'one\n.\ntwo')
    [[ $(envelope) == "fail2ban@x.test root@b.test" ]]
    ! sent | grep -q '^two'
}

@test "smartd: an address alone, fields in the input" {
    sm 0 root@b.test < <(printf 'Subject: SMART error\nTo: root@b.test\n\nThe disk\n')
    [[ $(envelope) == "$ME@a.test root@b.test" ]]
}

@test "nodemailer: -i -f FROM RECIPIENT..., CRLF lines" {
    sm 0 -i -f me@x.test one@b.test two@b.test < <(message x | sed 's/$/\r/')
    [[ $(envelope) == "me@x.test one@b.test two@b.test" ]]
    sent > m
    python3 -c 'd = open("m", "rb").read(); assert b"\r\r" not in d'
}

@test "Symfony with -t -i: glued -f, recipients and hidden ones behind --" {
    sm 0 -i -fme@x.test -- bob@b.test dark@b.test < <(message bob@b.test)
    [[ $(envelope) == "me@x.test bob@b.test dark@b.test" ]]
}

# --- letters ------------------------------------------------------------------------------------------

@test "the historic letters of LSB and sendmail(8) are taken; -oee is always 0" {
    local flags
    for flags in -bm -oi -odb -odf -odi -odq -oem -oep -oew -oeq -om -oo -o7 -o8 -oA/etc/aliases -v -m -U -G -n \
        '-h 3' '-p smtp' '-L tag' '-X /dev/null' '-D /dev/null' -d0.1 -d -Ac -Am '-B 7BIT' -B8BITMIME '-V id' -Vid '-N never' \
        '-N success,failure,delay' '-R full' '-R hdrs' '-OQueueDirectory=/x' '-O Timeout=1' '-F Name' -FName; do
        echo "flags: $flags" >> log
        sm 0 $flags -f me@x.test bob@b.test < <(message x)
    done
    sm 0 -oee < <(message x)
    sm 64 -oep < <(message x)
    for flags in -bt -bh -bH -bx -Z -bP; do sm 64 $flags bob@b.test < /dev/null; done
}

@test "an argument behind -- that looks like an option and has an @ is an address" {
    sm 0 -- -d@x.test < <(message x)
    [[ $(envelope) == "$ME@a.test -d@x.test" ]]
}
