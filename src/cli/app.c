#include "cli/commands.h"
#include "cli/output.h"

#include "base/str.h"

static void print_processes(struct cli *cli, const json_t *app)
{
	static const char *const titles[] = { "process", "ready", "memory", "cpu", "health", "command", NULL };
	struct listing *t = listing_new(cli, titles);
	const json_t *specs = json_object_get(json_object_get(app, "spec"), "processes");
	const char *name;
	json_t *process;
	json_object_foreach(json_object_get(app, "processes"), name, process)
	{
		const json_t *spec = json_object_get(specs, name);
		const json_t *health = json_object_get(spec, "health");
		char memory[SHORT_TEXT_SIZE];
		size_text(get_number(spec, "memory_bytes"), memory);
		listing_cell(t, "%s", name);
		listing_cell(t, "%u/%u", (unsigned)get_number(process, "ready"),
			     (unsigned)get_number(process, "wanted"));
		listing_cell(t, "%s", memory);
		listing_cell(t, "%.2g", (double)get_number(spec, "cpu_millis") / 1000);
		listing_cell(t, "%s%s%s", get_text(health, "type"), *get_text(health, "path") ? " " : "",
			     get_text(health, "path"));
		listing_cell(t, "%s", get_text(spec, "command"));
	}
	listing_end(t, "no processes");
}

static void print_app(struct cli *cli, const json_t *app)
{
	const json_t *spec = json_object_get(app, "spec");
	const char *state = get_text(app, "state");
	char age[SHORT_TEXT_SIZE];
	age_text(get_number(app, "updated_ms"), age);
	printf("name      %s\n", get_text(app, "name"));
	printf("state     %s%s%s\n", colour_of_state(cli, state), state, colour_end(cli));
	printf("release   %u, %s ago\n", (unsigned)get_number(app, "release"), age);
	const char *stack = get_text(spec, "stack");
	printf("runtime   %s%s%s\n", get_text(spec, "runtime"), *stack ? " on stack " : "", stack);
	size_t i;
	json_t *url;
	json_array_foreach(json_object_get(app, "urls"), i, url)
		printf("%s%s\n", i ? "          " : "url       ", json_string_value(url));
	const json_t *rollout = json_object_get(app, "rollout");
	if (json_is_object(rollout))
		printf("rollout   %s from release %u to %u: %s\n", get_text(rollout, "state"),
		       (unsigned)get_number(rollout, "from"), (unsigned)get_number(rollout, "release"),
		       get_text(rollout, "detail"));
	putchar('\n');
	print_processes(cli, app);
}

int command_app(struct cli *cli)
{
	AUTO_FREE char *name = client_escape(cli->args[0]);
	AUTO_FREE char *path = client_environment_path(&cli->config, "apps/%s", name);
	AUTO_ANSWER struct client_answer answer = { 0 };
	int status = cli_call(cli, "GET", path, NULL, &answer);
	if (status != CLI_OK)
		return status;
	if (cli->json)
		return print_json(answer.json);
	print_app(cli, answer.json);
	return CLI_OK;
}
