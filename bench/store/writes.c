// Durable one-record writes: with one writer and with 64, beside the disk's own fdatasync in the same run.
// Prints "name median spread unit" lines, tab-separated; spread is the distance between the quartiles.
#include "figure.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "io/file.h"
#include "io/loop.h"
#include "store/store.h"

#include <fcntl.h>

enum { ROUNDS = 9, ROUND_MS = 700, VALUE = 400, PAGE = 4096, DISK_FILE = 8 << 20 };

struct bench {
	struct loop *loop;
	struct store *store;
	struct timer end;
	uint64_t done, sent;
	unsigned flying;
	bool stopping;
};

static void fatal(UNUSED void *arg, const struct err *err)
{
	die("the store failed", err->text);
}

static void send_write(struct bench *b);

static void written(void *arg, const struct store_answer *answer)
{
	struct bench *b = arg;
	if (answer->result != STORE_OK)
		die("a write failed", answer->reason);
	b->done++;
	b->flying--;
	if (!b->stopping)
		send_write(b);
	else if (!b->flying)
		loop_stop(b->loop);
}

static void send_write(struct bench *b)
{
	static const char value[VALUE];
	char key[64];
	struct store_txn *txn = store_txn_new();
	snprintf(key, sizeof(key), "v1/bench/%06llu", (unsigned long long)(b->sent++ % 10000));
	store_txn_put(txn, key, value, sizeof(value));
	b->flying++;
	store_commit(b->store, txn, written, b);
}

static void time_is_up(struct timer *timer)
{
	CONTAINER_OF(timer, struct bench, end)->stopping = true;
}

static double writes_per_second(struct bench *b, unsigned writers)
{
	b->done = 0;
	b->stopping = false;
	uint64_t start = monotonic_ns();
	timer_set(&b->end, ROUND_MS);
	for (unsigned i = 0; i < writers; i++)
		send_write(b);
	loop_run(b->loop);
	return (double)b->done * 1e9 / (double)(monotonic_ns() - start);
}

// Seconds for writing one page into a file of settled size and fdatasync: what any durable write costs here.
static double disk_sync_seconds(int fd)
{
	static const char page[PAGE] = { 1 };
	uint64_t start = monotonic_ns(), now = start;
	unsigned n = 0;
	for (; now - start < ROUND_MS / 2 * 1000000ull; n++) {
		if (pwrite(fd, page, PAGE, (off_t)n * PAGE % DISK_FILE) != PAGE || fdatasync(fd) < 0) {
			perror("error: fdatasync");
			exit(1);
		}
		now = monotonic_ns();
	}
	return (double)(now - start) / 1e9 / n;
}

static int open_disk_file(const char *dir)
{
	AUTO_FREE char *path = xasprintf("%s/disk", dir);
	AUTO_FREE char *zeros = xcalloc(1, DISK_FILE);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write_all(fd, zeros, DISK_FILE) < 0 || fsync(fd) < 0) {
		perror("error: cannot write the comparison file");
		exit(1);
	}
	return fd;
}

int main(int argc, char **argv)
{
	AUTO_FREE char *dir = xasprintf("%s/dialtone-bench-XXXXXX", argc > 1 ? argv[1] : "/var/tmp");
	struct err err = { 0 };
	if (!mkdtemp(dir)) {
		perror("error: cannot make a folder");
		return 1;
	}
	struct bench b = { .loop = loop_new() };
	timer_init(&b.end, b.loop, time_is_up);
	AUTO_CLOSE int disk = open_disk_file(dir);
	if (store_open_sqlite(b.loop, dir, (struct store_owner){ .fatal = fatal }, &b.store, &err) < 0)
		die("cannot open the store", err.text);

	double one[ROUNDS], many[ROUNDS], sync[ROUNDS], group[ROUNDS], disk_us[ROUNDS];
	for (unsigned i = 0; i < ROUNDS; i++) {
		double seconds = disk_sync_seconds(disk);
		double w1 = writes_per_second(&b, 1);
		seconds = (seconds + disk_sync_seconds(disk)) / 2;
		double w64 = writes_per_second(&b, 64);
		one[i] = w1;
		many[i] = w64;
		sync[i] = w1 * seconds;
		group[i] = w64 / w1;
		disk_us[i] = seconds * 1e6;
	}
	figure_print("store.writes_1", one, ROUNDS, "1/s");
	figure_print("store.writes_64", many, ROUNDS, "1/s");
	figure_print("store.fsync_ratio", sync, ROUNDS, "ratio");
	figure_print("store.group_ratio", group, ROUNDS, "ratio");
	figure_print("store.disk_fdatasync_us", disk_us, ROUNDS, "us");

	store_close(b.store);
	timer_clear(&b.end);
	loop_free(b.loop);
	return tree_remove(dir, &err) < 0;
}
