// An app's environment as a resource of its own.
#pragma once

#include "server/request.h"

void env_get(struct request *rq);
void env_patch(struct request *rq); // {"NAME": "value", "GONE": null}
