// One instance on this node: its life cycle as a state machine over facts. Whatever happens (a new assignment, a job's
// end, an exit, a probe's result, a timer) is stored here as a fact and wakes the task, which goes as far as the facts
// allow. Everything on the loop's thread; what blocks is a job on the pool, one at a time.
#pragma once

#include "agent/probe.h"
#include "agent/restart.h"
#include "agent/world.h"

enum life_state {
	LIFE_PULL,   // layers; tries again when they cannot be had at present
	LIFE_SLOT,   // waits for its turn to start
	LIFE_CREATE, // the container is made
	LIFE_OUTPUT, // the keeper opens the FIFOs: from here on what comes is the application's
	LIFE_WATCH,  // the keeper takes the process into its care
	LIFE_START,
	LIFE_STARTING, // runs, no probe has succeeded yet
	LIFE_READY,
	LIFE_UNREADY,
	LIFE_TERM,  // was told to end
	LIFE_KILL,  // did not end in time
	LIFE_CLEAN, // nothing runs; the container is removed
	LIFE_BACKOFF,
	LIFE_FAILED, // cannot be started; tries again
	LIFE_FORGET, // the keeper drains what is left
	LIFE_STOPPED,
	LIFE_RETIRE, // the server has heard of it and removed the assignment
	LIFE_GONE,
	LIFE_STATES
};

enum job_kind { JOB_STORE, JOB_NOTE, JOB_CREATE, JOB_START, JOB_KILL, JOB_DELETE, JOB_RETIRE };

struct instance;

// Whom the instance tells; both come from the loop, never from inside a call of this module.
struct instance_events {
	void (*changed)(struct instance *instance); // what instance_report_fill would say is different now
	void (*repeated)(struct instance *instance); // likewise, but it is nothing that anybody waits for
	void (*gone)(struct instance *instance);    // retired: free it
};

struct job {
	struct instance *instance;
	enum job_kind kind;
	struct order *order;
	uint32_t address;
	int signum;
	char *note;
	// Filled in by the pool thread.
	int result;
	struct err err;
	struct running running;
	struct remains remains;
};

enum keeper_call { KEEPER_NONE, KEEPER_ASKED, KEEPER_ANSWERED };

enum { PROBE_HISTORY = 10 };

struct instance {
	struct world *world;
	const struct instance_events *events;
	void *arg; // the owner's
	struct list link; // the owner's

	char *id;
	struct order *order;
	bool stored;	// the order is on disk
	bool removed;	// the server does not know it any more
	enum life_state state;
	struct task task;
	struct timer timer; // of the state
	bool due;	    // the timer has fired
	bool asked;	    // the state has begun its work
	bool unsaved;	    // the order could not be stored

	struct job *job; // NULL: none runs
	enum job_kind done_kind; // the last one that ended, with its result, until the state has looked at it
	bool done;
	int done_result;
	char *noted; // text of the last note written

	enum keeper_call keeper;
	int keeper_result;

	struct start_slot slot;
	uint32_t address; // 0: none
	struct running running; // pid 0: none
	bool started;		// of running: it was let go
	uint64_t run_since_ms;	// monotonic
	uint64_t started_ms;	// unix; of the run
	bool exited; // of `running`
	struct keeper_exit ended;

	bool start_failed; // on the way to LIFE_FAILED
	bool over;	   // by its restart policy
	bool crashed;	   // cleaning after an end that nobody asked for
	bool late;	   // likewise, of a run that was not ready in time
	unsigned tries;	   // to start, in a row, that failed
	unsigned pulls;	   // that had to wait
	uint64_t delay_ms; // of the next backoff
	struct restart_count count;
	uint32_t restarts;
	struct remains remains;	  // of `running`
	struct exit_status *exit; // the last one
	char *message;

	struct probe probe;
	bool probe_ready;      // the last verdict
	unsigned probe_failed; // in a row
	struct probe_result probes[PROBE_HISTORY]; // different ones; ring
	unsigned n_probes;	// ever
};

// A new one in LIFE_PULL, nothing stored. id of the assignment.
struct instance *instance_new(struct world *world, struct order *order, const struct instance_events *events, void *arg);

// What is known of a run that another agent process began; all from disk and from the container list.
struct instance_found {
	uint32_t address;	// 0: none
	struct running running; // pid 0: none was known
	bool watched;		// the keeper has it in its care
	bool runs;		// exactly this process is there and was started
	bool ready;		// it was ready when last heard of
	bool leftovers;		// something may be there to be removed before anything else
	bool exited;		// the end is recorded
	struct keeper_exit ended;
	bool over;
	uint32_t restarts;
	uint64_t started_ms;
	bool unstored; // the order is not on disk: to be written before anything else
};
struct instance *instance_adopt(struct world *world, struct order *order, const struct instance_found *found,
				const struct instance_events *events, void *arg);

// Ends timers and jobs' ties; no job may run. The container is not touched.
void instance_free(struct instance *instance);

void instance_wake(struct instance *instance); // something it may be waiting for has come
void instance_order(struct instance *instance, struct order *order); // a new one for the same id
void instance_remove(struct instance *instance); // the server has removed the assignment: stop, then retire
void instance_exited(struct instance *instance, const struct keeper_exit *record);

bool instance_runs(const struct instance *instance); // a process is there and may be exec'd into
enum instance_state instance_reported_state(const struct instance *instance);
const char *instance_life_name(const struct instance *instance);

// Text for world_ops.note; what instance_found is made of again. On the heap.
char *instance_note(const struct instance *instance);

// Deep copies into *ret, to be cleared with instance_report_clear. probes: the last PROBE_HISTORY that differ.
void instance_report_fill(const struct instance *instance, struct instance_report *ret);
