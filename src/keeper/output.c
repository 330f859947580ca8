#include "base/log.h"
#include "base/str.h"
#include "keeper/private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define TURN_BYTES (256u << 10) // per readiness, so that one loud instance does not starve the rest
#define DRAIN_BYTES (16u << 20) // at the end; a FIFO holds at most FIFO_BYTES unless somebody goes on writing
#define FIFO_BYTES (1 << 20)    // what an instance can write while no keeper runs

static char *log_dir(const struct output *o)
{
	return instance_path(o->instance->keeper, o->instance->id, "log");
}

static void report_discarding(struct output *o)
{
	bool discarding = o->spool.last_error != 0;
	if (discarding && !o->told)
		log_error("output is discarded instance=%s stream=%s reason=\"%s\"", o->instance->id, o->spool.stream,
			  strerror(-o->spool.last_error));
	if (!discarding && o->told)
		log_info("output is kept again instance=%s stream=%s", o->instance->id, o->spool.stream);
	o->told = discarding;
}

static void drain(struct output *o, size_t budget)
{
	AUTO_FREE char *dir = log_dir(o);
	spool_drain(&o->spool, dir, o->fifo, budget);
	report_discarding(o);
}

static void output_ready(struct poll *poll, UNUSED int events)
{
	drain(CONTAINER_OF(poll, struct output, poll), TURN_BYTES);
}

int output_open(struct output *o, struct instance *i, const char *stream)
{
	AUTO_FREE char *name = xasprintf("%s.fifo", stream);
	AUTO_FREE char *path = instance_path(i->keeper, i->id, name);
	// Read-write: never an end of file when the container goes, never a SIGPIPE for it when the keeper goes.
	AUTO_CLOSE int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISFIFO(st.st_mode))
		return -EINVAL;
	if (o->fifo >= 0 && st.st_dev == o->device && st.st_ino == o->inode)
		return 0;
	if (o->fifo >= 0) {
		output_drain(o);
		output_close(o);
	}
	fcntl(fd, F_SETPIPE_SZ, FIFO_BYTES); // the default will do where this is not allowed
	*o = (struct output){ .instance = i, .fifo = -1, .device = st.st_dev, .inode = st.st_ino };
	AUTO_FREE char *dir = log_dir(o);
	struct err err = { 0 };
	if (spool_open(&o->spool, dir, stream, &err) < 0)
		log_error("log is not sound, goes on in a new segment instance=%s error=\"%s\"", i->id, err.text);
	o->fifo = TAKE_FD(fd);
	return poll_start(&o->poll, i->keeper->loop, o->fifo, POLL_READ, output_ready);
}

void output_drain(struct output *o)
{
	if (o->fifo >= 0)
		drain(o, DRAIN_BYTES);
}

void output_close(struct output *o)
{
	if (o->fifo < 0)
		return;
	poll_stop(&o->poll);
	spool_close(&o->spool);
	close(o->fifo);
	o->fifo = -1;
}
