/* Loaded before the C library: one name is never answered, the others are looked up as always. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

typedef int look_up(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    while (node != NULL && strcmp(node, "silent.test") == 0)
        pause();
    return ((look_up *)dlsym(RTLD_NEXT, "getaddrinfo"))(node, service, hints, found);
}
