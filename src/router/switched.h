// After a switch of protocols: bytes both ways, each direction with an end of its own.
#pragma once

#include "router/downstream.h"

// The answer with 101 is in c->out; bytes: what came behind it.
void switched_start(struct downstream *c, const char *bytes, size_t n);

void switched_from_client(struct downstream *c, const char *bytes, size_t n);
void switched_from_up(struct downstream *c, const char *bytes, size_t n);

// One side sends no more. error: its connection broke.
void switched_client_closed(struct downstream *c);
void switched_up_closed(struct downstream *c, bool error);

// After bytes were passed on: passes on the end as well when they were the last, and closes when both ends are through.
void switched_sent_up(struct downstream *c);
void switched_sent_down(struct downstream *c);
