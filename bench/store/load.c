// A store of a million records of 512 bytes: how long until it serves, and what memory it takes beyond keys and values.
// Prints "name median spread unit" lines, tab-separated. The records are written once and the store opened several
// times, each in a process of its own.
#include "figure.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "io/file.h"
#include "io/loop.h"
#include "store/store.h"

#include <malloc.h>
#include <sys/wait.h>

enum { RECORDS = 1000000, BYTES = 512, PER_TXN = 100, FLYING = 256, ROUNDS = 5 };

struct filling {
	struct loop *loop;
	struct store *store;
	unsigned sent, flying;
};

struct opened {
	double seconds, overhead;
};

static void fatal(UNUSED void *arg, const struct err *err)
{
	die("the store failed", err->text);
}

// Keys come in no order, as placements do.
static void record_name(unsigned i, char *key, size_t size)
{
	uint64_t mixed = (uint64_t)i * 0x9e3779b97f4a7c15;
	snprintf(key, size, "v1/placements/node-%04u/%016llx", (unsigned)(mixed >> 40) % 1000,
		 (unsigned long long)mixed);
}

static void send_some(struct filling *f);

static void stored(void *arg, const struct store_answer *answer)
{
	struct filling *f = arg;
	if (answer->result != STORE_OK)
		die("a write was answered", store_result_name(answer->result));
	f->flying--;
	send_some(f);
	if (!f->flying)
		loop_stop(f->loop);
}

static void send_some(struct filling *f)
{
	static const char value[BYTES];
	for (; f->sent < RECORDS && f->flying < FLYING; f->flying++) {
		struct store_txn *txn = store_txn_new();
		for (unsigned i = 0; i < PER_TXN; i++) {
			char key[64];
			record_name(f->sent++, key, sizeof(key));
			store_txn_put(txn, key, value, BYTES - strlen(key));
		}
		store_commit(f->store, txn, stored, f);
	}
}

static struct store *open_store(struct loop *loop, const char *dir)
{
	struct err err = { 0 };
	struct store *store = NULL;
	if (store_open_sqlite(loop, dir, (struct store_owner){ .fatal = fatal }, &store, &err) < 0)
		die("cannot open the store", err.text);
	return store;
}

static void fill(const char *dir)
{
	struct filling f = { .loop = loop_new() };
	f.store = open_store(f.loop, dir);
	send_some(&f);
	loop_run(f.loop);
	store_close(f.store);
	loop_free(f.loop);
}

static size_t heap_bytes(void)
{
	struct mallinfo2 info = mallinfo2();
	return info.uordblks + info.hblkhd;
}

static struct opened measure(const char *dir)
{
	size_t before = heap_bytes();
	uint64_t start = monotonic_ns();
	struct loop *loop = loop_new();
	struct store *store = open_store(loop, dir);
	struct opened o = { .seconds = (double)(monotonic_ns() - start) / 1e9 };
	struct store_stats stats;
	store_stats(store, &stats);
	if (stats.records != RECORDS) {
		fprintf(stderr, "error: %llu records instead of %d\n", (unsigned long long)stats.records, RECORDS);
		exit(1);
	}
	o.overhead = (double)(heap_bytes() - before - stats.bytes) / RECORDS;
	store_close(store);
	loop_free(loop);
	return o;
}

static struct opened measure_in_child(const char *dir)
{
	int fds[2], status = 0;
	struct opened o = { 0 };
	pid_t pid = pipe(fds) == 0 ? fork() : -1;
	if (pid == 0) {
		o = measure(dir);
		_exit(write(fds[1], &o, sizeof(o)) != sizeof(o));
	}
	if (pid < 0 || read(fds[0], &o, sizeof(o)) != sizeof(o) || waitpid(pid, &status, 0) != pid || status)
		die("a measuring process", "failed");
	close(fds[0]);
	close(fds[1]);
	return o;
}

int main(int argc, char **argv)
{
	AUTO_FREE char *dir = xasprintf("%s/dialtone-bench-XXXXXX", argc > 1 ? argv[1] : "/var/tmp");
	if (!mkdtemp(dir)) {
		perror("error: cannot make a folder");
		return 1;
	}
	fill(dir);
	double seconds[ROUNDS], overhead[ROUNDS];
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct opened o = measure_in_child(dir);
		seconds[i] = o.seconds;
		overhead[i] = o.overhead;
	}
	figure_print("store.load_million_s", seconds, ROUNDS, "s");
	figure_print("store.bytes_per_record", overhead, ROUNDS, "bytes");
	return tree_remove(dir, NULL) < 0;
}
