#include "server/peers.h"

#include "base/log.h"
#include "base/str.h"
#include "server/core.h"
#include "server/passthrough.h"

enum { PEER_CONNECTIONS = 64 };

// The client of the server at this address ("http://ADDR:PORT", "https://…"), made when first asked for; NULL: that is
// none.
static struct http_client *peer_at(struct server *server, const char *api)
{
	struct http_client *client = map_get(&server->peers, api);
	struct address address;
	struct err err = {};
	if (client)
		return client;
	bool secure = str_starts(api, "https://");
	const char *text = secure                       ? api + strlen("https://")
			   : str_starts(api, "http://") ? api + strlen("http://")
							: api;
	if (address_parse(text, &address, &err) < 0) {
		log_warn("server not asked api=%s reason=\"%s\"", api, err.text);
		return NULL;
	}
	client = http_client_new(server->loop, &address, PEER_CONNECTIONS);
	if (secure)
		authority_secure_client(server, client);
	map_set(&server->peers, api, client);
	return client;
}

// One that has the files, is there, and is not this one.
static struct http_client *holder(struct server *server, const struct stored_artifact *record)
{
	for (uint32_t i = 0; i < record->server_count; i++) {
		AUTO_FREE char *api = lead_address(server, record->servers[i]);
		if (api && !str_eq(record->servers[i], server->name))
			return peer_at(server, api);
	}
	return NULL;
}

bool peers_have(struct request *rq)
{
	struct server *server = rq->server;
	if (!rq->x || rq->answered)
		return false;
	const struct http_request *head = http_exchange_request(rq->x);
	AUTO_FREE char *key = xasprintf("v1/artifacts/%s/%s", request_param(rq, "tenant"), request_param(rq, "digest"));
	const struct record *r = store_get(server->store, key);
	struct stored_artifact record = {};
	if (!r || http_header_get(&head->headers, RELAYED) ||
	    stored_artifact_parse_text(record_value(r), r->value_len, &record, NULL) < 0)
		return false;
	struct http_client *peer = holder(server, &record);
	stored_artifact_clear(&record);
	if (!peer)
		return false;
	AUTO_FREE char *target = xasprintf("%s%s%s", head->path, *head->query ? "?" : "", head->query);
	relay_start(rq, &(struct relay_spec){ .peer = peer, .method = head->method, .target = target });
	return true;
}

void peers_close(struct server *server)
{
	size_t at = 0;
	void *client;
	while (map_next(&server->peers, &at, NULL, &client))
		http_client_free(client);
	map_clear(&server->peers);
}
