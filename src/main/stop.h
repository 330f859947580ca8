// Ending the platform's processes, whoever of them is left. Blocks until they are gone.
#pragma once

#include "base/err.h"

#include <stdbool.h>

// The one `up` of this data directory, and with it the keeper. *stopped: set when there was something to stop.
int stop_supervisor(const char *data, bool *stopped, struct err *err);

// A keeper without a supervisor, and what a killed keeper left behind. While containers run a keeper holds afterwards
// (keeper/hold.h); one that holds already is left alone.
int stop_platform(const char *data, bool *stopped, struct err *err);

// Has a keeper hold if containers run and none does.
int stop_hold(const char *data, struct err *err);

// Ends a keeper that holds; at once if there is nothing left to hold.
int stop_holder(const char *data, struct err *err);
