// What a platform has on disk before its processes start: folders, platform.json, secrets, and the entry in the CLI's
// configuration.
#pragma once

#include "base/err.h"
#include "model/platform.h"

#include <stdbool.h>

// As given on the command line; NULL: as before, or the default.
struct setup_options {
	const char *cache, *http, *api, *domain;
	const char *store, *store_ca, *store_cert, *store_key, *name, *servers;
};

// -EINVAL: the options as given contradict each other or are wrong in themselves. Looks at nothing else.
int setup_check(const struct setup_options *options, struct err *err);

// DATA as an absolute path; with make, its folders are made. Heap.
int setup_data(const char *data, bool make, char **ret, struct err *err);

// What platform.json would be: the present one with the options applied, or a new one. Writes nothing.
int setup_platform(const char *data, const struct setup_options *options, struct platform *ret, struct err *err);

// Writes platform.json, makes the cache folder and the secrets that are missing, stores the operator's token for the
// CLI.
int setup_write(const struct platform *platform, struct err *err);

// Of that, what a platform that is up still has to give: the operator's token, stored for the CLI of this HOME.
int setup_operator(const struct platform *platform, struct err *err);

// The router as a client on this machine reaches it: "http://127.0.0.1:8080".
char *setup_local_url(const char *address);
