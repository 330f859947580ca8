// What the server knows, in memory: desired state as typed objects with indexes, fed by a watch of the store, and
// beside it what agents reported, which is written nowhere. Cold records (events, audit, artifacts, builds, releases
// not in use) stay in the store and are read from there. Lives on the server's loop.
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "io/loop.h"
#include "model/exchange.h"
#include "plan/plan.h"
#include "server/node_link.h"
#include "store/store.h"

struct server;

// What the last plan said of one process.
struct refusal {
	char *node, *text;
};
struct process_plan {
	struct plan_status status;
	char *detail; // why it does not get on, for people; NULL
	struct refusal *refusals;
	uint32_t refusal_count;
};
void process_plans_free(struct process_plan *plans, uint32_t count);

struct app_entry {
	char *key;   // "TENANT/ENVIRONMENT/APP"
	bool exists; // false: deleted; kept while placements or watchers remain
	struct app app;
	uint64_t created_revision, revision;
	struct map releases; // number → struct release *: those that are wanted or placed
	struct list placements;
	struct list watches;        // struct watch
	struct list changed;        // on replica.changed_apps: watchers have something to hear
	struct process_plan *plans; // in the order of the wanted release's processes
	uint32_t plan_count;
	uint64_t planned_revision;        // the app's revision that the plans stand for
	uint64_t first_event, next_event; // sequence numbers; next 0: not looked up yet
	bool announced_known;             // since this process started
	enum rollout announced;           // the state of the whole rollout that the last event told of
	bool leftover;                    // deleted, and releases and events of it may still be in the store
	uint32_t plan_index;
};

struct node_entry {
	char *name;
	bool exists; // false: only named by placements or reports so far
	struct node node;
	uint64_t revision;
	struct list placements;
	struct node_link link;
	uint32_t plan_index;
};

struct placement_entry {
	struct placement record;
	uint64_t revision;
	struct app_entry *app;
	struct node_entry *node;
	struct list of_app, of_node;
	bool heard;   // its agent reported it (or, in a whole report, did not) since this process started
	bool unknown; // not heard, and it was there before this process: it may be anything
	struct instance_report actual;
	struct gate gate;
	struct sent sent;
	uint32_t plan_index;
};

struct replica {
	struct server *server;
	struct store *store;
	struct map tenants, environments;   // name, "T/E" → any
	struct map apps, nodes, placements; // "T/E/A", name, instance id → entries
	struct map tokens;                  // digest → struct token *
	struct list changed_apps;
	struct store_watch watch;
	struct task task;
	bool loading;
};

void replica_open(struct replica *replica, struct server *server); // lists, then watches
void replica_close(struct replica *replica);

// Applies every change that the store has published: whoever reads the replica to decide something calls this first.
void replica_catch_up(struct replica *replica);

struct app_entry *replica_app(const struct replica *replica, const char *tenant, const char *environment,
			      const char *app);
struct node_entry *replica_node(struct replica *replica, const char *name); // made when missing

// The release of an app by number, from memory or the store; NULL when there is none. Valid until the replica changes.
const struct release *replica_release(struct replica *replica, struct app_entry *app, uint32_t number);

// The same, for who writes down something new about it in the store and here.
struct release *replica_release_kept(struct replica *replica, struct app_entry *app, uint32_t number);

// Forgets an app that is deleted, has nothing left and is watched by nobody.
void app_entry_settle(struct replica *replica, struct app_entry *app);

// The app is the one its placements mean (not another of the same name).
bool placement_is_of(const struct placement_entry *p, const struct app_entry *app);

void app_mark(struct replica *replica, struct app_entry *app); // its watchers hear of it soon
