// Restoring into etcd: the store is closed by an epoch that is none, emptied, filled in the order in which its records
// came to be and were changed, and opened by a new epoch. Every transaction compares the epoch, so nobody else's lands
// in between, and whoever restores it too is refused.
#include "store/backup.h"

#include "base/id.h"
#include "base/str.h"
#include "store/etcd/private.h"
#include "store/record.h"

#include <assert.h>
#include <errno.h>

// A record's creation, or its last change.
struct change {
	uint64_t revision;
	const struct record *record;
	bool more; // it was changed later: the value comes then
};

struct restorer {
	struct loop *loop;
	struct store *store;
	char closed[UID_SIZE + 40]; // the epoch while it goes on
	char opened[UID_SIZE];      // and afterwards
	const char *orders;
	struct store_answer answer;
};

// ---- one transaction after the other

static void answered(void *arg, const struct store_answer *answer)
{
	struct restorer *r = arg;
	r->answer = *answer;
	r->answer.record = NULL;
	loop_stop(r->loop);
}

static int commit(struct restorer *r, struct store_txn *txn, struct err *err)
{
	store_commit(r->store, txn, answered, r);
	loop_run(r->loop);
	switch (r->answer.result) {
	case STORE_OK:
		return 0;
	case STORE_EPOCH_CHANGED:
		return err_set(err, -EBUSY, "somebody else restores this store at this moment");
	case STORE_NO_SPACE:
		err_set(err, -ENOSPC, "%s", r->answer.reason);
		return err_hint(err,
				"make room, or raise etcd's --quota-backend-bytes, then restore again with --replace");
	default:
		err_set(err, -EIO, "%s: %s", store_result_name(r->answer.result), r->answer.reason);
		return err_hint(err, "restore again with --replace; until then the store stays closed");
	}
}

static int put_epoch(struct restorer *r, const char *epoch, struct err *err)
{
	struct etcd *e = etcd_of(r->store);
	struct store_txn *txn = store_txn_new();
	e->restoring = epoch;                    // the watch may tell of it before the answer comes
	txn->ops = xmalloc(sizeof(txn->ops[0])); // the key has a NUL in it: not by store_txn_put
	txn->ops[txn->n_ops++] = record_new(EPOCH_KEY, sizeof(EPOCH_KEY) - 1, epoch, strlen(epoch));
	int result = commit(r, txn, err);
	if (result == 0)
		e->epoch_mod = r->answer.revision;
	return result;
}

static int flush(struct restorer *r, struct store_txn **txn, struct err *err)
{
	struct store_txn *full = *txn;
	*txn = store_txn_new();
	if (store_txn_ops(full))
		return commit(r, full, err);
	store_txn_free(full);
	return 0;
}

static int delete_all(struct restorer *r, struct err *err)
{
	AUTO_STORE_LIST struct store_list list = { 0 };
	AUTO_STORE_TXN struct store_txn *txn = store_txn_new();
	int result = 0;
	store_list(r->store, "", NULL, SIZE_MAX, &list);
	for (size_t i = 0; result == 0 && i < list.count; i++) {
		store_txn_delete(txn, record_key(list.records[i]));
		if (store_txn_ops(txn) == STORE_TXN_OPS)
			result = flush(r, &txn, err);
	}
	return result < 0 ? result : flush(r, &txn, err);
}

// ---- filling

static int by_revision(const void *a, const void *b)
{
	const struct change *x = a, *y = b;
	if (x->revision != y->revision)
		return x->revision < y->revision ? -1 : 1;
	return strcmp(record_key(x->record), record_key(y->record));
}

static struct change *changes_of(const struct backup *backup, size_t *ret_n)
{
	struct change *changes = xreallocarray(NULL, backup->count ? 2 * backup->count : 1, sizeof(*changes));
	size_t n = 0;
	for (size_t i = 0; i < backup->count; i++) {
		const struct record *r = backup->records[i];
		bool changed = r->mod_revision != r->create_revision;
		changes[n++] = (struct change){ r->create_revision, r, changed };
		if (changed)
			changes[n++] = (struct change){ r->mod_revision, r, false };
	}
	qsort(changes, n, sizeof(*changes), by_revision);
	*ret_n = n;
	return changes;
}

// Whether the change must not share the revision of what was collected so far, or does not fit to it.
static bool begins_anew(const struct restorer *r, const struct store_txn *txn, const struct change *c,
			const struct change *first)
{
	const struct record *own = c->record;
	if (!store_txn_ops(txn))
		return false;
	if (store_txn_ops(txn) == STORE_TXN_OPS || txn->bytes + record_bytes(own) > STORE_TXN_BYTES)
		return true;
	if (c->revision == first->revision)
		return false;
	if (r->orders && own->create_revision == c->revision && str_starts(record_key(own), r->orders))
		return true;
	return !c->more && own->create_revision >= first->revision && own->create_revision != own->mod_revision;
}

static int fill(struct restorer *r, const struct backup *backup, struct err *err)
{
	size_t n;
	AUTO_FREE struct change *changes = changes_of(backup, &n);
	AUTO_STORE_TXN struct store_txn *txn = store_txn_new();
	size_t first = 0;
	int result = 0;
	for (size_t i = 0; result == 0 && i < n; i++) {
		const struct change *c = &changes[i];
		if (begins_anew(r, txn, c, &changes[first]))
			result = flush(r, &txn, err);
		if (!store_txn_ops(txn))
			first = i;
		store_txn_put(txn, record_key(c->record), record_value(c->record), c->more ? 0 : c->record->value_len);
	}
	return result < 0 ? result : flush(r, &txn, err);
}

static int restore(struct restorer *r, const struct backup *backup, bool replace, struct err *err)
{
	const struct record *first = store_next(r->store, "", NULL);
	bool closed = *store_epoch(r->store) == CLOSED;
	if ((first || closed) && !replace) {
		if (closed)
			err_set(err, -EEXIST, "it is closed: %s", store_epoch(r->store) + 1);
		else
			err_set(err, -EEXIST, "it is not empty: there is '%.100s', for one", record_key(first));
		return err_hint(err, "--replace puts the backup in the place of whatever is there");
	}
	int result = put_epoch(r, r->closed, err);
	if (result == 0)
		result = delete_all(r, err);
	if (result == 0)
		result = fill(r, backup, err);
	if (result == 0)
		result = backup_compare(backup, r->store, err);
	return result < 0 ? result : put_epoch(r, r->opened, err);
}

static void cannot_fail(UNUSED void *arg, UNUSED const struct err *err)
{
}

int store_restore_etcd(struct loop *loop, const char *url, const struct store_etcd_options *etcd,
		       const struct backup *backup, const struct restore_options *options, struct err *err)
{
	struct restorer r = { .loop = loop, .orders = options->orders };
	struct store_owner owner = { .fatal = cannot_fail };
	char uid[UID_SIZE];
	uid_new(uid);
	uid_new(r.opened);
	snprintf(r.closed, sizeof(r.closed), "%cit is being restored, by %s", CLOSED, uid);
	int result = etcd_open(loop, url, etcd, owner, r.closed, &r.store, err);
	if (result < 0)
		return result;
	result = restore(&r, backup, options->replace, err);
	store_close(r.store);
	return result < 0 ? err_wrap(err, "cannot restore into '%s'", url) : 0;
}
