// The node agent: one process a machine. It holds what the server wants to run here against what runs, and acts on the
// difference: layers, containers, network, health; it tells the server what is, and gives readers the logs. Its loop
// decides; what blocks runs on the thread pool. It owns DATA/node except what the keeper writes there.
#pragma once

#include "base/err.h"

// `dialtone agent --data DIR`: runs until SIGTERM; the containers run on. Returns the exit status of the process: 0, 1
// after an error (logged), 2 for wrong arguments.
int agent_main(int argc, char **argv);

// For `dialtone down --apps`, with the agent stopped and the keeper possibly gone: ends every container of the platform at
// data (SIGTERM, its drain time, SIGKILL; all at once), removes them, and the node's bridge, nftables table and cgroups.
// Assignments and logs stay on disk. Goes as far as it can and returns the first error. Blocks; the
// caller is in a private mount namespace (container_mounts_prepare).
int agent_stop_all(const char *data, struct err *err);
