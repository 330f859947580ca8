// What the node's agent answers itself, behind the API's rights: logs and builds as streams of events, shells and
// one-off commands as tunnels of bytes. Back-pressure goes through in both directions.
#pragma once

#include "http/sse.h"
#include "server/request.h"

void passthrough_logs(struct request *rq); // GET apps/{app}/logs
void passthrough_run(struct request *rq);  // POST apps/{app}/run
void passthrough_exec(struct request *rq); // POST apps/{app}/instances/{instance}/exec

// Calls the agent, or a server, and gives its answer on to rq as it comes. on_event (may be NULL) sees each event of a
// good answer first; arg is freed by free_arg (may be NULL) when it is over. body may be NULL.
struct relay_spec {
	struct http_client *peer; // NULL: the agent; otherwise a server, which is asked in the name of who asks here
	const char *method, *target;
	const json_t *body;
	void (*on_event)(struct request *rq, const struct sse_event *event, void *arg);
	void (*free_arg)(void *arg);
	void *arg;
};
void relay_start(struct request *rq, const struct relay_spec *spec);

// A bad answer of the agent as ours: its own words, or (err) why it could not be asked.
void reply_of_agent(struct request *rq, unsigned status, struct buf *problem, const struct err *err);

// Joins rq, which asks for "Upgrade: dialtone-stream", with the agent's answer to the same on target.
void tunnel_start(struct request *rq, const char *target, const json_t *body);
void tunnels_close(struct server *server);
