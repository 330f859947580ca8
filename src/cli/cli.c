#include "cli/main.h"

#include "base/log.h"
#include "base/str.h"
#include "cli/output.h"

#include <errno.h>
#include <stdarg.h>

static const struct cli_option common_options[] = {
	{ "output", 'o', "FORMAT", "table (default) or json" },
	{ "api", 0, "URL", "the platform's API; default: the one last used, or $DIALTONE_API" },
	{ "tenant", 't', "NAME", "default: $DIALTONE_TENANT or 'default'" },
	{ "environment", 'e', "NAME", "default: $DIALTONE_ENVIRONMENT or 'dev'" },
	{ "help", 'h', NULL, "what this command does and takes" },
	{ 0 },
};

const char *cli_get(const struct cli *cli, const char *option)
{
	for (unsigned i = 0; i < cli->n_given; i++)
		if (str_eq(cli->given[i].option->name, option))
			return cli->given[i].value;
	return NULL;
}

static void print_error(const char *text, const char *hint)
{
	bool colour = isatty(STDERR_FILENO) && !getenv("NO_COLOR");
	fprintf(stderr, "%serror:%s ", colour ? "\033[31m" : "", colour ? "\033[0m" : "");
	for (const char *line = text; *line;) {
		size_t n = strcspn(line, "\n");
		AUTO_FREE char *copy = xstrndup(line, n);
		print_safe(stderr, copy);
		putc('\n', stderr);
		line += n + (line[n] == '\n');
	}
	if (*hint)
		fprintf(stderr, "%shint:%s %s\n", colour ? "\033[36m" : "", colour ? "\033[0m" : "", hint);
}

static int exit_status_of(int code)
{
	switch (code) {
	case -ENOENT:
		return CLI_NOT_FOUND;
	case -EACCES:
		return CLI_DENIED;
	case -EEXIST:
	case -ESTALE:
		return CLI_CONFLICT;
	case -ECONNREFUSED:
	case -ECONNRESET:
	case -EHOSTUNREACH:
	case -ETIMEDOUT:
	case -EPIPE:
		return CLI_UNREACHABLE;
	default:
		return CLI_FAILED;
	}
}

int cli_fail(UNUSED const struct cli *cli, const struct err *err)
{
	print_error(err->text, err->hint);
	return exit_status_of(err->code);
}

int cli_usage(const struct cli *cli, const char *fmt, ...)
{
	char text[512];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	AUTO_FREE char *hint = cli->command ? xasprintf("see 'dialtone help %s'", cli->command->name)
					    : xstrdup("see 'dialtone help'");
	print_error(text, hint);
	return CLI_USAGE;
}

int cli_call(struct cli *cli, const char *method, const char *path, const json_t *body, struct client_answer *answer)
{
	struct err err = { 0 };
	if (client_call(cli->client, method, path, body, answer, &err) < 0)
		return cli_fail(cli, &err);
	return CLI_OK;
}

int cli_list(struct cli *cli, const char *path, struct client_answer *answer)
{
	json_t *items = json_array();
	AUTO_FREE char *cursor = NULL;
	for (;;) {
		char join = strchr(path, '?') ? '&' : '?';
		AUTO_FREE char *page = cursor ? xasprintf("%s%ccursor=%s", path, join, cursor) : xstrdup(path);
		client_answer_clear(answer);
		int status = cli_call(cli, "GET", page, NULL, answer);
		if (status != CLI_OK) {
			json_decref(items);
			return status;
		}
		json_array_extend(items, json_object_get(answer->json, "items"));
		const char *next = json_string_value(json_object_get(answer->json, "next"));
		if (str_empty(next))
			break;
		free(cursor);
		cursor = client_escape(next);
	}
	json_object_set_new(answer->json, "items", items);
	return CLI_OK;
}

static void print_options(const struct cli_option *options)
{
	for (const struct cli_option *o = options; o && o->name; o++) {
		char left[64];
		snprintf(left, sizeof(left), "%s%c%s --%s%s%s", o->letter ? "-" : " ", o->letter ? o->letter : ' ',
			 o->letter ? "," : " ", o->name, o->value ? " " : "", o->value ? o->value : "");
		printf("  %-28s %s\n", left, o->help);
	}
}

static void print_overview(void)
{
	puts("Usage: dialtone COMMAND [ARGUMENT…] [OPTION…]\n");
	const char *group = "";
	for (const struct cli_command *c = cli_commands; c->name; c++) {
		if (!c->group)
			continue;
		if (!str_eq(group, c->group))
			printf("%s%s:\n", *group ? "\n" : "", c->group);
		group = c->group;
		printf("  %-12s %s\n", c->name, c->summary);
	}
	puts("\nThe platform itself:\n"
	     "  up           start the platform on this machine (as root)\n"
	     "  down         stop it; with --apps the applications too\n"
	     "\n'dialtone help COMMAND' says more about one.");
}

void cli_help(const struct cli_command *command)
{
	if (!command) {
		print_overview();
		return;
	}
	printf("Usage: dialtone %s%s%s [OPTION…]\n\n%s.\n", command->name, *command->args ? " " : "", command->args,
	       command->summary);
	if (command->options) {
		puts("\nOptions:");
		print_options(command->options);
	}
	puts("\nCommon options:");
	print_options(common_options);
}

static const struct cli_option *find_option(const struct cli_option *options, const char *name, size_t n, char letter)
{
	for (const struct cli_option *o = options; o && o->name; o++)
		if (letter ? o->letter == letter : strlen(o->name) == n && memcmp(o->name, name, n) == 0)
			return o;
	return NULL;
}

static const struct cli_option *lookup(const struct cli *cli, const char *name, size_t n, char letter)
{
	const struct cli_option *o = cli->command ? find_option(cli->command->options, name, n, letter) : NULL;
	return o ? o : find_option(common_options, name, n, letter);
}

static int unknown_option(const struct cli *cli, const char *word)
{
	const char *names[2 * CLI_OPTIONS];
	size_t n = 0;
	for (const struct cli_option *o = cli->command->options; o && o->name; o++)
		names[n++] = o->name;
	for (const struct cli_option *o = common_options; o->name; o++)
		names[n++] = o->name;
	const char *near = str_starts(word, "--") ? str_nearest(word + 2, names, n) : NULL;
	if (near)
		return cli_usage(cli, "'%s' is not an option of '%s'; did you mean --%s?", word, cli->command->name, near);
	return cli_usage(cli, "'%s' is not an option of '%s'", word, cli->command->name);
}

// Takes one option word, and the next word where it holds the value. Returns how many words were used, or a negative
// exit status.
static int take_option(struct cli *cli, char **words, int n)
{
	const char *word = words[0];
	bool is_long = word[1] == '-';
	const char *name = is_long ? word + 2 : word + 1;
	size_t length = is_long ? strcspn(name, "=") : 1;
	const struct cli_option *o = lookup(cli, name, length, is_long ? 0 : name[0]);
	if (!o)
		return -unknown_option(cli, word);
	if (cli->n_given == CLI_OPTIONS)
		return -cli_usage(cli, "too many options");

	const char *inside = is_long ? (name[length] ? name + length + 1 : NULL) : (name[1] ? name + 1 : NULL);
	if (!o->value && inside)
		return -cli_usage(cli, "option --%s takes no value", o->name);
	if (o->value && !inside && n < 2)
		return -cli_usage(cli, "option --%s needs a value: %s", o->name, o->value);
	cli->given[cli->n_given].option = o;
	cli->given[cli->n_given].value = !o->value ? "" : inside ? inside : words[1];
	cli->n_given++;
	return o->value && !inside ? 2 : 1;
}

// Sorts the words behind the command into options and arguments; arguments end up in front of argv.
static int parse_words(struct cli *cli, int argc, char **argv)
{
	unsigned n = 0;
	bool options = true;
	for (int i = 0; i < argc;) {
		if (options && str_eq(argv[i], "--")) {
			options = false;
			i++;
			continue;
		}
		bool is_option = options && argv[i][0] == '-' && argv[i][1];
		if (!is_option) {
			argv[n++] = argv[i++];
			if (cli->command->rest && n >= cli->command->min_args)
				options = false; // the words of the command to run are its own
			continue;
		}
		int used = take_option(cli, argv + i, argc - i);
		if (used < 0)
			return -used;
		i += used;
	}
	cli->args = (const char *const *)argv;
	cli->n_args = n;
	return CLI_OK;
}

static int check_words(struct cli *cli)
{
	const struct cli_command *c = cli->command;
	if (cli->n_args < c->min_args)
		return cli_usage(cli, "'%s' needs %s", c->name, c->args);
	if (cli->n_args > c->max_args && !c->rest)
		return cli_usage(cli, "'%s' does not know what to do with '%s'", c->name, cli->args[c->max_args]);
	const char *format = cli_get(cli, "output");
	if (format && !str_eq(format, "json") && !str_eq(format, "table"))
		return cli_usage(cli, "output format '%s' is not known; there are table and json", format);
	cli->json = str_eq(format, "json");
	cli->colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR") && !str_eq(getenv("TERM"), "dumb");
	return CLI_OK;
}

static void replace(char **to, const char *value)
{
	if (!value)
		return;
	free(*to);
	*to = xstrdup(value);
}

static int connect_platform(struct cli *cli)
{
	struct err err = { 0 };
	int r = client_config_load(cli_get(cli, "api"), &cli->config, &err);
	if (r < 0) {
		int status = cli_fail(cli, &err);
		return r == -ENOENT ? CLI_DENIED : status; // there is no token
	}
	replace(&cli->config.tenant, cli_get(cli, "tenant"));
	replace(&cli->config.environment, cli_get(cli, "environment"));
	if (!str_is_label(cli->config.tenant) || !str_is_label(cli->config.environment))
		return cli_usage(cli, "names of tenants and environments have 1 to 63 of a-z, 0-9 and '-'");
	cli->client = client_new(cli->config.address, cli->config.token, &err);
	return cli->client ? CLI_OK : cli_fail(cli, &err);
}

static const struct cli_command *find_command(const char *name)
{
	for (const struct cli_command *c = cli_commands; c->name; c++)
		if (str_eq(c->name, name))
			return c;
	return NULL;
}

static int unknown_command(const struct cli *cli, const char *word)
{
	const char *names[128];
	size_t n = 0;
	for (const struct cli_command *c = cli_commands; c->name && n < ARRAY_LEN(names); c++)
		names[n++] = c->name;
	const char *near = str_nearest(word, names, n);
	if (near)
		return cli_usage(cli, "there is no command '%s'; did you mean '%s'?", word, near);
	return cli_usage(cli, "there is no command '%s'", word);
}

static int run_command(struct cli *cli, int argc, char **argv)
{
	int status = parse_words(cli, argc, argv);
	if (status != CLI_OK)
		return status;
	if (cli_get(cli, "help")) {
		cli_help(cli->command);
		return CLI_OK;
	}
	status = check_words(cli);
	if (status == CLI_OK && !cli->command->offline)
		status = connect_platform(cli);
	if (status == CLI_OK)
		status = cli->command->run(cli);
	client_free(cli->client);
	client_config_clear(&cli->config);
	return status;
}

int cli_main(int argc, char **argv)
{
	struct cli cli = { 0 };
	log_quiet();
	if (argc < 2 || str_eq(argv[1], "--help") || str_eq(argv[1], "-h")) {
		cli_help(NULL);
		return argc < 2 ? CLI_USAGE : CLI_OK;
	}
	if (str_eq(argv[1], "--version"))
		argv[1] = (char *)"version";
	if (str_eq(argv[1], "help") && argc > 2) {
		cli.command = find_command(argv[2]);
		if (!cli.command)
			return unknown_command(&cli, argv[2]);
		cli_help(cli.command);
		return CLI_OK;
	}
	cli.command = find_command(argv[1]);
	if (!cli.command)
		return unknown_command(&cli, argv[1]);
	return run_command(&cli, argc - 2, argv + 2);
}
