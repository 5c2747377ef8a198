/* store_conform: what any store of mail must do, whatever it is made of, seen through the headers
 * of store/ alone. A back end's test makes a bed and runs these. */
#ifndef STORE_CONFORM_H
#define STORE_CONFORM_H

#include "store/store.h"

struct store_bed {
    struct store *s;
    struct store *(*again)(struct store_bed *bed); /* the same account, as another process has it */
};

void conform_stored_and_read(struct store_bed *bed);
void conform_flags_in_two_handles(struct store_bed *bed);
void conform_copy_move_append(struct store_bed *bed);
void conform_mailboxes(struct store_bed *bed);
void conform_modseq(struct store_bed *bed);
void conform_many_deliver(struct store_bed *bed);
void conform_maildrop(struct store_bed *bed);
void conform_names_at_the_limits(struct store_bed *bed);
void conform_keywords_at_the_limit(struct store_bed *bed);
void conform_append_at_the_limit(struct store_bed *bed);
void conform_uids_never_come_back(struct store_bed *bed);
void conform_what_went_is_told(struct store_bed *bed);
void conform_highest_is_known(struct store_bed *bed);
void conform_quota(struct store_bed *bed);
void conform_annotations(struct store_bed *bed);

#endif
