#include "peer.h"

#include "base/str.h"
#include "http/server.h"
#include "http/sse.h"
#include "io/file.h"
#include "io/socket.h"

#include <signal.h>
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <sys/prctl.h>
#include <sys/wait.h>

char peer_address[128];
static char folder[64];
static pid_t pid;

static void echo(struct http_exchange *x, const char *body, size_t n)
{
	http_exchange_set_header(x, "ETag", "\"7\"");
	http_respond(x, 200, "application/json", n ? body : "null", n ? n : 4);
}

static void problem(struct http_exchange *x)
{
	static const char text[] = "{\"title\":\"Conflict\",\"status\":409,\"detail\":\"the name is taken\",\"hint\":\"choose "
				   "another\",\"missing\":[\"a\"]}";
	http_respond(x, 409, "application/problem+json", text, strlen(text));
}

static size_t received;

static void count(struct http_exchange *x UNUSED, const char *bytes UNUSED, size_t n)
{
	received += n;
}

static void counted(struct http_exchange *x)
{
	AUTO_FREE char *text = xasprintf("{\"received\":%zu}", received);
	http_respond(x, 200, "application/json", text, strlen(text));
}

static void big(struct http_exchange *x)
{
	char *bytes = xmalloc(3 << 20);
	memset(bytes, 'b', 3 << 20);
	http_respond(x, 200, "application/octet-stream", bytes, 3 << 20);
	free(bytes);
}

// Begins an answer and leaves it at that.
static void stall(struct http_exchange *x)
{
	http_respond_start(x, 200, "application/json");
	http_respond_write(x, "{", 1);
}

// Three events after the one the client has seen, then the stream breaks off.
static void events(struct http_exchange *x)
{
	const char *last = http_header_get(&http_exchange_request(x)->headers, "last-event-id");
	unsigned at = last ? (unsigned)atoi(last) : 0;
	AUTO_BUF struct buf out = BUF_INIT(1 << 16);
	http_respond_start(x, 200, "text/event-stream");
	for (unsigned i = 0; i < 3; i++) {
		char id[16];
		snprintf(id, sizeof(id), "%u", ++at);
		sse_write(&out, "count", id, id, strlen(id));
	}
	http_respond_write(x, buf_data(&out), buf_len(&out));
	http_respond_end(x);
}

// One event, then nothing for ever.
static void silence(struct http_exchange *x)
{
	static const char event[] = "event: count\ndata: 1\n\n";
	http_respond_start(x, 200, "text/event-stream");
	http_respond_write(x, event, sizeof(event) - 1);
}

// Like events for a client that comes anew, 410 for one that has seen something.
static void gone(struct http_exchange *x)
{
	if (http_header_get(&http_exchange_request(x)->headers, "last-event-id"))
		http_respond(x, 410, "application/problem+json", "{\"title\":\"Gone\"}", 16);
	else
		events(x);
}

static void upgrade(struct http_exchange *x, const char *body UNUSED, size_t n UNUSED)
{
	AUTO_BUF struct buf early = BUF_INIT(1024);
	int fd;
	if (http_exchange_upgrade(x, "dialtone-stream", &early, &fd) < 0)
		return;
	write_all(fd, "hello", 5);
	close(fd);
}

static void on_request(struct http_exchange *x, void *arg UNUSED)
{
	const struct http_request *request = http_exchange_request(x);
	const char *token = http_header_get(&request->headers, "authorization");
	if (!str_eq(token, "Bearer secret"))
		http_respond(x, 401, "application/problem+json", "{\"title\":\"no token\"}", 20);
	else if (str_eq(request->path, "/echo"))
		http_exchange_read_body(x, 1 << 20, echo);
	else if (str_eq(request->path, "/upload"))
		http_exchange_stream_body(x, count, counted);
	else if (str_eq(request->path, "/small"))
		http_exchange_read_body(x, 1000, echo);
	else if (str_eq(request->path, "/big"))
		big(x);
	else if (str_eq(request->path, "/stall"))
		stall(x);
	else if (str_eq(request->path, "/events"))
		events(x);
	else if (str_eq(request->path, "/silence"))
		silence(x);
	else if (str_eq(request->path, "/gone"))
		gone(x);
	else if (str_eq(request->path, "/upgrade"))
		http_exchange_read_body(x, 1 << 20, upgrade);
	else if (str_eq(request->path, "/text"))
		http_respond(x, 200, "application/json", "{nonsense", 9);
	else
		problem(x);
}

static void serve(int fd)
{
	struct loop *loop = loop_new();
	struct http_server_config config = { .on_request = on_request };
	struct http_server *server = http_server_new(loop, &config);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	http_server_listen(server, fd, NULL);
	loop_run(loop);
	_exit(0);
}

void peer_prepare(void)
{
	snprintf(folder, sizeof(folder), "/tmp/dialtone-client-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(peer_address, sizeof(peer_address), "unix:%s/api.sock", folder);
}

void peer_cleanup(void)
{
	assert_int_equal(tree_remove(folder, NULL), 0);
}

void peer_start(void)
{
	struct address address;
	int fd;
	assert_int_equal(address_parse(peer_address, &address, NULL), 0);
	assert_int_equal(socket_listen(&address, 16, &fd, NULL), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		serve(fd);
	close(fd);
}

void peer_kill(void)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}
