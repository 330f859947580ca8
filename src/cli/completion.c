#include "cli/commands.h"

#include "base/str.h"

static bool takes_app(const struct cli_command *c)
{
	return str_starts(c->args, "APP");
}

static bool takes_folder(const struct cli_command *c)
{
	return str_starts(c->args, "[DIR]");
}

static void print_names(bool (*which)(const struct cli_command *c), const char *between)
{
	const char *before = "";
	for (const struct cli_command *const *c = cli_all(); *c; c++) {
		if (which && !which(*c))
			continue;
		printf("%s%s", before, (*c)->name);
		before = between;
	}
}

static void print_options(const struct cli_option *options)
{
	for (const struct cli_option *o = options; o && o->name; o++)
		printf(" --%s", o->name);
}

// The words are put there in the shape that bash, and zsh with bashcompinit, take.
static void print_bash(void)
{
	fputs("_dialtone() {\n"
	      "    local word=${COMP_WORDS[COMP_CWORD]} words=\n"
	      "    COMPREPLY=()\n"
	      "    if [ \"$COMP_CWORD\" = 1 ]; then\n"
	      "        words='",
	      stdout);
	print_names(NULL, " ");
	fputs("'\n    elif [[ $word == -* ]]; then\n        case ${COMP_WORDS[1]} in\n", stdout);
	for (const struct cli_command *const *c = cli_all(); *c; c++) {
		printf("        %s) words='", (*c)->name);
		print_options((*c)->options);
		print_options((*c)->offline ? NULL : cli_platform);
		print_options(cli_common);
		fputs("' ;;\n", stdout);
	}
	fputs("        esac\n    elif [ \"$COMP_CWORD\" = 2 ]; then\n        case ${COMP_WORDS[1]} in\n        ",
	      stdout);
	print_names(takes_app, "|");
	fputs(") words=$(dialtone apps 2>/dev/null | awk 'NR > 1 { print $1 }') ;;\n        ", stdout);
	print_names(takes_folder, "|");
	fputs(") COMPREPLY=($(compgen -d -- \"$word\")); return ;;\n"
	      "        help) words='",
	      stdout);
	print_names(NULL, " ");
	fputs("' ;;\n"
	      "        completion) words='bash zsh fish' ;;\n"
	      "        stack|runtime) words=build ;;\n"
	      "        esac\n"
	      "    fi\n"
	      "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
	      "}\n"
	      "complete -F _dialtone dialtone\n",
	      stdout);
}

// In single quotes of fish only \ and ' mean something.
static void print_quoted(const char *text)
{
	putchar('\'');
	for (; *text; text++) {
		if (*text == '\'' || *text == '\\')
			putchar('\\');
		putchar(*text);
	}
	putchar('\'');
}

static void print_fish_options(const char *command, const struct cli_option *options)
{
	for (const struct cli_option *o = options; o && o->name; o++) {
		printf("complete -c dialtone -n '__fish_seen_subcommand_from %s' -l %s", command, o->name);
		if (o->letter)
			printf(" -s %c", o->letter);
		fputs(o->value ? " -r -d " : " -d ", stdout);
		print_quoted(o->help);
		putchar('\n');
	}
}

static void print_fish(void)
{
	puts("complete -c dialtone -f");
	for (const struct cli_command *const *c = cli_all(); *c; c++) {
		printf("complete -c dialtone -n __fish_use_subcommand -a %s -d ", (*c)->name);
		print_quoted((*c)->summary);
		putchar('\n');
		print_fish_options((*c)->name, (*c)->options);
		print_fish_options((*c)->name, (*c)->offline ? NULL : cli_platform);
		print_fish_options((*c)->name, cli_common);
	}
	fputs("complete -c dialtone -n '__fish_seen_subcommand_from ", stdout);
	print_names(takes_app, " ");
	puts("' -a \"(dialtone apps 2>/dev/null | awk 'NR > 1 { print \\$1 }')\"");
	fputs("complete -c dialtone -n '__fish_seen_subcommand_from ", stdout);
	print_names(takes_folder, " ");
	puts("' -a '(__fish_complete_directories)'\n"
	     "complete -c dialtone -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'\n"
	     "complete -c dialtone -n '__fish_seen_subcommand_from stack runtime' -a build");
}

int command_completion(struct cli *cli)
{
	const char *shell = cli->args[0];
	if (str_eq(shell, "fish")) {
		print_fish();
		return CLI_OK;
	}
	if (str_eq(shell, "zsh"))
		puts("autoload -U +X compinit && compinit -u\nautoload -U +X bashcompinit && bashcompinit");
	else if (!str_eq(shell, "bash"))
		return cli_usage(cli, "there is a completion for bash, zsh and fish, not for '%s'", shell);
	print_bash();
	return CLI_OK;
}
