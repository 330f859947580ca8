// The agent's end of the keeper protocol. Connects by itself and again whenever the keeper was restarted; requests wait
// for the connection and are sent again when it broke before the answer came. Runs on its loop's thread.
#pragma once

#include "io/loop.h"
#include "keeper/record.h"

struct keeper_client;

struct keeper_client_spec {
	struct loop *loop;
	const char *data; // DATA; copied

	// The process of an instance ended. Comes again after each connect until the instance is watched anew or
	// forgotten: compare pid and start_ticks with what was handled. Never from inside a call of this module.
	void (*on_exit)(void *arg, const struct keeper_exit *record);
	// May be NULL. After true, the EXITs of all unforgotten records follow.
	void (*on_connected)(void *arg, bool connected);
	void *arg;
};

struct keeper_client *keeper_client_new(const struct keeper_client_spec *spec);
void keeper_client_free(struct keeper_client *client); // no further callback; NULL is fine

// done may be NULL; it comes later, once, with 0 or a negative errno, unless cancelled.
typedef void keeper_done(void *arg, int result);

// Open DATA/node/instances/ID/{out,err}.fifo and drain them into log/. -ENOENT: no such FIFO. To be called before the
// container is created. If the FIFOs were made anew since, the new ones are opened and the old ones drained.
void keeper_output(struct keeper_client *client, const char *id, keeper_done *done, void *arg);

// start_ticks: of pid, or 0 for "as found". done(0): the identity is safe, crun start may follow.
void keeper_watch(struct keeper_client *client, const char *id, pid_t pid, unsigned long long start_ticks,
		  keeper_done *done, void *arg);

// Drains and closes the FIFOs, removes the files `keeper` and `exit`. The log stays. Before the directory is removed.
void keeper_forget(struct keeper_client *client, const char *id, keeper_done *done, void *arg);

// Forgets the callbacks that carry this arg; the requests themselves are still delivered.
void keeper_cancel(struct keeper_client *client, void *arg);

// Blocking, for `down`: asks the keeper of this data directory to stop, or to hold while containers run. -ENOENT or
// -ECONNREFUSED: none runs.
int keeper_stop(const char *data, unsigned timeout_ms, struct err *err);

// Blocking, for `up`: has a holding keeper become this program (argv[0] a path) in this process's environment. 0: it
// has begun to.
int keeper_resume(const char *data, const char *const *argv, unsigned timeout_ms, struct err *err);
