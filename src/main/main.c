// One binary, several programs: the first word chooses. What is not one of the platform's processes is the command
// line's.

#include "base/str.h"
#include "keeper/keeper.h"
#include "main/commands.h"

#ifdef HAVE_AGENT
#include "agent/agent.h"
#endif
#ifdef HAVE_CLI
#include "cli/main.h"
#endif
#ifdef HAVE_ROUTER
#include "router/router.h"
#endif
#ifdef HAVE_SERVER
#include "server/server.h"
#endif

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} programs[] = {
	{ "up", up_main },         { "down", down_main }, { "keeper", keeper_main },
#ifdef HAVE_SERVER
	{ "server", server_main },
#endif
#ifdef HAVE_AGENT
	{ "agent", agent_main },
#endif
#ifdef HAVE_ROUTER
	{ "router", router_main },
#endif
};

int main(int argc, char **argv)
{
	for (size_t n = 0; argc > 1 && n < ARRAY_LEN(programs); n++)
		if (str_eq(argv[1], programs[n].name))
			return programs[n].run(argc, argv);
#ifdef HAVE_CLI
	return cli_main(argc, argv);
#else
	fprintf(stderr, "error: this build has no command line\n");
	return 2;
#endif
}
