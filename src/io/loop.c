#include "io/loop.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"

#include <assert.h>
#include <uv.h>

#define SLOW_TASK_MS 50

struct loop {
	uv_loop_t uv;
	uv_idle_t idle; // active while tasks are ready, so that the loop does not wait
	struct list ready;
};

static void run_tasks(uv_idle_t *idle)
{
	struct loop *loop = idle->data;
	// Only what is ready now: a task that wakes itself runs in the next turn, after I/O.
	struct list batch;
	list_init(&batch);
	while (!list_empty(&loop->ready)) {
		struct list *first = loop->ready.next;
		list_remove(first);
		list_append(&batch, first);
	}
	while (!list_empty(&batch)) {
		struct task *task = LIST_ENTRY(batch.next, struct task, ready);
		list_remove(&task->ready);
		const char *name = task->name;
		uint64_t before = monotonic_ms();
		task->run(task);
		uint64_t held_ms = monotonic_ms() - before;
		if (held_ms > SLOW_TASK_MS)
			log_warn("slow task name=%s held_ms=%llu", name, (unsigned long long)held_ms);
	}
	if (list_empty(&loop->ready))
		uv_idle_stop(&loop->idle);
}

struct loop *loop_new(void)
{
	struct loop *loop = xcalloc(1, sizeof(*loop));
	int r = uv_loop_init(&loop->uv);
	assert(r == 0);
	list_init(&loop->ready);
	uv_idle_init(&loop->uv, &loop->idle);
	loop->idle.data = loop;
	return loop;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	uv_close((uv_handle_t *)&loop->idle, NULL);
	uv_run(&loop->uv, UV_RUN_NOWAIT); // takes a loop_stop that came while the loop did not run
	uv_run(&loop->uv, UV_RUN_DEFAULT);
	int r = uv_loop_close(&loop->uv);
	assert(r == 0);
	free(loop);
}

void loop_run(struct loop *loop)
{
	uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *loop)
{
	uv_stop(&loop->uv);
}

uint64_t loop_now_ms(const struct loop *loop)
{
	return uv_now(&loop->uv);
}

void task_init(struct task *task, struct loop *loop, const char *name, void (*run)(struct task *task))
{
	*task = (struct task){ .name = name, .run = run, .loop = loop };
	list_init(&task->ready);
}

void task_wake(struct task *task)
{
	if (!list_empty(&task->ready))
		return;
	if (list_empty(&task->loop->ready))
		uv_idle_start(&task->loop->idle, run_tasks);
	list_append(&task->loop->ready, &task->ready);
}

void task_clear(struct task *task)
{
	if (task->loop && !list_empty(&task->ready))
		list_remove(&task->ready);
	*task = (struct task){ 0 };
}

// libuv closes handles in a later turn; they live on the heap so that their owners may go at once.
struct timer_handle {
	uv_timer_t uv;
	struct timer *owner;
};

static void free_handle(uv_handle_t *handle)
{
	free(handle);
}

void timer_init(struct timer *timer, struct loop *loop, void (*fire)(struct timer *timer))
{
	*timer = (struct timer){ .fire = fire, .loop = loop };
}

static void timer_fired(uv_timer_t *uv)
{
	struct timer *timer = CONTAINER_OF(uv, struct timer_handle, uv)->owner;
	timer->fire(timer);
}

void timer_set(struct timer *timer, uint64_t delay_ms)
{
	if (!timer->handle) {
		timer->handle = xcalloc(1, sizeof(*timer->handle));
		timer->handle->owner = timer;
		uv_timer_init(&timer->loop->uv, &timer->handle->uv);
	}
	uv_update_time(&timer->loop->uv);
	uv_timer_start(&timer->handle->uv, timer_fired, delay_ms, 0);
}

bool timer_is_set(const struct timer *timer)
{
	return timer->handle && uv_is_active((uv_handle_t *)&timer->handle->uv);
}

void timer_stop(struct timer *timer)
{
	if (timer->handle)
		uv_timer_stop(&timer->handle->uv);
}

void timer_clear(struct timer *timer)
{
	if (timer->handle)
		uv_close((uv_handle_t *)&timer->handle->uv, free_handle);
	*timer = (struct timer){ 0 };
}

struct poll_handle {
	uv_poll_t uv;
	struct poll *owner;
};

static void poll_ready(uv_poll_t *uv, int status, int events)
{
	struct poll *poll = CONTAINER_OF(uv, struct poll_handle, uv)->owner;
	int ready = 0;
	if (status < 0)
		ready = POLL_READ | POLL_WRITE;
	if (events & (UV_READABLE | UV_DISCONNECT))
		ready |= POLL_READ;
	if (events & UV_WRITABLE)
		ready |= POLL_WRITE;
	poll->ready(poll, ready);
}

int poll_start(struct poll *poll, struct loop *loop, int fd, int events, void (*ready)(struct poll *poll, int events))
{
	struct poll_handle *handle = xcalloc(1, sizeof(*handle));
	int r = uv_poll_init(&loop->uv, &handle->uv, fd);
	if (r < 0) {
		free(handle);
		return r;
	}
	handle->owner = poll;
	*poll = (struct poll){ .ready = ready, .loop = loop, .handle = handle, .fd = fd };
	poll_set(poll, events);
	return 0;
}

void poll_set(struct poll *poll, int events)
{
	if (!events) {
		uv_poll_stop(&poll->handle->uv);
		return;
	}
	int flags = (events & POLL_READ ? UV_READABLE : 0) | (events & POLL_WRITE ? UV_WRITABLE : 0) |
		    (events & POLL_HANGUP ? UV_DISCONNECT : 0);
	uv_poll_start(&poll->handle->uv, flags, poll_ready);
}

void poll_stop(struct poll *poll)
{
	if (poll->handle)
		uv_close((uv_handle_t *)&poll->handle->uv, free_handle);
	*poll = (struct poll){ .fd = -1 };
}

struct work {
	uv_work_t uv;
	void (*work)(void *arg);
	void (*done)(void *arg);
	void *arg;
};

static void work_run(uv_work_t *uv)
{
	struct work *work = CONTAINER_OF(uv, struct work, uv);
	work->work(work->arg);
}

static void work_done(uv_work_t *uv, UNUSED int status)
{
	struct work *work = CONTAINER_OF(uv, struct work, uv);
	void (*done)(void *arg) = work->done;
	void *arg = work->arg;
	free(work);
	done(arg);
}

void loop_work(struct loop *loop, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
	struct work *job = xcalloc(1, sizeof(*job));
	*job = (struct work){ .work = work, .done = done, .arg = arg };
	int r = uv_queue_work(&loop->uv, &job->uv, work_run, work_done);
	assert(r == 0);
}

struct signal_handle {
	uv_signal_t uv;
	struct signal *owner;
};

static void signal_caught(uv_signal_t *uv, UNUSED int signum)
{
	struct signal *signal = CONTAINER_OF(uv, struct signal_handle, uv)->owner;
	signal->caught(signal);
}

int signal_start(struct signal *signal, struct loop *loop, int signum, void (*caught)(struct signal *signal))
{
	struct signal_handle *handle = xcalloc(1, sizeof(*handle));
	handle->owner = signal;
	uv_signal_init(&loop->uv, &handle->uv);
	*signal = (struct signal){ .caught = caught, .handle = handle };
	int r = uv_signal_start(&handle->uv, signal_caught, signum);
	if (r < 0)
		signal_stop(signal);
	return r;
}

void signal_stop(struct signal *signal)
{
	if (signal->handle)
		uv_close((uv_handle_t *)&signal->handle->uv, free_handle);
	*signal = (struct signal){ 0 };
}
