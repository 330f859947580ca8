// What an application must not be able to do, tried from inside a container. One line an attempt:
//   NAME refused REASON      as it should be
//   NAME ALLOWED             a hole
// and for what must work, so that a broken container is not taken for a safe one:
//   NAME works / NAME BROKEN REASON
// The exit status is 0 when nothing is ALLOWED or BROKEN. Static, without a dependency: it runs on an empty layer.
//
//   probe kernel                            the machine, its kernel and file systems
//   probe network KEY=ADDR[:PORT]...        keys: see network()
//   probe limits PIDS SCRATCH_BYTES         fork and fill until refused
//   probe spill BYTES                       write them to a new file in /tmp, until refused
//   probe eat BYTES | exit N | wait | whoami | serve PORT | open-stdout | echo WORD... | cat | env | orphan | write
//   PATH...
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int failures;

void refused(const char *name, long result)
{
	int code = errno;
	if (result >= 0) {
		failures++;
		printf("%s ALLOWED\n", name);
	} else {
		printf("%s refused %s\n", name, strerror(code));
	}
	fflush(stdout);
}

void works(const char *name, bool good, const char *reason)
{
	failures += !good;
	printf("%s %s %s\n", name, good ? "works" : "BROKEN", good ? "" : reason);
	fflush(stdout);
}

long try_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0644);
	if (fd >= 0)
		close(fd);
	return fd;
}

static int cat(void)
{
	char bytes[4096];
	ssize_t n;
	while ((n = read(0, bytes, sizeof(bytes))) > 0)
		if (write(1, bytes, (size_t)n) != n)
			return 1;
	return 0;
}

static int write_files(int n, char **paths)
{
	for (int i = 0; i < n; i++)
		works(paths[i], try_open(paths[i], O_WRONLY | O_CREAT) >= 0, strerror(errno));
	return failures != 0;
}

// A child that outlives its parent is the init's to reap.
static int orphan(void)
{
	if (fork() == 0 && fork() == 0) {
		usleep(50000);
		_exit(0);
	}
	wait(NULL);
	usleep(200000);
	for (int pid = 2; pid < 32; pid++) {
		char path[64], line[256] = "";
		snprintf(path, sizeof(path), "/proc/%d/stat", pid);
		FILE *file = fopen(path, "re");
		if (file && fgets(line, sizeof(line), file) && strstr(line, ") Z "))
			works("reaped", false, "a zombie is left");
		if (file)
			fclose(file);
	}
	works("orphan", true, "");
	return failures != 0;
}

static void stop(int signum)
{
	(void)signum;
	static const char text[] = "stopping\n";
	if (write(1, text, sizeof(text) - 1) < 0)
		_exit(1);
	_exit(3);
}

static void wait_for_signal(void)
{
	signal(SIGTERM, stop);
	puts("waiting");
	fflush(stdout);
	for (;;)
		pause();
}

static int open_stdout(void)
{
	FILE *file = fopen("/dev/stdout", "ae");
	if (!file)
		file = fopen("/dev/stdout", "we");
	works("open_stdout", file != NULL, strerror(errno));
	if (file)
		fputs("by name\n", file);
	return failures != 0;
}

static int print_environment(void)
{
	extern char **environ;
	for (char **at = environ; *at; at++)
		puts(*at);
	char cwd[256] = "", host[65] = "";
	if (!getcwd(cwd, sizeof(cwd)) || gethostname(host, sizeof(host)) < 0)
		return 1;
	printf("cwd %s host %s uid %d gid %d tty %d\n", cwd, host, getuid(), getgid(), isatty(0));
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "kernel";
	const char *number = argc > 2 ? argv[2] : "0";
	if (strcmp(what, "kernel") == 0)
		return kernel();
	if (strcmp(what, "network") == 0)
		return network(argc - 2, argv + 2);
	if (strcmp(what, "limits") == 0)
		return limits(atoi(number), argc > 3 ? strtoull(argv[3], NULL, 10) : 0);
	if (strcmp(what, "eat") == 0)
		return eat(strtoull(number, NULL, 10));
	if (strcmp(what, "spill") == 0)
		return spill(strtoull(number, NULL, 10));
	if (strcmp(what, "exit") == 0)
		return atoi(number);
	if (strcmp(what, "wait") == 0)
		wait_for_signal();
	if (strcmp(what, "whoami") == 0)
		return printf("%d\n", geteuid()) < 0;
	if (strcmp(what, "serve") == 0)
		return serve(atoi(number));
	if (strcmp(what, "open-stdout") == 0)
		return open_stdout();
	if (strcmp(what, "cat") == 0)
		return cat();
	if (strcmp(what, "env") == 0)
		return print_environment();
	if (strcmp(what, "orphan") == 0)
		return orphan();
	if (strcmp(what, "write") == 0)
		return write_files(argc - 2, argv + 2);
	for (int i = 2; i < argc; i++)
		puts(argv[i]);
	return strcmp(what, "echo") != 0;
}
