#compdef postbag account addr config deliver imap-list mx-lookup pop3-fetch queue-run mailq sendmail newaliases serve smtp-probe
# zsh completion of postbag; made from its tables by `make completions`
_postbag() {
    local cmd=$service
    if [[ $cmd == postbag ]]; then
        if (( CURRENT == 2 )); then
            local -a applets=(
                'account:add, remove and list accounts, and set their passwords'
                'addr:read addresses as mail headers have them'
                'config:check the settings, or show them and where they come from'
                'deliver:put a message into local mailboxes'
                'imap-list:list, search, watch and fetch what an IMAP server has'
                'mx-lookup:show where mail for a domain would go'
                'pop3-fetch:fetch mail from a POP3 server, losing nothing'
                'queue-run:try the queued messages; list, explain, hold, release, drop, return, reroute them'
                'sendmail:send the message on standard input'
                'serve:run the mail server\: SMTP, submission, LMTP, POP3, IMAP, queue'
                'smtp-probe:try the mail hosts of a domain as a sender would, and report'
            )
            _describe applet applets
            return
        fi
        cmd=$words[2]
        shift words
        (( CURRENT-- ))
    fi
    case $cmd in
    account) _arguments \
        '--home=[add\: keep the mail in DIR/Maildir instead of the data directory]:DIR:_files' \
        '--scheme=[add, password\: store the password as yescrypt or as keys of scram-sha-256]:SCHEME:(yescrypt scram-sha-256)' \
        '--json[list\: one JSON object per line]' \
        '--data=[directory of queue, mail, accounts, keys and state]:DIR:_files' \
        '--domain=[domains whose mailboxes are here (default\: hostname)]:NAME...:_files' \
        '--accounts=[passwd-file of users (default\: DATA/accounts)]:FILE:_files' \
        '--config=[read settings from FILE]:FILE:_files' \
        '--help[show the options]' \
        '*:operand:_files' ;;
    addr) _arguments \
        '--json[one JSON object per address\: name, local, domain, group]' \
        '--config=[read settings from FILE]:FILE:_files' \
        '--help[show the options]' \
        '*:operand:_files' ;;
    config) _arguments \
        '--origin[say where each value comes from]' \
        '--json[one JSON object per line]' \
        '--hostname=[name of this host in greetings and Received fields (default\: the system'\''s)]:NAME:_files' \
        '--domain=[domains whose mailboxes are here (default\: hostname)]:NAME...:_files' \
        '--data=[directory of queue, mail, accounts, keys and state]:DIR:_files' \
        '--user=[run serve as this user once its ports and keys are open]:NAME:_files' \
        '--listen=[serve SERVICE there\: smtp submission submissions lmtp pop3 pop3s imap imaps]:SERVICE=ADDRESS\:PORT:_files' \
        '--tls=[certificate chain and key in PEM; none\: a self-signed pair is made]:CERT,KEY:_files' \
        '--tls-ca=[certificates trusted when a peer must be verified]:FILE:_files' \
        '--relay=[send all mail for elsewhere through this host; FILE holds USER'\''s password or access token; smtps\: TLS from the start]:\[smtps\://\]HOST\:PORT\[,USER\[,FILE\]\]:_files' \
        '--relay-from=[networks whose clients may send to elsewhere without a login, or none]:NET...:_files' \
        '--relay-tls=[TLS to the relay\: none, may, require, verify, or auto]:MODE:(auto none may require verify)' \
        '--relay-auth=[log in at the relay by plain, login, scram-sha-256, scram-sha-256-plus, oauthbearer, xoauth2, or the best (auto)]:MECHANISM:(auto plain login scram-sha-256 scram-sha-256-plus oauthbearer xoauth2)' \
        '--relay-token-command=[program that prints an access token for the relay'\''s user (in quotes when it has arguments)]:COMMAND:_files' \
        '--resolver=[DNS server (default\: resolv.conf)]:ADDRESS\[\:PORT\]:_files' \
        '--dnssec=[trust a validating resolver'\''s word (auto), validate here (validate), or neither (off)]:MODE:(auto off validate)' \
        '--trust-anchor=[DNSSEC keys that `dnssec validate` starts from]:FILE:_files' \
        '--accounts=[passwd-file of users (default\: DATA/accounts)]:FILE:_files' \
        '--aliases=[aliases(5) file (default\: DATA/aliases)]:FILE:_files' \
        '--drop-dir=[where users who may not write the queue leave mail (default\: DATA/drop)]:DIR:_files' \
        '--mx-port=[port to deliver to when mail goes straight to an MX]:PORT:_files' \
        '--message-size-limit=[largest message taken]:SIZE:_files' \
        '--queue-lifetime=[give up on a message after this long]:TIME:_files' \
        '--retry=[first interval before a new attempt; it grows up to 4h]:TIME:_files' \
        '--plaintext-auth=[allow passwords without TLS]:yes|no:(no yes)' \
        '--log=[text, json, journal, none, or auto (journal when stderr is one)]:FORMAT:(auto text json journal none)' \
        '--config=[read settings from FILE]:FILE:_files' \
        '--help[show the options]' \
        '*:operand:_files' ;;
    deliver) _arguments \
        '--from=[the envelope sender, for Return-Path]:ADDRESS:_files' \
        '--maildir=[into the Maildir DIR (with cur, new, tmp); no RECIPIENT then]:DIR:_files' \
        '--mailbox=[into this mailbox instead of INBOX; made when missing]:NAME:_files' \
        '--data=[directory of queue, mail, accounts, keys and state]:DIR:_files' \
        '--domain=[domains whose mailboxes are here (default\: hostname)]:NAME...:_files' \
        '--accounts=[passwd-file of users (default\: DATA/accounts)]:FILE:_files' \
        '--aliases=[aliases(5) file (default\: DATA/aliases)]:FILE:_files' \
        '--message-size-limit=[largest message taken]:SIZE:_files' \
        '--config=[read settings from FILE]:FILE:_files' \
        '--help[show the options]' \
        '*:operand:_files' ;;
    imap-list) _arguments \
        '--search=[only messages that match; search keys of RFC 3501 6.4.4]:QUERY:_files' \
        '--uid=[only messages with these UIDs\: 5, 1\:100, 7\:*]:SET:_files' \
        '--fetch=[write this message to standard output, octet for octet]:UID:_files' \
        '--save=[write the messages to DIR/UID.eml; what is there is kept]:DIR:_files' \
        '--watch[print changes as they come, until --timeout]' \
        '--caps[print the capabilities of the server]' \
        '--raw[log in, then relay standard input and output]' \
        '--password-file=[first line of FILE, which must be private]:FILE:_files' \
        '--password-fd=[first line from the open descriptor N]:N:_files' \
        '--password-command=[first line that sh -c CMD prints]:CMD:_files' \
        '--token[it is an access token, not a password (OAUTHBEARER, XOAUTH2)]' \
        '--plaintext[imap\: no TLS, also to other hosts; the password is visible]' \
        '--require-tls[imap\: STARTTLS also on the loopback]' \
        '--insecure[take any certificate]' \
        '--timeout=[wait this long for the server (default 60s); --watch\: end after it]:TIME:_files' \
        '--json[one JSON object per line]' \
        '--tls-ca=[certificates trusted when a peer must be verified]:FILE:_files' \
        '--resolver=[DNS server (default\: resolv.conf)]:ADDRESS\[\:PORT\]:_files' \
        '--dnssec=[trust a validating resolver'\''s word (auto), validate here (validate), or neither (off)]:MODE:(auto off validate)' \
        '--trust-anchor=[DNSSEC keys that `dnssec validate` starts from]:FILE:_files' \
        '--config=[read settings from FILE]:FILE:_files' \
        '--help[show the options]' \
        '*:operand:_files' ;;
    mx-lookup) _arguments \
        '--with-relay[obey the relay setting, as delivery does]' \
        '--records[print the MX records as a zone file has them]' \
        '--plugin[answer as a monitoring plugin\: one line, exit status 0, 2 or 3]' \
        '--json[one JSON object per domain]' \
        '--hostname=[name of this host in greetings and Received fields (default\: the system'\''s)]:NAME:_files' \
        '--data=[directory of queue, mail, accounts, keys and state]:DIR:_files' \
        '--resolver=[DNS server (default\: resolv.conf)]:ADDRESS\[\:PORT\]:_files' \
        '--dnssec=[trust a validating resolver'\''s word (auto), validate here (validate), or neither (off)]:MODE:(auto off validate)' \
        '--trust-anchor=[DNSSEC keys that `dnssec validate` starts from]:FILE:_files' \
        '--tls-ca=[certificates trusted when a peer must be verified]:FILE:_files' \
        '--mta-sts=[obey the MTA-STS policies of domains]:yes|no:(no yes)' \
        '--destination=[mail for DOMAIN\: via=smtp\:HOST\:PORT|lmtp\:HOST\:PORT|mx tls=MODE concurrency=N rate=N/m source=ADDRESS]:DOMAIN WORD=VALUE...:_files' \
        '--relay=[send all mail for elsewhere through this host; FILE holds USER'\''s password or access token; smtps\: TLS from the start]:\[smtps\://\]HOST\:PORT\[,USER\[,FILE\]\]:_files' \
        '--relay-tls=[TLS to the relay\: none, may, require, verify, or auto]:MODE:(auto none may require verify)' \
        '--mx-port=[port to deliver to when mail goes straight to an MX]:PORT:_files' \
        '--config=[read settings from FILE]:FILE:_files' \
        '--help[show the options]' \
        '*:operand:_files' ;;
    pop3-fetch) _arguments \
        '--maildir=[into the Maildir DIR (with cur, new, tmp)]:DIR:_files' \
        '--mbox=[append to the mbox FILE]:FILE:_files' \
        '--deliver=[to a local user]:USER:_files' \
        '--command=[to sh -c CMD; a message it fails for stays]:CMD:_files' \
        '--stdout[to standard output as an mbox; implies --keep, notes nothing]' \
        '--list[only list number, size and UIDL]' \
        '--top=[only headers and N lines of each, to standard output]:N:_files' \
        '--keep[leave the messages on the server; fetch only new ones]' \
        '--keep-days=[leave them for N days after they were fetched]:N:_files' \
        '--delete[delete also with --stdout]' \
        '--limit=[fetch at most N messages]:N:_files' \
        '--max-size=[leave larger messages on the server]:SIZE:_files' \
        '--state=[note fetched messages here (default\: below DATA/state)]:FILE:_files' \
        '--password-file=[first line of FILE, which must be private]:FILE:_files' \
        '--password-fd=[first line from the open descriptor N]:N:_files' \
        '--password-command=[first line that sh -c CMD prints]:CMD:_files' \
        '--token[it is an access token, not a password (OAUTHBEARER, XOAUTH2)]' \
        '--plaintext[pop3\: no TLS, also to other hosts; the password is visible]' \
        '--require-tls[pop3\: STLS also on the loopback]' \
        '--insecure[take any certificate]' \
        '--timeout=[wait this long for the server (default 60s)]:TIME:_files' \
        '--json[one JSON object per message, and one for the run]' \
        '--quiet[say nothing when all is well]' \
        '--data=[directory of queue, mail, accounts, keys and state]:DIR:_files' \
        '--hostname=[name of this host in greetings and Received fields (default\: the system'\''s)]:NAME:_files' \
        '--domain=[domains whose mailboxes are here (default\: hostname)]:NAME...:_files' \
        '--accounts=[passwd-file of users (default\: DATA/accounts)]:FILE:_files' \
        '--aliases=[aliases(5) file (default\: DATA/aliases)]:FILE:_files' \
        '--tls-ca=[certificates trusted when a peer must be verified]:FILE:_files' \
        '--resolver=[DNS server (default\: resolv.conf)]:ADDRESS\[\:PORT\]:_files' \
        '--dnssec=[trust a validating resolver'\''s word (auto), validate here (validate), or neither (off)]:MODE:(auto off validate)' \
        '--trust-anchor=[DNSSEC keys that `dnssec validate` starts from]:FILE:_files' \
        '--config=[read settings from FILE]:FILE:_files' \
        '--help[show the options]' \
        '*:operand:_files' ;;
    queue-run|mailq) _arguments \
        '--all[every message, also those whose time has not come]' \
        '--jobs=[outgoing connections at once (default 100)]:N:_files' \
        '--deadline=[end the pass after this long (default 1h)]:TIME:_files' \
        '--daemon[stay, and make a pass every --interval]' \
        '--interval=[with --daemon\: from pass to pass (default 5m)]:TIME:_files' \
        '--list[list the messages]' \
        '--show[print the message ID]' \
        '--explain[tell the story of messages\: attempts, outcome, what to do]' \
        '--histogram[count pending recipients by domain and age]' \
        '--hold[keep messages from being tried]' \
        '--release[let held messages go, at once]' \
        '--drop[remove messages without telling anybody]' \
        '--bounce[return messages to their senders now]' \
        '--reroute=[send messages to this host, whatever DNS says]:HOST\[\:PORT\]:_files' \
        '--sender=[those from ADDRESS, or from a domain; <> for bounces]:ADDRESS:_files' \
        '--recipient=[those that wait for ADDRESS, or for a domain]:ADDRESS:_files' \
        '--reason=[those whose last reply holds TEXT]:TEXT:_files' \
        '--older=[those that came longer ago than this]:TIME:_files' \
        '--younger=[those that came since then]:TIME:_files' \
        '--held[those that are held]' \
        '--dry-run[say which messages would be touched, and do nothing]' \
        '--quiet[say nothing of the pass but errors]' \
        '--verbose[tell of deliveries too (default on a terminal)]' \
        '--json[one JSON object per line]' \
        '--data=[directory of queue, mail, accounts, keys and state]:DIR:_files' \
        '--hostname=[name of this host in greetings and Received fields (default\: the system'\''s)]:NAME:_files' \
        '--domain=[domains whose mailboxes are here (default\: hostname)]:NAME...:_files' \
        '--relay=[send all mail for elsewhere through this host; FILE holds USER'\''s password or access token; smtps\: TLS from the start]:\[smtps\://\]HOST\:PORT\[,USER\[,FILE\]\]:_files' \
        '--relay-tls=[TLS to the relay\: none, may, require, verify, or auto]:MODE:(auto none may require verify)' \
        '--relay-auth=[log in at the relay by plain, login, scram-sha-256, scram-sha-256-plus, oauthbearer, xoauth2, or the best (auto)]:MECHANISM:(auto plain login scram-sha-256 scram-sha-256-plus oauthbearer xoauth2)' \
        '--relay-token-command=[program that prints an access token for the relay'\''s user (in quotes when it has arguments)]:COMMAND:_files' \
        '--destination=[mail for DOMAIN\: via=smtp\:HOST\:PORT|lmtp\:HOST\:PORT|mx tls=MODE concurrency=N rate=N/m source=ADDRESS]:DOMAIN WORD=VALUE...:_files' \
        '--mta-sts=[obey the MTA-STS policies of domains]:yes|no:(no yes)' \
        '--tls-ca=[certificates trusted when a peer must be verified]:FILE:_files' \
        '--resolver=[DNS server (default\: resolv.conf)]:ADDRESS\[\:PORT\]:_files' \
        '--dnssec=[trust a validating resolver'\''s word (auto), validate here (validate), or neither (off)]:MODE:(auto off validate)' \
        '--trust-anchor=[DNSSEC keys that `dnssec validate` starts from]:FILE:_files' \
        '--accounts=[passwd-file of users (default\: DATA/accounts)]:FILE:_files' \
        '--aliases=[aliases(5) file (default\: DATA/aliases)]:FILE:_files' \
        '--drop-dir=[where users who may not write the queue leave mail (default\: DATA/drop)]:DIR:_files' \
        '--mx-port=[port to deliver to when mail goes straight to an MX]:PORT:_files' \
        '--message-size-limit=[largest message taken]:SIZE:_files' \
        '--queue-lifetime=[give up on a message after this long]:TIME:_files' \
        '--retry=[first interval before a new attempt; it grows up to 4h]:TIME:_files' \
        '--plaintext-auth=[allow passwords without TLS]:yes|no:(no yes)' \
        '--log=[text, json, journal, none, or auto (journal when stderr is one)]:FORMAT:(auto text json journal none)' \
        '--config=[read settings from FILE]:FILE:_files' \
        '--help[show the options]' \
        '*:operand:_files' ;;
    sendmail|newaliases) _arguments \
        '-t[take recipients from To, Cc and Bcc, beside those given]' \
        '-i[a line with only a dot does not end the message]' \
        '-f[envelope sender; '\'''\'' or <> is the null sender]:ADDRESS:_files' \
        '-r[the same]:ADDRESS:_files' \
        '-F[full name for a From field that is made]:NAME:_files' \
        '--attach=[attach FILE; may be repeated]:FILE:_files' \
        '--html=[FILE is the message in HTML, beside the text]:FILE:_files' \
        '--now[deliver now; what fails for now goes into the queue]' \
        '--dry-run[say what would be sent where; send and write nothing]' \
        '--report=[with --now\: tell each recipient'\''s outcome as text or json, or none]:FORMAT:(auto none text json)' \
        '--json[the same as --report json]' \
        '-v[show the dialogue on standard error]' \
        '-N[DSN\: never, or success,failure,delay]:WHEN:_files' \
        '-R[DSN\: return full or hdrs]:WHAT:_files' \
        '-V[DSN\: envelope identifier]:ID:_files' \
        '-B[7BIT or 8BITMIME; the truth is found in the message]:TYPE:_files' \
        '--data=[directory of queue, mail, accounts, keys and state]:DIR:_files' \
        '--hostname=[name of this host in greetings and Received fields (default\: the system'\''s)]:NAME:_files' \
        '--domain=[domains whose mailboxes are here (default\: hostname)]:NAME...:_files' \
        '--relay=[send all mail for elsewhere through this host; FILE holds USER'\''s password or access token; smtps\: TLS from the start]:\[smtps\://\]HOST\:PORT\[,USER\[,FILE\]\]:_files' \
        '--relay-tls=[TLS to the relay\: none, may, require, verify, or auto]:MODE:(auto none may require verify)' \
        '--relay-auth=[log in at the relay by plain, login, scram-sha-256, scram-sha-256-plus, oauthbearer, xoauth2, or the best (auto)]:MECHANISM:(auto plain login scram-sha-256 scram-sha-256-plus oauthbearer xoauth2)' \
        '--relay-token-command=[program that prints an access token for the relay'\''s user (in quotes when it has arguments)]:COMMAND:_files' \
        '--destination=[mail for DOMAIN\: via=smtp\:HOST\:PORT|lmtp\:HOST\:PORT|mx tls=MODE concurrency=N rate=N/m source=ADDRESS]:DOMAIN WORD=VALUE...:_files' \
        '--mta-sts=[obey the MTA-STS policies of domains]:yes|no:(no yes)' \
        '--tls-ca=[certificates trusted when a peer must be verified]:FILE:_files' \
        '--resolver=[DNS server (default\: resolv.conf)]:ADDRESS\[\:PORT\]:_files' \
        '--dnssec=[trust a validating resolver'\''s word (auto), validate here (validate), or neither (off)]:MODE:(auto off validate)' \
        '--trust-anchor=[DNSSEC keys that `dnssec validate` starts from]:FILE:_files' \
        '--accounts=[passwd-file of users (default\: DATA/accounts)]:FILE:_files' \
        '--aliases=[aliases(5) file (default\: DATA/aliases)]:FILE:_files' \
        '--drop-dir=[where users who may not write the queue leave mail (default\: DATA/drop)]:DIR:_files' \
        '--mx-port=[port to deliver to when mail goes straight to an MX]:PORT:_files' \
        '--message-size-limit=[largest message taken]:SIZE:_files' \
        '--plaintext-auth=[allow passwords without TLS]:yes|no:(no yes)' \
        '--log=[text, json, journal, none, or auto (journal when stderr is one)]:FORMAT:(auto text json journal none)' \
        '--config=[read settings from FILE]:FILE:_files' \
        '--help[show the options]' \
        '*:operand:_files' ;;
    serve) _arguments \
        '--local[try it out\: loopback ports 1025 and up, an account, no configuration]' \
        '--stdio=[speak smtp, lmtp, pop3 or imap on standard input; operand\: the user]:PROTOCOL:(none smtp lmtp pop3 imap)' \
        '--hold[take mail into the queue and deliver none of it]' \
        '--jobs=[outgoing connections at once (default 100)]:N:_files' \
        '--hostname=[name of this host in greetings and Received fields (default\: the system'\''s)]:NAME:_files' \
        '--domain=[domains whose mailboxes are here (default\: hostname)]:NAME...:_files' \
        '--data=[directory of queue, mail, accounts, keys and state]:DIR:_files' \
        '--user=[run serve as this user once its ports and keys are open]:NAME:_files' \
        '--listen=[serve SERVICE there\: smtp submission submissions lmtp pop3 pop3s imap imaps]:SERVICE=ADDRESS\:PORT:_files' \
        '--tls=[certificate chain and key in PEM; none\: a self-signed pair is made]:CERT,KEY:_files' \
        '--tls-ca=[certificates trusted when a peer must be verified]:FILE:_files' \
        '--relay=[send all mail for elsewhere through this host; FILE holds USER'\''s password or access token; smtps\: TLS from the start]:\[smtps\://\]HOST\:PORT\[,USER\[,FILE\]\]:_files' \
        '--relay-from=[networks whose clients may send to elsewhere without a login, or none]:NET...:_files' \
        '--relay-tls=[TLS to the relay\: none, may, require, verify, or auto]:MODE:(auto none may require verify)' \
        '--relay-auth=[log in at the relay by plain, login, scram-sha-256, scram-sha-256-plus, oauthbearer, xoauth2, or the best (auto)]:MECHANISM:(auto plain login scram-sha-256 scram-sha-256-plus oauthbearer xoauth2)' \
        '--relay-token-command=[program that prints an access token for the relay'\''s user (in quotes when it has arguments)]:COMMAND:_files' \
        '--proxy-from=[networks of proxies whose connections begin with a PROXY header (version 1 or 2)]:NET...:_files' \
        '--xclient-from=[networks of proxies that may say XCLIENT for others]:NET...:_files' \
        '--client-limit=[connections at once from one address (IPv6\: one /64) other than loopback]:N:_files' \
        '--connection-limit=[connections at once in all]:N:_files' \
        '--destination=[mail for DOMAIN\: via=smtp\:HOST\:PORT|lmtp\:HOST\:PORT|mx tls=MODE concurrency=N rate=N/m source=ADDRESS]:DOMAIN WORD=VALUE...:_files' \
        '--mta-sts=[obey the MTA-STS policies of domains]:yes|no:(no yes)' \
        '--resolver=[DNS server (default\: resolv.conf)]:ADDRESS\[\:PORT\]:_files' \
        '--dnssec=[trust a validating resolver'\''s word (auto), validate here (validate), or neither (off)]:MODE:(auto off validate)' \
        '--trust-anchor=[DNSSEC keys that `dnssec validate` starts from]:FILE:_files' \
        '--accounts=[passwd-file of users (default\: DATA/accounts)]:FILE:_files' \
        '--aliases=[aliases(5) file (default\: DATA/aliases)]:FILE:_files' \
        '--drop-dir=[where users who may not write the queue leave mail (default\: DATA/drop)]:DIR:_files' \
        '--alias-commands=[carry out |command and /file in the alias file]:yes|no:(no yes)' \
        '--alias-user=[user for alias commands and files when run as root (default\: nobody)]:NAME:_files' \
        '--mx-port=[port to deliver to when mail goes straight to an MX]:PORT:_files' \
        '--message-size-limit=[largest message taken]:SIZE:_files' \
        '--quota=[how much mail an account may keep; an account'\''s own\: quota_rule=*\:storage=SIZE in the accounts file]:SIZE:_files' \
        '--quota-messages=[how many messages an account may keep]:N:_files' \
        '--disk-reserve=[space left free on the queue'\''s disk; with less, mail is put off at MAIL]:SIZE:_files' \
        '--hold-limit=[longest time that a submitted message may ask to be held (FUTURERELEASE)]:TIME:_files' \
        '--queue-lifetime=[give up on a message after this long]:TIME:_files' \
        '--retry=[first interval before a new attempt; it grows up to 4h]:TIME:_files' \
        '--plaintext-auth=[allow passwords without TLS]:yes|no:(no yes)' \
        '--auth-failure-delay=[after a failed login the next one from there or for that account waits this long, then twice, up to eight times; at most 60s, 0s\: not]:TIME:_files' \
        '--pop3-login-delay=[refuse a POP3 login sooner than this after the last one of the same user]:TIME:_files' \
        '--imap-hide=[IMAP capabilities that are not offered, for clients that cannot use them]:CAPABILITY...:_files' \
        '--imap-message-limit=[messages that one IMAP command may read or change (MESSAGELIMIT); at least 1000 is wise]:N:_files' \
        '--log=[text, json, journal, none, or auto (journal when stderr is one)]:FORMAT:(auto text json journal none)' \
        '--config=[read settings from FILE]:FILE:_files' \
        '--help[show the options]' \
        '*:operand:_files' ;;
    smtp-probe) _arguments \
        '--host[the operand is a host, not a domain\: no MX lookup]' \
        '--port=[instead of 25 (LMTP 24, implicit TLS 465)]:PORT:_files' \
        '--rcpt=[ask whether this recipient is taken; may be repeated]:ADDRESS:_files' \
        '--from=[envelope sender for --rcpt (default\: the null sender)]:ADDRESS:_files' \
        '--tls=[auto (default)\: as delivery would; none, may, require, or verify the certificate]:MODE:(auto may none require verify)' \
        '--starttls[the same as --tls=require]' \
        '--implicit-tls[TLS from the first byte]' \
        '--lmtp[speak LMTP]' \
        '--user=[log in as NAME]:NAME:_files' \
        '--password-file=[whose password is in FILE]:FILE:_files' \
        '--ehlo=[our name (default\: the hostname setting)]:NAME:_files' \
        '--timeout=[wait this long for each answer (default 30s)]:TIME:_files' \
        '--all[every address of every host, not only until one answers]' \
        '--ipv4[IPv4 only]' \
        '--ipv6[IPv6 only]' \
        '--trace[show the dialogue on standard error]' \
        '--plugin[answer as a monitoring plugin\: one line, exit status 0, 2 or 3]' \
        '--json[one JSON object per address tried]' \
        '--hostname=[name of this host in greetings and Received fields (default\: the system'\''s)]:NAME:_files' \
        '--data=[directory of queue, mail, accounts, keys and state]:DIR:_files' \
        '--resolver=[DNS server (default\: resolv.conf)]:ADDRESS\[\:PORT\]:_files' \
        '--dnssec=[trust a validating resolver'\''s word (auto), validate here (validate), or neither (off)]:MODE:(auto off validate)' \
        '--trust-anchor=[DNSSEC keys that `dnssec validate` starts from]:FILE:_files' \
        '--mx-port=[port to deliver to when mail goes straight to an MX]:PORT:_files' \
        '--tls-ca=[certificates trusted when a peer must be verified]:FILE:_files' \
        '--mta-sts=[obey the MTA-STS policies of domains]:yes|no:(no yes)' \
        '--destination=[mail for DOMAIN\: via=smtp\:HOST\:PORT|lmtp\:HOST\:PORT|mx tls=MODE concurrency=N rate=N/m source=ADDRESS]:DOMAIN WORD=VALUE...:_files' \
        '--plaintext-auth=[allow passwords without TLS]:yes|no:(no yes)' \
        '--config=[read settings from FILE]:FILE:_files' \
        '--help[show the options]' \
        '*:operand:_files' ;;
    esac
}
_postbag "$@"
