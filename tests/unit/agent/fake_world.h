// A machine for the life cycle that is all pretence: containers are flags, exits are told when a test says so, and the
// n-th call of an instance can be made to fail. It keeps the books: nothing may be started twice, nothing left behind.
#pragma once

#include "agent/instance.h"

#include <pthread.h>

enum { FAKE_CONTAINERS = 64 };

struct fake_container {
	char id[64];
	bool exists, running, ignores_term;
	struct running process;
	bool exit_due;
	int exit_status; // wait status
	bool stored, retired;
	unsigned creates, starts, deletes, calls, fail_at; // fail_at: this call (from 1) fails; 0: none
	uint32_t address;
	char note[512];
	int last_signal;
};

struct fake_answer;

struct fake {
	struct world world;
	pthread_mutex_t lock;
	struct fake_container containers[FAKE_CONTAINERS];
	unsigned n;
	pid_t next_pid;
	uint32_t next_address;
	unsigned starting, most_starting;
	int pull_result;
	bool keeper_away;
	struct list answers; // of the keeper, not given yet
	struct timer tick;
	struct instance *instances[FAKE_CONTAINERS];
	unsigned gone;
	unsigned changes;
};

struct fake *fake_new(unsigned start_limit);
void fake_free(struct fake *fake);
extern const struct instance_events fake_events;

struct fake_container *fake_container(struct fake *fake, const char *id); // made when new
struct order *fake_order(const char *id, enum want want); // process health, quick restarts
struct instance *fake_instance(struct fake *fake, const char *id);
void fake_order_want(struct instance *instance, enum want want);

// The process of id ends with this wait status.
void fake_exit(struct fake *fake, const char *id, int wait_status);

// Runs the loop until condition(arg); fails the test after 20 s.
void fake_until(struct fake *fake, bool (*condition)(void *arg), void *arg);
void fake_until_state(struct fake *fake, struct instance *instance, enum life_state state);
void fake_run_ms(struct fake *fake, unsigned ms);
