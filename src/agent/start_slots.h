// Bounds how many instances are being started at a time, in the order they came, restarts first.
#pragma once

#include "io/loop.h"

struct start_slots {
	unsigned free;
	struct list waiting;
};

struct start_slot {
	struct list waiting; // on the queue
	struct task *task;   // woken when it is this one's turn
	bool held;
};

void start_slots_init(struct start_slots *slots, unsigned limit);
void start_slot_init(struct start_slot *slot, struct task *task);

// True when the slot is held now; otherwise it is on the queue and the task will be woken. May be asked again.
bool start_slot_take(struct start_slots *slots, struct start_slot *slot, bool urgent);

// Gives it back, or leaves the queue. Not held nor waiting is fine.
void start_slot_give(struct start_slots *slots, struct start_slot *slot);
