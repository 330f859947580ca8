// Small situations, one decision each. tests/sim has the long histories.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/str.h"
#include "plan/plan.h"

#define GIB (1ULL << 30)

// One app with one process (index 0 of both), three nodes unless said otherwise.
struct bed {
	struct plan_input input;
	struct plan_app app;
	struct plan_process process;
	struct plan_node nodes[3];
	struct plan_placement placements[32];
	struct plan plan;
};

static void bed_init(struct bed *bed, uint32_t nodes, uint32_t wanted)
{
	*bed = (struct bed){ 0 };
	bed->app = (struct plan_app){ .release = 2, .process_count = 1 };
	bed->process =
		(struct plan_process){ .wanted = wanted, .takes = { .memory_bytes = GIB / 4, .cpu_millis = 500 } };
	for (uint32_t i = 0; i < 3; i++)
		bed->nodes[i] =
			(struct plan_node){ .room = { .memory_bytes = 8 * GIB, .cpu_millis = 4000 }, .zone = i };
	bed->input = (struct plan_input){ .now_ms = 1000000,
					  .settings = PLAN_SETTINGS_DEFAULT,
					  .apps = &bed->app,
					  .processes = &bed->process,
					  .placements = bed->placements,
					  .nodes = bed->nodes,
					  .app_count = 1,
					  .process_count = 1,
					  .node_count = nodes };
}

static struct plan_placement *add(struct bed *bed, uint32_t index, uint32_t release, enum instance_state state)
{
	struct plan_placement *placement = &bed->placements[bed->input.placement_count++];
	*placement = (struct plan_placement){ .index = index,
					      .release = release,
					      .state = state,
					      .takes_memory_bytes = GIB / 4,
					      .takes_cpu_millis = 500,
					      .node = index % bed->input.node_count };
	return placement;
}

// Plans, and compares with "place INDEX r RELEASE", "stop #PLACEMENT", "remove #PLACEMENT", "node N is STATE", comma
// between them.
static void expect(struct bed *bed, const char *actions)
{
	plan_clear(&bed->plan);
	plan_make(&bed->input, &bed->plan);
	CLEANUP(buf_clear) struct buf buf = BUF_INIT(65536);
	for (uint32_t i = 0; i < bed->plan.action_count; i++) {
		const struct plan_action *action = &bed->plan.actions[i];
		buf_add_str(&buf, i ? ", " : "");
		if (action->verb == PLAN_PLACE)
			buf_addf(&buf, "place %u r%u", action->index, action->release);
		else if (action->verb == PLAN_NODE)
			buf_addf(&buf, "node %u is %s", action->node, action->state == NODE_LOST ? "lost" : "ready");
		else
			buf_addf(&buf, "%s #%u", action->verb == PLAN_STOP ? "stop" : "remove", action->placement);
	}
	assert_string_equal(buf_str(&buf), actions);
}

static void expect_rollout(struct bed *bed, enum rollout rollout)
{
	assert_int_equal(bed->plan.statuses[0].rollout, rollout);
}

static void nothing_differs(void **state UNUSED)
{
	struct bed bed;
	bed_init(&bed, 3, 2);
	add(&bed, 0, 2, INSTANCE_READY);
	add(&bed, 1, 2, INSTANCE_READY);
	expect(&bed, "");
	expect_rollout(&bed, ROLLOUT_DONE);
	assert_int_equal(bed.plan.statuses[0].ready, 2);
	plan_clear(&bed.plan);
}

static void first_deployment(void **state UNUSED)
{
	struct bed bed;
	bed_init(&bed, 3, 3);
	expect(&bed, "place 0 r2, place 1 r2, place 2 r2");
	expect_rollout(&bed, ROLLOUT_ROLLING);
	uint32_t on[3] = { 0 };
	for (uint32_t i = 0; i < 3; i++)
		on[bed.plan.actions[i].node]++;
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(on[i], 1); // spread over zones
	plan_clear(&bed.plan);
}

static void scaling(void **state UNUSED)
{
	struct bed bed;
	bed_init(&bed, 3, 2);
	for (uint32_t i = 0; i < 4; i++)
		add(&bed, i, 2, INSTANCE_READY);
	expect(&bed, "stop #3, stop #2");
	bed.process.wanted = 6;
	expect(&bed, "place 4 r2, place 5 r2");
	bed.process.wanted = 2;
	bed.placements[0].state = INSTANCE_BACKOFF;
	bed.placements[0].restarts = 3;
	expect(&bed, "stop #3"); // #2 serves in the stead of the one that crashes
	bed.process.wanted = 0;
	expect(&bed, "stop #0, stop #3, stop #2, stop #1");
	expect_rollout(&bed, ROLLOUT_STOPPED);
	plan_clear(&bed.plan);
}

static void new_before_old(void **state UNUSED)
{
	struct bed bed;
	bed_init(&bed, 3, 4);
	for (uint32_t i = 0; i < 4; i++)
		add(&bed, i, 1, INSTANCE_READY);
	expect(&bed, "place 0 r2"); // surge: 25 % of 4
	assert_int_equal(bed.plan.actions[0].placement, 0);
	assert_int_equal(bed.plan.actions[0].reason, PLAN_RELEASE);
	add(&bed, 0, 2, INSTANCE_STARTING);
	expect(&bed, "");
	bed.placements[4].state = INSTANCE_READY;
	expect(&bed, "stop #0"); // and the next only when this one is over
	bed.placements[0].want = WANT_STOP;
	bed.placements[0].state = INSTANCE_STOPPING;
	expect(&bed, "");
	bed.placements[0].state = INSTANCE_STOPPED;
	expect(&bed, "remove #0, place 1 r2");
	expect_rollout(&bed, ROLLOUT_ROLLING);
	plan_clear(&bed.plan);
}

static void restart_rolls(void **state UNUSED)
{
	struct bed bed;
	bed_init(&bed, 3, 1);
	add(&bed, 0, 2, INSTANCE_READY);
	bed.app.restart = 1;
	expect(&bed, "place 0 r2");
	assert_int_equal(bed.plan.actions[0].restart, 1);
	assert_int_equal(bed.plan.actions[0].reason, PLAN_RESTART);
	plan_clear(&bed.plan);
}

static void failed_rollout(void **state UNUSED)
{
	struct bed bed;
	bed_init(&bed, 3, 8);
	for (uint32_t i = 0; i < 8; i++)
		add(&bed, i, 1, INSTANCE_READY);
	add(&bed, 0, 2, INSTANCE_BACKOFF)->restarts = 2;
	expect(&bed, ""); // though the surge is 2
	expect_rollout(&bed, ROLLOUT_FAILED);
	assert_int_equal(bed.plan.statuses[0].failing, 8);
	bed.process.wanted = 9;
	expect(&bed, "place 8 r1"); // what is missing comes with what works
	bed.process.wanted = 8;
	bed.app.release = 1; // back
	expect(&bed, "stop #8");
	expect_rollout(&bed, ROLLOUT_ROLLING);
	bed.app.release = 3; // or on: the one that fails gives way, and index 0 keeps the one that serves
	expect(&bed, "stop #8, place 0 r3");
	plan_clear(&bed.plan);
}

static void one_crash_is_tolerated(void **state UNUSED)
{
	struct bed bed;
	bed_init(&bed, 3, 1);
	add(&bed, 0, 1, INSTANCE_READY);
	struct plan_placement *new = add(&bed, 0, 2, INSTANCE_STARTING);
	new->restarts = 1; // restarted at once
	expect(&bed, "");
	expect_rollout(&bed, ROLLOUT_ROLLING);
	new->state = INSTANCE_UNREADY; // and again: being cleaned up
	expect(&bed, "");
	expect_rollout(&bed, ROLLOUT_ROLLING);
	new->state = INSTANCE_BACKOFF;
	new->restarts = 2;
	expect(&bed, "");
	expect_rollout(&bed, ROLLOUT_FAILED);
	new->state = INSTANCE_STARTING; // a further attempt does not hide it
	expect(&bed, "");
	expect_rollout(&bed, ROLLOUT_FAILED);
	new->state = INSTANCE_READY;
	expect(&bed, "stop #0");
	plan_clear(&bed.plan);
}

static void broken_first_and_at_once(void **state UNUSED)
{
	struct bed bed;
	bed_init(&bed, 3, 2);
	add(&bed, 0, 1, INSTANCE_READY);
	add(&bed, 1, 1, INSTANCE_BACKOFF);
	expect(&bed, "place 1 r2, stop #1");
	plan_clear(&bed.plan);
}

static void what_is_coming_is_not_broken(void **state UNUSED)
{
	struct bed bed;
	bed_init(&bed, 3, 1);
	add(&bed, 0, 1, INSTANCE_STARTING); // perhaps ready by now
	expect(&bed, "place 0 r2");
	plan_clear(&bed.plan);
}

static void broken_makes_room(void **state UNUSED)
{
	struct bed bed;
	bed_init(&bed, 1, 1);
	bed.nodes[0].room.memory_bytes = GIB / 4 + GIB / 8;
	add(&bed, 0, 1, INSTANCE_FAILED);
	expect(&bed, "stop #0");
	bed.placements[0].state = INSTANCE_READY;
	expect(&bed, "");
	expect_rollout(&bed, ROLLOUT_NO_ROOM);
	plan_clear(&bed.plan);
}

// Two too many serve in the stead of two that do not; what replaces those is not taken back for being too many.
static void extras_do_not_hinder_repair(void **state UNUSED)
{
	struct bed bed;
	bed_init(&bed, 3, 2);
	add(&bed, 0, 1, INSTANCE_BACKOFF);
	add(&bed, 1, 1, INSTANCE_UNREADY);
	add(&bed, 1, 2, INSTANCE_STARTING);
	add(&bed, 2, 1, INSTANCE_READY);
	add(&bed, 3, 1, INSTANCE_READY);
	expect(&bed, "place 0 r2, stop #0");
	plan_clear(&bed.plan);
}

static void surge_shrinks_with_the_count(void **state UNUSED)
{
	struct bed bed;
	bed_init(&bed, 3, 4); // surge 1, but 2 were begun when 8 were wanted
	for (uint32_t i = 0; i < 4; i++)
		add(&bed, i, 1, INSTANCE_READY);
	add(&bed, 0, 2, INSTANCE_STARTING);
	add(&bed, 1, 2, INSTANCE_STARTING);
	expect(&bed, "stop #5");
	plan_clear(&bed.plan);
}

static void unheard_may_serve(void **state UNUSED)
{
	struct bed bed;
	bed_init(&bed, 3, 2);
	add(&bed, 0, 1, INSTANCE_PENDING)->unheard = true;
	add(&bed, 1, 1, INSTANCE_PENDING)->unheard = true;
	add(&bed, 2, 1, INSTANCE_PENDING)->unheard = true;
	expect(&bed, ""); // neither #2 nor the others may be stopped blindly, and #2 uses up the surge
	plan_clear(&bed.plan);
}

static void no_room(void **state UNUSED)
{
	struct bed bed;
	bed_init(&bed, 3, 1);
	bed.nodes[0].room.memory_bytes = GIB / 8;
	bed.nodes[1].state = NODE_DRAINING;
	bed.nodes[2].room.instances = 1;
	add(&bed, 7, 2, INSTANCE_READY)->node = 2;
	bed.placements[0].app = bed.placements[0].process = PLAN_NONE;
	bed.placements[0].want = WANT_STOP;
	expect(&bed, "");
	expect_rollout(&bed, ROLLOUT_NO_ROOM);
	assert_int_equal(bed.plan.unplaced_count, 1);
	const struct plan_unplaced *unplaced = &bed.plan.unplaced[0];
	assert_int_equal(unplaced->count, 1);
	assert_int_equal(unplaced->refusal_count, 3);
	const struct plan_refusal *refusals = &bed.plan.refusals[unplaced->first_refusal];
	assert_int_equal(refusals[0].reason, REFUSED_MEMORY);
	assert_int_equal(refusals[0].needed, GIB / 4);
	assert_true(refusals[0].left <= GIB / 8);
	assert_int_equal(refusals[1].reason, REFUSED_NODE_DRAINING);
	assert_int_equal(refusals[2].reason, REFUSED_FULL);
	plan_clear(&bed.plan);
}

static void lost_node(void **state UNUSED)
{
	struct bed bed;
	bed_init(&bed, 3, 3);
	for (uint32_t i = 0; i < 3; i++)
		add(&bed, i, 2, INSTANCE_READY);
	bed.nodes[1].silent_ms = 29999;
	expect(&bed, "");
	bed.nodes[1].silent_ms = 30000;
	expect(&bed, "node 1 is lost, place 1 r2, stop #1");
	assert_int_equal(bed.plan.actions[1].reason, PLAN_NODE_LOST);
	bed.nodes[0].silent_ms = bed.nodes[2].silent_ms = 30000;
	expect(&bed, ""); // all silent: this side is cut off
	bed.nodes[0].silent_ms = bed.nodes[1].silent_ms = bed.nodes[2].silent_ms = 0;
	bed.nodes[1].state = NODE_LOST;
	expect(&bed, "node 1 is ready");
	plan_clear(&bed.plan);
}

static void lost_node_without_room_elsewhere(void **state UNUSED)
{
	struct bed bed;
	bed_init(&bed, 2, 2);
	add(&bed, 0, 2, INSTANCE_READY);
	add(&bed, 1, 2, INSTANCE_READY);
	bed.nodes[0].room.memory_bytes = GIB / 4 + GIB / 8;
	bed.nodes[1].silent_ms = 60000;
	expect(&bed, "node 1 is lost"); // what runs there may go on if it comes back
	expect_rollout(&bed, ROLLOUT_NO_ROOM);
	plan_clear(&bed.plan);
}

static void draining_node(void **state UNUSED)
{
	struct bed bed;
	bed_init(&bed, 2, 1);
	add(&bed, 0, 2, INSTANCE_READY);
	bed.nodes[0].state = NODE_DRAINING;
	expect(&bed, "place 0 r2");
	assert_int_equal(bed.plan.actions[0].node, 1);
	add(&bed, 0, 2, INSTANCE_READY)->node = 1;
	expect(&bed, "stop #0");
	plan_clear(&bed.plan);
}

static void crashes_move(void **state UNUSED)
{
	struct bed bed;
	bed_init(&bed, 2, 1);
	struct plan_placement *placement = add(&bed, 0, 2, INSTANCE_BACKOFF);
	placement->restarts = 9;
	expect(&bed, "");
	placement->restarts = 10;
	expect(&bed, "place 0 r2, stop #0");
	assert_int_equal(bed.plan.actions[0].node, 1);
	assert_int_equal(bed.plan.actions[0].moves, 1);
	placement->moves = 1; // then it takes twice as many
	expect(&bed, "");
	placement->moves = 0;
	bed.input.node_count = 1;
	expect(&bed, ""); // nowhere else
	expect_rollout(&bed, ROLLOUT_FAILED);
	plan_clear(&bed.plan);
}

static void what_ended_by_its_own_rule_is_left(void **state UNUSED)
{
	struct bed bed;
	bed_init(&bed, 3, 1);
	add(&bed, 0, 2, INSTANCE_STOPPED);
	expect(&bed, "");
	expect_rollout(&bed, ROLLOUT_DONE);
	add(&bed, 0, 1, INSTANCE_READY);
	expect(&bed, "stop #1");
	plan_clear(&bed.plan);
}

static void orphans(void **state UNUSED)
{
	struct bed bed;
	bed_init(&bed, 3, 1);
	struct plan_placement *gone = add(&bed, 0, 1, INSTANCE_READY);
	gone->app = gone->process = PLAN_NONE;
	struct plan_placement *renamed = add(&bed, 0, 1, INSTANCE_READY);
	renamed->process = PLAN_NONE;
	struct plan_placement *nowhere = add(&bed, 0, 2, INSTANCE_READY);
	nowhere->node = PLAN_NONE;
	expect(&bed, "remove #2, place 0 r2, stop #0"); // #1 stays until the new release serves
	add(&bed, 0, 2, INSTANCE_READY);
	expect(&bed, "remove #2, stop #0, stop #1");
	bed.app.stopped = true;
	expect(&bed, "remove #2, stop #3, stop #0, stop #1");
	plan_clear(&bed.plan);
}

static void duplicates(void **state UNUSED)
{
	struct bed bed;
	bed_init(&bed, 3, 1);
	add(&bed, 0, 2, INSTANCE_STARTING);
	add(&bed, 0, 2, INSTANCE_READY);
	expect(&bed, "stop #0");
	plan_clear(&bed.plan);
}

// One crashes, the other, on a node that has yet to be heard, may serve: that one is it, and nobody is placed beside.
static void duplicates_one_of_them_broken(void **state UNUSED)
{
	struct bed bed;
	bed_init(&bed, 3, 1);
	add(&bed, 0, 2, INSTANCE_BACKOFF)->restarts = 10;
	struct plan_placement *other = add(&bed, 0, 2, INSTANCE_PENDING);
	other->unheard = true;
	other->node = 1;
	other->created_ms = 1;
	expect(&bed, "stop #0");
	plan_clear(&bed.plan);
}

static void unavailable_instead_of_surge(void **state UNUSED)
{
	struct bed bed;
	bed_init(&bed, 1, 2);
	bed.input.settings.surge_percent = bed.input.settings.surge_min = 0;
	bed.input.settings.unavailable = 1;
	add(&bed, 0, 1, INSTANCE_READY);
	add(&bed, 1, 1, INSTANCE_READY);
	expect(&bed, "stop #0");
	plan_clear(&bed.plan);
}

static void two_processes_fail_together(void **state UNUSED)
{
	struct bed bed;
	bed_init(&bed, 1, 1);
	struct plan_process processes[2] = { bed.process, bed.process };
	bed.input.processes = processes;
	bed.input.process_count = bed.app.process_count = 2;
	add(&bed, 0, 1, INSTANCE_READY);
	add(&bed, 0, 1, INSTANCE_READY)->process = 1;
	add(&bed, 0, 2, INSTANCE_FAILED)->process = 1;
	expect(&bed, "");
	expect_rollout(&bed, ROLLOUT_FAILED);
	assert_int_equal(bed.plan.statuses[0].failing, 2);
	plan_clear(&bed.plan);
}

static void texts(void **state UNUSED)
{
	for (int i = 0; i <= PLAN_OVER; i++)
		assert_non_null(plan_reason_text((enum plan_reason)i));
	for (int i = 0; i <= REFUSED_CRASHED_HERE; i++)
		assert_non_null(plan_refusal_text((enum plan_refusal_reason)i));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_differs),
		cmocka_unit_test(first_deployment),
		cmocka_unit_test(scaling),
		cmocka_unit_test(new_before_old),
		cmocka_unit_test(restart_rolls),
		cmocka_unit_test(failed_rollout),
		cmocka_unit_test(one_crash_is_tolerated),
		cmocka_unit_test(broken_first_and_at_once),
		cmocka_unit_test(what_is_coming_is_not_broken),
		cmocka_unit_test(broken_makes_room),
		cmocka_unit_test(extras_do_not_hinder_repair),
		cmocka_unit_test(surge_shrinks_with_the_count),
		cmocka_unit_test(unheard_may_serve),
		cmocka_unit_test(no_room),
		cmocka_unit_test(lost_node),
		cmocka_unit_test(lost_node_without_room_elsewhere),
		cmocka_unit_test(draining_node),
		cmocka_unit_test(crashes_move),
		cmocka_unit_test(what_ended_by_its_own_rule_is_left),
		cmocka_unit_test(orphans),
		cmocka_unit_test(duplicates),
		cmocka_unit_test(duplicates_one_of_them_broken),
		cmocka_unit_test(unavailable_instead_of_surge),
		cmocka_unit_test(two_processes_fail_together),
		cmocka_unit_test(texts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
