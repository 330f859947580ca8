// Moving a platform to another store while it is up: its server is made read-only, a backup is taken and restored
// elsewhere by whoever asks for all this, then the server writes down the other store and starts again on it. Only for
// a platform with one server.
#pragma once

#include "model/fields.h"
#include "server/request.h"

struct store_freeze {
	uint32_t seconds;
};
extern const struct fields store_freeze_fields;

struct store_choice {
	char *store, *store_ca, *store_cert, *store_key; // as in platform.json
	uint64_t revision;                               // what was copied
};
extern const struct fields store_choice_fields;

void store_freeze(struct request *rq); // POST /v1/store/freeze: until the time is over; again: longer
void store_thaw(struct request *rq);   // POST /v1/store/thaw
void store_switch(struct request *rq); // POST /v1/store/switch: -EEXIST (409) unless still frozen at that revision
