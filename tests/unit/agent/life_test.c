#include "fake_world.h"

#include "agent/life.h"
#include "base/clock.h"
#include "base/str.h"

#include <errno.h>
#include <signal.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void starts_and_is_ready(void **state UNUSED)
{
	struct fake *fake = fake_new(4);
	struct instance *i = fake_instance(fake, "a");
	assert_int_equal(instance_reported_state(i), INSTANCE_PENDING);
	fake_until_state(fake, i, LIFE_READY);
	struct fake_container *c = fake_container(fake, "a");
	assert_true(c->running);
	assert_int_equal(c->creates, 1);
	assert_int_equal(instance_reported_state(i), INSTANCE_READY);
	assert_true(instance_runs(i));
	fake_free(fake);
}

struct run_wanted {
	struct fake_container *container;
	unsigned starts;
};

static bool started_times(void *arg)
{
	const struct run_wanted *wanted = arg;
	return wanted->container->starts >= wanted->starts;
}

static void first_crash_restarts_at_once_then_backs_off(void **state UNUSED)
{
	struct fake *fake = fake_new(4);
	struct instance *i = fake_instance(fake, "a");
	struct run_wanted wanted = { fake_container(fake, "a"), 1 };
	fake_until_state(fake, i, LIFE_READY);
	uint32_t address = i->address;
	struct restart *restart = &i->order->assignment.restart;
	restart->backoff_ms = restart->cap_ms = 600000; // no wait, or the test waits for ever
	fake_exit(fake, "a", 3 << 8);
	wanted.starts = 2;
	fake_until(fake, started_times, &wanted);
	restart->backoff_ms = restart->cap_ms = 20;
	fake_until_state(fake, i, LIFE_READY);
	assert_int_equal(i->restarts, 1);
	assert_int_equal(i->exit->status, 3);
	assert_int_equal(i->exit->line_count, 1);
	assert_string_equal(i->exit->lines[0], "last words");
	assert_int_equal(i->address, address);

	fake_exit(fake, "a", SIGSEGV);
	fake_until_state(fake, i, LIFE_BACKOFF);
	assert_int_equal(instance_reported_state(i), INSTANCE_BACKOFF);
	assert_int_equal(i->exit->signal, SIGSEGV);
	fake_until_state(fake, i, LIFE_READY);
	assert_int_equal(i->restarts, 2);
	fake_free(fake);
}

// However long the grace is: a run that never was ready is no good run that begins a new row, nor worth another at once.
static void what_is_not_ready_in_time_waits(void **state UNUSED)
{
	struct fake *fake = fake_new(4);
	struct instance *i = fake_instance(fake, "a");
	struct assignment *a = &i->order->assignment;
	a->health = (struct health){ .type = HEALTH_TCP, .interval_ms = 10, .timeout_ms = 20, .grace_ms = 60 };
	a->port = 1; // refused
	fake->next_address = 0x7f000000;
	a->restart.reset_ms = 1;
	a->restart.backoff_ms = a->restart.cap_ms = 60000;
	fake_until_state(fake, i, LIFE_BACKOFF);
	assert_int_equal(i->restarts, 1);
	assert_int_equal(instance_reported_state(i), INSTANCE_BACKOFF);
	assert_true(i->delay_ms >= 48000);
	assert_non_null(strstr(i->message, "not ready within 60 ms"));
	fake_free(fake);
}

static void policy_never_ends(void **state UNUSED)
{
	struct fake *fake = fake_new(4);
	struct instance *i = fake_instance(fake, "a");
	i->order->assignment.restart.policy = RESTART_NEVER;
	fake_until_state(fake, i, LIFE_READY);
	fake_exit(fake, "a", 0);
	fake_until_state(fake, i, LIFE_STOPPED);
	fake_run_ms(fake, 50);
	assert_int_equal(fake_container(fake, "a")->starts, 1);
	assert_non_null(strstr(fake_container(fake, "a")->note, "\"over\":true"));
	assert_int_equal(i->restarts, 0);
	fake_free(fake);
}

static bool is_gone(void *arg)
{
	return ((struct fake *)arg)->gone > 0;
}

static void stops_in_order(void **state UNUSED)
{
	struct fake *fake = fake_new(4);
	struct instance *i = fake_instance(fake, "a");
	struct fake_container *c = fake_container(fake, "a");
	fake_until_state(fake, i, LIFE_READY);
	fake_order_want(i, WANT_STOP);
	fake_until_state(fake, i, LIFE_STOPPED);
	assert_int_equal(c->last_signal, SIGTERM);
	assert_false(c->exists);
	assert_false(c->retired);
	assert_int_equal(i->restarts, 0);
	assert_int_equal(instance_reported_state(i), INSTANCE_STOPPED);
	instance_remove(i);
	fake_until(fake, is_gone, fake);
	assert_true(c->retired);
	fake_free(fake);
}

static void kills_who_does_not_listen(void **state UNUSED)
{
	struct fake *fake = fake_new(4);
	struct instance *i = fake_instance(fake, "a");
	struct fake_container *c = fake_container(fake, "a");
	c->ignores_term = true;
	fake_until_state(fake, i, LIFE_READY);
	uint64_t since_ms = monotonic_ms();
	instance_remove(i);
	fake_until(fake, is_gone, fake);
	assert_int_equal(c->last_signal, SIGKILL);
	assert_true(monotonic_ms() - since_ms >= 50);
	fake_free(fake);
}

static void stop_is_heard_while_starting(void **state UNUSED)
{
	struct fake *fake = fake_new(4);
	fake->keeper_away = true;
	struct instance *i = fake_instance(fake, "a");
	fake_until_state(fake, i, LIFE_OUTPUT);
	fake_order_want(i, WANT_STOP);
	fake_until_state(fake, i, LIFE_FORGET);
	fake->keeper_away = false;
	fake_until_state(fake, i, LIFE_STOPPED);
	assert_int_equal(fake_container(fake, "a")->starts, 0);
	fake_order_want(i, WANT_RUN);
	fake_until_state(fake, i, LIFE_READY);
	fake_free(fake);
}

static void waits_for_layers(void **state UNUSED)
{
	struct fake *fake = fake_new(4);
	fake->pull_result = -EINPROGRESS;
	struct instance *i = fake_instance(fake, "a");
	fake_run_ms(fake, 30);
	assert_int_equal(i->state, LIFE_PULL);
	fake->pull_result = -EAGAIN;
	instance_wake(i);
	fake_run_ms(fake, 30);
	assert_int_equal(instance_reported_state(i), INSTANCE_PENDING);
	assert_string_equal(i->message, "pull says so");
	fake->pull_result = -EBADMSG;
	fake_until_state(fake, i, LIFE_FAILED);
	assert_int_equal(instance_reported_state(i), INSTANCE_FAILED);
	fake->pull_result = 0;
	fake_until_state(fake, i, LIFE_READY);
	fake_free(fake);
}

static bool all_ready(void *arg)
{
	struct fake *fake = arg;
	for (unsigned i = 0; i < FAKE_CONTAINERS; i++) {
		if (fake->instances[i] && fake->instances[i]->state != LIFE_READY)
			return false;
	}
	return true;
}

static bool says_the_disk_is_full(void *arg)
{
	const struct instance *i = arg;
	return i->message && strstr(i->message, "the node's disk is full");
}

static void waits_for_room(void **state UNUSED)
{
	struct fake *fake = fake_new(4);
	fake->pull_result = -ENOSPC;
	struct instance *i = fake_instance(fake, "a");
	fake_until(fake, says_the_disk_is_full, i);
	assert_int_equal(instance_reported_state(i), INSTANCE_FAILED);
	fake->pull_result = 0;
	fake_until_state(fake, i, LIFE_READY);
	assert_null(i->message);
	fake_free(fake);
}

static void bounds_starts(void **state UNUSED)
{
	struct fake *fake = fake_new(3);
	for (unsigned k = 0; k < 40; k++) {
		char id[8];
		snprintf(id, sizeof(id), "i%u", k);
		fake_instance(fake, id);
	}
	fake_until(fake, all_ready, fake);
	assert_true(fake->most_starting <= 3);
	assert_int_equal(fake->world.slots.free, 3);
	fake_free(fake);
}

// For each n in one run: instance n has its n-th call fail. All must still serve, crash, serve again, stop and go.
static void nth_call_fails(void **state UNUSED)
{
	struct fake *fake = fake_new(4);
	for (unsigned n = 1; n <= 32; n++) {
		char id[8];
		snprintf(id, sizeof(id), "f%u", n);
		fake_container(fake, id)->fail_at = n;
		fake_instance(fake, id);
	}
	fake_until(fake, all_ready, fake);
	for (unsigned k = 0; k < 32; k++)
		fake_exit(fake, fake->instances[k]->id, 1 << 8);
	fake_run_ms(fake, 5);
	fake_until(fake, all_ready, fake);
	for (unsigned k = 0; k < 32; k++)
		instance_remove(fake->instances[k]);
	for (unsigned k = 0; k < 32; k++)
		fake_until(fake, is_gone, fake);
	while (fake->gone < 32)
		fake_run_ms(fake, 10);
	for (unsigned k = 0; k < fake->n; k++) {
		assert_false(fake->containers[k].exists);
		assert_true(fake->containers[k].starts >= 2);
	}
	assert_int_equal(fake->world.slots.free, 4);
	fake_free(fake);
}

static struct instance *adopt(struct fake *fake, const struct instance_found *found, enum want want)
{
	struct order *order = fake_order("a", want);
	struct instance *i = instance_adopt(&fake->world, order, found, &fake_events, fake);
	order_unref(order);
	fake->instances[0] = i;
	struct fake_container *c = fake_container(fake, "a");
	c->stored = true;
	c->exists = found->leftovers;
	c->running = found->runs;
	c->process = found->running;
	return i;
}

static const struct instance_found found_running = {
	.address = 9,
	.running = { .pid = 500, .start_ticks = 5 },
	.watched = true,
	.runs = true,
	.ready = true,
	.leftovers = true,
	.restarts = 2,
	.started_ms = 1,
};

static void adopts_what_runs(void **state UNUSED)
{
	struct fake *fake = fake_new(4);
	struct instance *i = adopt(fake, &found_running, WANT_RUN);
	assert_int_equal(instance_reported_state(i), INSTANCE_READY);
	fake_run_ms(fake, 50);
	struct fake_container *c = fake_container(fake, "a");
	assert_int_equal(i->state, LIFE_READY);
	assert_int_equal(c->starts + c->creates + c->deletes, 0);
	assert_int_equal(i->restarts, 2);
	fake_exit(fake, "a", 1 << 8);
	struct run_wanted wanted = { c, 1 };
	fake_until(fake, started_times, &wanted);
	assert_int_equal(i->restarts, 3);
	assert_int_equal(i->address, 9);
	fake_free(fake);
}

// Its order is not the one on disk, or none is there: it is stored, and what runs is not touched.
static void adopts_what_runs_by_a_new_order(void **state UNUSED)
{
	struct fake *fake = fake_new(4);
	struct instance_found found = found_running;
	found.unstored = true;
	struct instance *i = adopt(fake, &found, WANT_RUN);
	struct fake_container *c = fake_container(fake, "a");
	c->stored = false;
	fake_run_ms(fake, 50);
	assert_true(c->stored);
	assert_int_equal(i->state, LIFE_READY);
	assert_int_equal(c->starts + c->creates + c->deletes, 0);
	fake_free(fake);
}

static void adopts_what_has_ended(void **state UNUSED)
{
	struct fake *fake = fake_new(4);
	struct instance_found found = found_running;
	found.runs = false;
	found.exited = true;
	found.ended = (struct keeper_exit){ .pid = 500, .start_ticks = 5, .known = true, .status = 7 << 8 };
	struct instance *i = adopt(fake, &found, WANT_RUN);
	fake_until_state(fake, i, LIFE_READY);
	assert_int_equal(i->exit->status, 7);
	assert_int_equal(i->restarts, 3);
	assert_int_equal(fake_container(fake, "a")->deletes, 1);
	fake_free(fake);
}

// Created, but the agent died before it was started.
static void adopts_half_created(void **state UNUSED)
{
	struct fake *fake = fake_new(4);
	struct instance_found found = { .address = 9, .leftovers = true, .running = { 500, 5 }, .watched = true };
	struct instance *i = adopt(fake, &found, WANT_RUN);
	fake_until_state(fake, i, LIFE_READY);
	assert_int_equal(fake_container(fake, "a")->deletes, 1);
	assert_int_equal(fake_container(fake, "a")->starts, 1);
	assert_int_equal(i->restarts, 0);
	assert_null(i->exit);
	fake_free(fake);
}

static void adopts_a_stop_half_done(void **state UNUSED)
{
	struct fake *fake = fake_new(4);
	struct instance *i = adopt(fake, &found_running, WANT_STOP);
	fake_until_state(fake, i, LIFE_STOPPED);
	assert_int_equal(fake_container(fake, "a")->last_signal, SIGTERM);
	assert_int_equal(fake_container(fake, "a")->starts, 0);
	fake_free(fake);
}

static void report_says_all(void **state UNUSED)
{
	struct fake *fake = fake_new(4);
	struct instance *i = fake_instance(fake, "a");
	fake_until_state(fake, i, LIFE_READY);
	fake_exit(fake, "a", 1 << 8);
	struct run_wanted wanted = { fake_container(fake, "a"), 2 };
	fake_until(fake, started_times, &wanted);
	fake_until_state(fake, i, LIFE_READY);
	struct instance_report report;
	instance_report_fill(i, &report);
	assert_string_equal(report.instance, "a");
	assert_int_equal(report.state, INSTANCE_READY);
	assert_int_equal(report.exit->status, 1);
	assert_string_equal(report.address, "0.0.0.1");
	assert_true(report.probe->ok);
	fields_clear(&instance_report_fields, &report);
	fake_free(fake);
}

static void probes_make_a_bounded_history(void **state UNUSED)
{
	struct fake *fake = fake_new(4);
	struct instance *i = fake_instance(fake, "a");
	fake_until_state(fake, i, LIFE_READY);
	for (unsigned n = 0; n < 2 * PROBE_HISTORY; n++) {
		char detail[16];
		snprintf(detail, sizeof(detail), "answer %u", n);
		life_probed(i, true, detail, 1);
	}
	unsigned changes = fake->changes;
	life_probed(i, false, "late", 5);
	assert_int_equal(fake->changes, changes + 1);
	life_probed(i, false, "late", 7);
	assert_int_equal(fake->changes, changes + 2);
	life_probed(i, true, "fine", 1);
	life_probed(i, true, "fine", 1);
	assert_int_equal(fake->changes, changes + 3); // a success that is repeated is no news
	struct instance_report report;
	instance_report_fill(i, &report);
	assert_int_equal(report.probe_count, PROBE_HISTORY);
	assert_string_equal(report.probe->detail, "fine");
	assert_string_equal(report.probes[0].detail, "fine");
	assert_int_equal(report.probes[1].count, 2);
	assert_int_equal(report.probes[1].took_ms, 7);
	assert_true(report.probes[1].since_ms <= report.probes[1].at_ms);
	assert_string_equal(report.probes[2].detail, "answer 19");
	fields_clear(&instance_report_fields, &report);
	fake_free(fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(starts_and_is_ready),
		cmocka_unit_test(first_crash_restarts_at_once_then_backs_off),
		cmocka_unit_test(what_is_not_ready_in_time_waits),
		cmocka_unit_test(policy_never_ends),
		cmocka_unit_test(stops_in_order),
		cmocka_unit_test(kills_who_does_not_listen),
		cmocka_unit_test(stop_is_heard_while_starting),
		cmocka_unit_test(waits_for_layers),
		cmocka_unit_test(waits_for_room),
		cmocka_unit_test(bounds_starts),
		cmocka_unit_test(nth_call_fails),
		cmocka_unit_test(adopts_what_runs),
		cmocka_unit_test(adopts_what_runs_by_a_new_order),
		cmocka_unit_test(adopts_what_has_ended),
		cmocka_unit_test(adopts_half_created),
		cmocka_unit_test(adopts_a_stop_half_done),
		cmocka_unit_test(report_says_all),
		cmocka_unit_test(probes_make_a_bounded_history),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
