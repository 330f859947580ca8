// The replica as the flat arrays that src/plan works on.
#pragma once

#include "server/replica.h"

struct snapshot {
	struct plan_input input;
	struct plan_app *apps;
	struct plan_process *processes;
	struct plan_placement *placements;
	struct plan_node *nodes;
	// What the places in them stand for.
	struct app_entry **app_entries;
	struct placement_entry **placement_entries;
	struct node_entry **node_entries;
};

void snapshot_make(struct server *server, struct snapshot *ret);
void snapshot_clear(struct snapshot *snapshot);
const char *snapshot_process_name(const struct snapshot *snapshot, uint32_t process);
