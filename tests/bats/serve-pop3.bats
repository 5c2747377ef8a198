load helper

# POP3 of `serve`, spoken by Python's poplib and through a pipe.
story_setup() {
    site b
    user b jo pw
    for i in 1 2 3; do printf 'Subject: %s\n\n.dot\nline %s\n' "$i" "$i" | "$POSTBAG" deliver -C b.conf jo; done
}
pop() { python3 - "$@" > py.out 2>&1 || { cat py.out >> log; return 1; }; }

@test "serve --stdio pop3 USER is logged in at once; USER and PASS do no harm" {
    printf 'STAT\r\nUSER jo\r\nPASS any\r\nDELE 2\r\nQUIT\r\n' | run_postbag 0 serve -C b.conf --stdio pop3 jo
    [[ $(head -1 out) == "+OK "*"logged in"* && $(sed -n 2p out) == "+OK 3 "* ]]
    [[ $(tail -1 out) == "+OK"* && $(count_mail b jo) == 2 ]]
    printf 'STAT\r\n' | run_postbag 0 serve -C b.conf --stdio pop3 nobody
    [[ $(cat out) == "-ERR [SYS/PERM]"* ]]
}

@test "without a user the pipe asks for the password" {
    printf 'STAT\r\nUSER jo\r\nPASS no\r\nUSER jo\r\nPASS pw\r\nSTAT\r\nQUIT\r\n' |
        run_postbag 0 serve -C b.conf --stdio pop3
    [[ $(sed -n 2p out) == "-ERR"* ]]
    out_has "-ERR [AUTH]"
    out_has "+OK 3 messages"
}

@test "the maildrop is held by one session; a dropped one deletes nothing; UIDLs stay" {
    free_port P
    printf 'listen pop3 127.0.0.1:%s\n' "$P" >> b.conf
    serve b
    pop "$P" <<'PY'
import poplib, sys, time
def login(pw="pw"):
    p = poplib.POP3("127.0.0.1", int(sys.argv[1])); p.user("jo"); p.pass_(pw); return p
a = login()
ids = a.uidl()[1]
assert len(ids) == 3 and len(set(x.split()[1] for x in ids)) == 3, ids
try: login(); assert False
except poplib.error_proto as e: assert b"IN-USE" in e.args[0], e
lines = a.retr(1)[1]
assert b".dot" in lines and sum(len(x) + 2 for x in lines) == int(a.list(1).split()[2])
assert a.top(1, 1)[1][-1] == b".dot"
a.dele(1); a.dele(3); a.close()
for i in range(50):
    try: b = login(); break
    except poplib.error_proto: time.sleep(.1)
assert b.uidl()[1] == ids
b.dele(1); b.rset(); b.dele(3); b.quit()
c = login()
assert c.uidl()[1] == ids[:2], (c.uidl()[1], ids)
c.quit()
try: login("no"); assert False
except poplib.error_proto as e: assert b"[AUTH]" in e.args[0], e
PY
    [[ $(count_mail b jo) == 2 ]]
}

@test "a message deleted by somebody else meanwhile is an error for that message only" {
    free_port P
    printf 'listen pop3 127.0.0.1:%s\n' "$P" >> b.conf
    serve b
    pop "$P" "$(maildir b jo)" <<'PY'
import poplib, sys, glob, os
p = poplib.POP3("127.0.0.1", int(sys.argv[1])); p.user("jo"); p.pass_("pw")
p.retr(1)
for f in glob.glob(sys.argv[2] + "/*/*"):
    if b"Subject: 2\n" in open(f, "rb").read(): os.unlink(f)
try: p.retr(2); assert False
except poplib.error_proto as e: assert e.args[0].startswith(b"-ERR"), e
assert p.stat()[0] == 3
p.retr(3); p.dele(2); p.dele(3)
assert p.quit().startswith(b"+OK")
PY
    [[ $(count_mail b jo) == 1 ]]
}

@test "no password without TLS, unless plaintext-auth; STLS and pop3s work" {
    free_port P S
    sed -i '/plaintext-auth/d' b.conf
    printf 'listen pop3 127.0.0.1:%s\nlisten pop3s 127.0.0.1:%s\n' "$P" "$S" >> b.conf
    serve b
    pop "$P" "$S" <<'PY'
import poplib, ssl, sys
c = ssl.create_default_context(); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE
p = poplib.POP3("127.0.0.1", int(sys.argv[1]))
caps = p.capa()
assert "STLS" in caps and "USER" not in caps and "SASL" not in caps, caps
try: p.user("jo"); assert False
except poplib.error_proto: pass
p.stls(context=c)
assert "STLS" not in p.capa() and "SASL" in p.capa()
p.user("jo"); p.pass_("pw"); assert p.stat()[0] == 3; p.quit()
p = poplib.POP3_SSL("127.0.0.1", int(sys.argv[2]), context=c)
p.user("jo"); p.pass_("pw"); assert p.stat()[0] == 3; p.quit()
PY
}

@test "pop3-login-delay: a second login has to wait, and one that failed does not count" {
    free_port P
    printf 'listen pop3 127.0.0.1:%s\npop3-login-delay 1h\n' "$P" >> b.conf
    serve b
    pop "$P" "$(maildir b jo)" <<'PY'
import os, poplib, sys, time
def login(pw="pw"):
    p = poplib.POP3("127.0.0.1", int(sys.argv[1])); p.user("jo"); p.pass_(pw); return p
def refused(code, pw="pw"):
    try: login(pw); assert False
    except poplib.error_proto as e: assert code in e.args[0], e
refused(b"[AUTH]", "no")
a = login()
caps = a.capa()
assert caps["LOGIN-DELAY"] == ["3600"] and caps["EXPIRE"] == ["NEVER"], caps
refused(b"[IN-USE]")
a.quit()
refused(b"[LOGIN-DELAY]")
lock = sys.argv[2] + "/postbag-pop3.lock"
past = time.time() - 3601
os.utime(lock, (past, past))
login().quit()
refused(b"[LOGIN-DELAY]")
os.utime(lock, (time.time() + 9999,) * 2)
login().quit()
PY
}

@test "UTF-8: a name and a password outside ASCII log in; a UTF-8 header comes as it is; LANG" {
    free_port P
    user b jürg grün
    printf 'Subject: grüße\n\nx\n' | "$POSTBAG" deliver -C b.conf jürg
    printf 'listen pop3 127.0.0.1:%s\n' "$P" >> b.conf
    serve b
    pop "$P" <<'PY'
import poplib, sys
p = poplib.POP3("127.0.0.1", int(sys.argv[1])); p.encoding = "UTF-8"
caps = p.capa()
assert caps["UTF8"] == ["USER"] and "LANG" in caps, caps
p.utf8()
assert p._longcmd("LANG")[1] == [b"en English", b"i-default English"]
p.user("jürg"); p.pass_("grün")
lines = p.retr(1)[1]
assert "Subject: grüße".encode() in lines, lines
assert p.list(1).split()[2] == str(sum(len(x) + 2 for x in lines)).encode()
p.quit()
PY
}
