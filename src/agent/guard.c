#include "agent/guard.h"

#include "agent/container/container.h"
#include "base/log.h"
#include "base/str.h"

#define LOOK_EVERY_MS 3000

struct guard {
	struct loop *loop;
	struct container_host *host;
	struct timer timer;
	struct err err;
	int result;
};

static void repair(void *arg)
{
	struct guard *guard = arg;
	guard->result = container_host_repair(guard->host, &guard->err);
}

static void repaired(void *arg)
{
	struct guard *guard = arg;
	if (guard->result > 0)
		log_warn("network rules were missing and are back: something else changed this machine's nftables or links");
	else if (guard->result < 0)
		log_error("network rules cannot be put back error=\"%s\"", guard->err.text);
	timer_set(&guard->timer, LOOK_EVERY_MS);
}

static void look(struct timer *timer)
{
	struct guard *guard = CONTAINER_OF(timer, struct guard, timer);
	loop_work(guard->loop, repair, repaired, guard);
}

void guard_start(struct loop *loop, struct container_host *host)
{
	struct guard *guard = xcalloc(1, sizeof(*guard));
	guard->loop = loop;
	guard->host = host;
	timer_init(&guard->timer, loop, look);
	timer_set(&guard->timer, LOOK_EVERY_MS);
}
