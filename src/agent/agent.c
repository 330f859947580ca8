#include "agent/agent.h"

#include "agent/core.h"
#include "agent/guard.h"
#include "agent/report.h"
#include "agent/reserve.h"
#include "agent/sole.h"
#include "agent/unreadable.h"
#include "base/id.h"
#include "base/log.h"
#include "base/str.h"
#include "io/file.h"

#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>

enum { TIDY_EVERY_MS = 5000 };

static void keeper_told_exit(void *arg, const struct keeper_exit *record)
{
	struct agent *agent = arg;
	struct instance *instance = map_get(&agent->instances, record->id);
	struct unreadable *unreadable = unreadable_find(agent, record->id);
	if (instance)
		instance_exited(instance, record);
	else if (unreadable)
		unreadable_exited(unreadable, record);
	else
		agent_visitor_exited(agent, record);
}

static void keeper_connected(void *arg UNUSED, bool connected)
{
	if (connected)
		log_info("keeper connected");
	else
		log_warn("keeper away: what runs, runs on; nothing is started until it is back");
}

void agent_wake_all(struct agent *agent)
{
	void *instance;
	for (size_t at = 0; map_next(&agent->instances, &at, NULL, &instance);)
		instance_wake(instance);
}

static void artifact_came(void *arg)
{
	agent_wake_all(arg);
}

static char *addresses(void *arg)
{
	struct agent *agent = arg;
	return client_servers_addresses(agent->servers);
}

static void *server_came(struct client_link *link, const char *address, void *arg)
{
	return report_sender_new(arg, link, address);
}

static void server_gone(void *item, UNUSED void *arg)
{
	report_sender_free(item);
}

static int open_servers(struct agent *agent, struct err *err)
{
	AUTO_FREE char *file = xasprintf("%s/node/servers.json", agent->platform.data);
	client_identity_prepare(agent->platform.data);
	int r = client_servers_new(
		&(struct client_servers_spec){ .loop = agent->loop,
					       .addresses = agent->api,
					       .token = agent->token,
					       .file = platform_is_shared(&agent->platform) ? file : NULL,
					       .came = server_came,
					       .gone = server_gone,
					       .arg = agent },
		&agent->servers, err);
	if (r < 0)
		return r;
	agent->identity = client_identity_start(&(struct client_identity_spec){ .loop = agent->loop,
										.servers = agent->servers,
										.data = agent->platform.data,
										.token = agent->token,
										.node = agent->name });
	return 0;
}

static int read_token(struct agent *agent, struct err *err)
{
	AUTO_FREE char *path = xasprintf("%s/secrets/node.token", agent->platform.data);
	AUTO_BUF struct buf text = BUF_INIT(4096);
	int r = file_read(path, &text, err);
	if (r < 0) {
		err_wrap(err, "the node's token");
		return err_hint(err, "'dialtone up' writes it; is this the data directory of a platform?");
	}
	const char *token = buf_str(&text);
	agent->token = xstrndup(token, strcspn(token, "\r\n \t"));
	return 0;
}

static void open_parts(struct agent *agent)
{
	AUTO_FREE char *artifacts = xasprintf("%s/node/artifacts", agent->platform.data);
	AUTO_FREE char *instances = xasprintf("%s/node/instances", agent->platform.data);
	agent->loop = loop_new();
	agent->world = (struct world){ .ops = &host_world_ops, .loop = agent->loop };
	random_bytes(&agent->world.rng, sizeof(agent->world.rng));
	start_slots_init(&agent->world.slots, START_LIMIT);
	list_init(&agent->unreadable);
	list_init(&agent->streams);
	list_init(&agent->log_answers);
	artifacts_init(&agent->artifacts, &(struct artifacts_spec){
						  .loop = agent->loop,
						  .token = agent->token,
						  .addresses = addresses,
						  .dir = artifacts,
						  .cache = agent->platform.cache,
						  .on_end = artifact_came,
						  .arg = agent,
					  });
	sweep_init(&agent->sweep, agent);
	history_init(&agent->history, agent->loop, instances);
	agent->keeper = keeper_client_new(&(struct keeper_client_spec){
		.loop = agent->loop,
		.data = agent->platform.data,
		.on_exit = keeper_told_exit,
		.on_connected = keeper_connected,
		.arg = agent,
	});
}

static int open_agent(struct agent *agent, const char *data, struct err *err)
{
	int r = platform_load(data, &agent->platform, err);
	if (r == 0)
		r = sole_agent(agent->platform.data, err);
	if (r == 0)
		r = read_token(agent, err);
	if (r == 0)
		r = addresses_init(&agent->addresses, agent->platform.subnet, err);
	if (r < 0)
		return r;
	if (gethostname(agent->name, sizeof(agent->name) - 1) < 0)
		return err_set_errno(err, -errno, "this machine's name");
	agent->api = platform_servers(&agent->platform);
	uid_new(agent->boot);
	list_init(&agent->reports);
	open_parts(agent);
	reserve_keep(agent->platform.data);
	r = agent_adopt(agent, err);
	if (r < 0)
		return r;
	r = open_servers(agent, err);
	if (r < 0)
		return r;
	agent_follow_orders(agent);
	return agent_listen(agent, err);
}

// What a burst of starts and stops left free inside the heap goes back to the machine.
static void tidy(struct timer *timer)
{
	malloc_trim(0);
	timer_set(timer, TIDY_EVERY_MS);
}

static struct loop *running;

static void told_to_end(struct signal *signal UNUSED)
{
	loop_stop(running);
}

static int run(const char *data, struct err *err)
{
	struct agent *agent = xcalloc(1, sizeof(*agent));
	struct signal term = { 0 }, interrupt = { 0 };
	int r = open_agent(agent, data, err);
	if (r == 0)
		r = signal_start(&term, agent->loop, SIGTERM, told_to_end);
	if (r == 0)
		r = signal_start(&interrupt, agent->loop, SIGINT, told_to_end);
	if (r < 0)
		return r;
	struct timer tidying;
	timer_init(&tidying, agent->loop, tidy);
	timer_set(&tidying, TIDY_EVERY_MS);
	guard_start(agent->loop, agent->host);
	running = agent->loop;
	log_info("agent of node %s ready, instances=%zu", agent->name, agent->instances.count);
	loop_run(agent->loop);
	log_info("agent ends; the containers run on");
	return 0;
}

static const char *data_option(int argc, char **argv)
{
	static const struct option options[] = { { "data", required_argument, NULL, 'd' }, { 0 } };
	const char *data = PLATFORM_DATA_DEFAULT;
	optind = 2; // behind the name of the program and "agent"
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (c != 'd')
			return NULL;
		data = optarg;
	}
	return optind == argc ? data : NULL;
}

int agent_main(int argc, char **argv)
{
	const char *data = data_option(argc, argv);
	if (!data) {
		fprintf(stderr, "usage: dialtone agent --data DIR\n");
		return 2;
	}
	log_init("agent");
	signal(SIGPIPE, SIG_IGN);
	mallopt(M_ARENA_MAX, 1); // threads here wait more than they allocate; an arena for each costs megabytes
	setenv("UV_THREADPOOL_SIZE", "12", 1); // POOL_THREADS: waiting for crun, disks and downloads, not computing
	struct err err = { 0 };
	int r = run(data, &err);
	if (r < 0)
		log_error("%s%s%s", err.text, err.hint[0] ? "; " : "", err.hint);
	// Jobs may still run on the pool. Each may be cut anywhere, and waiting for them would make an upgrade slow.
	fflush(NULL);
	_exit(r < 0 ? 1 : 0);
}
