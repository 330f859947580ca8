// What the parts of the control loop share: control.c drives, control_plan.c compares and acts.
#pragma once

#include "server/core.h"

void control_plan(struct server *server);    // one plan and its transactions; none while some are in flight
void control_collect(struct server *server); // what deleted apps left in the store
