/* curl: the one door to libcurl (base/lazy), the build with GnuTLS. */
#ifndef NET_CURL_H
#define NET_CURL_H

#include <curl/curl.h>

#include "base/lazy.h"

/* Checking macros of the header; the table needs the functions. */
#undef curl_easy_setopt
#undef curl_easy_getinfo

#define CURL_SYMS(X)                                                                               \
    X(curl_global_init)                                                                            \
    X(curl_easy_init)                                                                              \
    X(curl_easy_cleanup)                                                                           \
    X(curl_easy_setopt)                                                                            \
    X(curl_easy_getinfo)                                                                           \
    X(curl_easy_perform)                                                                           \
    X(curl_easy_send)                                                                              \
    X(curl_easy_recv)                                                                              \
    X(curl_easy_strerror)                                                                          \
    X(curl_slist_append)                                                                           \
    X(curl_slist_free_all)                                                                         \
    X(curl_url)                                                                                    \
    X(curl_url_cleanup)                                                                            \
    X(curl_url_set)                                                                                \
    X(curl_url_get)                                                                                \
    X(curl_free)

struct curl_table {
    CURL_SYMS(LAZY_FIELD)
};
extern struct curl_table curl;

/* Load libcurl and initialise it once. Any thread. ERR_LIBRARY names what is missing. */
enum err_code curl_load(struct err *e);

#endif
