#include "server/artifacts.h"

#include "base/clock.h"
#include "base/str.h"
#include "image/blobs.h"
#include "server/change.h"
#include "server/core.h"
#include "server/peers.h"
#include "server/work.h"

#include <errno.h>

enum { MANIFEST_MAX = ARTIFACT_TEXT_MAX };

static const struct field digests_items[] = {
	FIELD_LIST(digests, digests, digest_count, FIELD_ARRAY, REQUIRED, ARTIFACT_ENTRIES_MAX, .of = &digest_fields),
};
const struct fields digests_fields = FIELDS(digests, digests_items, "Digests");

struct blobs *server_blobs(struct server *server, const char *tenant, struct err *err)
{
	struct blobs *blobs = map_get(&server->blobs, tenant);
	if (blobs)
		return blobs;
	AUTO_FREE char *dir = xasprintf("%s/blobs/%s", server->platform->data, tenant);
	if (blobs_open(dir, &blobs, err) < 0)
		return NULL;
	map_set(&server->blobs, tenant, blobs);
	return blobs;
}

struct blobs *request_blobs(struct request *rq)
{
	struct err err = {};
	struct blobs *blobs = server_blobs(rq->server, request_param(rq, "tenant"), &err);
	if (!blobs)
		reply_problem(rq, status_of(err.code), NULL, &err);
	return blobs;
}

void artifacts_close(struct server *server)
{
	size_t at = 0;
	void *blobs;
	while (map_next(&server->blobs, &at, NULL, &blobs))
		blobs_close(blobs);
	map_clear(&server->blobs);
}

// ---- which blobs are missing

struct missing {
	struct request *rq;
	struct blobs *blobs;
	size_t *indexes, n;
};

static void find_missing(void *arg)
{
	struct missing *missing = arg;
	struct digests *asked = missing->rq->object;
	missing->n = blobs_missing(missing->blobs, (const char *const *)asked->digests, asked->digest_count,
				   missing->indexes);
}

static void found_missing(void *arg)
{
	AUTO_FREE struct missing *missing = arg;
	AUTO_REQUEST struct request *rq = missing->rq;
	struct digests *asked = rq->object;
	json_t *items = json_array();
	for (size_t i = 0; i < missing->n; i++)
		json_array_append_new(items, json_string(asked->digests[missing->indexes[i]]));
	free(missing->indexes);
	reply_json(rq, 200, json_pack("{s:o}", "missing", items));
}

void artifacts_missing(struct request *rq)
{
	struct blobs *blobs = request_blobs(rq);
	if (!blobs)
		return;
	struct digests *asked = rq->object;
	struct missing *missing = xcalloc(1, sizeof(*missing));
	*missing = (struct missing){ .rq = request_ref(rq), .blobs = blobs };
	missing->indexes = xcalloc(asked->digest_count + 1, sizeof(*missing->indexes));
	server_work(rq->server, find_missing, found_missing, missing);
}

// ---- manifests

struct upload {
	struct request *rq;
	struct blobs *blobs;
	char *digest, *text;
	size_t n;
	int failed;
	struct err err;
	char **missing;
	size_t n_missing;
	struct stored_artifact record; // what came of it
};

static void upload_free(struct upload *upload)
{
	for (size_t i = 0; i < upload->n_missing; i++)
		free(upload->missing[i]);
	free(upload->missing);
	free(upload->digest);
	free(upload->text);
	request_unref(upload->rq);
	free(upload);
}

static void put_manifest(void *arg)
{
	struct upload *upload = arg;
	upload->failed = blobs_put_artifact(upload->blobs, upload->digest, upload->text, upload->n, &upload->missing,
					    &upload->n_missing, &upload->err);
	if (upload->failed < 0)
		return;
	AUTO_ARTIFACT struct artifact artifact = {};
	upload->failed = artifact_parse(upload->text, upload->n, &artifact, &upload->err);
	for (size_t i = 0; i < artifact.n; i++)
		upload->record.files += artifact.entries[i].kind == ARTIFACT_FILE;
	upload->record.size_bytes = artifact.bytes;
}

static void reply_missing(struct upload *upload)
{
	json_t *missing = json_array();
	for (size_t i = 0; i < upload->n_missing; i++)
		json_array_append_new(missing, json_string(upload->missing[i]));
	err_hint(&upload->err, "upload them first: POST /v1/tenants/%s/blobs", request_param(upload->rq, "tenant"));
	reply_problem_with(upload->rq, 409, NULL, &upload->err, json_pack("{s:o}", "missing", missing));
}

static char *artifact_key(struct request *rq)
{
	return xasprintf("v1/artifacts/%s/%s", request_param(rq, "tenant"), request_param(rq, "digest"));
}

static void stored(struct request *rq)
{
	AUTO_FREE char *key = artifact_key(rq);
	const struct record *record = store_get(rq->server->store, key);
	json_t *json = NULL;
	if (record && json_from_bytes(record_value(record), record->value_len, &json, NULL) == 0)
		reply_json(rq, 200, json);
	else
		reply_problemf(rq, 500, NULL, "the artifact's record cannot be read");
}

static void write_artifact(struct request *rq, const char *key, const struct stored_artifact *record, uint64_t revision)
{
	AUTO_FREE char *text = stored_artifact_text(record);
	struct store_txn *txn = store_txn_new();
	store_txn_if_revision(txn, key, revision);
	store_txn_put(txn, key, text, strlen(text));
	change_commit(rq, txn, key, NULL, stored);
}

static bool is_holder(const struct server *server, const struct stored_artifact *record)
{
	for (uint32_t i = 0; i < record->server_count; i++)
		if (str_eq(record->servers[i], server->name))
			return true;
	return !store_is_shared(server->store);
}

static void add_holder(const struct server *server, struct stored_artifact *record)
{
	record->servers = xreallocarray(record->servers, record->server_count + 1, sizeof(char *));
	record->servers[record->server_count++] = xstrdup(server->name);
}

// One that another server had already: this one has it too.
static void record_holder(struct request *rq, const char *key, const struct record *known)
{
	struct stored_artifact record = {};
	if (stored_artifact_parse_text(record_value(known), known->value_len, &record, NULL) < 0 ||
	    is_holder(rq->server, &record)) {
		stored(rq);
	} else {
		add_holder(rq->server, &record);
		write_artifact(rq, key, &record, known->mod_revision);
	}
	stored_artifact_clear(&record);
}

static void record_artifact(struct upload *upload)
{
	struct request *rq = upload->rq;
	AUTO_FREE char *key = artifact_key(rq);
	const struct record *known = store_get(rq->server->store, key);
	if (known) {
		record_holder(rq, key, known);
		return;
	}
	AUTO_FREE char *tenant = xstrdup(request_param(rq, "tenant"));
	struct stored_artifact record = upload->record;
	record.digest = upload->digest;
	record.tenant = tenant;
	record.created_ms = realtime_ms();
	record.by = rq->who.name;
	if (store_is_shared(rq->server->store))
		add_holder(rq->server, &record);
	write_artifact(rq, key, &record, 0);
	if (record.server_count)
		free(record.servers[0]);
	free(record.servers);
}

static void manifest_was_put(void *arg)
{
	struct upload *upload = arg;
	if (upload->n_missing)
		reply_missing(upload);
	else if (upload->failed < 0)
		reply_problem(upload->rq, upload->failed == -EBADMSG ? 400 : status_of(upload->failed), NULL,
			      &upload->err);
	else if (upload->rq->server->closing)
		reply_problemf(upload->rq, 503, "ask again", "the server is being stopped");
	else
		record_artifact(upload);
	upload_free(upload);
}

static void manifest_came(struct http_exchange *x, const char *body, size_t n)
{
	struct request *rq = http_exchange_arg(x);
	struct blobs *blobs = request_blobs(rq);
	rq->large = n >= REQUEST_LARGE;
	if (!blobs)
		return;
	struct upload *upload = xcalloc(1, sizeof(*upload));
	*upload = (struct upload){ .rq = request_ref(rq),
				   .blobs = blobs,
				   .digest = xstrdup(request_param(rq, "digest")),
				   .text = xstrndup(body, n),
				   .n = n };
	server_work(rq->server, put_manifest, manifest_was_put, upload);
}

// Another upload of the same was recorded meanwhile, here or at another server.
static void record_again(struct request *rq)
{
	AUTO_FREE char *key = artifact_key(rq);
	const struct record *known = store_get(rq->server->store, key);
	if (known)
		record_holder(rq, key, known);
	else
		reply_problemf(rq, 503, "ask again", "the artifact was removed just now");
}

// Answers for what is not a digest.
static bool check_param(struct request *rq)
{
	const char *fault = check_digest(request_param(rq, "digest"));
	if (fault)
		reply_problemf(rq, 400, NULL, "the digest '%.100s' %s", request_param(rq, "digest"), fault);
	return !fault;
}

void artifacts_put(struct request *rq)
{
	if (!rq->attempts && check_param(rq))
		http_exchange_read_body(rq->x, MANIFEST_MAX, manifest_came);
	else
		record_again(rq);
}

struct reading {
	struct request *rq;
	struct blobs *blobs;
	struct artifact artifact;
	int failed;
	struct err err;
};

static void read_manifest(void *arg)
{
	struct reading *reading = arg;
	reading->failed = blobs_get_artifact(reading->blobs, request_param(reading->rq, "digest"), &reading->artifact,
					     &reading->err);
}

static void manifest_was_read(void *arg)
{
	AUTO_FREE struct reading *reading = arg;
	AUTO_REQUEST struct request *rq = reading->rq;
	if (reading->failed == -ENOENT && peers_have(rq))
		return;
	if (reading->failed < 0)
		reply_problem(rq, status_of(reading->failed), NULL, &reading->err);
	else if (rq->x && !rq->answered)
		http_respond(rq->x, 200, "text/plain; charset=utf-8", reading->artifact.text,
			     reading->artifact.text_len);
	artifact_clear(&reading->artifact);
}

void artifacts_get(struct request *rq)
{
	struct blobs *blobs = check_param(rq) ? request_blobs(rq) : NULL;
	if (!blobs)
		return;
	struct reading *reading = xcalloc(1, sizeof(*reading));
	*reading = (struct reading){ .rq = request_ref(rq), .blobs = blobs };
	server_work(rq->server, read_manifest, manifest_was_read, reading);
}
