// The SQLite driver: a committer whose batches are written by one thread. Loop thread and writer share only the fields
// under `lock`; a batch belongs to the writer from `todo` to `done`. The writer tells the loop by an eventfd.
#include "store/sqlite.h"

#include "base/str.h"
#include "io/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>

struct sqlite {
	struct committer committer;
	struct revlog log; // the writer's while it runs
	int lock_fd;       // held: nobody else opens this store
	int event_fd;
	struct poll event;

	pthread_t thread;
	bool running;
	pthread_mutex_t lock;
	pthread_cond_t todo_set, done_set;
	struct batch *todo, *done;
	bool stop;
	bool broken; // a checkpoint failed: err
	struct err err;
};

static struct sqlite *sqlite_of(struct store *store)
{
	return CONTAINER_OF(store, struct sqlite, committer.store);
}

// ---- the writer's thread

static void tell_loop(struct sqlite *s)
{
	uint64_t one = 1;
	ssize_t n = write(s->event_fd, &one, sizeof(one));
	assert(n == sizeof(one));
}

static struct batch *next_batch(struct sqlite *s)
{
	pthread_mutex_lock(&s->lock);
	while (!s->todo && !s->stop)
		pthread_cond_wait(&s->todo_set, &s->lock);
	struct batch *batch = TAKE_PTR(s->todo);
	pthread_mutex_unlock(&s->lock);
	return batch;
}

static void hand_back(struct sqlite *s, struct batch *batch)
{
	pthread_mutex_lock(&s->lock);
	s->done = batch;
	pthread_cond_signal(&s->done_set);
	pthread_mutex_unlock(&s->lock);
	tell_loop(s);
}

static void report_broken(struct sqlite *s, const struct err *err)
{
	pthread_mutex_lock(&s->lock);
	s->broken = true;
	s->err = *err;
	pthread_mutex_unlock(&s->lock);
	tell_loop(s);
}

static void *write_batches(void *arg)
{
	struct sqlite *s = arg;
	bool broken = false;
	for (struct batch *batch; (batch = next_batch(s));) {
		struct err err = { 0 };
		if (broken) {
			batch->result = STORE_SHUTTING_DOWN;
			hand_back(s, batch);
			continue;
		}
		revlog_write(&s->log, batch);
		broken = batch->broken;
		hand_back(s, batch);
		if (!broken && revlog_checkpoint(&s->log, &err) < 0) {
			broken = true;
			report_broken(s, &err);
		}
	}
	return NULL;
}

// ---- the loop's thread

static void take_done(struct sqlite *s)
{
	pthread_mutex_lock(&s->lock);
	struct batch *batch = TAKE_PTR(s->done);
	bool broken = s->broken;
	s->broken = false;
	pthread_mutex_unlock(&s->lock);
	if (batch)
		committer_written(&s->committer, batch);
	if (broken)
		committer_fail(&s->committer, &s->err);
}

static void event(struct poll *poll, UNUSED int events)
{
	struct sqlite *s = CONTAINER_OF(poll, struct sqlite, event);
	uint64_t n;
	if (read(s->event_fd, &n, sizeof(n)) == sizeof(n))
		take_done(s);
}

static void sqlite_write(struct store *store, struct batch *batch)
{
	struct sqlite *s = sqlite_of(store);
	pthread_mutex_lock(&s->lock);
	assert(!s->todo);
	s->todo = batch;
	pthread_cond_signal(&s->todo_set);
	pthread_mutex_unlock(&s->lock);
}

static void sqlite_wait(struct store *store)
{
	struct sqlite *s = sqlite_of(store);
	pthread_mutex_lock(&s->lock);
	while (!s->done)
		pthread_cond_wait(&s->done_set, &s->lock);
	pthread_mutex_unlock(&s->lock);
	take_done(s);
}

static void stop_thread(struct sqlite *s)
{
	if (!s->running)
		return;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_signal(&s->todo_set);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
}

static uint64_t file_bytes(const char *path, const char *end)
{
	AUTO_FREE char *name = xasprintf("%s%s", path, end);
	struct stat st;
	return stat(name, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static void sqlite_stats(const struct store *store, struct store_stats *stats)
{
	const struct sqlite *s = CONTAINER_OF(store, struct sqlite, committer.store);
	committer_stats(store, stats);
	stats->disk_bytes = file_bytes(s->log.path, "") + file_bytes(s->log.path, "-wal") + stats->ballast;
}

static void sqlite_close(struct store *store)
{
	struct sqlite *s = sqlite_of(store);
	committer_close(&s->committer);
	stop_thread(s);
	if (s->event.handle)
		poll_stop(&s->event);
	revlog_close(&s->log);
	cleanup_close(&s->event_fd);
	cleanup_close(&s->lock_fd);
	pthread_cond_destroy(&s->todo_set);
	pthread_cond_destroy(&s->done_set);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

// ---- opening

static int busy(const char *path, int fd, struct err *err)
{
	char pid[32] = "";
	ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);
	pid[n > 0 ? n : 0] = '\0';
	pid[strcspn(pid, "\n")] = '\0';
	err_set(err, -EBUSY, "'%s' is held by process %s: the store is open there", path, *pid ? pid : "(unknown)");
	return err_hint(err, "only one server can use a store: stop the other one, or give another --data");
}

int sqlite_lock_dir(const char *dir, int *ret_fd, struct err *err)
{
	AUTO_FREE char *path = xasprintf("%s/lock", dir);
	AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set_errno(err, -errno, "cannot open '%s'", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? busy(path, fd, err)
					    : err_set_errno(err, -errno, "cannot lock '%s'", path);
	// For the message above only; a full disk does not matter.
	if (ftruncate(fd, 0) == 0)
		(void)!dprintf(fd, "%d\n", (int)getpid());
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static void load_row(void *arg, struct record *record)
{
	struct sqlite *s = arg;
	committer_apply(&s->committer, record);
	record_unref(record);
}

static int load(struct sqlite *s, struct err *err)
{
	struct replica *replica = &s->committer.store.replica;
	uint64_t compacted = 0;
	int r = revlog_load(&s->log, load_row, s, &compacted, err);
	if (r < 0)
		return r;
	s->committer.compacted = compacted;
	s->committer.ballast = s->log.ballast.bytes;
	s->committer.full = !s->log.ballast.bytes;
	memcpy(s->committer.epoch, s->log.epoch, sizeof(s->committer.epoch));
	if (replica->revision < compacted)
		replica->revision = compacted;
	if (replica->ring.after < compacted)
		replica->ring.after = compacted; // before it, changes are missing
	return 0;
}

static int start_thread(struct sqlite *s, struct err *err)
{
	s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->event_fd < 0)
		return err_set_errno(err, -errno, "cannot make an eventfd");
	int r = poll_start(&s->event, s->committer.store.loop, s->event_fd, POLL_READ, event);
	if (r < 0)
		return err_set_errno(err, r, "cannot watch an eventfd");
	r = pthread_create(&s->thread, NULL, write_batches, s);
	if (r)
		return err_set_errno(err, -r, "cannot start the store's writer");
	s->running = true;
	return 0;
}

static int open_in(struct sqlite *s, const char *dir, const struct revlog_options *options, struct err *err)
{
	int r = dir_make(dir, 0700, err);
	if (r == 0)
		r = sqlite_lock_dir(dir, &s->lock_fd, err);
	if (r == 0)
		r = revlog_open(&s->log, dir, options, err);
	if (r == 0)
		r = load(s, err);
	if (r == 0)
		r = start_thread(s, err);
	return r;
}

int store_open_sqlite_with(struct loop *loop, const char *dir, const struct revlog_options *options,
			   struct store_owner owner, struct store **ret, struct err *err)
{
	static const struct driver driver = {
		.name = "sqlite",
		.commit = committer_commit,
		.await = committer_await,
		.epoch = committer_epoch,
		.lease = committer_lease,
		.lease_end = committer_lease_end,
		.compact = committer_compact,
		.stats = sqlite_stats,
		.close = sqlite_close,
	};
	static const struct committer_ops ops = { .write = sqlite_write, .wait = sqlite_wait };
	assert(owner.fatal);

	struct sqlite *s = xcalloc(1, sizeof(*s));
	s->lock_fd = s->event_fd = -1;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->todo_set, NULL);
	pthread_cond_init(&s->done_set, NULL);
	committer_init(&s->committer, loop, &driver, &ops, owner);
	s->committer.compacts = true;
	if (options->keep_rows)
		s->committer.history.keep_rows = options->keep_rows;
	int r = open_in(s, dir, options, err);
	if (r < 0) {
		sqlite_close(&s->committer.store);
		return err_wrap(err, "cannot open the store in '%s'", dir);
	}
	*ret = &s->committer.store;
	return 0;
}

int store_open_sqlite(struct loop *loop, const char *dir, struct store_owner owner, struct store **ret, struct err *err)
{
	static const struct revlog_options options = { 0 };
	return store_open_sqlite_with(loop, dir, &options, owner, ret, err);
}
