#include "rig.h"

#include "base/clock.h"
#include "io/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>

#include <cmocka.h>

#define LAYER(c) "sha256:" c c c c c c c c c c c c c c c c

static const struct {
	const char *path, *text;
} cache_files[] = {
	{ "stacks/minimal/12.json", "{\"name\":\"minimal\",\"version\":\"12\",\"layers\":[\"" LAYER(
					    "aaaa") "\"],\"env\":{\"PATH\":\"/usr/bin\"}}" },
	{ "stacks/shell/12.json", "{\"name\":\"shell\",\"version\":\"12\",\"has_shell\":true,\"layers\":[\"" LAYER(
					  "bbbb") "\",\"" LAYER("aaaa") "\"],\"env\":{\"PATH\":\"/usr/bin\"}}" },
	{ "stacks/bare/1.json", "{\"name\":\"bare\",\"version\":\"1\",\"layers\":[\"" LAYER("dddd") "\"]}" },
	{ "runtimes/static/1.json",
	  "{\"name\":\"static\",\"version\":\"1\",\"stack\":\"minimal@12\",\"command\":\"/srv/serve\","
	  "\"layers\":[\"" LAYER("cccc") "\"],\"env\":{\"LANG\":\"C.UTF-8\"}}" },
	{ "secrets/operator.token", "operator-secret\n" },
	{ "secrets/node.token", "node-secret\n" },
};

static void write_files(struct rig *rig)
{
	for (size_t i = 0; i < ARRAY_LEN(cache_files); i++) {
		AUTO_FREE char *path = xasprintf("%s/%s", rig->dir, cache_files[i].path);
		AUTO_FREE char *folder = xstrdup(path);
		*strrchr(folder, '/') = '\0';
		assert_int_equal(dir_make(folder, 0700, NULL), 0);
		assert_int_equal(file_write_atomic(path, cache_files[i].text, strlen(cache_files[i].text), 0600, NULL),
				 0);
	}
}

// ---- the loop's thread

static void poked(struct poll *poll, int events UNUSED)
{
	struct rig *rig = CONTAINER_OF(poll, struct rig, poll);
	char byte;
	if (read(rig->poke[0], &byte, 1) != 1)
		return;
	pthread_mutex_lock(&rig->lock);
	rig->job(rig, rig->job_arg);
	rig->job = NULL;
	pthread_cond_broadcast(&rig->done);
	pthread_mutex_unlock(&rig->lock);
}

void rig_do(struct rig *rig, void (*job)(struct rig *rig, void *arg), void *arg)
{
	pthread_mutex_lock(&rig->lock);
	rig->job = job;
	rig->job_arg = arg;
	assert_int_equal(write(rig->poke[1], "x", 1), 1);
	while (rig->job)
		pthread_cond_wait(&rig->done, &rig->lock);
	pthread_mutex_unlock(&rig->lock);
}

static void *run_loop(void *arg)
{
	loop_run(((struct rig *)arg)->loop);
	return NULL;
}

static void stop_loop(struct rig *rig, void *arg UNUSED)
{
	loop_stop(rig->loop);
}

static void never(void *arg UNUSED, const struct err *err)
{
	fail_msg("store: %s", err->text);
}

static void open_server(struct rig *rig, void *arg UNUSED)
{
	struct err err = {};
	struct store *store = NULL;
	AUTO_FREE char *dir = xasprintf("%s/store", rig->dir);
	if (!rig->sqlite)
		store = store_open_memory(rig->loop);
	else if (store_open_sqlite(rig->loop, dir, (struct store_owner){ never, rig }, &store, &err) < 0)
		fail_msg("%s", err.text);
	struct address any;
	int fd;
	address_parse(rig->platform.api, &any, &err);
	if (socket_listen(&any, 100, &fd, &err) < 0)
		fail_msg("%s", err.text);
	struct address bound = { .len = sizeof(bound.sa) };
	getsockname(fd, (struct sockaddr *)&bound.sa, &bound.len);
	char text[ADDRESS_TEXT_SIZE];
	address_write(&bound, text);
	snprintf(rig->api, sizeof(rig->api), "http://%.50s", text);
	free(rig->platform.api);
	rig->platform.api = xstrdup(text);
	if (server_new(rig->loop, &rig->platform, store, "memory", &rig->server, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(server_listen(rig->server, fd, &err), 0);
}

static void close_server(struct rig *rig, void *arg UNUSED)
{
	server_free(TAKE_PTR(rig->server));
}

static void ignore(void *arg UNUSED, const struct store_answer *answer UNUSED)
{
}

static void record_artifacts(struct rig *rig, void *arg UNUSED)
{
	static const char *const keys[] = { "v1/artifacts/default/" ARTIFACT, "v1/artifacts/default/" ARTIFACT2 };
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		struct store_txn *txn = store_txn_new();
		store_txn_put(txn, keys[i], "{}", 2);
		store_commit(rig->server->store, txn, ignore, NULL);
	}
}

static bool are_recorded(struct rig *rig, void *arg UNUSED)
{
	return store_get(rig->server->store, "v1/artifacts/default/" ARTIFACT2);
}

static void open_clients(struct rig *rig)
{
	struct err err = {};
	rig->operator= client_new(rig->api, "operator-secret", &err);
	rig->node = client_new(rig->api, "node-secret", &err);
	rig->nobody = client_new(rig->api, NULL, &err);
}

static void close_clients(struct rig *rig)
{
	client_free(rig->operator);
	client_free(rig->node);
	client_free(rig->nobody);
}

void rig_start(struct rig *rig, bool sqlite)
{
	*rig = (struct rig){ .sqlite = sqlite };
	strcpy(rig->dir, "/tmp/dialtone-server-XXXXXX");
	assert_non_null(mkdtemp(rig->dir));
	write_files(rig);
	rig->platform = (struct platform){ .id = "a1b2c3",
					   .data = xstrdup(rig->dir),
					   .domain = xstrdup("apps.localhost"),
					   .http = xstrdup("127.0.0.1:8080"),
					   .api = xstrdup("127.0.0.1:0"),
					   .cache = xstrdup(rig->dir),
					   .subnet = xstrdup("100.64.16.0/20") };
	pthread_mutex_init(&rig->lock, NULL);
	pthread_cond_init(&rig->done, NULL);
	assert_int_equal(pipe(rig->poke), 0);
	rig->loop = loop_new();
	assert_int_equal(poll_start(&rig->poll, rig->loop, rig->poke[0], POLL_READ, poked), 0);
	assert_int_equal(pthread_create(&rig->thread, NULL, run_loop, rig), 0);
	rig_do(rig, open_server, NULL);
	rig_do(rig, record_artifacts, NULL);
	rig_until(rig, are_recorded, NULL);
	open_clients(rig);
}

void rig_restart(struct rig *rig)
{
	close_clients(rig);
	rig_do(rig, close_server, NULL);
	rig_do(rig, open_server, NULL);
	open_clients(rig);
}

void rig_stop(struct rig *rig)
{
	rig_agent_stop(rig);
	rig_router_stop(rig);
	close_clients(rig);
	rig_do(rig, close_server, NULL);
	rig_do(rig, stop_loop, NULL);
	pthread_join(rig->thread, NULL);
	poll_stop(&rig->poll);
	loop_free(rig->loop);
	close(rig->poke[0]);
	close(rig->poke[1]);
	platform_clear(&rig->platform);
	tree_remove(rig->dir, NULL);
}

// ---- asking

void rig_send(struct client *client, const char *method, const char *path, const char *body, const char *if_match,
	      struct client_answer *ret)
{
	json_t *json = body ? json_loads(body, 0, NULL) : NULL;
	struct client_request request = { .method = method, .path = path, .body = json, .if_match = if_match };
	struct err err = {};
	client_send(client, &request, ret, &err);
	if (!ret->status)
		fail_msg("%s %s: %s", method, path, err.text);
	json_decref(json);
}

json_t *rig_call(struct rig *rig, unsigned status, const char *method, const char *path, const char *body)
{
	AUTO_ANSWER struct client_answer answer = {};
	rig_send(rig->operator, method, path, body, NULL, &answer);
	if (answer.status != status) {
		AUTO_FREE char *text = answer.json ? json_dumps(answer.json, 0) : xstrdup("");
		fail_msg("%s %s: %u instead of %u: %s", method, path, answer.status, status, text);
	}
	return TAKE_PTR(answer.json);
}

static void pause_a_little(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
}

json_t *rig_wait(struct rig *rig, const char *path, bool (*check)(const json_t *answer, const void *arg),
		 const void *arg)
{
	uint64_t deadline = monotonic_ms() + 10000;
	for (;;) {
		json_t *answer = rig_call(rig, 200, "GET", path, NULL);
		if (check(answer, arg))
			return answer;
		if (monotonic_ms() > deadline)
			fail_msg("GET %s: still %s", path, json_dumps(answer, JSON_INDENT(1)));
		json_decref(answer);
		pause_a_little();
	}
}

struct until {
	bool (*check)(struct rig *rig, void *arg);
	void *arg;
	bool holds;
};

static void judge(struct rig *rig, void *arg)
{
	struct until *until = arg;
	until->holds = until->check(rig, until->arg);
}

void rig_until(struct rig *rig, bool (*check)(struct rig *rig, void *arg), void *arg)
{
	struct until until = { check, arg, false };
	uint64_t deadline = monotonic_ms() + 10000;
	for (;;) {
		rig_do(rig, judge, &until);
		if (until.holds)
			return;
		if (monotonic_ms() > deadline)
			fail_msg("the condition never held");
		pause_a_little();
	}
}

char *deployment_json(const char *app, const char *command, const char *host, unsigned instances, const char *artifact)
{
	AUTO_FREE char *route = host ? xasprintf("{\"host\":\"%s\",\"path\":\"/\"}", host) : xstrdup("");
	return xasprintf(
		"{\"spec\":{\"name\":\"%s\",\"runtime\":\"none\",\"processes\":{\"web\":{\"command\":\"%s\",\"port\":"
		"8080,"
		"\"instances\":%u,\"memory_bytes\":67108864,\"drain_ms\":5000}},\"routes\":[%s]},\"artifact\":\"%s\"}",
		app, command, instances, route, artifact);
}

static bool serves(const json_t *app, const void *arg UNUSED)
{
	return str_eq(json_get_text(app, "state", ""), "running") && json_is_null(json_object_get(app, "rollout"));
}

void rig_deploy(struct rig *rig, const char *app, unsigned instances, const char *artifact)
{
	AUTO_FREE char *path = xasprintf(APP_PATH "%s", app);
	AUTO_FREE char *body = deployment_json(app, "/app/serve", app, instances, artifact);
	json_decref(rig_call(rig, 202, "PUT", path, body));
	json_decref(rig_wait(rig, path, serves, NULL));
}
