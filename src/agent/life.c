// The life cycle itself: one short function a state, the allowed moves in a table.
#include "agent/life.h"

#include "base/clock.h"
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

enum {
	UNREADY_AFTER = 2, // failed probes in a row
	RESTART_AFTER = 6,
	KILL_WAIT_MS = 10000, // for the exit of a killed process to be told
	AGAIN_MS = 1000,      // until something that failed and must succeed is tried again
	TRY_FIRST_MS = 250,
	TRY_MAX_MS = 30000,
};

struct life_step {
	const char *name;
	uint32_t to; // allowed moves
	bool starts; // holds a start slot
	enum instance_state reported;
	void (*step)(struct instance *instance);
};

static void life_move(struct instance *instance, enum life_state to);

// How long to wait after tries failures in a row.
static uint64_t try_again_ms(struct instance *instance)
{
	uint64_t delay = TRY_FIRST_MS;
	for (unsigned i = 1; i < instance->tries && delay < TRY_MAX_MS; i++)
		delay *= 2;
	if (delay > TRY_MAX_MS)
		delay = TRY_MAX_MS;
	return delay - rng_below(&instance->world->rng, delay / 4);
}

static bool first_time(struct instance *instance)
{
	bool first = !instance->asked;
	instance->asked = true;
	return first;
}

static void pull(struct instance *instance)
{
	if (life_stop_wanted(instance)) {
		life_move(instance, LIFE_CLEAN);
		return;
	}
	if (instance->unsaved) {
		life_move(instance, LIFE_FAILED);
		return;
	}
	if (timer_is_set(&instance->timer))
		return;
	struct err err = { 0 };
	int r = instance->world->ops->pull(instance->world, life_wants(instance), &err);
	if (r == 0) {
		instance->pulls = 0;
		life_move(instance, LIFE_SLOT);
	} else if (r == -EAGAIN) {
		instance->pulls++;
		life_say_err(instance, &err);
		timer_set(&instance->timer, instance->pulls < 10 ? instance->pulls * 100 : AGAIN_MS);
	} else if (r != -EINPROGRESS) {
		life_say_err(instance, &err);
		life_move(instance, LIFE_FAILED);
	}
}

static void slot(struct instance *instance)
{
	if (life_stop_wanted(instance))
		life_move(instance, LIFE_CLEAN);
	else if (start_slot_take(&instance->world->slots, &instance->slot, instance->restarts > 0))
		life_move(instance, LIFE_CREATE);
}

static void start_failed(struct instance *instance)
{
	instance->start_failed = true;
	life_move(instance, LIFE_CLEAN);
}

// Waits for the keeper's answer; true when it has come well. Moves on when it has not, or when stop is wanted.
static bool keeper_answered(struct instance *instance, const char *what)
{
	if (instance->keeper == KEEPER_ASKED && !life_stop_wanted(instance))
		return false;
	bool answered = instance->keeper == KEEPER_ANSWERED;
	if (!answered)
		instance->world->ops->cancel(instance->world, instance);
	instance->keeper = KEEPER_NONE;
	if (life_stop_wanted(instance)) {
		life_move(instance, LIFE_CLEAN);
		return false;
	}
	if (instance->keeper_result == 0)
		return true;
	struct err err = { 0 };
	err_set_errno(&err, instance->keeper_result, "the keeper cannot %s", what);
	life_say_err(instance, &err);
	start_failed(instance);
	return false;
}

static void create(struct instance *instance)
{
	struct err err = { 0 };
	int r = 0;
	if (!instance->address)
		r = instance->world->ops->address_take(instance->world, &instance->address, &err);
	if (r < 0) {
		life_say_err(instance, &err);
		start_failed(instance);
		return;
	}
	if (first_time(instance))
		life_job(instance, JOB_CREATE, 0);
	if (!life_job_done(instance, JOB_CREATE, &r))
		return;
	if (r < 0)
		start_failed(instance);
	else if (life_stop_wanted(instance))
		life_move(instance, LIFE_CLEAN);
	else
		life_move(instance, LIFE_OUTPUT);
}

static void output(struct instance *instance)
{
	if (first_time(instance)) {
		instance->keeper = KEEPER_ASKED;
		instance->world->ops->output(instance->world, instance->id, life_keeper_done, instance);
	}
	if (keeper_answered(instance, "take its output"))
		life_move(instance, LIFE_WATCH);
}

static void watch(struct instance *instance)
{
	if (first_time(instance)) {
		instance->keeper = KEEPER_ASKED;
		instance->world->ops->watch(instance->world, instance->id, &instance->running, life_keeper_done, instance);
	}
	if (keeper_answered(instance, "watch its process"))
		life_move(instance, LIFE_START);
}

static void start(struct instance *instance)
{
	int r;
	if (first_time(instance)) {
		instance->run_since_ms = monotonic_ms();
		life_job(instance, JOB_START, 0);
	}
	if (!life_job_done(instance, JOB_START, &r))
		return;
	if (r < 0) {
		start_failed(instance);
		return;
	}
	instance->started_ms = realtime_ms();
	instance->started = true;
	instance->tries = 0;
	life_move(instance, LIFE_STARTING);
}

static void end_run(struct instance *instance, bool crashed, enum life_state to)
{
	probe_stop(&instance->probe);
	instance->probe_ready = false;
	instance->crashed = crashed;
	life_move(instance, to);
}

// What may end a run; true when it did.
static bool run_ended(struct instance *instance)
{
	if (instance->exited) {
		bool crashed = !life_stop_wanted(instance);
		if (crashed)
			life_say(instance, NULL);
		end_run(instance, crashed, LIFE_CLEAN);
	} else if (life_stop_wanted(instance)) {
		end_run(instance, false, LIFE_TERM);
	} else {
		return false;
	}
	return true;
}

static void probed(struct probe *probe, bool ok, const char *detail)
{
	struct instance *instance = CONTAINER_OF(probe, struct instance, probe);
	life_probed(instance, ok, detail, probe->took_ms);
}

static void starting(struct instance *instance)
{
	if (run_ended(instance))
		return;
	const struct assignment *a = life_wants(instance);
	if (first_time(instance)) {
		instance->probe_failed = 0;
		probe_start(&instance->probe, instance->world->loop, &a->health, instance->address, a->port, false, probed);
		if (a->health.grace_ms)
			timer_set(&instance->timer, a->health.grace_ms);
	}
	if (instance->probe_ready) {
		life_say(instance, NULL);
		life_move(instance, LIFE_READY);
	} else if (instance->due) {
		const struct probe_result *last = life_last_probe(instance);
		life_say(instance, "not ready within %u ms of its start: %s", a->health.grace_ms,
			 last ? last->detail : "no probe has ended");
		instance->late = true;
		end_run(instance, true, LIFE_TERM);
	}
}

static void ready(struct instance *instance)
{
	if (run_ended(instance))
		return;
	const struct assignment *a = life_wants(instance);
	if (!instance->probe.loop) // adopted
		probe_start(&instance->probe, instance->world->loop, &a->health, instance->address, a->port, true, probed);
	if (instance->probe_failed >= UNREADY_AFTER) {
		life_say(instance, INSTANCE_MESSAGE_HEALTH "%s", life_last_probe(instance)->detail);
		life_move(instance, LIFE_UNREADY);
	}
}

static void unready(struct instance *instance)
{
	if (run_ended(instance))
		return;
	if (instance->probe_failed == 0) {
		life_say(instance, NULL);
		life_move(instance, LIFE_READY);
	} else if (instance->probe_failed >= RESTART_AFTER) {
		life_say(instance, "restarted after %u failed health checks: %s", instance->probe_failed,
			 life_last_probe(instance)->detail);
		end_run(instance, true, LIFE_TERM);
	}
}

static void term(struct instance *instance)
{
	int r;
	if (first_time(instance)) {
		timer_set(&instance->timer, life_wants(instance)->drain_ms);
		if (!instance->exited)
			life_job(instance, JOB_KILL, SIGTERM);
	}
	if (!instance->job)
		life_job_done(instance, JOB_KILL, &r);
	if (instance->exited)
		life_move(instance, LIFE_CLEAN);
	else if (instance->due)
		life_move(instance, LIFE_KILL);
}

static void kill_it(struct instance *instance)
{
	int r;
	if (first_time(instance)) {
		timer_set(&instance->timer, KILL_WAIT_MS);
		if (life_stop_wanted(instance))
			life_say(instance, "killed after %g s of drain", life_wants(instance)->drain_ms / 1000.0);
		life_job(instance, JOB_KILL, SIGKILL);
	}
	if (!instance->job)
		life_job_done(instance, JOB_KILL, &r);
	if (instance->exited || instance->due)
		life_move(instance, LIFE_CLEAN);
}

// A run that never was ready had its time: the next one waits, however long this one took.
static void count_crash(struct instance *instance)
{
	uint64_t run_ms = instance->late ? 0 : monotonic_ms() - instance->run_since_ms;
	if (instance->late && !instance->count.in_row)
		instance->count.in_row = 1;
	instance->restarts++;
	instance->delay_ms = restart_delay_ms(&instance->count, &life_wants(instance)->restart, run_ms,
					      &instance->world->rng);
}

// Where a removed container leads: stopped, failed, or to the next run.
static void cleaned(struct instance *instance)
{
	bool ran = instance->running.pid != 0 && instance->started;
	bool crashed = instance->crashed && ran;
	bool clean_exit = life_account(instance);
	instance->crashed = false;
	instance->delay_ms = 0;
	if (crashed && !restart_wanted(&life_wants(instance)->restart, clean_exit))
		instance->over = true;
	if (crashed && !instance->over && !life_stop_wanted(instance))
		count_crash(instance);
	instance->late = false;
	if (life_stop_wanted(instance) || instance->over)
		life_move(instance, LIFE_FORGET);
	else if (instance->start_failed)
		life_move(instance, LIFE_FAILED);
	else
		life_move(instance, instance->delay_ms ? LIFE_BACKOFF : LIFE_PULL);
	instance->start_failed = false;
}

static void clean(struct instance *instance)
{
	int r;
	if (instance->due) {
		instance->due = false;
		instance->asked = false;
	}
	if (first_time(instance))
		life_job(instance, JOB_DELETE, 0);
	if (!life_job_done(instance, JOB_DELETE, &r))
		return;
	if (r < 0)
		timer_set(&instance->timer, AGAIN_MS);
	else
		cleaned(instance);
}

static void backoff(struct instance *instance)
{
	if (life_stop_wanted(instance)) {
		life_move(instance, LIFE_FORGET);
		return;
	}
	if (first_time(instance))
		timer_set(&instance->timer, instance->delay_ms);
	if (instance->due)
		life_move(instance, LIFE_PULL);
}

static void failed(struct instance *instance)
{
	if (life_stop_wanted(instance)) {
		life_move(instance, LIFE_FORGET);
		return;
	}
	if (first_time(instance)) {
		instance->tries++;
		timer_set(&instance->timer, try_again_ms(instance));
	}
	if (!instance->due)
		return;
	if (instance->unsaved)
		instance->stored = false;
	life_move(instance, LIFE_PULL);
}

static void forget(struct instance *instance)
{
	if (first_time(instance)) {
		if (instance->address)
			instance->world->ops->address_release(instance->world, instance->address);
		instance->address = 0;
		instance->keeper = KEEPER_ASKED;
		instance->world->ops->forget(instance->world, instance->id, life_keeper_done, instance);
	}
	if (instance->keeper != KEEPER_ANSWERED)
		return;
	instance->keeper = KEEPER_NONE;
	life_move(instance, LIFE_STOPPED);
}

static void stopped(struct instance *instance)
{
	if (instance->removed) {
		life_move(instance, LIFE_RETIRE);
	} else if (!life_stop_wanted(instance) && !instance->over) {
		instance->tries = 0;
		life_say(instance, NULL);
		life_move(instance, LIFE_PULL);
	}
}

static void retire(struct instance *instance)
{
	int r;
	if (instance->due) {
		instance->due = false;
		instance->asked = false;
	}
	if (first_time(instance))
		life_job(instance, JOB_RETIRE, 0);
	if (!life_job_done(instance, JOB_RETIRE, &r))
		return;
	if (!instance->removed) { // it came back; storing the order undoes what was done
		instance->stored = false;
		life_move(instance, LIFE_STOPPED);
	} else if (r < 0) {
		timer_set(&instance->timer, AGAIN_MS);
	} else {
		life_move(instance, LIFE_GONE);
	}
}

static void gone(struct instance *instance)
{
	instance->events->gone(instance);
}

#define TO(state) (1u << LIFE_##state)
#define RUN_ENDS (TO(TERM) | TO(CLEAN))

static const struct life_step life_steps[LIFE_STATES] = {
	[LIFE_PULL] = { "pull", TO(SLOT) | TO(CLEAN) | TO(FAILED), false, INSTANCE_PENDING, pull },
	[LIFE_SLOT] = { "slot", TO(CREATE) | TO(CLEAN), true, INSTANCE_PENDING, slot },
	[LIFE_CREATE] = { "create", TO(OUTPUT) | TO(CLEAN), true, INSTANCE_PENDING, create },
	[LIFE_OUTPUT] = { "output", TO(WATCH) | TO(CLEAN), true, INSTANCE_PENDING, output },
	[LIFE_WATCH] = { "watch", TO(START) | TO(CLEAN), true, INSTANCE_PENDING, watch },
	[LIFE_START] = { "start", TO(STARTING) | TO(CLEAN), true, INSTANCE_PENDING, start },
	[LIFE_STARTING] = { "starting", TO(READY) | RUN_ENDS, false, INSTANCE_STARTING, starting },
	[LIFE_READY] = { "ready", TO(UNREADY) | RUN_ENDS, false, INSTANCE_READY, ready },
	[LIFE_UNREADY] = { "unready", TO(READY) | RUN_ENDS, false, INSTANCE_UNREADY, unready },
	[LIFE_TERM] = { "term", TO(KILL) | TO(CLEAN), false, INSTANCE_STOPPING, term },
	[LIFE_KILL] = { "kill", TO(CLEAN), false, INSTANCE_STOPPING, kill_it },
	[LIFE_CLEAN] = { "clean", TO(PULL) | TO(BACKOFF) | TO(FAILED) | TO(FORGET), false, INSTANCE_STOPPING, clean },
	[LIFE_BACKOFF] = { "backoff", TO(PULL) | TO(FORGET), false, INSTANCE_BACKOFF, backoff },
	[LIFE_FAILED] = { "failed", TO(PULL) | TO(FORGET), false, INSTANCE_FAILED, failed },
	[LIFE_FORGET] = { "forget", TO(STOPPED), false, INSTANCE_STOPPING, forget },
	[LIFE_STOPPED] = { "stopped", TO(PULL) | TO(RETIRE), false, INSTANCE_STOPPED, stopped },
	[LIFE_RETIRE] = { "retire", TO(STOPPED) | TO(GONE), false, INSTANCE_STOPPED, retire },
	[LIFE_GONE] = { "gone", 0, false, INSTANCE_STOPPED, gone },
};

static void life_move(struct instance *instance, enum life_state to)
{
	assert(life_steps[instance->state].to & (1u << to));
	log_debug("life instance=%s from=%s to=%s", instance->id, life_steps[instance->state].name, life_steps[to].name);
	instance->state = to;
	instance->asked = false;
	instance->due = false;
	timer_stop(&instance->timer);
	if (!life_steps[to].starts)
		start_slot_give(&instance->world->slots, &instance->slot);
	life_changed(instance);
}

const char *instance_life_name(const struct instance *instance)
{
	return life_steps[instance->state].name;
}

enum instance_state instance_reported_state(const struct instance *instance)
{
	bool stop = life_stop_wanted(instance);
	switch (instance->state) {
	case LIFE_TERM:
	case LIFE_KILL:
		return stop ? INSTANCE_STOPPING : INSTANCE_UNREADY;
	case LIFE_CLEAN:
		// How it ended is known when it is cleaned up; only then it is said to wait.
		return stop ? INSTANCE_STOPPING : instance->start_failed ? INSTANCE_FAILED : INSTANCE_UNREADY;
	default:
		break;
	}
	if (life_steps[instance->state].reported == INSTANCE_PENDING && instance->tries > 0)
		return INSTANCE_FAILED; // tries again; nothing new is known yet
	return life_steps[instance->state].reported;
}

void life_run(struct task *task)
{
	struct instance *instance = CONTAINER_OF(task, struct instance, task);
	for (;;) {
		if (instance->job)
			return;
		if (!instance->stored) {
			life_job(instance, JOB_STORE, 0);
			return;
		}
		enum life_state before = instance->state;
		if (before == LIFE_GONE) {
			gone(instance); // frees it
			return;
		}
		life_steps[before].step(instance);
		if (instance->state == before)
			break;
	}
	life_note_if_changed(instance);
}
