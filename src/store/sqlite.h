// The SQLite driver's options for tests; store_open_sqlite is what everyone else uses.
#pragma once

#include "store/revlog.h"

int store_open_sqlite_with(struct loop *loop, const char *dir, const struct revlog_options *options,
			   struct store_owner owner, struct store **ret, struct err *err);

// Held while *ret_fd is open: nobody else opens the store in that folder. -EBUSY, and who has it.
int sqlite_lock_dir(const char *dir, int *ret_fd, struct err *err);
