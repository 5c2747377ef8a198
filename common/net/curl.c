#include "net/curl.h"

#include <pthread.h>

struct curl_table curl = {CURL_SYMS(LAZY_INIT)};
static const char names[] = CURL_SYMS(LAZY_NAME);
static struct lazy lib = LAZY("libcurl-gnutls.so.4", "libcurl3-gnutls", names, &curl);
static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode started;

static void start(void) { started = curl.curl_global_init(CURL_GLOBAL_DEFAULT); }

enum err_code curl_load(struct err *e) {
    enum err_code code = lazy_load(&lib, e);

    if (code != OK) return code;
    pthread_once(&once, start);
    return started == CURLE_OK ? OK : err_set(e, ERR_LIBRARY, "libcurl cannot start");
}
