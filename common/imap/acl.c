#include "imap/acl.h"

static const char letters[] = "lrswipkxtea"; /* in the order of the bits */

bool acl_parse(struct slice s, unsigned *rights) {
    *rights = 0;
    for (size_t i = 0; i < s.n; i++) {
        const char *at = s.p[i] ? strchr(letters, s.p[i]) : NULL;

        if (at) *rights |= 1U << (at - letters);
        else if (s.p[i] == 'c') *rights |= ACL_CREATE | ACL_DELETE;
        else if (s.p[i] == 'd') *rights |= ACL_EXPUNGE | ACL_DELETED;
        else return false;
    }
    return true;
}

void acl_put(struct buf *out, unsigned rights, bool with_old) {
    for (size_t i = 0; letters[i]; i++)
        if (rights >> i & 1) buf_addc(out, letters[i]);
    if (!with_old) return;
    if (rights & (ACL_CREATE | ACL_DELETE)) buf_addc(out, 'c');
    if (rights & (ACL_EXPUNGE | ACL_DELETED)) buf_addc(out, 'd');
}
