#include "server/app_state.h"

#include "base/buf.h"
#include "base/str.h"

#include <string.h>

bool app_is_planned(const struct app_entry *app)
{
	return app->planned_revision == app->revision;
}

enum rollout app_planned_rollout(const struct app_entry *app)
{
	static const uint8_t badness[] = {
		[ROLLOUT_STOPPED] = 0, [ROLLOUT_DONE] = 1,   [ROLLOUT_ROLLING] = 2,
		[ROLLOUT_NO_ROOM] = 3, [ROLLOUT_FAILED] = 4,
	};
	if (!app_is_planned(app))
		return ROLLOUT_ROLLING;
	enum rollout worst = ROLLOUT_STOPPED;
	for (uint32_t i = 0; i < app->plan_count; i++)
		if (badness[app->plans[i].status.rollout] > badness[worst])
			worst = app->plans[i].status.rollout;
	return worst;
}

// New requests may still reach what is to be stopped: a router has yet to go by the table without it.
static bool has_routed_leaver(const struct app_entry *app)
{
	const struct placement_entry *p;
	LIST_EACH(p, &app->placements, of_app)
		if (p->record.want == WANT_STOP && !p->gate.unrouted)
			return true;
	return false;
}

enum rollout app_rollout(const struct app_entry *app)
{
	enum rollout rollout = app_planned_rollout(app);
	return rollout == ROLLOUT_DONE && has_routed_leaver(app) ? ROLLOUT_ROLLING : rollout;
}

// Is not started again, by its restart policy.
static bool has_ended(const struct placement_entry *p)
{
	return p->record.want == WANT_RUN && p->heard && p->actual.state == INSTANCE_STOPPED && p->actual.exit;
}

static bool has_completed(const struct placement_entry *p)
{
	const struct exit_status *exit = p->actual.exit;
	return has_ended(p) && !exit->unknown && !exit->oom && !exit->signal && !exit->status;
}

static bool has_failed_for_good(const struct app_entry *app)
{
	const struct placement_entry *p;
	LIST_EACH(p, &app->placements, of_app)
		if (has_ended(p) && !has_completed(p) && !p->actual.exit->unknown)
			return true;
	return false;
}

// Something ended as it should, and nothing runs.
static bool is_completed(const struct app_entry *app)
{
	bool completed = false;
	const struct placement_entry *p;
	LIST_EACH(p, &app->placements, of_app) {
		if (p->record.want == WANT_RUN && p->heard && p->actual.state == INSTANCE_READY)
			return false;
		completed = completed || has_completed(p);
	}
	return completed;
}

bool app_has_become_unready(const struct app_entry *app)
{
	const struct placement_entry *p;
	LIST_EACH(p, &app->placements, of_app)
		if (p->record.want == WANT_RUN && p->record.release == app->app.release && p->heard &&
		    p->actual.state == INSTANCE_UNREADY && p->actual.message &&
		    str_starts(p->actual.message, INSTANCE_MESSAGE_HEALTH))
			return true;
	return false;
}

enum app_state app_state(const struct app_entry *app)
{
	if (app->app.stopped)
		return APP_STOPPED;
	switch (app_rollout(app)) {
	case ROLLOUT_FAILED:
	case ROLLOUT_NO_ROOM:
		return APP_FAILING;
	case ROLLOUT_ROLLING:
		break;
	case ROLLOUT_DONE:
	case ROLLOUT_STOPPED:
		return has_failed_for_good(app) ? APP_FAILING : is_completed(app) ? APP_COMPLETED : APP_RUNNING;
	}
	const struct placement_entry *p;
	LIST_EACH(p, &app->placements, of_app)
		if (p->heard && p->actual.state == INSTANCE_READY)
			return APP_UPDATING;
	return app_has_become_unready(app) ? APP_FAILING : APP_STARTING;
}

struct process_counts app_counts(const struct app_entry *app, const char *process)
{
	struct process_counts counts = {};
	const struct placement_entry *p;
	LIST_EACH(p, &app->placements, of_app) {
		if (!placement_is_of(p, app) || !str_eq(p->record.process, process) || !p->heard)
			continue;
		if (p->actual.state != INSTANCE_PENDING && p->actual.state != INSTANCE_STOPPED)
			counts.running++;
		if (p->record.want == WANT_RUN && p->actual.state == INSTANCE_READY)
			counts.ready++;
		counts.completed += p->record.release == app->app.release && has_completed(p);
	}
	return counts;
}

uint32_t app_old_release(const struct app_entry *app)
{
	uint32_t newest = 0;
	const struct placement_entry *p;
	LIST_EACH(p, &app->placements, of_app)
		if (placement_is_of(p, app) && p->record.release != app->app.release && p->record.release > newest)
			newest = p->record.release;
	return newest;
}

static void add_exit(struct buf *out, const struct exit_status *exit)
{
	if (exit->unknown)
		buf_add_str(out, "ended while nobody watched");
	else if (exit->oom)
		buf_add_str(out, "was killed: out of memory (its limit, or the machine's)");
	else if (exit->signal)
		buf_addf(out, "was ended by signal %u (%s)", exit->signal, strsignal((int)exit->signal));
	else if (exit->status > 128 && exit->status < 128 + 32) // as the init in the container passes it on
		buf_addf(out, "exited with status %u (signal %u, %s)", exit->status, exit->status - 128,
			 strsignal((int)exit->status - 128));
	else
		buf_addf(out, "exited with status %u", exit->status);
	if (exit->line_count && !str_empty(exit->lines[exit->line_count - 1]))
		buf_addf(out, "; last line: %.300s", exit->lines[exit->line_count - 1]);
}

char *instance_cause(const struct placement_entry *p)
{
	const struct instance_report *actual = &p->actual;
	AUTO_BUF struct buf out = BUF_INIT(4096);
	buf_addf(&out, "%s.%u ", p->record.process, p->record.index);
	if (p->unknown)
		buf_addf(&out, "waits for the agent on node '%s'", p->record.node);
	else if (actual->state == INSTANCE_FAILED)
		buf_addf(&out, "cannot be started: %.1000s", actual->message ? actual->message : "no reason given");
	else if (actual->exit && actual->state != INSTANCE_READY && !str_empty(actual->message))
		buf_addf(&out, "was stopped: %.1000s", actual->message); // by the agent, which says why
	else if (actual->exit && actual->state != INSTANCE_READY)
		add_exit(&out, actual->exit);
	else if (actual->probe && !actual->probe->ok && actual->state != INSTANCE_READY)
		buf_addf(&out, "is not ready: %.500s",
			 actual->probe->detail ? actual->probe->detail : "its probe fails");
	else if (actual->state == INSTANCE_BACKOFF)
		buf_add_str(&out, "waits to be restarted");
	else
		buf_addf(&out, "is %s%s%.500s", instance_state_name(actual->state), actual->message ? ": " : "",
			 actual->message ? actual->message : "");
	return buf_take(&out);
}

char *instance_loop(const struct placement_entry *p, uint64_t now_ms)
{
	enum { RECENT_MS = 60000 };
	const struct instance_report *actual = &p->actual;
	if (actual->restarts < 2 || !actual->exit || actual->exit->at_ms + RECENT_MS < now_ms)
		return NULL;
	AUTO_BUF struct buf out = BUF_INIT(4096);
	buf_addf(&out, "%s.%u does not stay up: %u restarts; it last ", p->record.process, p->record.index,
		 actual->restarts);
	add_exit(&out, actual->exit);
	return buf_take(&out);
}

static const char *process_name(const struct app_entry *app, uint32_t i)
{
	return i < app->app.spec.process_count ? app->app.spec.processes[i].name : "?";
}

static void add_progress(struct buf *out, const char *process, const struct plan_status *status)
{
	uint32_t surplus =
		status->current + status->old > status->wanted ? status->current + status->old - status->wanted : 0;
	if (status->rollout == ROLLOUT_STOPPED)
		buf_addf(out, "%s: scaled to 0", process);
	else if (status->current_ready < status->wanted)
		buf_addf(out, "%s: %u of %u ready", process, status->current_ready, status->wanted);
	else if (surplus || status->stopping)
		buf_addf(out, "%s: %u to be stopped", process, surplus + status->stopping);
	else
		buf_addf(out, "%s: almost done", process);
}

// A process that does not get on because of another one's instance has that one's cause: it is said once.
static bool is_said(const struct app_entry *app, uint32_t i)
{
	for (uint32_t k = 0; k < i; k++)
		if (app->plans[i].detail && app->plans[k].status.rollout == app->plans[i].status.rollout &&
		    str_eq(app->plans[k].detail, app->plans[i].detail))
			return true;
	return false;
}

char *app_detail(const struct app_entry *app)
{
	enum rollout rollout = app_planned_rollout(app);
	if (!app_is_planned(app))
		return xstrdup("about to begin");
	if (rollout != app_rollout(app))
		return xstrdup("the routers turn to it");
	AUTO_BUF struct buf out = BUF_INIT(16384);
	for (uint32_t i = 0; i < app->plan_count; i++) {
		const struct process_plan *plan = &app->plans[i];
		if (plan->status.rollout != rollout || is_said(app, i))
			continue;
		if (buf_len(&out))
			buf_add_str(&out, "; ");
		if (plan->detail)
			buf_add_str(&out, plan->detail);
		else
			add_progress(&out, process_name(app, i), &plan->status);
	}
	return buf_take(&out);
}
