#include "agent/sweep.h"

#include "agent/core.h"
#include "base/log.h"
#include "base/str.h"
#include "image/content.h"
#include "io/file.h"

#include <dirent.h>

enum { ROUND_MS = 3600 * 1000 };

static const char prefix[] = "sha256-";

static void collect_used(const struct agent *agent, struct map *used)
{
	void *entry;
	for (size_t at = 0; map_next(&agent->instances, &at, NULL, &entry);) {
		const struct instance *instance = entry;
		const char *digest = instance->order->assignment.artifact;
		if (str_empty(digest))
			continue;
		AUTO_FREE char *path = unpacked_path(agent->artifacts.dir, digest);
		map_set(used, strrchr(path, '/') + 1, entry);
	}
}

static void remove_work(void *arg)
{
	struct err err = { 0 };
	if (tree_remove(arg, &err) < 0)
		log_warn("an unused artifact stays: %s", err.text);
}

static void remove_later(struct sweep *sweep, const char *name)
{
	loop_work(sweep->agent->loop, remove_work, free, xasprintf("%s/%s", sweep->agent->artifacts.dir, name));
}

static unsigned look_through(struct sweep *sweep, const struct map *used, struct map *ret_unused)
{
	unsigned removed = 0;
	DIR *dir = opendir(sweep->agent->artifacts.dir);
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		const char *name = entry->d_name;
		if (!str_starts(name, prefix) || map_get(used, name))
			continue;
		if (map_get(&sweep->unused, name)) {
			remove_later(sweep, name);
			removed++;
		} else {
			map_set(ret_unused, name, sweep);
		}
	}
	if (dir)
		closedir(dir);
	return removed;
}

unsigned sweep_round(struct sweep *sweep)
{
	struct map used = { 0 }, unused = { 0 };
	unsigned removed = 0;
	// Runs and builds use artifacts too; there is no hurry.
	if (list_empty(&sweep->agent->streams)) {
		collect_used(sweep->agent, &used);
		removed = look_through(sweep, &used, &unused);
	}
	map_clear(&used);
	map_clear(&sweep->unused);
	sweep->unused = unused;
	return removed;
}

static void round_due(struct timer *timer)
{
	struct sweep *sweep = CONTAINER_OF(timer, struct sweep, timer);
	unsigned removed = sweep_round(sweep);
	if (removed)
		log_info("unused artifacts removed=%u", removed);
	timer_set(timer, ROUND_MS);
}

void sweep_init(struct sweep *sweep, struct agent *agent)
{
	*sweep = (struct sweep){ .agent = agent };
	timer_init(&sweep->timer, agent->loop, round_due);
	timer_set(&sweep->timer, ROUND_MS);
}
