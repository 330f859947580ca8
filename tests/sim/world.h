// A made-up platform in virtual time: hollow agents, slow and repeated messages, operators, and a server that plans.
// Everything follows from one seed. One thread, nothing but memory.
#pragma once

#include "base/rng.h"
#include "plan/plan.h"

#include <stdio.h>

enum { APPS = 3, PROCESSES = 2, NODES_MAX = 6, RELEASES_MAX = 64, STEP_MS = 100, DELAY_MAX_MS = 4000 };
#define NEVER UINT64_MAX

struct sim_release {
	bool good;       // its instances become ready
	bool has_worker; // process 1 is in it
	uint64_t memory_bytes;
};

struct sim_app {
	bool exists, stopped;
	uint32_t uid; // a deleted app's instances are not those of its successor
	uint32_t release, last_release, restart;
	uint32_t wanted[PROCESSES];
	struct sim_release releases[RELEASES_MAX];
	bool armed[PROCESSES]; // it was full since it last had a reason not to be
};

struct sim_instance {
	bool exists; // the store has a record of it
	uint32_t app, app_uid, process, node, index, release, restart, moves;
	enum want want;
	uint64_t created_ms, memory_bytes;
	bool good;
	// what its agent does
	uint64_t order_ms; // when the record as it is now reaches the agent
	bool known;
	enum want told;
	enum instance_state state;
	uint32_t restarts;
	uint64_t next_ms;
	uint64_t flapped_ms; // its last fault, or recovery from one
	// what the server last heard
	bool heard;
	enum instance_state seen;
	uint32_t seen_restarts;
};

struct sim_node {
	bool up, connected;
	uint64_t back_ms; // when what is wrong with it ends
	enum node_state stored;
	uint64_t heard_ms;
	uint64_t memory_bytes;
	uint32_t zone;
	uint64_t sent_seq, seen_seq;
	uint64_t report_ms; // the next one
};

struct message {
	uint64_t at_ms, seq;
	uint32_t node, count;
	struct line {
		uint32_t instance;
		enum instance_state state;
		uint32_t restarts;
	} * lines;
};

// What may happen in a history; drawn from its seed.
struct weather {
	bool crashes, partitions, deaths, bad_releases, refused_writes, server_restarts, tight, drains;
};

enum bug {
	BUG_NONE,
	BUG_SURGE,    // plans with more surge than allowed
	BUG_HASTY,    // takes what starts for ready
	BUG_FLOOR,    // plans with fewer ready than allowed
	BUG_FORGET,   // overlooks an instance
	BUG_RESTLESS, // takes a node for lost that is not
	BUG_SHORT,    // wants two instances at most
	BUG_DEAF,     // does not notice silence
	BUG_ROOMY,    // believes nodes to be larger
	BUG_EAGER,    // does not see that a release fails
	BUG_PANIC,    // moves things when nobody is heard
	BUGS,
};

struct violation {
	const char *law; // NULL: none
	char text[256];
};

struct world {
	struct rng rng;
	uint64_t now_ms;
	struct weather weather;
	struct plan_settings settings;
	enum bug bug;
	bool calm; // the end: everything is mended, and operators keep still
	bool trace;
	struct sim_app apps[APPS];
	struct sim_node nodes[NODES_MAX];
	uint32_t node_count;
	struct sim_instance *instances;
	uint32_t instance_count, instance_size;
	struct message *messages;
	uint32_t message_count, message_size;
	uint32_t next_uid;
	struct violation violation;
	uint64_t placed, stopped; // for the summary: a history in which nothing happens proves nothing
};

// The planner's input as the server sees the world, with the way back.
struct view {
	struct plan_input input;
	struct plan_app apps[APPS];
	struct plan_process processes[APPS * PROCESSES];
	struct plan_node nodes[NODES_MAX];
	struct plan_placement *placements;
	uint32_t *instances;                // placement → instance
	uint32_t app_of[APPS];              // plan app → app
	uint32_t kind_of[APPS * PROCESSES]; // plan process → process
};

uint64_t world_between(struct world *world, uint64_t low, uint64_t high);
bool world_chance(struct world *world, uint32_t in_thousand);
void world_violate(struct world *world, const char *law, const char *fmt, ...) PRINTF_LIKE(3, 4);

void world_init(struct world *world, uint64_t seed, enum bug bug);
void world_clear(struct world *world);

uint32_t app_wants(const struct sim_app *app, uint32_t process);
bool instance_belongs(const struct world *world, const struct sim_instance *instance); // to an app that still is there

// world.c
void view_make(struct world *world, bool honest, struct view *ret); // honest: without the bug
void view_clear(struct view *view);
void world_apply(struct world *world, const struct view *view, const struct plan *plan);

// agents.c
void agents_step(struct world *world);
void messages_deliver(struct world *world);
void world_disarm_node(struct world *world, uint32_t node);

// operators.c
void operators_step(struct world *world);
void operators_mend(struct world *world);

// laws.c
void laws_check_plan(struct world *world, const struct view *view, const struct plan *plan);
void laws_check_world(struct world *world);
void laws_check_end(struct world *world);
