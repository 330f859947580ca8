// Words into options and arguments, and what is wrong with them.
#include "cli/cli.h"

#include "base/str.h"
#include "io/socket.h"
#include "model/units.h"

#include <errno.h>

const struct cli_option cli_common[] = {
	{ "output", 'o', "FORMAT", "table (default) or json", CLI_TEXT },
	{ "quiet", 'q', NULL, "no progress: only the result, and errors", CLI_TEXT },
	{ "help", 'h', NULL, "what this command does and takes", CLI_TEXT },
	{ 0 },
};

const struct cli_option cli_platform[] = {
	{ "api", 0, "URL", "the platform's API; default $DIALTONE_API, or the last that 'up' started", CLI_URL },
	{ "tenant", 't', "NAME", "default $DIALTONE_TENANT or 'default'", CLI_LABEL },
	{ "environment", 'e', "NAME", "default $DIALTONE_ENVIRONMENT or 'dev'", CLI_LABEL },
	{ 0 },
};

// The tables of options that a command has; the last is NULL.
static void option_tables(const struct cli_command *command, const struct cli_option *tables[4])
{
	size_t n = 0;
	if (command->options)
		tables[n++] = command->options;
	if (!command->offline)
		tables[n++] = cli_platform;
	tables[n++] = cli_common;
	tables[n] = NULL;
}

static const struct cli_option *find_option(const struct cli_command *command, const char *name, size_t n, char letter)
{
	const struct cli_option *tables[4];
	option_tables(command, tables);
	for (size_t i = 0; tables[i]; i++)
		for (const struct cli_option *o = tables[i]; o->name; o++)
			if (letter ? o->letter == letter : strlen(o->name) == n && memcmp(o->name, name, n) == 0)
				return o;
	return NULL;
}

static int unknown_option(const struct cli *cli, const char *word)
{
	const char *names[4 * CLI_OPTIONS];
	const struct cli_option *tables[4];
	size_t n = 0;
	option_tables(cli->command, tables);
	for (size_t i = 0; tables[i]; i++)
		for (const struct cli_option *o = tables[i]; o->name; o++)
			names[n++] = o->name;
	AUTO_FREE char *bare = xstrndup(word, strcspn(word, "="));
	const char *near = str_starts(word, "--") ? str_nearest(bare + 2, names, n) : NULL;
	for (size_t i = 0; !near && str_starts(word, "--") && bare[2] && i < n; i++)
		near = str_starts(names[i], bare + 2) ? names[i] : NULL;
	if (near)
		return cli_usage(cli, "'%s' is not an option of '%s'; did you mean --%s?", bare, cli->command->name,
				 near);
	return cli_usage(cli, "'%s' is not an option of '%s'", bare, cli->command->name);
}

// Takes one option word, and the next word where it holds the value. Returns how many words were used, or a negative
// exit status.
static int take_option(struct cli *cli, char **words, int n)
{
	const char *word = words[0];
	bool is_long = word[1] == '-';
	const char *name = is_long ? word + 2 : word + 1;
	size_t length = is_long ? strcspn(name, "=") : 1;
	const struct cli_option *o = find_option(cli->command, name, length, is_long ? 0 : name[0]);
	if (!o)
		return -unknown_option(cli, word);
	if (cli->n_given == CLI_OPTIONS)
		return -cli_usage(cli, "too many options");

	const char *inside = is_long ? (name[length] ? name + length + 1 : NULL) : (name[1] ? name + 1 : NULL);
	if (!o->value && inside)
		return -cli_usage(cli, "option --%s takes no value", o->name);
	bool missing = o->value && !inside && (n < 2 || str_starts(words[1], "--"));
	if (missing)
		return -cli_usage(cli, "option --%s needs a value: --%s %s", o->name, o->name, o->value);
	cli->given[cli->n_given].option = o;
	cli->given[cli->n_given].value = !o->value ? "" : inside ? inside : words[1];
	cli->n_given++;
	return o->value && !inside ? 2 : 1;
}

// Arguments end up in front of argv.
static int sort_words(struct cli *cli, int argc, char **argv)
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

static bool is_url(const char *value, struct err *err)
{
	struct client *client = client_new(value, NULL, err);
	client_free(client);
	return client != NULL;
}

static bool is_listen(const char *value, struct err *err)
{
	struct address address;
	if (!str_starts(value, "unix:"))
		return address_parse(value, &address, err) == 0;
	err_set(err, -EINVAL, "a path is no ADDR:PORT");
	return false;
}

static int check_value(const struct cli *cli, const struct cli_option *o, const char *value)
{
	struct err err = { 0 };
	uint64_t number;
	uint32_t ms;
	if (!*value)
		return cli_usage(cli, "option --%s needs a value: --%s %s", o->name, o->name, o->value);
	if (o->kind == CLI_DURATION && parse_duration(value, &ms, &err) < 0)
		return cli_usage(cli, "--%s: %s%s%s", o->name, err.text, *err.hint ? "; " : "", err.hint);
	if (o->kind == CLI_COUNT && (parse_u64(value, 1000, &number) < 0 || !number))
		return cli_usage(cli, "--%s takes a number from 1 to 1000, not '%s'", o->name, value);
	if (o->kind == CLI_LINES && parse_u64(value, 1000000, &number) < 0)
		return cli_usage(cli, "--%s takes a number of lines up to 1000000, not '%s'", o->name, value);
	if (o->kind == CLI_LABEL && !str_is_label(value))
		return cli_usage(cli, "--%s: '%s' is not a name: 1 to 63 of a-z, 0-9 and '-'", o->name, value);
	if (o->kind == CLI_LISTEN && !is_listen(value, &err))
		return cli_usage(cli, "--%s takes ADDR:PORT: %s", o->name, err.text);
	if (o->kind == CLI_URL && !is_url(value, &err))
		return cli_usage(cli, "--%s: %s%s%s", o->name, err.text, *err.hint ? "; " : "", err.hint);
	return CLI_OK;
}

int cli_check_environment(const struct cli *cli)
{
	const char *api = getenv("DIALTONE_API");
	struct err err = { 0 };
	if (cli_get(cli, "api") || str_empty(api) || is_url(api, &err))
		return CLI_OK;
	return cli_usage(cli, "DIALTONE_API: %s%s%s", err.text, *err.hint ? "; " : "", err.hint);
}

static int check_options(struct cli *cli)
{
	for (unsigned i = 0; i < cli->n_given; i++) {
		const struct cli_option *o = cli->given[i].option;
		int status = o->value ? check_value(cli, o, cli->given[i].value) : CLI_OK;
		if (status != CLI_OK)
			return status;
	}
	const char *format = cli_get(cli, "output");
	if (format && !str_eq(format, "json") && !str_eq(format, "table"))
		return cli_usage(cli, "output format '%s' is not known; there are table and json", format);
	return CLI_OK;
}

static int check_arguments(const struct cli *cli)
{
	const struct cli_command *c = cli->command;
	if (cli->n_args < c->min_args)
		return cli_usage(cli, "'%s' needs %s", c->name, c->args);
	if (cli->n_args > c->max_args && !c->rest)
		return cli_usage(cli, "'%s' does not know what to do with '%s'", c->name, cli->args[c->max_args]);
	return CLI_OK;
}

bool cli_wants_json(int argc, char **argv)
{
	for (int i = 0; i < argc && !str_eq(argv[i], "--"); i++) {
		bool value_next = str_eq(argv[i], "-o") || str_eq(argv[i], "--output");
		if (str_eq(argv[i], "-ojson") || str_eq(argv[i], "--output=json") ||
		    (value_next && i + 1 < argc && str_eq(argv[i + 1], "json")))
			return true;
	}
	return false;
}

int cli_words(struct cli *cli, int argc, char **argv)
{
	int status = sort_words(cli, argc, argv);
	if (status != CLI_OK)
		return status;
	cli->json = str_eq(cli_get(cli, "output"), "json");
	cli_set_errors_as_json(cli->json);
	cli->quiet = cli->json || cli_get(cli, "quiet");
	cli->colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR") && !str_eq(getenv("TERM"), "dumb");
	if (cli_get(cli, "help"))
		return CLI_OK;
	status = check_options(cli);
	return status == CLI_OK ? check_arguments(cli) : status;
}

int cli_unknown_command(const struct cli *cli, const char *word)
{
	const char *names[128];
	size_t n = 0;
	for (const struct cli_command *const *c = cli_all(); *c && n < ARRAY_LEN(names); c++)
		names[n++] = (*c)->name;
	if (word[0] == '-')
		return cli_usage(cli, "there is no command '%s'; options stand behind the command", word);
	const char *near = str_nearest(word, names, n);
	if (near)
		return cli_usage(cli, "there is no command '%s'; did you mean '%s'?", word, near);
	return cli_usage(cli, "there is no command '%s'", word);
}
