// A server on a loop of its own thread, with a store, a cache with two stacks and a runtime, and beside it on the same
// loop an agent and a router that speak the protocol over loopback. Tests talk to it from the main thread.
#pragma once

#include "base/str.h"
#include "client/client.h"
#include "model/exchange.h"
#include "server/core.h"

#include <jansson.h>
#include <pthread.h>

#define APP_PATH "/v1/tenants/default/environments/dev/apps/"
#define ARTIFACT "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define ARTIFACT2 "sha256:2222222222222222222222222222222222222222222222222222222222222222"

struct fake_agent {
	struct client_link *link;
	struct client_watch *watch;
	struct map instances;        // id → struct fake_instance *
	enum instance_state becomes; // what a new instance is reported as
	const char *broken;          // but those of this process are FAILED; NULL: none
	uint64_t seq;
	unsigned assigned; // messages
	bool reported_full;
};

struct fake_instance {
	struct assignment assignment;
	struct instance_report report;
};

struct fake_router {
	struct client_link *link;
	struct client_watch *watch;
	json_t *table; // the last one
	unsigned tables;
	bool silent;      // does not acknowledge
	const char *busy; // instance with a request in flight; NULL: none
};

struct rig {
	char dir[64];
	bool sqlite;
	struct platform platform;
	char api[64];
	pthread_t thread;
	struct loop *loop;
	struct server *server;
	struct fake_agent agent;
	struct fake_router router;
	struct client *operator, * node, *nobody;
	int poke[2];
	struct poll poll;
	void (*job)(struct rig *rig, void *arg);
	void *job_arg;
	pthread_mutex_t lock;
	pthread_cond_t done;
};

void rig_start(struct rig *rig, bool sqlite); // server only, and two artifacts recorded
void rig_stop(struct rig *rig);
void rig_restart(struct rig *rig); // the server, with the same store (sqlite)

void rig_agent_start(struct rig *rig); // heard when it returns
void rig_agent_stop(struct rig *rig);
void rig_router_start(struct rig *rig); // has a table when it returns
void rig_router_stop(struct rig *rig);

// Runs job on the server's loop and waits for it.
void rig_do(struct rig *rig, void (*job)(struct rig *rig, void *arg), void *arg);

// Asks as the operator; fails the test unless it is answered with this status. body: JSON text or NULL. The caller
// frees.
json_t *rig_call(struct rig *rig, unsigned status, const char *method, const char *path, const char *body);

// The same, for any client, with the whole answer.
void rig_send(struct client *client, const char *method, const char *path, const char *body, const char *if_match,
	      struct client_answer *ret);

// Asks GET path until check is content with the answer; fails the test after 10 s. The caller frees the answer.
json_t *rig_wait(struct rig *rig, const char *path, bool (*check)(const json_t *answer, const void *arg),
		 const void *arg);
// Waits until a condition on the loop's side holds.
void rig_until(struct rig *rig, bool (*check)(struct rig *rig, void *arg), void *arg);

// A spec of one process `web` with this command, host and instances; JSON text {spec, artifact}. Heap.
char *deployment_json(const char *app, const char *command, const char *host, unsigned instances, const char *artifact);
void rig_deploy(struct rig *rig, const char *app, unsigned instances,
		const char *artifact); // and waits until it serves

// As the agent, about the instance with this index of web: it has ended with this status.
void rig_crash(struct rig *rig, unsigned index, unsigned status);
