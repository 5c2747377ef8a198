#include "base/lazy.h"

#include <dlfcn.h>
#include <pthread.h>

enum { LAZY_NEW, LAZY_LOADED };

#ifdef LINK_DIRECT
enum err_code lazy_load(struct lazy *l, struct err *e) {
    (void)e;
    atomic_store(&l->state, LAZY_LOADED);
    return OK;
}
#else
static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;

static enum err_code load(struct lazy *l, struct err *e) {
    void **slot = l->table;
    void *lib = dlopen(l->soname, RTLD_NOW | RTLD_LOCAL);

    if (!lib) {
        const char *why = dlerror();
        size_t n = why ? strcspn(why, ":") : 0;

        for (size_t i = n; i > 0; i--)
            if (why[i - 1] == '/') why += i, n -= i, i = 1;
        /* It may be there, and what it needs is not: the loader names the file first. */
        if (n > 0 && n < 64 && strncmp(why, "lib", 3) == 0 && strncmp(why, l->soname, n) != 0)
            return err_set(e, ERR_LIBRARY,
                           "cannot load %s, which needs %.*s; install the package %s and all that "
                           "it depends on",
                           l->soname, (int)n, why, l->package);
        return err_set(e, ERR_LIBRARY, "cannot load %s; install the package %s", l->soname,
                       l->package);
    }
    for (const char *name = l->names; *name; name += strlen(name) + 1, slot++) {
        *slot = dlsym(lib, name);
        if (!*slot)
            return err_set(e, ERR_LIBRARY, "%s has no %s; install a newer package %s", l->soname,
                           name, l->package);
    }
    atomic_store_explicit(&l->state, LAZY_LOADED, memory_order_release);
    return OK;
}

enum err_code lazy_load(struct lazy *l, struct err *e) {
    enum err_code code = OK;

    if (atomic_load_explicit(&l->state, memory_order_acquire) == LAZY_LOADED) return OK;
    pthread_mutex_lock(&loading);
    if (atomic_load(&l->state) != LAZY_LOADED) code = load(l, e);
    pthread_mutex_unlock(&loading);
    return code;
}
#endif
