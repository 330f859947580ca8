#include "keeper/record.h"

#include "base/str.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>

#define RECORD_MAX 4096

int identity_of(pid_t pid, struct process_identity *ret)
{
	struct process_identity id = { .pid = pid };
	int r = process_start_time(pid, &id.start_ticks);
	if (r == 0)
		r = boot_id(id.boot, NULL);
	if (r == 0)
		*ret = id;
	return r;
}

int identity_open(const struct process_identity *identity)
{
	char boot[BOOT_ID_SIZE];
	if (identity->pid <= 0 || boot_id(boot, NULL) < 0 || !str_eq(boot, identity->boot))
		return -ESRCH;
	AUTO_CLOSE int fd = pidfd_open_cloexec(identity->pid);
	if (fd < 0)
		return fd;
	// Looked at after opening: from here on the descriptor cannot come to mean another process.
	unsigned long long ticks;
	if (process_start_time(identity->pid, &ticks) < 0 || ticks != identity->start_ticks)
		return -ESRCH;
	return TAKE_FD(fd);
}

// The value behind "name " at a line's start, up to the line's end; -ENOENT when there is none.
static int record_value(const char *text, const char *name, char *value, size_t size)
{
	size_t n = strlen(name);
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, name, n) != 0 || line[n] != ' ')
			continue;
		size_t len = strcspn(line + n + 1, "\n");
		if (len >= size)
			return -EINVAL;
		memcpy(value, line + n + 1, len);
		value[len] = '\0';
		return 0;
	}
	return -ENOENT;
}

static int record_number(const char *text, const char *name, uint64_t max, uint64_t *ret)
{
	char value[32];
	int r = record_value(text, name, value, sizeof(value));
	return r < 0 ? r : parse_u64(value, max, ret);
}

// The text of a record that was written to its end; NULL otherwise. Owned by buf.
static const char *record_read(const char *path, struct buf *buf)
{
	if (file_read(path, buf, NULL) < 0)
		return NULL;
	size_t n = buf_len(buf);
	const char *text = buf_str(buf);
	bool whole = n >= 4 && strlen(text) == n && memcmp(text + n - 4, "end\n", 4) == 0;
	return whole ? text : NULL;
}

int identity_write(const char *path, const struct process_identity *identity, struct err *err)
{
	char text[256];
	int n = snprintf(text, sizeof(text), "pid %d\nstart %llu\nboot %s\nend\n", (int)identity->pid,
			 identity->start_ticks, identity->boot);
	return file_write_atomic_or_over(path, text, (size_t)n, 0600, err);
}

int identity_read(const char *path, struct process_identity *ret)
{
	AUTO_BUF struct buf buf = BUF_INIT(RECORD_MAX);
	const char *text = record_read(path, &buf);
	struct process_identity id = { 0 };
	uint64_t pid, start;
	if (!text || record_number(text, "pid", INT32_MAX, &pid) < 0 ||
	    record_number(text, "start", UINT64_MAX, &start) < 0 ||
	    record_value(text, "boot", id.boot, sizeof(id.boot)) < 0)
		return -ENOENT;
	id.pid = (pid_t)pid;
	id.start_ticks = start;
	*ret = id;
	return 0;
}

int exit_record_write(const char *instance_dir, const struct keeper_exit *record, struct err *err)
{
	char status[16] = "unknown";
	if (record->known)
		snprintf(status, sizeof(status), "%d", record->status);
	char text[256];
	int n = snprintf(text, sizeof(text), "pid %d\nstart %llu\nstatus %s\ntime_ms %llu\nend\n", (int)record->pid,
			 record->start_ticks, status, (unsigned long long)record->time_ms);
	AUTO_FREE char *path = xasprintf("%s/exit", instance_dir);
	return file_write_atomic_or_over(path, text, (size_t)n, 0600, err);
}

int exit_record_sync(const char *instance_dir)
{
	AUTO_FREE char *path = xasprintf("%s/exit", instance_dir);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return -errno;
	return dir_sync(instance_dir, NULL);
}

int exit_record_read(const char *instance_dir, struct keeper_exit *ret)
{
	AUTO_FREE char *path = xasprintf("%s/exit", instance_dir);
	AUTO_BUF struct buf buf = BUF_INIT(RECORD_MAX);
	const char *text = record_read(path, &buf);
	struct keeper_exit record = { 0 };
	uint64_t pid, start, status = 0;
	char word[32];
	if (!text || record_number(text, "pid", INT32_MAX, &pid) < 0 ||
	    record_number(text, "start", UINT64_MAX, &start) < 0 ||
	    record_number(text, "time_ms", UINT64_MAX, &record.time_ms) < 0 ||
	    record_value(text, "status", word, sizeof(word)) < 0)
		return -ENOENT;
	record.known = !str_eq(word, "unknown");
	if (record.known && parse_u64(word, INT32_MAX, &status) < 0)
		return -ENOENT;
	record.pid = (pid_t)pid;
	record.start_ticks = start;
	record.status = (int)status;
	const char *slash = strrchr(instance_dir, '/');
	snprintf(record.id, sizeof(record.id), "%s", slash ? slash + 1 : instance_dir);
	*ret = record;
	return 0;
}

bool instance_id_valid(const char *id)
{
	size_t n = strnlen(id, KEEPER_ID_SIZE);
	if (n == 0 || n == KEEPER_ID_SIZE || id[0] == '.')
		return false;
	for (size_t i = 0; i < n; i++) {
		bool fine = (id[i] >= 'a' && id[i] <= 'z') || (id[i] >= 'A' && id[i] <= 'Z') ||
			    (id[i] >= '0' && id[i] <= '9') || id[i] == '-' || id[i] == '_' || id[i] == '.';
		if (!fine)
			return false;
	}
	return true;
}
