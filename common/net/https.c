#include "net/https.h"

#include <stdio.h>

#include "net/curl.h"

static size_t take(char *p, size_t size, size_t n, void *user) {
    /* Less than all tells libcurl to stop: the document is too large. */
    return buf_add(user, slice_of(p, size * n)) ? size * n : 0;
}

static bool is_type(const char *have, const char *want) {
    struct slice type, rest;

    if (!have) return false;
    slice_cut(slice_str(have), ';', &type, &rest);
    return slice_ieq(slice_trim(type), slice_str(want));
}

/* "host:port:addr,addr": libcurl asks no name server. */
static struct curl_slist *addresses(const char *host, const struct addr *addrs, size_t n) {
    char text[ADDR_TEXT_MAX], line[256 + HTTPS_ADDRS_MAX * ADDR_TEXT_MAX];
    int at = snprintf(line, sizeof line, "%s:%u:", host, addr_port(&addrs[0]));

    for (size_t i = 0; i < n && i < HTTPS_ADDRS_MAX && at > 0 && (size_t)at < sizeof line; i++)
        at += snprintf(line + at, sizeof line - (size_t)at,
                       addr_is_ipv6(&addrs[i]) ? "%s[%s]" : "%s%s", i ? "," : "",
                       addr_host(&addrs[i], text));
    return at > 0 && (size_t)at < sizeof line ? curl.curl_slist_append(NULL, line) : NULL;
}

static enum err_code judge(CURL *c, CURLcode r, const char *host, const char *type,
                           const struct buf *out, struct err *e) {
    const char *have = NULL;
    long status = 0;

    if (out->bad) return err_set(e, ERR_LIMIT, "what https://%s has is too large", host);
    if (r == CURLE_PEER_FAILED_VERIFICATION || r == CURLE_SSL_CONNECT_ERROR)
        return err_set(e, ERR_TLS, "https://%s: %s", host, curl.curl_easy_strerror(r));
    if (r == CURLE_OPERATION_TIMEDOUT)
        return err_set(e, ERR_TIMEOUT, "https://%s: no answer in time", host);
    if (r != CURLE_OK)
        return err_set(e, ERR_NET, "https://%s: %s", host, curl.curl_easy_strerror(r));
    curl.curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    curl.curl_easy_getinfo(c, CURLINFO_CONTENT_TYPE, &have);
    if (status != 200) return err_set(e, ERR_NOT_FOUND, "https://%s: status %ld", host, status);
    if (!is_type(have, type))
        return err_set(e, ERR_SYNTAX, "https://%s: the type is %.60s, not %s", host,
                       have ? have : "missing", type);
    return OK;
}

enum err_code https_get(const char *host, const char *path, const struct addr *addrs, size_t n,
                        const char *ca_file, const char *type, struct buf *out, struct err *e) {
    enum err_code code = curl_load(e);
    struct curl_slist *where = NULL;
    char url[1024];
    CURL *c;

    if (code != OK) return code;
    if (n == 0) return err_set(e, ERR_NET, "https://%s: no address", host);
    if (snprintf(url, sizeof url, "https://%s:%u%s", host, addr_port(&addrs[0]), path) >=
        (int)sizeof url)
        return err_set(e, ERR_LIMIT, "https://%s: the address is too long", host);
    c = curl.curl_easy_init();
    where = addresses(host, addrs, n);
    if (c && where) {
        CURLcode r;

        curl.curl_easy_setopt(c, CURLOPT_URL, url);
        curl.curl_easy_setopt(c, CURLOPT_RESOLVE, where);
        curl.curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "https");
        curl.curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
        curl.curl_easy_setopt(c, CURLOPT_PROXY, "");
        curl.curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
        curl.curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)HTTPS_TIMEOUT_MS / 2);
        curl.curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)HTTPS_TIMEOUT_MS);
        curl.curl_easy_setopt(c, CURLOPT_CAINFO, ca_file);
        curl.curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
        curl.curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
        curl.curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
        curl.curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take);
        curl.curl_easy_setopt(c, CURLOPT_WRITEDATA, out);
        r = curl.curl_easy_perform(c);
        code = judge(c, r, host, type, out, e);
    } else {
        code = err_set(e, ERR_MEMORY, "no memory for HTTPS");
    }
    curl.curl_slist_free_all(where);
    if (c) curl.curl_easy_cleanup(c);
    return code;
}
