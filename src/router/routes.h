// Where the route table comes from: the server's stream, or for a start without it the last one, kept in
// DATA/router/routes.json. Tells the server which version is served and which retired instances are still busy.
#pragma once

#include "client/servers.h"
#include "model/platform.h"
#include "router/worker.h"

struct routes;

// Loads the kept table, if there is one, and connects to the server for ever. The worker's table is swapped in place.
int routes_start(struct worker *worker, const struct platform *platform, struct routes **ret, struct err *err);
void routes_stop(struct routes *routes); // NULL is fine
