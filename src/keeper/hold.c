#include "keeper/hold.h"

#include "base/log.h"
#include "base/str.h"
#include "io/file.h"
#include "keeper/keeper.h"
#include "keeper/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>

#define RESUME_MAX (4u << 20) // arguments and environment; the kernel's own limit is smaller

static unsigned count_living(const struct keeper *k)
{
	const char *id;
	void *value;
	unsigned n = 0;
	for (size_t at = 0; map_next(&k->instances, &at, &id, &value);)
		n += ((const struct instance *)value)->pidfd >= 0;
	return n;
}

static void release_socket(struct keeper *k)
{
	AUTO_CLOSE int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (k->listening && null >= 0)
		dup3(null, KEEPER_LISTEN_FD, O_CLOEXEC); // the number stays taken
	k->listening = false;
}

// SIGCHLD, which a supervisor waits for anyway: it sees then that the keeper holds, and leaves.
static void wake_supervisor(const struct keeper *k)
{
	AUTO_FREE char *lock = xasprintf("%s/run/up.lock", k->data);
	pid_t pid = lock_holder(lock);
	if (pid > 0)
		kill(pid, SIGCHLD);
}

void hold(struct keeper *k)
{
	unsigned living = count_living(k);
	if (living == 0) {
		loop_stop(k->loop);
		return;
	}
	timer_stop(&k->stop_deadline);
	release_socket(k);
	k->holding = true;
	state_save(k);
	wake_supervisor(k);
	log_info("holding instances=%u", living);
}

void hold_ended(struct keeper *k)
{
	if (k->holding && count_living(k) == 0) {
		log_info("stopping reason=\"the last instance has ended\"");
		loop_stop(k->loop);
	}
}

void hold_signals(int how)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(how, &set, NULL);
}

// The FIFOs' descriptors outlive execve(2), or they do not. Drained before, so that they have room for meanwhile.
static void keep_open(struct keeper *k, bool keep)
{
	const char *id;
	void *value;
	for (size_t at = 0; map_next(&k->instances, &at, &id, &value);) {
		struct instance *i = value;
		for (size_t n = 0; n < ARRAY_LEN(i->outputs); n++) {
			if (i->outputs[n].fifo < 0)
				continue;
			output_drain(&i->outputs[n]);
			fcntl(i->outputs[n].fifo, F_SETFD, keep ? 0 : FD_CLOEXEC);
		}
	}
}

// Pointers to the words at *text, each with its NUL, up to an empty one or the end; moves *text behind it.
static char **split(char **text, char *end)
{
	size_t n = 0;
	char **words = xcalloc(1, sizeof(*words));
	while (*text < end && **text) {
		words = xreallocarray(words, n + 2, sizeof(*words));
		words[n++] = *text;
		words[n] = NULL;
		*text += strlen(*text) + 1;
	}
	*text += *text < end;
	return words;
}

static int become(struct keeper *k, char **argv, char **env)
{
	keep_open(k, true);
	hold_signals(SIG_BLOCK);
	if (k->syncs)
		sync(); // the threads at it end here
	k->holding = false;
	state_save(k);
	log_info("resuming exe=%s", argv[0]);
	execve(argv[0], argv, env);
	int r = -errno;
	log_error("cannot resume exe=%s error=\"%s\"", argv[0], strerror(-r));
	k->holding = true;
	state_save(k);
	hold_signals(SIG_UNBLOCK);
	keep_open(k, false);
	return r;
}

int hold_resume(struct keeper *k, int fd)
{
	if (!k->holding)
		return -EBUSY;
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	AUTO_BUF struct buf buf = BUF_INIT(RESUME_MAX);
	int r = file_read(path, &buf, NULL);
	if (r < 0)
		return r;
	size_t n = buf_len(&buf);
	AUTO_FREE char *text = buf_take(&buf);
	if (n < 2 || text[n - 1] != '\0' || !*text)
		return -EINVAL;
	char *at = text;
	AUTO_FREE char **argv = split(&at, text + n);
	AUTO_FREE char **env = split(&at, text + n);
	return become(k, argv, env);
}

void inherited_find(struct inherited *ret)
{
	*ret = (struct inherited){ 0 };
	DIR *dir = opendir("/proc/self/fd");
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		uint64_t fd;
		if (parse_u64(entry->d_name, INT32_MAX, &fd) < 0 || (int)fd <= KEEPER_LISTEN_FD ||
		    (int)fd == dirfd(dir))
			continue;
		ret->fds = xreallocarray(ret->fds, ret->n + 1, sizeof(*ret->fds));
		ret->fds[ret->n++] = (int)fd;
	}
	if (dir)
		closedir(dir);
}

void inherited_close(struct inherited *inherited)
{
	for (size_t n = 0; n < inherited->n; n++)
		close(inherited->fds[n]);
	free(inherited->fds);
	*inherited = (struct inherited){ 0 };
}
