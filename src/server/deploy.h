// PUT apps/{app} and POST apps/{app}/plan: a spec and an artifact become a release.
#pragma once

#include "server/replica.h"
#include "server/request.h"

struct deployment {
	struct spec spec;
	char *artifact;
};
FIELDS_OBJECT(deployment)

void deploy_put(struct request *rq);
void deploy_plan(struct request *rq);
