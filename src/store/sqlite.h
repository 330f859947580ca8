// The SQLite driver's options for tests; store_open_sqlite is what everyone else uses.
#pragma once

#include "store/revlog.h"

int store_open_sqlite_with(struct loop *loop, const char *dir, const struct revlog_options *options,
			   struct store_owner owner, struct store **ret, struct err *err);
