/* caps: what the words of a CAPABILITY answer mean. Pure. */
#ifndef IMAP_CAPS_H
#define IMAP_CAPS_H

#include "base/slice.h"

/* The RFC that defines a capability, any case ("IDLE": 2177, "AUTH=PLAIN": 3501); 0: not one of the
 * IANA registry that we know. */
int imap_capability_rfc(struct slice word);

#endif
