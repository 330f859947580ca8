#include "cli/commands.h"
#include "cli/output.h"

#include "base/str.h"

static void print_options(const struct cli_option *options)
{
	for (const struct cli_option *o = options; o && o->name; o++) {
		char left[64];
		snprintf(left, sizeof(left), "%s%c%s --%s%s%s", o->letter ? "-" : " ", o->letter ? o->letter : ' ',
			 o->letter ? "," : " ", o->name, o->value ? " " : "", o->value ? o->value : "");
		printf("  %-28s %s\n", left, o->help);
	}
}

void cli_overview(FILE *to)
{
	const char *group = "";
	fputs("Usage: dialtone COMMAND [ARGUMENT…] [OPTION…]\n", to);
	for (const struct cli_command *const *c = cli_all(); *c; c++) {
		if (!str_eq(group, (*c)->group))
			fprintf(to, "\n%s:\n", (*c)->group);
		group = (*c)->group;
		fprintf(to, "  %-11s %s\n", (*c)->name, (*c)->summary);
	}
	fputs("\n'dialtone help COMMAND' says more about one. Every command takes -o json.\n", to);
}

static void print_one(const struct cli_command *command)
{
	printf("Usage: dialtone %s%s%s [OPTION…]\n\n%s.\n", command->name, *command->args ? " " : "", command->args,
	       command->summary);
	if (command->more)
		printf("%s\n", command->more);
	if (command->options) {
		puts("\nOptions:");
		print_options(command->options);
	}
	puts("\nCommon options:");
	if (!command->offline)
		print_options(cli_platform);
	print_options(cli_common);
}

static void add_options(json_t *to, const struct cli_option *options)
{
	for (const struct cli_option *o = options; o && o->name; o++) {
		const char letter[] = { o->letter, '\0' };
		json_array_append_new(to, json_pack("{s:s, s:s?, s:s?, s:s}", "name", o->name, "letter",
						    o->letter ? letter : NULL, "value", o->value, "help", o->help));
	}
}

static json_t *command_json(const struct cli_command *c)
{
	json_t *options = json_array();
	add_options(options, c->options);
	add_options(options, c->offline ? NULL : cli_platform);
	add_options(options, cli_common);
	return json_pack("{s:s, s:s, s:s, s:s, s:s?, s:o}", "name", c->name, "args", c->args, "group", c->group,
			 "summary", c->summary, "more", c->more, "options", options);
}

static json_t *all_json(void)
{
	json_t *items = json_array();
	for (const struct cli_command *const *c = cli_all(); *c; c++)
		json_array_append_new(items, command_json(*c));
	return json_pack("{s:o}", "items", items);
}

void cli_help(const struct cli *cli, const struct cli_command *about)
{
	if (cli->json) {
		json_t *json = about ? command_json(about) : all_json();
		print_json(json);
		json_decref(json);
	} else if (about) {
		print_one(about);
	} else {
		cli_overview(stdout);
	}
}

int command_help(struct cli *cli)
{
	const struct cli_command *about = cli->n_args ? cli_find(cli->args[0]) : NULL;
	if (cli->n_args && !about)
		return cli_unknown_command(&(struct cli){ 0 }, cli->args[0]);
	cli_help(cli, about);
	return CLI_OK;
}
