#include "serve/server.h"
enum err_code imap_host_new(struct session *s, mono_t now, struct err *e) { (void)s,(void)now; return err_set(e, ERR_BUG, "x"); }
