// GET apps/{app}/why: one answer to "why does it not run as I want".
#pragma once

#include "server/request.h"

void why_app(struct request *rq);
