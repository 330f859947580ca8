#include "agent/instance.h"

#include "agent/life.h"
#include "base/clock.h"
#include "base/str.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>

struct order *order_new(struct assignment *assignment)
{
	struct order *order = xcalloc(1, sizeof(*order));
	order->refs = 1;
	order->assignment = *assignment;
	*assignment = (struct assignment){ 0 };
	return order;
}

struct order *order_ref(struct order *order)
{
	order->refs++;
	return order;
}

void order_unref(struct order *order)
{
	if (!order || --order->refs > 0)
		return;
	assignment_clear(&order->assignment);
	free(order);
}

static void timer_fired(struct timer *timer)
{
	struct instance *instance = CONTAINER_OF(timer, struct instance, timer);
	instance->due = true;
	task_wake(&instance->task);
}

struct instance *instance_new(struct world *world, struct order *order, const struct instance_events *events, void *arg)
{
	struct instance *instance = xcalloc(1, sizeof(*instance));
	*instance = (struct instance){
		.world = world,
		.events = events,
		.arg = arg,
		.id = xstrdup(order->assignment.instance),
		.order = order_ref(order),
		.state = LIFE_PULL,
	};
	list_init(&instance->link);
	task_init(&instance->task, world->loop, "instance", life_run);
	timer_init(&instance->timer, world->loop, timer_fired);
	start_slot_init(&instance->slot, &instance->task);
	task_wake(&instance->task);
	return instance;
}

static enum life_state state_found(const struct instance_found *found)
{
	if (found->runs)
		return found->ready ? LIFE_READY : LIFE_STARTING;
	if (found->watched && found->started_ms && !found->exited)
		return LIFE_KILL; // it has just ended: the keeper will say how
	if (found->leftovers || found->exited || found->running.pid)
		return LIFE_CLEAN;
	return found->over ? LIFE_STOPPED : LIFE_PULL;
}

struct instance *instance_adopt(struct world *world, struct order *order, const struct instance_found *found,
				const struct instance_events *events, void *arg)
{
	struct instance *instance = instance_new(world, order, events, arg);
	uint64_t now_ms = realtime_ms();
	instance->stored = !found->unstored;
	instance->state = state_found(found);
	instance->address = found->address;
	instance->running = found->running;
	instance->restarts = found->restarts;
	instance->started_ms = found->started_ms;
	instance->over = found->over;
	instance->started = found->started_ms != 0;
	instance->run_since_ms = monotonic_ms();
	if (found->started_ms && now_ms > found->started_ms)
		instance->run_since_ms -= now_ms - found->started_ms;
	instance->probe_ready = found->runs && found->ready;
	instance->exited = found->exited;
	instance->ended = found->ended;
	instance->crashed = !found->runs && instance->started && order->assignment.want == WANT_RUN;
	return instance;
}

void instance_free(struct instance *instance)
{
	if (!instance)
		return;
	assert(!instance->job);
	instance->world->ops->cancel(instance->world, instance);
	start_slot_give(&instance->world->slots, &instance->slot);
	list_remove(&instance->link);
	task_clear(&instance->task);
	timer_clear(&instance->timer);
	probe_stop(&instance->probe);
	for (size_t i = 0; i < PROBE_HISTORY; i++)
		free(instance->probes[i].detail);
	life_exit_clear(instance);
	free(instance->remains.lines);
	order_unref(instance->order);
	free(instance->noted);
	free(instance->message);
	free(instance->id);
	free(instance);
}

void instance_wake(struct instance *instance)
{
	task_wake(&instance->task);
}

void instance_order(struct instance *instance, struct order *order)
{
	instance->removed = false;
	if (fields_equal(&assignment_fields, &order->assignment, life_wants(instance)))
		return;
	order_unref(instance->order);
	instance->order = order_ref(order);
	instance->stored = instance->unsaved = false;
	life_changed(instance);
	task_wake(&instance->task);
}

void instance_remove(struct instance *instance)
{
	if (instance->removed)
		return;
	if (life_wants(instance)->want != WANT_STOP) {
		struct assignment a = { 0 };
		assignment_copy(life_wants(instance), &a);
		a.want = WANT_STOP;
		struct order *order = order_new(&a);
		instance_order(instance, order);
		order_unref(order);
	}
	instance->removed = true;
	task_wake(&instance->task);
}

void instance_exited(struct instance *instance, const struct keeper_exit *record)
{
	if (!instance->running.pid || record->pid != instance->running.pid ||
	    record->start_ticks != instance->running.start_ticks)
		return;
	instance->ended = *record;
	instance->exited = true;
	task_wake(&instance->task);
}

bool instance_runs(const struct instance *instance)
{
	return instance->running.pid && instance->started && !instance->exited &&
	       instance->state >= LIFE_STARTING && instance->state <= LIFE_TERM;
}

void life_keeper_done(void *arg, int result)
{
	struct instance *instance = arg;
	instance->keeper = KEEPER_ANSWERED;
	instance->keeper_result = result;
	task_wake(&instance->task);
}

struct probe_result *life_last_probe(struct instance *instance)
{
	return instance->n_probes ? &instance->probes[(instance->n_probes - 1) % PROBE_HISTORY] : NULL;
}

// One that says the same as the one before adds to it. A success that is repeated is no news at all.
static void keep_probe(struct instance *instance, bool ok, const char *detail, uint32_t took_ms)
{
	uint64_t now_ms = realtime_ms();
	struct probe_result *last = life_last_probe(instance);
	bool same = last && last->ok == ok && str_eq(last->detail, detail);
	if (!same) {
		last = &instance->probes[instance->n_probes++ % PROBE_HISTORY];
		free(last->detail);
		*last = (struct probe_result){ .ok = ok, .detail = xstrdup(detail), .since_ms = now_ms };
		life_changed(instance);
	} else if (!ok) {
		instance->events->repeated(instance);
	}
	last->count++;
	last->at_ms = now_ms;
	last->took_ms = took_ms;
}

void life_probed(struct instance *instance, bool ok, const char *detail, uint32_t took_ms)
{
	keep_probe(instance, ok, detail, took_ms);
	instance->probe_failed = ok ? 0 : instance->probe_failed + 1;
	if (ok)
		instance->probe_ready = true;
	task_wake(&instance->task);
}

void life_changed(struct instance *instance)
{
	instance->events->changed(instance);
}

void life_say(struct instance *instance, const char *fmt, ...)
{
	char *text = NULL;
	if (fmt) {
		va_list args;
		va_start(args, fmt);
		if (vasprintf(&text, fmt, args) < 0)
			abort();
		va_end(args);
	}
	bool same = str_eq(text, instance->message);
	free(instance->message);
	instance->message = text;
	if (!same)
		life_changed(instance);
}

void life_say_err(struct instance *instance, const struct err *err)
{
	const char *hint = err->hint;
	if (!hint[0] && (err->code == -ENOSPC || err->code == -EDQUOT))
		hint = "the node's disk is full: it is tried again until there is room";
	life_say(instance, "%s%s%s", err->text, hint[0] ? "; " : "", hint);
}
