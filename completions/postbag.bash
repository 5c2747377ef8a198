# bash completion of postbag; made from its tables by `make completions`
_postbag() {
    local cur=${COMP_WORDS[COMP_CWORD]} cmd=${COMP_WORDS[0]##*/} words values= option=
    # the option whose value stands here: --name VALUE, or --name = VALUE
    option=${COMP_WORDS[COMP_CWORD-1]}
    [[ $option == = && COMP_CWORD -ge 2 ]] && option=${COMP_WORDS[COMP_CWORD-2]}
    [[ $cur == = ]] && cur=
    if [[ $cmd == postbag ]]; then
        if (( COMP_CWORD == 1 )); then
            words="--list --install --version --help account addr config deliver imap-list mx-lookup pop3-fetch queue-run mailq sendmail newaliases serve smtp-probe"
            mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
            return
        fi
        cmd=${COMP_WORDS[1]}
    fi
    case $cmd in
    account) words=" --home= --scheme= --json --data= --domain= --accounts= --config= --help" ;;
    addr) words=" --json --config= --help" ;;
    config) words=" --origin --json --hostname= --domain= --data= --user= --listen= --tls= --tls-ca= --relay= --relay-from= --relay-tls= --relay-auth= --relay-token-command= --resolver= --dnssec= --trust-anchor= --accounts= --aliases= --drop-dir= --mx-port= --message-size-limit= --queue-lifetime= --retry= --plaintext-auth= --log= --config= --help" ;;
    deliver) words=" --from= --maildir= --mailbox= --data= --domain= --accounts= --aliases= --message-size-limit= --config= --help" ;;
    imap-list) words=" --search= --uid= --fetch= --save= --watch --caps --raw --password-file= --password-fd= --password-command= --token --plaintext --require-tls --insecure --timeout= --json --tls-ca= --resolver= --dnssec= --trust-anchor= --config= --help" ;;
    mx-lookup) words=" --with-relay --records --plugin --json --hostname= --data= --resolver= --dnssec= --trust-anchor= --tls-ca= --mta-sts= --destination= --relay= --relay-tls= --mx-port= --config= --help" ;;
    pop3-fetch) words=" --maildir= --mbox= --deliver= --command= --stdout --list --top= --keep --keep-days= --delete --limit= --max-size= --state= --password-file= --password-fd= --password-command= --token --plaintext --require-tls --insecure --timeout= --json --quiet --data= --hostname= --domain= --accounts= --aliases= --tls-ca= --resolver= --dnssec= --trust-anchor= --config= --help" ;;
    queue-run|mailq) words=" --all --jobs= --deadline= --daemon --interval= --list --show --explain --histogram --hold --release --drop --bounce --reroute= --sender= --recipient= --reason= --older= --younger= --held --dry-run --quiet --verbose --json --data= --hostname= --domain= --relay= --relay-tls= --relay-auth= --relay-token-command= --destination= --mta-sts= --tls-ca= --resolver= --dnssec= --trust-anchor= --accounts= --aliases= --drop-dir= --mx-port= --message-size-limit= --queue-lifetime= --retry= --plaintext-auth= --log= --config= --help" ;;
    sendmail|newaliases) words=" -t -i -f -r -F --attach= --html= --now --dry-run --report= --json -v -N -R -V -B --data= --hostname= --domain= --relay= --relay-tls= --relay-auth= --relay-token-command= --destination= --mta-sts= --tls-ca= --resolver= --dnssec= --trust-anchor= --accounts= --aliases= --drop-dir= --mx-port= --message-size-limit= --plaintext-auth= --log= --config= --help" ;;
    serve) words=" --local --stdio= --hold --jobs= --hostname= --domain= --data= --user= --listen= --tls= --tls-ca= --relay= --relay-from= --relay-tls= --relay-auth= --relay-token-command= --proxy-from= --xclient-from= --client-limit= --connection-limit= --destination= --mta-sts= --resolver= --dnssec= --trust-anchor= --accounts= --aliases= --drop-dir= --alias-commands= --alias-user= --mx-port= --message-size-limit= --quota= --quota-messages= --disk-reserve= --hold-limit= --queue-lifetime= --retry= --plaintext-auth= --auth-failure-delay= --pop3-login-delay= --imap-hide= --imap-message-limit= --log= --config= --help" ;;
    smtp-probe) words=" --host --port= --rcpt= --from= --tls= --starttls --implicit-tls --lmtp --user= --password-file= --ehlo= --timeout= --all --ipv4 --ipv6 --trace --plugin --json --hostname= --data= --resolver= --dnssec= --trust-anchor= --mx-port= --tls-ca= --mta-sts= --destination= --plaintext-auth= --config= --help" ;;
    *) return ;;
    esac
    case $cmd in mailq) cmd=queue-run ;; newaliases) cmd=sendmail ;; esac
    case $cmd:$option in
    account:--scheme) values="yescrypt scram-sha-256" ;;
    config:--relay-tls) values="auto none may require verify" ;;
    config:--relay-auth) values="auto plain login scram-sha-256 scram-sha-256-plus oauthbearer xoauth2" ;;
    config:--dnssec) values="auto off validate" ;;
    config:--plaintext-auth) values="no yes" ;;
    config:--log) values="auto text json journal none" ;;
    imap-list:--dnssec) values="auto off validate" ;;
    mx-lookup:--dnssec) values="auto off validate" ;;
    mx-lookup:--mta-sts) values="no yes" ;;
    mx-lookup:--relay-tls) values="auto none may require verify" ;;
    pop3-fetch:--dnssec) values="auto off validate" ;;
    queue-run:--relay-tls) values="auto none may require verify" ;;
    queue-run:--relay-auth) values="auto plain login scram-sha-256 scram-sha-256-plus oauthbearer xoauth2" ;;
    queue-run:--mta-sts) values="no yes" ;;
    queue-run:--dnssec) values="auto off validate" ;;
    queue-run:--plaintext-auth) values="no yes" ;;
    queue-run:--log) values="auto text json journal none" ;;
    sendmail:--report) values="auto none text json" ;;
    sendmail:--relay-tls) values="auto none may require verify" ;;
    sendmail:--relay-auth) values="auto plain login scram-sha-256 scram-sha-256-plus oauthbearer xoauth2" ;;
    sendmail:--mta-sts) values="no yes" ;;
    sendmail:--dnssec) values="auto off validate" ;;
    sendmail:--plaintext-auth) values="no yes" ;;
    sendmail:--log) values="auto text json journal none" ;;
    serve:--stdio) values="none smtp lmtp pop3 imap" ;;
    serve:--relay-tls) values="auto none may require verify" ;;
    serve:--relay-auth) values="auto plain login scram-sha-256 scram-sha-256-plus oauthbearer xoauth2" ;;
    serve:--mta-sts) values="no yes" ;;
    serve:--dnssec) values="auto off validate" ;;
    serve:--alias-commands) values="no yes" ;;
    serve:--plaintext-auth) values="no yes" ;;
    serve:--log) values="auto text json journal none" ;;
    smtp-probe:--tls) values="auto may none require verify" ;;
    smtp-probe:--dnssec) values="auto off validate" ;;
    smtp-probe:--mta-sts) values="no yes" ;;
    smtp-probe:--plaintext-auth) values="no yes" ;;
    esac
    if [[ $values ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$values" -- "$cur")
    elif [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
        [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    fi
}
complete -F _postbag postbag account addr config deliver imap-list mx-lookup pop3-fetch queue-run mailq sendmail newaliases serve smtp-probe
