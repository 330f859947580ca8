#include "keeper/end.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

// Linux 6.15, <linux/pidfd.h>; older headers do not have it.
struct exit_info {
	uint64_t mask;
	uint64_t cgroup;
	uint32_t pid, tgid, ppid, ids[8];
	int32_t exit_code;
};
#define EXIT_INFO_GET _IOWR(0xFF, 11, struct exit_info)
#define EXIT_INFO_EXIT (1ULL << 3)

// Known from the kernel once the process has been reaped by whoever is its parent.
static int status_of_reaped(int pidfd, int *ret_status)
{
	struct exit_info info = { .mask = EXIT_INFO_EXIT };
	if (ioctl(pidfd, EXIT_INFO_GET, &info) < 0 || !(info.mask & EXIT_INFO_EXIT))
		return -ENODATA;
	*ret_status = info.exit_code;
	return 1;
}

// Fields 3 (state), 22 (start time) and 52 (exit code) of /proc/PID/stat, proc(5).
static int status_of_zombie(const struct process_identity *identity, int *ret_status)
{
	char path[64], text[1024];
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)identity->pid);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return -ENODATA;
	text[n] = '\0';
	char *field = strrchr(text, ')');
	if (!field || field[1] != ' ' || field[2] != 'Z')
		return -ENODATA;
	field += 2;
	unsigned long long start = 0;
	for (int number = 3; number < 52 && field; number++) {
		if (number == 22)
			start = strtoull(field, NULL, 10);
		field = strchr(field, ' ');
		field = field ? field + 1 : NULL;
	}
	if (!field || start != identity->start_ticks)
		return -ENODATA;
	*ret_status = (int)strtol(field, NULL, 10);
	return 1;
}

int process_end(const struct process_identity *identity, int pidfd, int *ret_status)
{
	struct pollfd ended = { .fd = pidfd, .events = POLLIN };
	if (poll(&ended, 1, 0) == 0)
		return 0;
	// A child that ended keeps its pid until this very call, so the number cannot mean another process.
	pid_t got = waitpid(identity->pid, ret_status, WNOHANG);
	if (got == identity->pid)
		return 1;
	int r = status_of_zombie(identity, ret_status);
	return r == 1 ? r : status_of_reaped(pidfd, ret_status);
}
