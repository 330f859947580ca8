#include "server/server.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "base/str.h"
#include "server/access.h"
#include "server/artifacts.h"
#include "server/core.h"
#include "server/dispatch.h"
#include "server/openapi.h"
#include "server/passthrough.h"
#include "server/records_check.h"

#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>

enum { AGENT_CONNECTIONS_MAX = 1000, DRAIN_MS = 200 };

// ---- what exists from the start

// A write that failed is made by the next process: until then its token or tenant is unknown.
static void begun(void *arg, const struct store_answer *answer)
{
	struct server *server = arg;
	struct err err = {};
	if (answer->result != STORE_OK && answer->result != STORE_CONFLICT)
		log_error("cannot begin: %s", answer->reason);
	if (--server->beginning || server->waiting_fd < 0 || server->closing)
		return;
	if (http_server_listen(server->http, TAKE_FD(server->waiting_fd), &err) < 0)
		log_error("%s", err.text);
}

void server_begin_with(struct server *server, struct store_txn *txn)
{
	server->beginning++;
	store_commit(server->store, txn, begun, server);
}

static void put_if_absent(struct server *server, const char *key, const char *text)
{
	if (store_get(server->store, key))
		return;
	struct store_txn *txn = store_txn_new();
	store_txn_if_absent(txn, key);
	store_txn_put(txn, key, text, strlen(text));
	server_begin_with(server, txn);
}

static void make_places(struct server *server)
{
	char uid[UID_SIZE];
	uid_new(uid);
	struct tenant tenant = { .name = (char *)"default", .uid = uid, .created_ms = realtime_ms() };
	AUTO_FREE char *tenant_value = tenant_text(&tenant);
	put_if_absent(server, "v1/tenants/default", tenant_value);
	uid_new(uid);
	struct environment environment = {
		.tenant = tenant.name, .name = (char *)"dev", .uid = uid, .created_ms = tenant.created_ms
	};
	AUTO_FREE char *environment_value = environment_text(&environment);
	put_if_absent(server, "v1/environments/default/dev", environment_value);
}

// ---- the server

// What a large body and what was made of it left free inside the heap goes back to the machine.
static void tidy(struct server *server)
{
	if (server->untidy)
		malloc_trim(0);
	server->untidy = false;
}

static void ping(struct timer *timer)
{
	struct server *server = CONTAINER_OF(timer, struct server, ping);
	streams_ping(&server->streams);
	tidy(server);
	timer_set(timer, STREAM_PING_MS);
}

static int open_agent(struct server *server, struct err *err)
{
	AUTO_FREE char *text = xasprintf("unix:%s/run/agent.sock", server->platform->data);
	struct address address;
	int r = address_parse(text, &address, err);
	if (r < 0)
		return r;
	server->agent = http_client_new(server->loop, &address, AGENT_CONNECTIONS_MAX);
	return 0;
}

int server_new(struct loop *loop, const struct platform *platform, struct store *store, const char *driver,
	       struct server **ret, struct err *err)
{
	struct server *server = xcalloc(1, sizeof(*server));
	server->loop = loop;
	server->platform = platform;
	server->driver = driver;
	server->store = store;
	server->waiting_fd = -1;
	list_init(&server->streams);
	list_init(&server->tunnels);
	int r = records_check(store, err);
	if (r == 0)
		r = open_agent(server, err);
	if (r == 0)
		r = access_open(server, err);
	if (r < 0) {
		http_client_free(server->agent);
		free(server);
		return r;
	}
	make_places(server);
	audit_open(server);
	routers_open(server);
	replica_open(&server->replica, server);
	struct http_server_config config = { .on_request = dispatch, .arg = server };
	server->http = http_server_new(loop, &config);
	control_open(server);
	timer_init(&server->ping, loop, ping);
	timer_set(&server->ping, STREAM_PING_MS);
	sweep_open(server);
	*ret = server;
	return 0;
}

int server_listen(struct server *server, int fd, struct err *err)
{
	if (!server->beginning)
		return http_server_listen(server->http, fd, err);
	server->waiting_fd = fd;
	return 0;
}

void server_drain(struct server *server)
{
	server->closing = true;
	http_server_drain(server->http);
	streams_end(&server->streams);
}

void server_free(struct server *server)
{
	if (!server)
		return;
	server->closing = true;
	timer_clear(&server->ping);
	sweep_close(server);
	tunnels_close(server);
	http_server_free(server->http);
	http_client_free(server->agent);
	cleanup_close(&server->waiting_fd);
	control_close(server);
	store_watch_stop(&server->replica.watch);
	store_close(server->store);
	server->freed = true;
	if (!server->working)
		server_release(server);
}

void server_release(struct server *server)
{
	routers_close(server);
	replica_close(&server->replica);
	artifacts_close(server);
	free(server);
}

// ---- the process

struct process_state {
	struct loop *loop;
	struct server *server;
	struct signal term, interrupt;
	struct timer end;
	int status;
};

static void end(struct timer *timer)
{
	loop_stop(CONTAINER_OF(timer, struct process_state, end)->loop);
}

static void begin_end(struct process_state *process)
{
	log_info("stopping");
	server_drain(process->server);
	timer_set(&process->end, DRAIN_MS);
}

static void on_term(struct signal *signal)
{
	begin_end(CONTAINER_OF(signal, struct process_state, term));
}

static void on_interrupt(struct signal *signal)
{
	begin_end(CONTAINER_OF(signal, struct process_state, interrupt));
}

// The store can no longer keep its promises. The next process opens it again and finds what was acknowledged.
static void store_failed(void *arg UNUSED, const struct err *err)
{
	log_error("store failed: %s", err->text);
	_exit(1);
}

static int open_all(struct process_state *process, const struct platform *platform, struct err *err)
{
	struct address address;
	int r = address_parse(platform->api, &address, err);
	if (r < 0)
		return err_wrap(err, "platform.json: api");
	AUTO_CLOSE int fd = -1;
	r = socket_listen(&address, 1024, &fd, err);
	if (r < 0)
		return err_wrap(err, "cannot serve the API");
	AUTO_FREE char *dir = xasprintf("%s/store", platform->data);
	struct store *store = NULL;
	struct store_owner owner = { store_failed, process };
	r = store_open_sqlite(process->loop, dir, owner, &store, err);
	if (r < 0)
		return err_wrap(err, "cannot open the store");
	r = server_new(process->loop, platform, store, "sqlite", &process->server, err);
	if (r < 0) {
		store_close(store);
		return r;
	}
	return server_listen(process->server, TAKE_FD(fd), err);
}

static int run(const struct platform *platform)
{
	struct process_state process = { .loop = loop_new() };
	struct err err = {};
	timer_init(&process.end, process.loop, end);
	int r = open_all(&process, platform, &err);
	if (r == 0) {
		signal_start(&process.term, process.loop, SIGTERM, on_term);
		signal_start(&process.interrupt, process.loop, SIGINT, on_interrupt);
		log_info("serving api=%s revision=%llu", platform->api,
			 (unsigned long long)store_revision(process.server->store));
		loop_run(process.loop);
	} else {
		log_error("%s%s%s", err.text, err.hint[0] ? " hint: " : "", err.hint);
	}
	signal_stop(&process.term);
	signal_stop(&process.interrupt);
	timer_clear(&process.end);
	server_free(process.server);
	loop_free(process.loop);
	return r < 0;
}

static int print_openapi(void)
{
	AUTO_JSON json_t *document = openapi_document();
	AUTO_FREE char *text = json_to_pretty(document);
	return puts(text) < 0;
}

int server_main(int argc, char **argv)
{
	static const struct option options[] = { { "data", required_argument, NULL, 'd' },
						 { "openapi", no_argument, NULL, 'o' },
						 {} };
	const char *data = PLATFORM_DATA_DEFAULT;
	optind = 2; // behind the program and "server"
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (c == 'o')
			return print_openapi();
		if (c != 'd') {
			fputs("usage: dialtone server [--data DIR] [--openapi]\n", stderr);
			return 2;
		}
		data = optarg;
	}
	log_init("server");
	signal(SIGPIPE, SIG_IGN);
	AUTO_PLATFORM struct platform platform = {};
	struct err err = {};
	if (platform_load(data, &platform, &err) < 0) {
		log_error("%s%s%s", err.text, err.hint[0] ? " hint: " : "", err.hint);
		return 1;
	}
	return run(&platform);
}
