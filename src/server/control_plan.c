// Compares, and carries out what differs.
#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "base/str.h"
#include "server/app_state.h"
#include "server/control_private.h"
#include "server/events.h"
#include "server/release.h"
#include "server/snapshot.h"

enum { BATCH_OPS = 90, RETRY_MS = 1000 };

// ---- what the plan says, kept for answers

static char *room_text(const struct plan_refusal *refusal)
{
	const char *text = plan_refusal_text(refusal->reason);
	switch (refusal->reason) {
	case REFUSED_MEMORY:
	case REFUSED_DISK:
		return xasprintf("%s: %llu MiB needed, %llu MiB left", text,
				 (unsigned long long)(refusal->needed >> 20),
				 (unsigned long long)(refusal->left >> 20));
	case REFUSED_CPU:
	case REFUSED_FULL:
		return xasprintf("%s: %llu needed, %llu left", text, (unsigned long long)refusal->needed,
				 (unsigned long long)refusal->left);
	default:
		return xstrdup(text);
	}
}

static void note_unplaced(const struct snapshot *s, const struct plan *plan, const struct plan_unplaced *unplaced,
			  struct process_plan *ret)
{
	AUTO_BUF struct buf detail = BUF_INIT(8192);
	buf_addf(&detail, "%s: %u more find no node", snapshot_process_name(s, unplaced->process), unplaced->count);
	if (!unplaced->refusal_count)
		buf_add_str(&detail, " (there is none)");
	ret->refusals = xcalloc(unplaced->refusal_count + 1, sizeof(*ret->refusals));
	for (uint32_t i = 0; i < unplaced->refusal_count; i++) {
		const struct plan_refusal *refusal = &plan->refusals[unplaced->first_refusal + i];
		struct refusal *kept = &ret->refusals[ret->refusal_count++];
		kept->node = xstrdup(s->node_entries[refusal->node]->name);
		kept->text = room_text(refusal);
		buf_addf(&detail, "%s %s: %s", i ? ";" : " –", kept->node, kept->text);
	}
	ret->detail = buf_take(&detail);
}

static const struct plan_unplaced *find_unplaced(const struct plan *plan, uint32_t process)
{
	for (uint32_t i = 0; i < plan->unplaced_count; i++)
		if (plan->unplaced[i].process == process)
			return &plan->unplaced[i];
	return NULL;
}

static void note_process(const struct snapshot *s, const struct plan *plan, uint32_t process, struct process_plan *ret)
{
	ret->status = plan->statuses[process];
	const struct plan_unplaced *unplaced = find_unplaced(plan, process);
	if (unplaced)
		note_unplaced(s, plan, unplaced, ret);
	if (ret->status.rollout == ROLLOUT_FAILED && ret->status.failing != PLAN_NONE) {
		free(ret->detail);
		ret->detail = instance_cause(s->placement_entries[ret->status.failing]);
	}
}

static bool same_plans(const struct app_entry *app, const struct process_plan *plans, uint32_t count)
{
	if (app->plan_count != count)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		struct plan_status a = app->plans[i].status, b = plans[i].status;
		a.failing = b.failing = 0; // a place in arrays that are gone
		if (memcmp(&a, &b, sizeof(a)) != 0 || !str_eq(app->plans[i].detail, plans[i].detail))
			return false;
	}
	return true;
}

static void announce(struct server *server, struct app_entry *app)
{
	enum rollout rollout = app_planned_rollout(app);
	if (!app->announced_known || rollout == app->announced) {
		app->announced_known = true;
		app->announced = rollout;
		return;
	}
	enum rollout before = app->announced;
	app->announced = rollout;
	if (!server_leads(server))
		return;
	AUTO_FREE char *detail = app_detail(app);
	AUTO_FREE char *message = NULL;
	const char *type = "ready";
	if (rollout == ROLLOUT_DONE && before != ROLLOUT_STOPPED)
		message = xasprintf("release %u serves as wanted", app->app.release);
	else if (rollout == ROLLOUT_FAILED || rollout == ROLLOUT_NO_ROOM) {
		type = rollout == ROLLOUT_FAILED ? "failing" : "no_room";
		message = xasprintf("release %u: %s", app->app.release, detail);
	}
	if (!message)
		return;
	struct event event = { .type = (char *)type, .message = message, .release = app->app.release };
	event_add(server, app, &event);
}

static void note_app(struct server *server, const struct snapshot *s, const struct plan *plan, uint32_t index)
{
	struct app_entry *app = s->app_entries[index];
	const struct plan_app *in = &s->apps[index];
	struct process_plan *plans = xcalloc(in->process_count + 1, sizeof(*plans));
	for (uint32_t i = 0; i < in->process_count; i++)
		note_process(s, plan, in->first_process + i, &plans[i]);
	bool same = app_is_planned(app) && same_plans(app, plans, in->process_count);
	process_plans_free(app->plans, app->plan_count);
	app->plans = plans;
	app->plan_count = in->process_count;
	app->planned_revision = app->revision;
	if (app_planned_rollout(app) == ROLLOUT_DONE && app_state(app) != APP_FAILING && server_leads(server))
		release_note_up(server, app);
	if (same)
		return;
	server->control.routes_dirty = true;
	announce(server, app);
	if (!list_empty(&app->watches) && list_empty(&app->changed))
		list_append(&server->replica.changed_apps, &app->changed);
}

// ---- what it does

static void acted(void *arg, const struct store_answer *answer)
{
	struct server *server = arg;
	struct control *control = &server->control;
	replica_catch_up(&server->replica);
	control->in_flight--;
	if (answer->result == STORE_FENCED || answer->result == STORE_LEASE_LOST) {
		log_warn("actions not written: another server decides result=\"%s\"", store_result_name(answer->result));
	} else if (answer->result != STORE_OK && answer->result != STORE_CONFLICT) {
		log_error("actions not written reason=\"%s\"", answer->reason);
		control->not_before_ms = loop_now_ms(server->loop) + RETRY_MS;
	}
	control_wake(server, CONTROL_ROUTES);
}

static void commit(struct server *server, struct store_txn **txn)
{
	if (store_txn_ops(*txn)) {
		server->control.in_flight++;
		server_commit_leading(server, TAKE_PTR(*txn), acted, server);
	} else {
		store_txn_free(*txn);
	}
	*txn = store_txn_new();
}

static void put_placement(struct store_txn *txn, const struct placement *record, uint64_t revision)
{
	AUTO_FREE char *key = xasprintf("v1/placements/%s/%s", record->node, record->instance);
	AUTO_FREE char *text = placement_text(record);
	store_txn_if_revision(txn, key, revision);
	store_txn_put(txn, key, text, strlen(text));
}

static void place(const struct snapshot *s, const struct plan_action *action, struct store_txn *txn)
{
	const struct app_entry *app = s->app_entries[action->app];
	char id[UID_SIZE];
	uid_new(id);
	struct placement record = {
		.instance = id,
		.node = s->node_entries[action->node]->name,
		.tenant = app->app.tenant,
		.environment = app->app.environment,
		.app = app->app.name,
		.app_uid = app->app.uid,
		.process = (char *)snapshot_process_name(s, action->process),
		.index = action->index,
		.release = action->release,
		.restart = action->restart,
		.generation = 1,
		.moves = action->moves,
		.want = WANT_RUN,
		.reason = (char *)plan_reason_text(action->reason),
		.created_ms = s->input.now_ms,
	};
	if (action->placement != PLAN_NONE)
		record.replaces = s->placement_entries[action->placement]->record.instance;
	put_placement(txn, &record, 0);
}

static void stop(const struct snapshot *s, const struct plan_action *action, struct store_txn *txn)
{
	const struct placement_entry *p = s->placement_entries[action->placement];
	struct placement record = p->record; // borrows
	record.want = WANT_STOP;
	record.generation++;
	record.stop_ms = s->input.now_ms;
	record.reason = (char *)plan_reason_text(action->reason);
	put_placement(txn, &record, p->revision);
}

static void remove_placement(const struct snapshot *s, const struct plan_action *action, struct store_txn *txn)
{
	const struct placement_entry *p = s->placement_entries[action->placement];
	AUTO_FREE char *key = xasprintf("v1/placements/%s/%s", p->node->name, p->record.instance);
	store_txn_if_revision(txn, key, p->revision);
	store_txn_delete(txn, key);
}

static void set_node(const struct snapshot *s, const struct plan_action *action, struct store_txn *txn)
{
	const struct node_entry *node = s->node_entries[action->node];
	struct node record = node->node; // borrows
	record.state = action->state;
	record.since_ms = s->input.now_ms;
	AUTO_FREE char *key = xasprintf("v1/nodes/%s", node->name);
	AUTO_FREE char *text = node_text(&record);
	store_txn_if_revision(txn, key, node->revision);
	store_txn_put(txn, key, text, strlen(text));
	log_warn("node state node=%s state=%s reason=\"%s\"", node->name, action->state == NODE_LOST ? "lost" : "ready",
		 plan_reason_text(action->reason));
}

static void act(const struct snapshot *s, const struct plan_action *action, struct store_txn *txn)
{
	switch (action->verb) {
	case PLAN_PLACE:
		place(s, action, txn);
		break;
	case PLAN_STOP:
		stop(s, action, txn);
		break;
	case PLAN_REMOVE:
		remove_placement(s, action, txn);
		break;
	case PLAN_NODE:
		set_node(s, action, txn);
		break;
	}
}

// The app and process an action is about; false when it is about none that still exists.
static bool subject(const struct snapshot *s, const struct plan_action *action, struct app_entry **app,
		    const char **process)
{
	if (action->verb == PLAN_PLACE) {
		*app = s->app_entries[action->app];
		*process = snapshot_process_name(s, action->process);
		return true;
	}
	if (action->verb != PLAN_STOP)
		return false;
	const struct placement_entry *p = s->placement_entries[action->placement];
	*app = p->app;
	*process = p->record.process;
	return placement_is_of(p, p->app);
}

// How many actions from here on are the same thing done to the same process.
static uint32_t group_size(const struct snapshot *s, const struct plan *plan, uint32_t from)
{
	struct app_entry *app, *other;
	const char *process, *other_process;
	const struct plan_action *first = &plan->actions[from];
	if (!subject(s, first, &app, &process))
		return 1;
	uint32_t n = 1;
	for (; from + n < plan->action_count; n++) {
		const struct plan_action *action = &plan->actions[from + n];
		if (action->verb != first->verb || action->reason != first->reason ||
		    !subject(s, action, &other, &other_process) || other != app || !str_eq(process, other_process))
			break;
	}
	return n;
}

// One event for the group, and the condition that its app is still what the plan was made from.
static void begin_group(struct server *server, const struct snapshot *s, const struct plan_action *first, uint32_t n,
			struct store_txn *txn)
{
	struct app_entry *app;
	const char *process;
	if (!subject(s, first, &app, &process))
		return;
	bool places = first->verb == PLAN_PLACE;
	AUTO_FREE char *message = xasprintf("%s: %u instance%s %s (%s)", process, n, n == 1 ? "" : "s",
					    places ? "placed" : "to be stopped", plan_reason_text(first->reason));
	struct event event = { .type = (char *)(places ? "placed" : "stopping"),
			       .message = message,
			       .process = (char *)process,
			       .release = places ? first->release : 0 };
	event_put(server, txn, app, &event);
}

static void if_app_unchanged(const struct snapshot *s, const struct plan_action *action, struct store_txn *txn)
{
	if (action->verb != PLAN_PLACE)
		return;
	const struct app_entry *app = s->app_entries[action->app];
	AUTO_FREE char *key = xasprintf("v1/apps/%s", app->key);
	store_txn_if_revision(txn, key, app->revision);
}

static void carry_out(struct server *server, const struct snapshot *s, const struct plan *plan)
{
	AUTO_STORE_TXN struct store_txn *txn = store_txn_new();
	for (uint32_t i = 0; i < plan->action_count;) {
		uint32_t n = group_size(s, plan, i);
		begin_group(server, s, &plan->actions[i], n, txn);
		if_app_unchanged(s, &plan->actions[i], txn);
		for (uint32_t end = i + n; i < end; i++) {
			act(s, &plan->actions[i], txn);
			if (store_txn_ops(txn) < BATCH_OPS || i + 1 == end)
				continue;
			commit(server, &txn);
			if_app_unchanged(s, &plan->actions[i], txn);
		}
		if (store_txn_ops(txn) >= BATCH_OPS / 2)
			commit(server, &txn);
	}
	commit(server, &txn);
}

void control_plan(struct server *server)
{
	struct control *control = &server->control;
	if (control->in_flight || loop_now_ms(server->loop) < control->not_before_ms)
		return;
	struct snapshot snapshot;
	struct plan plan;
	snapshot_make(server, &snapshot);
	plan_make(&snapshot.input, &plan);
	for (uint32_t i = 0; i < snapshot.input.app_count; i++)
		note_app(server, &snapshot, &plan, i);
	if (server_leads(server))
		carry_out(server, &snapshot, &plan);
	plan_clear(&plan);
	snapshot_clear(&snapshot);
}

// ---- what deleted apps left

static void collected(void *arg, const struct store_answer *answer)
{
	struct server *server = arg;
	server->control.collecting = false;
	if (answer->result != STORE_OK)
		server->control.not_before_ms = loop_now_ms(server->loop) + RETRY_MS;
	control_wake(server, 0);
}

static void add_leftovers(struct server *server, const struct app_entry *app, const char *kind, struct store_txn *txn)
{
	AUTO_FREE char *prefix = xasprintf("v1/%s/%s/", kind, app->key);
	const struct record *r = NULL;
	while (store_txn_ops(txn) < BATCH_OPS && (r = store_next(server->store, prefix, r ? record_key(r) : NULL)))
		if (!app->exists || r->create_revision < app->created_revision)
			store_txn_delete(txn, record_key(r));
}

static bool has_foreign_placements(const struct app_entry *app)
{
	struct placement_entry *p;
	LIST_EACH(p, &app->placements, of_app)
		if (!placement_is_of(p, app))
			return true;
	return false;
}

// Releases stay as long as an instance of the deleted app does: its agent is told from them how to stop it.
static struct app_entry *find_leftover(struct server *server)
{
	size_t at = 0;
	void *value;
	while (map_next(&server->replica.apps, &at, NULL, &value)) {
		struct app_entry *app = value;
		if (app->leftover && !has_foreign_placements(app))
			return app;
	}
	return NULL;
}

void control_collect(struct server *server)
{
	struct control *control = &server->control;
	if (control->collecting || loop_now_ms(server->loop) < control->not_before_ms)
		return;
	struct app_entry *app;
	while ((app = find_leftover(server))) {
		struct store_txn *txn = store_txn_new();
		add_leftovers(server, app, "releases", txn);
		add_leftovers(server, app, "events", txn);
		if (store_txn_ops(txn) && server_leads(server)) {
			control->collecting = true;
			server_commit_leading(server, txn, collected, server);
			return;
		}
		if (store_txn_ops(txn)) {
			store_txn_free(txn);
			return; // the one that decides removes it
		}
		store_txn_free(txn);
		app->leftover = false;
		app_entry_settle(&server->replica, app);
	}
}
