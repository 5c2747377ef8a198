#include "deliver/advice.h"

/* By words of the reply, in any case: numbers are often only x.7.1 or x.0.0. */
static const struct {
    const char *word;
    struct advice advice;
} by_word[] = {
    {"greylist", {"the host makes new senders wait", "nothing; the next attempt will do"}},
    {"grey list", {"the host makes new senders wait", "nothing; the next attempt will do"}},
    {"rate limit", {"the host takes less mail than it is sent", "nothing; send less at once"}},
    {"too many connections", {"the host takes less mail than it is sent", "lower --jobs"}},
    {"spf", {"the sender's domain does not list this host", "add this host to its SPF record"}},
    {"dkim", {"the message lacks a valid signature", "sign mail of this domain with DKIM"}},
    {"dmarc", {"neither SPF nor DKIM is right for the From domain", "repair SPF, or sign"}},
    {"ptr", {"this host's address has no name, or not its own", "set the reverse DNS record"}},
    {"reverse dns",
     {"this host's address has no name, or not its own", "set the reverse DNS record"}},
    {"spamhaus", {"this host's address is on a block list", "see the list's page; use a relay"}},
    {"blacklist", {"this host's address is on a block list", "see the list's page; use a relay"}},
    {"blocklist", {"this host's address is on a block list", "see the list's page; use a relay"}},
    {"block list", {"this host's address is on a block list", "see the list's page; use a relay"}},
    {"relay", {"the host is not responsible for this domain", "look at its MX: postbag mx-lookup"}},
    {"authentication", {"the host wants a login", "set user and password of `relay`"}},
    {"over quota", {"the mailbox is full", "tell the recipient in another way"}},
    {"mailbox full", {"the mailbox is full", "tell the recipient in another way"}},
};

static const struct {
    uint16_t subject, detail; /* detail 99: any */
    struct advice advice;
} by_status[] = {
    {1, 1, {"there is no such mailbox", "ask the sender to correct the address"}},
    {1, 2, {"there is no such domain", "ask the sender to correct the address"}},
    {1, 10, {"the domain says that it takes no mail", "ask the sender for another address"}},
    {1, 99, {"the address is not right", "ask the sender to correct it"}},
    {2, 2, {"the mailbox is full", "tell the recipient in another way"}},
    {2, 99, {"the mailbox takes nothing now", "wait, or tell the recipient in another way"}},
    {3, 1, {"the host has no space", "nothing; the next attempt may do"}},
    {3, 4, {"the message is larger than the host takes", "send it in another way"}},
    {3, 99, {"the host has a fault", "nothing; the next attempt may do"}},
    {4,
     1,
     {"the host does not answer", "try it: postbag smtp-probe; is port 25 open to the outside?"}},
    {4, 2, {"the connection broke", "nothing; the next attempt may do"}},
    {4, 3, {"the name servers of the domain do not answer", "look: postbag mx-lookup"}},
    {4, 4, {"there is no way to a host of the domain", "look: postbag mx-lookup"}},
    {4, 6, {"the message goes in circles", "look at aliases and at who is MX of the domain"}},
    {4, 7, {"it was tried for as long as queue-lifetime", "send it anew when the cause is gone"}},
    {4, 99, {"the host cannot be reached", "try it: postbag smtp-probe"}},
    {5, 99, {"the host did not understand the dialogue", "watch it: postbag smtp-probe --trace"}},
    {6, 99, {"the host cannot take this kind of content", "send it in another form"}},
    {7, 4, {"TLS is wanted and cannot be had", "look: postbag smtp-probe --starttls"}},
    {7, 5, {"the certificate or key is not the right one", "look: postbag smtp-probe --starttls"}},
    {7, 8, {"the login was refused", "correct user and password of `relay`"}},
    {7, 99, {"the host refuses by its policy", "read the reply; ask its postmaster"}},
};

struct advice advice_of(struct mail_status st, struct slice text) {
    for (size_t i = 0; i < sizeof by_word / sizeof *by_word; i++)
        if (slice_ifind(text, slice_str(by_word[i].word)) != SLICE_NONE) return by_word[i].advice;
    for (size_t i = 0; i < sizeof by_status / sizeof *by_status; i++)
        if (st.subject == by_status[i].subject &&
            (by_status[i].detail == 99 || by_status[i].detail == st.detail))
            return by_status[i].advice;
    return st.cls == 5
               ? (struct advice){"the host refuses for good", "read the reply; ask its postmaster"}
               : (struct advice){"it failed for now", "nothing; the next attempt may do"};
}
