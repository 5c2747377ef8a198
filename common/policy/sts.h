/* sts: MTA-STS records and policies (RFC 8461), and whether a policy lists a host. No I/O. */
#ifndef POLICY_STS_H
#define POLICY_STS_H

#include "base/arena.h"
#include "base/err.h"

enum {
    STS_TEXT_MAX = 64 * 1024, /* of a policy (RFC 8461 3.3) */
    STS_MX_MAX = 100,
    STS_ID_MAX = 32,
    STS_AGE_MAX = 31557600 /* seconds */
};
enum sts_mode { STS_NONE, STS_TESTING, STS_ENFORCE };

struct sts_policy {
    enum sts_mode mode;
    uint32_t max_age; /* seconds */
    const char *mx[STS_MX_MAX];
    size_t mx_count;
};

/* The id of a TXT record at _mta-sts.DOMAIN, which points into `txt`. False: it is no MTA-STS
 * record, or a wrong one (3.1). Two such records mean none: that is the caller's to see. */
bool sts_record_id(struct slice txt, struct slice *id);
/* Read a policy; strings are copied into `a`. ERR_SYNTAX names what is wrong, ERR_LIMIT,
 * ERR_MEMORY. Unknown fields are skipped; of a repeated one the first counts (3.2). */
enum err_code sts_policy_parse(struct slice text, struct arena *a, struct sts_policy *out,
                               struct err *e);
/* Does a pattern of the policy match the host name (4.1)? "*." stands for exactly one label. Both
 * in A-label form; case does not matter. */
bool sts_matches(const struct sts_policy *p, struct slice host);
/* "none", "testing", "enforce". Static. */
const char *sts_mode_name(enum sts_mode mode);

#endif
