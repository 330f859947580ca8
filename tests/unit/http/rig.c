#include "rig.h"

#include "base/clock.h"
#include "base/str.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void tick(struct timer *timer)
{
	struct rig *rig = CONTAINER_OF(timer, struct rig, tick);
	rig->held = rig->holds(rig->arg);
	if (rig->held || monotonic_ms() > rig->deadline_ms)
		loop_stop(rig->loop);
	else
		timer_set(timer, 1);
}

void rig_init(struct rig *rig)
{
	*rig = (struct rig){ .loop = loop_new() };
	timer_init(&rig->tick, rig->loop, tick);
}

void rig_clear(struct rig *rig)
{
	timer_clear(&rig->tick);
	loop_free(rig->loop);
}

bool rig_wait(struct rig *rig, bool (*holds)(void *arg), void *arg)
{
	rig->holds = holds;
	rig->arg = arg;
	rig->held = false;
	rig->deadline_ms = monotonic_ms() + RIG_DEADLINE_MS;
	timer_set(&rig->tick, 0);
	loop_run(rig->loop);
	return rig->held;
}

int rig_listen(struct address *ret)
{
	struct err err = { 0 };
	assert_int_equal(address_parse("127.0.0.1:0", ret, &err), 0);
	int fd;
	assert_int_equal(socket_listen(ret, 64, &fd, &err), 0);
	ret->len = sizeof(ret->sa);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&ret->sa, &ret->len), 0);
	return fd;
}

struct raw raw_connect(const struct address *address)
{
	struct raw raw = { .got = BUF_INIT(64 << 20) };
	struct err err = { 0 };
	assert_int_equal(socket_connect(address, &raw.fd, &err), 0);
	return raw;
}

struct accepting {
	int listen_fd, fd;
};

static bool has_accepted(void *arg)
{
	struct accepting *a = arg;
	return socket_accept(a->listen_fd, NULL, &a->fd) == 0;
}

struct raw raw_accepted(struct rig *rig, int listen_fd)
{
	struct accepting a = { .listen_fd = listen_fd };
	assert_true(rig_wait(rig, has_accepted, &a));
	return (struct raw){ .fd = a.fd, .got = BUF_INIT(64 << 20) };
}

void raw_clear(struct raw *raw)
{
	if (raw->fd >= 0)
		close(raw->fd);
	buf_clear(&raw->got);
	raw->fd = -1;
}

void raw_send(struct raw *raw, const char *text)
{
	ssize_t n;
	do
		n = send(raw->fd, text, strlen(text), MSG_NOSIGNAL);
	while (n < 0 && errno == EAGAIN); // still connecting
	assert_int_equal(n, strlen(text));
}

void raw_read(struct raw *raw)
{
	char bytes[65536];
	ssize_t n;
	while ((n = recv(raw->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		buf_add(&raw->got, bytes, (size_t)n);
	raw->closed |= n == 0;
	raw->reset |= n < 0 && errno == ECONNRESET;
}

static bool has_got(void *arg)
{
	struct raw *raw = arg;
	raw_read(raw);
	return buf_len(&raw->got) && memmem(buf_data(&raw->got), buf_len(&raw->got), raw->wanted, raw->wanted_len);
}

void raw_expect(struct rig *rig, struct raw *raw, const char *text)
{
	raw->wanted = text;
	raw->wanted_len = strlen(text);
	if (!rig_wait(rig, has_got, raw))
		fail_msg("expected '%s', got '%.2000s'%s", text, buf_str(&raw->got), raw->closed ? ", closed" : "");
	const char *at = memmem(buf_data(&raw->got), buf_len(&raw->got), text, raw->wanted_len);
	buf_consume(&raw->got, (size_t)(at - buf_data(&raw->got)) + raw->wanted_len);
}

static bool has_len(void *arg)
{
	struct raw *raw = arg;
	raw_read(raw);
	return buf_len(&raw->got) >= raw->wanted_len;
}

void raw_expect_len(struct rig *rig, struct raw *raw, size_t n)
{
	raw->wanted_len = n;
	if (!rig_wait(rig, has_len, raw))
		fail_msg("expected %zu bytes, got %zu", n, buf_len(&raw->got));
}

static bool has_closed(void *arg)
{
	struct raw *raw = arg;
	raw_read(raw);
	return raw->closed || raw->reset;
}

void raw_expect_closed(struct rig *rig, struct raw *raw)
{
	if (!rig_wait(rig, has_closed, raw))
		fail_msg("the connection was not closed; got '%.2000s'", buf_str(&raw->got));
}
