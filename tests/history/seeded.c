// The checker must find what it is for: violations of each kind, made by changing a history that was recorded from a
// store in memory and is true.
#include "check.h"
#include "workload.h"

#include "base/str.h"
#include "io/file.h"
#include "io/loop.h"
#include "store/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { RUN_MS = 1500, ENTRIES_MORE = 16 };

static struct log recorded; // as it was

struct recording {
	struct loop *loop;
	struct store *store;
	struct workload load;
	struct timer stop, fault;
	struct task over;
};

static bool has_acknowledged_fence(void);

static void time_is_up(struct timer *timer)
{
	struct recording *r = CONTAINER_OF(timer, struct recording, stop);
	if (!has_acknowledged_fence()) // the rarest of what the tests look for
		timer_set(timer, RUN_MS / 4);
	else
		workload_stop(&r->load, &r->over);
}

static void some_fault(struct timer *timer)
{
	struct recording *r = CONTAINER_OF(timer, struct recording, fault);
	static unsigned n;
	store_memory_fault(r->store, n++ % 2 ? STORE_FAULT_NOT_APPLIED : STORE_FAULT_UNKNOWN_APPLIED, 1, 1);
	timer_set(timer, 50);
}

static void over(struct task *task)
{
	struct recording *r = CONTAINER_OF(task, struct recording, over);
	if (workload_over(&r->load))
		loop_stop(r->loop);
}

static int record_history(UNUSED void **state)
{
	char path[] = "/tmp/dialtone-seeded-XXXXXX";
	struct err err = { 0 };
	struct shared shared = { 0 };
	struct recording r = { .loop = loop_new() };
	struct workload_options options = {
		.seed = 7, .life = 1, .clients = 8, .pace_ms = 1, .hold_ttl_ms = 1000, .shared = &shared
	};
	close(mkstemp(path));
	unlink(path);
	assert_int_equal(log_create(&recorded, path, &err), 0);
	unlink(path);
	r.store = store_open_memory(r.loop);
	task_init(&r.over, r.loop, "over", over);
	timer_init(&r.stop, r.loop, time_is_up);
	timer_init(&r.fault, r.loop, some_fault);
	workload_start(&r.load, r.store, r.loop, &recorded, &options);
	timer_set(&r.stop, RUN_MS);
	timer_set(&r.fault, 50);
	loop_run(r.loop);
	timer_clear(&r.fault);
	timer_clear(&r.stop);
	workload_clear(&r.load);
	task_clear(&r.over);
	store_close(r.store);
	loop_free(r.loop);
	return 0;
}

static int forget_history(UNUSED void **state)
{
	log_close(&recorded);
	return 0;
}

// ---- changing it

static struct log copy_of(void)
{
	struct log log = { .n = recorded.n };
	log.entries = xcalloc(log.n + ENTRIES_MORE, sizeof(struct entry));
	memcpy(log.entries, recorded.entries, log.n * sizeof(struct entry));
	return log;
}

static void cut(struct log *log, size_t at, size_t n)
{
	memmove(&log->entries[at], &log->entries[at + n], (log->n - at - n) * sizeof(struct entry));
	log->n -= n;
}

static void insert(struct log *log, size_t at, struct entry entry)
{
	memmove(&log->entries[at + 1], &log->entries[at], (log->n - at) * sizeof(struct entry));
	log->entries[at] = entry;
	log->n++;
}

// The first entry from the middle on of that type (and kind) that a test likes.
static size_t find(const struct log *log, enum entry_type type, int kind,
		   bool (*likes)(const struct log *log, size_t at))
{
	for (size_t i = log->n / 3; i < log->n; i++) {
		const struct entry *e = &log->entries[i];
		if (e->type == type && (kind < 0 || e->kind == kind) && (!likes || likes(log, i)))
			return i;
	}
	fail_msg("the recorded history has no entry of type %d; it is too short", type);
	return 0;
}

static size_t find_op(const struct log *log, enum entry_type type, uint64_t op)
{
	for (size_t i = 0; i < log->n; i++)
		if (log->entries[i].type == type && log->entries[i].op == op)
			return i;
	return SIZE_MAX;
}

static void expect(struct log *log, enum violation violation)
{
	struct verdict v;
	check_histories(log, 1, &v);
	if (!v.found[violation])
		fail_msg("'%s' is not found; but: %s", violation_name(violation), buf_str(&v.text));
	verdict_clear(&v);
	free(log->entries);
}

// An acknowledged transaction: the entry is its INVOKE. with: a part of this type is wanted in it.
static bool acknowledged_with(const struct log *log, size_t at, enum entry_type with)
{
	const struct entry *e = &log->entries[at];
	size_t ret = find_op(log, ENTRY_RETURN, e->op);
	bool found = false;
	for (size_t i = 1; i <= e->key; i++)
		found |= e[i].type == with;
	return e->kind == OP_TXN && found && ret != SIZE_MAX && log->entries[ret].kind == STORE_OK;
}

static bool acknowledged_put(const struct log *log, size_t at)
{
	return acknowledged_with(log, at, ENTRY_PUT);
}

static bool acknowledged_compare(const struct log *log, size_t at)
{
	return acknowledged_put(log, at) && log->entries[at + 1].type == ENTRY_IF &&
	       log->entries[at + 1].kind == IF_REVISION && log->entries[at + 1].revision;
}

static bool acknowledged_fence(const struct log *log, size_t at)
{
	return acknowledged_put(log, at) && log->entries[at + 1].type == ENTRY_FENCE;
}

static bool has_acknowledged_fence(void)
{
	for (size_t i = recorded.n / 3; i < recorded.n; i++)
		if (recorded.entries[i].type == ENTRY_INVOKE && recorded.entries[i].kind == OP_TXN &&
		    acknowledged_fence(&recorded, i))
			return true;
	return false;
}

static bool linear_read(const struct log *log, size_t at)
{
	size_t invoke = log->entries[at].op ? find_op(log, ENTRY_INVOKE, log->entries[at].op) : SIZE_MAX;
	return invoke != SIZE_MAX && log->entries[invoke].kind == OP_EMPTY;
}

static bool there(const struct log *log, size_t at)
{
	return log->entries[at].create && log->entries[at].version > 1;
}

static bool only_one(const struct log *log, size_t at)
{
	const struct entry *e = &log->entries[at];
	return !e->deleted && e->key < KEYS && e->key / GROUP_KEYS >= STREAMS && e[1].type == ENTRY_EVENT &&
	       e[1].mod > e->mod && e[-1].mod < e->mod;
}

// ---- the violations

static void test_true(UNUSED void **state)
{
	struct verdict v;
	check_histories(&recorded, 1, &v);
	if (v.violations)
		fail_msg("a true history is said to have violations: %s", buf_str(&v.text));
	assert_true(v.operations > 500 && v.conflicts && v.unknown && v.refused && v.reads > 500);
	assert_int_equal(v.not_checked, 0);
	verdict_clear(&v);
}

static void test_lost(UNUSED void **state)
{
	struct log log = copy_of();
	size_t at = find(&log, ENTRY_INVOKE, OP_TXN, acknowledged_put);
	uint64_t revision = log.entries[find_op(&log, ENTRY_RETURN, log.entries[at].op)].revision;
	for (size_t i = 0; i < log.n; i++)
		while (i < log.n && log.entries[i].type == ENTRY_EVENT && log.entries[i].mod == revision)
			cut(&log, i, 1);
	expect(&log, VIOLATION_LOST);
}

static void test_refused_but_applied(UNUSED void **state)
{
	struct log log = copy_of();
	size_t at = find(&log, ENTRY_INVOKE, OP_TXN, acknowledged_put);
	log.entries[find_op(&log, ENTRY_RETURN, log.entries[at].op)].kind = STORE_NO_SPACE;
	expect(&log, VIOLATION_FAILED);
}

static void test_stale_read(UNUSED void **state)
{
	struct log log = copy_of();
	struct entry *e = &log.entries[find(&log, ENTRY_READ, -1, there)];
	e->mod--; // as it was before
	e->version--;
	expect(&log, VIOLATION_READ);
}

static void test_read_of_the_past(UNUSED void **state)
{
	struct log log = copy_of();
	log.entries[find(&log, ENTRY_READ, -1, linear_read)].revision -= 50; // whatever the record was then
	expect(&log, VIOLATION_TIME);
}

static void test_duplicate(UNUSED void **state)
{
	struct log log = copy_of();
	size_t at = find(&log, ENTRY_EVENT, 0, NULL);
	insert(&log, at, log.entries[at]);
	expect(&log, VIOLATION_DUPLICATE);
}

// Of one stream only: another one shows it.
static void test_dropped(UNUSED void **state)
{
	struct log log = copy_of();
	cut(&log, find(&log, ENTRY_EVENT, 1, NULL), 1);
	expect(&log, VIOLATION_DROPPED);
}

static void test_streams_disagree(UNUSED void **state)
{
	struct log log = copy_of();
	log.entries[find(&log, ENTRY_EVENT, 1, NULL)].value ^= 16;
	expect(&log, VIOLATION_DISAGREE);
}

static void test_wrong_conflict(UNUSED void **state)
{
	struct log log = copy_of();
	struct entry *e = &log.entries[find(&log, ENTRY_RETURN, STORE_CONFLICT, NULL)];
	e[1].create = e[1].create ? 0 : 1; // the other way round
	expect(&log, VIOLATION_READ);
}

static void test_wrong_compare(UNUSED void **state)
{
	struct log log = copy_of();
	log.entries[find(&log, ENTRY_INVOKE, OP_TXN, acknowledged_compare) + 1].revision--;
	expect(&log, VIOLATION_COMPARE);
}

static void test_wrong_fence(UNUSED void **state)
{
	struct log log = copy_of();
	log.entries[find(&log, ENTRY_INVOKE, OP_TXN, acknowledged_fence) + 1].create--;
	expect(&log, VIOLATION_FENCE);
}

// The same put again, a revision later: all that follows is moved by one revision there.
static void test_doubled(UNUSED void **state)
{
	struct log log = copy_of();
	size_t at = find(&log, ENTRY_EVENT, 0, only_one);
	struct entry again = log.entries[at];
	again.revision = again.mod;
	again.version++;
	again.mod++;
	again.index = 200; // behind what is there
	insert(&log, at + 2, again);
	for (size_t i = at + 1; i < log.n; i++)
		if (log.entries[i].type == ENTRY_EVENT && log.entries[i].mod == again.mod &&
		    log.entries[i].index != 200)
			cut(&log, i--, 1);
	expect(&log, VIOLATION_TWICE);
}

static void test_nobody(UNUSED void **state)
{
	struct log log = copy_of();
	size_t at = find(&log, ENTRY_INVOKE, OP_TXN, acknowledged_put);
	uint64_t op = log.entries[at].op;
	cut(&log, at, log.entries[at].key + 1);
	cut(&log, find_op(&log, ENTRY_RETURN, op), 1);
	expect(&log, VIOLATION_NOBODY);
}

static bool acknowledged_two(const struct log *log, size_t at)
{
	const struct entry *e = &log->entries[at];
	return acknowledged_put(log, at) && e->key >= 2 && e[e->key].type == ENTRY_PUT &&
	       e[e->key - 1].type == ENTRY_PUT;
}

static void test_in_part(UNUSED void **state)
{
	struct log log = copy_of();
	struct entry *e = &log.entries[find(&log, ENTRY_INVOKE, OP_TXN, acknowledged_two)];
	e[e->key].value ^= 1; // it asked for something else
	expect(&log, VIOLATION_PART);
}

static void test_broken_chain(UNUSED void **state)
{
	struct log log = copy_of();
	size_t at = find(&log, ENTRY_EVENT, 0, only_one);
	log.entries[at].version++;
	expect(&log, VIOLATION_CHAIN);
}

static void test_real_time(UNUSED void **state)
{
	struct log log = copy_of();
	size_t at = find(&log, ENTRY_INVOKE, OP_TXN, acknowledged_put);
	log.entries[at].time_ns = log.entries[log.n - 1].time_ns; // asked for when all else was done
	expect(&log, VIOLATION_TIME);
}

static void test_torn(UNUSED void **state)
{
	struct log log = copy_of();
	log.entries[find(&log, ENTRY_EVENT, 0, only_one)].value = 0;
	expect(&log, VIOLATION_TORN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_true),
		cmocka_unit_test(test_lost),
		cmocka_unit_test(test_refused_but_applied),
		cmocka_unit_test(test_stale_read),
		cmocka_unit_test(test_read_of_the_past),
		cmocka_unit_test(test_duplicate),
		cmocka_unit_test(test_dropped),
		cmocka_unit_test(test_streams_disagree),
		cmocka_unit_test(test_wrong_conflict),
		cmocka_unit_test(test_wrong_compare),
		cmocka_unit_test(test_wrong_fence),
		cmocka_unit_test(test_doubled),
		cmocka_unit_test(test_nobody),
		cmocka_unit_test(test_in_part),
		cmocka_unit_test(test_broken_chain),
		cmocka_unit_test(test_real_time),
		cmocka_unit_test(test_torn),
	};
	return cmocka_run_group_tests_name("seeded violations", tests, record_history, forget_history);
}
