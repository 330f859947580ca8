#include "server/command_check.h"

#include "base/str.h"
#include "model/command.h"
#include "model/injected.h"

#include <errno.h>

struct variables {
	const struct command_check *check;
	bool wants_port; // $PORT of a process that has none
};

static const char *find(void *arg, const char *name)
{
	struct variables *variables = arg;
	const struct command_check *check = variables->check;
	if (injected_has(name, check->process->port))
		return "1";
	const char *value = pairs_get(check->spec->env, check->spec->env_count, name);
	if (!value)
		value = pairs_get(check->base_env, check->base_env_count, name);
	variables->wants_port = variables->wants_port || (!value && str_eq(name, "PORT"));
	return value;
}

int command_check(const struct command_check *check, const char *command, struct err *err)
{
	CLEANUP(words_clear) struct words words = {};
	int r = command_split(command, check->shell, &words, err);
	if (r < 0)
		return r;
	CLEANUP(words_clear) struct words expanded = {};
	struct variables variables = { .check = check };
	r = command_expand((const char *const *)words.items, words.count, find, &variables, &expanded, err);
	if (r == -ENOENT && variables.wants_port)
		err_hint(err, "process '%s' has no port: give it one, or write ${PORT:-8080}", check->process->name);
	return r;
}

int release_check_commands(const struct release *release, struct field_path *path, struct err *err)
{
	for (uint32_t i = 0; i < release->spec.process_count; i++) {
		const struct process *process = &release->spec.processes[i];
		struct command_check check = { .spec = &release->spec,
					       .process = process,
					       .base_env = release->base_env,
					       .base_env_count = release->base_env_count,
					       .shell = release->shell };
		if (!process->command || command_check(&check, process->command, err) >= 0)
			continue;
		snprintf(path->text, sizeof(path->text), "spec.processes.%s.command", process->name);
		return err_wrap(err, "%s", path->text);
	}
	return 0;
}
