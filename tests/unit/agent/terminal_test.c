// A dialtone-stream between a socket pair and pipes.
#include "agent/terminal.h"

#include "base/str.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <sys/socket.h>

struct rig {
	struct loop *loop;
	struct terminal *terminal;
	int peer;	 // the other end's socket
	int in, out, errors; // the process's ends
	struct buf got;	 // frames that the peer has received
	unsigned gone;
	int signum;
	struct timer tick;
	bool (*until)(struct rig *rig);
	unsigned ticks;
};

static void on_signal(struct terminal *terminal, int signum)
{
	((struct rig *)terminal_arg(terminal))->signum = signum;
}

static void on_gone(struct terminal *terminal)
{
	struct rig *rig = terminal_arg(terminal);
	rig->gone++;
	rig->terminal = NULL;
	terminal_free(terminal);
}

static void tick(struct timer *timer)
{
	struct rig *rig = CONTAINER_OF(timer, struct rig, tick);
	char bytes[65536];
	ssize_t n;
	while ((n = recv(rig->peer, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		buf_add(&rig->got, bytes, (size_t)n);
	if (rig->until(rig))
		loop_stop(rig->loop);
	else if (++rig->ticks > 5000)
		fail_msg("the condition did not come true");
	else
		timer_set(timer, 1);
}

static void run_until(struct rig *rig, bool (*until)(struct rig *rig))
{
	rig->until = until;
	rig->ticks = 0;
	timer_set(&rig->tick, 0);
	loop_run(rig->loop);
}

static void rig_open(struct rig *rig, const char *early)
{
	int pair[2], in[2], out[2], errors[2];
	struct buf first = BUF_INIT(1 << 16);
	*rig = (struct rig){ .loop = loop_new(), .got = BUF_INIT(64 << 20) };
	buf_add_str(&first, early);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	fcntl(pair[0], F_SETFL, O_NONBLOCK);
	assert_int_equal(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC) | pipe2(errors, O_CLOEXEC), 0);
	struct terminal_spec spec = {
		.loop = rig->loop, .socket = pair[0], .early = &first, .on_signal = on_signal, .on_gone = on_gone, .arg = rig
	};
	rig->terminal = terminal_new(&spec);
	terminal_attach(rig->terminal, in[1], out[0], errors[0], -1);
	rig->peer = pair[1];
	rig->in = in[0];
	rig->out = out[1];
	rig->errors = errors[1];
	timer_init(&rig->tick, rig->loop, tick);
}

static void close_end(int *fd)
{
	cleanup_close(fd);
	*fd = -1;
}

static void rig_close(struct rig *rig)
{
	terminal_free(rig->terminal);
	timer_clear(&rig->tick);
	close_end(&rig->peer);
	close_end(&rig->in);
	close_end(&rig->out);
	close_end(&rig->errors);
	buf_clear(&rig->got);
	loop_free(rig->loop);
}

static void send_frame(struct rig *rig, unsigned char channel, const char *bytes, size_t n)
{
	unsigned char head[5] = { channel, (unsigned char)(n >> 24), (unsigned char)(n >> 16), (unsigned char)(n >> 8),
				  (unsigned char)n };
	assert_int_equal(write_all(rig->peer, head, 5), 0);
	assert_int_equal(write_all(rig->peer, bytes, n), 0);
}

static bool is_gone(struct rig *rig)
{
	return rig->gone > 0;
}

static bool has_signal(struct rig *rig)
{
	return rig->signum != 0;
}

static bool input_at_end(struct rig *rig)
{
	struct pollfd poll_fd = { .fd = rig->in, .events = POLLIN };
	return poll(&poll_fd, 1, 0) == 1 && poll_fd.revents & POLLHUP;
}

static void output_then_status(void **state UNUSED)
{
	struct rig rig;
	rig_open(&rig, "");
	assert_int_equal(write_all(rig.out, "hello", 5), 0);
	terminal_exited(rig.terminal, 3); // told before the output was read
	close_end(&rig.out);
	close_end(&rig.errors);
	run_until(&rig, is_gone);
	assert_int_equal(buf_len(&rig.got), 10 + 5 + 10);
	assert_memory_equal(buf_data(&rig.got), "\1\0\0\0\5hello\3\0\0\0\n{\"exit\":3}", 25);
	rig_close(&rig);
}

static void input_and_its_end(void **state UNUSED)
{
	struct rig rig;
	char bytes[16];
	rig_open(&rig, "");
	send_frame(&rig, 0, "abc", 3);
	send_frame(&rig, 0, "def", 3);
	send_frame(&rig, 3, "{\"eof\":true}", 12);
	run_until(&rig, input_at_end);
	assert_int_equal(read(rig.in, bytes, sizeof(bytes)), 6);
	assert_memory_equal(bytes, "abcdef", 6);
	assert_int_equal(read(rig.in, bytes, sizeof(bytes)), 0);
	rig_close(&rig);
}

static void control_words(void **state UNUSED)
{
	struct rig rig;
	rig_open(&rig, "");
	send_frame(&rig, 3, "nonsense", 8);
	send_frame(&rig, 9, "unknown", 7);
	send_frame(&rig, 3, "{\"resize\":[80,24]}", 18);
	send_frame(&rig, 3, "{\"signal\":15}", 13);
	run_until(&rig, has_signal);
	assert_int_equal(rig.signum, 15);
	rig_close(&rig);
}

static void failure_is_told(void **state UNUSED)
{
	struct rig rig;
	struct err err = { 0 };
	rig_open(&rig, "");
	err_set(&err, -EIO, "no such command");
	terminal_fail(rig.terminal, &err);
	run_until(&rig, is_gone);
	buf_consume(&rig.got, 5);
	assert_string_equal(buf_str(&rig.got), "{\"error\":\"no such command\"}");
	rig_close(&rig);
}

static void too_large_a_frame(void **state UNUSED)
{
	struct rig rig;
	rig_open(&rig, "");
	assert_int_equal(write_all(rig.peer, "\0\x7f\xff\xff\xff", 5), 0);
	run_until(&rig, is_gone);
	buf_consume(&rig.got, 5);
	assert_non_null(strstr(buf_str(&rig.got), "too large"));
	rig_close(&rig);
}

static bool is_stuck(struct rig *rig)
{
	char head[5] = { 0, 0, 0, 0x10, 0 }, bytes[4096] = { 0 };
	struct pollfd poll_fd = { .fd = rig->peer, .events = POLLOUT };
	if (poll(&poll_fd, 1, 50) == 0)
		return true;
	if (send(rig->peer, head, sizeof(head), MSG_DONTWAIT) == sizeof(head))
		send(rig->peer, bytes, sizeof(bytes), 0);
	return false;
}

// Input for a process that does not read stands in the way of the end of the connection.
static void peer_leaves_behind_input(void **state UNUSED)
{
	struct rig rig;
	rig_open(&rig, "");
	run_until(&rig, is_stuck);
	close_end(&rig.peer);
	rig.peer = open("/dev/null", O_RDONLY | O_CLOEXEC);
	run_until(&rig, is_gone);
	rig_close(&rig);
}

static bool got_ping(struct rig *rig)
{
	return buf_len(&rig->got) == 7 && memcmp(buf_data(&rig->got), "\003\0\0\0\002{}", 7) == 0;
}

// The end of a connection may lie behind what nobody reads: something is written now and then, which fails if it is over.
static void blocked_input_is_pinged(void **state UNUSED)
{
	struct rig rig;
	rig_open(&rig, "");
	run_until(&rig, is_stuck);
	run_until(&rig, got_ping);
	rig_close(&rig);
}

static void peer_leaves(void **state UNUSED)
{
	struct rig rig;
	rig_open(&rig, "");
	shutdown(rig.peer, SHUT_RDWR);
	run_until(&rig, is_gone);
	assert_int_equal(rig.gone, 1);
	rig_close(&rig);
}

static bool seen_enough(struct rig *rig)
{
	char bytes[32768];
	memset(bytes, 'x', sizeof(bytes));
	fcntl(rig->out, F_SETFL, O_NONBLOCK);
	while (write(rig->out, bytes, sizeof(bytes)) > 0)
		;
	return buf_len(&rig->got) > (8 << 20);
}

static void much_output(void **state UNUSED)
{
	struct rig rig;
	rig_open(&rig, "");
	run_until(&rig, seen_enough);
	size_t frames = 0;
	while (buf_len(&rig.got) >= 5) {
		const unsigned char *head = (const unsigned char *)buf_data(&rig.got);
		size_t n = (size_t)head[1] << 24 | (size_t)head[2] << 16 | (size_t)head[3] << 8 | head[4];
		assert_int_equal(head[0], 1);
		if (buf_len(&rig.got) < 5 + n)
			break;
		buf_consume(&rig.got, 5 + n);
		frames++;
	}
	assert_true(frames > 100);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(output_then_status), cmocka_unit_test(input_and_its_end), cmocka_unit_test(control_words),
		cmocka_unit_test(failure_is_told),    cmocka_unit_test(too_large_a_frame), cmocka_unit_test(peer_leaves),
		cmocka_unit_test(peer_leaves_behind_input),
		cmocka_unit_test(blocked_input_is_pinged),
		cmocka_unit_test(much_output),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
