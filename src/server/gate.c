#include "server/gate.h"

#include "server/core.h"

enum { DRAIN_DEFAULT_MS = 30000 };

static uint32_t drain_ms(struct server *server, const struct placement_entry *p)
{
	const struct release *release = replica_release(&server->replica, p->app, p->record.release);
	const struct process *process = release ? spec_process(&release->spec, p->record.process) : NULL;
	return process ? process->drain_ms : DRAIN_DEFAULT_MS;
}

// Only what is or was ready can have requests in flight.
static bool may_serve(const struct placement_entry *p)
{
	return p->unknown || p->actual.state == INSTANCE_READY || p->actual.state == INSTANCE_UNREADY;
}

void gate_step(struct server *server, struct placement_entry *p, uint64_t *ret_wait_ms)
{
	struct gate *gate = &p->gate;
	if (p->record.want != WANT_STOP || gate->open)
		return;
	uint64_t now = loop_now_ms(server->loop);
	if (!gate->since_ms)
		gate->since_ms = now;
	if (!gate->version && server->routers.published && !server->control.routes_dirty)
		gate->version = server->routers.version;
	uint64_t until = gate->since_ms + drain_ms(server, p);
	gate->open = !may_serve(p) || now >= until ||
		     (gate->version && routers_let_go(server, p->record.instance, gate->version));
	bool unrouted = gate->open || (gate->version && routers_serve(server, gate->version));
	if (unrouted && !gate->unrouted)
		app_mark(&server->replica, p->app);
	gate->unrouted = unrouted;
	if (gate->open) {
		p->node->link.dirty = true;
		return;
	}
	if (until - now < *ret_wait_ms)
		*ret_wait_ms = until - now;
}

enum want gate_want(const struct placement_entry *p)
{
	return p->record.want == WANT_STOP && p->gate.open ? WANT_STOP : WANT_RUN;
}
