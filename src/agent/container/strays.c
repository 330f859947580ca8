#include "agent/container/cgroup.h"
#include "agent/container/crun.h"
#include "base/str.h"
#include "io/process.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

struct member {
	pid_t pid, parent;
	int pidfd;
	bool stray;
	bool there; // still in the group after pidfd was opened: it is of this very process
};

struct members {
	struct member *all;
	size_t n;
};

static void members_clear(struct members *members)
{
	for (size_t i = 0; i < members->n; i++)
		cleanup_close(&members->all[i].pidfd);
	free(members->all);
}

static struct member *find(const struct members *members, pid_t pid)
{
	for (size_t i = 0; i < members->n; i++)
		if (members->all[i].pid == pid)
			return &members->all[i];
	return NULL;
}

// As this process sees it; 0 when there is none.
static pid_t parent_of(pid_t pid)
{
	char path[64], line[128];
	int parent = 0;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	AUTO_FCLOSE FILE *file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "PPid: %d", &parent) == 1)
			return parent;
	return 0;
}

// Whether a process is of this one's process namespace, and so outside of every container.
static bool is_outside(pid_t pid)
{
	char path[64], theirs[64] = "", ours[64] = "";
	snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)pid);
	return pid && readlink(path, theirs, sizeof(theirs) - 1) > 0 &&
	       readlink("/proc/self/ns/pid", ours, sizeof(ours) - 1) > 0 && str_eq(theirs, ours);
}

static void look(const char *list, struct members *members)
{
	AUTO_FCLOSE FILE *file = fopen(list, "re");
	int pid;
	while (file && fscanf(file, "%d", &pid) == 1) {
		int pidfd = pid > 0 ? pidfd_open_cloexec(pid) : -ESRCH;
		if (pidfd < 0)
			continue;
		members->all = xreallocarray(members->all, members->n + 1, sizeof(*members->all));
		members->all[members->n++] = (struct member){ .pid = pid, .parent = parent_of(pid), .pidfd = pidfd };
	}
}

static void look_again(const char *list, struct members *members)
{
	AUTO_FCLOSE FILE *file = fopen(list, "re");
	int pid;
	while (file && fscanf(file, "%d", &pid) == 1) {
		struct member *member = find(members, pid);
		if (member)
			member->there = true;
	}
}

// What an exec started has its parent outside, and their children with it. Whatever else has lost its parent in there
// belongs to the init.
static void mark(struct members *members, pid_t init)
{
	for (bool more = true; more;) {
		more = false;
		for (size_t i = 0; i < members->n; i++) {
			struct member *member = &members->all[i];
			const struct member *parent = find(members, member->parent);
			if (member->pid == init || member->stray ||
			    !(parent ? parent->stray : is_outside(member->parent)))
				continue;
			member->stray = more = true;
		}
	}
}

unsigned container_end_strays(struct container_host *host, const char *id)
{
	CLEANUP(members_clear) struct members members = { 0 };
	struct crun_state state;
	AUTO_CLOSE int init = crun_open_init(host, id);
	if (init < 0 || crun_state(host, id, &state) < 0)
		return 0;
	AUTO_FREE char *list = cgroup_list_path(host->cgroups, host->platform, id);
	look(list, &members);
	mark(&members, state.pid);
	look_again(list, &members);
	unsigned ended = 0;
	for (size_t i = 0; i < members.n; i++) {
		const struct member *member = &members.all[i];
		if (member->stray && member->there && pidfd_signal(member->pidfd, SIGKILL) == 0)
			ended++;
	}
	return ended;
}
