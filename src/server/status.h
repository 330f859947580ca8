// What the platform as a whole is, and whether it is alive and ready.
#pragma once

#include "server/request.h"

void status_livez(struct request *rq);
void status_readyz(struct request *rq);
void status_get(struct request *rq);
void status_stacks(struct request *rq);
void status_runtimes(struct request *rq);
