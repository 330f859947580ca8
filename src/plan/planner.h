// Private to src/plan: one planning in progress.
#pragma once

#include "plan/plan.h"

#include "base/str.h"

struct planner {
	const struct plan_input *in;
	struct plan *out; // counts are in there, the sizes of its arrays below
	uint32_t action_size, unplaced_size, refusal_size;

	// nodes.c
	bool cut_off;            // all nodes are silent
	enum node_state *judged; // per node
	struct plan_room *used;  // per node
	uint32_t *zone_of;       // per node: 0 … zone_count-1
	uint32_t *here;          // per node, and
	uint32_t *in_zone;       // per zone: instances of the process that is being placed
	uint32_t zone_count;

	// Placements by process: order[first[p] … first[p + 1]-1]; those that are to be removed are in none.
	uint32_t *first, *order;
	bool *removed;         // per placement
	uint32_t *app_failing; // per app: a placement of the wanted release that fails, or PLAN_NONE
	bool *app_has_old;     // per app: something of another release or restart number is still wanted to run
	bool *app_unfinished;  // per app: some process is not yet as wanted

	struct seat *seats; // per index of one process
};

// The placements of one index, each or PLAN_NONE.
struct seat {
	uint32_t current; // of the wanted release, on a node where it may stay
	uint32_t old;     // of another release, likewise
	uint32_t leaving; // of any release, on a node that is lost or being emptied
};

struct plan_action *planner_act(struct planner *planner, enum plan_verb verb, enum plan_reason reason);

// An action about a placement that is there.
void planner_act_on(struct planner *planner, enum plan_verb verb, enum plan_reason reason, uint32_t placement);

void nodes_judge(struct planner *planner); // who is lost; what is used; writes PLAN_NODE actions
void nodes_free(struct planner *planner);
bool node_is_evicting(const struct planner *planner, uint32_t node);

// Counts the instances of a process on nodes and in zones, so that further ones are spread; undone with -1.
void nodes_spread(struct planner *planner, uint32_t process, int sign);
void node_count_one(struct planner *planner, uint32_t node, int sign);

struct wish {
	uint32_t process, index;
	struct plan_room takes;
	uint32_t except; // not this node, or PLAN_NONE
	enum plan_reason reason;
};

// The best node that can take it, or PLAN_NONE. Its room is not taken yet.
uint32_t node_choose(const struct planner *planner, const struct wish *wish);
void node_take(struct planner *planner, uint32_t node, const struct plan_room *takes);

// Would it fit there if that much was given back?
bool node_fits_after(const struct planner *planner, uint32_t node, const struct plan_room *takes,
		     const struct plan_room *given_back);

// Writes down what every node says to the wish.
void nodes_refuse(struct planner *planner, const struct wish *wish);

// rollout.c: one process after the other, in the order of the input.
void process_plan(struct planner *planner, uint32_t process);

static inline struct plan_room placement_takes(const struct plan_placement *placement)
{
	return (struct plan_room){ .memory_bytes = placement->takes_memory_bytes,
				   .disk_bytes = placement->takes_disk_bytes,
				   .cpu_millis = placement->takes_cpu_millis,
				   .instances = 1 };
}

// Of the release and restart number that its app wants now. Only for placements of a process.
static inline bool placement_is_wanted(const struct planner *planner, const struct plan_placement *placement)
{
	const struct plan_app *app = &planner->in->apps[placement->app];
	return placement->release == app->release && placement->restart == app->restart;
}

// Crashes, or cannot start. One crash is nothing yet: it was restarted at once and may well come up; the next one makes
// it wait (BACKOFF), and from then on it fails until it is ready.
static inline bool placement_fails(const struct plan_placement *placement)
{
	bool restarting = placement->state == INSTANCE_PENDING || placement->state == INSTANCE_STARTING;
	bool failing = placement->state == INSTANCE_BACKOFF || placement->state == INSTANCE_FAILED;
	return !placement->unheard && (failing || (restarting && placement->restarts > 1));
}
