#!/bin/sh
# Install the Debian packages that building (build), the demonstration (demo) or all tests (test) need, when
# they are missing. Services that come with them are not started.
set -eu
what=${1:-test}
build='gcc make pkg-config libc6-dev libcrypt-dev libgnutls28-dev libcurl4-gnutls-dev libldns-dev libunbound-dev libsqlite3-dev libidn2-dev zlib1g-dev'
demo="$build nsd ca-certificates"
test="$demo clang libclang-rt-14-dev libcmocka-dev bats parallel valgrind mandoc shellcheck clang-format
      postfix swaks msmtp libnet-ssleay-perl libio-socket-ssl-perl curl mpop gsasl isync python3 dovecot-imapd dovecot-pop3d
      unbound dns-root-data ldnsutils zsh fish mutt neomutt fetchmail getmail6 offlineimap3 interimap libsasl2-modules openssl procps
      php-cli s-nail bsd-mailx git-email libmime-lite-perl libemail-sender-perl ruby-mail anacron cron at sudo logwatch
      monitoring-plugins-standard bsdutils faketime"
case $what in build) list=$build ;; demo) list=$demo ;; test) list=$test ;; *) echo "deps.sh: build, demo or test?" >&2; exit 64 ;; esac

missing=
for p in $list; do
    [ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2>/dev/null || true)" = 'ii ' ] || missing="$missing $p"
done
# Node.js with npm, from wherever it is.
[ "$what" != test ] || command -v npm > /dev/null || missing="$missing nodejs npm"

# The packages of npm that tests run, as their lock file has them; without them those tests fail and say so.
node_packages() {
    from=$(dirname "$0")/peers/imapflow to=$(dirname "$0")/../build/imapflow
    cmp -s "$from/package-lock.json" "$to/installed" && return
    echo "installing: imapflow (npm)"
    mkdir -p "$to"
    cp "$from/package.json" "$from/package-lock.json" "$to/"
    if npm ci --prefix "$to" --ignore-scripts --no-audit --no-fund > "$to/log" 2>&1; then
        cp "$from/package-lock.json" "$to/installed"
    else
        tail -n 5 "$to/log" >&2
        echo "deps.sh: npm could not install imapflow" >&2
    fi
}

if [ -z "$missing" ]; then
    [ "$what" != test ] || node_packages
    exit 0
fi
echo "installing:$missing"
if [ "$(id -u)" != 0 ]; then
    echo "deps.sh: not root; run: apt-get install$missing" >&2
    exit 77
fi
# No daemon of a package may start because of a test: the policy layer of Debian says so for the moment.
policy=
if [ ! -e /usr/sbin/policy-rc.d ]; then
    policy=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi
trap '[ -z "$policy" ] || rm -f "$policy"' EXIT
log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # a list of words
if ! { apt-get update -q && apt-get install -y -q --no-install-recommends $missing; } > "$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "deps.sh: apt could not install what is missing" >&2
    exit 69
fi
rm -f "$log"
[ "$what" != test ] || node_packages
