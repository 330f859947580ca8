#include "client/client.h"

#include "base/clock.h"
#include "base/str.h"
#include "peer.h"

#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <unistd.h>
#include <cmocka.h>

static struct client *open_client(const char *token)
{
	struct client *client = client_new(peer_address, token, NULL);
	assert_non_null(client);
	return client;
}

static void calls_and_is_answered(void **state UNUSED)
{
	struct client *client = open_client("secret");
	json_t *body = json_pack("{s:s}", "name", "shop");
	for (int i = 0; i < 3; i++) { // the second and third on the kept connection
		AUTO_ANSWER struct client_answer answer = { 0 };
		struct err err = { 0 };
		assert_int_equal(client_call(client, "POST", "/echo", body, &answer, &err), 0);
		assert_int_equal(answer.status, 200);
		assert_string_equal(answer.etag, "\"7\"");
		assert_true(json_equal(answer.json, body));
	}
	json_decref(body);
	client_free(client);
}

static void problem_becomes_error(void **state UNUSED)
{
	struct client *client = open_client("secret");
	AUTO_ANSWER struct client_answer answer = { 0 };
	struct err err = { 0 };
	assert_int_equal(client_call(client, "GET", "/other", NULL, &answer, &err), -EEXIST);
	assert_string_equal(err.text, "the name is taken");
	assert_string_equal(err.hint, "choose another");
	assert_int_equal(json_array_size(json_object_get(answer.json, "missing")), 1);
	assert_int_equal(client_call(client, "GET", "/text", NULL, NULL, &err), -EBADMSG);
	client_free(client);
	client = open_client("wrong");
	assert_int_equal(client_call(client, "GET", "/echo", NULL, NULL, &err), -EACCES);
	client_free(client);
}

static void nobody_listens(void **state UNUSED)
{
	struct err err = { 0 };
	struct client *client = client_new("unix:/tmp/dialtone-no-such.sock", "t", &err);
	assert_int_equal(client_call(client, "GET", "/", NULL, NULL, &err), -ENOENT);
	assert_non_null(strstr(err.hint, "dialtone up"));
	client_free(client);
	client = client_new("http://127.0.0.1:1", "t", &err);
	assert_int_equal(client_call(client, "GET", "/", NULL, NULL, &err), -ECONNREFUSED);
	client_free(client);
}

static void addresses(void **state UNUSED)
{
	static const char *const bad[] = { "", "127.0.0.1:7070", "https://127.0.0.1", "http://", "http://127.0.0.1:7070/v1",
					   "http://example.org:80", "http://192.0.2.1:7070" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err err = { 0 };
		assert_null(client_new(bad[i], NULL, &err));
		assert_int_equal(err.code, -EINVAL);
	}
	static const char *const good[] = { "http://127.0.0.1:7070", "http://127.0.0.1:7070/", "http://localhost:7070",
					    "http://[::1]:7070", "https://192.0.2.1:7070",
					    "https://[2001:db8::1]:7070" };
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct client *client = client_new(good[i], NULL, NULL);
		assert_non_null(client);
		client_free(client);
	}
}

static ssize_t give(char *bytes, size_t size, void *arg)
{
	size_t *left = arg;
	size_t n = *left < size ? *left : size;
	memset(bytes, 'u', n);
	*left -= n;
	return (ssize_t)n;
}

static ssize_t give_up(char *bytes UNUSED, size_t size UNUSED, void *arg UNUSED)
{
	return -EIO;
}

static void uploads(void **state UNUSED)
{
	struct client *client = open_client("secret");
	AUTO_ANSWER struct client_answer answer = { 0 };
	struct err err = { 0 };
	size_t left = 5000001;
	struct client_request request = {
		.method = "POST", .path = "/upload", .upload = give, .upload_arg = &left, .content_type = "application/x-tar"
	};
	assert_int_equal(client_send(client, &request, &answer, &err), 0);
	assert_int_equal(json_integer_value(json_object_get(answer.json, "received")), 5000001);
	left = 50000000;
	request.path = "/small";
	assert_int_equal(client_send(client, &request, NULL, &err), -EFBIG);
	request.upload = give_up;
	assert_int_equal(client_send(client, &request, NULL, &err), -EIO);
	client_free(client);
}

static int add_up(const char *bytes UNUSED, size_t n, void *arg)
{
	*(size_t *)arg += n;
	return *(size_t *)arg > (4 << 20) ? -EFBIG : 0;
}

static void stalled_answers(void **state UNUSED)
{
	struct client *client = open_client("secret");
	struct client_request request = { .method = "GET", .path = "/stall", .timeout_ms = 100 };
	struct err err = { 0 };
	assert_int_equal(client_send(client, &request, NULL, &err), -ETIMEDOUT);
	assert_non_null(strstr(err.text, "stopped for 100 ms"));
	client_free(client);
}

static void downloads(void **state UNUSED)
{
	struct client *client = open_client("secret");
	struct err err = { 0 };
	size_t sum = 0;
	assert_int_equal(client_download(client, "/big", add_up, &sum, &err), 0);
	assert_int_equal(sum, 3 << 20);
	assert_int_equal(client_download(client, "/big", add_up, &sum, &err), -EFBIG);
	sum = 0;
	assert_int_equal(client_download(client, "/other", add_up, &sum, &err), -EEXIST);
	assert_int_equal(sum, 0);
	client_free(client);
}

struct counting {
	unsigned last, stop_at, lost;
};

static int on_count(const struct sse_event *event, void *arg)
{
	struct counting *counting = arg;
	assert_string_equal(event->event, "count");
	assert_int_equal(atoi(event->data), counting->last + 1);
	return ++counting->last == counting->stop_at ? 42 : 0;
}

static int on_lost(const struct err *err, void *arg)
{
	struct counting *counting = arg;
	assert_int_not_equal(err->code, 0);
	counting->lost++;
	return 0;
}

static void streams(void **state UNUSED)
{
	struct client *client = open_client("secret");
	struct counting counting = { .stop_at = 2 };
	struct err err = { 0 };
	struct client_stream stream = {
		.request = { .method = "GET", .path = "/events" }, .on_event = on_count, .on_lost = on_lost, .arg = &counting
	};
	assert_int_equal(client_stream(client, &stream, &err), 42);
	counting = (struct counting){ .stop_at = 100 };
	assert_int_equal(client_stream(client, &stream, &err), -EPIPE);
	assert_int_equal(counting.last, 3);
	counting = (struct counting){ .stop_at = 8 };
	stream.reconnect = true;
	assert_int_equal(client_stream(client, &stream, &err), 42);
	assert_int_equal(counting.lost, 2);
	stream.request.path = "/other";
	assert_int_equal(client_stream(client, &stream, &err), -EEXIST);
	client_free(client);
}

static void a_stream_that_is_silent_ends_at_its_deadline(void **state UNUSED)
{
	struct client *client = open_client("secret");
	struct counting counting = { .stop_at = 100 };
	struct err err = { 0 };
	struct client_stream stream = { .request = { .method = "GET", .path = "/silence" },
					.reconnect = true,
					.deadline_ms = monotonic_ms() + 200,
					.on_event = on_count,
					.arg = &counting };
	alarm(10); // without a deadline it would stay for ever
	assert_int_equal(client_stream(client, &stream, &err), -ETIMEDOUT);
	alarm(0);
	assert_int_equal(counting.last, 1);
	assert_true(monotonic_ms() >= stream.deadline_ms);
	size_t sum = 0;
	assert_int_equal(client_download(client, "/big", add_up, &sum, &err), 0); // it is as good as before
	client_free(client);
}

static void upgrades(void **state UNUSED)
{
	struct client *client = open_client("secret");
	AUTO_BUF struct buf early = BUF_INIT(1024);
	struct err err = { 0 };
	int fd;
	assert_int_equal(client_upgrade(client, "/upgrade", "dialtone-stream", NULL, &early, &fd, &err), 0);
	while (buf_len(&early) < 5) {
		char bytes[8];
		ssize_t n = read(fd, bytes, sizeof(bytes));
		assert_true(n > 0);
		buf_add(&early, bytes, (size_t)n);
	}
	assert_string_equal(buf_str(&early), "hello");
	close(fd);
	assert_int_equal(client_upgrade(client, "/other", "dialtone-stream", NULL, &early, &fd, &err), -EEXIST);
	assert_int_equal(client_upgrade(client, "/echo", "dialtone-stream", NULL, &early, &fd, &err), -EPROTO);
	client_free(client);
}

static int prepare(void **state UNUSED)
{
	peer_prepare();
	peer_start();
	return 0;
}

static int cleanup(void **state UNUSED)
{
	peer_kill();
	peer_cleanup();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_and_is_answered), cmocka_unit_test(problem_becomes_error),
		cmocka_unit_test(nobody_listens),	 cmocka_unit_test(addresses),
		cmocka_unit_test(uploads),		 cmocka_unit_test(stalled_answers), cmocka_unit_test(downloads),
		cmocka_unit_test(streams),		 cmocka_unit_test(a_stream_that_is_silent_ends_at_its_deadline),
		cmocka_unit_test(upgrades),
	};
	return cmocka_run_group_tests(tests, prepare, cleanup);
}
