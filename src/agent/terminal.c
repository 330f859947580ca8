#include "agent/terminal.h"

#include "base/str.h"
#include "model/json.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum { STDIN, STDOUT, STDERR, CONTROL };
enum { HEAD_SIZE = 5, FRAME_MAX = 1 << 20, HIGH_WATER = 256 << 10, PIECE = 32 << 10, LINGER_MS = 1000, PING_MS = 2000 };

// A side from which bytes are read to be framed.
struct source {
	struct terminal *terminal;
	struct poll poll;
	int fd; // -1: at its end
	unsigned char channel;
};

struct terminal {
	struct terminal_spec spec;
	struct poll socket;
	struct buf from, to; // frames in, frames out
	struct source sources[2];
	struct poll in;
	struct buf input; // for the process
	int in_fd;	  // -1: closed
	bool tty, input_over;
	bool ended; // the last frame is in `to`
	bool exited;
	int status;
	struct timer linger;
	struct timer ping; // set while nothing is read from the other end
	struct task gone, flush;
};

static void pump(struct terminal *terminal);

static void put_frame(struct terminal *terminal, unsigned char channel, const void *bytes, size_t n)
{
	unsigned char head[HEAD_SIZE] = { channel, (unsigned char)(n >> 24), (unsigned char)(n >> 16), (unsigned char)(n >> 8),
					  (unsigned char)n };
	buf_add(&terminal->to, head, sizeof(head));
	buf_add(&terminal->to, bytes, n);
}

static void put_control(struct terminal *terminal, json_t *json)
{
	AUTO_FREE char *text = json_to_text(json);
	json_decref(json);
	put_frame(terminal, CONTROL, text, strlen(text));
	terminal->ended = true;
}

static void close_source(struct source *source)
{
	if (source->fd < 0)
		return;
	poll_stop(&source->poll);
	close(source->fd);
	source->fd = -1;
}

static void close_input(struct terminal *terminal)
{
	if (terminal->in_fd < 0)
		return;
	poll_stop(&terminal->in);
	close(terminal->in_fd);
	terminal->in_fd = -1;
	buf_clear(&terminal->input);
}

// The other end of the terminal is asked to end its input with the character it reads as such.
static void end_input(struct terminal *terminal)
{
	terminal->input_over = true;
	if (terminal->tty)
		buf_add(&terminal->input, "\x04", 1);
}

static void resize(struct terminal *terminal, const json_t *size)
{
	struct winsize window = {
		.ws_col = (unsigned short)json_integer_value(json_array_get(size, 0)),
		.ws_row = (unsigned short)json_integer_value(json_array_get(size, 1)),
	};
	if (terminal->tty && terminal->sources[0].fd >= 0 && window.ws_col && window.ws_row)
		ioctl(terminal->sources[0].fd, TIOCSWINSZ, &window);
}

static void obey(struct terminal *terminal, const char *text, size_t n)
{
	AUTO_JSON json_t *json = NULL;
	if (json_from_bytes(text, n, &json, NULL) < 0)
		return;
	uint64_t signum = json_get_u64(json, "signal", 0);
	if (json_object_get(json, "resize"))
		resize(terminal, json_object_get(json, "resize"));
	if (json_get_bool(json, "eof", false))
		end_input(terminal);
	if (signum > 0 && signum < 65)
		terminal->spec.on_signal(terminal, (int)signum);
}

// Takes one whole frame off the socket's bytes; false when there is none, or no room for what it carries.
static bool take_frame(struct terminal *terminal)
{
	const unsigned char *head = (const unsigned char *)buf_data(&terminal->from);
	if (buf_len(&terminal->from) < HEAD_SIZE)
		return false;
	size_t n = (size_t)head[1] << 24 | (size_t)head[2] << 16 | (size_t)head[3] << 8 | head[4];
	if (n > FRAME_MAX) {
		struct err err = { 0 };
		err_set(&err, -EMSGSIZE, "a frame of %zu bytes is too large", n);
		terminal_fail(terminal, &err);
		return false;
	}
	if (buf_len(&terminal->from) < HEAD_SIZE + n || buf_len(&terminal->input) > HIGH_WATER)
		return false;
	const char *payload = (const char *)head + HEAD_SIZE;
	if (head[0] == STDIN && !terminal->input_over)
		buf_add(&terminal->input, payload, n);
	else if (head[0] == CONTROL)
		obey(terminal, payload, n);
	buf_consume(&terminal->from, HEAD_SIZE + n);
	return true;
}

static void left(struct terminal *terminal)
{
	poll_stop(&terminal->socket);
	task_wake(&terminal->gone);
}

static void read_socket(struct terminal *terminal)
{
	char *room;
	if (buf_reserve(&terminal->from, PIECE, &room) < 0)
		return;
	ssize_t n = read(terminal->spec.socket, room, PIECE);
	if (n > 0)
		buf_commit(&terminal->from, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		left(terminal);
}

static void write_socket(struct terminal *terminal)
{
	while (buf_len(&terminal->to) > 0) {
		ssize_t n = send(terminal->spec.socket, buf_data(&terminal->to), buf_len(&terminal->to), MSG_NOSIGNAL);
		if (n < 0) {
			if (errno != EAGAIN && errno != EINTR)
				left(terminal);
			return;
		}
		buf_consume(&terminal->to, (size_t)n);
	}
}

static void write_input(struct terminal *terminal)
{
	while (terminal->in_fd >= 0 && buf_len(&terminal->input) > 0) {
		ssize_t n = write(terminal->in_fd, buf_data(&terminal->input), buf_len(&terminal->input));
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) {
			close_input(terminal);
			return;
		}
		buf_consume(&terminal->input, (size_t)n);
	}
	if (terminal->input_over && !terminal->tty)
		close_input(terminal);
}

static void read_source(struct source *source)
{
	struct terminal *terminal = source->terminal;
	char bytes[PIECE];
	ssize_t n = read(source->fd, bytes, sizeof(bytes));
	if (n > 0)
		put_frame(terminal, source->channel, bytes, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR)) // a terminal's master says EIO when the last user has gone
		close_source(source);
}

static bool output_over(const struct terminal *terminal)
{
	return terminal->sources[0].fd < 0 && terminal->sources[1].fd < 0;
}

static bool is_hungry(const struct terminal *terminal)
{
	return buf_len(&terminal->from) < FRAME_MAX + HEAD_SIZE && buf_len(&terminal->input) <= HIGH_WATER;
}

static void watch_all(struct terminal *terminal)
{
	bool room = buf_len(&terminal->to) < HIGH_WATER;
	poll_set(&terminal->socket,
		 (is_hungry(terminal) ? POLL_READ : POLL_HANGUP) | (buf_len(&terminal->to) ? POLL_WRITE : 0));
	for (size_t i = 0; i < 2; i++) {
		if (terminal->sources[i].fd >= 0)
			poll_set(&terminal->sources[i].poll, room ? POLL_READ : 0);
	}
	if (terminal->in_fd >= 0)
		poll_set(&terminal->in, buf_len(&terminal->input) ? POLL_WRITE : 0);
	if (is_hungry(terminal))
		timer_stop(&terminal->ping);
	else if (!timer_is_set(&terminal->ping))
		timer_set(&terminal->ping, PING_MS);
}

static void pump(struct terminal *terminal)
{
	while (!terminal->ended && take_frame(terminal))
		;
	write_input(terminal);
	if (terminal->exited && !terminal->ended && output_over(terminal))
		put_control(terminal, json_pack("{s:i}", "exit", terminal->status));
	write_socket(terminal);
	if (terminal->ended && buf_len(&terminal->to) == 0)
		left(terminal);
	else if (terminal->socket.handle)
		watch_all(terminal);
}

static void socket_ready(struct poll *poll, int events)
{
	struct terminal *terminal = CONTAINER_OF(poll, struct terminal, socket);
	if ((events & POLL_READ) && is_hungry(terminal))
		read_socket(terminal);
	else if (events & POLL_READ)
		left(terminal);
	pump(terminal);
}

static void source_ready(struct poll *poll, int events UNUSED)
{
	struct source *source = CONTAINER_OF(poll, struct source, poll);
	read_source(source);
	pump(source->terminal);
}

static void input_ready(struct poll *poll, int events UNUSED)
{
	pump(CONTAINER_OF(poll, struct terminal, in));
}

static void lingered(struct timer *timer)
{
	struct terminal *terminal = CONTAINER_OF(timer, struct terminal, linger);
	for (size_t i = 0; i < 2; i++)
		close_source(&terminal->sources[i]);
	pump(terminal);
}

// The end of a connection comes behind what was sent before. While that is not read, only the answer to something that is
// written shows that the other end has gone.
static void ping(struct timer *timer)
{
	struct terminal *terminal = CONTAINER_OF(timer, struct terminal, ping);
	if (!terminal->ended && !buf_len(&terminal->to))
		put_frame(terminal, CONTROL, "{}", 2);
	pump(terminal);
}

static void gone(struct task *task)
{
	struct terminal *terminal = CONTAINER_OF(task, struct terminal, gone);
	terminal->spec.on_gone(terminal);
}

static void flush(struct task *task)
{
	pump(CONTAINER_OF(task, struct terminal, flush));
}

struct terminal *terminal_new(const struct terminal_spec *spec)
{
	struct terminal *terminal = xcalloc(1, sizeof(*terminal));
	terminal->spec = *spec;
	terminal->from = BUF_INIT(2 * FRAME_MAX);
	terminal->to = BUF_INIT(2 * FRAME_MAX);
	terminal->input = BUF_INIT(2 * FRAME_MAX);
	terminal->in_fd = -1;
	for (size_t i = 0; i < 2; i++)
		terminal->sources[i] = (struct source){ .terminal = terminal, .fd = -1 };
	if (spec->early) {
		buf_add(&terminal->from, buf_data(spec->early), buf_len(spec->early));
		buf_clear(spec->early);
	}
	task_init(&terminal->gone, spec->loop, "terminal", gone);
	task_init(&terminal->flush, spec->loop, "terminal", flush);
	timer_init(&terminal->linger, spec->loop, lingered);
	timer_init(&terminal->ping, spec->loop, ping);
	if (poll_start(&terminal->socket, spec->loop, spec->socket, POLL_READ, socket_ready) < 0)
		left(terminal);
	return terminal;
}

void terminal_free(struct terminal *terminal)
{
	if (!terminal)
		return;
	for (size_t i = 0; i < 2; i++)
		close_source(&terminal->sources[i]);
	close_input(terminal);
	poll_stop(&terminal->socket);
	close(terminal->spec.socket);
	timer_clear(&terminal->linger);
	timer_clear(&terminal->ping);
	task_clear(&terminal->gone);
	task_clear(&terminal->flush);
	buf_clear(&terminal->from);
	buf_clear(&terminal->to);
	buf_clear(&terminal->input);
	free(terminal);
}

void *terminal_arg(const struct terminal *terminal)
{
	return terminal->spec.arg;
}

static void nonblocking(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static void attach_source(struct terminal *terminal, struct source *source, int fd, unsigned char channel)
{
	if (fd < 0)
		return;
	nonblocking(fd);
	source->fd = fd;
	source->channel = channel;
	if (poll_start(&source->poll, terminal->spec.loop, fd, POLL_READ, source_ready) < 0)
		close_source(source);
}

void terminal_attach(struct terminal *terminal, int in, int out, int errors, int tty)
{
	terminal->tty = tty >= 0;
	attach_source(terminal, &terminal->sources[0], terminal->tty ? tty : out, STDOUT);
	attach_source(terminal, &terminal->sources[1], errors, STDERR);
	terminal->in_fd = terminal->tty ? fcntl(tty, F_DUPFD_CLOEXEC, 3) : in;
	if (terminal->in_fd >= 0) {
		nonblocking(terminal->in_fd);
		if (poll_start(&terminal->in, terminal->spec.loop, terminal->in_fd, 0, input_ready) < 0)
			close_input(terminal);
	}
	task_wake(&terminal->flush);
}

void terminal_exited(struct terminal *terminal, int status)
{
	terminal->exited = true;
	terminal->status = status;
	timer_set(&terminal->linger, LINGER_MS);
	task_wake(&terminal->flush);
}

void terminal_fail(struct terminal *terminal, const struct err *err)
{
	if (terminal->ended)
		return;
	json_t *control = json_pack("{s:s}", "error", err->text);
	if (err->hint[0])
		json_object_set_new(control, "hint", json_string(err->hint));
	if (err->code == -ENOEXEC)
		json_object_set_new(control, "exit", json_integer(127)); // as a shell says it
	put_control(terminal, control);
	task_wake(&terminal->flush);
}
