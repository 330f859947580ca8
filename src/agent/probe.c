#include "agent/probe.h"

#include "base/clock.h"
#include "base/str.h"
#include "io/socket.h"

#include <arpa/inet.h>
#include <errno.h>

enum { PAUSE_FIRST_MS = 10, PAUSE_MAX_MS = 250 };

static bool only_runs(const struct probe *probe)
{
	return probe->type == HEALTH_PROCESS || probe->type == HEALTH_AUTO;
}

static void check_begin(struct probe *probe);

static void check_close(struct probe *probe)
{
	if (probe->fd < 0)
		return;
	poll_stop(&probe->poll);
	close(probe->fd);
	probe->fd = -1;
}

static uint32_t next_pause(struct probe *probe)
{
	if (probe->seen_ok)
		return probe->interval_ms;
	uint32_t pause = probe->pause_ms;
	probe->pause_ms = pause + pause / 2;
	if (probe->pause_ms > PAUSE_MAX_MS)
		probe->pause_ms = PAUSE_MAX_MS;
	return pause < probe->interval_ms ? pause : probe->interval_ms;
}

static void check_end(struct probe *probe, bool ok, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void check_end(struct probe *probe, bool ok, const char *fmt, ...)
{
	char detail[160];
	va_list args;
	va_start(args, fmt);
	vsnprintf(detail, sizeof(detail), fmt, args);
	va_end(args);
	check_close(probe);
	probe->took_ms = (uint32_t)(monotonic_ms() - probe->began_ms);
	probe->seen_ok |= ok;
	timer_set(&probe->timer, next_pause(probe));
	probe->on_result(probe, ok, detail);
}

static const char *target(const struct probe *probe, char text[32])
{
	char ip[INET_ADDRSTRLEN];
	inet_ntop(AF_INET, &probe->address.sin_addr, ip, sizeof(ip));
	snprintf(text, 32, "%s:%u", ip, ntohs(probe->address.sin_port));
	return text;
}

static void judge_answer(struct probe *probe)
{
	probe->head[probe->got] = '\0';
	unsigned status = 0;
	if (sscanf(probe->head, "HTTP/1.%*1u %3u", &status) != 1) {
		check_end(probe, false, "the answer is not HTTP/1");
		return;
	}
	check_end(probe, status >= 200 && status < 400, "answered %u", status);
}

static void read_answer(struct probe *probe)
{
	size_t room = sizeof(probe->head) - 1 - probe->got;
	ssize_t n = read(probe->fd, probe->head + probe->got, room);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		check_end(probe, false, "no answer: %s", strerror(errno));
		return;
	}
	if (n == 0 && probe->got == 0) {
		check_end(probe, false, "the connection was closed without an answer");
		return;
	}
	probe->got += (size_t)n;
	if (n == 0 || probe->got >= 13 || memchr(probe->head, '\n', probe->got))
		judge_answer(probe);
}

static void send_request(struct probe *probe)
{
	size_t left = strlen(probe->request) - probe->sent;
	ssize_t n = send(probe->fd, probe->request + probe->sent, left, MSG_NOSIGNAL);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		check_end(probe, false, "cannot send: %s", strerror(errno));
		return;
	}
	probe->sent += (size_t)n;
	if ((size_t)n < left)
		return;
	probe->phase = PROBE_READS;
	poll_set(&probe->poll, POLL_READ);
}

static void connected(struct probe *probe)
{
	int error = 0;
	socklen_t len = sizeof(error);
	getsockopt(probe->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	char text[32];
	if (error != 0) {
		check_end(probe, false, "connect to %s: %s", target(probe, text), strerror(error));
	} else if (probe->type == HEALTH_TCP) {
		check_end(probe, true, "accepts connections");
	} else {
		probe->phase = PROBE_SENDS;
		send_request(probe);
	}
}

static void ready(struct poll *poll, int events UNUSED)
{
	struct probe *probe = CONTAINER_OF(poll, struct probe, poll);
	if (probe->phase == PROBE_CONNECTS)
		connected(probe);
	else if (probe->phase == PROBE_SENDS)
		send_request(probe);
	else
		read_answer(probe);
}

static void check_connect(struct probe *probe)
{
	struct address address = { .len = sizeof(probe->address) };
	memcpy(&address.sa, &probe->address, sizeof(probe->address));
	struct err err = { 0 };
	int r = socket_connect(&address, &probe->fd, &err);
	if (r < 0) {
		probe->fd = -1;
		check_end(probe, false, "%s", err.text);
		return;
	}
	r = poll_start(&probe->poll, probe->loop, probe->fd, POLL_WRITE, ready);
	if (r < 0)
		check_end(probe, false, "cannot watch the connection: %s", strerror(-r));
}

static void check_begin(struct probe *probe)
{
	probe->began_ms = monotonic_ms();
	if (only_runs(probe)) {
		check_end(probe, true, "the process runs");
		timer_stop(&probe->timer); // its end is told by the keeper
		return;
	}
	probe->phase = PROBE_CONNECTS;
	probe->sent = probe->got = 0;
	timer_set(&probe->timer, probe->timeout_ms);
	check_connect(probe);
}

static void timed(struct timer *timer)
{
	struct probe *probe = CONTAINER_OF(timer, struct probe, timer);
	static const char *const doing[] = { "connecting", "sending", "waiting for an answer" };
	if (probe->fd >= 0)
		check_end(probe, false, "timed out after %u ms, %s", probe->timeout_ms, doing[probe->phase]);
	else
		check_begin(probe);
}

void probe_start(struct probe *probe, struct loop *loop, const struct health *health, uint32_t ip, uint32_t port,
		 bool seen_ok, probe_result_fn *on_result)
{
	probe_stop(probe);
	*probe = (struct probe){
		.loop = loop,
		.type = health->type,
		.address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(ip), .sin_port = htons((uint16_t)port) },
		.interval_ms = health->interval_ms ? health->interval_ms : 1,
		.timeout_ms = health->timeout_ms ? health->timeout_ms : 1000,
		.on_result = on_result,
		.pause_ms = PAUSE_FIRST_MS,
		.seen_ok = seen_ok,
		.fd = -1,
	};
	char text[32];
	if (health->type == HEALTH_HTTP)
		probe->request = xasprintf("GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: dialtone-health\r\n"
					   "Accept: */*\r\nConnection: close\r\n\r\n",
					   str_empty(health->path) ? "/" : health->path, target(probe, text));
	timer_init(&probe->timer, loop, timed);
	timer_set(&probe->timer, only_runs(probe) && !seen_ok ? PROBE_PROCESS_LIVES_MS : 0);
}

void probe_stop(struct probe *probe)
{
	if (!probe->loop)
		return;
	check_close(probe);
	timer_clear(&probe->timer);
	free(probe->request);
	*probe = (struct probe){ .fd = -1 };
}
