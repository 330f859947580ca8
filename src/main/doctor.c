// `doctor`: what this machine needs to run a platform, and how the platform on it does. Works with and without one that
// runs, and says what to mend.
#include "base/str.h"
#include "cli/content.h"
#include "cli/output.h"
#include "keeper/state.h"
#include "main/checks.h"
#include "main/commands.h"
#include "main/running.h"
#include "main/setup.h"
#include "model/exchange.h"
#include "model/platform.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/statvfs.h>

#define ITEMS 48
#define DISK_LOW ((uint64_t)2 << 30)
#define DISK_OUT ((uint64_t)256 << 20)

static const char ok[] = "ok", warning[] = "warning", failed[] = "failed";

struct finding {
	const char *state;
	char what[96];
	struct err said; // text: what was found; hint: what to do
};

struct doctor {
	struct cli *cli;
	const char *data;
	struct platform platform;
	bool known; // platform was read
	bool up;    // somebody supervises
	bool scratch_known; // an agent has told
	struct finding items[ITEMS];
	size_t n, failures, warnings;
};

static struct err *add(struct doctor *d, const char *state, const char *what, const char *fmt, ...) PRINTF_LIKE(4, 5);

// The hint of what is returned may be set.
static struct err *add(struct doctor *d, const char *state, const char *what, const char *fmt, ...)
{
	struct finding *f = &d->items[d->n];
	if (d->n + 1 < ITEMS)
		d->n++;
	d->failures += state == failed;
	d->warnings += state == warning;
	*f = (struct finding){ .state = state };
	snprintf(f->what, sizeof(f->what), "%s", what);
	va_list args;
	va_start(args, fmt);
	vsnprintf(f->said.text, sizeof(f->said.text), fmt, args);
	va_end(args);
	return &f->said;
}

static void add_err(struct doctor *d, const char *state, const char *what, const struct err *err)
{
	struct err *said = add(d, state, what, "%s", err->text);
	err_hint(said, "%s", err->hint);
}

// ---- The machine ----

static void check_this_machine(struct doctor *d)
{
	if (geteuid() != 0)
		err_hint(add(d, warning, "user", "not root: not everything can be looked at"), "run it as root");
	for (const struct machine_check *c = machine_checks; c->what; c++) {
		struct err err = { 0 };
		if (c->run(&err) < 0)
			add_err(d, failed, c->what, &err);
		else
			add(d, ok, c->what, "%s", c->found);
	}
	static const char *const builders[] = { "mmdebstrap", "npm" };
	for (size_t i = 0; i < ARRAY_LEN(builders); i++) {
		if (program_on_path(builders[i]))
			continue;
		struct err *said =
			add(d, warning, builders[i], "is not on PATH: stacks and runtimes cannot all be built");
		err_hint(said, "apt-get install -y %s", builders[i]);
	}
}

// Without these an agent that starts now keeps it in memory.
static void check_scratch(struct doctor *d)
{
	static const char what[] = "scratch", mkfs[] = "/sbin/mkfs.ext4";
	static const char in_memory[] = "/tmp of instances is in memory and counts as theirs";
	if (access("/dev/loop-control", F_OK) < 0)
		err_hint(add(d, warning, what, "no loop devices: %s", in_memory),
			 "modprobe loop, then restart the platform: dialtone down && dialtone up");
	else if (access(mkfs, X_OK) < 0)
		err_hint(add(d, warning, what, "no %s: %s", mkfs, in_memory),
			 "apt-get install -y e2fsprogs, then restart the platform: dialtone down && dialtone up");
	else
		add(d, ok, what, "/tmp of instances is on disk");
}

static void check_disk(struct doctor *d, const char *what, const char *folder)
{
	struct statvfs vfs;
	char text[SHORT_TEXT_SIZE];
	if (statvfs(folder, &vfs) < 0)
		return;
	uint64_t left = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	size_text(left, text);
	struct err *said = add(d,
			       left < DISK_OUT   ? failed
			       : left < DISK_LOW ? warning
						 : ok,
			       what, "%s free at %s", text, folder);
	if (left < DISK_LOW)
		err_hint(said, "make room: pushes and builds need it; 2G are a comfortable minimum");
}

// ---- The platform's folders ----

static void find_platform(struct doctor *d)
{
	struct err err = { 0 };
	int r = platform_load(d->data, &d->platform, &err);
	d->known = r == 0;
	if (r == 0)
		add(d, ok, "data", "%s", d->data);
	else if (r == -ENOENT)
		err_hint(add(d, warning, "data", "no platform was started with %s yet", d->data),
			 "'dialtone up' starts one; --data names another one's directory");
	else
		add_err(d, geteuid() == 0 ? failed : warning, "data", &err);
}

static const char *cache_of(const struct doctor *d)
{
	const char *given = cli_get(d->cli, "cache");
	return given ? given : d->known ? d->platform.cache : PLATFORM_CACHE_DEFAULT;
}

static void add_damage(void *arg, const struct damage *damage)
{
	err_hint(add(arg, failed, damage->what, "%s", damage->detail), "%s", damage->mend);
}

// Reads all content; takes as long as the disk does.
static void check_deep(struct doctor *d)
{
	size_t read = 0, before = d->n;
	check_content(cache_of(d), d->data, &read, add_damage, d);
	if (d->n == before)
		add(d, ok, "content", "%zu layers and files are as their digests say", read);
}

// ---- The platform's processes ----

static void check_part(struct doctor *d, const char *name, const struct process_identity *identity, unsigned restarts)
{
	AUTO_CLOSE int alive = identity_open(identity);
	if (alive >= 0 && restarts == 0)
		add(d, ok, name, "runs as process %d", (int)identity->pid);
	else if (alive >= 0)
		add(d, ok, name, "runs as process %d, restarted %u %s", (int)identity->pid, restarts,
		    restarts == 1 ? "time" : "times");
	else
		err_hint(add(d, failed, name, "does not run; it was restarted %u %s", restarts,
			     restarts == 1 ? "time" : "times"),
			 "%s/log/%s.log says why", d->data, name);
}

static void check_down(struct doctor *d)
{
	struct err err = { 0 };
	AUTO_FREE char *option = running_data_option(d->data);
	unsigned running = running_count(d->data);
	struct err *said = running ? add(d, warning, "platform", "is down; %u %s on", running,
					 running == 1 ? "instance runs" : "instances run")
				   : add(d, warning, "platform", "is down");
	err_hint(said, "'dialtone up --detach%s' starts it", option);
	if (check_port(d->platform.http, "--http", &err) < 0)
		add_err(d, failed, "port", &err);
	if (check_port(d->platform.api, "--api", &err) < 0)
		add_err(d, failed, "port", &err);
}

static void check_processes(struct doctor *d)
{
	AUTO_FREE char *up = xasprintf("%s/run/up.lock", d->data);
	AUTO_FREE char *keeper = xasprintf("%s/run/keeper.lock", d->data);
	AUTO_FREE char *option = running_data_option(d->data);
	struct keeper_state state;
	pid_t pid = lock_holder(keeper);
	d->up = pid > 0 && !keeper_holding(d->data);
	if (!d->up) {
		check_down(d);
		return;
	}
	add(d, ok, "keeper", "runs as process %d", (int)pid);
	if (lock_holder(up) == 0)
		err_hint(add(d, warning, "supervisor", "does not run: nobody restarts the keeper"),
			 "'dialtone up --detach%s' takes it over", option);
	for (unsigned i = 0; keeper_state_read(d->data, &state) == 0 && i < state.n_parts; i++)
		check_part(d, state.parts[i].name, &state.parts[i].identity, state.parts[i].restarts);
}

// ---- What it answers ----

static void check_router(struct doctor *d)
{
	struct err err = { 0 };
	AUTO_FREE char *url = setup_local_url(d->platform.http);
	AUTO_ANSWER struct client_answer answer = { 0 };
	struct client_request request = { .method = "GET", .path = "/", .timeout_ms = 3000 };
	struct client *client = client_new(url, NULL, &err);
	if (client && (client_send(client, &request, &answer, &err) == 0 || answer.status))
		add(d, ok, "http", "the router answers at %s", url);
	else
		err_hint(add(d, failed, "http", "the router does not answer at %s: %s", url, err.text),
			 "%s/log/router.log says why", d->data);
	client_free(client);
}

static void check_ready(struct doctor *d, const json_t *status)
{
	struct err err = { 0 };
	AUTO_ANSWER struct client_answer answer = { 0 };
	const char *version = get_text(json_object_get(status, "platform"), "version");
	if (client_call(d->cli->client, "GET", "/readyz", NULL, &answer, &err) < 0)
		add_err(d, failed, "api", &err);
	else if (!str_eq(version, DIALTONE_VERSION))
		err_hint(add(d, warning, "api", "the platform is version %s, this command %s", version,
			     DIALTONE_VERSION),
			 "'dialtone up' again after 'dialtone down' starts this version");
	else
		add(d, ok, "api", "answers at %s, node and router are connected", d->cli->config.address);
}

// "what is wrong; what to do"
static void add_problem(struct doctor *d, const char *node, const char *problem)
{
	bool scratch = str_starts(problem, NODE_PROBLEM_SCRATCH);
	const char *last = strrchr(problem, ';');
	int n = last ? (int)(last - problem) : (int)strlen(problem);
	struct err *said = add(d, warning, scratch ? "scratch" : "node", "%s: %.*s", node, n, problem);
	if (last)
		err_hint(said, "%s", last + 1 + strspn(last + 1, " "));
	d->scratch_known = d->scratch_known || scratch;
}

// What the agents know better than a look at the machine: by what they found when they started, they go on.
static void check_nodes(struct doctor *d)
{
	AUTO_ANSWER struct client_answer answer = { 0 };
	size_t i, k, n_connected = 0;
	json_t *node, *problem;
	if (!d->cli->client || client_call(d->cli->client, "GET", "/v1/nodes", NULL, &answer, NULL) < 0)
		return;
	json_array_foreach(json_object_get(answer.json, "items"), i, node) {
		n_connected += get_flag(node, "connected");
		json_array_foreach(json_object_get(node, "problems"), k, problem)
			add_problem(d, get_text(node, "name"), json_string_value(problem));
	}
	if (n_connected && !d->scratch_known)
		add(d, ok, "scratch", "/tmp of instances is on disk");
	d->scratch_known = d->scratch_known || n_connected;
}

static void check_store(struct doctor *d)
{
	struct err err = { 0 };
	AUTO_ANSWER struct client_answer answer = { 0 };
	if (client_call(d->cli->client, "GET", "/v1/store", NULL, &answer, &err) < 0) {
		add_err(d, failed, "store", &err);
		return;
	}
	size_t i;
	json_t *w, *warnings = json_object_get(answer.json, "warnings");
	json_array_foreach(warnings, i, w)
		err_hint(add(d, warning, "store", "%s", get_text(w, "text")), "%s", get_text(w, "mend"));
	if (!json_array_size(warnings))
		add(d, ok, "store", "%s, %llu records at revision %llu", get_text(answer.json, "driver"),
		    (unsigned long long)get_number(answer.json, "records"),
		    (unsigned long long)get_number(answer.json, "revision"));
}

static void check_api(struct doctor *d)
{
	struct cli *cli = d->cli;
	struct err err = { 0 };
	if (!cli->config.address) {
		if (client_config_load(cli_get(cli, "api"), &cli->config, &err) < 0)
			add_err(d, d->up ? failed : warning, "token", &err);
		return;
	}
	cli->client = client_new(cli->config.address, cli->config.token, &err);
	AUTO_ANSWER struct client_answer answer = { 0 };
	if (!cli->client || client_call(cli->client, "GET", "/v1/status", NULL, &answer, &err) < 0)
		add_err(d, failed, "api", &err);
	else
		check_ready(d, answer.json);
	if (cli->client && answer.json)
		check_store(d);
}

// ---- What is told ----

static void print_findings(const struct doctor *d)
{
	struct cli *cli = d->cli;
	for (size_t i = 0; i < d->n; i++) {
		const struct finding *f = &d->items[i];
		printf("%s%-8s%s %-16s %s\n", colour_of_state(cli, f->state), f->state, colour_end(cli), f->what,
		       f->said.text);
		if (f->said.hint[0])
			printf("%26s%s→ %s%s\n", "", colour_dim(cli), f->said.hint, colour_end(cli));
	}
	if (d->failures || d->warnings)
		printf("\n%zu failed, %zu %s, %zu ok\n", d->failures, d->warnings,
		       d->warnings == 1 ? "warning" : "warnings", d->n - d->failures - d->warnings);
	else
		printf("\nall %zu checks are ok\n", d->n);
}

static void print_findings_json(const struct doctor *d)
{
	json_t *items = json_array();
	for (size_t i = 0; i < d->n; i++)
		json_array_append_new(items, json_pack("{s:s, s:s, s:s, s:s}", "state", d->items[i].state, "what",
						       d->items[i].what, "detail", d->items[i].said.text, "mend",
						       d->items[i].said.hint));
	json_t *out = json_pack("{s:o}", "items", items);
	print_json(out);
	json_decref(out);
}

// The directory that was named, or of the platform that is, or the default. NULL: a platform of another machine.
static const char *choose_data(struct cli *cli)
{
	const char *data = cli_get(cli, "data");
	client_config_load(cli_get(cli, "api"), &cli->config, NULL);
	if (data)
		return data;
	return cli->config.data ? cli->config.data : cli_get(cli, "api") ? NULL : PLATFORM_DATA_DEFAULT;
}

// The API of the platform that was named by its directory.
static void follow_data(struct doctor *d)
{
	struct cli *cli = d->cli;
	if (!d->known || !cli_get(cli, "data") || cli_get(cli, "api"))
		return;
	AUTO_FREE char *url = platform_api(&d->platform);
	client_config_clear(&cli->config);
	client_config_load(url, &cli->config, NULL);
}

int command_doctor(struct cli *cli)
{
	struct doctor *d = xcalloc(1, sizeof(*d));
	d->cli = cli;
	d->data = choose_data(cli);
	check_this_machine(d);
	if (d->data) {
		find_platform(d);
		follow_data(d);
		check_disk(d, "disk", d->known ? d->data : "/var/lib");
		check_disk(d, "cache", cache_of(d));
	}
	if (d->data && cli_get(cli, "deep"))
		check_deep(d);
	if (d->known)
		check_processes(d);
	if (d->up)
		check_router(d);
	if (d->up || !d->data)
		check_api(d);
	check_nodes(d);
	if (d->data && !d->scratch_known)
		check_scratch(d);
	cli->json ? print_findings_json(d) : print_findings(d);
	int status = d->failures ? CLI_FAILED : CLI_OK;
	platform_clear(&d->platform);
	free(d);
	return status;
}
