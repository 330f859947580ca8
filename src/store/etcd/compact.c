// Keeping etcd's history short, by whoever leads: what is older than ten minutes goes, and with it the slots (write.c)
// that nobody has used since. First the revision is written down under a reserved key, so that no replica resumes its
// watch at or before it, where etcd 3.4.23 may lose events (etcd-io/etcd#19179).
#include "base/str.h"
#include "store/etcd/private.h"
#include "store/record.h"

#include <inttypes.h>

enum { KEEP_REVISIONS = 100, CLEAN = 100 };

static void done(struct etcd *e)
{
	e->compacting = false;
}

// ---- slots

static void ended(struct grpc_call *call, UNUSED const struct grpc_end *end)
{
	done(grpc_arg(call));
}

static void clean(struct etcd *e, const Etcd__RangeResponse *old)
{
	Etcd__Compare compares[CLEAN], *compare_list[CLEAN];
	Etcd__DeleteRangeRequest deletes[CLEAN];
	Etcd__RequestOp ops[CLEAN], *op_list[CLEAN];
	Etcd__TxnRequest request = ETCD__TXN_REQUEST__INIT;
	size_t n = old->n_kvs < CLEAN ? old->n_kvs : CLEAN;
	for (size_t i = 0; i < n; i++) {
		etcd__compare__init(&compares[i]);
		etcd__delete_range_request__init(&deletes[i]);
		etcd__request_op__init(&ops[i]);
		compares[i].key = deletes[i].key = old->kvs[i]->key;
		compares[i].target = ETCD__COMPARE__TARGET__MOD;
		compares[i].target_union_case = ETCD__COMPARE__TARGET_UNION_MOD_REVISION;
		compares[i].mod_revision = old->kvs[i]->mod_revision;
		ops[i].request_case = ETCD__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
		ops[i].request_delete_range = &deletes[i];
		compare_list[i] = &compares[i];
		op_list[i] = &ops[i];
	}
	request.compare = compare_list;
	request.success = op_list;
	request.n_compare = request.n_success = n;
	etcd_call(e, &(struct grpc_spec){
			     .path = "/etcdserverpb.KV/Txn",
			     .first = &request.base,
			     .answer = &etcd__txn_response__descriptor,
			     .timeout_ms = ATTEMPT_MS,
			     .on_end = ended,
			     .arg = e,
		     });
}

static void found(struct grpc_call *call, const ProtobufCMessage *message)
{
	const Etcd__RangeResponse *old = CONTAINER_OF(message, Etcd__RangeResponse, base);
	if (old->n_kvs)
		clean(grpc_arg(call), old);
}

static void find_old_slots(struct etcd *e)
{
	// Whatever was compacted: a slot that is missing looks like one that was never used, so its transaction must be
	// over.
	uint64_t limit = store_history_limit(&e->history);
	static const char end[] = RESERVED "slot0"; // '0' follows '/'
	Etcd__RangeRequest request = ETCD__RANGE_REQUEST__INIT;
	request.key = LITERAL(SLOT_PREFIX);
	request.range_end = BYTES(end, sizeof(end) - 1);
	request.keys_only = true;
	request.limit = CLEAN;
	request.max_mod_revision = (int64_t)(limit < e->compacted ? limit : e->compacted);
	if (!limit || !etcd_call(e, &(struct grpc_spec){
					    .path = "/etcdserverpb.KV/Range",
					    .first = &request.base,
					    .answer = &etcd__range_response__descriptor,
					    .timeout_ms = ATTEMPT_MS,
					    .on_message = found,
					    .on_end = ended,
					    .arg = e,
				    }))
		done(e);
}

// ---- history

static void compacted(struct grpc_call *call, UNUSED const struct grpc_end *end)
{
	struct etcd *e = grpc_arg(call);
	if (e->closing)
		done(e);
	else
		find_old_slots(e);
}

static void noted(void *arg, const struct store_answer *answer)
{
	struct etcd *e = arg;
	Etcd__CompactionRequest request = ETCD__COMPACTION_REQUEST__INIT;
	request.revision = (int64_t)e->compacted;
	bool sent = answer->result == STORE_OK && !e->closing &&
		    etcd_call(e, &(struct grpc_spec){
					 .path = "/etcdserverpb.KV/Compact",
					 .first = &request.base,
					 .answer = &etcd__compaction_response__descriptor,
					 .timeout_ms = COMMIT_MS,
					 .on_end = compacted,
					 .arg = e,
				 });
	if (!sent)
		done(e);
}

void etcd_compact(struct etcd *e, uint64_t revision)
{
	char text[24];
	struct store_txn *txn = store_txn_new();
	int n = snprintf(text, sizeof(text), "%" PRIu64, revision);
	if (e->compactor)
		store_txn_fence(txn, e->compactor);
	if (!txn->broken) { // the key has a NUL in it: not by store_txn_put
		txn->ops = xmalloc(sizeof(txn->ops[0]));
		txn->ops[txn->n_ops++] = record_new(COMPACTED_KEY, sizeof(COMPACTED_KEY) - 1, text, (size_t)n);
	}
	e->compacting = true;
	store_commit(&e->store, txn, noted, e);
}

static void mark_time(struct timer *timer)
{
	struct etcd *e = CONTAINER_OF(timer, struct etcd, mark);
	timer_set(timer, HISTORY_MARK_MS);
	if (!e->synced)
		return;
	uint64_t revision = e->store.replica.revision;
	store_history_mark(&e->history, revision);
	uint64_t limit = store_history_limit(&e->history);
	if (e->compactor && store_holds(e->compactor) && !e->compacting && limit > e->compacted &&
	    limit + KEEP_REVISIONS < revision)
		etcd_compact(e, limit);
}

void etcd_compact_by(struct store *store, const struct store_hold *hold)
{
	etcd_of(store)->compactor = hold;
}

void etcd_compact_now(struct store *store)
{
	struct etcd *e = etcd_of(store);
	uint64_t limit = store_history_limit(&e->history);
	if (!e->compacting && limit > e->compacted && limit < store_revision(store))
		etcd_compact(e, limit);
}

void etcd_compact_init(struct etcd *e)
{
	store_history_init(&e->history);
	timer_init(&e->mark, e->store.loop, mark_time);
	timer_set(&e->mark, HISTORY_MARK_MS);
}

void etcd_compact_clear(struct etcd *e)
{
	timer_clear(&e->mark);
	store_history_clear(&e->history);
}
