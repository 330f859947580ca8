// What the watch delivers, into the replica: one whole revision after the other, each checked against what is known.
//
// The watch covers all keys, reserved ones too, so that every revision shows up in it: a missing one is a lost event.
// And every put says how often its key was put since it was created: it must be once more than in the replica. That
// guards against etcd 3.4.23 losing events around compaction (etcd-io/etcd#17780, #18089, #19179), starving a watch
// (#17529) and delivering some twice; whatever does not fit makes the replica list again. Its answers to requests for
// progress are not in order with the events (#15220), so they count as a sign of life and no more.
#include "base/str.h"
#include "store/etcd/private.h"
#include "store/record.h"

#include <assert.h>

static bool fits(const struct etcd *e, const Etcd__Event *event)
{
	if (is_reserved(event->kv->key))
		return true;
	AUTO_FREE char *key = xstrndup((const char *)event->kv->key.data, event->kv->key.len);
	const struct record *own = store_get(&e->store, key);
	if (event->type == ETCD__EVENT__TYPE__DELETE)
		return own != NULL;
	if (!own)
		return event->kv->version == 1 && event->kv->create_revision == event->kv->mod_revision;
	return (uint64_t)event->kv->version == own->version + 1 &&
	       (uint64_t)event->kv->create_revision == own->create_revision;
}

static void note_reserved(struct etcd *e, const Etcd__KeyValue *kv)
{
	if (kv->key.len == sizeof(COMPACTED_KEY) - 1 && memcmp(kv->key.data, COMPACTED_KEY, kv->key.len) == 0) {
		AUTO_FREE char *text = xstrndup((const char *)kv->value.data, kv->value.len);
		e->compacted = strtoull(text, NULL, 10);
	}
}

// Of another than the one that is known, or is being put by this process.
static bool is_epoch(const struct etcd *e, const Etcd__KeyValue *kv)
{
	return kv->key.len == sizeof(EPOCH_KEY) - 1 && memcmp(kv->key.data, EPOCH_KEY, kv->key.len) == 0 &&
	       !(e->restoring && kv->value.len == strlen(e->restoring) &&
		 memcmp(kv->value.data, e->restoring, kv->value.len) == 0);
}

static struct record *record_of(const Etcd__Event *event)
{
	if (event->type == ETCD__EVENT__TYPE__PUT)
		return etcd_record(event->kv);
	struct record *r = record_new_deletion((const char *)event->kv->key.data, event->kv->key.len);
	r->mod_revision = r->operation = (uint64_t)event->kv->mod_revision;
	return r;
}

static bool apply_revision(struct etcd *e, Etcd__Event **events, size_t n, const char **why)
{
	struct replica *replica = &e->store.replica;
	uint64_t revision = (uint64_t)events[0]->kv->mod_revision;
	if (revision <= replica->revision) {
		e->counts.duplicates++;
		return true;
	}
	if (revision != replica->revision + 1) {
		*why = "a revision is missing";
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		if (is_epoch(e, events[i]->kv) || !fits(e, events[i])) {
			*why = is_epoch(e, events[i]->kv) ? "the epoch has changed"
							  : "an event does not follow from the one before";
			return false;
		}
	}
	uint8_t index = 0;
	for (size_t i = 0; i < n; i++) {
		struct record *r = is_reserved(events[i]->kv->key) ? NULL : record_of(events[i]);
		if (!r) {
			note_reserved(e, events[i]->kv);
			continue;
		}
		r->index = index++;
		record_unref(replica_apply(replica, r)); // takes r
	}
	replica->revision = revision;
	return true;
}

static void take_events(struct sync *sync, Etcd__WatchResponse *response)
{
	size_t n = sync->n_pending + response->n_events;
	sync->pending = xreallocarray(sync->pending, n ? n : 1, sizeof(Etcd__Event *));
	for (size_t i = 0; i < response->n_events; i++)
		if (response->events[i]->kv)
			sync->pending[sync->n_pending++] = TAKE_PTR(response->events[i]);
		else
			etcd__event__free_unpacked(response->events[i], NULL);
	response->n_events = 0;
}

// How many of the pending events, from the first on, have its revision.
static size_t same_revision(Etcd__Event *const *events, size_t n)
{
	size_t same = 1;
	while (same < n && events[same]->kv->mod_revision == events[0]->kv->mod_revision)
		same++;
	return same;
}

bool etcd_replay(struct etcd *e, Etcd__WatchResponse *response, const char **why)
{
	struct sync *sync = &e->sync;
	take_events(sync, response);
	size_t at = 0;
	bool good = true;
	while (good && at < sync->n_pending) {
		size_t n = same_revision(sync->pending + at, sync->n_pending - at);
		if (response->fragment && at + n == sync->n_pending)
			break; // the rest of it may follow
		good = apply_revision(e, sync->pending + at, n, why);
		at += n;
	}
	for (size_t i = 0; i < at; i++)
		etcd__event__free_unpacked(sync->pending[i], NULL);
	sync->n_pending -= at;
	if (sync->n_pending)
		memmove(sync->pending, sync->pending + at, sync->n_pending * sizeof(Etcd__Event *));
	return good;
}

void etcd_replay_clear(struct etcd *e)
{
	for (size_t i = 0; i < e->sync.n_pending; i++)
		etcd__event__free_unpacked(e->sync.pending[i], NULL);
	free(TAKE_PTR(e->sync.pending));
	e->sync.n_pending = 0;
}
