// DATA/platform.json: what a platform on this machine is called and where it listens. Written by `up`, read by all. A
// library of its own beside the rest of the model, which is pure: this part opens a file.
#pragma once

#include "base/err.h"

#include <stdbool.h>

#define PLATFORM_ID_SIZE 7

struct platform {
	char id[PLATFORM_ID_SIZE]; // 6 lower-case hex digits; part of the names of bridge, nft table, cgroup
	char *data;   // absolute path of the data directory; from the argument of platform_load, not in the file
	char *domain; // apps are at APP.DOMAIN
	char *http;   // ADDR:PORT of the router
	char *api;    // ADDR:PORT of the API
	char *cache;  // absolute path
	char *subnet; // "A.B.C.D/20": instances' addresses; the first one is the bridge's

	// Of a platform with several servers; all may be NULL.
	char *store;    // "etcd://ADDR:PORT,…"; NULL: SQLite in DATA/store, and this machine's server is the only one
	char *store_ca, *store_cert, *store_key; // PEM files
	char *name;     // of this machine's server among all; NULL: made of host name and id
	char *servers;  // "http://ADDR:PORT,…": where agent and router find servers at first; NULL: at api
};

#define PLATFORM_DATA_DEFAULT "/var/lib/dialtone"
#define PLATFORM_CACHE_DEFAULT "/var/cache/dialtone"
#define PLATFORM_HTTP_DEFAULT "0.0.0.0:8080"
#define PLATFORM_API_DEFAULT "127.0.0.1:7070"
#define PLATFORM_DOMAIN_DEFAULT "apps.localhost"

void platform_clear(struct platform *platform); // zeroed is fine
#define AUTO_PLATFORM CLEANUP(platform_clear)

// Reads DATA/platform.json. -ENOENT: `up` has never run with this data directory (the error says so).
int platform_load(const char *data, struct platform *ret, struct err *err);

// Whether there may be other servers than the one at platform->api.
static inline bool platform_is_shared(const struct platform *platform)
{
	return platform->store || platform->servers;
}

// Whether the API is for this machine only; otherwise it is under TLS, and on the same port of the loopback also plain.
bool platform_api_is_local(const struct platform *platform);
// The API as a client on this machine reaches it: "http://127.0.0.1:7070". Heap.
char *platform_api(const struct platform *platform);

// Where agent and router look for servers at first, "http://ADDR:PORT,…"; of several, each by the address that the others
// know it by. Heap.
char *platform_servers(const struct platform *platform);

// The file's content; heap. Written by `up`, and by the server when the store is moved; durably, mode 0600.
char *platform_to_text(const struct platform *platform);
