#include "server/snapshot.h"

#include "base/clock.h"
#include "base/str.h"
#include "server/core.h"

enum { NODE_INSTANCES_MAX = 1000 };

static uint32_t zone_number(const struct snapshot *snapshot, uint32_t count, const char *zone)
{
	for (uint32_t i = 0; i < count; i++)
		if (str_eq(snapshot->node_entries[i]->node.zone, zone))
			return snapshot->nodes[i].zone;
	return count;
}

static void add_nodes(struct server *server, struct snapshot *s)
{
	struct map *nodes = &server->replica.nodes;
	s->nodes = xcalloc(nodes->count + 1, sizeof(*s->nodes));
	s->node_entries = xcalloc(nodes->count + 1, sizeof(struct node_entry *));
	uint64_t now = loop_now_ms(server->loop);
	uint32_t *n = &s->input.node_count;
	size_t at = 0;
	void *value;
	while (map_next(nodes, &at, NULL, &value)) {
		struct node_entry *entry = value;
		entry->plan_index = PLAN_NONE;
		if (!entry->exists)
			continue;
		uint64_t heard = entry->link.heard_ms ? entry->link.heard_ms : server->control.started_ms;
		s->node_entries[*n] = entry;
		s->nodes[*n] = (struct plan_node){ .room = { .memory_bytes = entry->node.memory_bytes,
							     .disk_bytes = entry->node.disk_bytes,
							     .cpu_millis = entry->node.cpu_millis,
							     .instances = NODE_INSTANCES_MAX },
						   .state = entry->node.state,
						   .zone = zone_number(s, *n, entry->node.zone),
						   .silent_ms = now - heard };
		entry->plan_index = (*n)++;
	}
}

static struct plan_room room_of(const struct process *process)
{
	return (struct plan_room){ .memory_bytes = process->memory_bytes,
				   .disk_bytes = process->disk_bytes,
				   .cpu_millis = process->cpu_millis,
				   .instances = 1 };
}

static size_t count_processes(const struct map *apps)
{
	size_t at = 0, n = 0;
	void *app;
	while (map_next(apps, &at, NULL, &app))
		n += ((struct app_entry *)app)->app.spec.process_count;
	return n;
}

static void add_app(struct snapshot *s, struct app_entry *entry)
{
	const struct spec *spec = &entry->app.spec;
	uint32_t app = s->input.app_count++, *n = &s->input.process_count;
	entry->plan_index = app;
	s->app_entries[app] = entry;
	s->apps[app] = (struct plan_app){ .release = entry->app.release,
					  .restart = entry->app.restart,
					  .first_process = *n,
					  .process_count = spec->process_count,
					  .stopped = entry->app.stopped };
	for (uint32_t i = 0; i < spec->process_count; i++)
		s->processes[(*n)++] =
			(struct plan_process){ .app = app,
					       .wanted = app_wanted(&entry->app, spec->processes[i].name),
					       .takes = room_of(&spec->processes[i]) };
}

static void add_apps(struct server *server, struct snapshot *s)
{
	struct map *apps = &server->replica.apps;
	s->apps = xcalloc(apps->count + 1, sizeof(*s->apps));
	s->app_entries = xcalloc(apps->count + 1, sizeof(struct app_entry *));
	s->processes = xcalloc(count_processes(apps) + 1, sizeof(*s->processes));
	size_t at = 0;
	void *value;
	while (map_next(apps, &at, NULL, &value)) {
		struct app_entry *entry = value;
		entry->plan_index = PLAN_NONE;
		if (entry->exists)
			add_app(s, entry);
	}
}

static uint32_t process_index(const struct snapshot *s, const struct placement_entry *p)
{
	const struct process *process = spec_process(&p->app->app.spec, p->record.process);
	if (!process)
		return PLAN_NONE;
	return s->apps[p->app->plan_index].first_process + (uint32_t)(process - p->app->app.spec.processes);
}

static void add_placement(struct server *server, struct snapshot *s, struct placement_entry *p)
{
	const struct placement *record = &p->record;
	bool has_app = placement_is_of(p, p->app);
	const struct release *release = replica_release(&server->replica, p->app, record->release);
	const struct process *process = release ? spec_process(&release->spec, record->process) : NULL;
	p->plan_index = s->input.placement_count++;
	s->placement_entries[p->plan_index] = p;
	s->placements[p->plan_index] = (struct plan_placement){
		.app = has_app ? p->app->plan_index : PLAN_NONE,
		.process = has_app ? process_index(s, p) : PLAN_NONE,
		.node = p->node->plan_index,
		.index = record->index,
		.release = record->release,
		.restart = record->restart,
		.restarts = p->actual.restarts,
		.moves = record->moves,
		.want = (uint8_t)record->want,
		.state = (uint8_t)p->actual.state,
		.unheard = p->unknown,
		.takes_cpu_millis = process ? process->cpu_millis : 0,
		.takes_memory_bytes = process ? process->memory_bytes : 0,
		.takes_disk_bytes = process ? process->disk_bytes : 0,
		.created_ms = record->created_ms,
	};
}

static void add_placements(struct server *server, struct snapshot *s)
{
	struct map *placements = &server->replica.placements;
	s->placements = xcalloc(placements->count + 1, sizeof(*s->placements));
	s->placement_entries = xcalloc(placements->count + 1, sizeof(struct placement_entry *));
	size_t at = 0;
	void *value;
	while (map_next(placements, &at, NULL, &value))
		add_placement(server, s, value);
}

void snapshot_make(struct server *server, struct snapshot *ret)
{
	*ret = (struct snapshot){};
	add_nodes(server, ret);
	add_apps(server, ret);
	add_placements(server, ret);
	ret->input.now_ms = realtime_ms();
	ret->input.settings = PLAN_SETTINGS_DEFAULT;
	ret->input.apps = ret->apps;
	ret->input.processes = ret->processes;
	ret->input.placements = ret->placements;
	ret->input.nodes = ret->nodes;
}

void snapshot_clear(struct snapshot *s)
{
	free(s->apps);
	free(s->processes);
	free(s->placements);
	free(s->nodes);
	free(s->app_entries);
	free(s->placement_entries);
	free(s->node_entries);
}

const char *snapshot_process_name(const struct snapshot *s, uint32_t process)
{
	const struct plan_app *app = &s->apps[s->processes[process].app];
	return s->app_entries[s->processes[process].app]->app.spec.processes[process - app->first_process].name;
}
