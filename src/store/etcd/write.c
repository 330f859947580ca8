// Transactions on their way. What has puts also leaves its mark in a slot, a reserved key of this store's own: it
// compares the slot's revision and puts its operation id there. So no sending of it can be applied after another one
// was, whoever delays it where; an earlier one that was applied is recognised by its mark; and a later one that does
// not apply takes the slot all the same ("burns" it), after which no earlier one can. Only what is over its time is
// unknown.
//
// "No space" is no proof that nothing was applied: the transaction that makes etcd go over its quota is applied, and
// answered with this error (apply.go, quotaApplierV3, in all versions so far). So the slot is looked at before it is
// passed on.
#include "store/etcd/write.h"
#include "base/clock.h"
#include "base/str.h"
#include "store/committer.h"
#include "store/etcd/lanes.h"
#include "store/etcd/private.h"

#include <assert.h>

static void settle(struct write *w, enum store_result result, const char *reason);

static uint64_t since(uint64_t then_ms)
{
	return monotonic_ms() - then_ms;
}

// ---- slots

static struct slot *slot_take(struct etcd *e)
{
	if (!list_empty(&e->slots)) {
		struct slot *slot = LIST_ENTRY(e->slots.next, struct slot, link);
		list_remove(&slot->link);
		return slot;
	}
	struct slot *slot = xcalloc(1, sizeof(*slot));
	list_init(&slot->link);
	slot->client = e->client;
	slot->number = e->next_slot++;
	return slot;
}

static void slot_give(struct write *w)
{
	struct slot *slot = TAKE_PTR(w->slot);
	if (!slot)
		return;
	if (w->slot_worn || w->in_doubt || slot->client != w->e->client)
		free(slot); // a sending of it may still come in; the key goes with the next compaction
	else
		list_prepend(&w->e->slots, &slot->link);
	w->slot_worn = false;
}

void etcd_forget_slots(struct etcd *e)
{
	while (!list_empty(&e->slots)) {
		struct slot *slot = LIST_ENTRY(e->slots.next, struct slot, link);
		list_remove(&slot->link);
		free(slot);
	}
	e->client = rng_next(&e->rng);
}

// ---- accepting

static void granted(struct lane_holder *holder)
{
	struct write *w = CONTAINER_OF(holder, struct write, holder);
	list_append(&w->e->ready, &w->link);
	task_wake(&w->e->task);
}

static struct write *write_new(struct etcd *e, struct store_txn *txn)
{
	struct write *w = xcalloc(1, sizeof(*w));
	w->e = e;
	w->txn = txn;
	w->holder.granted = granted;
	w->operation = e->next_operation++;
	w->epoch_mod = e->epoch_mod;
	list_init(&w->link);
	return w;
}

void etcd_commit(struct store *store, struct store_txn *txn)
{
	struct etcd *e = etcd_of(store);
	struct write *w = write_new(e, txn);
	if (e->closing) {
		settle(w, STORE_SHUTTING_DOWN, "the store is shutting down");
	} else if (store_txn_check(txn)) {
		settle(w, txn->broken, txn->broken_reason);
	} else if (e->n_waiting >= COMMITTER_WAITING || e->waiting_bytes + txn->bytes > COMMITTER_WAITING_BYTES) {
		settle(w, STORE_NOT_APPLIED, "too many transactions are waiting to be written; try again");
	} else {
		w->waits = true;
		e->n_waiting++;
		e->waiting_bytes += txn->bytes;
		if (lanes_enter(&e->lanes, &w->holder, txn))
			granted(&w->holder);
	}
	task_wake(&e->task);
}

void etcd_await(struct store *store, struct store_txn *txn, uint64_t revision)
{
	struct etcd *e = etcd_of(store);
	struct write *w = write_new(e, txn);
	w->operation = 0;
	txn->revision = revision;
	settle(w, e->closing ? STORE_SHUTTING_DOWN : STORE_OK, e->closing ? "the store is shutting down" : "");
	task_wake(&e->task);
}

// ---- answering

// The result is known; the answer waits until reads show it.
static void settle(struct write *w, enum store_result result, const char *reason)
{
	struct etcd *e = w->e;
	if (w->waits) {
		e->n_waiting--;
		e->waiting_bytes -= w->txn->bytes;
		w->waits = false;
	}
	list_remove(&w->link);
	list_append(&e->caught, &w->link);
	w->caught_ms = monotonic_ms();
	w->txn->result = result;
	w->txn->reason = reason;
	if (result != STORE_OK && result != STORE_CONFLICT && result != STORE_FENCED)
		w->txn->revision = 0;
	e->counts.unknown += result == STORE_UNKNOWN;
	e->counts.fenced += result == STORE_FENCED;
	e->transactions += result == STORE_OK && w->operation;
	if (result == STORE_OK || result == STORE_NO_SPACE)
		e->full = result == STORE_NO_SPACE;
	slot_give(w);
	lanes_leave(&e->lanes, &w->holder);
	task_wake(&e->task);
}

static void finish(struct write *w)
{
	struct store_txn *txn = w->txn;
	if (txn->found) { // the very record that reads show, where it is the same
		const struct record *r = store_get(&w->e->store, record_key(txn->found));
		if (r && r->mod_revision == txn->found->mod_revision) {
			record_unref(txn->found);
			txn->found = record_ref(r);
		}
	}
	list_remove(&w->link);
	free(w);
	store_txn_finish(txn);
}

// Who is told that it is done may read at once, and must see it. A conflict is one whatever reads show.
static void stop_waiting(struct write *w)
{
	struct store_txn *txn = w->txn;
	if (txn->result != STORE_OK)
		return;
	txn->result = w->operation && txn->n_ops ? STORE_UNKNOWN : STORE_NOT_APPLIED;
	txn->reason = !w->operation ? "that revision has not come; is this the same store?"
				    : "what etcd has committed did not come in time to be read here";
	txn->revision = 0;
	w->e->counts.unknown += txn->result == STORE_UNKNOWN;
}

static void finish_caught(struct etcd *e)
{
	struct list due;
	struct write *w;
	list_init(&due);
	LIST_EACH(w, &e->caught, link) {
		bool seen = w->txn->revision <= e->store.replica.revision;
		if (seen || e->closing || since(w->caught_ms) >= COMMIT_MS) {
			if (!seen && !e->closing)
				stop_waiting(w);
			list_remove(&w->link);
			list_append(&due, &w->link);
		}
	}
	while (!list_empty(&due))
		finish(LIST_ENTRY(due.next, struct write, link));
}

// ---- sending

static bool over_time(const struct write *w)
{
	return since(w->began_ms) >= COMMIT_MS;
}

static void conclude(struct write *w, const struct judgement *j)
{
	// What etcd refuses says nothing of earlier sendings; what it compared does. Unknown for good: never again,
	// then.
	bool compared = j->result == STORE_OK || j->result == STORE_CONFLICT || j->result == STORE_FENCED ||
			j->result == STORE_EPOCH_CHANGED || j->result == STORE_UNKNOWN;
	if (j->verdict == FINAL && (compared || !w->in_doubt)) {
		settle(w, j->result, j->reason);
		return;
	}
	w->in_doubt += j->verdict == IN_DOUBT;
	if (w->e->closing || over_time(w) || (w->plain && w->in_doubt)) {
		if (w->in_doubt)
			settle(w, STORE_UNKNOWN, "no answer came: it may or may not be applied, now or later");
		else
			settle(w, w->e->closing ? STORE_SHUTTING_DOWN : STORE_NOT_APPLIED,
			       "the store could not be reached; nothing was applied");
		return;
	}
	if (w->slot_worn || w->plain)
		slot_give(w);
	unsigned doublings = w->sent < 4 ? w->sent : 4;
	w->after_ms = monotonic_ms() + etcd_jitter(w->e, 15u << doublings);
	list_append(&w->e->resting, &w->link);
}

static void left_flight(struct write *w)
{
	list_remove(&w->link);
	w->call = NULL;
	w->e->n_flying--;
	w->e->flying_bytes -= w->txn->bytes;
	task_wake(&w->e->task);
}

static void answered(struct grpc_call *call, const ProtobufCMessage *message)
{
	struct write *w = grpc_arg(call);
	struct etcd *e = w->e;
	const Etcd__TxnResponse *response = CONTAINER_OF(message, Etcd__TxnResponse, base);
	struct judgement j = write_judge(w, response);
	if (response->header && response->header->raft_term > e->term)
		e->term = response->header->raft_term;
	grpc_cancel(call); // the answer is all there is
	left_flight(w);
	if (j.move)
		etcd_member_failed(e, w->member, false, "an answer that makes no sense");
	conclude(w, &j);
}

static void ended(struct grpc_call *call, const struct grpc_end *end)
{
	struct write *w = grpc_arg(call);
	struct judgement j = write_judge_failure(end);
	left_flight(w);
	if (j.move)
		etcd_member_failed(w->e, w->member, j.drop, end->text);
	if (w->asking) {
		j.verdict = NOT_DONE; // a question changes nothing; it is asked again
	} else if (j.verdict == FINAL && j.result == STORE_NO_SPACE && w->slot) {
		w->asking = true;
		j.verdict = IN_DOUBT;
	}
	conclude(w, &j);
}

static bool send_write(struct write *w)
{
	struct etcd *e = w->e;
	if (w->txn->n_ops && !w->slot && !w->plain)
		w->slot = slot_take(e);
	Etcd__TxnRequest *request = w->asking ? etcd_request_slot(w->slot)
					      : etcd_request(w->txn, w->slot, w->epoch_mod, w->operation, w->sent > 0);
	w->call = etcd_call(e, &(struct grpc_spec){
				       .path = "/etcdserverpb.KV/Txn",
				       .first = &request->base,
				       .answer = &etcd__txn_response__descriptor,
				       .timeout_ms = ATTEMPT_MS,
				       .on_message = answered,
				       .on_end = ended,
				       .arg = w,
			       });
	etcd_request_free(request);
	if (!w->call)
		return false;
	if (!w->began_ms)
		w->began_ms = monotonic_ms();
	e->counts.resent += w->sent > 0;
	w->sent++;
	w->sent_ms = monotonic_ms();
	w->term = e->term;
	w->member = e->current;
	e->n_flying++;
	e->flying_bytes += w->txn->bytes;
	list_append(&e->flying, &w->link);
	return true;
}

static void send_ready(struct etcd *e)
{
	while (!list_empty(&e->ready) && e->n_flying < FLYING_MAX && e->flying_bytes < FLYING_BYTES) {
		struct write *w = LIST_ENTRY(e->ready.next, struct write, link);
		list_remove(&w->link);
		if (send_write(w))
			continue;
		list_prepend(&e->ready, &w->link); // when there is a connection
		if (!w->began_ms)
			w->began_ms = monotonic_ms();
		if (!over_time(w))
			return;
		conclude(w, &(struct judgement){ NOT_DONE });
	}
}

uint64_t etcd_writes_oldest(const struct etcd *e)
{
	return list_empty(&e->flying) ? 0 : LIST_ENTRY(e->flying.next, struct write, link)->sent_ms;
}

void etcd_writes_resend(struct etcd *e, size_t member, uint64_t term)
{
	struct list due;
	struct write *w;
	list_init(&due);
	LIST_EACH(w, &e->flying, link) {
		if (w->member == member && w->term < term) {
			list_remove(&w->link);
			list_append(&due, &w->link);
		}
	}
	while (!list_empty(&due)) {
		w = LIST_ENTRY(due.next, struct write, link);
		grpc_cancel(w->call);
		left_flight(w);
		conclude(w, &(struct judgement){ w->asking ? NOT_DONE : IN_DOUBT });
	}
}

void etcd_writes_step(struct etcd *e)
{
	if (!e->closing)
		send_ready(e);
	finish_caught(e);
}

void etcd_writes_tick(struct etcd *e, uint64_t now)
{
	struct write *w;
	struct list due;
	list_init(&due);
	LIST_EACH(w, &e->resting, link) {
		if (w->after_ms <= now) {
			list_remove(&w->link);
			list_append(&due, &w->link);
		}
	}
	while (!list_empty(&due)) { // before what has never been sent
		struct list *last = due.prev;
		list_remove(last);
		list_prepend(&e->ready, last);
	}
	LIST_EACH(w, &e->caught, link) {
		if (w->operation && w->txn->revision > e->store.replica.revision && now - w->caught_ms > BEHIND_MS &&
		    e->sync.state == SYNC_WATCHING && now - e->sync.watching_ms > BEHIND_MS) {
			etcd_sync_again(e, false, "the watch does not deliver what was acknowledged");
			break;
		}
	}
}

static void refuse_list(struct list *list)
{
	while (!list_empty(list)) {
		struct write *w = LIST_ENTRY(list->next, struct write, link);
		if (w->in_doubt)
			settle(w, STORE_UNKNOWN, "no answer came: it may or may not be applied, now or later");
		else
			settle(w, STORE_SHUTTING_DOWN, "the store is shutting down");
	}
}

static void pump(struct etcd *e)
{
	uint64_t until = monotonic_ms() + ATTEMPT_MS;
	while (!list_empty(&e->flying) && monotonic_ms() < until) {
		struct http2_client *client = e->members[e->current].client;
		if (!client)
			return;
		http2_client_pump(client, 20);
		refuse_list(&e->resting);
	}
}

void etcd_writes_close(struct etcd *e)
{
	assert(e->closing);
	pump(e);
	while (!list_empty(&e->flying)) {
		struct write *w = LIST_ENTRY(e->flying.next, struct write, link);
		grpc_cancel(w->call);
		left_flight(w);
		w->in_doubt++;
		settle(w, STORE_UNKNOWN, "the store was closed before the answer came");
	}
	// Giving up one lets those wait no more that queued behind it.
	while (!list_empty(&e->ready) || !list_empty(&e->resting)) {
		refuse_list(&e->resting);
		refuse_list(&e->ready);
	}
	finish_caught(e);
}
