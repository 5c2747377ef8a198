/* MTA-STS records and policies from anybody's web server. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "policy/sts.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {
    struct slice text = slice_of((const char *)p, n), id;
    struct sts_policy policy;
    struct arena a;

    if (sts_record_id(text, &id) && (id.n == 0 || id.n > STS_ID_MAX)) abort();
    arena_init(&a, 1024 * 1024);
    if (sts_policy_parse(text, &a, &policy, NULL) == OK) {
        if (policy.mx_count > STS_MX_MAX || policy.max_age > STS_AGE_MAX) abort();
        for (size_t i = 0; i < policy.mx_count; i++)
            if (policy.mx[i][0] != '*' && !sts_matches(&policy, slice_str(policy.mx[i]))) abort();
    }
    arena_release(&a);
    return 0;
}
