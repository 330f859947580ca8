#include "server/core.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "base/str.h"
#include "server/access.h"
#include "server/artifacts.h"
#include "server/dispatch.h"
#include "server/passthrough.h"
#include "server/peers.h"
#include "server/records_check.h"

#include <assert.h>
#include <limits.h>
#include <malloc.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 20000, AGENT_CONNECTIONS_MAX = 1000 };

// ---- what exists from the start

// A write that failed is made by the next process: until then its token or tenant is unknown.
static void begun(void *arg, const struct store_answer *answer)
{
	struct server *server = arg;
	if (answer->result != STORE_OK && answer->result != STORE_CONFLICT)
		log_error("cannot begin: %s", answer->reason);
	server_begun(server);
}

void server_begun(struct server *server)
{
	struct err err = {};
	if (--server->beginning || server->closing)
		return;
	while (server->n_waiting)
		if (http_server_listen(server->http, server->waiting_fds[--server->n_waiting], &err) < 0)
			log_error("%s", err.text);
}

void server_begin_with(struct server *server, struct store_txn *txn)
{
	server->beginning++;
	store_commit(server->store, txn, begun, server);
}

static void put_if_absent(struct server *server, const char *key, const char *text)
{
	if (store_get(server->store, key))
		return;
	struct store_txn *txn = store_txn_new();
	store_txn_if_absent(txn, key);
	store_txn_put(txn, key, text, strlen(text));
	server_begin_with(server, txn);
}

// What all servers of a platform must say alike: as its first one was given it.
static void make_platform(struct server *server)
{
	AUTO_JSON json_t *json = json_pack("{s:s}", "domain", server->platform->domain);
	AUTO_FREE char *text = json_to_text(json);
	put_if_absent(server, SERVER_PLATFORM_KEY, text);
}

static void make_places(struct server *server)
{
	if (store_is_shared(server->store))
		make_platform(server);
	char uid[UID_SIZE];
	uid_new(uid);
	struct tenant tenant = { .name = (char *)"default", .uid = uid, .created_ms = realtime_ms() };
	AUTO_FREE char *tenant_value = tenant_text(&tenant);
	put_if_absent(server, "v1/tenants/default", tenant_value);
	uid_new(uid);
	struct environment environment = {
		.tenant = tenant.name, .name = (char *)"dev", .uid = uid, .created_ms = tenant.created_ms
	};
	AUTO_FREE char *environment_value = environment_text(&environment);
	put_if_absent(server, "v1/environments/default/dev", environment_value);
}

// ---- the server

// What a large body and what was made of it left free inside the heap goes back to the machine.
static void tidy(struct server *server)
{
	if (server->untidy)
		malloc_trim(0);
	server->untidy = false;
}

static void ping(struct timer *timer)
{
	struct server *server = CONTAINER_OF(timer, struct server, ping);
	streams_ping(&server->streams);
	tidy(server);
	timer_set(timer, STREAM_PING_MS);
}

static int open_agent(struct server *server, struct err *err)
{
	AUTO_FREE char *text = xasprintf("unix:%s/run/agent.sock", server->platform->data);
	struct address address;
	int r = address_parse(text, &address, err);
	if (r < 0)
		return r;
	server->agent = http_client_new(server->loop, &address, AGENT_CONNECTIONS_MAX);
	return 0;
}

// Two on one machine have different ids, two with the same id are on different machines.
static char *default_name(const struct platform *platform)
{
	char host[HOST_NAME_MAX + 1] = "";
	gethostname(host, sizeof(host) - 1);
	bool fits = str_is_label(host) && strlen(host) + PLATFORM_ID_SIZE < 64;
	return xasprintf("%s-%s", fits ? host : "server", platform->id);
}

static void server_clear(struct server *server)
{
	free(server->name);
	free(server->api);
	free(server->suffix);
	free(server);
}

int server_new(struct loop *loop, const struct platform *platform, struct store *store, const char *driver,
	       struct server **ret, struct err *err)
{
	struct server *server = xcalloc(1, sizeof(*server));
	server->loop = loop;
	server->platform = platform;
	server->driver = driver;
	server->store = store;
	server->name = platform->name ? xstrdup(platform->name) : default_name(platform);
	server->api = xasprintf("%s://%s", platform_api_is_local(platform) ? "http" : "https", platform->api);
	server->suffix = store_is_shared(store) ? xasprintf("-%s", server->name) : xstrdup("");
	list_init(&server->streams);
	list_init(&server->tunnels);
	int r = records_check(store, err);
	if (r == 0)
		r = open_agent(server, err);
	if (r == 0)
		r = access_open(server, err);
	if (r < 0) {
		http_client_free(server->agent);
		server_clear(server);
		return r;
	}
	make_places(server);
	audit_open(server);
	routers_open(server);
	replica_open(&server->replica, server);
	struct http_server_config config = { .on_request = dispatch,
					     .arg = server,
					     .max_connections = CONNECTIONS_MAX };
	server->http = http_server_new(loop, &config);
	authority_open(server);
	control_open(server);
	lead_open(server);
	timer_init(&server->ping, loop, ping);
	timer_set(&server->ping, STREAM_PING_MS);
	sweep_open(server);
	*ret = server;
	return 0;
}

int server_listen(struct server *server, int fd, struct err *err)
{
	if (!server->beginning)
		return http_server_listen(server->http, fd, err);
	assert(server->n_waiting < SERVER_LISTENERS);
	server->waiting_fds[server->n_waiting++] = fd;
	return 0;
}

void server_drain(struct server *server)
{
	server->closing = true;
	http_server_drain(server->http);
	streams_end(&server->streams);
	lead_resign(server);
}

void server_free(struct server *server)
{
	if (!server)
		return;
	server->closing = true;
	timer_clear(&server->ping);
	timer_clear(&server->thaw);
	sweep_close(server);
	tunnels_close(server);
	lead_close(server);
	http_server_free(server->http);
	authority_close(server);
	http_client_free(server->agent);
	peers_close(server);
	while (server->n_waiting)
		close(server->waiting_fds[--server->n_waiting]);
	control_close(server);
	store_watch_stop(&server->replica.watch);
	store_close(server->store);
	server->freed = true;
	if (!server->working)
		server_release(server);
}

void server_release(struct server *server)
{
	routers_close(server);
	replica_close(&server->replica);
	artifacts_close(server);
	server_clear(server);
}
