// Before anything is planned: can everything that decides what runs be read?
#pragma once

#include "base/err.h"
#include "store/store.h"

// An app whose record cannot be read would look like one that was deleted: its instances would be stopped and its
// releases removed. -EBADMSG names the first such record; the server then does not start, and what runs goes on
// running.
int records_check(struct store *store, struct err *err);
