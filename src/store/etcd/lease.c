// Leases of keys that are held (store/hold.h): granted, kept alive on one stream for all, given back. Our own deadline
// counts from the moment the last answered keep-alive was sent, so it is over before etcd's is, whoever was slow.
#include "base/clock.h"
#include "store/etcd/private.h"

#include <assert.h>

enum { AGAIN_MS = 200 };

static uint64_t deadline(const struct store_hold *hold, uint64_t sent_ms)
{
	return sent_ms + hold->ttl_ms * 2 / 3;
}

// ---- granting

static void granted(struct grpc_call *call, const ProtobufCMessage *message)
{
	struct store_hold *hold = grpc_arg(call);
	const Etcd__LeaseGrantResponse *response = CONTAINER_OF(message, Etcd__LeaseGrantResponse, base);
	grpc_cancel(TAKE_PTR(hold->granting));
	hold->lease = (uint64_t)response->id;
	hold->until_ms = deadline(hold, hold->granting_ms);
	hold->granting_ms = hold->asked_ms = 0;
	task_wake(&hold->look);
}

static void not_granted(struct grpc_call *call, const struct grpc_end *end)
{
	struct store_hold *hold = grpc_arg(call);
	struct etcd *e = etcd_of(hold->store);
	hold->granting = NULL;
	hold->granting_ms = 0;
	hold->after_ms = boottime_ms() + etcd_jitter(e, AGAIN_MS);
	if (end->end == HTTP2_EXPIRED)
		etcd_member_failed(e, e->current, true, end->text);
}

static void grant(struct etcd *e, struct store_hold *hold)
{
	Etcd__LeaseGrantRequest request = ETCD__LEASE_GRANT_REQUEST__INIT;
	request.ttl = (int64_t)((hold->ttl_ms + 999) / 1000);
	hold->granting = etcd_call(e, &(struct grpc_spec){
					      .path = "/etcdserverpb.Lease/LeaseGrant",
					      .first = &request.base,
					      .answer = &etcd__lease_grant_response__descriptor,
					      .timeout_ms = ATTEMPT_MS,
					      .on_message = granted,
					      .on_end = not_granted,
					      .arg = hold,
				      });
	hold->granting_ms = hold->granting ? boottime_ms() : 0;
}

bool etcd_lease(struct store *store, struct store_hold *hold)
{
	struct etcd *e = etcd_of(store);
	if (list_empty(&hold->link))
		list_append(&e->leases, &hold->link);
	if (hold->lease)
		return boottime_ms() < hold->until_ms;
	if (!hold->granting && boottime_ms() >= hold->after_ms && !e->closing)
		grant(e, hold);
	return false;
}

// ---- giving back

static void revoked(UNUSED struct grpc_call *call, UNUSED const struct grpc_end *end)
{
}

void etcd_lease_end(struct store *store, struct store_hold *hold)
{
	struct etcd *e = etcd_of(store);
	list_remove(&hold->link);
	if (hold->granting)
		grpc_cancel(TAKE_PTR(hold->granting));
	hold->granting_ms = hold->asked_ms = 0;
	if (!hold->lease)
		return;
	Etcd__LeaseRevokeRequest request = ETCD__LEASE_REVOKE_REQUEST__INIT;
	request.id = (int64_t)hold->lease;
	hold->lease = 0;
	// Should this get lost, the lease runs out by itself.
	etcd_call(e, &(struct grpc_spec){
			     .path = "/etcdserverpb.Lease/LeaseRevoke",
			     .first = &request.base,
			     .answer = &etcd__lease_revoke_response__descriptor,
			     .timeout_ms = ATTEMPT_MS,
			     .on_end = revoked,
		     });
}

// ---- keeping alive

static struct store_hold *find_lease(struct etcd *e, uint64_t id)
{
	struct store_hold *hold;
	LIST_EACH(hold, &e->leases, link) {
		if (hold->lease == id)
			return hold;
	}
	return NULL;
}

// The lease has run out, or may have.
static void lose(struct etcd *e, struct store_hold *hold)
{
	etcd_lease_end(&e->store, hold);
	hold_lost(hold);
}

static void renewed(struct grpc_call *call, const ProtobufCMessage *message)
{
	struct etcd *e = grpc_arg(call);
	const Etcd__LeaseKeepAliveResponse *response = CONTAINER_OF(message, Etcd__LeaseKeepAliveResponse, base);
	struct store_hold *hold = find_lease(e, (uint64_t)response->id);
	if (!hold || !hold->asked_ms)
		return;
	if (response->ttl <= 0) {
		lose(e, hold);
		return;
	}
	hold->until_ms = deadline(hold, hold->asked_ms);
	hold->asked_ms = 0;
}

static void forget_questions(struct etcd *e)
{
	struct store_hold *hold;
	LIST_EACH(hold, &e->leases, link)
		hold->asked_ms = 0;
}

static void keepalive_ended(struct grpc_call *call, const struct grpc_end *end)
{
	struct etcd *e = grpc_arg(call);
	e->keepalive = NULL;
	forget_questions(e);
	etcd_member_failed(e, e->keepalive_member, false, end->text);
}

static void open_keepalive(struct etcd *e)
{
	e->keepalive_member = e->current;
	e->keepalive = etcd_call(e, &(struct grpc_spec){
					    .path = "/etcdserverpb.Lease/LeaseKeepAlive",
					    .answer = &etcd__lease_keep_alive_response__descriptor,
					    .stream = true,
					    .on_message = renewed,
					    .on_end = keepalive_ended,
					    .arg = e,
				    });
}

static void renew(struct etcd *e, struct store_hold *hold, uint64_t now)
{
	Etcd__LeaseKeepAliveRequest request = ETCD__LEASE_KEEP_ALIVE_REQUEST__INIT;
	if (!e->keepalive)
		open_keepalive(e);
	if (!e->keepalive)
		return;
	request.id = (int64_t)hold->lease;
	if (grpc_send(e->keepalive, &request.base) == 0)
		hold->asked_ms = now;
}

static void look_at_lease(struct etcd *e, struct store_hold *hold, uint64_t now)
{
	if (!hold->lease) {
		if (!hold->granting && now >= hold->after_ms)
			task_wake(&hold->look);
		return;
	}
	if (now >= hold->until_ms) {
		lose(e, hold);
		return;
	}
	uint64_t renewed_ms = hold->until_ms - hold->ttl_ms * 2 / 3;
	if (hold->asked_ms && now - hold->asked_ms > ATTEMPT_MS) {
		grpc_cancel(TAKE_PTR(e->keepalive));
		forget_questions(e);
		etcd_member_failed(e, e->keepalive_member, true, "no answer to a keep-alive");
	}
	if (!hold->asked_ms && now - renewed_ms >= hold->ttl_ms / 6)
		renew(e, hold, now);
}

void etcd_leases_tick(struct etcd *e, UNUSED uint64_t now_ms)
{
	struct store_hold *hold;
	uint64_t now = boottime_ms();
	LIST_EACH(hold, &e->leases, link)
		look_at_lease(e, hold, now);
}

void etcd_leases_step(struct etcd *e)
{
	if (!e->keepalive || e->keepalive_member == e->current)
		return;
	grpc_cancel(TAKE_PTR(e->keepalive)); // that member is out of favour
	forget_questions(e);
}

void etcd_leases_clear(struct etcd *e)
{
	assert(list_empty(&e->leases)); // holds are stopped before the store is closed
	if (e->keepalive)
		grpc_cancel(TAKE_PTR(e->keepalive));
}
