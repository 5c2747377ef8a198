#include "dns/ldns.h"

#include <stdlib.h>

struct ldns_table ldns = {LDNS_SYMS(LAZY_INIT)};
static const char names[] = LDNS_SYMS(LAZY_NAME);
static struct lazy lib = LAZY("libldns.so.3", "libldns3", names, &ldns);

enum err_code ldns_load(struct err *e) { return lazy_load(&lib, e); }

enum err_code ldns_put_records(struct slice packet, struct buf *out, struct err *e) {
    ldns_pkt *pkt = NULL;
    ldns_rr_list *list;
    char *text;
    enum err_code code = ldns_load(e);

    if (code != OK) return code;
    if (ldns.ldns_wire2pkt(&pkt, (const uint8_t *)packet.p, packet.n) != LDNS_STATUS_OK)
        return err_set(e, ERR_SYNTAX, "the name server's answer is malformed");
    list = ldns.ldns_pkt_answer(pkt);
    if (!list || list->_rr_count == 0) list = ldns.ldns_pkt_authority(pkt);
    text = list ? ldns.ldns_rr_list2str(list) : NULL;
    if (text) buf_add(out, slice_str(text));
    free(text);
    ldns.ldns_pkt_free(pkt);
    return out->bad ? err_set(e, ERR_LIMIT, "the answer is too large to show") : OK;
}
