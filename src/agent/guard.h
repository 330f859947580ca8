// Keeps the machine's part of what separates instances: looks every few seconds whether others took away our network
// rules (a reload of the machine's own removes all), and puts them back.
#pragma once

#include "io/loop.h"

struct container_host;

// Starts looking; goes on for as long as the process lives. host must live as long.
void guard_start(struct loop *loop, struct container_host *host);
