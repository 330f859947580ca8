// One agent on a data directory. A keeper that dies between starting an agent and writing that down leaves one which its
// successor does not know; two would undo each other's work.
#pragma once

#include "base/err.h"

// Takes DATA/run/agent.lock for the life of this process. An agent that holds it is killed first: the keeper wants this one,
// and an agent may be killed at any moment. Blocks for up to 5 s.
int sole_agent(const char *data, struct err *err);
