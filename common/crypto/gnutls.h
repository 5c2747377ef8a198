/* gnutls: the one door to GnuTLS (base/lazy). */
#ifndef CRYPTO_GNUTLS_H
#define CRYPTO_GNUTLS_H

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <gnutls/crypto.h>

#include "base/lazy.h"

#define GNUTLS_SYMS(X)                                                                             \
    X(gnutls_global_init)                                                                          \
    X(gnutls_hash)                                                                                 \
    X(gnutls_hash_init)                                                                            \
    X(gnutls_hash_deinit)                                                                          \
    X(gnutls_hash_fast)                                                                            \
    X(gnutls_hmac_fast)                                                                            \
    X(gnutls_pbkdf2)                                                                               \
    X(gnutls_session_channel_binding)                                                              \
    X(gnutls_certificate_server_set_request)                                                       \
    X(gnutls_certificate_verify_peers)                                                             \
    X(gnutls_x509_crt_get_subject_alt_name)                                                        \
    X(gnutls_x509_crt_get_dn_by_oid)                                                               \
    X(gnutls_strerror)                                                                             \
    X(gnutls_error_is_fatal)                                                                       \
    X(gnutls_alert_get)                                                                            \
    X(gnutls_alert_get_name)                                                                       \
    X(gnutls_init)                                                                                 \
    X(gnutls_deinit)                                                                               \
    X(gnutls_bye)                                                                                  \
    X(gnutls_handshake)                                                                            \
    X(gnutls_record_recv)                                                                          \
    X(gnutls_record_send)                                                                          \
    X(gnutls_record_check_pending)                                                                 \
    X(gnutls_record_get_direction)                                                                 \
    X(gnutls_transport_set_int2)                                                                   \
    X(gnutls_set_default_priority)                                                                 \
    X(gnutls_priority_init)                                                                        \
    X(gnutls_priority_set)                                                                         \
    X(gnutls_priority_deinit)                                                                      \
    X(gnutls_credentials_set)                                                                      \
    X(gnutls_server_name_set)                                                                      \
    X(gnutls_server_name_get)                                                                      \
    X(gnutls_session_get_desc)                                                                     \
    X(gnutls_protocol_get_version)                                                                 \
    X(gnutls_protocol_get_name)                                                                    \
    X(gnutls_cipher_get)                                                                           \
    X(gnutls_cipher_get_name)                                                                      \
    X(gnutls_ciphersuite_get)                                                                      \
    X(gnutls_group_get)                                                                            \
    X(gnutls_group_get_name)                                                                       \
    X(gnutls_certificate_allocate_credentials)                                                     \
    X(gnutls_certificate_free_credentials)                                                         \
    X(gnutls_certificate_set_x509_key_file)                                                        \
    X(gnutls_certificate_set_x509_trust_file)                                                      \
    X(gnutls_certificate_set_known_dh_params)                                                      \
    X(gnutls_certificate_get_peers)                                                                \
    X(gnutls_certificate_verify_peers3)                                                            \
    X(gnutls_certificate_verification_status_print)                                                \
    X(gnutls_certificate_type_get2)                                                                \
    X(gnutls_session_ticket_enable_server)                                                         \
    X(gnutls_session_ticket_key_generate)                                                          \
    X(gnutls_x509_crt_init)                                                                        \
    X(gnutls_x509_crt_deinit)                                                                      \
    X(gnutls_x509_crt_import)                                                                      \
    X(gnutls_x509_crt_export2)                                                                     \
    X(gnutls_x509_crt_set_version)                                                                 \
    X(gnutls_x509_crt_set_key)                                                                     \
    X(gnutls_x509_crt_set_serial)                                                                  \
    X(gnutls_x509_crt_set_dn_by_oid)                                                               \
    X(gnutls_x509_crt_set_subject_alt_name)                                                        \
    X(gnutls_x509_crt_set_activation_time)                                                         \
    X(gnutls_x509_crt_set_expiration_time)                                                         \
    X(gnutls_x509_crt_set_basic_constraints)                                                       \
    X(gnutls_x509_crt_set_key_usage)                                                               \
    X(gnutls_x509_crt_set_subject_key_id)                                                          \
    X(gnutls_x509_crt_get_key_id)                                                                  \
    X(gnutls_x509_crt_sign2)                                                                       \
    X(gnutls_x509_crt_get_dn3)                                                                     \
    X(gnutls_x509_crt_get_issuer_dn3)                                                              \
    X(gnutls_x509_crt_get_expiration_time)                                                         \
    X(gnutls_x509_crt_check_hostname2)                                                             \
    X(gnutls_x509_trust_list_init)                                                                 \
    X(gnutls_x509_trust_list_deinit)                                                               \
    X(gnutls_x509_trust_list_add_cas)                                                              \
    X(gnutls_x509_trust_list_verify_crt2)                                                          \
    X(gnutls_pubkey_init)                                                                          \
    X(gnutls_pubkey_deinit)                                                                        \
    X(gnutls_pubkey_import_x509)                                                                   \
    X(gnutls_pubkey_export2)                                                                       \
    X(gnutls_x509_privkey_init)                                                                    \
    X(gnutls_x509_privkey_deinit)                                                                  \
    X(gnutls_x509_privkey_generate)                                                                \
    X(gnutls_x509_privkey_export2)

struct gnutls_table {
    GNUTLS_SYMS(LAZY_FIELD)
};
extern struct gnutls_table gnutls;

/* Load GnuTLS. Any thread. ERR_LIBRARY names what is missing. */
enum err_code gnutls_load(struct err *e);

#endif
