/* Dots: what is encoded has no bare CR or LF, one end, and decodes to the same at every split. */
#include <stdlib.h>

#include "smtp/dot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice in = slice_of((const char *)data, size);
    struct buf a, b, back, raw;
    if (size > 65536) return 0;
    buf_init(&a, 1 << 20);
    buf_init(&b, 1 << 20);
    buf_init(&back, 1 << 20);
    buf_init(&raw, 1 << 20);
    struct smtp_dot_encoder ea = {0}, eb = {0};
    smtp_dot_put(&ea, in, &a);
    smtp_dot_end(&ea, &a);
    for (size_t i = 0; i < size; i++) smtp_dot_put(&eb, slice_of(in.p + i, 1), &b);
    smtp_dot_end(&eb, &b);
    if (!slice_eq(buf_slice(&a), buf_slice(&b))) abort();
    for (size_t i = 0; i < a.n; i++) {
        if (a.p[i] == '\n' && (!i || a.p[i - 1] != '\r')) abort();
        if (a.p[i] == '\r' && a.p[i + 1] != '\n') abort();
    }
    struct smtp_dot_decoder d = {0};
    struct slice rest = buf_slice(&a);
    if (!smtp_dot_take(&d, &rest, &back, 1 << 19) || rest.n || d.has_bare_cr || d.has_bare_lf)
        abort();
    for (unsigned mode = 0; mode < 8; mode++) { // any bytes, whole and one by one
        struct smtp_dot_decoder x = {.mode = mode}, y = {.mode = mode};
        bool ex, ey = false;
        rest = in;
        buf_reset(&back);
        buf_reset(&raw);
        ex = smtp_dot_take(&x, &rest, &back, 1 << 19);
        size_t i = 0;
        for (; i < size && !ey; i++) {
            struct slice one = slice_of(in.p + i, 1);
            while (one.n && !ey) ey = smtp_dot_take(&y, &one, &raw, 1 << 19);
        }
        if (ex != ey || !slice_eq(buf_slice(&back), buf_slice(&raw))) abort();
    }
    buf_release(&a);
    buf_release(&b);
    buf_release(&back);
    buf_release(&raw);
    return 0;
}
