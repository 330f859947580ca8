// Which app a host name belongs to. A host and path lead to one app; a host is shared only inside one environment.
#pragma once

#include "server/replica.h"

struct store_txn;

// -EEXIST names the app that has one of spec's routes, and the route in path.
int claims_check(struct server *server, const struct spec *spec, const char *tenant, const char *environment,
		 struct field_path *path, struct err *err);

// Puts changes of routes in line: of two at once, one meets a conflict, and checks again. Nothing when they are equal.
void claims_serialise(struct server *server, struct store_txn *txn, const struct spec *before,
		      const struct spec *after);
