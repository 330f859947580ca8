#include "workload.h"

#include "base/clock.h"
#include "base/str.h"
#include "io/loop.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

struct ack {
	uint32_t writer, n;
};

struct writer {
	struct writing *all;
	uint32_t number, n;
};

struct writing {
	struct loop *loop;
	struct store *store;
	struct writer writers[WRITERS];
	int acks;
};

static void value_of(uint32_t writer, uint32_t n, char *value, size_t size)
{
	// Of changing length, up to several pages.
	int len = (int)((writer * 7919 + n * 104729) % 97) * ((n % 50) ? 4 : 100);
	snprintf(value, size, "%u %*u", n, len, writer);
}

// ---- the child

static void fatal(UNUSED void *arg, const struct err *err)
{
	fprintf(stderr, "child: %s\n", err->text);
	_exit(3);
}

static void send_next(struct writer *w);

static void written(void *arg, const struct store_answer *answer)
{
	struct writer *w = arg;
	if (answer->result != STORE_OK) {
		fprintf(stderr, "child: %s: %s\n", store_result_name(answer->result), answer->reason);
		_exit(4);
	}
	struct ack ack = { w->number, w->n };
	if (write(w->all->acks, &ack, sizeof(ack)) != sizeof(ack))
		_exit(5);
	send_next(w);
}

static void send_next(struct writer *w)
{
	char key[64], value[16384];
	struct store_txn *txn = store_txn_new();
	w->n++;
	value_of(w->number, w->n, value, sizeof(value));
	snprintf(key, sizeof(key), "w/%u", w->number);
	store_txn_put(txn, key, value, strlen(value));
	snprintf(key, sizeof(key), "u/%u/%u", w->number, w->n);
	store_txn_put(txn, key, value, strlen(value));
	if (w->n > KEEP) {
		snprintf(key, sizeof(key), "u/%u/%u", w->number, w->n - KEEP);
		store_txn_if_exists(txn, key);
		store_txn_delete(txn, key);
	}
	store_commit(w->all->store, txn, written, w);
}

static uint32_t found_at(const struct store *store, uint32_t writer)
{
	char key[64];
	snprintf(key, sizeof(key), "w/%u", writer);
	const struct record *r = store_get(store, key);
	return r ? (uint32_t)strtoul(record_value(r), NULL, 10) : 0;
}

static void write_for_ever(const char *dir, const struct revlog_options *options, int acks)
{
	struct writing all = { .loop = loop_new(), .acks = acks };
	struct err err = { 0 };
	struct store_owner owner = { .fatal = fatal };
	if (store_open_sqlite_with(all.loop, dir, options, owner, &all.store, &err) < 0) {
		fprintf(stderr, "child: %s\n", err.text);
		_exit(2);
	}
	for (uint32_t i = 0; i < WRITERS; i++) {
		all.writers[i] = (struct writer){ .all = &all, .number = i, .n = found_at(all.store, i) };
		send_next(&all.writers[i]);
	}
	loop_run(all.loop);
	_exit(6);
}

// ---- the parent

struct child workload_start(const char *dir, const struct revlog_options *options, void (*before)(void *arg), void *arg)
{
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(fds[0]);
		signal(SIGPIPE, SIG_DFL);
		if (before)
			before(arg);
		write_for_ever(dir, options, fds[1]);
	}
	close(fds[1]);
	return (struct child){ .pid = pid, .acks = fds[0] };
}

bool workload_listen(struct child *child, struct promises *promises, int ms)
{
	uint64_t end = monotonic_ms() + (ms < 0 ? 60000 : (uint64_t)ms);
	for (uint64_t now; (now = monotonic_ms()) < end;) {
		struct pollfd p = { .fd = child->acks, .events = POLLIN };
		if (poll(&p, 1, (int)(end - now)) <= 0)
			continue;
		struct ack acks[512]; // writes of one are atomic (pipe(7))
		ssize_t n = read(child->acks, acks, sizeof(acks));
		if (n <= 0) {
			promises->children++;
			return false;
		}
		for (size_t i = 0; i < (size_t)n / sizeof(acks[0]); i++) {
			assert_true(acks[i].n > promises->acknowledged[acks[i].writer]);
			promises->acknowledged[acks[i].writer] = acks[i].n;
			promises->all++;
		}
	}
	assert_true(ms >= 0); // it should have died
	return true;
}

void workload_reap(struct child *child)
{
	int status = 0;
	assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
	close(child->acks);
	bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	bool cut = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	assert_true(killed || cut); // and not for a failure of its own
}

void workload_kill(struct child *child, struct promises *promises)
{
	assert_int_equal(kill(child->pid, SIGKILL), 0);
	workload_listen(child, promises, -1);
	workload_reap(child);
}

static char *check_writer(const struct store *store, struct promises *promises, uint32_t writer)
{
	char prefix[32], want[16384];
	uint32_t n = found_at(store, writer), told = promises->acknowledged[writer];
	snprintf(prefix, sizeof(prefix), "u/%u/", writer);
	if (n < told || n > told + promises->children) // each may have died between storing one and saying so
		return xasprintf("writer %u was told that %u is stored, and %u is", writer, told, n);
	promises->acknowledged[writer] = n;
	uint32_t count = 0;
	for (const struct record *r = store_next(store, prefix, NULL); r;
	     r = store_next(store, prefix, record_key(r))) {
		uint32_t i = (uint32_t)strtoul(record_key(r) + strlen(prefix), NULL, 10);
		value_of(writer, i, want, sizeof(want));
		if (i > n || i + KEEP <= n || !str_eq(record_value(r), want))
			return xasprintf("writer %u is at %u, but '%s' is there", writer, n, record_key(r));
		count++;
	}
	if (count != (n < KEEP ? n : KEEP))
		return xasprintf("writer %u is at %u, but has %u records", writer, n, count);
	return NULL;
}

static void ignore_fatal(UNUSED void *arg, UNUSED const struct err *err)
{
}

char *workload_check(const char *dir, struct promises *promises)
{
	struct loop *loop = loop_new();
	struct store *store = NULL;
	struct err err = { 0 };
	char *wrong = NULL;
	if (store_open_sqlite(loop, dir, (struct store_owner){ .fatal = ignore_fatal }, &store, &err) < 0)
		wrong = xasprintf("cannot be opened: %s", err.text);
	for (uint32_t i = 0; !wrong && i < WRITERS; i++)
		wrong = check_writer(store, promises, i);
	promises->children = 0;
	store_close(store);
	loop_free(loop);
	return wrong;
}
