// `down --apps`: everything of this platform on this machine ends.
#include "agent/agent.h"

#include "agent/container/container.h"
#include "base/clock.h"
#include "base/str.h"
#include "io/file.h"
#include "io/process.h"
#include "model/exchange.h"
#include "model/platform.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>

enum { DRAIN_DEFAULT_MS = 10000, DRAIN_MAX_MS = 60000 };

struct ending {
	char *id;
	int pidfd; // -1: does not run
	uint64_t until_ms;
};

static uint64_t drain_of(const char *data, const char *id)
{
	AUTO_FREE char *path = xasprintf("%s/node/instances/%s/spec.json", data, id);
	AUTO_BUF struct buf text = BUF_INIT(8 << 20);
	struct assignment a = { 0 };
	if (file_read(path, &text, NULL) < 0 || assignment_parse_text(buf_data(&text), buf_len(&text), &a, NULL) < 0)
		return DRAIN_DEFAULT_MS;
	uint64_t drain_ms = a.drain_ms < DRAIN_MAX_MS ? a.drain_ms : DRAIN_MAX_MS;
	assignment_clear(&a);
	return drain_ms;
}

static struct ending *begin_ending(const char *data, const struct container_entry *entries, size_t n)
{
	struct ending *endings = xcalloc(n + 1, sizeof(*endings));
	for (size_t i = 0; i < n; i++) {
		endings[i] = (struct ending){ .id = xstrdup(entries[i].id), .pidfd = -1 };
		if (!entries[i].running)
			continue;
		endings[i].pidfd = pidfd_open_cloexec(entries[i].pid);
		endings[i].until_ms = monotonic_ms() + drain_of(data, entries[i].id);
		if (endings[i].pidfd >= 0)
			pidfd_signal(endings[i].pidfd, SIGTERM);
	}
	return endings;
}

static void wait_for_end(struct ending *ending)
{
	struct pollfd poll_fd = { .fd = ending->pidfd, .events = POLLIN };
	uint64_t now_ms = monotonic_ms();
	if (ending->pidfd < 0)
		return;
	poll(&poll_fd, 1, ending->until_ms > now_ms ? (int)(ending->until_ms - now_ms) : 0);
}

static int end_containers(const struct container_host_config *config, struct err *err)
{
	struct container_host *host = NULL;
	AUTO_FREE struct container_entry *entries = NULL;
	size_t n = 0;
	int r = container_host_open(config, NULL, 0, &host, err);
	if (r == 0)
		r = container_list(host, &entries, &n, err);
	if (r == 0) {
		struct ending *endings = begin_ending(config->data, entries, n);
		for (size_t i = 0; i < n; i++) {
			wait_for_end(&endings[i]);
			cleanup_close(&endings[i].pidfd);
			AUTO_FREE char *dir = xasprintf("%s/node/instances/%s", config->data, endings[i].id);
			struct err one = { 0 };
			int deleted = container_delete(host, endings[i].id, dir, 0, &one);
			if (deleted < 0 && r == 0) {
				r = deleted;
				if (err)
					*err = one;
			}
			free(endings[i].id);
		}
		free(endings);
	}
	container_host_close(host);
	return r;
}

static void adopt_first_error(int r, const struct err *why, int *first, struct err *err)
{
	if (r >= 0 || *first < 0)
		return;
	*first = r;
	if (err)
		*err = *why;
}

// What would make the next agent look for these runs. Assignments and logs stay: the next `up` goes on from there.
static void forget_runs(const char *data)
{
	static const char *const of_run[] = { "state", "keeper", "exit" };
	AUTO_FREE char *path = xasprintf("%s/node/instances", data);
	DIR *dir = opendir(path);
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		for (size_t i = 0; entry->d_name[0] != '.' && i < ARRAY_LEN(of_run); i++) {
			AUTO_FREE char *file = xasprintf("%s/%s/%s", path, entry->d_name, of_run[i]);
			unlink(file);
		}
	}
	if (dir)
		closedir(dir);
}

int agent_stop_all(const char *data, struct err *err)
{
	AUTO_PLATFORM struct platform platform = { 0 };
	int r = platform_load(data, &platform, err);
	if (r < 0)
		return r;
	struct container_host_config config = { .platform = platform.id, .data = platform.data, .subnet = platform.subnet };
	struct err why = { 0 };
	int first = 0;
	adopt_first_error(end_containers(&config, &why), &why, &first, err);
	adopt_first_error(container_host_remove(&config, &why), &why, &first, err);
	forget_runs(platform.data);
	return first;
}
