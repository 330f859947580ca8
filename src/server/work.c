#include "server/work.h"

#include "base/str.h"
#include "server/core.h"

struct work {
	struct server *server;
	void (*work)(void *arg);
	void (*done)(void *arg);
	void *arg;
};

static void do_it(void *arg)
{
	struct work *work = arg;
	work->work(work->arg);
}

static void did_it(void *arg)
{
	AUTO_FREE struct work *work = arg;
	struct server *server = work->server;
	work->done(work->arg);
	if (--server->working == 0 && server->freed)
		server_release(server);
}

void server_work(struct server *server, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
	struct work *w = xcalloc(1, sizeof(*w));
	*w = (struct work){ server, work, done, arg };
	server->working++;
	loop_work(server->loop, do_it, did_it, w);
}
