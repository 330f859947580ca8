#include "cli/commands.h"
#include "cli/output.h"

#include "base/str.h"

#include <assert.h>

static bool takes_app(const struct cli_command *c)
{
	return str_starts(c->args, "APP");
}

static bool takes_folder(const struct cli_command *c)
{
	return str_starts(c->args, "[DIR]");
}

static void print_names(FILE *to, bool (*which)(const struct cli_command *c), const char *between)
{
	const char *before = "";
	for (const struct cli_command *const *c = cli_all(); *c; c++) {
		if (which && !which(*c))
			continue;
		fprintf(to, "%s%s", before, (*c)->name);
		before = between;
	}
}

static void print_options(FILE *to, const struct cli_option *options)
{
	for (const struct cli_option *o = options; o && o->name; o++)
		fprintf(to, " --%s", o->name);
}

// The words are put there in the shape that bash, and zsh with bashcompinit, take.
static void print_bash(FILE *to)
{
	fputs("_dialtone() {\n"
	      "    local word=${COMP_WORDS[COMP_CWORD]} words=\n"
	      "    COMPREPLY=()\n"
	      "    if [ \"$COMP_CWORD\" = 1 ]; then\n"
	      "        words='",
	      to);
	print_names(to, NULL, " ");
	fputs("'\n    elif [[ $word == -* ]]; then\n        case ${COMP_WORDS[1]} in\n", to);
	for (const struct cli_command *const *c = cli_all(); *c; c++) {
		fprintf(to, "        %s) words='", (*c)->name);
		print_options(to, (*c)->options);
		print_options(to, (*c)->offline ? NULL : cli_platform);
		print_options(to, cli_common);
		fputs("' ;;\n", to);
	}
	fputs("        esac\n    elif [ \"$COMP_CWORD\" = 2 ]; then\n        case ${COMP_WORDS[1]} in\n        ", to);
	print_names(to, takes_app, "|");
	fputs(") words=$(dialtone apps 2>/dev/null | awk 'NR > 1 { print $1 }') ;;\n        ", to);
	print_names(to, takes_folder, "|");
	fputs(") COMPREPLY=($(compgen -d -- \"$word\")); return ;;\n"
	      "        help) words='",
	      to);
	print_names(to, NULL, " ");
	fputs("' ;;\n"
	      "        completion) words='bash zsh fish' ;;\n"
	      "        stack|runtime) words=build ;;\n"
	      "        esac\n"
	      "    fi\n"
	      "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
	      "}\n"
	      "complete -F _dialtone dialtone\n",
	      to);
}

// In single quotes of fish only \ and ' mean something.
static void print_quoted(FILE *to, const char *text)
{
	putc('\'', to);
	for (; *text; text++) {
		if (*text == '\'' || *text == '\\')
			putc('\\', to);
		putc(*text, to);
	}
	putc('\'', to);
}

static void print_fish_options(FILE *to, const char *command, const struct cli_option *options)
{
	for (const struct cli_option *o = options; o && o->name; o++) {
		fprintf(to, "complete -c dialtone -n '__fish_seen_subcommand_from %s' -l %s", command, o->name);
		if (o->letter)
			fprintf(to, " -s %c", o->letter);
		fputs(o->value ? " -r -d " : " -d ", to);
		print_quoted(to, o->help);
		putc('\n', to);
	}
}

static void print_fish(FILE *to)
{
	fputs("complete -c dialtone -f\n", to);
	for (const struct cli_command *const *c = cli_all(); *c; c++) {
		fprintf(to, "complete -c dialtone -n __fish_use_subcommand -a %s -d ", (*c)->name);
		print_quoted(to, (*c)->summary);
		putc('\n', to);
		print_fish_options(to, (*c)->name, (*c)->options);
		print_fish_options(to, (*c)->name, (*c)->offline ? NULL : cli_platform);
		print_fish_options(to, (*c)->name, cli_common);
	}
	fputs("complete -c dialtone -n '__fish_seen_subcommand_from ", to);
	print_names(to, takes_app, " ");
	fputs("' -a \"(dialtone apps 2>/dev/null | awk 'NR > 1 { print \\$1 }')\"\n", to);
	fputs("complete -c dialtone -n '__fish_seen_subcommand_from ", to);
	print_names(to, takes_folder, " ");
	fputs("' -a '(__fish_complete_directories)'\n"
	      "complete -c dialtone -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'\n"
	      "complete -c dialtone -n '__fish_seen_subcommand_from stack runtime' -a build\n",
	      to);
}

static void print_script(FILE *to, const char *shell)
{
	if (str_eq(shell, "zsh"))
		fputs("autoload -U +X compinit && compinit -u\nautoload -U +X bashcompinit && bashcompinit\n", to);
	if (str_eq(shell, "fish"))
		print_fish(to);
	else
		print_bash(to);
}

static int print_as_json(const char *shell)
{
	AUTO_FREE char *script = NULL;
	size_t n;
	FILE *to = open_memstream(&script, &n);
	assert(to);
	print_script(to, shell);
	fclose(to);
	json_t *json = json_pack("{s:s, s:s}", "shell", shell, "script", script);
	print_json(json);
	json_decref(json);
	return CLI_OK;
}

int command_completion(struct cli *cli)
{
	const char *shell = cli->args[0];
	if (!str_eq(shell, "bash") && !str_eq(shell, "zsh") && !str_eq(shell, "fish"))
		return cli_usage(cli, "there is a completion for bash, zsh and fish, not for '%s'", shell);
	if (cli->json)
		return print_as_json(shell);
	print_script(stdout, shell);
	return CLI_OK;
}
