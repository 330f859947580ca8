#include "server/passthrough.h"

#include "base/str.h"
#include "server/assignment.h"
#include "server/change.h"
#include "server/core.h"
#include "server/operate.h"
#include "server/release.h"

#include <errno.h>

// What was asked for, in the audit trail before it happens; then `go` on.
static void audited(struct request *rq, const char *object, const char *detail, void (*go)(struct request *rq))
{
	change_commit(rq, store_txn_new(), object, detail, go);
}

// ---- logs

// Also of an earlier release: what its instances wrote is kept for a while.
static bool process_was_there(struct request *rq, struct app_entry *app, const char *process)
{
	for (uint32_t number = app->app.release, n = 0; number && n < RELEASES_KEPT; number--, n++) {
		const struct release *release = replica_release(&rq->server->replica, app, number);
		if (release && spec_process(&release->spec, process))
			return true;
	}
	return false;
}

static bool named_process(struct request *rq, struct app_entry *app)
{
	AUTO_FREE char *process = request_query(rq, "process");
	if (!process || process_was_there(rq, app, process))
		return true;
	struct err err = {};
	no_process(&app->app, process, &err);
	reply_problem(rq, 404, "process", &err);
	return false;
}

void passthrough_logs(struct request *rq)
{
	struct app_entry *app = request_app(rq);
	if (!app || !named_process(rq, app))
		return;
	const char *query = http_exchange_request(rq->x)->query;
	const char *after = http_header_get(&http_exchange_request(rq->x)->headers, "last-event-id");
	// As the agent writes it; nothing that means something in a query.
	static const char of_id[] = "0123456789.~-_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	bool again = !str_empty(after) && strspn(after, of_id) == strlen(after);
	AUTO_FREE char *target = xasprintf("/logs?app_uid=%s%s%s%s%s", app->app.uid, again ? "&after=" : "",
					   again ? after : "", *query ? "&" : "", query);
	relay_start(rq, &(struct relay_spec){ .method = "GET", .target = target });
}

// ---- exec and run

// A command for the audit trail: its program. What follows may hold passwords, and the trail is kept for long.
static char *command_text(const struct request *rq)
{
	const struct exec_request *asked = rq->object;
	uint32_t more = asked->command_count - 1;
	return xasprintf("%.200s with %u argument%s", asked->command[0], more, more == 1 ? "" : "s");
}

static struct placement_entry *named_instance(struct request *rq, const struct app_entry *app)
{
	const char *id = request_param(rq, "instance");
	struct placement_entry *p = map_get(&rq->server->replica.placements, id);
	if (p && placement_is_of(p, app))
		return p;
	reply_problemf(rq, 404, "`dialtone ps` lists what there is", "app '%s' has no instance '%.64s'", app->app.name,
		       id);
	return NULL;
}

static void exec(struct request *rq)
{
	struct app_entry *app = request_app(rq);
	if (!app || !named_instance(rq, app))
		return;
	AUTO_FREE char *target = xasprintf("/instances/%s/exec", request_param(rq, "instance"));
	tunnel_start(rq, target, rq->body);
}

void passthrough_exec(struct request *rq)
{
	struct app_entry *app = request_app(rq);
	if (!app || !named_instance(rq, app))
		return;
	AUTO_FREE char *command = command_text(rq);
	AUTO_FREE char *detail = xasprintf("exec in %s: %s", request_param(rq, "instance"), command);
	AUTO_FREE char *key = xasprintf("v1/apps/%s", app->key);
	audited(rq, key, detail, exec);
}

static json_t *run_body(struct request *rq, struct app_entry *app, struct err *err)
{
	const struct exec_request *asked = rq->object;
	json_t *assignment;
	if (assignment_run(&rq->server->replica, app, asked->process, &assignment, err) < 0)
		return NULL;
	json_t *body = json_object();
	json_object_update(body, rq->body);
	json_object_del(body, "process");
	json_object_set_new(body, "assignment", assignment);
	return body;
}

static void run(struct request *rq)
{
	struct app_entry *app = request_app(rq);
	struct err err = {};
	AUTO_JSON json_t *body = app ? run_body(rq, app, &err) : NULL;
	if (body)
		tunnel_start(rq, "/runs", body);
	else if (app)
		reply_problem(rq, 409, "process", &err);
}

void passthrough_run(struct request *rq)
{
	struct app_entry *app = request_app(rq);
	if (!app)
		return;
	AUTO_FREE char *command = command_text(rq);
	AUTO_FREE char *detail = xasprintf("run: %s", command);
	AUTO_FREE char *key = xasprintf("v1/apps/%s", app->key);
	audited(rq, key, detail, run);
}
