// The stop gate. A placement whose want is stop leaves the route table; its agent hears of the stop only when every
// connected router serves by a table without it and has no request with it in flight, or when the drain time has
// passed, or when the instance cannot be serving at all.
#pragma once

#include "server/replica.h"

// Notes the stop and judges it. *ret_wait_ms: when to look again at the latest; left alone when the gate is open.
void gate_step(struct server *server, struct placement_entry *p, uint64_t *ret_wait_ms);

// What the agent may be told to want.
enum want gate_want(const struct placement_entry *p);
