// Private to the agent: everything one agent process holds. All on the loop's thread unless said otherwise.
#pragma once

#include "agent/artifacts.h"
#include "agent/container/container.h"
#include "agent/history.h"
#include "agent/instance.h"
#include "agent/sweep.h"
#include "base/id.h"
#include "base/map.h"
#include "client/identity.h"
#include "client/servers.h"
#include "model/platform.h"

struct http_server;

enum { NODE_NAME_SIZE = 64, START_LIMIT = 4, POOL_THREADS = 12 };

struct agent {
	struct world world;
	struct loop *loop;
	struct platform platform; // immutable; read by pool threads too
	char name[NODE_NAME_SIZE];
	char *api;   // addresses of the servers that are known from the start
	char *token; // of the node
	struct client_identity *identity;
	struct container_host *host;
	struct addresses addresses;
	struct keeper_client *keeper;
	struct client_servers *servers;
	struct client_watch *orders;
	char boot[UID_SIZE]; // of this agent process: reports count within it
	struct list reports; // struct report_sender, one for each server
	struct artifacts artifacts;
	struct sweep sweep;
	struct history history;
	struct map instances; // id → struct instance
	struct list unreadable; // struct unreadable (unreadable.h)
	bool away;    // no orders come; has been said
	bool ordered; // the server has said all that it wants to run here
	struct map visitors;  // id → struct visitor: one-off containers (visitor.h)
	struct http_server *endpoint;
	struct list streams;	 // exec and run
	struct list log_answers; // open ones
};

static inline struct agent *agent_of(struct world *world)
{
	return CONTAINER_OF(world, struct agent, world);
}

extern const struct world_ops host_world_ops;
extern const struct instance_events agent_events;

char *agent_instance_dir(const struct agent *agent, const char *id); // any thread; the caller frees
char *agent_log_dir(const struct agent *agent, const char *id);

// Something was learned that instances may be waiting for (an artifact has come).
void agent_wake_all(struct agent *agent);

// Blocking, before the loop runs: reads what exists, opens the container host, and makes an instance of everything that
// was recorded here.
int agent_adopt(struct agent *agent, struct err *err);

// The stream of assignments.
void agent_follow_orders(struct agent *agent);
void agent_take_orders(struct agent *agent, struct assignments *orders); // what is taken over is left zeroed

// The keeper tells the end of a one-off container (visitor.h).
void agent_visitor_exited(struct agent *agent, const struct keeper_exit *record);

// The endpoint on run/agent.sock.
int agent_listen(struct agent *agent, struct err *err);
