#include "fake_world.h"

#include "base/clock.h"
#include "base/str.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

struct fake_answer {
	struct list link;
	keeper_done *done;
	void *arg;
	int result;
};

static struct fake *fake_of(struct world *world)
{
	return CONTAINER_OF(world, struct fake, world);
}

struct fake_container *fake_container(struct fake *fake, const char *id)
{
	for (unsigned i = 0; i < fake->n; i++) {
		if (str_eq(fake->containers[i].id, id))
			return &fake->containers[i];
	}
	assert_true(fake->n < FAKE_CONTAINERS);
	struct fake_container *container = &fake->containers[fake->n++];
	snprintf(container->id, sizeof(container->id), "%s", id);
	return container;
}

static struct fake_container *enter(struct world *world, const char *id)
{
	pthread_mutex_lock(&fake_of(world)->lock);
	return fake_container(fake_of(world), id);
}

static int leave(struct world *world, int r)
{
	pthread_mutex_unlock(&fake_of(world)->lock);
	return r;
}

static int fails(struct fake_container *container, struct err *err)
{
	if (++container->calls == container->fail_at)
		return err_set(err, -EIO, "call %u was made to fail", container->calls);
	return 0;
}

static int fake_store(struct world *world, const struct assignment *a, struct err *err)
{
	struct fake_container *container = enter(world, a->instance);
	int r = fails(container, err);
	if (r == 0) {
		container->stored = true;
		container->retired = false;
	}
	return leave(world, r);
}

static int fake_note(struct world *world, const char *id, const char *text, struct err *err)
{
	struct fake_container *container = enter(world, id);
	int r = fails(container, err);
	if (r == 0)
		snprintf(container->note, sizeof(container->note), "%s", text);
	return leave(world, r);
}

static int fake_create(struct world *world, const struct assignment *a, uint32_t address, struct running *ret,
		       struct err *err)
{
	struct fake *fake = fake_of(world);
	struct fake_container *container = enter(world, a->instance);
	assert_true(container->stored);
	assert_false(container->exists);
	assert_int_not_equal(address, 0);
	int r = fails(container, err);
	if (r == 0) {
		container->exists = true;
		container->creates++;
		container->address = address;
		container->exit_due = false;
		container->process = (struct running){ .pid = ++fake->next_pid, .start_ticks = 77 };
		*ret = container->process;
		if (++fake->starting > fake->most_starting)
			fake->most_starting = fake->starting;
	}
	return leave(world, r);
}

static int fake_start(struct world *world, const char *id, struct err *err)
{
	struct fake *fake = fake_of(world);
	struct fake_container *container = enter(world, id);
	assert_true(container->exists);
	assert_false(container->running);
	fake->starting--;
	int r = fails(container, err);
	if (r == 0) {
		container->running = true;
		container->starts++;
	}
	return leave(world, r);
}

static int fake_kill(struct world *world, const char *id, int signum, struct err *err)
{
	struct fake_container *container = enter(world, id);
	int r = fails(container, err);
	if (r == 0 && !container->running)
		r = -ESRCH;
	if (r == 0) {
		container->last_signal = signum;
		if (signum == SIGKILL || !container->ignores_term) {
			container->exit_due = true;
			container->exit_status = signum;
		}
	}
	return leave(world, r);
}

static int fake_delete(struct world *world, const char *id, uint32_t address UNUSED, struct remains *ret, struct err *err)
{
	struct fake_container *container = enter(world, id);
	int r = fails(container, err);
	if (r == 0) {
		container->deletes++;
		container->exists = container->running = false;
		ret->lines = xstrdup("last words\n");
	}
	return leave(world, r);
}

static int fake_retire(struct world *world, const struct assignment *a, struct err *err)
{
	struct fake_container *container = enter(world, a->instance);
	assert_false(container->exists);
	int r = fails(container, err);
	if (r == 0) {
		container->retired = true;
		container->stored = false;
	}
	return leave(world, r);
}

static int fake_pull(struct world *world, const struct assignment *a, struct err *err)
{
	struct fake_container *container = enter(world, a->instance);
	int r = fails(container, err);
	if (r == 0)
		r = fake_of(world)->pull_result;
	if (r < 0 && r != -EIO)
		err_set(err, r, "pull says so");
	return leave(world, r);
}

static int fake_address_take(struct world *world, uint32_t *ret_address, struct err *err UNUSED)
{
	*ret_address = ++fake_of(world)->next_address;
	return 0;
}

static void fake_address_release(struct world *world UNUSED, uint32_t address)
{
	assert_int_not_equal(address, 0);
}

static void answer_later(struct world *world, const char *id, keeper_done *done, void *arg)
{
	struct fake_container *container = enter(world, id);
	struct fake_answer *answer = xcalloc(1, sizeof(*answer));
	*answer = (struct fake_answer){ .done = done, .arg = arg, .result = fails(container, NULL) };
	list_append(&fake_of(world)->answers, &answer->link);
	leave(world, 0);
}

static void fake_watch(struct world *world, const char *id, const struct running *running, keeper_done *done, void *arg)
{
	assert_int_not_equal(running->pid, 0);
	answer_later(world, id, done, arg);
}

static void fake_cancel(struct world *world, void *arg)
{
	struct fake_answer *answer;
	LIST_EACH(answer, &fake_of(world)->answers, link) {
		if (answer->arg == arg) {
			list_remove(&answer->link);
			free(answer);
		}
	}
}

static const struct world_ops fake_ops = {
	.store = fake_store,
	.note = fake_note,
	.create = fake_create,
	.start = fake_start,
	.kill = fake_kill,
	.delete = fake_delete,
	.retire = fake_retire,
	.pull = fake_pull,
	.address_take = fake_address_take,
	.address_release = fake_address_release,
	.output = answer_later,
	.watch = fake_watch,
	.forget = answer_later,
	.cancel = fake_cancel,
};

static void give_answers(struct fake *fake)
{
	while (!fake->keeper_away && !list_empty(&fake->answers)) {
		struct fake_answer *answer = LIST_ENTRY(fake->answers.next, struct fake_answer, link);
		list_remove(&answer->link);
		answer->done(answer->arg, answer->result);
		free(answer);
	}
}

static bool take_exit(struct fake *fake, unsigned i, struct keeper_exit *ret)
{
	pthread_mutex_lock(&fake->lock);
	struct fake_container *container = &fake->containers[i];
	bool due = container->exit_due;
	container->exit_due = container->running = container->running && !due;
	*ret = (struct keeper_exit){ .pid = container->process.pid, .start_ticks = container->process.start_ticks,
				     .known = true, .status = container->exit_status, .time_ms = realtime_ms() };
	snprintf(ret->id, sizeof(ret->id), "%s", container->id);
	container->exit_due = false;
	pthread_mutex_unlock(&fake->lock);
	return due;
}

static void tell_exits(struct fake *fake)
{
	for (unsigned i = 0; i < fake->n && !fake->keeper_away; i++) {
		struct keeper_exit record;
		if (!take_exit(fake, i, &record))
			continue;
		for (unsigned k = 0; k < FAKE_CONTAINERS; k++) {
			if (fake->instances[k] && str_eq(fake->instances[k]->id, record.id))
				instance_exited(fake->instances[k], &record);
		}
	}
}

static void ticked(struct timer *timer)
{
	struct fake *fake = CONTAINER_OF(timer, struct fake, tick);
	give_answers(fake);
	tell_exits(fake);
	loop_stop(fake->world.loop);
	timer_set(timer, 1);
}

struct fake *fake_new(unsigned start_limit)
{
	struct fake *fake = xcalloc(1, sizeof(*fake));
	fake->world = (struct world){ .ops = &fake_ops, .loop = loop_new(), .rng = { 42 } };
	start_slots_init(&fake->world.slots, start_limit);
	pthread_mutex_init(&fake->lock, NULL);
	list_init(&fake->answers);
	fake->next_pid = 1000;
	timer_init(&fake->tick, fake->world.loop, ticked);
	timer_set(&fake->tick, 1);
	return fake;
}

static bool no_jobs(void *arg)
{
	struct fake *fake = arg;
	for (unsigned i = 0; i < FAKE_CONTAINERS; i++) {
		if (fake->instances[i] && fake->instances[i]->job)
			return false;
	}
	return true;
}

void fake_free(struct fake *fake)
{
	fake_until(fake, no_jobs, fake);
	for (unsigned i = 0; i < FAKE_CONTAINERS; i++)
		instance_free(fake->instances[i]);
	assert_true(list_empty(&fake->answers));
	timer_clear(&fake->tick);
	loop_free(fake->world.loop);
	pthread_mutex_destroy(&fake->lock);
	free(fake);
}

static void changed(struct instance *instance)
{
	((struct fake *)instance->arg)->changes++;
}

static void gone(struct instance *instance)
{
	struct fake *fake = instance->arg;
	for (unsigned i = 0; i < FAKE_CONTAINERS; i++) {
		if (fake->instances[i] == instance)
			fake->instances[i] = NULL;
	}
	fake->gone++;
	instance_free(instance);
}

const struct instance_events fake_events = { .changed = changed, .repeated = changed, .gone = gone };

struct order *fake_order(const char *id, enum want want)
{
	struct assignment a = {
		.instance = xstrdup(id),
		.want = want,
		.tenant = xstrdup("default"),
		.environment = xstrdup("dev"),
		.app = xstrdup("shop"),
		.app_uid = xstrdup("u1"),
		.process = xstrdup("web"),
		.health = { .type = HEALTH_PROCESS, .interval_ms = 10, .timeout_ms = 100, .grace_ms = 10000 },
		.drain_ms = 50,
		.restart = { .policy = RESTART_ALWAYS, .backoff_ms = 20, .cap_ms = 100, .reset_ms = 60000 },
	};
	return order_new(&a);
}

struct instance *fake_instance(struct fake *fake, const char *id)
{
	struct order *order = fake_order(id, WANT_RUN);
	struct instance *instance = instance_new(&fake->world, order, &fake_events, fake);
	order_unref(order);
	for (unsigned i = 0; i < FAKE_CONTAINERS; i++) {
		if (!fake->instances[i]) {
			fake->instances[i] = instance;
			break;
		}
	}
	return instance;
}

void fake_order_want(struct instance *instance, enum want want)
{
	struct assignment a = { 0 };
	assignment_copy(&instance->order->assignment, &a);
	a.want = want;
	a.generation++;
	struct order *order = order_new(&a);
	instance_order(instance, order);
	order_unref(order);
}

void fake_exit(struct fake *fake, const char *id, int wait_status)
{
	pthread_mutex_lock(&fake->lock);
	struct fake_container *container = fake_container(fake, id);
	assert_true(container->running);
	container->exit_due = true;
	container->exit_status = wait_status;
	pthread_mutex_unlock(&fake->lock);
}

void fake_until(struct fake *fake, bool (*condition)(void *arg), void *arg)
{
	uint64_t deadline_ms = monotonic_ms() + 20000;
	while (!condition(arg)) {
		if (monotonic_ms() > deadline_ms)
			fail_msg("the condition did not come true within 20 s");
		loop_run(fake->world.loop);
	}
}

struct state_wanted {
	struct instance *instance;
	enum life_state state;
};

static bool in_state(void *arg)
{
	const struct state_wanted *wanted = arg;
	return wanted->instance->state == wanted->state;
}

void fake_until_state(struct fake *fake, struct instance *instance, enum life_state state)
{
	struct state_wanted wanted = { instance, state };
	fake_until(fake, in_state, &wanted);
}

void fake_run_ms(struct fake *fake, unsigned ms)
{
	uint64_t end_ms = monotonic_ms() + ms;
	while (monotonic_ms() < end_ms)
		loop_run(fake->world.loop);
}
