#include "agent/start_slots.h"

void start_slots_init(struct start_slots *slots, unsigned limit)
{
	slots->free = limit;
	list_init(&slots->waiting);
}

void start_slot_init(struct start_slot *slot, struct task *task)
{
	*slot = (struct start_slot){ .task = task };
	list_init(&slot->waiting);
}

static void wake_first(struct start_slots *slots)
{
	if (slots->free > 0 && !list_empty(&slots->waiting))
		task_wake(LIST_ENTRY(slots->waiting.next, struct start_slot, waiting)->task);
}

bool start_slot_take(struct start_slots *slots, struct start_slot *slot, bool urgent)
{
	if (slot->held)
		return true;
	if (list_empty(&slot->waiting) && urgent)
		list_prepend(&slots->waiting, &slot->waiting);
	else if (list_empty(&slot->waiting))
		list_append(&slots->waiting, &slot->waiting);
	if (slots->free == 0 || slots->waiting.next != &slot->waiting)
		return false;
	list_remove(&slot->waiting);
	slots->free--;
	slot->held = true;
	wake_first(slots);
	return true;
}

void start_slot_give(struct start_slots *slots, struct start_slot *slot)
{
	list_remove(&slot->waiting);
	if (slot->held)
		slots->free++;
	slot->held = false;
	wake_first(slots);
}
