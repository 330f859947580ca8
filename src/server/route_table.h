// The table that routers route by, made from the replica.
#pragma once

#include "server/replica.h"

// "host" as the spec has it, with the platform's domain behind a bare label. Heap.
char *route_host(const char *host, const char *domain);

// The process that an app's routes lead to: "web" if it has a port, else the first with one. NULL: none.
const struct process *routed_process(const struct spec *spec);

// The routes as a JSON array, sorted; the same state gives the same text. NULL while a node that should run routed
// instances has not been heard of since this process started.
char *routes_text(struct server *server);
