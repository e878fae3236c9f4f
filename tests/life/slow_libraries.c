/* Loaded before the C library and OpenSSL: one name is never answered, and handshakes can be told to take their time.
   Whatever else is asked for is done as always. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef int look_up(const char *, const char *, const struct addrinfo *, struct addrinfo **);
typedef int step(void *);
typedef void *generate(void *, const char *, const char *, ...);
typedef void release(void *);
typedef int asks(void);

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    while (node != NULL && strcmp(node, "silent.test") == 0)
        pause();
    return ((look_up *)dlsym(RTLD_NEXT, "getaddrinfo"))(node, service, hints, found);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* However long the program lives, unless it hangs; and longer than the rest of its exit takes, but not so long as an exit
   waits. In seconds. */
static const double LIFE = 60, LAST = 0.07;

/* A step that outlasts the interpreter: it makes many keys. An OpenSSL that is a part of Python's own module does not
   come here. */
int SSL_do_handshake(void *session) {
    /* Python's module is who loaded them, so they are not among the libraries that come next. */
    void *ssl = dlopen("libssl.so.3", RTLD_LAZY | RTLD_NOLOAD);
    void *crypto = dlopen("libcrypto.so.3", RTLD_LAZY | RTLD_NOLOAD);
    if (getenv("SLOW_HANDSHAKES") != NULL) {
        generate *a_key = (generate *)dlsym(crypto, "EVP_PKEY_Q_keygen");
        release *of_key = (release *)dlsym(crypto, "EVP_PKEY_free");
        asks *has_interpreter = (asks *)dlsym(RTLD_DEFAULT, "Py_IsInitialized");
        double end = now() + LIFE;
        for (int is_last = 0; now() < end; of_key(a_key(NULL, NULL, "X25519")))
            if (!is_last && !has_interpreter()) {
                is_last = 1;
                end = now() + LAST;
            }
    }
    return ((step *)dlsym(ssl, "SSL_do_handshake"))(session);
}
