#include "server/builds.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "server/change.h"
#include "server/core.h"
#include "server/passthrough.h"
#include "server/stream.h"
#include "server/work.h"

#include <errno.h>

enum { MEMORY_DEFAULT = 1 << 30 };

static const struct field build_request_items[] = {
	FIELD(build_request, artifact, FIELD_TEXT, REQUIRED, 0, 128, .check = check_digest),
	FIELD(build_request, runtime, FIELD_TEXT, OPTIONAL, 0, 128),
	FIELD(build_request, stack, FIELD_TEXT, OPTIONAL, 0, 128,
	      .about = "of the app; the build has the runtime's build stack"),
	FIELD(build_request, command, FIELD_TEXT, REQUIRED, 1, 32 << 10),
	FIELD(build_request, timeout_ms, FIELD_MS, OPTIONAL, 1000, BUILD_TIMEOUT_MAX_MS,
	      .preset = BUILD_TIMEOUT_DEFAULT_MS),
	FIELD(build_request, memory_bytes, FIELD_BYTES, OPTIONAL, 16 << 20, INT64_MAX, .preset = MEMORY_DEFAULT),
};
const struct fields build_request_fields = FIELDS(build_request, build_request_items, "BuildRequest");

struct build_run {
	struct request *rq;
	char *cache;
	struct build_place place;
	int failed;
	struct err err;
	uint64_t begun_ms;
};

static void build_run_free(void *arg)
{
	struct build_run *run = arg;
	build_place_clear(&run->place);
	free(run->cache);
	request_unref(run->rq);
	free(run);
}

// ---- results

static char *result_key(struct request *rq, const struct build_run *run)
{
	return xasprintf("v1/builds/%s/%s", request_param(rq, "tenant"), run->place.key);
}

// The artifact that these inputs gave before, if it is still there. Heap.
static char *known_result(struct request *rq, const struct build_run *run)
{
	struct store *store = rq->server->store;
	AUTO_FREE char *key = result_key(rq, run);
	const struct record *record = store_get(store, key);
	struct build_result result = {};
	if (!record || build_result_parse_text(record_value(record), record->value_len, &result, NULL) < 0)
		return NULL;
	AUTO_FREE char *artifact_key = xasprintf("v1/artifacts/%s/%s", request_param(rq, "tenant"), result.artifact);
	char *artifact = store_get(store, artifact_key) ? xstrdup(result.artifact) : NULL;
	build_result_clear(&result);
	return artifact;
}

static void recorded(void *arg UNUSED, const struct store_answer *answer)
{
	if (answer->result != STORE_OK)
		log_warn("build result not kept reason=\"%s\"", answer->reason);
}

static void record_result(struct request *rq, const struct build_run *run, const char *artifact)
{
	struct build_result result = { .key = run->place.key,
				       .artifact = (char *)artifact,
				       .created_ms = realtime_ms(),
				       .took_ms = (uint32_t)(loop_now_ms(rq->server->loop) - run->begun_ms) };
	AUTO_FREE char *key = result_key(rq, run);
	AUTO_FREE char *text = build_result_text(&result);
	struct store_txn *txn = store_txn_new();
	store_txn_put(txn, key, text, strlen(text));
	audit_add(rq, txn, key, "built");
	store_commit(rq->server->store, txn, recorded, NULL);
}

static void record_failure(struct request *rq, const json_t *said)
{
	uint64_t status = json_get_u64(said, "exit", 0);
	AUTO_FREE char *exit = status ? xasprintf(" (exit status %llu)", (unsigned long long)status) : xstrdup("");
	AUTO_FREE char *detail = xasprintf("%.1000s%s", json_get_text(said, "detail", "the build failed"), exit);
	audit_failed(rq, detail);
}

static void saw_event(struct request *rq, const struct sse_event *event, void *arg)
{
	struct build_run *run = arg;
	AUTO_JSON json_t *data = NULL;
	bool failed = str_eq(event->event, "failed");
	if (!failed && !str_eq(event->event, "result"))
		return;
	if (json_from_bytes(event->data, event->data_len, &data, NULL) < 0)
		return;
	if (failed) {
		record_failure(rq, data);
		return;
	}
	const char *artifact = json_get_text(data, "artifact", "");
	if (!check_digest(artifact))
		record_result(rq, run, artifact);
}

// ---- the request

static void reply_known(struct request *rq, const char *artifact)
{
	AUTO_FREE char *data = xasprintf("{\"artifact\":\"%s\",\"cached\":true}", artifact);
	AUTO_BUF struct buf out = BUF_INIT(4096);
	sse_write(&out, "result", NULL, data, strlen(data));
	if (rq->x && !rq->answered)
		http_respond(rq->x, 200, "text/event-stream", buf_data(&out), buf_len(&out));
	rq->answered = true;
}

static json_t *agent_body(struct request *rq, const struct build_run *run)
{
	const struct build_request *asked = rq->object;
	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "tenant", request_param(rq, "tenant"), "artifact",
			 asked->artifact, "runtime", run->place.runtime, "command", asked->command, "timeout_ms",
			 (json_int_t)asked->timeout_ms, "memory_bytes", (json_int_t)asked->memory_bytes);
}

static void begin(struct build_run *run)
{
	struct request *rq = run->rq;
	AUTO_FREE char *artifact = known_result(rq, run);
	if (artifact || !rq->x) {
		if (artifact)
			reply_known(rq, artifact);
		build_run_free(run);
		return;
	}
	run->begun_ms = loop_now_ms(rq->server->loop);
	AUTO_JSON json_t *body = agent_body(rq, run);
	relay_start(rq, &(struct relay_spec){ .method = "POST",
					      .target = "/builds",
					      .body = body,
					      .on_event = saw_event,
					      .free_arg = build_run_free,
					      .arg = run });
}

static void look_up(void *arg)
{
	struct build_run *run = arg;
	const struct build_request *asked = run->rq->object;
	run->failed =
		build_place_make(run->cache, asked->runtime, asked->artifact, asked->command, &run->place, &run->err);
}

static void looked_up(void *arg)
{
	struct build_run *run = arg;
	struct request *rq = run->rq;
	if (run->failed >= 0 && !rq->server->closing) {
		begin(run);
		return;
	}
	if (run->failed < 0)
		reply_problem(rq, 400, "runtime", &run->err);
	build_run_free(run);
}

void builds_post(struct request *rq)
{
	const struct build_request *asked = rq->object;
	AUTO_FREE char *key = xasprintf("v1/artifacts/%s/%s", request_param(rq, "tenant"), asked->artifact);
	if (!store_get(rq->server->store, key)) {
		struct err err = {};
		err_set(&err, -ENOENT, "artifact: '%s' was not uploaded", asked->artifact);
		reply_problem(rq, 409, "artifact", &err);
		return;
	}
	struct build_run *run = xcalloc(1, sizeof(*run));
	*run = (struct build_run){ .rq = request_ref(rq), .cache = xstrdup(rq->server->platform->cache) };
	server_work(rq->server, look_up, looked_up, run);
}
