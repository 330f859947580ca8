// One binary, several programs: the first word chooses. What is not one of the platform's processes is the command
// line's.

#include "agent/agent.h"
#include "base/str.h"
#include "cli/main.h"
#include "keeper/keeper.h"
#include "main/commands.h"
#include "router/router.h"
#include "server/server.h"

#include <malloc.h>

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} programs[] = {
	{ "keeper", keeper_main },
	{ "server", server_main },
	{ "agent", agent_main },
	{ "router", router_main },
};

int main(int argc, char **argv)
{
	// glibc gives each thread a heap of its own, and each keeps the most that it ever held: an agent of 100 instances had
	// 16 MB in those of its pool's threads, which wait for the kernel most of the time and share one as well.
	mallopt(M_ARENA_MAX, 1);
	for (size_t n = 0; argc > 1 && n < ARRAY_LEN(programs); n++)
		if (str_eq(argv[1], programs[n].name))
			return programs[n].run(argc, argv);
	return cli_main(argc, argv, machine_commands);
}
