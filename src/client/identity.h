// A machine's certificate for TLS: an agent or a router asks a server for it with the node token, shows it under
// https:// (trust.h), and has it renewed after two thirds of its time. On its loop. While no address says https:// it
// does nothing.
#pragma once

#include "base/err.h"
#include "io/loop.h"

struct client_identity;
struct client_servers;

struct client_identity_spec {
	struct loop *loop;
	struct client_servers *servers; // any of them is asked
	const char *data;               // DATA/secrets/authority.pem says whom to believe; looked for until it is there
	const char *token;
	const char *node; // the machine's name; NULL: its host name
};

// Before the first link, in a process that will have an identity.
void client_identity_prepare(const char *data);
struct client_identity *client_identity_start(const struct client_identity_spec *spec); // copies what it needs
void client_identity_stop(struct client_identity *identity); // before client_servers_free. NULL is fine
