// The event loop (libuv), one per thread: tasks, timers, file readiness, the thread pool, signals. An event stores a fact
// and wakes a task; the task runs from the loop only and re-reads the facts. A task that holds the loop for more than
// 50 ms is logged with its name. Everything here may be stopped and its memory freed at any time, also from inside its
// own callback.
#pragma once

#include "base/cleanup.h"
#include "base/list.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;

struct loop *loop_new(void);
void loop_free(struct loop *loop); // everything started on it must have been stopped
void loop_run(struct loop *loop);  // until loop_stop
void loop_stop(struct loop *loop);
uint64_t loop_now_ms(const struct loop *loop); // monotonic, as of this turn of the loop

struct task {
	const char *name;
	void (*run)(struct task *task);
	struct loop *loop;
	struct list ready;
};

void task_init(struct task *task, struct loop *loop, const char *name, void (*run)(struct task *task));
void task_wake(struct task *task); // runs once soon, however often it was woken before that
void task_clear(struct task *task); // zeroed is fine

struct timer {
	void (*fire)(struct timer *timer);
	struct loop *loop;
	struct timer_handle *handle; // NULL: never armed
};

void timer_init(struct timer *timer, struct loop *loop, void (*fire)(struct timer *timer));
void timer_set(struct timer *timer, uint64_t delay_ms); // once, delay_ms from now; replaces an earlier setting
bool timer_is_set(const struct timer *timer);
void timer_stop(struct timer *timer);  // may be set again
void timer_clear(struct timer *timer); // releases; zeroed is fine

enum { POLL_READ = 1, POLL_WRITE = 2, POLL_HANGUP = 4 };

// Readiness of a descriptor (level-triggered). Errors and hang-ups show as readable and writable. POLL_HANGUP is for who does
// not read at present but must know that the other end has gone; it shows as readable.
struct poll {
	void (*ready)(struct poll *poll, int events);
	struct loop *loop;
	struct poll_handle *handle;
	int fd;
};

// Does not own fd: stop the poll before closing it. Returns 0 or a negative errno (a regular file: -EPERM).
int poll_start(struct poll *poll, struct loop *loop, int fd, int events, void (*ready)(struct poll *poll, int events));
void poll_set(struct poll *poll, int events); // 0: pause
void poll_stop(struct poll *poll);	      // zeroed is fine

// Runs work(arg) on a thread of the pool, then done(arg) on the loop. Cannot be cancelled: arg must live until done.
void loop_work(struct loop *loop, void (*work)(void *arg), void (*done)(void *arg), void *arg);

struct signal {
	void (*caught)(struct signal *signal);
	struct signal_handle *handle;
};

int signal_start(struct signal *signal, struct loop *loop, int signum, void (*caught)(struct signal *signal));
void signal_stop(struct signal *signal); // zeroed is fine
