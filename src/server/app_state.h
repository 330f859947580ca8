// How an app is doing, as the last plan and the agents' reports say.
#pragma once

#include "server/replica.h"

enum app_state { APP_RUNNING, APP_STARTING, APP_UPDATING, APP_FAILING, APP_STOPPED, APP_COMPLETED };

// True when the last plan was made from the app as it is now.
bool app_is_planned(const struct app_entry *app);

// The worst of its processes; ROLLOUT_ROLLING while it is not planned.
enum rollout app_planned_rollout(const struct app_entry *app);
// The same, and not done before every router has turned away from what is to be stopped.
enum rollout app_rollout(const struct app_entry *app);
// An instance of the wanted release served, and is not ready any more.
bool app_has_become_unready(const struct app_entry *app);
enum app_state app_state(const struct app_entry *app);

struct process_counts {
	uint32_t ready, running; // wanted to run and ready; on a node, from start to end
	uint32_t completed;      // wanted to run, and ended well, for good by its restart policy
};
struct process_counts app_counts(const struct app_entry *app, const char *process);

// The release that serves beside the wanted one, 0: none.
uint32_t app_old_release(const struct app_entry *app);

// What is wrong with an instance, in one line, or what it is waiting for. Heap; never NULL.
char *instance_cause(const struct placement_entry *p);

// How an instance that ended again and again does so, in one line; NULL when it does not, or not any more. Heap.
char *instance_loop(const struct placement_entry *p, uint64_t now_ms);

// The rollout in one line. Heap; never NULL.
char *app_detail(const struct app_entry *app);
