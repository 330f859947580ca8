// Comparator, rollout and scheduler: what is wanted and what is there come in, actions come out. Pure: no clock, no
// input or output, no globals, no logging; only memory (xmalloc) and what is passed in. The same input gives the same
// plan, byte for byte.
//
// Everything refers to everything else by its place in the input's arrays (32 bits), so that a million instances fit in
// a flat array. The caller owns the input; nothing in it is kept. It carries the actions out through the store and
// plans again when anything changed: an action that was lost or refused is simply planned again.
#pragma once

#include "model/exchange.h"

#include <assert.h>

#define PLAN_NONE UINT32_MAX

// What a node can hold, and what an instance takes of it.
struct plan_room {
	uint64_t memory_bytes, disk_bytes;
	uint32_t cpu_millis;
	uint32_t instances; // of a node: the most it may hold; of an instance: 1
};

struct plan_node {
	struct plan_room room;
	enum node_state state; // as stored; READY and LOST are judged here, by silent_ms
	uint32_t zone;         // any number; the same for nodes that fail together
	uint64_t silent_ms;    // since its agent was last heard, by the receiver's own clock
};

struct plan_app {
	uint32_t release, restart;             // the ones wanted now
	uint32_t first_process, process_count; // its processes, side by side in plan_input.processes
	bool stopped;
};

// One process of an app's wanted release.
struct plan_process {
	uint32_t app;
	uint32_t wanted;        // instances, when the app is not stopped
	struct plan_room takes; // of the wanted release; .instances is ignored
};

// One placement record and what its agent last said of it.
struct plan_placement {
	uint32_t app;     // PLAN_NONE: the app is gone
	uint32_t process; // PLAN_NONE: the wanted release has no such process
	uint32_t node;    // PLAN_NONE: no such node any more
	uint32_t index, release, restart;
	uint32_t restarts; // crashes, as its agent counts them
	uint32_t moves;    // how often in a row this index was placed anew because of crashes
	uint8_t want;      // enum want
	uint8_t state;     // enum instance_state; INSTANCE_PENDING when it was only just placed
	bool unheard;      // its state is not known: the server started since, and its agent has not reported it
	uint8_t reserved;
	uint32_t takes_cpu_millis; // of its own release
	uint64_t takes_memory_bytes, takes_disk_bytes;
	uint64_t created_ms;
};
static_assert(sizeof(struct plan_placement) == 64, "there may be millions");

struct plan_settings {
	uint32_t surge_percent; // of the wanted count, rounded up: how many more may run while a release rolls
	uint32_t surge_min;
	uint32_t unavailable;    // how many fewer than wanted may be ready while a release rolls
	uint32_t crash_limit;    // crashes before an instance is placed on another node (doubles with each move)
	uint64_t move_ms;        // and not sooner after its placement than this (doubles likewise)
	uint64_t lost_ms;        // a node silent for this long is lost
	uint32_t cpu_percent;    // of a node's cpu that may be promised; 0: any amount (it is a weight, not a share)
	uint32_t memory_percent; // of a node's memory that may be promised
};

// surge 25 % and at least 1, none unavailable, 10 crashes, 60 s, 30 s, cpu unbounded, memory 100 %.
#define PLAN_SETTINGS_DEFAULT                                                                                          \
	((struct plan_settings){ .surge_percent = 25,                                                                  \
				 .surge_min = 1,                                                                       \
				 .crash_limit = 10,                                                                    \
				 .move_ms = 60000,                                                                     \
				 .lost_ms = 30000,                                                                     \
				 .memory_percent = 100 })

struct plan_input {
	uint64_t now_ms; // same clock as created_ms
	uint64_t seed;   // breaks ties between equal nodes
	struct plan_settings settings;
	const struct plan_app *apps;
	const struct plan_process *processes;
	const struct plan_placement *placements;
	const struct plan_node *nodes;
	uint32_t app_count, process_count, placement_count, node_count;
};

enum plan_verb {
	PLAN_PLACE,  // make a placement: app, process, index, release, restart, node, moves; placement: the one it
		     // replaces
	PLAN_STOP,   // set want to stop: placement
	PLAN_REMOVE, // delete the record: placement
	PLAN_NODE,   // write the node's state: node, state
};

enum plan_reason {
	PLAN_MISSING,      // fewer than wanted
	PLAN_RELEASE,      // another release is wanted
	PLAN_RESTART,      // an operator asked for a restart
	PLAN_REPLACED,     // its replacement is ready
	PLAN_SCALED_DOWN,  // more than wanted
	PLAN_APP_STOPPED,  // the app was stopped
	PLAN_APP_GONE,     // the app was deleted
	PLAN_PROCESS_GONE, // the release has no such process
	PLAN_DUPLICATE,    // another instance has this index
	PLAN_CRASHED,      // crashed too often, tried on another node
	PLAN_NODE_LOST,    // its node is silent
	PLAN_NODE_BACK,    // the node is heard again
	PLAN_NODE_DRAINED, // its node is being emptied
	PLAN_NODE_GONE,    // its node was removed
	PLAN_OVER,         // it has stopped
};
const char *plan_reason_text(enum plan_reason reason); // a phrase for people: "another release is wanted"

struct plan_action {
	enum plan_verb verb;
	enum plan_reason reason;
	uint32_t placement; // PLAN_NONE where there is none
	uint32_t app, process, index, release, restart, node, moves;
	enum node_state state;
};

enum plan_refusal_reason {
	REFUSED_NODE_LOST,
	REFUSED_NODE_SILENT,
	REFUSED_NODE_DRAINING,
	REFUSED_MEMORY, // needed, left: bytes
	REFUSED_CPU,    // millis
	REFUSED_DISK,   // bytes
	REFUSED_FULL,   // instances
	REFUSED_CRASHED_HERE,
};
const char *plan_refusal_text(enum plan_refusal_reason reason); // "not enough memory"

struct plan_refusal {
	uint32_t node;
	enum plan_refusal_reason reason;
	uint64_t needed, left;
};

// An instance that cannot be placed now, and what each node said to it: plan.refusals[first_refusal, + refusal_count).
// One for each process; count more of it are in the same position.
struct plan_unplaced {
	uint32_t process, index, count;
	enum plan_reason reason; // why it is wanted
	uint32_t first_refusal, refusal_count;
};

enum rollout {
	ROLLOUT_DONE,    // everything wanted is ready, nothing else runs
	ROLLOUT_ROLLING, // on its way
	ROLLOUT_FAILED,  // an instance of the wanted release crashes or cannot start; the old ones are kept
	ROLLOUT_NO_ROOM, // an instance finds no node: see unplaced
	ROLLOUT_STOPPED, // nothing is wanted
};

// Per process, as it is before the actions.
struct plan_status {
	enum rollout rollout;
	uint32_t wanted;
	uint32_t ready;         // wanted to run, and ready
	uint32_t current;       // wanted to run, of the wanted release and restart
	uint32_t current_ready; // of these, ready
	uint32_t old;           // wanted to run, of another release or restart
	uint32_t stopping;
	uint32_t failing; // a placement that is the cause of ROLLOUT_FAILED; PLAN_NONE
};

struct plan {
	struct plan_action *actions; // in the order in which they should be written
	struct plan_unplaced *unplaced;
	struct plan_refusal *refusals;
	struct plan_status *statuses; // one a process, as in the input
	uint32_t action_count, unplaced_count, refusal_count, status_count;
};

// Semantics, per process of an app:
//  - Indexes 0 … wanted-1 have one instance each; a missing one is placed at once.
//  - An instance of another release or restart number gets a replacement with its own index, at most surge of them at a
//    time (those on their way out count), and is stopped when the replacement is ready. What does not serve goes first.
//  - When an instance of the wanted release crashes again after its immediate restart, or cannot start, no further
//    replacement is made in the whole app, and missing ones are placed with the release that still serves; a further
//    release, also an earlier one, starts anew.
//  - More than wanted: stopped, unless it serves and fewer than wanted would be ready without it.
//  - An instance that was not heard of since the server started may be serving: it is not stopped for being idle.
//  - A node silent for lost_ms is lost, unless all are silent: then this side is taken to be cut off, and nothing
//    moves. What ran on it is stopped when (and only if) there is a place for its replacement.
//  - An instance that ended for good by its own rule (STOPPED while wanted to run) is left as it is.
void plan_make(const struct plan_input *input, struct plan *ret);
void plan_clear(struct plan *plan);
