// Private to the life cycle: what its files share.
#pragma once

#include "agent/instance.h"

void life_job(struct instance *instance, enum job_kind kind, int signum); // starts it; none may run
// True once when a job of that kind has ended; *ret_result then has its result.
bool life_job_done(struct instance *instance, enum job_kind kind, int *ret_result);

void life_say(struct instance *instance, const char *fmt, ...) PRINTF_LIKE(2, 3); // the message; NULL fmt: none
void life_say_err(struct instance *instance, const struct err *err); // with its hint
void life_changed(struct instance *instance);

static inline const struct assignment *life_wants(const struct instance *instance)
{
	return &instance->order->assignment;
}

static inline bool life_stop_wanted(const struct instance *instance)
{
	return instance->removed || life_wants(instance)->want == WANT_STOP;
}

void life_run(struct task *task);
void life_note_if_changed(struct instance *instance);

// The run is over: fills in exit from what the keeper and the container left, and forgets the process. Returns whether
// it ended by itself with status 0.
bool life_account(struct instance *instance);

void life_exit_clear(struct instance *instance);
void life_keeper_done(void *arg, int result);
void life_probed(struct instance *instance, bool ok, const char *detail, uint32_t took_ms);
struct probe_result *life_last_probe(struct instance *instance); // NULL: none yet
