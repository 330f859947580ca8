// The platform's own authority for TLS (docs/tls.md): made once, by the first server, kept in the store under
// v1/authority (who can write the store can do everything anyway). Each server issues itself a certificate for its
// addresses, and to agents and routers one for their machine, when they ask with the node token.
#pragma once

#include "io/loop.h"

#include <stdbool.h>

struct http_client;
struct request;
struct server;
struct store_answer;
struct tls_config;

enum {
	AUTHORITY_S = 10 * 365 * 24 * 3600,
	SERVER_CERTIFICATE_S = 90 * 24 * 3600,
	NODE_CERTIFICATE_S = 24 * 3600,
};

struct authority {
	struct server *server;
	char *platform; // the name that stands in certificates
	char *certificate, *key;
	char *mine;             // the server's own certificate, when it serves TLS
	struct tls_config *tls; // and what it serves with
	struct tls_config *out; // and what it asks other servers with
	struct timer renew;
};

// Makes or finds it; nobody is answered before that. Then the server has what it needs to serve at its address.
void authority_open(struct server *server);
void authority_close(struct server *server);

// The platform's node that the request's certificate is for; NULL: it has shown none, or another one.
const char *authority_node(const struct request *rq);
// Whether a server of the platform asks, by its certificate.
bool authority_is_server(const struct request *rq);

// For a client of another server, whose address says https: TLS, with this server's certificate.
void authority_secure_client(struct server *server, struct http_client *client);

void authority_get(struct request *rq);     // GET /v1/authority
void certificates_post(struct request *rq); // POST /v1/certificates

struct certificate_request {
	char *node, *request;
};
extern const struct fields certificate_request_fields;
