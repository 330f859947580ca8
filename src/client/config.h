// The CLI's configuration, $HOME/.config/dialtone/config.json, mode 0600:
// {"current":"http://127.0.0.1:7070","platforms":{"http://127.0.0.1:7070":{"token":"…","tenant":"default",
// "environment":"dev","data":"/var/lib/dialtone","servers":"http://…,http://…"}}}, and the paths below a tenant and an environment. Blocks.
#pragma once

#include "base/err.h"

struct client_config {
	char *address; // of the API: for client_new, with those of its other servers, if any, behind
	char *token;
	char *tenant, *environment; // "default" and "dev" unless set
	char *authority;	    // PEM: whom to believe at an https:// address; NULL: the system's authorities
	char *data;		    // its data directory, where `up` started it on this machine; NULL: not known
};

void client_config_clear(struct client_config *config);
#define AUTO_CLIENT_CONFIG CLEANUP(client_config_clear)

// The platform at address, or (NULL) the one of $DIALTONE_API, or the current one. $DIALTONE_TOKEN, $DIALTONE_TENANT and
// $DIALTONE_ENVIRONMENT go before the file. -ENOENT with a hint when there is no token for it.
int client_config_load(const char *address, struct client_config *ret, struct err *err);

// Keeps token and data directory under address (other platforms stay as they are) and makes it the current one. Used by
// `dialtone up`.
int client_config_store(const char *address, const char *token, const char *data, struct err *err);

// Keeps token and authority (PEM; NULL: none) under address and makes it the current one. Used by `dialtone login`.
int client_config_login(const char *address, const char *token, const char *authority, struct err *err);

// Keeps which servers the platform has, comma-separated, for when the one at its address does not answer. config is as
// client_config_load gave it; does nothing when the file has no such platform or says so already.
int client_config_store_servers(const struct client_config *config, const char *servers, struct err *err);

// "/v1/tenants/T/environments/E/" and "/v1/tenants/T/" followed by the formatted rest; the caller frees. Names inside
// the rest must be labels or go through client_escape.
char *client_environment_path(const struct client_config *config, const char *fmt, ...) PRINTF_LIKE(2, 3);
char *client_tenant_path(const struct client_config *config, const char *fmt, ...) PRINTF_LIKE(2, 3);

// Percent-encodes everything but the unreserved characters of RFC 3986, for a path segment or a query value.
char *client_escape(const char *text);
