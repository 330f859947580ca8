#include "store/txn.h"

#include "base/map.h"
#include "base/str.h"
#include "store/hold.h"
#include "store/record.h"

#include <assert.h>

static const char *const result_names[STORE_RESULTS] = {
	[STORE_OK] = "ok",
	[STORE_CONFLICT] = "conflict",
	[STORE_NOT_APPLIED] = "not applied",
	[STORE_UNKNOWN] = "unknown",
	[STORE_NO_SPACE] = "no space",
	[STORE_TOO_LARGE] = "too large",
	[STORE_COMPACTED] = "compacted",
	[STORE_EPOCH_CHANGED] = "epoch changed",
	[STORE_LEASE_LOST] = "lease lost",
	[STORE_FENCED] = "fenced",
	[STORE_INVALID] = "invalid",
	[STORE_SHUTTING_DOWN] = "shutting down",
};

const char *store_result_name(enum store_result result)
{
	assert(result < STORE_RESULTS);
	return result_names[result];
}

struct store_txn *store_txn_new(void)
{
	struct store_txn *txn = xcalloc(1, sizeof(*txn));
	list_init(&txn->link);
	txn->broken_reason = txn->reason = "";
	return txn;
}

void store_txn_empty(struct store_txn *txn)
{
	for (size_t i = 0; i < txn->n_compares; i++)
		free(txn->compares[i].key);
	for (size_t i = 0; i < txn->n_ops; i++)
		record_unref(txn->ops[i]);
	free(txn->compares);
	free(txn->ops);
	free(TAKE_PTR(txn->fence_key));
	txn->compares = NULL;
	txn->ops = NULL;
	txn->n_compares = txn->n_ops = txn->bytes = 0;
}

void store_txn_free(struct store_txn *txn)
{
	if (!txn)
		return;
	assert(list_empty(&txn->link));
	store_txn_empty(txn);
	record_unref(txn->found);
	free(txn);
}

static bool broken(struct store_txn *txn, enum store_result result, const char *reason)
{
	txn->broken = result;
	txn->broken_reason = reason;
	store_txn_empty(txn);
	return true;
}

void store_txn_refuse(struct store_txn *txn, enum store_result result, const char *reason)
{
	broken(txn, result, reason);
}

// Once broken, a transaction takes nothing more: what it holds stays within the limits.
static bool refuse_key(struct store_txn *txn, const char *key, size_t *ret_len)
{
	if (txn->broken)
		return true;
	size_t len = strnlen(key, STORE_KEY_MAX + 1);
	if (!len)
		return broken(txn, STORE_INVALID, "a key is empty");
	if (len > STORE_KEY_MAX)
		return broken(txn, STORE_TOO_LARGE, "a key is longer than 512 bytes");
	*ret_len = len;
	return false;
}

static void add_compare(struct store_txn *txn, enum compare_kind kind, const char *key, uint64_t revision)
{
	size_t len;
	if (refuse_key(txn, key, &len))
		return;
	if (txn->n_compares == STORE_TXN_OPS) {
		broken(txn, STORE_TOO_LARGE, "the transaction has more than 100 compares");
		return;
	}
	if ((txn->n_compares & (txn->n_compares - 1)) == 0) // full at the powers of two
		txn->compares =
			xreallocarray(txn->compares, txn->n_compares ? 2 * txn->n_compares : 1, sizeof(*txn->compares));
	txn->compares[txn->n_compares++] =
		(struct compare){ .kind = kind, .revision = revision, .key = xstrndup(key, len) };
}

void store_txn_if_absent(struct store_txn *txn, const char *key)
{
	add_compare(txn, COMPARE_MODIFIED, key, 0);
}

void store_txn_if_exists(struct store_txn *txn, const char *key)
{
	add_compare(txn, COMPARE_EXISTS, key, 0);
}

void store_txn_if_revision(struct store_txn *txn, const char *key, uint64_t mod_revision)
{
	add_compare(txn, COMPARE_MODIFIED, key, mod_revision);
}

void store_txn_if_created(struct store_txn *txn, const char *key, uint64_t create_revision)
{
	add_compare(txn, COMPARE_CREATED, key, create_revision);
}

static bool refuse_op(struct store_txn *txn, const char *key, size_t value_len, size_t *ret_key_len)
{
	if (refuse_key(txn, key, ret_key_len))
		return true;
	if (txn->n_ops == STORE_TXN_OPS)
		return broken(txn, STORE_TOO_LARGE, "the transaction has more than 100 puts and deletes");
	if (value_len > STORE_VALUE_MAX)
		return broken(txn, STORE_TOO_LARGE, "a value is larger than 256 KiB");
	if (txn->bytes + *ret_key_len + value_len > STORE_TXN_BYTES)
		return broken(txn, STORE_TOO_LARGE, "the transaction is larger than 1 MiB");
	return false;
}

static void add_op(struct store_txn *txn, struct record *record)
{
	if ((txn->n_ops & (txn->n_ops - 1)) == 0)
		txn->ops = xreallocarray(txn->ops, txn->n_ops ? 2 * txn->n_ops : 1, sizeof(struct record *));
	txn->ops[txn->n_ops++] = record;
	txn->bytes += record_bytes(record);
}

void store_txn_fence(struct store_txn *txn, const struct store_hold *hold)
{
	if (txn->broken)
		return;
	if (!store_holds(hold)) {
		broken(txn, STORE_LEASE_LOST, "what this transaction was to be fenced by is not held any more");
		return;
	}
	assert(!txn->fence_key); // one fence
	txn->fence_key = xstrdup(hold->key);
	txn->fence = hold->fence;
}

void store_txn_put(struct store_txn *txn, const char *key, const void *value, size_t len)
{
	size_t key_len;
	if (!refuse_op(txn, key, len, &key_len))
		add_op(txn, record_new(key, key_len, value, len));
}

void store_txn_delete(struct store_txn *txn, const char *key)
{
	size_t key_len;
	if (!refuse_op(txn, key, 0, &key_len))
		add_op(txn, record_new_deletion(key, key_len));
}

size_t store_txn_ops(const struct store_txn *txn)
{
	return txn->n_ops;
}

static int compare_ops(const void *a, const void *b)
{
	return strcmp(record_key(*(struct record *const *)a), record_key(*(struct record *const *)b));
}

static bool key_twice(const struct store_txn *txn)
{
	struct record *sorted[STORE_TXN_OPS];
	if (txn->n_ops < 2)
		return false;
	memcpy(sorted, txn->ops, txn->n_ops * sizeof(sorted[0]));
	qsort(sorted, txn->n_ops, sizeof(sorted[0]), compare_ops);
	for (size_t i = 1; i < txn->n_ops; i++)
		if (compare_ops(&sorted[i - 1], &sorted[i]) == 0)
			return true;
	return false;
}

enum store_result store_txn_check(struct store_txn *txn)
{
	if (!txn->broken && key_twice(txn))
		broken(txn, STORE_INVALID, "a key is put or deleted twice in one transaction");
	return txn->broken;
}

static bool holds(const struct compare *c, const struct record *r)
{
	switch (c->kind) {
	case COMPARE_EXISTS:
		return r;
	case COMPARE_MODIFIED:
		return (r ? r->mod_revision : 0) == c->revision;
	case COMPARE_CREATED:
		return (r ? r->create_revision : 0) == c->revision;
	}
	return false;
}

bool store_txn_fenced(const struct store_txn *txn, const struct record *found)
{
	return txn->fence_key && (!found || found->create_revision != txn->fence);
}

size_t store_txn_compare(const struct store_txn *txn, struct record *(*find)(void *arg, const char *key), void *arg,
			 struct record **ret_found)
{
	for (size_t i = 0; i < txn->n_compares; i++) {
		struct record *r = find(arg, txn->compares[i].key);
		if (!holds(&txn->compares[i], r)) {
			*ret_found = r;
			return i;
		}
	}
	return txn->n_compares;
}

void store_forget(struct store_txn *txn)
{
	txn->done = NULL;
}

void store_txn_finish(struct store_txn *txn)
{
	struct store_answer answer = {
		.result = txn->result,
		.revision = txn->revision,
		.compare = txn->failed_compare,
		.record = txn->found,
		.reason = txn->reason,
	};
	if (txn->done)
		txn->done(txn->arg, &answer);
	store_txn_free(txn);
}
