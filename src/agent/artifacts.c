#include "agent/artifacts.h"

#include "base/log.h"
#include "base/str.h"
#include "client/client.h"
#include "image/content.h"
#include "image/layer.h"

#include <errno.h>

enum { ANSWER_STAYS_MS = 1000, LATEST_MAX = 10000 };

// Until it succeeds, or for a moment after it failed: whoever asks then is told why instead of starting another.
struct fetch {
	struct artifacts *artifacts;
	char *tenant, *digest;
	char *addresses; // of the servers, as they were when it began
	char *base; // an artifact that is here already; NULL: none
	bool running;
	int result;
	struct err err;
	struct timer forget;
};

void artifacts_init(struct artifacts *artifacts, const struct artifacts_spec *spec)
{
	*artifacts = (struct artifacts){ .spec = *spec, .dir = xstrdup(spec->dir) };
}

static void fetch_free(struct fetch *fetch)
{
	timer_clear(&fetch->forget);
	free(fetch->tenant);
	free(fetch->digest);
	free(fetch->base);
	free(fetch->addresses);
	free(fetch);
}

static void forget_latest(struct artifacts *artifacts)
{
	void *latest;
	for (size_t at = 0; map_next(&artifacts->latest, &at, NULL, &latest);)
		free(latest);
	map_clear(&artifacts->latest);
}

void artifacts_clear(struct artifacts *artifacts)
{
	void *fetch;
	for (size_t at = 0; map_next(&artifacts->fetches, &at, NULL, &fetch);)
		fetch_free(fetch);
	map_clear(&artifacts->fetches);
	forget_latest(artifacts);
	free(artifacts->dir);
	*artifacts = (struct artifacts){ 0 };
}

struct unpacking {
	struct unpacker *unpacker;
	struct err err;
};

static int unpack_piece(const char *bytes, size_t n, void *arg)
{
	struct unpacking *unpacking = arg;
	return unpacker_push(unpacking->unpacker, bytes, n, &unpacking->err);
}

static int download(struct fetch *fetch, const char *base, struct client *client, struct err *err)
{
	AUTO_FREE char *path = xasprintf("/v1/tenants/%s/artifacts/%s/content%s%s", fetch->tenant, fetch->digest,
					 base ? "?base=" : "", base ? base : "");
	struct unpacking unpacking = { 0 };
	int r = unpacker_new(fetch->artifacts->dir, fetch->digest, &unpacking.unpacker, err);
	if (r < 0)
		return r;
	if (base)
		r = unpacker_base(unpacking.unpacker, base, err);
	if (r == 0)
		r = client_download(client, path, unpack_piece, &unpacking, err);
	if (unpacking.err.code && err)
		*err = unpacking.err;
	if (r == 0)
		r = unpacker_finish(unpacking.unpacker, err);
	unpacker_free(unpacking.unpacker);
	return r;
}

// What a server that is away or starting causes.
static bool is_passing(int result)
{
	static const int passing[] = { -ECONNREFUSED, -ECONNRESET, -ECONNABORTED, -EPIPE, -EAGAIN, -ETIMEDOUT, -EHOSTUNREACH,
				       -ENETUNREACH };
	for (size_t i = 0; i < ARRAY_LEN(passing); i++) {
		if (result == passing[i])
			return true;
	}
	return false;
}

static void fetch_work(void *arg)
{
	struct fetch *fetch = arg;
	const struct artifacts_spec *spec = &fetch->artifacts->spec;
	struct client *client = client_new(fetch->addresses, spec->token, &fetch->err);
	if (!client) {
		fetch->result = fetch->err.code;
		return;
	}
	fetch->result = fetch->base ? download(fetch, fetch->base, client, &fetch->err) : -ENOENT;
	if (fetch->base && fetch->result < 0 && !is_passing(fetch->result))
		log_warn("artifact=%s is fetched whole: %s", fetch->digest, fetch->err.text);
	if (fetch->result < 0 && !is_passing(fetch->result))
		fetch->result = download(fetch, NULL, client, &fetch->err);
	client_free(client);
}

static void fetch_forget(struct fetch *fetch)
{
	map_remove(&fetch->artifacts->fetches, fetch->digest);
	fetch_free(fetch);
}

static void answer_stayed(struct timer *timer)
{
	fetch_forget(CONTAINER_OF(timer, struct fetch, forget));
}

static void fetch_done(void *arg)
{
	struct fetch *fetch = arg;
	struct artifacts *artifacts = fetch->artifacts;
	fetch->running = false;
	if (fetch->result < 0 && !is_passing(fetch->result))
		log_warn("artifact=%s cannot be fetched: %s", fetch->digest, fetch->err.text);
	if (fetch->result == 0)
		fetch_forget(fetch);
	else
		timer_set(&fetch->forget, ANSWER_STAYS_MS);
	artifacts->spec.on_end(artifacts->spec.arg);
}

static void fetch_start(struct artifacts *artifacts, const struct assignment *a)
{
	const char *latest = str_empty(a->app_uid) ? NULL : map_get(&artifacts->latest, a->app_uid);
	struct fetch *fetch = xcalloc(1, sizeof(*fetch));
	*fetch = (struct fetch){
		.artifacts = artifacts,
		.tenant = xstrdup(a->tenant),
		.digest = xstrdup(a->artifact),
		.base = latest ? xstrdup(latest) : NULL,
		.addresses = artifacts->spec.addresses(artifacts->spec.arg),
		.running = true,
	};
	timer_init(&fetch->forget, artifacts->spec.loop, answer_stayed);
	map_set(&artifacts->fetches, fetch->digest, fetch);
	loop_work(artifacts->spec.loop, fetch_work, fetch_done, fetch);
}

static int fetch_of(struct artifacts *artifacts, const struct assignment *a, struct err *err)
{
	const struct fetch *fetch = map_get(&artifacts->fetches, a->artifact);
	if (!fetch)
		fetch_start(artifacts, a);
	if (!fetch || fetch->running)
		return -EINPROGRESS;
	if (err)
		*err = fetch->err;
	err_wrap(err, "artifact %.19s", fetch->digest);
	return is_passing(fetch->result) ? -EAGAIN : fetch->result;
}

static void keep_latest(struct artifacts *artifacts, const struct assignment *a)
{
	if (str_empty(a->app_uid) || str_eq(map_get(&artifacts->latest, a->app_uid), a->artifact))
		return;
	if (artifacts->latest.count >= LATEST_MAX)
		forget_latest(artifacts);
	free(map_remove(&artifacts->latest, a->app_uid));
	map_set(&artifacts->latest, a->app_uid, xstrdup(a->artifact));
}

int artifacts_pull(struct artifacts *artifacts, const struct assignment *a, struct err *err)
{
	for (uint32_t i = 0; i < a->layer_count; i++) {
		if (layer_ready(artifacts->spec.cache, a->layers[i]))
			continue;
		err_set(err, -ENOENT, "layer %.19s of release %u is not in the cache %s", a->layers[i], a->release,
			artifacts->spec.cache);
		return err_hint(err, "build its stack or runtime again with 'dialtone stack build' or 'dialtone runtime build'");
	}
	if (str_empty(a->artifact))
		return 0;
	if (unpacked_ready(artifacts->dir, a->artifact)) {
		keep_latest(artifacts, a);
		return 0;
	}
	return fetch_of(artifacts, a, err);
}

char **artifacts_layers(const struct artifacts *artifacts, const struct assignment *a, size_t *ret_n)
{
	char **layers = xcalloc(a->layer_count + 1, sizeof(*layers));
	size_t n = 0;
	if (!str_empty(a->artifact)) {
		AUTO_FREE char *path = unpacked_path(artifacts->dir, a->artifact);
		layers[n++] = xasprintf("%s/root", path);
	}
	for (uint32_t i = 0; i < a->layer_count; i++)
		layers[n++] = layer_path(artifacts->spec.cache, a->layers[i]);
	*ret_n = n;
	return layers;
}

void texts_free(char **texts, size_t n)
{
	for (size_t i = 0; texts && i < n; i++)
		free(texts[i]);
	free(texts);
}
