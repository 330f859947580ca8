#include "router/router.h"

#include "base/id.h"
#include "base/log.h"
#include "base/str.h"
#include "router/downstream.h"
#include "router/routes.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

#define CLIENTS_MAX 50000
#define ACCEPT_AT_ONCE 64
#define FILES_FOR_ITSELF 64 // of the descriptors; the others are for clients and, as many, for instances
#define SWEEP_MS 250

struct router {
	struct loop *loop;
	struct worker worker;
	struct routes *routes;
	struct poll listener;
	int listen_fd;
	uint32_t clients_max;
	bool full; // no descriptor was left for a client: accepts again at the next sweep
	struct timer sweep;
	struct signal terminate;
	uint64_t drain_until_ms; // 0: not draining
};

static void reap(struct task *task)
{
	struct worker *worker = CONTAINER_OF(task, struct worker, reaper);
	struct downstream *c;
	LIST_EACH(c, &worker->closed, link) {
		list_remove(&c->link);
		http1_parser_clear(&c->parser);
		buf_clear(&c->in);
		buf_clear(&c->out);
		buf_clear(&c->x.to_up);
		free(c);
	}
}

// The socket would stay readable all the time: it is left alone until the next sweep, and clients wait in its queue.
static void pause_accepting(struct router *router, const char *reason)
{
	log_warn("no more clients for now clients=%u reason=\"%s\"", router->worker.n_clients, reason);
	router->full = true;
	poll_set(&router->listener, 0);
}

static void accept_clients(struct poll *poll, UNUSED int events)
{
	struct router *router = CONTAINER_OF(poll, struct router, listener);
	for (int i = 0; i < ACCEPT_AT_ONCE; i++) {
		if (router->worker.n_clients >= router->clients_max) {
			pause_accepting(router, "the most that it takes");
			return;
		}
		struct address peer;
		int fd;
		int r = socket_accept(poll->fd, &peer, &fd);
		if (r == -EMFILE || r == -ENFILE || r == -ENOBUFS || r == -ENOMEM)
			pause_accepting(router, strerror(-r));
		if (r == -ECONNABORTED)
			continue;
		if (r < 0)
			return;
		downstream_new(&router->worker, fd, &peer);
	}
}

static void accept_again(struct router *router)
{
	if (!router->full || router->drain_until_ms || router->worker.n_clients >= router->clients_max)
		return;
	router->full = false;
	poll_set(&router->listener, POLL_READ);
}

static void on_sweep(struct timer *timer)
{
	struct router *router = CONTAINER_OF(timer, struct router, sweep);
	downstreams_check(&router->worker);
	upstreams_sweep(&router->worker.upstreams, router->worker.limits.instance_idle_ms);
	accept_again(router);
	bool over = router->drain_until_ms &&
		    (!router->worker.n_clients || loop_now_ms(router->loop) >= router->drain_until_ms);
	if (over)
		loop_stop(router->loop);
	timer_set(&router->sweep, SWEEP_MS);
}

static void on_terminate(struct signal *signal)
{
	struct router *router = CONTAINER_OF(signal, struct router, terminate);
	if (router->drain_until_ms)
		return;
	log_info("stopping clients=%u", router->worker.n_clients);
	poll_stop(&router->listener);
	router->drain_until_ms = loop_now_ms(router->loop) + router->worker.limits.drain_ms;
	downstreams_drain(&router->worker);
	timer_set(&router->sweep, 1);
}

static void init_worker(struct router *router)
{
	struct worker *w = &router->worker;
	w->loop = router->loop;
	w->upstreams.loop = router->loop;
	random_bytes(&w->upstreams.rng.state, sizeof(w->upstreams.rng.state));
	list_init(&w->clients);
	list_init(&w->closed);
	task_init(&w->reaper, w->loop, "reap", reap);
}

static void clear_worker(struct worker *w)
{
	struct downstream *c;
	LIST_EACH(c, &w->clients, link)
		downstream_close(c);
	reap(&w->reaper);
	table_unref(w->table);
	task_clear(&w->reaper);
	map_clear(&w->upstreams.by_id);
}

static int start(struct router *router, const struct platform *platform, struct err *err)
{
	int r = routes_start(&router->worker, platform, &router->routes, err);
	if (r < 0)
		return r;
	r = poll_start(&router->listener, router->loop, router->listen_fd, POLL_READ, accept_clients);
	if (r < 0)
		return err_set_errno(err, r, "cannot wait on the listening socket %d", router->listen_fd);
	timer_init(&router->sweep, router->loop, on_sweep);
	timer_set(&router->sweep, SWEEP_MS);
	signal_start(&router->terminate, router->loop, SIGTERM, on_terminate);
	log_info("serving http=%s clients_max=%u", platform->http, router->clients_max);
	return 0;
}

// Each client may need a connection to an instance as well.
static uint32_t raise_file_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return CLIENTS_MAX;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	rlim_t for_clients =
		limit.rlim_cur > 2 * FILES_FOR_ITSELF ? (limit.rlim_cur - FILES_FOR_ITSELF) / 2 : FILES_FOR_ITSELF / 2;
	return for_clients < CLIENTS_MAX ? (uint32_t)for_clients : CLIENTS_MAX;
}

static int run(const char *data, int listen_fd)
{
	struct err err = { 0 };
	AUTO_PLATFORM struct platform platform = { 0 };
	struct limits limits;
	if (platform_load(data, &platform, &err) < 0 || limits_parse(getenv(LIMITS_VARIABLE), &limits, &err) < 0) {
		log_error("cannot start error=\"%s\" hint=\"%s\"", err.text, err.hint);
		return 1;
	}
	struct router *router = xcalloc(1, sizeof(*router));
	router->loop = loop_new();
	router->worker.limits = limits;
	router->listen_fd = listen_fd;
	router->clients_max = raise_file_limit();
	init_worker(router);
	int r = start(router, &platform, &err);
	if (r == 0)
		loop_run(router->loop);
	else
		log_error("cannot start error=\"%s\"", err.text);
	signal_stop(&router->terminate);
	timer_clear(&router->sweep);
	poll_stop(&router->listener);
	routes_stop(router->routes);
	clear_worker(&router->worker);
	loop_free(router->loop);
	free(router);
	return r == 0 ? 0 : 1;
}

int router_main(int argc, char **argv)
{
	log_init("router");
	const char *fd_text = getenv("DIALTONE_LISTEN_FD");
	uint64_t fd;
	if (argc != 4 || !str_eq(argv[2], "--data") || !fd_text || parse_u64(fd_text, 1000, &fd) < 0) {
		fputs("error: the router is started by the keeper: dialtone router --data DIR, with a listening "
		      "socket\n",
		      stderr);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	return run(argv[3], (int)fd);
}
