// Transactions to etcd's messages, and its records to ours.
#include "base/str.h"
#include "store/etcd/private.h"
#include "store/record.h"

#include <assert.h>

// etcd allows 128 of each kind in a transaction: ours are 100, a slot, the epoch and a fence.
enum { COMPARES = STORE_TXN_OPS + 3, OPS = STORE_TXN_OPS + 1, FAILURE_OPS = STORE_TXN_OPS + 4 };

struct request {
	Etcd__TxnRequest txn; // first
	Etcd__Compare compares[COMPARES], *compare_list[COMPARES];
	Etcd__RequestOp ops[OPS + FAILURE_OPS], *op_list[OPS], *failure_list[FAILURE_OPS];
	Etcd__PutRequest puts[OPS + 1];
	Etcd__DeleteRangeRequest deletes[OPS];
	Etcd__RangeRequest ranges[FAILURE_OPS];
	size_t n_ops, n_puts, n_deletes, n_ranges;
	Etcd__TxnRequest burn; // within the failure branch
	Etcd__Compare burn_if, *burn_compares[1];
	Etcd__RequestOp burn_op, *burn_ops[1];
	char slot_key[SLOT_KEY_MAX];
	size_t slot_key_len;
	char mark[24];
};

size_t etcd_slot_key(const struct slot *slot, char key[SLOT_KEY_MAX])
{
	memcpy(key, SLOT_PREFIX, sizeof(SLOT_PREFIX) - 1);
	int n = snprintf(key + sizeof(SLOT_PREFIX) - 1, SLOT_KEY_MAX - sizeof(SLOT_PREFIX), "%016llx/%u",
			 (unsigned long long)slot->client, slot->number);
	return sizeof(SLOT_PREFIX) - 1 + (size_t)n;
}

static void compare_init(Etcd__Compare *c, Etcd__Compare__Target target, ProtobufCBinaryData key, uint64_t revision)
{
	etcd__compare__init(c);
	c->target = target;
	c->key = key;
	if (target == ETCD__COMPARE__TARGET__MOD) {
		c->target_union_case = ETCD__COMPARE__TARGET_UNION_MOD_REVISION;
		c->mod_revision = (int64_t)revision;
	} else {
		c->target_union_case = ETCD__COMPARE__TARGET_UNION_CREATE_REVISION;
		c->create_revision = (int64_t)revision;
	}
}

static Etcd__Compare *compare(struct request *q, Etcd__Compare__Target target, ProtobufCBinaryData key,
			      uint64_t revision)
{
	Etcd__Compare *c = &q->compares[q->txn.n_compare];
	compare_init(c, target, key, revision);
	q->compare_list[q->txn.n_compare++] = c;
	return c;
}

static Etcd__RequestOp *op(struct request *q, bool success)
{
	Etcd__RequestOp *o = &q->ops[q->n_ops++];
	etcd__request_op__init(o);
	if (success)
		q->op_list[q->txn.n_success++] = o;
	else
		q->failure_list[q->txn.n_failure++] = o;
	return o;
}

static void put(struct request *q, Etcd__RequestOp *o, ProtobufCBinaryData key, ProtobufCBinaryData value,
		uint64_t lease)
{
	o->request_case = ETCD__REQUEST_OP__REQUEST_REQUEST_PUT;
	o->request_put = &q->puts[q->n_puts++];
	etcd__put_request__init(o->request_put);
	o->request_put->key = key;
	o->request_put->value = value;
	o->request_put->lease = (int64_t)lease;
}

static void delete (struct request *q, ProtobufCBinaryData key)
{
	Etcd__RequestOp *o = op(q, true);
	o->request_case = ETCD__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
	o->request_delete_range = &q->deletes[q->n_deletes++];
	etcd__delete_range_request__init(o->request_delete_range);
	o->request_delete_range->key = key;
}

static void look_at(struct request *q, ProtobufCBinaryData key)
{
	Etcd__RequestOp *o = op(q, false);
	o->request_case = ETCD__REQUEST_OP__REQUEST_REQUEST_RANGE;
	o->request_range = &q->ranges[q->n_ranges++];
	etcd__range_request__init(o->request_range);
	o->request_range->key = key;
}

static void add_guards(struct request *q, const struct store_txn *txn, const struct slot *slot, uint64_t epoch_mod)
{
	if (slot) {
		ProtobufCBinaryData key = BYTES(q->slot_key, q->slot_key_len);
		compare(q, ETCD__COMPARE__TARGET__MOD, key, slot->mod);
		put(q, op(q, true), key, BYTES(q->mark, strlen(q->mark)), 0);
		look_at(q, key);
	}
	compare(q, ETCD__COMPARE__TARGET__MOD, LITERAL(EPOCH_KEY), epoch_mod);
	look_at(q, LITERAL(EPOCH_KEY));
	if (txn->fence_key) {
		ProtobufCBinaryData key = BYTES(txn->fence_key, strlen(txn->fence_key));
		compare(q, ETCD__COMPARE__TARGET__CREATE, key, txn->fence);
		look_at(q, key);
	}
}

static void add_compares(struct request *q, const struct store_txn *txn)
{
	for (size_t i = 0; i < txn->n_compares; i++) {
		const struct compare *c = &txn->compares[i];
		ProtobufCBinaryData key = BYTES(c->key, strlen(c->key));
		if (c->kind == COMPARE_MODIFIED)
			compare(q, ETCD__COMPARE__TARGET__MOD, key, c->revision);
		else if (c->kind == COMPARE_CREATED)
			compare(q, ETCD__COMPARE__TARGET__CREATE, key, c->revision);
		else
			compare(q, ETCD__COMPARE__TARGET__CREATE, key, 0)->result = ETCD__COMPARE__RESULT__GREATER;
		look_at(q, key);
	}
}

static void add_ops(struct request *q, const struct store_txn *txn)
{
	for (size_t i = 0; i < txn->n_ops; i++) {
		const struct record *r = txn->ops[i];
		ProtobufCBinaryData key = BYTES(record_key(r), r->key_len);
		if (r->deleted)
			delete (q, key);
		else
			put(q, op(q, true), key, BYTES(record_value(r), r->value_len), txn->lease);
	}
	// Deleting what does not exist makes etcd agree on this transaction's place in its history without changing
	// anything, which a mere read does not: it may be stale after a member was paused (etcd-io/etcd#20418).
	if (!txn->n_ops)
		delete (q, LITERAL(NOTHING_KEY));
}

// Takes the slot, if it is still as this transaction's first sending would have found it: the mark of a sending that
// was applied stays, and so does what another transaction, to which the slot may belong by then, has left in it.
static void add_burn(struct request *q, const struct slot *slot)
{
	ProtobufCBinaryData key = BYTES(q->slot_key, q->slot_key_len);
	Etcd__RequestOp *o = op(q, false);
	etcd__txn_request__init(&q->burn);
	etcd__request_op__init(&q->burn_op);
	compare_init(&q->burn_if, ETCD__COMPARE__TARGET__MOD, key, slot->mod);
	put(q, &q->burn_op, key, LITERAL(BURNT), 0);
	q->burn_compares[0] = &q->burn_if;
	q->burn_ops[0] = &q->burn_op;
	q->burn.compare = q->burn_compares;
	q->burn.success = q->burn_ops;
	q->burn.n_compare = q->burn.n_success = 1;
	o->request_case = ETCD__REQUEST_OP__REQUEST_REQUEST_TXN;
	o->request_txn = &q->burn;
}

static struct request *request_new(const struct slot *slot)
{
	struct request *q = xmalloc(sizeof(*q));
	etcd__txn_request__init(&q->txn);
	q->n_ops = q->n_puts = q->n_deletes = q->n_ranges = 0;
	q->txn.compare = q->compare_list;
	q->txn.success = q->op_list;
	q->txn.failure = q->failure_list;
	if (slot)
		q->slot_key_len = etcd_slot_key(slot, q->slot_key);
	return q;
}

Etcd__TxnRequest *etcd_request_slot(const struct slot *slot)
{
	struct request *q = request_new(slot);
	ProtobufCBinaryData key = BYTES(q->slot_key, q->slot_key_len);
	compare(q, ETCD__COMPARE__TARGET__MOD, key, slot->mod);
	delete (q, LITERAL(NOTHING_KEY));
	look_at(q, key);
	return &q->txn;
}

Etcd__TxnRequest *etcd_request(const struct store_txn *txn, const struct slot *slot, uint64_t epoch_mod,
			       uint64_t operation, bool burn)
{
	struct request *q = request_new(slot);
	snprintf(q->mark, sizeof(q->mark), "%016llx", (unsigned long long)operation);
	add_guards(q, txn, slot, epoch_mod);
	add_compares(q, txn);
	add_ops(q, txn);
	if (slot && burn)
		add_burn(q, slot);
	return &q->txn;
}

void etcd_request_free(Etcd__TxnRequest *request)
{
	free(CONTAINER_OF(request, struct request, txn));
}

struct record *etcd_record(const Etcd__KeyValue *kv)
{
	if (kv->key.len < 1 || kv->key.len > STORE_KEY_MAX || kv->value.len > STORE_VALUE_MAX ||
	    memchr(kv->key.data, 0, kv->key.len))
		return NULL;
	struct record *r = record_new((const char *)kv->key.data, kv->key.len, kv->value.data, kv->value.len);
	r->create_revision = (uint64_t)kv->create_revision;
	r->mod_revision = r->operation = (uint64_t)kv->mod_revision;
	r->version = (uint64_t)kv->version;
	return r;
}

const Etcd__KeyValue *etcd_first_kv(const Etcd__TxnResponse *response, size_t i)
{
	const Etcd__ResponseOp *o = i < response->n_responses ? response->responses[i] : NULL;
	if (!o || o->response_case != ETCD__RESPONSE_OP__RESPONSE_RESPONSE_RANGE || !o->response_range->n_kvs)
		return NULL;
	return o->response_range->kvs[0];
}
