// Many clients of one store in one process, each with one operation at a time, and watches; all of it goes into a log.
// Runs on the store's loop. The store belongs to the caller.
#pragma once

#include "log.h"

#include "base/rng.h"
#include "io/loop.h"
#include "store/store.h"

struct client;
struct late;
struct workload;

struct stream {
	struct workload *load;
	unsigned number;
	struct task task;
	struct store_watch watch;
	uint64_t told; // progress that is in the log
};

// Known to all processes of a run, in shared memory: what anybody was acknowledged last.
struct shared {
	uint64_t revision;
};

struct workload_options {
	uint64_t seed;
	uint32_t life;
	unsigned clients;
	unsigned pace_ms;     // a client rests for between none and twice this after each operation
	unsigned hold_ttl_ms; // 0: does not want to lead
	struct shared *shared;
};

struct workload {
	struct workload_options options;
	struct store *store;
	struct loop *loop;
	struct log *log;
	struct rng rng;
	struct client *clients;
	struct stream streams[STREAMS];
	struct timer restart; // of the streams but the first
	uint64_t ops;         // numbered so far
	unsigned flying;
	bool stopping;
	struct task *ended; // woken when all is answered and in the log

	struct store_hold *leader; // fences one transaction at a time, committed only a while after it was made
	struct task changed;
	struct timer late_timer;
	struct late *late;
	struct store_hold **storm;
	struct timer storm_over;
	unsigned big; // so many puts of large values are still wanted
	uint64_t counts[STORE_RESULTS], reads, fenced_ok;
};

void workload_start(struct workload *load, struct store *store, struct loop *loop, struct log *log,
		    const struct workload_options *options);
void workload_stop(struct workload *load, struct task *ended); // then ended is woken
bool workload_over(const struct workload *load);
void workload_clear(struct workload *load);                 // once it is over
void workload_storm(struct workload *load, unsigned holds); // holds so many keys for a second or two
void workload_big(struct workload *load, unsigned puts);    // that many large values, as fast as it goes
