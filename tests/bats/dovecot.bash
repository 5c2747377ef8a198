# dovecot: a real POP3 and IMAP server on loopback ports, for the tests of the clients. Works as
# root (mail belongs to nobody) and as anybody else. `load dovecot` after `load helper`.
#
#   dovecot_start [LINE...]   users u1, u2, ... with the password pw; ports in $POP3 $POP3S $IMAP $IMAPS;
#                             mail in $DOVE/mail/USER/Maildir; LINEs go into the configuration
#   dovecot_mail USER N       put N different messages there, before the first login of that user
#   dovecot_end               call it from story_teardown

dovecot_start() {
    local me uid gid
    need dovecot doveconf openssl
    DOVE=$(mktemp -d /tmp/postbag-dovecot.XXXXXX)
    chmod 755 "$DOVE"
    mkdir "$DOVE/mail" "$DOVE/run"
    free_port POP3 POP3S IMAP IMAPS
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj /CN=localhost \
        -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' -keyout "$DOVE/key.pem" \
        -out "$DOVE/cert.pem" 2> /dev/null
    me=$(id -un)
    if [[ $(id -u) == 0 ]]; then
        uid=$(id -u nobody) gid=$(id -g nobody)
        chown nobody: "$DOVE/mail"
    else
        uid=$(id -u) gid=$(id -g)
        set -- "$@" "default_login_user = $me" "default_internal_user = $me" \
            "default_internal_group = $(id -gn)" "service anvil {
  chroot =
}" "service pop3-login {
  chroot =
}" "service imap-login {
  chroot =
}"
    fi
    cat > "$DOVE/dovecot.conf" <<EOF
protocols = imap pop3
listen = 127.0.0.1
base_dir = $DOVE/run
state_dir = $DOVE/run
ssl = yes
ssl_cert = <$DOVE/cert.pem
ssl_key = <$DOVE/key.pem
disable_plaintext_auth = no
log_path = $DOVE/log
auth_username_format = %n
mail_location = maildir:~/Maildir
first_valid_uid = 1
passdb {
  driver = static
  args = password=pw
}
userdb {
  driver = static
  args = uid=$uid gid=$gid home=$DOVE/mail/%n allow_all_users=yes
}
namespace inbox {
  inbox = yes
}
service imap-login {
  inet_listener imap {
    port = $IMAP
  }
  inet_listener imaps {
    port = $IMAPS
  }
}
service pop3-login {
  inet_listener pop3 {
    port = $POP3
  }
  inet_listener pop3s {
    port = $POP3S
  }
}
EOF
    printf '%s\n' "$@" >> "$DOVE/dovecot.conf"
    start dovecot dovecot -F -c "$DOVE/dovecot.conf"
    wait_port "$POP3"
    wait_port "$IMAP"
}

dovecot_mail() {
    local box=$DOVE/mail/$1/Maildir i
    mkdir -p "$box"/{cur,new,tmp}
    python3 - "$box/new" "$2" <<'PY'
import random, sys
random.seed(7)
for i in range(int(sys.argv[2])):
    lines = ["", ".", "..", "From here", "Grüße", "x" * 900, "plain text"]
    body = "\n".join(random.choice(lines) for _ in range(random.randint(0, 60)))
    with open(f"{sys.argv[1]}/{1700000000 + i}.M{i}.test", "w") as f:
        f.write(f"From: ann@a.test\nDate: Mon, 23 Nov 2026 01:{i // 60 % 60:02d}:{i % 60:02d} +0000\n"
                f"Message-ID: <{i}@a.test>\nSubject: {i}\n\n{body}\n")
PY
    [[ $(id -u) != 0 ]] || chown -R nobody: "$DOVE/mail/$1"
}

dovecot_end() {
    [[ -n ${DOVE:-} ]] || return 0
    [[ -n ${BATS_TEST_COMPLETED:-} || ! -e $DOVE/log ]] || tail -20 "$DOVE/log"
    # The server still runs: it is ended by its process id after this.
    mv "$DOVE" "$T/dovecot" 2> /dev/null || rm -rf "$DOVE"
}

# The SHA-256 of every message in a Maildir, sorted: what must be equal on both sides.
sums() { find "$1" -type f '(' -path '*/new/*' -o -path '*/cur/*' ')' -print0 | xargs -0r sha256sum | cut -d' ' -f1 | sort; }
