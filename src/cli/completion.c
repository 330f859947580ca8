#include "cli/commands.h"

#include "base/str.h"

static void print_commands(void)
{
	for (const struct cli_command *c = cli_commands; c->name; c++)
		printf("%s ", c->name);
	fputs("up down", stdout);
}

static void print_bash(void)
{
	fputs("_dialtone() {\n"
	      "    local word=${COMP_WORDS[COMP_CWORD]}\n"
	      "    if [ \"$COMP_CWORD\" = 1 ]; then\n"
	      "        COMPREPLY=($(compgen -W '",
	      stdout);
	print_commands();
	fputs("' -- \"$word\"))\n"
	      "        return\n"
	      "    fi\n"
	      "    case ${COMP_WORDS[1]} in\n",
	      stdout);
	for (const struct cli_command *c = cli_commands; c->name; c++) {
		printf("    %s) COMPREPLY=($(compgen -W '", c->name);
		for (const struct cli_option *o = c->options; o && o->name; o++)
			printf("--%s ", o->name);
		fputs("--output --api --tenant --environment --help' -- \"$word\")) ;;\n", stdout);
	}
	fputs("    esac\n"
	      "    case ${COMP_WORDS[1]} in\n"
	      "    app|ps|logs|scale|stop|start|restart|delete|env|releases|rollback|why|events|run|exec)\n"
	      "        [ \"$COMP_CWORD\" = 2 ] && [[ $word != -* ]] &&\n"
	      "            COMPREPLY=($(compgen -W \"$(dialtone apps 2>/dev/null | awk 'NR > 1 { print $1 }')\" -- \"$word\")) ;;\n"
	      "    push|plan) [[ $word != -* ]] && COMPREPLY=($(compgen -d -- \"$word\")) ;;\n"
	      "    esac\n"
	      "}\n"
	      "complete -F _dialtone dialtone\n",
	      stdout);
}

int command_completion(struct cli *cli)
{
	const char *shell = cli->args[0];
	if (str_eq(shell, "zsh"))
		puts("autoload -U +X bashcompinit && bashcompinit");
	else if (!str_eq(shell, "bash"))
		return cli_usage(cli, "there is a completion for bash and zsh, not for '%s'", shell);
	print_bash();
	return CLI_OK;
}
