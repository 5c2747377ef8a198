# bash completion of postbag; made from its tables by `make completions`
_postbag() {
    local cur=${COMP_WORDS[COMP_CWORD]} cmd=${COMP_WORDS[0]##*/} words
    [[ ${COMP_WORDS[COMP_CWORD-1]} == = ]] && { mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return; }
    if [[ $cmd == postbag ]]; then
        if (( COMP_CWORD == 1 )); then
            words="--list --install --version --help account addr config deliver imap-list mx-lookup pop3-fetch queue-run mailq sendmail newaliases serve smtp-probe"
            mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
            return
        fi
        cmd=${COMP_WORDS[1]}
    fi
    case $cmd in
    account) words=" --home= --json --data= --domain= --accounts= --config= --help" ;;
    addr) words=" --json --config= --help" ;;
    config) words=" --origin --json --hostname= --domain= --data= --user= --listen= --tls= --tls-ca= --relay= --relay-from= --relay-tls= --resolver= --dnssec= --trust-anchor= --accounts= --aliases= --drop-dir= --mx-port= --message-size-limit= --queue-lifetime= --retry= --plaintext-auth= --log= --config= --help" ;;
    deliver) words=" --from= --maildir= --mailbox= --data= --domain= --accounts= --aliases= --message-size-limit= --config= --help" ;;
    imap-list) words=" --search= --uid= --fetch= --save= --watch --caps --raw --password-file= --password-fd= --password-command= --plaintext --require-tls --insecure --timeout= --json --tls-ca= --resolver= --dnssec= --trust-anchor= --config= --help" ;;
    mx-lookup) words=" --with-relay --records --plugin --json --hostname= --data= --resolver= --dnssec= --trust-anchor= --tls-ca= --mta-sts= --destination= --relay= --relay-tls= --mx-port= --config= --help" ;;
    pop3-fetch) words=" --maildir= --mbox= --deliver= --command= --stdout --list --top= --keep --keep-days= --delete --limit= --max-size= --state= --password-file= --password-fd= --password-command= --plaintext --require-tls --insecure --timeout= --json --quiet --data= --hostname= --domain= --accounts= --aliases= --tls-ca= --resolver= --dnssec= --trust-anchor= --config= --help" ;;
    queue-run|mailq) words=" --all --jobs= --deadline= --daemon --interval= --list --show --explain --histogram --hold --release --drop --bounce --reroute= --sender= --recipient= --reason= --older= --younger= --held --dry-run --quiet --verbose --json --data= --hostname= --domain= --relay= --relay-tls= --tls-ca= --resolver= --dnssec= --trust-anchor= --accounts= --aliases= --drop-dir= --mx-port= --message-size-limit= --queue-lifetime= --retry= --plaintext-auth= --log= --config= --help" ;;
    sendmail|newaliases) words=" -t -i -f -r -F --attach= --html= --now --dry-run --report= --json -v -N -R -V -B --data= --hostname= --domain= --relay= --relay-tls= --tls-ca= --resolver= --dnssec= --trust-anchor= --accounts= --aliases= --drop-dir= --mx-port= --message-size-limit= --plaintext-auth= --log= --config= --help" ;;
    serve) words=" --local --stdio= --hold --jobs= --hostname= --domain= --data= --user= --listen= --tls= --tls-ca= --relay= --relay-from= --relay-tls= --resolver= --dnssec= --trust-anchor= --accounts= --aliases= --drop-dir= --mx-port= --message-size-limit= --queue-lifetime= --retry= --plaintext-auth= --log= --config= --help" ;;
    smtp-probe) words=" --host --port= --rcpt= --from= --tls= --starttls --implicit-tls --lmtp --user= --password-file= --ehlo= --timeout= --all --ipv4 --ipv6 --trace --plugin --json --hostname= --resolver= --dnssec= --trust-anchor= --mx-port= --tls-ca= --plaintext-auth= --config= --help" ;;
    *) return ;;
    esac
    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
        [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    fi
}
complete -F _postbag postbag account addr config deliver imap-list mx-lookup pop3-fetch queue-run mailq sendmail newaliases serve smtp-probe
