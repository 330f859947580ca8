// What each member says of itself, for people. Members that are not in use are connected to for it.
#include "base/clock.h"
#include "base/str.h"
#include "store/etcd/private.h"

#include <assert.h>

struct asked {
	struct survey *survey;
	struct grpc_call *call;
	bool tried; // a connection was made for it
	bool over;
	char version[32], errors[200];
	struct store_member said;
};

struct survey {
	struct list link;
	struct etcd *e;
	uint64_t until_ms;
	void (*done)(void *arg, const struct store_member *members, size_t n);
	void *arg;
	struct asked asked[];
};

static void came(struct grpc_call *call, const ProtobufCMessage *message)
{
	struct asked *a = grpc_arg(call);
	const Etcd__StatusResponse *s = CONTAINER_OF(message, Etcd__StatusResponse, base);
	snprintf(a->version, sizeof(a->version), "%.31s", s->version);
	size_t n = 0;
	for (size_t i = 0; i < s->n_errors && n < sizeof(a->errors); i++)
		n += (size_t)snprintf(a->errors + n, sizeof(a->errors) - n, "%s%s", n ? "; " : "", s->errors[i]);
	a->said.answers = true;
	a->said.version = a->version;
	a->said.alarms = a->errors;
	a->said.leads = s->header && s->leader == s->header->member_id;
	a->said.bytes = (uint64_t)s->db_size;
	a->said.used_bytes = (uint64_t)s->db_size_in_use;
}

static void ended(struct grpc_call *call, const struct grpc_end *end)
{
	struct asked *a = grpc_arg(call);
	a->call = NULL;
	a->over = true;
	if (!a->said.answers)
		snprintf(a->errors, sizeof(a->errors), "%s", end->text);
	task_wake(&a->survey->e->task);
}

static void ask(struct etcd *e, size_t i, struct asked *a)
{
	Etcd__StatusRequest request = ETCD__STATUS_REQUEST__INIT;
	if (a->tried && !e->members[i].client) {
		snprintf(a->errors, sizeof(a->errors), "no connection");
		a->over = true;
		return;
	}
	a->tried = true;
	a->call = etcd_call_on(e, i,
			       &(struct grpc_spec){ .path = "/etcdserverpb.Maintenance/Status",
						    .first = &request.base,
						    .answer = &etcd__status_response__descriptor,
						    .timeout_ms = ATTEMPT_MS,
						    .on_message = came,
						    .on_end = ended,
						    .arg = a });
}

static void finish(struct survey *s)
{
	size_t n = s->e->n_members;
	struct store_member *members = xcalloc(n, sizeof(*members));
	for (size_t i = 0; i < n; i++) {
		struct asked *a = &s->asked[i];
		if (a->call)
			grpc_cancel(a->call);
		members[i] = a->said;
		members[i].address = s->e->members[i].name;
		members[i].in_use = i == s->e->current;
		members[i].version = a->version;
		members[i].alarms = a->errors;
		if (!a->said.answers && !*a->errors)
			members[i].alarms = "no answer";
	}
	list_remove(&s->link);
	s->done(s->arg, members, n);
	free(members);
	free(s);
}

static bool over(struct survey *s)
{
	bool all = true;
	for (size_t i = 0; i < s->e->n_members; i++) {
		struct asked *a = &s->asked[i];
		if (!a->over && !a->call)
			ask(s->e, i, a);
		all = all && a->over;
	}
	return all || monotonic_ms() >= s->until_ms || s->e->closing;
}

void etcd_surveys_step(struct etcd *e)
{
	for (struct list *at = e->surveys.next, *next; at != &e->surveys; at = next) {
		struct survey *s = LIST_ENTRY(at, struct survey, link);
		next = at->next;
		if (over(s))
			finish(s);
	}
}

void store_etcd_members(struct store *store, unsigned timeout_ms,
			void (*done)(void *arg, const struct store_member *members, size_t n), void *arg)
{
	assert(store_is_shared(store));
	struct etcd *e = etcd_of(store);
	struct survey *s = xcalloc(1, sizeof(*s) + e->n_members * sizeof(s->asked[0]));
	*s = (struct survey){ .e = e, .until_ms = monotonic_ms() + timeout_ms, .done = done, .arg = arg };
	for (size_t i = 0; i < e->n_members; i++)
		s->asked[i].survey = s;
	list_init(&s->link);
	list_append(&e->surveys, &s->link);
	timer_set(&e->tick, 0);
}

const char *store_etcd_faults(const char *version)
{
	unsigned major = 0, minor = 0, patch = 0;
	if (sscanf(version, "%u.%u.%u", &major, &minor, &patch) != 3)
		return NULL;
	if (major < 3 || (major == 3 && minor < 4) || (major == 3 && minor == 4 && patch < 23))
		return "is older than the oldest that is supported, 3.4.23";
	if (major == 3 && minor == 4)
		return "loses or doubles watch events around compaction, answers stale reads after a pause and lets a "
		       "former leader revoke leases; this is guarded against, at the price of more work";
	if (major == 3 && minor == 5 && patch < 3)
		return "may come to hold different data on different members after a crash";
	if (major == 3 && minor == 5 && patch < 18)
		return "may lose watch events around compaction; this is guarded against";
	return NULL;
}
