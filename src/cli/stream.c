// `run` and `exec`: a command in a container, joined to this terminal over dialtone-stream (ARCHITECTURE.md).
#include "cli/chunks.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/wait.h"

#include "base/str.h"
#include "io/file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <termios.h>

enum channel { CHANNEL_IN, CHANNEL_OUT, CHANNEL_ERR, CHANNEL_CONTROL };

#define FRAME_HEAD 5
#define FRAME_MAX (1 << 20)
#define OUT_HIGH (256 << 10) // bytes to be sent above which no more input is read

struct session {
	int socket;
	bool tty, input_open, raw;
	struct termios before;
	struct buf in;       // from the socket, not yet a whole frame
	struct buf out;      // frames to be sent: never waited for, since the other end may wait for us to read
	int status;          // what to exit with; -1: not known yet
	struct chunks *json; // NULL: output is passed on as it is
};

static int send_frame(struct session *s, enum channel channel, const void *bytes, size_t n)
{
	unsigned char head[FRAME_HEAD] = { (unsigned char)channel };
	uint32_t length = htonl((uint32_t)n);
	memcpy(head + 1, &length, sizeof(length));
	int r = buf_add(&s->out, head, sizeof(head));
	return r < 0 ? r : buf_add(&s->out, bytes, n);
}

static int flush_frames(struct session *s)
{
	while (buf_len(&s->out)) {
		ssize_t n = send(s->socket, buf_data(&s->out), buf_len(&s->out), MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		buf_consume(&s->out, (size_t)n);
	}
	return 0;
}

static int send_control(struct session *s, json_t *control)
{
	char *text = json_dumps(control, JSON_COMPACT);
	json_decref(control);
	int r = send_frame(s, CHANNEL_CONTROL, text, strlen(text));
	free(text);
	return r;
}

static int send_size(struct session *s)
{
	struct winsize size;
	if (!s->tty || ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0)
		return 0;
	return send_control(s, json_pack("{s:[i,i]}", "resize", size.ws_col, size.ws_row));
}

static void take_control(struct session *s, const char *bytes, size_t n)
{
	json_t *control = json_loadb(bytes, n, 0, NULL);
	const char *error = json_string_value(json_object_get(control, "error"));
	const json_t *exit = json_object_get(control, "exit");
	if (error || json_is_integer(exit))
		s->status = json_is_integer(exit) ? (int)(json_integer_value(exit) & 255) : CLI_FAILED;
	if (error) {
		struct err err = { 0 };
		err_set(&err, -EIO, "%s", error);
		err_hint(&err, "%s", get_text(control, "hint"));
		cli_report(s->status, &err, NULL, NULL, NULL);
	} else if (json_is_integer(exit) && s->json) {
		chunks_end(s->json, s->status);
	}
	json_decref(control);
}

// Handles every whole frame that has come. 0 or a negative errno.
static int take_frames(struct session *s)
{
	while (buf_len(&s->in) >= FRAME_HEAD) {
		const char *frame = buf_data(&s->in);
		uint32_t length;
		memcpy(&length, frame + 1, sizeof(length));
		length = ntohl(length);
		if (length > FRAME_MAX)
			return -EBADMSG;
		if (buf_len(&s->in) < FRAME_HEAD + length)
			return 0;
		const char *bytes = frame + FRAME_HEAD;
		if (s->json && (frame[0] == CHANNEL_OUT || frame[0] == CHANNEL_ERR))
			chunks_print(s->json, frame[0] == CHANNEL_ERR, bytes, length);
		else if (frame[0] == CHANNEL_OUT)
			write_all(STDOUT_FILENO, bytes, length);
		else if (frame[0] == CHANNEL_ERR)
			write_all(STDERR_FILENO, bytes, length);
		else if (frame[0] == CHANNEL_CONTROL)
			take_control(s, bytes, length);
		buf_consume(&s->in, FRAME_HEAD + length);
	}
	return 0;
}

static int read_socket(struct session *s)
{
	char *to;
	if (buf_reserve(&s->in, 65536, &to) < 0)
		return -ENOBUFS;
	ssize_t n = recv(s->socket, to, 65536, MSG_DONTWAIT);
	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 0 : -errno;
	if (n == 0)
		return -ECONNRESET;
	buf_commit(&s->in, (size_t)n);
	return take_frames(s);
}

static int read_input(struct session *s)
{
	char bytes[16384];
	ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n > 0)
		return send_frame(s, CHANNEL_IN, bytes, (size_t)n);
	s->input_open = false;
	return send_control(s, json_pack("{s:b}", "eof", 1));
}

static int read_signal(struct session *s, int signals)
{
	struct signalfd_siginfo info;
	if (read(signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return 0;
	if (info.ssi_signo == SIGWINCH)
		return send_size(s);
	return send_control(s, json_pack("{s:i}", "signal", (int)info.ssi_signo));
}

static int relay(struct session *s, int signals)
{
	int r = take_frames(s);
	while (r == 0 && s->status < 0) {
		bool hungry = s->input_open && buf_len(&s->out) < OUT_HIGH;
		struct pollfd fds[] = {
			{ .fd = s->socket, .events = (short)(POLLIN | (buf_len(&s->out) ? POLLOUT : 0)) },
			{ .fd = hungry ? STDIN_FILENO : -1, .events = POLLIN },
			{ .fd = signals, .events = POLLIN },
		};
		if (poll(fds, ARRAY_LEN(fds), -1) < 0 && errno != EINTR)
			return -errno;
		if (fds[0].revents & ~POLLOUT)
			r = read_socket(s);
		if (r == 0 && s->status < 0 && fds[1].revents)
			r = read_input(s);
		if (r == 0 && s->status < 0 && fds[2].revents)
			r = read_signal(s, signals);
		if (r == 0 && s->status < 0)
			r = flush_frames(s);
	}
	return s->status >= 0 ? 0 : r;
}

static void make_raw(struct session *s)
{
	if (!s->tty || tcgetattr(STDIN_FILENO, &s->before) < 0)
		return;
	struct termios raw = s->before;
	cfmakeraw(&raw);
	s->raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
}

static int lost(struct cli *cli, int r)
{
	struct err err = { 0 };
	if (r != -ECONNRESET && r != -EPIPE) {
		err_set_errno(&err, r, "the connection to the container was lost");
		return cli_fail(cli, &err);
	}
	err_set(&err, r, "the platform's agent or server went away while the command ran; the command is ended");
	err_hint(&err, "the platform restarts what went away: run the command again in a moment; 'dialtone doctor' looks "
		       "at the platform");
	return cli_fail(cli, &err);
}

static int join(struct cli *cli, struct session *s)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	AUTO_CLOSE int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	make_raw(s);
	int r = send_size(s);
	if (r == 0)
		r = flush_frames(s);
	if (r == 0)
		r = relay(s, signals);
	if (s->raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &s->before);
	return r < 0 ? lost(cli, r) : s->status;
}

static bool wants_tty(struct cli *cli)
{
	if (cli->json || cli_get(cli, "no-tty"))
		return false;
	return cli_get(cli, "tty") || (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO));
}

static int run_stream(struct cli *cli, const char *path)
{
	if (cli->json && cli_get(cli, "tty"))
		return cli_usage(cli, "a terminal's output is no JSON: leave out --tty or -o json");
	CLEANUP(chunks_clear) struct chunks chunks = CHUNKS_INIT;
	struct session s = {
		.json = cli->json ? &chunks : NULL,
		.tty = wants_tty(cli),
		.input_open = true,
		.in = BUF_INIT(FRAME_MAX * 2),
		.out = BUF_INIT(FRAME_MAX),
		.status = -1,
	};
	json_t *words = json_array();
	for (unsigned i = 1; i < cli->n_args; i++)
		json_array_append_new(words, json_string(cli->args[i]));
	const char *process = cli_get(cli, "process");
	json_t *body =
		json_pack("{s:o, s:b, s:s}", "command", words, "tty", s.tty, "process", process ? process : "web");
	struct err err = { 0 };
	int r = client_upgrade(cli->client, path, "dialtone-stream", body, &s.in, &s.socket, &err);
	json_decref(body);
	if (r < 0)
		return cli_fail(cli, &err);
	int status = join(cli, &s);
	close(s.socket);
	buf_clear(&s.in);
	buf_clear(&s.out);
	return status;
}

int command_run(struct cli *cli)
{
	AUTO_FREE char *path = app_path(cli, cli->args[0], "run");
	return run_stream(cli, path);
}

static bool matches(const json_t *instance, const char *process, const char *wanted)
{
	static const char *const running[] = { "ready", "unready", "starting" };
	bool runs = false;
	for (size_t i = 0; i < ARRAY_LEN(running); i++)
		runs = runs || str_eq(get_text(instance, "state"), running[i]);
	if (!wanted) // not one that is about to go
		return runs && str_eq(get_text(instance, "want"), "run") &&
		       str_eq(get_text(instance, "process"), process);
	uint64_t index;
	if (parse_u64(wanted, 100000, &index) == 0)
		return runs && str_eq(get_text(instance, "process"), process) && get_number(instance, "index") == index;
	return str_starts(get_text(instance, "instance"), wanted);
}

int command_exec(struct cli *cli)
{
	AUTO_FREE char *list = app_path(cli, cli->args[0], "instances");
	AUTO_ANSWER struct client_answer answer = { 0 };
	int status = cli_list(cli, list, &answer);
	if (status != CLI_OK)
		return status;
	const char *process = cli_get(cli, "process"), *wanted = cli_get(cli, "instance");
	size_t i;
	json_t *instance;
	json_array_foreach(json_object_get(answer.json, "items"), i, instance)
	{
		if (!matches(instance, process ? process : "web", wanted))
			continue;
		AUTO_FREE char *rest = xasprintf("instances/%s/exec", get_text(instance, "instance"));
		AUTO_FREE char *path = app_path(cli, cli->args[0], rest);
		return run_stream(cli, path);
	}
	struct err err = { 0 };
	err_set(&err, -ENOENT, "no running instance of '%s' matches", cli->args[0]);
	err_hint(&err, "see 'dialtone ps %s'", cli->args[0]);
	return cli_fail(cli, &err);
}
