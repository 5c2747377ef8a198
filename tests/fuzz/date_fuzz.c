#include <assert.h>

#include "mime/date.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct slice in = slice_of((const char *)data, n);
    char text[DATE_IMAP_MAX];
    wall_t t, back;
    int offset;

    if (date_parse(in, &t, &offset) || date_parse_imap(in, &t, &offset)) {
        assert(date_parse_imap(date_format_imap(t, offset, text), &back, NULL));
        assert(back == t);
    }
    date_parse_imap_day(in, &t);
    return 0;
}
