// Keeping the replica up to date on one member: ask what there is (epoch, compaction, revision), list everything when
// the replica cannot go on from where it is, then watch from the next revision. Any failure starts over, elsewhere.
#include "base/clock.h"
#include "base/id.h"
#include "base/str.h"
#include "store/etcd/private.h"
#include "store/record.h"

#include <assert.h>

enum {
	PAGE_FIRST = 256,
	PAGE_MAX = 20000,
	PAGE_BYTES_LOW = 2 << 20,
	PAGE_BYTES_HIGH = 8 << 20,
	REST_MS = 30,
	ASK_MS = 400,
	LIST_MS = 5000
};

static void move_to(struct sync *s, enum sync_state state)
{
	static const unsigned moves[SYNC_STATES] = {
		[SYNC_IDLE] = 1 << SYNC_ASKING,
		[SYNC_ASKING] = 1 << SYNC_IDLE | 1 << SYNC_MAKING_EPOCH | 1 << SYNC_LISTING | 1 << SYNC_OPENING,
		[SYNC_MAKING_EPOCH] = 1 << SYNC_IDLE,
		[SYNC_LISTING] = 1 << SYNC_IDLE | 1 << SYNC_OPENING,
		[SYNC_OPENING] = 1 << SYNC_IDLE | 1 << SYNC_WATCHING,
		[SYNC_WATCHING] = 1 << SYNC_IDLE,
	};
	assert(moves[s->state] & 1 << state);
	s->state = state;
}

static void start_over(struct etcd *e)
{
	struct sync *s = &e->sync;
	if (s->call)
		grpc_cancel(TAKE_PTR(s->call));
	keyspace_clear(&s->listed);
	free(TAKE_PTR(s->last));
	s->last_len = 0;
	etcd_replay_clear(e);
	if (s->state != SYNC_IDLE)
		move_to(s, SYNC_IDLE);
	unsigned doublings = s->failures < 4 ? s->failures : 4;
	s->after_ms = s->failures++ ? monotonic_ms() + etcd_jitter(e, (uint64_t)REST_MS << doublings) : 0;
	task_wake(&e->task);
}

static void failed(struct etcd *e, bool drop, const char *why)
{
	size_t member = e->sync.member;
	start_over(e);
	etcd_member_failed(e, member, drop, why);
}

static void call_ended(struct grpc_call *call, const struct grpc_end *end)
{
	struct etcd *e = grpc_arg(call);
	e->sync.call = NULL;
	const struct member *m = &e->members[e->sync.member];
	bool alive = m->client && http2_client_silent_ms(m->client) < ASK_MS;
	if (end->code == GRPC_OUT_OF_RANGE)
		start_over(e); // compacted while it was being listed: a new list
	else if (end->end == HTTP2_EXPIRED && alive)
		start_over(e); // it was lost with a leader; that member is as good as any
	else
		failed(e, end->end == HTTP2_EXPIRED, end->text);
}

// A unary answer is complete: no on_end.
static void call_done(struct etcd *e)
{
	grpc_cancel(TAKE_PTR(e->sync.call));
	e->sync.heard_ms = monotonic_ms();
	task_wake(&e->task);
}

static bool sync_call(struct etcd *e, const char *path, const ProtobufCMessage *first,
		      const ProtobufCMessageDescriptor *answer, unsigned timeout_ms,
		      void (*on_message)(struct grpc_call *call, const ProtobufCMessage *message))
{
	struct sync *s = &e->sync;
	s->member = e->current;
	s->call = etcd_call(e, &(struct grpc_spec){
				       .path = path,
				       .first = first,
				       .answer = answer,
				       .timeout_ms = timeout_ms,
				       .stream = !timeout_ms,
				       .on_message = on_message,
				       .on_end = call_ended,
				       .arg = e,
			       });
	s->heard_ms = monotonic_ms();
	s->asked_ms = 0;
	return s->call != NULL;
}

// ---- asking: a transaction that changes nothing, but has its place in the history (see add_ops in encode.c)

static void take_answer(struct etcd *e, const Etcd__TxnResponse *response)
{
	struct sync *s = &e->sync;
	const Etcd__KeyValue *epoch = etcd_first_kv(response, 1), *compacted = etcd_first_kv(response, 2);
	uint64_t revision = (uint64_t)response->header->revision, cluster = response->header->cluster_id;
	bool closed = epoch && epoch->value.len && epoch->value.data[0] == CLOSED;
	if (!closed && (!epoch || (e->cluster_id && cluster != e->cluster_id))) {
		// New; or restored into a new cluster by etcd's own tools, which keep the epoch as it was.
		e->epoch_mod = epoch ? (uint64_t)epoch->mod_revision : 0;
		move_to(s, SYNC_MAKING_EPOCH);
		return;
	}
	AUTO_FREE char *text = xstrndup((const char *)epoch->value.data, epoch->value.len);
	if (closed && !e->restoring) {
		snprintf(e->last_error, sizeof(e->last_error), "the store is closed: %.150s", text + 1);
		start_over(e);
		return;
	}
	e->compacted = 0;
	if (compacted) {
		AUTO_FREE char *number = xstrndup((const char *)compacted->value.data, compacted->value.len);
		e->compacted = strtoull(number, NULL, 10);
	}
	bool same = str_eq(text, e->epoch) && revision >= e->store.replica.revision;
	if (!same)
		etcd_forget_slots(e);
	free(e->epoch_next);
	e->epoch_next = TAKE_PTR(text);
	e->epoch_next_mod = (uint64_t)epoch->mod_revision;
	e->cluster_id = cluster;
	if (response->header->raft_term > e->term)
		e->term = response->header->raft_term;
	s->at_least = revision;
	// A watch that starts at the very revision of a compaction may miss a deletion (etcd-io/etcd#19179): not that
	// close.
	bool goes_on = e->synced && same && !s->must_list && e->store.replica.revision > e->compacted;
	move_to(s, goes_on ? SYNC_OPENING : SYNC_LISTING);
	s->limit = PAGE_FIRST;
}

static void asked(struct grpc_call *call, const ProtobufCMessage *message)
{
	struct etcd *e = grpc_arg(call);
	const Etcd__TxnResponse *response = CONTAINER_OF(message, Etcd__TxnResponse, base);
	call_done(e);
	if (!response->header || !response->succeeded) {
		failed(e, false, "an answer that makes no sense");
		return;
	}
	take_answer(e, response);
}

static void ask(struct etcd *e)
{
	Etcd__DeleteRangeRequest nothing = ETCD__DELETE_RANGE_REQUEST__INIT;
	Etcd__RangeRequest epoch = ETCD__RANGE_REQUEST__INIT, compacted = ETCD__RANGE_REQUEST__INIT;
	Etcd__RequestOp ops[3] = { ETCD__REQUEST_OP__INIT, ETCD__REQUEST_OP__INIT, ETCD__REQUEST_OP__INIT };
	Etcd__RequestOp *list[3] = { &ops[0], &ops[1], &ops[2] };
	Etcd__TxnRequest request = ETCD__TXN_REQUEST__INIT;
	nothing.key = LITERAL(NOTHING_KEY);
	epoch.key = LITERAL(EPOCH_KEY);
	compacted.key = LITERAL(COMPACTED_KEY);
	ops[0].request_case = ETCD__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
	ops[0].request_delete_range = &nothing;
	ops[1].request_case = ops[2].request_case = ETCD__REQUEST_OP__REQUEST_REQUEST_RANGE;
	ops[1].request_range = &epoch;
	ops[2].request_range = &compacted;
	request.success = list;
	request.n_success = 3;
	if (sync_call(e, "/etcdserverpb.KV/Txn", &request.base, &etcd__txn_response__descriptor, ASK_MS, asked))
		move_to(&e->sync, SYNC_ASKING);
}

static void epoch_made(struct grpc_call *call, UNUSED const ProtobufCMessage *message)
{
	struct etcd *e = grpc_arg(call);
	call_done(e);
	e->cluster_id = 0;
	e->sync.failures = 0;
	start_over(e); // made by us or by another
}

static void make_epoch(struct etcd *e)
{
	char uid[UID_SIZE];
	uid_new(uid);
	Etcd__Compare compare = ETCD__COMPARE__INIT, *compares = &compare;
	Etcd__PutRequest put = ETCD__PUT_REQUEST__INIT;
	Etcd__RequestOp op = ETCD__REQUEST_OP__INIT, *ops = &op;
	Etcd__TxnRequest request = ETCD__TXN_REQUEST__INIT;
	compare.key = put.key = LITERAL(EPOCH_KEY);
	compare.target = ETCD__COMPARE__TARGET__MOD;
	compare.target_union_case = ETCD__COMPARE__TARGET_UNION_MOD_REVISION;
	compare.mod_revision = (int64_t)e->epoch_mod;
	put.value = BYTES(uid, strlen(uid));
	op.request_case = ETCD__REQUEST_OP__REQUEST_REQUEST_PUT;
	op.request_put = &put;
	request.compare = &compares;
	request.success = &ops;
	request.n_compare = request.n_success = 1;
	sync_call(e, "/etcdserverpb.KV/Txn", &request.base, &etcd__txn_response__descriptor, ATTEMPT_MS, epoch_made);
}

// ---- listing, in pages of one revision

static void finish_list(struct etcd *e)
{
	struct sync *s = &e->sync;
	bool changed = !str_eq(e->epoch, e->epoch_next);
	replica_reset(&e->store.replica, &s->listed, s->pin, changed ? STORE_EPOCH_CHANGED : STORE_COMPACTED);
	// Not sooner: what is written meanwhile was decided on what was known before.
	free(e->epoch);
	e->epoch = TAKE_PTR(e->epoch_next);
	e->epoch_mod = e->epoch_next_mod;
	e->counts.listed++;
	e->synced = true;
	s->must_list = false;
	move_to(s, SYNC_OPENING);
}

static size_t add_page(struct sync *s, Etcd__RangeResponse *page)
{
	size_t bytes = 0;
	for (size_t i = 0; i < page->n_kvs; i++) {
		const Etcd__KeyValue *kv = page->kvs[i];
		struct record *r = is_reserved(kv->key) ? NULL : etcd_record(kv);
		bytes += kv->key.len + kv->value.len;
		if (r)
			record_unref(keyspace_put(&s->listed, r));
	}
	return bytes;
}

static void listed(struct grpc_call *call, const ProtobufCMessage *message)
{
	struct etcd *e = grpc_arg(call);
	struct sync *s = &e->sync;
	Etcd__RangeResponse *page = CONTAINER_OF((ProtobufCMessage *)message, Etcd__RangeResponse, base);
	uint64_t revision = page->header ? (uint64_t)page->header->revision : 0;
	call_done(e);
	if (revision < s->at_least) {
		e->counts.stale++; // etcd-io/etcd#20418: a member that was paused answers from its past
		failed(e, false, "an answer older than what is known");
		return;
	}
	if (!s->last)
		s->pin = revision;
	size_t bytes = add_page(s, page);
	if (!page->more || !page->n_kvs) {
		finish_list(e);
		return;
	}
	const Etcd__KeyValue *last = page->kvs[page->n_kvs - 1];
	free(s->last);
	s->last_len = last->key.len;
	s->last = xcalloc(1, last->key.len + 1);
	memcpy(s->last, last->key.data, last->key.len);
	if (bytes < PAGE_BYTES_LOW && s->limit < PAGE_MAX)
		s->limit *= 2;
	else if (bytes > PAGE_BYTES_HIGH && s->limit > 16)
		s->limit /= 2;
}

static void list(struct etcd *e)
{
	struct sync *s = &e->sync;
	Etcd__RangeRequest request = ETCD__RANGE_REQUEST__INIT;
	// The next key after one is the same with a NUL behind it; "\0" as the end means all.
	request.key = s->last ? BYTES(s->last, s->last_len + 1) : BYTES("\0", 1);
	request.range_end = BYTES("\0", 1);
	request.limit = s->limit;
	request.revision = s->last ? (int64_t)s->pin : 0;
	sync_call(e, "/etcdserverpb.KV/Range", &request.base, &etcd__range_response__descriptor, LIST_MS, listed);
}

// ---- watching

static void watched(struct grpc_call *call, const ProtobufCMessage *message)
{
	struct etcd *e = grpc_arg(call);
	struct sync *s = &e->sync;
	Etcd__WatchResponse *response = CONTAINER_OF((ProtobufCMessage *)message, Etcd__WatchResponse, base);
	const char *why = "etcd ended the watch";
	s->heard_ms = monotonic_ms();
	s->asked_ms = 0;
	if (response->compact_revision) {
		s->must_list = true;
		start_over(e);
		return;
	}
	if (response->canceled) {
		failed(e, false, *response->cancel_reason ? response->cancel_reason : why);
		return;
	}
	if (response->created && s->state == SYNC_OPENING) {
		move_to(s, SYNC_WATCHING);
		s->watching_ms = s->heard_ms;
	}
	if (!etcd_replay(e, response, &why)) {
		etcd_sync_again(e, true, why);
		return;
	}
	if (!response->created)
		s->failures = 0;
	task_wake(&e->task);
}

static void open_watch(struct etcd *e)
{
	Etcd__WatchCreateRequest create = ETCD__WATCH_CREATE_REQUEST__INIT;
	Etcd__WatchRequest request = ETCD__WATCH_REQUEST__INIT;
	create.key = create.range_end = BYTES("\0", 1);
	create.start_revision = (int64_t)e->store.replica.revision + 1;
	create.fragment = true;
	request.request_union_case = ETCD__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
	request.create_request = &create;
	sync_call(e, "/etcdserverpb.Watch/Watch", &request.base, &etcd__watch_response__descriptor, 0, watched);
}

static void ask_for_progress(struct etcd *e)
{
	Etcd__WatchProgressRequest progress = ETCD__WATCH_PROGRESS_REQUEST__INIT;
	Etcd__WatchRequest request = ETCD__WATCH_REQUEST__INIT;
	request.request_union_case = ETCD__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST;
	request.progress_request = &progress;
	e->sync.asked_ms = monotonic_ms();
	grpc_send(e->sync.call, &request.base);
}

void etcd_sync_again(struct etcd *e, bool list_too, const char *why)
{
	e->counts.mismatches += list_too;
	e->sync.must_list |= list_too;
	failed(e, false, why);
}

void etcd_sync_step(struct etcd *e)
{
	struct sync *s = &e->sync;
	// The writes found that member to be no good.
	bool streaming = s->state == SYNC_OPENING || s->state == SYNC_WATCHING;
	if (s->call && streaming && s->member != e->current)
		start_over(e);
	if (s->call || e->closing || monotonic_ms() < s->after_ms)
		return;
	if (s->state == SYNC_IDLE)
		ask(e);
	else if (s->state == SYNC_MAKING_EPOCH)
		make_epoch(e);
	else if (s->state == SYNC_LISTING)
		list(e);
	else if (s->state == SYNC_OPENING)
		open_watch(e);
}

void etcd_sync_tick(struct etcd *e, uint64_t now)
{
	struct sync *s = &e->sync;
	if (!s->call)
		task_wake(&e->task);
	if (s->state == SYNC_OPENING && s->call && now - s->heard_ms > ATTEMPT_MS)
		failed(e, true, "the watch does not begin");
	if (s->state != SYNC_WATCHING || !s->call)
		return;
	if (now - s->heard_ms > WATCH_SILENCE_MS)
		failed(e, true, "the watch gives no sign of life");
	else if (!s->asked_ms && now - s->heard_ms > WATCH_QUESTION_MS)
		ask_for_progress(e);
}

void etcd_sync_clear(struct etcd *e)
{
	start_over(e);
}
