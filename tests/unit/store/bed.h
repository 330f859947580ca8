// What the store's tests stand on: a loop, a store on it, and ways to wait for answers with a deadline.
#pragma once

#include "base/err.h"
#include "cluster.h"
#include "store/etcd.h"
#include "store/sqlite.h"
#include "store/store.h"

// Before cmocka.h, which needs them and does not include them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct bed {
	struct loop *loop;
	struct store *store;
	char *dir;               // of an SQLite store
	struct cluster *cluster; // of an etcd store; borrowed
	uint64_t base;           // revision when the test began
	struct revlog_options options;
	unsigned fatal; // how often the store reported that it cannot go on
	struct err fatal_err;
};

struct bed *bed_new_memory(void);
struct bed *bed_new_sqlite(void); // in a new folder
struct bed *bed_new_etcd(struct cluster *cluster); // whose keys are deleted first
void bed_free(struct bed *bed);   // removes the folder

// The same for cmocka's setup and teardown.
int bed_setup_memory(void **state);
int bed_setup_sqlite(void **state);
int bed_setup_etcd(void **state); // on bed_cluster
int bed_teardown(void **state);

// A cluster for a group of tests, by cmocka's group setup and teardown.
extern struct cluster *bed_cluster;
int bed_cluster_one(void **state);
int bed_cluster_three(void **state);
int bed_cluster_free(void **state);

int bed_open(struct bed *bed, struct err *err); // of the folder as it is
void bed_close(struct bed *bed);
void bed_reopen(struct bed *bed); // must succeed

struct outcome {
	bool done;
	enum store_result result;
	uint64_t revision;
	size_t compare;
	struct record *record;
	char reason[200];
};

void outcome_clear(struct outcome *outcome);
#define AUTO_OUTCOME CLEANUP(outcome_clear)

// Commits; *ret is filled in when the answer is there.
void bed_commit(struct bed *bed, struct store_txn *txn, struct outcome *ret);

void bed_answered(void *arg, const struct store_answer *answer); // arg: a struct outcome

// Runs the loop until *done is true; fails the test after 60 s.
void bed_wait(struct bed *bed, const bool *done);

// Runs the loop until nothing is left to run at once.
void bed_turn(struct bed *bed);

// Commit and wait.
enum store_result bed_do(struct bed *bed, struct store_txn *txn, struct outcome *ret);
uint64_t bed_put(struct bed *bed, const char *key, const char *value); // must succeed; returns the revision
uint64_t bed_delete(struct bed *bed, const char *key);
const char *bed_value(struct bed *bed, const char *key); // "" when absent

char *bed_temp_dir(void);
void bed_use_memory(
	void); // temporary folders in memory from now on, where the machine has that: their syncs cost nothing
