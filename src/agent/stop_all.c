// `down --apps`: everything of this platform on this machine ends.
#include "agent/agent.h"

#include "agent/container/container.h"
#include "agent/visitor.h"
#include "base/clock.h"
#include "base/str.h"
#include "io/file.h"
#include "io/process.h"
#include "keeper/record.h"
#include "model/exchange.h"
#include "model/json.h"
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

static int read_assignment(const char *data, const char *id, struct assignment *ret)
{
	AUTO_FREE char *path = xasprintf("%s/node/instances/%s/spec.json", data, id);
	AUTO_BUF struct buf text = BUF_INIT(8 << 20);
	int r = file_read(path, &text, NULL);
	return r < 0 ? r : assignment_parse_text(buf_data(&text), buf_len(&text), ret, NULL);
}

static uint32_t read_address(const char *data, const char *id)
{
	AUTO_FREE char *path = xasprintf("%s/node/instances/%s/state", data, id);
	AUTO_BUF struct buf text = BUF_INIT(64 << 10);
	AUTO_JSON json_t *json = NULL;
	uint32_t address = 0;
	if (file_read(path, &text, NULL) == 0 && json_from_bytes(buf_data(&text), buf_len(&text), &json, NULL) == 0)
		ipv4_parse(json_get_text(json, "address", ""), &address);
	return address;
}

// Who may talk to whom until the end: draining may need the network.
struct members {
	struct container_member *items;
	size_t n;
};

static void members_clear(struct members *members)
{
	for (size_t i = 0; i < members->n; i++)
		free((char *)members->items[i].environment);
	free(members->items);
}

static void add_member(const char *data, const char *id, void *arg)
{
	struct members *members = arg;
	struct assignment a = { 0 };
	uint32_t address = read_address(data, id);
	if (!address || read_assignment(data, id, &a) < 0)
		return;
	members->items = xreallocarray(members->items, members->n + 1, sizeof(*members->items));
	members->items[members->n++] = (struct container_member){
		.address = address,
		.environment = xasprintf("%s/%s", a.tenant, a.environment),
	};
	assignment_clear(&a);
}

static void each_instance(const char *data, void (*visit)(const char *data, const char *id, void *arg), void *arg)
{
	AUTO_FREE char *path = xasprintf("%s/node/instances", data);
	DIR *dir = opendir(path);
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		if (instance_id_valid(entry->d_name))
			visit(data, entry->d_name, arg);
	}
	if (dir)
		closedir(dir);
}

static uint64_t drain_of(const char *data, const char *id)
{
	struct assignment a = { 0 };
	if (read_assignment(data, id, &a) < 0)
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

static void adopt_first_error(int r, const struct err *why, int *first, struct err *err)
{
	if (r >= 0 || *first < 0)
		return;
	*first = r;
	if (err)
		*err = *why;
}

static int end_one(struct container_host *host, const char *data, struct ending *ending, struct err *err)
{
	wait_for_end(ending);
	cleanup_close(&ending->pidfd);
	AUTO_FREE char *dir = xasprintf("%s/node/instances/%s", data, ending->id);
	int r = container_delete(host, ending->id, dir, read_address(data, ending->id), err);
	free(ending->id);
	return r;
}

static int end_all(struct container_host *host, const char *data, struct err *err)
{
	AUTO_FREE struct container_entry *entries = NULL;
	size_t n = 0;
	int r = container_list(host, &entries, &n, err);
	if (r < 0)
		return r;
	AUTO_FREE struct ending *endings = begin_ending(data, entries, n);
	for (size_t i = 0; i < n; i++) {
		struct err why = { 0 };
		adopt_first_error(end_one(host, data, &endings[i], &why), &why, &r, err);
	}
	return r;
}

// What was begun, and is not in crun's list yet.
static void remove_begun(const char *data, const char *id, void *arg)
{
	AUTO_FREE char *dir = xasprintf("%s/node/instances/%s", data, id);
	container_delete(arg, id, dir, 0, NULL);
}

static int end_containers(const struct container_host_config *config, struct err *err)
{
	CLEANUP(members_clear) struct members members = { 0 };
	struct container_host *host = NULL;
	each_instance(config->data, add_member, &members);
	int r = container_host_open(config, members.items, members.n, &host, err);
	if (r < 0)
		return r;
	r = end_all(host, config->data, err);
	each_instance(config->data, remove_begun, host);
	container_host_close(host);
	return r;
}

// What would make the next agent look for these runs. Assignments and logs stay: the next `up` goes on from there.
static void forget_run(const char *data, const char *id, void *arg UNUSED)
{
	static const char *const of_run[] = { "state", "keeper", "exit" };
	AUTO_FREE char *dir = xasprintf("%s/node/instances/%s", data, id);
	if (visitor_is(dir)) {
		tree_remove(dir, NULL);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(of_run); i++) {
		AUTO_FREE char *file = xasprintf("%s/%s", dir, of_run[i]);
		unlink(file);
	}
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
	each_instance(platform.data, forget_run, NULL);
	return first;
}
