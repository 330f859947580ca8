// Instances that are over, of which the logs stay for readers: the newest 20 of an app, for a day, and no longer than
// the app exists. What is older is removed from disk on the pool.
#pragma once

#include "base/list.h"
#include "io/loop.h"
#include "model/exchange.h"

enum { HISTORY_PER_APP = 20 };
#define HISTORY_MS (24ull * 3600 * 1000)

struct past {
	struct list link; // oldest first
	char *id, *tenant, *environment, *app, *app_uid, *process;
	uint32_t index;
	uint64_t ended_ms; // unix time
};

struct history {
	struct loop *loop;
	char *instances; // DATA/node/instances
	struct list past;
	struct timer prune;
};

void history_init(struct history *history, struct loop *loop, const char *instances);
void history_clear(struct history *history);
void history_add(struct history *history, const struct assignment *a, uint64_t ended_ms);
bool history_has(const struct history *history, const char *id);
// Each app once: a heap array of *ret_n, whose texts are the history's.
struct past_app *history_apps(const struct history *history, size_t *ret_n);
void history_drop_app(struct history *history, const char *app_uid); // it was deleted: its logs go
void history_forget(struct history *history, const char *id); // it lives again: nothing on disk is touched

// The marker in an instance's directory that says so, in place of its assignment (which may hold secrets). Blocking; any
// thread. Read: -ENOENT when there is none.
int past_write(const char *dir, const struct assignment *a, struct err *err);
int past_read(const char *dir, struct assignment *ret, uint64_t *ret_ended_ms, struct err *err);
