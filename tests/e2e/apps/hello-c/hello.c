// A small web server as an application brings it: no library of the platform, one thread, poll(2). GET / tells who it is;
// /exit/N ends it with that status, /sleep/MS answers late, /log/N writes N lines, /env/NAME shows a variable; /health answers
// 200, after /sick 503, after /well 200 again.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS 256
static struct pollfd fds[CONNECTIONS + 1];
static char requests[CONNECTIONS + 1][4096];
static size_t lengths[CONNECTIONS + 1];
static nfds_t n_fds = 1;
static volatile sig_atomic_t stopping;
static bool sick;

static void stop(int signum)
{
	(void)signum;
	stopping = 1;
}

static const char *env(const char *name)
{
	const char *value = getenv(name);
	return value ? value : "";
}

static void answer_path(const char *path, char *body, size_t size)
{
	if (!strncmp(path, "/exit/", 6))
		_exit(atoi(path + 6));
	if (!strncmp(path, "/sleep/", 7))
		usleep((useconds_t)atoi(path + 7) * 1000);
	if (!strncmp(path, "/log/", 5))
		for (int i = 0, n = atoi(path + 5); i < n; i++)
			printf("line %d of %d\n", i, n);
	if (!strcmp(path, "/sick") || !strcmp(path, "/well"))
		sick = path[1] == 's';
	if (!strncmp(path, "/env/", 5))
		snprintf(body, size, "%s\n", env(path + 5));
	else
		snprintf(body, size, "hello from %s of %s, pid %d\n", env("INSTANCE_INDEX"), env("DIALTONE_INSTANCE"), getpid());
}

static int answer(nfds_t i)
{
	char path[1024] = "/", body[2048], head[256];
	sscanf(requests[i], "%*s %1023s", path);
	answer_path(path, body, sizeof(body));
	int n = snprintf(head, sizeof(head), "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n%s\r\n",
			 sick && !strcmp(path, "/health") ? "503 Sick" : "200 OK", strlen(body), stopping ? "Connection: close\r\n" : "");
	char all[4096];
	int m = snprintf(all, sizeof(all), "%.*s%s", n, head, body);
	return write(fds[i].fd, all, (size_t)m) == m && !stopping ? 0 : -1;
}

static int serve(nfds_t i)
{
	ssize_t n = read(fds[i].fd, requests[i] + lengths[i], sizeof(requests[i]) - 1 - lengths[i]);
	if (n <= 0)
		return -1;
	lengths[i] += (size_t)n;
	requests[i][lengths[i]] = '\0';
	char *end;
	while ((end = strstr(requests[i], "\r\n\r\n"))) {
		if (answer(i) < 0)
			return -1;
		size_t used = (size_t)(end + 4 - requests[i]);
		memmove(requests[i], end + 4, lengths[i] - used + 1);
		lengths[i] -= used;
	}
	return lengths[i] < sizeof(requests[i]) - 1 ? 0 : -1;
}

static void close_at(nfds_t i)
{
	close(fds[i].fd);
	n_fds--;
	fds[i] = fds[n_fds];
	lengths[i] = lengths[n_fds];
	memcpy(requests[i], requests[n_fds], sizeof(requests[i]));
}

static void turn(void)
{
	if (poll(fds, n_fds, -1) < 0)
		return;
	for (nfds_t i = n_fds - 1; i > 0; i--)
		if (fds[i].revents && serve(i) < 0)
			close_at(i);
	if (fds[0].revents && n_fds <= CONNECTIONS) {
		fds[n_fds] = (struct pollfd){ .fd = accept(fds[0].fd, NULL, NULL), .events = POLLIN };
		lengths[n_fds] = 0;
		n_fds += fds[n_fds].fd >= 0;
	}
}

// Where the output of the instance goes, as far as can be seen from inside.
static int show_links(void)
{
	char text[1024];
	for (int fd = 1; fd <= 2; fd++) {
		char link[32];
		snprintf(link, sizeof(link), "/proc/1/fd/%d", fd);
		ssize_t n = readlink(link, text, sizeof(text) - 1);
		printf("%.*s\n", n < 0 ? 0 : (int)n, text);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "links"))
		return show_links();
	setvbuf(stdout, NULL, _IOLBF, 0);
	struct sigaction action = { .sa_handler = stop };
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(env("PORT"))) };
	int on = 1;
	fds[0] = (struct pollfd){ .fd = socket(AF_INET, SOCK_STREAM, 0), .events = POLLIN };
	setsockopt(fds[0].fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fds[0].fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fds[0].fd, 512) < 0) {
		fprintf(stderr, "cannot listen on port %s: %s\n", env("PORT"), strerror(errno));
		return 1;
	}
	printf("listening on port %s\n", env("PORT"));
	while (!stopping)
		turn();
	printf("stopping\n");
	return 0;
}
