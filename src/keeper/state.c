#include "keeper/state.h"

#include "base/str.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

static void read_line(struct keeper_state *state, const char *line, bool *whole)
{
	unsigned n = state->n_parts;
	__auto_type part = &state->parts[n < ARRAY_LEN(state->parts) ? n : 0];
	if (sscanf(line, "boot %36s", state->boot) == 1 || sscanf(line, "http %127s", state->http) == 1)
		return;
	if (sscanf(line, "holding %d", &state->holding) == 1)
		return;
	if (n < ARRAY_LEN(state->parts) && sscanf(line, "part %15s %d %llu %u", part->name, &part->identity.pid,
						  &part->identity.start_ticks, &part->restarts) == 4)
		state->n_parts++;
	else if (str_eq(line, "end"))
		*whole = true;
}

int keeper_state_read(const char *data, struct keeper_state *ret)
{
	AUTO_FREE char *path = xasprintf("%s/run/keeper.state", data);
	AUTO_BUF struct buf buf = BUF_INIT(4096);
	int r = file_read(path, &buf, NULL);
	if (r < 0)
		return r;
	struct keeper_state state = { 0 };
	bool whole = false;
	AUTO_FREE char *text = buf_take(&buf);
	char *rest = NULL;
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		read_line(&state, line, &whole);
	if (!whole)
		return -ENOENT;
	for (unsigned i = 0; i < state.n_parts; i++)
		memcpy(state.parts[i].identity.boot, state.boot, sizeof(state.boot));
	*ret = state;
	return 0;
}

int keeper_state_write(const char *data, const struct keeper_state *state, struct err *err)
{
	AUTO_FREE char *path = xasprintf("%s/run/keeper.state", data);
	AUTO_BUF struct buf buf = BUF_INIT(4096);
	buf_addf(&buf, "boot %s\nhttp %s\nholding %d\n", state->boot, state->http, (int)state->holding);
	for (unsigned i = 0; i < state->n_parts; i++)
		buf_addf(&buf, "part %s %d %llu %u\n", state->parts[i].name, (int)state->parts[i].identity.pid,
			 state->parts[i].identity.start_ticks, state->parts[i].restarts);
	buf_add_str(&buf, "end\n");
	return file_write_atomic(path, buf_data(&buf), buf_len(&buf), 0600, err);
}

pid_t lock_holder(const char *path)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (flock(fd, LOCK_SH | LOCK_NB) == 0)
		return 0;
	char text[32] = "";
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	return n > 0 ? (pid_t)atoi(text) : 0;
}

pid_t keeper_holding(const char *data)
{
	AUTO_FREE char *lock = xasprintf("%s/run/keeper.lock", data);
	struct keeper_state state;
	if (keeper_state_read(data, &state) < 0 || !state.holding)
		return 0;
	return lock_holder(lock) == state.holding ? state.holding : 0; // not one that follows it
}

int lock_note(int fd)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%-10d\n", (int)getpid());
	return pwrite(fd, text, (size_t)n, 0) == n ? 0 : -EIO; // in one piece, over what was there
}

int lock_take(const char *path, int *ret_fd, struct err *err)
{
	AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set_errno(err, -errno, "cannot open '%s'", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(err, -EWOULDBLOCK, "'%s' is held by process %d", path, (int)lock_holder(path));
	int r = lock_note(fd);
	if (r < 0)
		return err_set_errno(err, r, "cannot write '%s'", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}
