// Why wait a second for an answer that cannot come any more? While the oldest sending goes unanswered, the member is
// asked for its status, which it gives by itself alone: no answer means that it hangs; a new term means that a leader
// was lost, and with it probably what had been sent to it. Either way what is on its way is sent again at once.
#include "base/clock.h"
#include "store/etcd/private.h"

enum { PATIENCE_MS = 250, STATUS_MS = 400 };

static void status_came(struct grpc_call *call, const ProtobufCMessage *message)
{
	struct etcd *e = grpc_arg(call);
	const Etcd__StatusResponse *status = CONTAINER_OF(message, Etcd__StatusResponse, base);
	snprintf(e->version, sizeof(e->version), "%.31s", status->version);
	if (status->raft_term > e->term && status->leader) {
		e->term = status->raft_term;
		etcd_writes_resend(e, e->pulse_member, e->term);
	}
}

static void status_ended(struct grpc_call *call, const struct grpc_end *end)
{
	struct etcd *e = grpc_arg(call);
	e->pulse = NULL;
	if (end->end != HTTP2_EXPIRED)
		return;
	etcd_member_failed(e, e->pulse_member, true, "it does not even say how it is");
	etcd_writes_resend(e, e->pulse_member, UINT64_MAX);
}

static void ask(struct etcd *e, uint64_t now_ms)
{
	Etcd__StatusRequest request = ETCD__STATUS_REQUEST__INIT;
	e->pulse_ms = now_ms;
	e->pulse_member = e->current;
	e->pulse = etcd_call(e, &(struct grpc_spec){
					.path = "/etcdserverpb.Maintenance/Status",
					.first = &request.base,
					.answer = &etcd__status_response__descriptor,
					.timeout_ms = STATUS_MS,
					.on_message = status_came,
					.on_end = status_ended,
					.arg = e,
				});
}

void etcd_pulse_tick(struct etcd *e, uint64_t now_ms)
{
	if (e->pulse || e->closing || now_ms - e->pulse_ms < PATIENCE_MS || !e->synced)
		return;
	uint64_t oldest = etcd_writes_oldest(e);
	bool impatient = oldest && now_ms - oldest >= PATIENCE_MS;
	if (impatient || !*e->version)
		ask(e, now_ms);
}

void etcd_pulse_clear(struct etcd *e)
{
	if (e->pulse)
		grpc_cancel(e->pulse);
	e->pulse = NULL;
}
