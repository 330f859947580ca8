#include "server/assignment.h"

#include "base/id.h"
#include "base/str.h"
#include "model/command.h"
#include "server/core.h"
#include "server/gate.h"
#include "server/operate.h"
#include "server/route_table.h"

#include <errno.h>

// The base environment of stack and runtime with the spec's own over it; both are sorted by name. Borrows.
static struct pair *merge_env(const struct release *release, uint32_t *ret_n)
{
	const struct spec *spec = &release->spec;
	struct pair *env = xcalloc(release->base_env_count + spec->env_count + 1, sizeof(*env));
	uint32_t n = 0;
	for (uint32_t i = 0; i < release->base_env_count; i++)
		if (!pairs_get(spec->env, spec->env_count, release->base_env[i].name))
			env[n++] = release->base_env[i];
	for (uint32_t i = 0; i < spec->env_count; i++)
		env[n++] = spec->env[i];
	*ret_n = n;
	return env;
}

// Fills in what comes from release and process. Borrows everything but env, which the caller frees.
static void from_release(const struct release *release, const struct process *process, struct assignment *a)
{
	a->tenant = release->tenant;
	a->environment = release->environment;
	a->app = release->app;
	a->app_uid = release->app_uid;
	a->process = process->name;
	a->release = release->number;
	a->artifact = release->artifact;
	a->layers = release->layers;
	a->layer_count = release->layer_count;
	a->env = merge_env(release, &a->env_count);
	a->port = process->port;
	a->memory_bytes = process->memory_bytes;
	a->cpu_millis = process->cpu_millis;
	a->disk_bytes = process->disk_bytes;
	a->pids = PIDS_MAX;
	a->health = process->health;
	a->drain_ms = process->drain_ms;
	a->restart = process->restart;
}

json_t *assignment_json(struct replica *replica, const struct placement_entry *p)
{
	const struct release *release = replica_release(replica, p->app, p->record.release);
	const struct process *process = release ? spec_process(&release->spec, p->record.process) : NULL;
	if (!process)
		return NULL;
	struct assignment a = { .instance = p->record.instance,
				.generation = p->record.generation,
				.want = gate_want(p),
				.index = p->record.index };
	from_release(release, process, &a);
	a.app_uid = p->record.app_uid;
	struct words words = {};
	struct err err = {};
	// Was checked when the release was made.
	if (process->command && command_split(process->command, release->shell, &words, &err) < 0)
		words = (struct words){};
	a.command = words.items;
	a.command_count = words.count;
	json_t *json = assignment_write(&a);
	words_clear(&words);
	free(a.env);
	return json;
}

int assignment_run(struct replica *replica, struct app_entry *app, const char *process_name, json_t **ret,
		   struct err *err)
{
	const struct release *release = replica_release(replica, app, app->app.release);
	if (!release)
		return err_set(err, -ENOENT, "app '%s' has no release yet", app->app.name);
	const struct process *process =
		process_name ? spec_process(&release->spec, process_name) : routed_process(&release->spec);
	if (!process && !process_name)
		process = release->spec.processes;
	if (!process)
		return no_process(&app->app, process_name, err);
	char id[UID_SIZE];
	uid_new(id);
	struct assignment a = { .instance = id, .generation = 1 };
	from_release(release, process, &a);
	a.port = 0;
	a.health.type = HEALTH_PROCESS;
	a.restart.policy = RESTART_NEVER;
	*ret = assignment_write(&a);
	free(a.env);
	return 0;
}
