#include "server/sweep.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "image/blobs.h"
#include "server/artifacts.h"
#include "server/core.h"
#include "server/work.h"

enum { BATCH_OPS = 90 };

// One round. The lists are pinned records: the pool reads them, the loop frees them.
struct round {
	struct server *server;
	char *tenant;
	struct blobs *blobs;
	uint64_t age_ms, now_ms;
	struct store_list releases, artifacts, builds;
	struct map used;           // artifacts that a release has
	const struct record **old; // records of artifacts and builds to delete
	size_t n_old, at;
	struct map kept; // digests of manifests and of the files they name
	size_t removed;
	int failed;
	struct err err;
};

static void round_free(struct round *round)
{
	round->server->sweep.running = false;
	store_list_clear(&round->releases);
	store_list_clear(&round->artifacts);
	store_list_clear(&round->builds);
	map_clear(&round->used);
	map_clear(&round->kept);
	free(round->old);
	free(round->tenant);
	free(round);
}

// ---- what is old: on the pool

static void mark(struct map *map, const char *digest)
{
	static char present;
	map_set(map, digest, &present);
}

static void mark_used(struct round *round)
{
	for (size_t i = 0; i < round->releases.count; i++) {
		const struct record *r = round->releases.records[i];
		AUTO_JSON json_t *json = NULL;
		if (json_from_bytes(record_value(r), r->value_len, &json, NULL) == 0)
			mark(&round->used, json_get_text(json, "artifact", ""));
	}
}

// Adds what is neither used nor young. digest_of_record: whose use counts.
static void add_old(struct round *round, const struct store_list *list, const char *member)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct record *r = list->records[i];
		AUTO_JSON json_t *json = NULL;
		if (json_from_bytes(record_value(r), r->value_len, &json, NULL) < 0)
			continue;
		bool young = json_get_u64(json, "created_ms", round->now_ms) + round->age_ms > round->now_ms;
		if (!young && !map_get(&round->used, json_get_text(json, member, "")))
			round->old[round->n_old++] = r;
	}
}

static void find_old(void *arg)
{
	struct round *round = arg;
	mark_used(round);
	round->old = xcalloc(round->artifacts.count + round->builds.count + 1, sizeof(struct record *));
	add_old(round, &round->artifacts, "digest");
	add_old(round, &round->builds, "artifact");
}

// ---- what goes: records first, on the loop, so that no new release can name them; then files

static void keep_manifest(struct round *round, const char *digest)
{
	AUTO_ARTIFACT struct artifact artifact = {};
	mark(&round->kept, digest);
	if (blobs_get_artifact(round->blobs, digest, &artifact, NULL) < 0)
		return;
	for (size_t i = 0; i < artifact.n; i++)
		if (artifact.entries[i].kind == ARTIFACT_FILE)
			mark(&round->kept, artifact.entries[i].digest);
}

static bool is_kept(void *arg, const char *digest)
{
	return map_get(&((struct round *)arg)->kept, digest);
}

static void remove_files(void *arg)
{
	struct round *round = arg;
	for (size_t i = 0; i < round->artifacts.count; i++)
		keep_manifest(round, strrchr(record_key(round->artifacts.records[i]), '/') + 1);
	round->failed = blobs_sweep(round->blobs, is_kept, round, round->age_ms, &round->removed, &round->err);
}

static void files_removed(void *arg)
{
	struct round *round = arg;
	if (round->failed < 0)
		log_warn("sweep failed tenant=%s error=\"%s\"", round->tenant, round->err.text);
	else if (round->removed || round->n_old)
		log_info("swept tenant=%s records=%zu blobs=%zu", round->tenant, round->n_old, round->removed);
	round_free(round);
}

static void delete_batch(struct round *round);

static void batch_deleted(void *arg, const struct store_answer *answer)
{
	struct round *round = arg;
	bool conflict = answer->result == STORE_CONFLICT;
	if (round->server->closing || (answer->result != STORE_OK && !conflict)) {
		round_free(round);
		return;
	}
	delete_batch(round); // what met a conflict is looked at again in the next round
}

static void begin_files(struct round *round)
{
	AUTO_FREE char *prefix = xasprintf("v1/artifacts/%s/", round->tenant);
	store_list_clear(&round->artifacts);
	store_list(round->server->store, prefix, NULL, SIZE_MAX, &round->artifacts);
	server_work(round->server, remove_files, files_removed, round);
}

static void delete_batch(struct round *round)
{
	if (round->at == round->n_old || !server_leads(round->server)) { // on others: files only
		begin_files(round);
		return;
	}
	struct store_txn *txn = store_txn_new();
	for (; round->at < round->n_old && store_txn_ops(txn) < BATCH_OPS; round->at++) {
		const struct record *r = round->old[round->at];
		store_txn_if_revision(txn, record_key(r), r->mod_revision);
		store_txn_delete(txn, record_key(r));
	}
	server_commit_leading(round->server, txn, batch_deleted, round);
}

static void found_old(void *arg)
{
	struct round *round = arg;
	if (round->server->closing)
		round_free(round);
	else
		delete_batch(round);
}

// ---- rounds

static void list_all(struct store *store, const char *kind, const char *tenant, struct store_list *ret)
{
	AUTO_FREE char *prefix = xasprintf("v1/%s/%s/", kind, tenant);
	store_list(store, prefix, NULL, SIZE_MAX, ret);
}

void sweep_tenant(struct server *server, const char *tenant)
{
	struct err err = {};
	struct blobs *blobs = server->sweep.running ? NULL : server_blobs(server, tenant, &err);
	if (!blobs) {
		if (err.code)
			log_warn("sweep failed tenant=%s error=\"%s\"", tenant, err.text);
		return;
	}
	server->sweep.running = true;
	struct round *round = xcalloc(1, sizeof(*round));
	*round = (struct round){ .server = server,
				 .tenant = xstrdup(tenant),
				 .blobs = blobs,
				 .age_ms = server->sweep.age_ms,
				 .now_ms = realtime_ms() };
	list_all(server->store, "releases", tenant, &round->releases);
	list_all(server->store, "artifacts", tenant, &round->artifacts);
	list_all(server->store, "builds", tenant, &round->builds);
	server_work(server, find_old, found_old, round);
}

static void fire(struct timer *timer)
{
	struct server *server = CONTAINER_OF(timer, struct server, sweep.timer);
	size_t at = 0;
	const char *tenant;
	while (map_next(&server->replica.tenants, &at, &tenant, NULL))
		sweep_tenant(server, tenant);
	timer_set(timer, SWEEP_EVERY_MS);
}

void sweep_open(struct server *server)
{
	server->sweep.age_ms = SWEEP_AGE_MS;
	timer_init(&server->sweep.timer, server->loop, fire);
	timer_set(&server->sweep.timer, SWEEP_FIRST_MS);
}

void sweep_close(struct server *server)
{
	timer_clear(&server->sweep.timer);
}
