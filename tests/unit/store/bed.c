#include "bed.h"

#include "base/clock.h"
#include "base/str.h"
#include "io/file.h"
#include "io/loop.h"

enum { DEADLINE_MS = 60 * 1000 };

char *bed_temp_dir(void)
{
	const char *base = getenv("TMPDIR");
	AUTO_FREE char *dir = xasprintf("%s/dialtone-store-XXXXXX", base ? base : "/tmp");
	assert_non_null(mkdtemp(dir));
	return TAKE_PTR(dir);
}

void bed_use_memory(void)
{
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0);
}

static void fatal(void *arg, const struct err *err)
{
	struct bed *bed = arg;
	bed->fatal++;
	bed->fatal_err = *err;
}

struct bed *bed_new_memory(void)
{
	struct bed *bed = xcalloc(1, sizeof(*bed));
	bed->loop = loop_new();
	bed->store = store_open_memory(bed->loop);
	return bed;
}

struct bed *bed_new_sqlite(void)
{
	struct bed *bed = xcalloc(1, sizeof(*bed));
	bed->loop = loop_new();
	bed->dir = bed_temp_dir();
	bed_reopen(bed);
	return bed;
}

struct bed *bed_new_etcd(struct cluster *cluster)
{
	struct bed *bed = xcalloc(1, sizeof(*bed));
	bed->loop = loop_new();
	bed->cluster = cluster;
	cluster_wipe(cluster);
	bed_reopen(bed);
	bed->base = store_revision(bed->store);
	return bed;
}

int bed_open(struct bed *bed, struct err *err)
{
	struct store_owner owner = { .fatal = fatal, .arg = bed };
	if (bed->cluster)
		return store_open_etcd(bed->loop, bed->cluster->url, NULL, owner, &bed->store, err);
	return store_open_sqlite_with(bed->loop, bed->dir, &bed->options, owner, &bed->store, err);
}

void bed_close(struct bed *bed)
{
	store_close(TAKE_PTR(bed->store));
}

void bed_reopen(struct bed *bed)
{
	struct err err = { 0 };
	bed_close(bed);
	if (bed_open(bed, &err) < 0)
		fail_msg("%s", err.text);
}

void bed_free(struct bed *bed)
{
	if (!bed)
		return;
	bed_close(bed);
	loop_free(bed->loop);
	if (bed->dir) {
		AUTO_FREE char *before = xasprintf("%s.before-restore", bed->dir);
		assert_int_equal(tree_remove(bed->dir, NULL), 0);
		assert_int_equal(tree_remove(before, NULL), 0);
	}
	free(bed->dir);
	free(bed);
}

void outcome_clear(struct outcome *outcome)
{
	record_unref(outcome->record);
	*outcome = (struct outcome){ 0 };
}

void bed_answered(void *arg, const struct store_answer *answer)
{
	struct outcome *o = arg;
	assert_false(o->done);
	o->done = true;
	o->result = answer->result;
	o->revision = answer->revision;
	o->compare = answer->compare;
	o->record = answer->record ? record_ref(answer->record) : NULL;
	snprintf(o->reason, sizeof(o->reason), "%s", answer->reason);
}

void bed_commit(struct bed *bed, struct store_txn *txn, struct outcome *ret)
{
	*ret = (struct outcome){ 0 };
	store_commit(bed->store, txn, bed_answered, ret);
	assert_false(ret->done); // always later
}

struct turn {
	struct task task;
	const bool *done;
	uint64_t deadline_ms;
};

// Keeps the loop turning, which also makes it look at descriptors without waiting for one.
static void look(struct task *task)
{
	struct turn *turn = CONTAINER_OF(task, struct turn, task);
	if (*turn->done || monotonic_ms() > turn->deadline_ms)
		loop_stop(task->loop);
	else
		task_wake(task);
}

void bed_wait(struct bed *bed, const bool *done)
{
	struct turn turn = { .done = done, .deadline_ms = monotonic_ms() + DEADLINE_MS };
	task_init(&turn.task, bed->loop, "test", look);
	task_wake(&turn.task);
	loop_run(bed->loop);
	task_clear(&turn.task);
	assert_true(*done);
}

void bed_turn(struct bed *bed)
{
	static const bool at_once = true;
	for (int i = 0; i < 4; i++)
		bed_wait(bed, &at_once);
}

enum store_result bed_do(struct bed *bed, struct store_txn *txn, struct outcome *ret)
{
	AUTO_OUTCOME struct outcome own = { 0 };
	struct outcome *o = ret ? ret : &own;
	bed_commit(bed, txn, o);
	bed_wait(bed, &o->done);
	return o->result;
}

uint64_t bed_put(struct bed *bed, const char *key, const char *value)
{
	AUTO_OUTCOME struct outcome o = { 0 };
	struct store_txn *txn = store_txn_new();
	store_txn_put(txn, key, value, strlen(value));
	enum store_result r = bed_do(bed, txn, &o);
	if (r != STORE_OK)
		fail_msg("put of %s: %s: %s", key, store_result_name(r), o.reason);
	return o.revision;
}

uint64_t bed_delete(struct bed *bed, const char *key)
{
	AUTO_OUTCOME struct outcome o = { 0 };
	struct store_txn *txn = store_txn_new();
	store_txn_delete(txn, key);
	assert_int_equal(bed_do(bed, txn, &o), STORE_OK);
	return o.revision;
}

const char *bed_value(struct bed *bed, const char *key)
{
	const struct record *r = store_get(bed->store, key);
	return r ? record_value(r) : "";
}

int bed_setup_memory(void **state)
{
	*state = bed_new_memory();
	return 0;
}

int bed_setup_sqlite(void **state)
{
	*state = bed_new_sqlite();
	return 0;
}

struct cluster *bed_cluster;

int bed_setup_etcd(void **state)
{
	*state = bed_new_etcd(bed_cluster);
	return 0;
}

int bed_cluster_one(UNUSED void **state)
{
	bed_cluster = cluster_new(1);
	return 0;
}

int bed_cluster_three(UNUSED void **state)
{
	bed_cluster = cluster_new(3);
	return 0;
}

int bed_cluster_free(UNUSED void **state)
{
	cluster_free(TAKE_PTR(bed_cluster));
	return 0;
}

int bed_teardown(void **state)
{
	bed_free(*state);
	return 0;
}
