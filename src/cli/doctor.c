// `doctor`: what this machine needs to run the platform, and whether the platform answers. Says what to mend.
#include "cli/commands.h"
#include "cli/content.h"
#include "cli/output.h"

#include "base/str.h"
#include "io/file.h"

#include <sys/statvfs.h>
#include <sys/utsname.h>

struct finding {
	const char *state; // "ok", "warning", "failed"
	char what[96], detail[512], mend[256];
};

struct findings {
	struct finding items[32];
	size_t n;
	bool failed;
};

static void add(struct findings *all, const char *state, const char *what, const char *detail, const char *mend)
{
	struct finding *f = &all->items[all->n];
	if (all->n + 1 < ARRAY_LEN(all->items))
		all->n++;
	f->state = state;
	snprintf(f->what, sizeof(f->what), "%s", what);
	snprintf(f->detail, sizeof(f->detail), "%s", detail);
	snprintf(f->mend, sizeof(f->mend), "%s", mend);
	all->failed = all->failed || str_eq(state, "failed");
}

static bool on_path(const char *program)
{
	const char *path = getenv("PATH");
	AUTO_FREE char *copy = xstrdup(path ? path : "/usr/sbin:/usr/bin:/sbin:/bin");
	char *rest = NULL;
	for (char *dir = strtok_r(copy, ":", &rest); dir; dir = strtok_r(NULL, ":", &rest)) {
		AUTO_FREE char *file = xasprintf("%s/%s", dir, program);
		if (access(file, X_OK) == 0)
			return true;
	}
	return false;
}

static void check_tools(struct findings *all)
{
	static const struct {
		const char *program, *package, *what_for;
	} tools[] = {
		{ "crun", "crun", "runs the containers" },
		{ "catatonit", "catatonit", "is their first process" },
		{ "mmdebstrap", "mmdebstrap", "makes stacks and runtimes" },
		{ "npm", "npm", "fetches the node runtime" },
	};
	for (size_t i = 0; i < ARRAY_LEN(tools); i++) {
		AUTO_FREE char *mend = xasprintf("apt-get install %s", tools[i].package);
		if (on_path(tools[i].program))
			add(all, "ok", tools[i].program, tools[i].what_for, "");
		else
			add(all, "failed", tools[i].program, "is not on the path", mend);
	}
}

static void check_kernel(struct findings *all)
{
	struct utsname name;
	unsigned major = 0, minor = 0;
	uname(&name);
	sscanf(name.release, "%u.%u", &major, &minor);
	bool enough = major > 5 || (major == 5 && minor >= 19);
	add(all, enough ? "ok" : "failed", "kernel", name.release,
	    enough ? "" : "5.19 or newer is needed (overlayfs on idmapped layers)");
	AUTO_BUF struct buf list = BUF_INIT(1 << 16);
	bool overlay = file_read("/proc/filesystems", &list, NULL) == 0 && strstr(buf_str(&list), "\toverlay\n");
	add(all, overlay ? "ok" : "failed", "overlayfs", overlay ? "is there" : "is not known to the kernel",
	    overlay ? "" : "modprobe overlay");
	const char *mode = file_exists("/sys/fs/cgroup/cgroup.controllers") == 1 ? "v2"
			   : file_exists("/sys/fs/cgroup/unified") == 1	   ? "v1, hybrid"
			   : file_exists("/sys/fs/cgroup/memory") == 1	   ? "v1"
									   : NULL;
	add(all, mode ? "ok" : "failed", "cgroup", mode ? mode : "no controller is mounted",
	    mode ? "" : "mount cgroup2 on /sys/fs/cgroup");
}

static void check_disk(struct findings *all, const char *data)
{
	struct statvfs vfs;
	char text[SHORT_TEXT_SIZE];
	if (statvfs(data, &vfs) < 0 && statvfs("/var/lib", &vfs) < 0)
		return;
	uint64_t free_bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	size_text(free_bytes, text);
	AUTO_FREE char *detail = xasprintf("%s free for %s", text, data);
	bool enough = free_bytes > (uint64_t)2 << 30;
	add(all, enough ? "ok" : "warning", "disk", detail, enough ? "" : "2G are a comfortable minimum");
}

static void check_platform(struct cli *cli, struct findings *all)
{
	struct err err = { 0 };
	if (client_config_load(cli_get(cli, "api"), &cli->config, &err) < 0) {
		add(all, "warning", "platform", err.text, err.hint);
		return;
	}
	cli->client = client_new(cli->config.address, cli->config.token, &err);
	AUTO_ANSWER struct client_answer answer = { 0 };
	if (!cli->client || client_call(cli->client, "GET", "/v1/status", NULL, &answer, &err) < 0) {
		add(all, "failed", "platform", err.text, err.hint);
		return;
	}
	struct err not_ready = { 0 };
	AUTO_ANSWER struct client_answer ready = { 0 };
	if (client_call(cli->client, "GET", "/readyz", NULL, &ready, &not_ready) < 0)
		add(all, "failed", "platform", not_ready.text, "see the log files below the data directory");
	else
		add(all, "ok", "platform", cli->config.address, "");
}

static void add_damage(void *arg, const struct damage *damage)
{
	add(arg, "failed", damage->what, damage->detail, damage->mend);
}

// Reads all content; takes as long as the disk does.
static void check_content_of(struct cli *cli, struct findings *all, const char *data)
{
	const char *cache = cli_get(cli, "cache");
	size_t read = 0, before = all->n;
	check_content(cache ? cache : "/var/cache/dialtone", data, &read, add_damage, all);
	AUTO_FREE char *detail = xasprintf("%zu layers and files are as their digests say", read);
	if (all->n == before)
		add(all, "ok", "content", detail, "");
}

static int print_findings(struct cli *cli, const struct findings *all)
{
	if (cli->json) {
		json_t *items = json_array();
		for (size_t i = 0; i < all->n; i++)
			json_array_append_new(items, json_pack("{s:s, s:s, s:s, s:s}", "state", all->items[i].state, "what",
							       all->items[i].what, "detail", all->items[i].detail, "mend",
							       all->items[i].mend));
		json_t *out = json_pack("{s:o}", "items", items);
		print_json(out);
		json_decref(out);
		return all->failed ? CLI_FAILED : CLI_OK;
	}
	static const char *const titles[] = { "check", "state", "found", "what to do", NULL };
	struct listing *t = listing_new(cli, titles);
	for (size_t i = 0; i < all->n; i++) {
		listing_cell(t, "%s", all->items[i].what);
		listing_state(t, all->items[i].state);
		listing_cell(t, "%s", all->items[i].detail);
		listing_cell(t, "%s", all->items[i].mend);
	}
	listing_end(t, "nothing was checked");
	return all->failed ? CLI_FAILED : CLI_OK;
}

int command_doctor(struct cli *cli)
{
	const char *data = cli_get(cli, "data");
	struct findings all = { 0 };
	if (geteuid() != 0)
		add(&all, "warning", "user", "not root", "the platform itself is started as root");
	check_kernel(&all);
	check_tools(&all);
	check_disk(&all, data ? data : "/var/lib/dialtone");
	if (cli_get(cli, "deep"))
		check_content_of(cli, &all, data ? data : "/var/lib/dialtone");
	check_platform(cli, &all);
	return print_findings(cli, &all);
}
