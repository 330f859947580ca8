// Health checks against sockets on loopback that behave as told.
#include "agent/probe.h"

#include "base/clock.h"
#include "base/str.h"
#include "io/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

// Nobody waits this long, unless what was to come never does.
enum { PLENTY_MS = 20000, SILENCE_MS = 500 };

struct app {
	int fd;
	uint16_t port;
	const char *answer; // NULL: says nothing, and leaves the connection open to the end
	pthread_t thread;
	int silent_fd;
	char request[512];
};

static void *serve(void *arg)
{
	struct app *app = arg;
	app->silent_fd = -1;
	for (int c; (c = accept(app->fd, NULL, NULL)) >= 0;) {
		ssize_t n = read(c, app->request, sizeof(app->request) - 1);
		app->request[n > 0 ? n : 0] = '\0';
		if (!app->answer) {
			cleanup_close(&app->silent_fd);
			app->silent_fd = c;
			continue;
		}
		if (write(c, app->answer, strlen(app->answer)) < 0)
			perror("write");
		close(c);
	}
	cleanup_close(&app->silent_fd);
	return NULL;
}

static void app_bind(struct app *app)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	app->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(app->fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(getsockname(app->fd, (struct sockaddr *)&address, &len), 0);
	app->port = ntohs(address.sin_port);
}

static void app_listen(struct app *app)
{
	assert_int_equal(listen(app->fd, 16), 0);
	assert_int_equal(pthread_create(&app->thread, NULL, serve, app), 0);
}

static void app_end(struct app *app)
{
	shutdown(app->fd, SHUT_RDWR);
	pthread_join(app->thread, NULL);
	close(app->fd);
}

struct watching {
	struct probe probe;
	struct loop *loop;
	unsigned ok, failed;
	char last[200];
	unsigned want_ok, want_failed;
	struct app *listens; // after the second failure
};

static void on_result(struct probe *probe, bool ok, const char *detail)
{
	struct watching *w = CONTAINER_OF(probe, struct watching, probe);
	w->ok += ok;
	w->failed += !ok;
	snprintf(w->last, sizeof(w->last), "%s", detail);
	if (w->failed == 2 && w->listens)
		app_listen(TAKE_PTR(w->listens));
	if ((w->want_ok && w->ok >= w->want_ok) || (w->want_failed && w->failed >= w->want_failed))
		loop_stop(w->loop);
}

static void watch(struct watching *w, const struct health *health, uint16_t port, bool seen_ok)
{
	w->loop = loop_new();
	probe_start(&w->probe, w->loop, health, INADDR_LOOPBACK, port, seen_ok, on_result);
	loop_run(w->loop);
	probe_stop(&w->probe);
	loop_free(w->loop);
}

static const struct health http = {
	.type = HEALTH_HTTP,
	.path = (char *)"/up?x=1",
	.interval_ms = 30,
	.timeout_ms = PLENTY_MS,
};

static void http_statuses(void **state UNUSED)
{
	static const struct {
		const char *answer;
		bool ok;
		const char *detail;
	} cases[] = {
		{ "HTTP/1.1 200 OK\r\n\r\n", true, "answered 200" },
		{ "HTTP/1.0 302 Found\r\n\r\n", true, "answered 302" },
		{ "HTTP/1.1 404 Not Found\r\n\r\n", false, "answered 404" },
		{ "HTTP/1.1 503 Busy\r\n\r\n", false, "answered 503" },
		{ "SSH-2.0-OpenSSH\r\n", false, "the answer is not HTTP/1" },
		{ "", false, "the connection was closed without an answer" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct app app = { .answer = cases[i].answer };
		struct watching w = { .want_ok = 1, .want_failed = 1 };
		app_bind(&app);
		app_listen(&app);
		watch(&w, &http, app.port, false);
		app_end(&app);
		assert_int_equal(w.ok, cases[i].ok);
		assert_string_equal(w.last, cases[i].detail);
		assert_true(str_starts(app.request, "GET /up?x=1 HTTP/1.1\r\nHost: 127.0.0.1:"));
	}
}

static void silence_times_out(void **state UNUSED)
{
	struct app app = { .answer = NULL };
	struct watching w = { .want_failed = 1 };
	struct health impatient = http;
	impatient.timeout_ms = SILENCE_MS;
	app_bind(&app);
	app_listen(&app);
	uint64_t since_ms = monotonic_ms();
	watch(&w, &impatient, app.port, false);
	assert_true(monotonic_ms() - since_ms >= SILENCE_MS - 5);
	assert_string_equal(w.last, "timed out after 500 ms, waiting for an answer");
	app_end(&app);
}

// Refused until it listens; then noticed at the quick pace of the start, whatever the interval is.
static void becomes_ready(void **state UNUSED)
{
	struct app app = { .answer = "HTTP/1.1 200 OK\r\n\r\n" };
	struct watching w = { .want_ok = 1, .listens = &app };
	struct health tcp = { .type = HEALTH_TCP, .interval_ms = 10 * PLENTY_MS, .timeout_ms = PLENTY_MS };
	app_bind(&app);
	uint64_t since_ms = monotonic_ms();
	watch(&w, &tcp, app.port, false);
	assert_true(monotonic_ms() - since_ms < PLENTY_MS);
	assert_int_equal(w.failed, 2);
	app_end(&app);
}

static void keeps_its_interval(void **state UNUSED)
{
	struct app app = { .answer = "HTTP/1.1 200 OK\r\n\r\n" };
	struct watching w = { .want_ok = 4 };
	app_bind(&app);
	app_listen(&app);
	uint64_t since_ms = monotonic_ms();
	watch(&w, &http, app.port, true);
	assert_true(monotonic_ms() - since_ms >= 85);
	app_end(&app);
}

static void process_has_to_live(void **state UNUSED)
{
	struct watching w = { .want_ok = 1 };
	struct health process = { .type = HEALTH_PROCESS, .interval_ms = PLENTY_MS, .timeout_ms = PLENTY_MS };
	uint64_t since_ms = monotonic_ms();
	watch(&w, &process, 0, false);
	assert_string_equal(w.last, "the process runs");
	assert_true(monotonic_ms() - since_ms >= PROBE_PROCESS_LIVES_MS - 5);
	since_ms = monotonic_ms();
	w = (struct watching){ .want_ok = 1 };
	watch(&w, &process, 0, true); // an adopted one was ready
	assert_true(monotonic_ms() - since_ms < PROBE_PROCESS_LIVES_MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(http_statuses), cmocka_unit_test(silence_times_out),
		cmocka_unit_test(becomes_ready), cmocka_unit_test(keeps_its_interval),
		cmocka_unit_test(process_has_to_live),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
