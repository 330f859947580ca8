// POST builds: an artifact's build command run by the agent in a build container; a result is kept by its inputs.
#pragma once

#include "model/fields.h"
#include "server/request.h"

struct build_request {
	char *artifact, *runtime, *stack, *command; // runtime NULL: none
	uint32_t timeout_ms;
	uint64_t memory_bytes;
};
FIELDS_OBJECT(build_request)

// What a build runs on, and the key of its result: everything that the result depends on.
struct build_place {
	char *runtime; // with exact version
	char *key;
};

// Blocks. -ENOENT with a hint when the runtime's build part or the build stack is not in the cache.
int build_place_make(const char *cache, const char *runtime, const char *artifact, const char *command,
		     struct build_place *ret, struct err *err);
void build_place_clear(struct build_place *place);

void builds_post(struct request *rq);
