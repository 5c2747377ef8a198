# The programs that call /usr/sbin/sendmail, run as they are in Debian. Each finds postbag by a setting
# of its own, or in a private mount namespace where /usr/sbin/sendmail is this wrapper.
load ../bats/helper

story_setup() {
    site a
    cat > sendmail <<SH
#!/bin/sh
{ printf 'sendmail'; for a; do printf ' [%s]' "\$a"; done; echo; } >> $T/argv
exec $POSTBAG sendmail -C $T/a.conf "\$@"
SH
    chmod 755 sendmail
    ME=$(id -un)
}
# What lies in the queue, newest last: sender, then recipients.
envelope() {
    "$POSTBAG" queue-run -C a.conf --list --json | tail -1 | python3 -c '
import json, sys
d = json.load(sys.stdin)
print(d["from"], *[r["address"] for r in d["recipients"]])'
}
sent() { "$POSTBAG" queue-run -C a.conf --show "$("$POSTBAG" queue-run -C a.conf --list --json | tail -1 | cut -d'"' -f6)" | tr -d '\r'; }
called_with() { cat argv >> log; grep -qF -- "$1" argv; }
has_mail_now() { "$POSTBAG" queue-run -C a.conf --list --json 2> /dev/null | grep -q '"v":1'; }

# in_place SETUP COMMAND...: as root, with the wrapper in the place of sendmail.
in_place() {
    [[ $(id -u) == 0 && -e /usr/sbin/sendmail ]] || skip "a mount namespace needs root"
    unshare -m true 2> /dev/null || skip "no mount namespace here"
    local setup=$1
    shift
    unshare -m sh -c "mount --bind $T/sendmail /usr/sbin/sendmail && $setup && exec \"\$@\"" sh "$@"
}

@test "PHP mail()" {
    need php
    php -n -d "sendmail_path=$T/sendmail -t -i" -r \
        'exit(mail("bob@b.test", "Grüße", "line one\n.\nline two\n", "Bcc: dark@b.test\r\nFrom: php@a.test", "-fbounce@x.test") ? 0 : 1);'
    [[ $(envelope) == "bounce@x.test bob@b.test dark@b.test" ]]
    sent > m
    grep -q 'line two' m
    ! grep -qi 'dark' m
}

@test "mutt, with a file, Bcc and a notification" {
    need mutt
    mkdir -p home/Mail
    head -c 3000 /dev/urandom > file.bin
    echo 'the text, grüße' | mutt -n -F /dev/null -e "set sendmail='$T/sendmail -oem -oi'" -e 'set dsn_notify="failure,delay"' \
        -e 'set use_envelope_from=yes from=me@x.test copy=no use_8bitmime=yes sendmail_wait=0' -s hello -a file.bin -b dark@b.test -- bob@b.test
    [[ $(envelope) == "me@x.test bob@b.test dark@b.test" ]]
    called_with '[-N] [failure,delay]'
    sent > m
    ! grep -qi dark m
    python3 - <<'PY'
import email, email.policy
m = email.message_from_binary_file(open("m", "rb"), policy=email.policy.default)
assert next(m.iter_attachments()).get_content() == open("file.bin", "rb").read()
PY
}

@test "s-nail" {
    need s-nail
    echo text | s-nail -:/ -S mta="$T/sendmail" -S from=me@x.test -r me@x.test -s hello -b dark@b.test bob@b.test
    [[ $(envelope) == "me@x.test bob@b.test dark@b.test" ]]
    called_with '[-i]'
}

@test "bsd-mailx" {
    need bsd-mailx
    echo "set sendmail=$T/sendmail" > rc
    echo text | MAILRC=$T/rc bsd-mailx -n -s hello -b dark@b.test bob@b.test
    called_with '[-i] [-t]'
    [[ $(envelope) == "$ME@a.test bob@b.test dark@b.test" ]]
    ! sent | grep -qi dark
}

@test "git send-email" {
    git send-email -h 2>&1 | grep -q -- --smtp-server || skip "git send-email is not installed"
    git init -q repo
    cd repo
    git config user.email me@x.test
    git config user.name Me
    echo one > f
    git add f
    git commit -qm 'first change'
    git send-email --quiet --smtp-server="$T/sendmail" --confirm=never --suppress-cc=all --envelope-sender=bounce@x.test \
        --from=me@x.test --to=bob@b.test --bcc=dark@b.test --root -1 >> "$T/log" 2>&1
    cd ..
    [[ $(envelope) == "bounce@x.test bob@b.test dark@b.test" ]]
    sent | grep -q '^Subject: \[PATCH\] first change'
}

@test "Perl MIME::Lite" {
    perl -MMIME::Lite -e1 2> /dev/null || skip "MIME::Lite is not installed"
    perl -MMIME::Lite -e 'MIME::Lite->send("sendmail", "$ARGV[0] -t -oi -oem -fme\@x.test");
        MIME::Lite->new(From => "me\@x.test", To => "bob\@b.test", Subject => "x", Data => "text\n.\nmore\n")->send or die' "$T/sendmail"
    [[ $(envelope) == "me@x.test bob@b.test" ]]
    sent | grep -q '^more'
}

@test "Perl Email::Sender" {
    perl -MEmail::Sender::Transport::Sendmail -e1 2> /dev/null || skip "Email::Sender is not installed"
    perl -MEmail::Sender::Simple=sendmail -MEmail::Sender::Transport::Sendmail -e '
        sendmail("From: me\@x.test\nTo: bob\@b.test\nSubject: x\n\ntext\n", {from => "me\@x.test", to => ["bob\@b.test", "eve\@b.test"],
            transport => Email::Sender::Transport::Sendmail->new({sendmail => $ARGV[0]})})' "$T/sendmail"
    [[ $(envelope) == "me@x.test bob@b.test eve@b.test" ]]
    called_with '[-i] [-f] [me@x.test] [--]'
}

@test "Ruby mail" {
    ruby -rmail -e1 2> /dev/null || skip "ruby-mail is not installed"
    ruby -rmail -e 'Mail.defaults { delivery_method :sendmail, location: ARGV[0] }
        Mail.deliver { from "me@x.test"; to "bob@b.test"; bcc "dark@b.test"; subject "x"; body "text" }' "$T/sendmail"
    [[ $(envelope) == "me@x.test bob@b.test dark@b.test" ]]
}

@test "Python's smtplib on a service, and a script that pipes into sendmail -t" {
    python3 - "$T/sendmail" <<'PY'
import subprocess, sys
from email.message import EmailMessage
m = EmailMessage()
m["From"], m["To"], m["Subject"] = "me@x.test", "Bob Ö <bob@b.test>", "x"
m.set_content("grüße " * 300)
subprocess.run([sys.argv[1], "-t", "-oi"], input=m.as_bytes(), check=True)
PY
    [[ $(envelope) == "$ME@a.test bob@b.test" ]]
}

@test "anacron mails the output of a job" {
    need anacron
    mkdir spool
    printf 'MAILTO=root\n1 0 job echo what it said\n' > tab
    in_place : anacron -d -n -f -q -t "$T/tab" -S "$T/spool" >> log 2>&1
    wait_for 10 has_mail_now
    called_with '[-FAnacron] [-odi] [root]'
    sent | grep -q '^what it said'
    [[ $(envelope) == "root@a.test root@a.test" ]]
}

@test "cron mails the output of a job, to two" {
    need cron
    mkdir cron run
    printf 'MAILTO=root,ops@x.test\n@reboot root echo what it said\n' > cron/job
    chmod 755 cron
    chmod 644 cron/job
    in_place "mount --bind $T/cron /etc/cron.d && mount -t tmpfs tmpfs /run" timeout 15 cron -f >> log 2>&1 3>&- &
    local cron=$!
    wait_for 12 has_mail_now
    kill "$cron" 2> /dev/null || true
    wait "$cron" || true
    called_with '[-FCronDaemon] [-i] [-B8BITMIME] [-oem] [root,ops@x.test]'
    sent > m
    grep -q '^what it said' m
    [[ $(envelope) == "root@a.test root@a.test ops@x.test" ]]
}

@test "sudo reports what was done" {
    need sudo
    printf 'Defaults mail_always\nroot ALL=(ALL) ALL\n' > sudoers
    chmod 440 sudoers
    in_place "mount --bind $T/sudoers /etc/sudoers" sudo -n true >> log 2>&1
    wait_for 5 has_mail_now
    called_with '[-t]'
    sent > m
    grep -q 'COMMAND=/' m
}

@test "logwatch sends its report" {
    need logwatch
    in_place : logwatch --range all --service zz-sys --output mail --mailto ops@x.test >> log 2>&1
    called_with '[-t]'
    [[ $(envelope) == *" ops@x.test" ]]
    sent | grep -qi logwatch
}

@test "at mails the output of a job" {
    need at atd
    [[ $(id -u) == 0 ]] || skip "atd needs root"
    cp -a /var/spool/cron spool
    rm -f spool/atjobs/[a-z]* spool/atspool/*
    in_place "mount --bind $T/spool /var/spool/cron && mount -t tmpfs tmpfs /run" \
        sh -c 'echo "echo what it said" | at now; timeout 6 atd -f -l 100 -b 1' >> log 2>&1 3>&- &
    wait_for 10 has_mail_now
    wait
    called_with '[-i] [root]'
    sent | grep -q '^what it said'
}
