// A store that a command works on directly: files of this machine, or an etcd cluster.
#pragma once

#include "cli/cli.h"
#include "io/loop.h"
#include "model/platform.h"
#include "store/backup.h"
#include "store/etcd.h"

struct target {
	struct loop *loop;
	char *url; // "etcd://…"; NULL: dir
	char *dir; // folder of an SQLite store
	struct store_etcd_options etcd;
	char *ca, *cert, *key;
	struct store *store; // NULL: not open
};

// word: "etcd://…", the folder of a store, or a platform's data directory. NULL: --store, or what the platform at
// --data (NULL: of the one that 'up' started last) uses.
int target_find(struct cli *cli, const char *word, struct target *ret, struct err *err);
void target_clear(struct target *target); // zeroed is fine
#define AUTO_TARGET CLEANUP(target_clear)

int target_open(struct target *target, struct err *err);
int target_restore(struct target *target, const struct backup *backup, bool replace, struct err *err);
const char *target_text(const struct target *target);
bool target_same(const struct target *a, const struct target *b);

// Where a store that is not told otherwise belongs to: the directory of --data, or of the platform that 'up' started
// last. Heap.
char *target_data(struct cli *cli);

// Runs the loop until *done is set by something on it.
void target_run(struct target *target, const bool *done);
