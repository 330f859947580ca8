// What an instance does on pool threads, one job at a time, and what it learns from it.
#include "agent/life.h"

#include "base/log.h"
#include "base/str.h"

#include <assert.h>

static int job_store(struct job *job)
{
	struct world *world = job->instance->world;
	return world->ops->store(world, &job->order->assignment, &job->err);
}

static int job_nothing(struct job *job UNUSED)
{
	return 0;
}

static int job_create(struct job *job)
{
	struct world *world = job->instance->world;
	return world->ops->create(world, &job->order->assignment, job->address, &job->running, &job->err);
}

static int job_start(struct job *job)
{
	struct world *world = job->instance->world;
	return world->ops->start(world, job->order->assignment.instance, &job->err);
}

static int job_kill(struct job *job)
{
	struct world *world = job->instance->world;
	return world->ops->kill(world, job->order->assignment.instance, job->signum, &job->err);
}

static int job_delete(struct job *job)
{
	struct world *world = job->instance->world;
	return world->ops->delete(world, job->order->assignment.instance, job->address, &job->remains, &job->err);
}

static int job_retire(struct job *job)
{
	struct world *world = job->instance->world;
	return world->ops->retire(world, &job->order->assignment, &job->err);
}

static const struct job_row {
	const char *name;
	int (*work)(struct job *job);
	bool of_state; // a state waits for it
} job_rows[] = {
	[JOB_STORE] = { "store", job_store, false },    [JOB_NOTE] = { "note", job_nothing, false },
	[JOB_CREATE] = { "create", job_create, true },  [JOB_START] = { "start", job_start, true },
	[JOB_KILL] = { "kill", job_kill, true },        [JOB_DELETE] = { "delete", job_delete, true },
	[JOB_RETIRE] = { "retire", job_retire, true },
};

// On a pool thread. A note that cannot be written costs an adopting agent some knowledge, nothing more.
static void work(void *arg)
{
	struct job *job = arg;
	struct world *world = job->instance->world;
	struct err unheard = { 0 };
	if (job->note && world->ops->note(world, job->order->assignment.instance, job->note, &unheard) < 0)
		free(TAKE_PTR(job->note));
	job->result = job_rows[job->kind].work(job);
}

static void job_free(struct job *job)
{
	order_unref(job->order);
	free(job->note);
	free(job->remains.lines);
	free(job);
}

static void keep_remains(struct instance *instance, struct job *job)
{
	instance->remains.oom |= job->remains.oom;
	if (!job->remains.lines)
		return;
	free(instance->remains.lines);
	instance->remains.lines = TAKE_PTR(job->remains.lines);
}

static void stored(struct instance *instance, struct job *job)
{
	instance->stored = job->order == instance->order;
	instance->unsaved = job->result < 0;
	// Stopping goes on without: at worst it is asked for again after a restart of the agent.
	if (job->result < 0 && life_stop_wanted(instance))
		instance->unsaved = false;
}

static void finished(void *arg)
{
	struct job *job = arg;
	struct instance *instance = job->instance;
	instance->job = NULL;
	if (job_rows[job->kind].of_state) {
		instance->done = true;
		instance->done_kind = job->kind;
		instance->done_result = job->result;
	}
	if (job->result < 0 && job->kind != JOB_KILL) {
		life_say_err(instance, &job->err);
		log_warn("instance=%s app=%s cannot %s: %s", instance->id, life_wants(instance)->app,
			 job_rows[job->kind].name, job->err.text);
	}
	if (job->note) {
		free(instance->noted);
		instance->noted = TAKE_PTR(job->note);
	}
	if (job->kind == JOB_STORE)
		stored(instance, job);
	if (job->kind == JOB_CREATE && job->result == 0) {
		instance->running = job->running;
		instance->exited = instance->started = false;
	}
	keep_remains(instance, job);
	job_free(job);
	task_wake(&instance->task);
}

void life_job(struct instance *instance, enum job_kind kind, int signum)
{
	assert(!instance->job);
	struct job *job = xcalloc(1, sizeof(*job));
	*job = (struct job){
		.instance = instance,
		.kind = kind,
		.order = order_ref(instance->order),
		.address = instance->address,
		.signum = signum,
	};
	AUTO_FREE char *note = instance_note(instance);
	// Storing makes the directory that a note needs, and retiring ends all need of one.
	if (kind != JOB_STORE && kind != JOB_RETIRE && !str_eq(note, instance->noted))
		job->note = TAKE_PTR(note);
	instance->job = job;
	if (job_rows[kind].of_state)
		instance->done = false;
	loop_work(instance->world->loop, work, finished, job);
}

bool life_job_done(struct instance *instance, enum job_kind kind, int *ret_result)
{
	if (instance->job || !instance->done || instance->done_kind != kind)
		return false;
	instance->done = false;
	*ret_result = instance->done_result;
	return true;
}

void life_note_if_changed(struct instance *instance)
{
	if (instance->job || instance->state >= LIFE_RETIRE)
		return;
	AUTO_FREE char *note = instance_note(instance);
	if (str_eq(note, instance->noted))
		return;
	life_job(instance, JOB_NOTE, 0);
}
