#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "io/file.h"
#include "keeper/end.h"
#include "keeper/hold.h"
#include "keeper/private.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define LOOK_AGAIN_MS 20
#define LOOKS 50 // then the status is given up as unknown

static const char *const streams[] = { "out", "err" };

char *instance_path(const struct keeper *k, const char *id, const char *name)
{
	return name ? xasprintf("%s/node/instances/%s/%s", k->data, id, name)
		    : xasprintf("%s/node/instances/%s", k->data, id);
}

struct instance *instance_get(struct keeper *k, const char *id)
{
	return map_get(&k->instances, id);
}

static struct instance *instance_new(struct keeper *k, const char *id)
{
	struct instance *i = xcalloc(1, sizeof(*i));
	i->keeper = k;
	snprintf(i->id, sizeof(i->id), "%s", id);
	i->pidfd = -1;
	for (size_t n = 0; n < ARRAY_LEN(streams); n++)
		i->outputs[n].fifo = -1;
	map_set(&k->instances, i->id, i);
	return i;
}

static void stop_watching(struct instance *i)
{
	poll_stop(&i->ended);
	timer_clear(&i->look_again);
	cleanup_close(&i->pidfd);
	i->pidfd = -1;
}

static void instance_free(struct instance *i)
{
	stop_watching(i);
	for (size_t n = 0; n < ARRAY_LEN(streams); n++)
		output_close(&i->outputs[n]);
	map_remove(&i->keeper->instances, i->id);
	free(i);
}

void instances_free(struct keeper *k)
{
	const char *id;
	void *value;
	for (size_t at = 0; map_next(&k->instances, &at, &id, &value); at = 0) {
		struct instance *i = value;
		for (size_t n = 0; n < ARRAY_LEN(streams); n++)
			output_drain(&i->outputs[n]); // nobody else may have the FIFO open
		instance_free(i);
	}
	map_clear(&k->instances);
}

struct sync {
	struct keeper *keeper;
	char *dir;
	int result;
};

static void sync_work(void *arg)
{
	struct sync *sync = arg;
	sync->result = exit_record_sync(sync->dir);
}

static void sync_done(void *arg)
{
	struct sync *sync = arg;
	// -ENOENT: forgotten or replaced meanwhile.
	if (sync->result < 0 && sync->result != -ENOENT)
		log_warn("exit record may not survive a power cut dir=%s error=\"%s\"", sync->dir,
			 strerror(-sync->result));
	sync->keeper->syncs--;
	free(sync->dir);
	free(sync);
}

// Safe from the death of any process when this returns, from a power cut a moment later: nobody waits for the disk.
static void write_exit(struct instance *i)
{
	AUTO_FREE char *dir = instance_path(i->keeper, i->id, NULL);
	struct err err = { 0 };
	if (exit_record_write(dir, &i->exit, &err) < 0) {
		log_error("cannot keep exit record instance=%s error=\"%s\"", i->id, err.text);
		return;
	}
	struct sync *sync = xcalloc(1, sizeof(*sync));
	*sync = (struct sync){ .keeper = i->keeper, .dir = TAKE_PTR(dir) };
	i->keeper->syncs++;
	loop_work(i->keeper->loop, sync_work, sync_done, sync);
}

static void set_exit(struct instance *i, bool known, int status, uint64_t time_ms)
{
	stop_watching(i);
	for (size_t n = 0; n < ARRAY_LEN(streams); n++)
		output_drain(&i->outputs[n]); // the last lines are in the log before anybody hears of the end
	i->exit = (struct keeper_exit){ .pid = i->identity.pid,
					.start_ticks = i->identity.start_ticks,
					.known = known,
					.status = status,
					.time_ms = time_ms };
	memcpy(i->exit.id, i->id, sizeof(i->exit.id));
	i->has_exit = true;
	write_exit(i);
	if (known)
		log_info("ended instance=%s pid=%d status=%d signal=%d", i->id, (int)i->exit.pid,
			 WIFEXITED(status) ? WEXITSTATUS(status) : -1, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	else
		log_warn("ended unseen instance=%s pid=%d", i->id, (int)i->exit.pid);
	peers_tell_exit(i->keeper, &i->exit);
	hold_ended(i->keeper);
}

static void look(struct instance *i)
{
	int status = 0;
	int r = process_end(&i->identity, i->pidfd, &status);
	if (r == 1)
		set_exit(i, true, status, realtime_ms());
	else if (r < 0 && ++i->looks >= LOOKS)
		set_exit(i, false, 0, realtime_ms());
	else if (r < 0)
		timer_set(&i->look_again, LOOK_AGAIN_MS);
}

static void look_again(struct timer *timer)
{
	look(CONTAINER_OF(timer, struct instance, look_again));
}

static void pidfd_ready(struct poll *poll, UNUSED int events)
{
	struct instance *i = CONTAINER_OF(poll, struct instance, ended);
	poll_stop(&i->ended); // stays readable; from here on the timer looks
	look(i);
}

static int start_watching(struct instance *i, int pidfd)
{
	i->pidfd = pidfd;
	i->looks = 0;
	timer_init(&i->look_again, i->keeper->loop, look_again);
	int r = poll_start(&i->ended, i->keeper->loop, pidfd, POLL_READ, pidfd_ready);
	if (r < 0)
		stop_watching(i);
	return r;
}

bool instance_ended(struct keeper *k, pid_t pid)
{
	const char *id;
	void *value;
	for (size_t at = 0; map_next(&k->instances, &at, &id, &value);) {
		struct instance *i = value;
		if (i->pidfd < 0 || i->identity.pid != pid)
			continue;
		look(i);
		return true;
	}
	return false;
}

static struct instance *get_or_new(struct keeper *k, const char *id)
{
	struct instance *i = instance_get(k, id);
	if (i || k->instances.count >= KEEPER_INSTANCES)
		return i;
	return instance_new(k, id);
}

static bool is_idle(const struct instance *i)
{
	return i->outputs[0].fifo < 0 && i->outputs[1].fifo < 0 && i->identity.pid == 0;
}

int instance_output(struct keeper *k, const char *id)
{
	struct instance *i = get_or_new(k, id);
	int r = i ? 0 : -ENOBUFS;
	for (size_t n = 0; n < ARRAY_LEN(streams) && r == 0; n++)
		r = output_open(&i->outputs[n], i, streams[n]);
	if (i && is_idle(i))
		instance_free(i);
	return r;
}

static const struct orphan *find_orphan(const struct keeper *k, pid_t pid, unsigned long long start_ticks)
{
	const struct orphan *found = NULL;
	for (size_t n = 0; n < ORPHANS; n++) {
		const struct orphan *o = &k->orphans[n];
		bool same = o->identity.pid == pid && (start_ticks == 0 || o->identity.start_ticks == start_ticks);
		if (same && (!found || o->time_ms >= found->time_ms))
			found = o;
	}
	return found;
}

// The process was gone before its WATCH came: the status is known if this keeper reaped it.
static void watch_gone(struct instance *i, pid_t pid, unsigned long long start_ticks)
{
	const struct orphan *o = find_orphan(i->keeper, pid, start_ticks);
	i->identity.pid = pid;
	i->identity.start_ticks = o ? o->identity.start_ticks : start_ticks;
	set_exit(i, o != NULL, o ? o->status : 0, o ? o->time_ms : realtime_ms());
}

static int write_identity(struct instance *i)
{
	AUTO_FREE char *path = instance_path(i->keeper, i->id, "keeper");
	struct err err = { 0 };
	int r = identity_write(path, &i->identity, &err);
	if (r < 0)
		log_error("cannot keep identity instance=%s error=\"%s\"", i->id, err.text);
	return r;
}

// Keeps the identity on disk, then looks at the process.
static int watch_identity(struct instance *i, bool alive)
{
	int r = write_identity(i);
	if (r < 0)
		return r;
	AUTO_FREE char *record = instance_path(i->keeper, i->id, "exit");
	unlink(record); // of the process before
	int pidfd = alive ? identity_open(&i->identity) : -ESRCH;
	if (pidfd >= 0)
		return start_watching(i, pidfd);
	if (pidfd != -ESRCH)
		return pidfd;
	watch_gone(i, i->identity.pid, i->identity.start_ticks);
	return 0;
}

static bool watches(const struct instance *i, const struct process_identity *identity)
{
	return i->identity.pid == identity->pid && i->identity.start_ticks == identity->start_ticks &&
	       (i->pidfd >= 0 || i->has_exit);
}

int instance_watch(struct keeper *k, const char *id, pid_t pid, unsigned long long start_ticks)
{
	struct instance *i = get_or_new(k, id);
	if (!i)
		return -ENOBUFS;
	struct process_identity identity = { .pid = pid, .start_ticks = start_ticks };
	memcpy(identity.boot, k->boot, sizeof(identity.boot));
	unsigned long long found = 0;
	bool alive = process_start_time(pid, &found) == 0 && (start_ticks == 0 || found == start_ticks);
	if (alive)
		identity.start_ticks = found;
	if (watches(i, &identity)) // asked again
		return 0;

	stop_watching(i);
	i->identity = identity;
	i->has_exit = false;
	int r = watch_identity(i, alive);
	if (r == 0)
		return 0;
	i->identity.pid = 0;
	if (is_idle(i))
		instance_free(i);
	return r;
}

int instance_forget(struct keeper *k, const char *id)
{
	AUTO_FREE char *identity = instance_path(k, id, "keeper");
	AUTO_FREE char *record = instance_path(k, id, "exit");
	struct instance *i = instance_get(k, id);
	if (i) {
		for (size_t n = 0; n < ARRAY_LEN(streams); n++)
			output_drain(&i->outputs[n]);
		instance_free(i);
	}
	unlink(record);
	unlink(identity);
	return 0;
}

// Picks up what a predecessor watched: its exit record, the living process, or an end that nobody saw.
static void recover_process(struct instance *i)
{
	AUTO_FREE char *dir = instance_path(i->keeper, i->id, NULL);
	AUTO_FREE char *path = instance_path(i->keeper, i->id, "keeper");
	if (identity_read(path, &i->identity) < 0) {
		i->identity.pid = 0;
		return;
	}
	struct keeper_exit record;
	if (exit_record_read(dir, &record) == 0 && record.pid == i->identity.pid &&
	    record.start_ticks == i->identity.start_ticks) {
		i->exit = record;
		i->has_exit = true;
		return;
	}
	int pidfd = identity_open(&i->identity);
	if (pidfd >= 0 && start_watching(i, pidfd) == 0)
		log_info("adopted instance=%s pid=%d", i->id, (int)i->identity.pid);
	else
		set_exit(i, false, 0, realtime_ms());
}

static void recover(struct keeper *k, const char *id)
{
	struct instance *i = get_or_new(k, id);
	if (!i) {
		log_error("too many instances, left alone instance=%s", id);
		return;
	}
	for (size_t n = 0; n < ARRAY_LEN(streams); n++)
		output_open(&i->outputs[n], i, streams[n]); // an instance may have none yet
	recover_process(i);
	if (is_idle(i))
		instance_free(i);
}

void instances_recover(struct keeper *k)
{
	AUTO_FREE char *path = xasprintf("%s/node/instances", k->data);
	DIR *dir = opendir(path);
	if (!dir)
		return;
	for (struct dirent *entry; (entry = readdir(dir));)
		if (instance_id_valid(entry->d_name))
			recover(k, entry->d_name);
	closedir(dir);
}
