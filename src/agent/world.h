// What the life cycle needs of the machine: a table of functions, so that tests can put a fake in its place. The real one
// is host_world.c.
#pragma once

#include "agent/start_slots.h"
#include "base/err.h"
#include "base/rng.h"
#include "io/loop.h"
#include "keeper/client.h"
#include "model/exchange.h"

struct world;

// An assignment as it came, shared by the instance and the jobs that work by it. Counted on the loop's thread.
struct order {
	unsigned refs;
	struct assignment assignment;
};

struct order *order_new(struct assignment *assignment); // takes it over and leaves it zeroed
struct order *order_ref(struct order *order);
void order_unref(struct order *order); // NULL is fine

struct running {
	pid_t pid;
	unsigned long long start_ticks;
};

// What an ended container leaves for the report.
struct remains {
	bool oom;
	char *lines; // of its output, each ended by '\n'; on the heap, or NULL
};

struct world_ops {
	// These block and run on pool threads: several at once, but one at a time for an instance.

	// The instance's directory with its FIFOs, and the assignment in it, durably.
	int (*store)(struct world *world, const struct assignment *a, struct err *err);
	// What an adopting agent wants to know of a run: text for DATA/node/instances/ID/state, atomic, not durable.
	int (*note)(struct world *world, const char *id, const char *text, struct err *err);
	int (*create)(struct world *world, const struct assignment *a, uint32_t address, struct running *ret,
		      struct err *err);
	int (*start)(struct world *world, const char *id, struct err *err);
	int (*kill)(struct world *world, const char *id, int signum, struct err *err);
	// Whatever there is of the container, gone or never made; *ret is filled in as far as there was something.
	int (*delete)(struct world *world, const char *id, uint32_t address, struct remains *ret, struct err *err);
	// The assignment is over: only the logs stay, for readers.
	int (*retire)(struct world *world, const struct assignment *a, struct err *err);

	// These answer at once, on the loop.

	// 0: all layers are on this machine. -EINPROGRESS: they are being fetched, the instance is woken when that has ended.
	// -EAGAIN: cannot be fetched at present (no server). Other errors: never in this form.
	int (*pull)(struct world *world, const struct assignment *a, struct err *err);
	int (*address_take)(struct world *world, uint32_t *ret_address, struct err *err);
	void (*address_release)(struct world *world, uint32_t address);

	// These answer later, on the loop: see keeper/client.h.
	void (*output)(struct world *world, const char *id, keeper_done *done, void *arg);
	void (*watch)(struct world *world, const char *id, const struct running *running, keeper_done *done, void *arg);
	void (*forget)(struct world *world, const char *id, keeper_done *done, void *arg);
	void (*cancel)(struct world *world, void *arg); // no done for this arg any more
};

struct world {
	const struct world_ops *ops;
	struct loop *loop;
	struct start_slots slots;
	struct rng rng;
};
