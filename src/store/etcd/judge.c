// What an answer from etcd says about the transaction that was sent.
#include "base/str.h"
#include "store/etcd/write.h"

static bool has_puts(const struct store_txn *txn)
{
	for (size_t i = 0; i < txn->n_ops; i++)
		if (!txn->ops[i]->deleted)
			return true;
	return false;
}

// By the texts and codes that etcd 3.4 to 3.6 give (rpctypes/error.go): those that come before a proposal is made.
struct judgement write_judge_failure(const struct grpc_end *end)
{
	if (end->end == HTTP2_REFUSED)
		return (struct judgement){ NOT_DONE, .move = true };
	if (end->end != HTTP2_DONE)
		return (struct judgement){ IN_DOUBT, .move = true, .drop = true };
	if (strstr(end->text, "database space exceeded"))
		return (struct judgement){
			FINAL, STORE_NO_SPACE,
			"etcd's space quota is used up; compact, defragment, then disarm its alarm"
		};
	if (strstr(end->text, "request is too large") || strstr(end->text, "too many operations") ||
	    strstr(end->text, "larger than max"))
		return (struct judgement){ FINAL, STORE_TOO_LARGE,
					   "etcd refuses a request of this size; see its flags "
					   "--max-request-bytes and --max-txn-ops" };
	if (strstr(end->text, "requested lease not found"))
		return (struct judgement){ FINAL, STORE_LEASE_LOST, "the lease is gone" };
	if (end->code == GRPC_INVALID_ARGUMENT)
		return (struct judgement){ FINAL, STORE_INVALID, "etcd refuses this transaction" };
	if (str_eq(end->text, "etcdserver: no leader") || strstr(end->text, "proposal dropped") ||
	    str_eq(end->text, "etcdserver: too many requests") || str_eq(end->text, "etcdserver: not capable") ||
	    str_eq(end->text, "etcdserver: rpc not supported for learner"))
		return (struct judgement){ NOT_DONE, .move = true };
	return (struct judgement){ IN_DOUBT, .move = true };
}

struct found {
	const Etcd__TxnResponse *response;
	size_t next;
	struct record *record; // of the last one looked at
};

static struct record *find(void *arg, UNUSED const char *key)
{
	struct found *f = arg;
	const Etcd__KeyValue *kv = etcd_first_kv(f->response, f->next++);
	record_unref(f->record);
	f->record = kv ? etcd_record(kv) : NULL;
	return f->record;
}

static struct judgement judge_compares(struct write *w, const Etcd__TxnResponse *response, size_t at)
{
	struct found f = { .response = response, .next = at };
	struct record *found = NULL;
	struct store_txn *txn = w->txn;
	struct judgement j = { FINAL, STORE_CONFLICT, "a compare did not hold" };
	if (txn->fence_key && store_txn_fenced(txn, find(&f, txn->fence_key))) {
		j = (struct judgement){ FINAL, STORE_FENCED, "another holds the key that fences this transaction" };
	} else {
		txn->failed_compare = store_txn_compare(txn, find, &f, &found);
		if (txn->failed_compare < txn->n_compares)
			txn->found = found ? record_ref(found) : NULL;
		else
			j = (struct judgement){ IN_DOUBT, .move = true }; // nonsense; not to be relied on
	}
	record_unref(f.record);
	return j;
}

// The slot is not as this transaction expected: an earlier sending of it has been applied, or the slot is not ours now.
static struct judgement judge_slot(struct write *w, const Etcd__KeyValue *kv)
{
	char mark[24];
	snprintf(mark, sizeof(mark), "%016llx", (unsigned long long)w->operation);
	w->slot_worn = true;
	if (kv && kv->value.len == strlen(mark) && memcmp(kv->value.data, mark, kv->value.len) == 0) {
		w->e->counts.recognised++;
		w->txn->revision = (uint64_t)kv->mod_revision;
		return (struct judgement){ FINAL, STORE_OK, "" };
	}
	if (kv && kv->value.len == strlen(BURNT) && memcmp(kv->value.data, BURNT, kv->value.len) == 0)
		w->in_doubt = 0; // by a sending of ours that had lost its answer: none was applied, none can be
	if (w->in_doubt)
		return (struct judgement){ FINAL, STORE_UNKNOWN,
					   "the store was restored or cleaned while this was "
					   "being written: it may or may not be applied" };
	return (struct judgement){ NOT_DONE };
}

// The answer to etcd_request_slot, after "no space".
static struct judgement judge_asked(struct write *w, const Etcd__TxnResponse *response)
{
	if (!response->header || !response->header->revision)
		return (struct judgement){ NOT_DONE, .move = true };
	w->asking = false;
	if (!response->succeeded)
		return judge_slot(w, etcd_first_kv(response, 0));
	w->in_doubt--;
	if (has_puts(w->txn))
		return (struct judgement){
			FINAL, STORE_NO_SPACE,
			"etcd's space quota is used up; compact, defragment, then disarm its alarm"
		};
	// Without any put, a full quota is no obstacle to etcd; with the slot's it is.
	w->plain = w->in_doubt == 0;
	return (struct judgement){ NOT_DONE };
}

struct judgement write_judge(struct write *w, const Etcd__TxnResponse *response)
{
	if (w->asking)
		return judge_asked(w, response);
	uint64_t revision = response->header ? (uint64_t)response->header->revision : 0;
	size_t at = 0;
	if (!revision)
		return (struct judgement){ IN_DOUBT, .move = true };
	if (response->succeeded) {
		w->txn->revision = revision;
		w->in_doubt = 0; // whatever was sent before cannot be applied any more
		if (w->slot)
			w->slot->mod = revision;
		return (struct judgement){ FINAL, STORE_OK, "" };
	}
	if (w->slot) {
		const Etcd__KeyValue *kv = etcd_first_kv(response, at++);
		if ((kv ? (uint64_t)kv->mod_revision : 0) != w->slot->mod)
			return judge_slot(w, kv);
	}
	const Etcd__KeyValue *epoch = etcd_first_kv(response, at++);
	struct judgement j = (epoch ? (uint64_t)epoch->mod_revision : 0) != w->epoch_mod
				     ? (struct judgement){ FINAL, STORE_EPOCH_CHANGED,
							   "the store is being or was restored from a backup" }
				     : judge_compares(w, response, at);
	if (j.verdict == FINAL) {
		w->txn->revision = revision;
		w->slot_worn |= w->sent > 1; // burnt
	}
	return j;
}
