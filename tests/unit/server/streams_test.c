// Artifacts up and down, and what is passed through to the agent's own endpoint.
#include "rig.h"

#include "image/content.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <time.h>

#include <cmocka.h>

#define TENANT_PATH "/v1/tenants/default/"
enum { BIG = 3 << 20 };

static struct rig rig;

// ---- the agent's endpoint

static struct {
	struct http_server *http;
	char target[512], body[4096];
	struct poll echo;
	int echo_fd;
	struct buf echoed;
	bool leaves; // at the first byte, having said why
	bool stuck;  // takes nothing
	bool left;   // the other end of one that is stuck has gone
	unsigned builds;
} endpoint;

static void leave(struct poll *poll)
{
	assert_int_equal(send(endpoint.echo_fd, "why", 3, MSG_NOSIGNAL), 3);
	poll_stop(poll);
	close(endpoint.echo_fd);
	endpoint.echo_fd = -1;
}

static void hung_up(struct poll *poll)
{
	poll_stop(poll);
	close(endpoint.echo_fd);
	endpoint.echo_fd = -1;
	buf_clear(&endpoint.echoed);
	endpoint.left = true;
}

static void echo_ready(struct poll *poll, int events)
{
	if (endpoint.stuck) {
		hung_up(poll);
		return;
	}
	if (endpoint.leaves) {
		if (events & POLL_READ)
			leave(poll);
		return;
	}
	char bytes[4096];
	ssize_t n = buf_len(&endpoint.echoed) < 65536 ? recv(endpoint.echo_fd, bytes, sizeof(bytes), 0) : -1;
	if (n > 0)
		buf_add(&endpoint.echoed, bytes, (size_t)n);
	ssize_t sent = buf_len(&endpoint.echoed) ? send(endpoint.echo_fd, buf_data(&endpoint.echoed),
							buf_len(&endpoint.echoed), MSG_NOSIGNAL)
						 : 0;
	if (sent > 0)
		buf_consume(&endpoint.echoed, (size_t)sent);
	if (n == 0 && !buf_len(&endpoint.echoed)) {
		poll_stop(poll);
		close(endpoint.echo_fd);
		endpoint.echo_fd = -1;
		return;
	}
	poll_set(poll,
		 (buf_len(&endpoint.echoed) < 65536 ? POLL_READ : 0) | (buf_len(&endpoint.echoed) ? POLL_WRITE : 0));
}

static void upgrade(struct http_exchange *x)
{
	endpoint.echoed = BUF_INIT(1 << 20);
	struct loop *loop = http_exchange_loop(x);
	assert_int_equal(http_exchange_upgrade(x, "dialtone-stream", &endpoint.echoed, &endpoint.echo_fd), 0);
	int events = endpoint.stuck ? POLL_HANGUP : endpoint.leaves ? POLL_READ : POLL_READ | POLL_WRITE;
	poll_start(&endpoint.echo, loop, endpoint.echo_fd, events, echo_ready);
}

static void endpoint_body(struct http_exchange *x, const char *body, size_t n)
{
	snprintf(endpoint.body, sizeof(endpoint.body), "%.*s", (int)n, body);
	if (strstr(endpoint.target, "refused")) {
		static const char problem[] = "{\"title\":\"Conflict\",\"status\":409,\"detail\":\"it is over\"}";
		http_respond(x, 409, "application/problem+json", problem, strlen(problem));
	} else if (str_eq(endpoint.target, "/builds")) {
		endpoint.builds++;
		static const char events[] =
			"event: output\ndata: {\"text\":\"hello\"}\n\nevent: result\ndata: {\"artifact\":\"" ARTIFACT2
			"\"}\n\n";
		http_respond(x, 200, "text/event-stream", events, strlen(events));
	} else {
		endpoint.leaves = strstr(body, "leaves");
		endpoint.stuck = strstr(body, "stuck");
		upgrade(x);
	}
}

static void endpoint_request(struct http_exchange *x, void *arg UNUSED)
{
	snprintf(endpoint.target, sizeof(endpoint.target), "%s", http_exchange_request(x)->target);
	if (str_eq(http_exchange_request(x)->method, "POST")) {
		http_exchange_read_body(x, 1 << 20, endpoint_body);
		return;
	}
	http_respond_start(x, 200, "text/event-stream");
	for (int i = 0; i < 1000; i++) {
		AUTO_FREE char *event = xasprintf("event: log\ndata: {\"text\":\"line %d\"}\n\n", i);
		http_respond_write(x, event, strlen(event));
	}
	http_respond_end(x);
}

static void endpoint_open(struct rig *r, void *arg UNUSED)
{
	struct http_server_config config = { .on_request = endpoint_request };
	AUTO_FREE char *folder = xasprintf("%s/run", r->dir);
	AUTO_FREE char *text = xasprintf("unix:%s/agent.sock", folder);
	struct address address;
	struct err err = {};
	int fd;
	dir_make(folder, 0700, &err);
	assert_int_equal(address_parse(text, &address, &err), 0);
	assert_int_equal(socket_listen(&address, 10, &fd, &err), 0);
	endpoint.http = http_server_new(r->loop, &config);
	endpoint.echo_fd = -1;
	endpoint.builds = 0;
	http_server_listen(endpoint.http, fd, &err);
}

static void endpoint_close(struct rig *r UNUSED, void *arg UNUSED)
{
	if (endpoint.echo_fd >= 0) {
		poll_stop(&endpoint.echo);
		close(endpoint.echo_fd);
	}
	buf_clear(&endpoint.echoed);
	http_server_free(endpoint.http);
}

static int setup(void **state UNUSED)
{
	rig_start(&rig, false);
	rig_do(&rig, endpoint_open, NULL);
	return 0;
}

static int teardown(void **state UNUSED)
{
	rig_do(&rig, endpoint_close, NULL);
	rig_stop(&rig);
	return 0;
}

// ---- artifacts

struct source {
	char dir[128];
	struct artifact artifact;
};

static void write_file(const char *dir, const char *name, const void *bytes, size_t n)
{
	AUTO_FREE char *path = xasprintf("%s/%s", dir, name);
	assert_int_equal(file_write_atomic(path, bytes, n, 0644, NULL), 0);
}

static void source_make(struct source *source)
{
	struct err err = {};
	snprintf(source->dir, sizeof(source->dir), "%s/source", rig.dir);
	dir_make(source->dir, 0700, &err);
	AUTO_FREE char *big = xmalloc(BIG);
	for (size_t i = 0; i < BIG; i++)
		big[i] = (char)(i * 7 ^ i >> 8);
	write_file(source->dir, "big", big, BIG);
	write_file(source->dir, "small", "hello\n", 6);
	if (artifact_pack(source->dir, NULL, &source->artifact, &err) < 0)
		fail_msg("%s", err.text);
}

struct text_upload {
	const char *text;
	size_t n;
};

static ssize_t upload_text(char *bytes, size_t size, void *arg)
{
	struct text_upload *upload = arg;
	size_t n = upload->n < size ? upload->n : size;
	memcpy(bytes, upload->text, n);
	upload->text += n;
	upload->n -= n;
	return (ssize_t)n;
}

static ssize_t upload_content(char *bytes, size_t size, void *arg)
{
	return content_read(arg, bytes, size, NULL);
}

static unsigned put_manifest(const struct source *source, json_t **ret)
{
	AUTO_FREE char *path = xasprintf(TENANT_PATH "artifacts/%s", source->artifact.digest);
	struct text_upload upload = { source->artifact.text, source->artifact.text_len };
	struct client_request request = { .method = "PUT",
					  .path = path,
					  .upload = upload_text,
					  .upload_arg = &upload,
					  .content_type = "text/plain" };
	AUTO_ANSWER struct client_answer answer = {};
	client_send(rig.operator, & request, &answer, NULL);
	if (ret)
		*ret = TAKE_PTR(answer.json);
	return answer.status;
}

static unsigned put_blobs(const struct source *source)
{
	const char *wanted[8];
	size_t n = 0;
	for (size_t i = 0; i < source->artifact.n; i++)
		if (source->artifact.entries[i].kind == ARTIFACT_FILE)
			wanted[n++] = source->artifact.entries[i].digest;
	struct content *content = content_upload(&source->artifact, source->dir, wanted, n);
	struct client_request request = { .method = "POST",
					  .path = TENANT_PATH "blobs",
					  .upload = upload_content,
					  .upload_arg = content,
					  .content_type = "application/x-tar" };
	AUTO_ANSWER struct client_answer answer = {};
	client_send(rig.operator, & request, &answer, NULL);
	if (answer.status == 200)
		assert_true(json_get_u64(answer.json, "stored", n + 1) <= n); // what was there is not counted
	content_free(content);
	return answer.status;
}

static int unpack(const char *bytes, size_t n, void *arg)
{
	return unpacker_push(arg, bytes, n, NULL);
}

static size_t count_missing(const struct source *source)
{
	json_t *digests = json_array();
	for (size_t i = 0; i < source->artifact.n; i++)
		if (source->artifact.entries[i].kind == ARTIFACT_FILE)
			json_array_append_new(digests, json_string(source->artifact.entries[i].digest));
	json_t *body = json_pack("{s:o}", "digests", digests);
	AUTO_FREE char *text = json_dumps(body, 0);
	json_decref(body);
	json_t *answer = rig_call(&rig, 200, "POST", TENANT_PATH "blobs/missing", text);
	size_t n = json_array_size(json_object_get(answer, "missing"));
	json_decref(answer);
	return n;
}

static unsigned status_for(const char *method, const char *path)
{
	AUTO_ANSWER struct client_answer answer = {};
	client_call(rig.operator, method, path, NULL, &answer, NULL);
	return answer.status;
}

static void test_artifact_up_and_down(void **state UNUSED)
{
	struct source source = {};
	struct err err = {};
	source_make(&source);
	assert_int_equal(count_missing(&source), 2);
	json_t *problem = NULL;
	assert_int_equal(put_manifest(&source, &problem), 409);
	assert_int_equal(json_array_size(json_object_get(problem, "missing")), 2);
	json_decref(problem);
	assert_int_equal(put_blobs(&source), 200);
	assert_int_equal(count_missing(&source), 0);
	AUTO_FREE char *manifest = xasprintf(TENANT_PATH "artifacts/%s", source.artifact.digest);
	assert_int_equal(status_for("HEAD", manifest), 404);
	assert_int_equal(put_manifest(&source, NULL), 200);
	assert_int_equal(put_manifest(&source, NULL), 200);
	assert_int_equal(status_for("HEAD", manifest), 200);

	AUTO_FREE char *path = xasprintf(TENANT_PATH "artifacts/%s/content", source.artifact.digest);
	assert_int_equal(status_for("HEAD", path), 200);
	struct unpacker *unpacker = NULL;
	assert_int_equal(unpacker_new(rig.dir, source.artifact.digest, &unpacker, &err), 0);
	assert_int_equal(client_download(rig.node, path, unpack, unpacker, &err), 0);
	assert_int_equal(unpacker_finish(unpacker, &err), 0);
	unpacker_free(unpacker);
	artifact_clear(&source.artifact);
}

// What a reader has is named by the digest of an artifact of the same tenant.
static void test_content_over_a_base(void **state UNUSED)
{
	json_decref(rig_call(&rig, 400, "GET", TENANT_PATH "artifacts/" ARTIFACT "/content?base=x", NULL));
	json_decref(rig_call(&rig, 404, "GET", TENANT_PATH "artifacts/" ARTIFACT "/content?base=" ARTIFACT2, NULL));
}

static void test_damaged_content_is_broken_off(void **state UNUSED)
{
	struct source source = {};
	source_make(&source);
	assert_int_equal(put_blobs(&source), 200);
	assert_int_equal(put_manifest(&source, NULL), 200);
	AUTO_FREE char *blob = xasprintf("%s/blobs/default/files/%s", rig.dir, source.artifact.entries[0].digest);
	*strchr(strstr(blob, "sha256"), ':') = '-';
	AUTO_CLOSE int fd = open(blob, O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "damage", 6, 1000000), 6);
	AUTO_FREE char *path = xasprintf(TENANT_PATH "artifacts/%s/content", source.artifact.digest);
	struct unpacker *unpacker = NULL;
	struct err err = {};
	assert_int_equal(unpacker_new(rig.dir, source.artifact.digest, &unpacker, &err), 0);
	assert_true(client_download(rig.node, path, unpack, unpacker, &err) < 0);
	unpacker_free(unpacker);
	artifact_clear(&source.artifact);
}

static ssize_t upload_nonsense(char *bytes, size_t size, void *arg)
{
	unsigned *left = arg;
	if (!*left)
		return 0;
	--*left;
	memset(bytes, 'x', size);
	return (ssize_t)size;
}

static void test_nonsense_is_refused(void **state UNUSED)
{
	unsigned left = 3;
	struct client_request request = { .method = "POST",
					  .path = TENANT_PATH "blobs",
					  .upload = upload_nonsense,
					  .upload_arg = &left,
					  .content_type = "application/x-tar" };
	AUTO_ANSWER struct client_answer answer = {};
	client_send(rig.operator, & request, &answer, NULL);
	assert_int_equal(answer.status, 400);
	json_decref(rig_call(&rig, 400, "GET", TENANT_PATH "artifacts/nonsense", NULL));
	json_decref(rig_call(&rig, 404, "GET", TENANT_PATH "artifacts/" ARTIFACT, NULL));
}

static void sweep_all(struct rig *r, void *arg UNUSED)
{
	r->server->sweep.age_ms = 0;
	sweep_tenant(r->server, "default");
}

static bool has_swept(struct rig *r, void *arg UNUSED)
{
	return !r->server->sweep.running;
}

static void test_sweep_keeps_what_releases_have(void **state UNUSED)
{
	struct source kept = {}, gone = {};
	source_make(&kept);
	assert_int_equal(put_blobs(&kept), 200);
	assert_int_equal(put_manifest(&kept, NULL), 200);
	AUTO_FREE char *body = deployment_json("shop", "/x", "shop", 1, kept.artifact.digest);
	json_decref(rig_call(&rig, 202, "PUT", APP_PATH "shop", body));
	snprintf(gone.dir, sizeof(gone.dir), "%s", kept.dir);
	write_file(gone.dir, "small", "bye\n", 4);
	struct err err = {};
	assert_int_equal(artifact_pack(gone.dir, NULL, &gone.artifact, &err), 0);
	assert_int_equal(put_blobs(&gone), 200);
	assert_int_equal(put_manifest(&gone, NULL), 200);
	AUTO_FREE char *kept_path = xasprintf(TENANT_PATH "artifacts/%s/content", kept.artifact.digest);
	AUTO_FREE char *gone_path = xasprintf(TENANT_PATH "artifacts/%s", gone.artifact.digest);
	assert_int_equal(status_for("GET", gone_path), 200);
	nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL); // older than 0 ms
	rig_do(&rig, sweep_all, NULL);
	rig_until(&rig, has_swept, NULL);
	assert_int_equal(status_for("GET", gone_path), 404);
	assert_int_equal(count_missing(&gone), 1); // the big file is the kept one's too
	assert_int_equal(count_missing(&kept), 0);
	assert_int_equal(status_for("GET", kept_path), 200);
	artifact_clear(&kept.artifact);
	artifact_clear(&gone.artifact);
}

// ---- passed through

static void put_shop(void)
{
	AUTO_FREE char *body = deployment_json("shop", "/x", "shop", 1, ARTIFACT);
	json_decref(rig_call(&rig, 202, "PUT", APP_PATH "shop", body));
}

static int count_event(const struct sse_event *event UNUSED, void *arg)
{
	++*(unsigned *)arg;
	return 0;
}

static void test_logs(void **state UNUSED)
{
	put_shop();
	unsigned lines = 0;
	struct client_stream stream = { .request = { .method = "GET", .path = APP_PATH "shop/logs?tail=5&process=web" },
					.on_event = count_event,
					.arg = &lines };
	struct err err = {};
	assert_int_equal(client_stream(rig.operator, & stream, &err), -EPIPE);
	assert_int_equal(lines, 1000);
	assert_true(str_starts(endpoint.target, "/logs?app_uid="));
	assert_non_null(strstr(endpoint.target, "&tail=5&process=web"));
	json_decref(rig_call(&rig, 404, "GET", APP_PATH "none/logs", NULL));
	json_t *problem = rig_call(&rig, 404, "GET", APP_PATH "shop/logs?process=nope", NULL);
	assert_non_null(strstr(json_get_text(problem, "detail", ""), "no process 'nope'"));
	assert_string_equal(json_get_text(problem, "hint", ""), "its processes are: web");
	json_decref(problem);
}

static void test_run_echoes(void **state UNUSED)
{
	put_shop();
	json_t *body = json_loads("{\"command\":[\"cat\",\"-\",\"s3cret\"],\"tty\":false}", 0, NULL);
	struct buf early = BUF_INIT(1 << 20);
	struct err err = {};
	int fd = -1;
	if (client_upgrade(rig.operator, APP_PATH "shop/run", "dialtone-stream", body, &early, &fd, &err) < 0)
		fail_msg("%s", err.text);
	json_decref(body);
	assert_string_equal(endpoint.target, "/runs");
	assert_non_null(strstr(endpoint.body, "\"assignment\""));
	size_t sent = 0, got = buf_len(&early), want = 2 << 20;
	AUTO_FREE char *bytes = xmalloc(65536);
	memset(bytes, 'a', 65536);
	while (got < want) { // both ways at once, so that neither side has to hold it all
		ssize_t n = sent < want ? send(fd, bytes, want - sent < 65536 ? want - sent : 65536, MSG_DONTWAIT) : -1;
		sent += n > 0 ? (size_t)n : 0;
		if (sent == want)
			shutdown(fd, SHUT_WR);
		n = recv(fd, bytes, 65536, sent < want ? MSG_DONTWAIT : 0);
		assert_true(n != 0);
		got += n > 0 ? (size_t)n : 0;
	}
	assert_int_equal(got, want);
	assert_int_equal(recv(fd, bytes, 1, 0), 0); // the end comes through
	close(fd);
	buf_clear(&early);
	json_t *audit = rig_call(&rig, 200, "GET", "/v1/audit", NULL);
	AUTO_FREE char *text = json_to_text(audit);
	assert_non_null(strstr(text, "run: cat with 2 arguments"));
	assert_null(strstr(text, "s3cret"));
	json_decref(audit);
}

// The client's bytes that nobody takes any more do not cost it the agent's last words.
static void test_last_words_arrive(void **state UNUSED)
{
	put_shop();
	json_t *body = json_loads("{\"command\":[\"leaves\"]}", 0, NULL);
	struct buf early = BUF_INIT(1 << 20);
	struct err err = {};
	int fd = -1;
	if (client_upgrade(rig.operator, APP_PATH "shop/run", "dialtone-stream", body, &early, &fd, &err) < 0)
		fail_msg("%s", err.text);
	json_decref(body);
	AUTO_FREE char *bytes = xmalloc(1 << 20);
	memset(bytes, 'a', 1 << 20);
	size_t sent = 0, got = buf_len(&early);
	ssize_t n;
	while (sent < 1 << 20 && (n = send(fd, bytes, (1 << 20) - sent, MSG_NOSIGNAL)) > 0)
		sent += (size_t)n;
	assert_int_equal(sent, 1 << 20);
	while ((n = recv(fd, bytes, 1 << 20, 0)) > 0)
		got += (size_t)n;
	assert_int_equal(n, 0);
	assert_int_equal(got, 3);
	close(fd);
	buf_clear(&early);
}

// Sends this many bytes, or until nothing was taken for 100 ms.
static void fill(int fd, size_t bytes)
{
	static const char zeros[64 << 10];
	struct timeval wait = { .tv_usec = 100000 };
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	while (bytes) {
		ssize_t n = send(fd, zeros, bytes < sizeof(zeros) ? bytes : sizeof(zeros), MSG_NOSIGNAL);
		if (n < 0)
			break;
		bytes -= (size_t)n;
	}
}

// An agent writes now and then while it does not read.
static bool has_left(struct rig *r UNUSED, void *arg UNUSED)
{
	if (!endpoint.left)
		send(endpoint.echo_fd, "\003\0\0\0\002{}", 7, MSG_NOSIGNAL | MSG_DONTWAIT);
	return endpoint.left;
}

// A client that goes away while nobody takes what it has sent: the agent must hear of it, or the process runs forever.
static void test_leaving_is_noticed(void **state UNUSED)
{
	static const size_t amounts[] = { 100 << 10, 260 << 10, SIZE_MAX };
	put_shop();
	for (size_t i = 0; i < ARRAY_LEN(amounts); i++) {
		json_t *body = json_loads("{\"command\":[\"stuck\"]}", 0, NULL);
		struct buf early = BUF_INIT(1 << 20);
		struct err err = {};
		int fd = -1;
		endpoint.left = false;
		if (client_upgrade(rig.operator, APP_PATH "shop/run", "dialtone-stream", body, &early, &fd, &err) < 0)
			fail_msg("%s", err.text);
		json_decref(body);
		fill(fd, amounts[i]);
		assert_false(endpoint.left);
		close(fd);
		rig_until(&rig, has_left, NULL);
		buf_clear(&early);
	}
}

static void test_exec_needs_instance_and_upgrade(void **state UNUSED)
{
	put_shop();
	json_decref(rig_call(&rig, 404, "POST", APP_PATH "shop/instances/nothing/exec", "{\"command\":[\"ls\"]}"));
	json_decref(rig_call(&rig, 426, "POST", APP_PATH "shop/run", "{\"command\":[\"ls\"]}"));
	json_decref(rig_call(&rig, 400, "POST", APP_PATH "shop/run", "{\"command\":[]}"));
}

static void test_agent_is_absent(void **state UNUSED)
{
	put_shop();
	rig_do(&rig, endpoint_close, NULL);
	endpoint.http = NULL;
	endpoint.echo_fd = -1;
	json_t *problem = rig_call(&rig, 503, "GET", APP_PATH "shop/logs", NULL);
	assert_non_null(strstr(json_get_text(problem, "detail", ""), "node"));
	json_decref(problem);
}

static int on_build(const struct sse_event *event, void *arg)
{
	json_t **result = arg;
	if (!str_eq(event->event, "result"))
		return 0;
	*result = json_loadb(event->data, event->data_len, 0, NULL);
	return 1;
}

static json_t *build(void)
{
	json_t *body = json_loads("{\"artifact\":\"" ARTIFACT "\",\"runtime\":\"tool\",\"command\":\"make\"}", 0, NULL);
	json_t *result = NULL;
	struct client_stream stream = { .request = { .method = "POST", .path = TENANT_PATH "builds", .body = body },
					.on_event = on_build,
					.arg = &result };
	struct err err = {};
	if (client_stream(rig.operator, & stream, &err) != 1)
		fail_msg("build: %s", err.text);
	json_decref(body);
	return result;
}

static bool is_kept(struct rig *r, void *arg UNUSED)
{
	return store_next(r->server->store, "v1/builds/default/", NULL);
}

static void test_build_is_kept(void **state UNUSED)
{
	AUTO_FREE char *folder = xasprintf("%s/runtimes/tool", rig.dir);
	dir_make(folder, 0700, NULL);
	static const char tool[] = "{\"name\":\"tool\",\"version\":\"1\",\"stack\":\"minimal@12\",\"build_stack\":"
				   "\"shell\",\"build_ready\":true,"
				   "\"layers\":[],\"env\":{}}";
	write_file(folder, "1.json", tool, strlen(tool));
	json_t *first = build();
	assert_string_equal(json_get_text(first, "artifact", ""), ARTIFACT2);
	assert_false(json_get_bool(first, "cached", false));
	assert_non_null(strstr(endpoint.body, "\"tool@1\""));
	rig_until(&rig, is_kept, NULL);
	json_t *second = build();
	assert_true(json_get_bool(second, "cached", false));
	assert_int_equal(endpoint.builds, 1);
	json_decref(first);
	json_decref(second);
	json_decref(rig_call(&rig, 400, "POST", TENANT_PATH "builds",
			     "{\"artifact\":\"" ARTIFACT "\",\"runtime\":\"none-such\",\"command\":\"make\"}"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_artifact_up_and_down, setup, teardown),
		cmocka_unit_test_setup_teardown(test_content_over_a_base, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged_content_is_broken_off, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nonsense_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sweep_keeps_what_releases_have, setup, teardown),
		cmocka_unit_test_setup_teardown(test_logs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_run_echoes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_last_words_arrive, setup, teardown),
		cmocka_unit_test_setup_teardown(test_leaving_is_noticed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_exec_needs_instance_and_upgrade, setup, teardown),
		cmocka_unit_test_setup_teardown(test_agent_is_absent, setup, teardown),
		cmocka_unit_test_setup_teardown(test_build_is_kept, setup, teardown),
	};
	return cmocka_run_group_tests_name("server streams", tests, NULL, NULL);
}
