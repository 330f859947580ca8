// A client that is patient meets a platform that is being restarted: nobody listens for a while, connections break.
#include "client/client.h"

#include "base/clock.h"
#include "base/str.h"
#include "io/file.h"
#include "io/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#define PATIENCE_MS 5000

static char folder[] = "/tmp/dialtone-patience-XXXXXX", address_text[64];
static pid_t pid;
static int counter[2]; // a byte for each request that came

static int prepare(void **state UNUSED)
{
	assert_non_null(mkdtemp(folder));
	snprintf(address_text, sizeof(address_text), "unix:%s/api.sock", folder);
	return pipe2(counter, O_NONBLOCK | O_CLOEXEC);
}

static int cleanup(void **state UNUSED)
{
	return tree_remove(folder, NULL);
}

static _Noreturn void serve(unsigned absent_ms, unsigned broken)
{
	static const char good[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
				   "Connection: close\r\n\r\n{}";
	struct address address;
	int fd = -1;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	nanosleep(&(struct timespec){ .tv_nsec = absent_ms * 1000000l }, NULL);
	if (address_parse(address_text, &address, NULL) < 0 || socket_listen(&address, 16, &fd, NULL) < 0)
		_exit(1);
	for (unsigned n = 0;; n++) {
		char request[4096];
		struct pollfd one = { .fd = fd, .events = POLLIN };
		poll(&one, 1, -1);
		int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		if (connection < 0 || read(connection, request, sizeof(request)) <= 0 || write(counter[1], "", 1) != 1)
			_exit(1);
		if (n >= broken)
			write_all(connection, good, sizeof(good) - 1);
		close(connection);
	}
}

// A platform that listens only after absent_ms, and breaks the first connections after it has read the request.
static struct client *open_peer(unsigned absent_ms, unsigned broken)
{
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		serve(absent_ms, broken);
	struct client *client = client_new(address_text, "t", NULL);
	client_patience(client, PATIENCE_MS);
	return client;
}

// Returns how many requests came.
static unsigned close_peer(struct client *client)
{
	char bytes[100];
	client_free(client);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	unlink(address_text + strlen("unix:"));
	ssize_t n = read(counter[0], bytes, sizeof(bytes));
	return n > 0 ? (unsigned)n : 0;
}

static int call(struct client *client, const char *method, bool repeatable)
{
	struct client_request request = { .method = method, .path = "/", .repeatable = repeatable };
	return client_send(client, &request, NULL, NULL);
}

static void what_was_not_sent_waits_for_a_listener(void **state UNUSED)
{
	struct client *client = open_peer(200, 0);
	assert_int_equal(call(client, "POST", false), 0);
	assert_int_equal(close_peer(client), 1);
}

static void reading_is_repeated(void **state UNUSED)
{
	struct client *client = open_peer(0, 3);
	assert_int_equal(call(client, "GET", false), 0);
	assert_int_equal(close_peer(client), 4);
	client = open_peer(50, 3);
	assert_int_equal(call(client, "POST", true), 0);
	assert_int_equal(close_peer(client), 4);
}

static void what_may_have_been_done_is_not_done_twice(void **state UNUSED)
{
	struct client *client = open_peer(50, 3);
	assert_int_equal(call(client, "POST", false), -ECONNRESET);
	assert_int_equal(close_peer(client), 1);
}

static int stop(const struct sse_event *event UNUSED, void *arg UNUSED)
{
	return 1;
}

static void patience_ends(void **state UNUSED)
{
	struct err err = { 0 };
	struct client *client = client_new(address_text, "t", NULL);
	client_patience(client, 300);
	uint64_t before = monotonic_ms();
	assert_int_equal(call(client, "GET", false), -ENOENT);
	assert_in_range(monotonic_ms() - before, 100, 2000);
	struct client_stream stream = { .request = { .method = "GET", .path = "/" },
					.reconnect = true,
					.on_event = stop };
	assert_int_equal(client_stream(client, &stream, &err), -ENOENT); // not for ever: it never answered
	client_patience(client, 0);
	before = monotonic_ms();
	assert_int_equal(call(client, "GET", false), -ENOENT);
	assert_true(monotonic_ms() - before < 50);
	client_free(client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_not_sent_waits_for_a_listener),
		cmocka_unit_test(reading_is_repeated),
		cmocka_unit_test(what_may_have_been_done_is_not_done_twice),
		cmocka_unit_test(patience_ends),
	};
	return cmocka_run_group_tests(tests, prepare, cleanup);
}
