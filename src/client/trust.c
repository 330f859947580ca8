#include "client/trust.h"

#include "base/str.h"
#include "client/wire.h"
#include "http/pki.h"
#include "http/tls.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define SCHEME "dialtone://" // of the names in a platform's certificates

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct tls_config *config; // lives as long as the process
static bool of_platform;
static atomic_bool used;

static int set(const struct tls_spec *spec, bool platform, struct err *err)
{
	pthread_mutex_lock(&lock);
	int r = config ? tls_config_reload(config, spec, err) : tls_config_new(spec, &config, err);
	if (r == 0)
		of_platform = platform;
	pthread_mutex_unlock(&lock);
	return r;
}

int client_trust(const char *authority, const char *cert, const char *key, struct err *err)
{
	struct pki_facts facts = { .uri = "" };
	int r = authority ? pki_read(authority, &facts, err) : 0;
	if (r < 0)
		return err_wrap(err, "the authority");
	struct tls_spec spec = { .alpn = "http/1.1", .ca = authority, .chain = cert, .key = key };
	return set(&spec, str_starts(facts.uri, SCHEME), err);
}

void client_trust_platform(void)
{
	if (set(&(struct tls_spec){ .alpn = "http/1.1", .no_authority = true }, true, NULL) < 0)
		abort();
}

void client_trust_anybody(void)
{
	if (set(&(struct tls_spec){ .alpn = "http/1.1", .believe_anybody = true }, false, NULL) < 0)
		abort();
}

bool client_trust_used(void)
{
	return atomic_load(&used);
}

struct http_client *client_wire_connect(const struct client_wire *wire, struct loop *loop, size_t max_connections)
{
	struct http_client *client = http_client_new(loop, &wire->address, max_connections);
	if (!wire->secure)
		return client;
	if (!config && client_trust(NULL, NULL, NULL, NULL) < 0)
		abort(); // the system's set of authorities may be empty, but not unusable
	AUTO_FREE char *host = xstrndup(wire->host, strlen(wire->host) - strlen(strrchr(wire->host, ':')));
	const char *bare = host[0] == '[' ? host + 1 : host;
	AUTO_FREE char *name = xstrndup(bare, strcspn(bare, "]"));
	pthread_mutex_lock(&lock);
	// Only servers have a certificate that says "server", and the authority is of this platform only.
	http_client_secure(client, config, of_platform ? SCHEME : name);
	pthread_mutex_unlock(&lock);
	atomic_store(&used, true);
	return client;
}
