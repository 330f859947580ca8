// DATA/platform.json: what a platform on this machine is called and where it listens. Written by `up`, read by all. A
// library of its own beside the rest of the model, which is pure: this part opens a file.
#pragma once

#include "base/err.h"

#define PLATFORM_ID_SIZE 7

struct platform {
	char id[PLATFORM_ID_SIZE]; // 6 lower-case hex digits; part of the names of bridge, nft table, cgroup
	char *data;   // absolute path of the data directory; from the argument of platform_load, not in the file
	char *domain; // apps are at APP.DOMAIN
	char *http;   // ADDR:PORT of the router
	char *api;    // ADDR:PORT of the API
	char *cache;  // absolute path
	char *subnet; // "A.B.C.D/20": instances' addresses; the first one is the bridge's
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

// The file's content; heap. Written by `up` alone, durably, mode 0600.
char *platform_to_text(const struct platform *platform);
