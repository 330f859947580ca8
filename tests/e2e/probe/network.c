#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

// An answer that must come has time, silence that must be is believed soon.
enum { ANSWER_MS = 5000, SILENCE_MS = 700 };

static struct sockaddr_in endpoint(const char *text)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	char copy[64];
	snprintf(copy, sizeof(copy), "%s", text);
	char *colon = strchr(copy, ':');
	if (colon) {
		*colon = '\0';
		address.sin_port = htons((uint16_t)atoi(colon + 1));
	}
	inet_pton(AF_INET, copy, &address.sin_addr);
	return address;
}

static long reach(const char *text, int wait_ms)
{
	struct sockaddr_in address = endpoint(text);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	long r = connect(fd, (struct sockaddr *)&address, sizeof(address));
	if (r < 0 && errno == EINPROGRESS) {
		struct pollfd ready = { .fd = fd, .events = POLLOUT };
		int code = ETIMEDOUT;
		socklen_t length = sizeof(code);
		if (poll(&ready, 1, wait_ms) == 1)
			getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &length);
		errno = code;
		r = code ? -1 : 0;
	}
	int code = errno;
	close(fd);
	errno = code;
	return r;
}

// A datagram and its echo.
static long reach_udp(const char *text, int wait_ms)
{
	struct sockaddr_in address = endpoint(text);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char byte;
	long r = connect(fd, (struct sockaddr *)&address, sizeof(address));
	if (r == 0)
		r = send(fd, "ping", 4, 0);
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	if (r >= 0 && poll(&ready, 1, wait_ms) != 1) {
		errno = ETIMEDOUT;
		r = -1;
	}
	if (r >= 0)
		r = recv(fd, &byte, 1, 0);
	int code = errno;
	close(fd);
	errno = code;
	return r;
}

// Says WORD to ADDR:PORT from another address. Whether it arrived is for the receiver to tell.
static void say_as(const char *to, const char *from, const char *word)
{
	struct sockaddr_in target = endpoint(to), source = endpoint(from ? from : "0.0.0.0");
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), on = 1;
	setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on));
	if (from && bind(fd, (struct sockaddr *)&source, sizeof(source)) < 0)
		perror("bind");
	for (int i = 0; i < 3; i++)
		sendto(fd, word, strlen(word), 0, (struct sockaddr *)&target, sizeof(target));
	close(fd);
}

static const struct reach_key {
	const char *name;
	long (*reach)(const char *text, int wait_ms);
	bool good;
} reach_keys[] = {
	{ "friend", reach, true }, // an instance of the same environment
	{ "friend_udp", reach_udp, true },
	{ "stranger", reach, false }, // one of another environment
	{ "stranger_udp", reach_udp, false },
	{ "neighbour", reach, false }, // one of another platform
	{ "gateway", reach, false },   // the machine, by its addresses
	{ "gateway_udp", reach_udp, false },
	{ "machine", reach, false },
	{ "machine_udp", reach_udp, false },
	{ "link_local", reach, false },
	{ "loopback", reach, false },
	{ "outside", reach, true }, // beyond the machine
	{ "outside_link_local", reach, false },
};

static const struct reach_key *find_key(const char *word, const char **ret_value)
{
	for (size_t k = 0; k < LEN(reach_keys); k++) {
		size_t length = strlen(reach_keys[k].name);
		if (strncmp(word, reach_keys[k].name, length) == 0 && word[length] == '=') {
			*ret_value = word + length + 1;
			return &reach_keys[k];
		}
	}
	return NULL;
}

static void try_to_reach(const struct reach_key *key, const char *value)
{
	char name[64];
	snprintf(name, sizeof(name), "reach_%s", key->name);
	long r = key->reach(value, key->good ? ANSWER_MS : SILENCE_MS);
	if (key->good)
		works(name, r >= 0, strerror(errno));
	else
		refused(name, r);
}

// Most attempts end by silence, so all are made at once, each by a process of its own.
static void try_all(int argc, char **argv)
{
	int begun = 0;
	for (int i = 0; i < argc; i++) {
		const char *value;
		const struct reach_key *key = find_key(argv[i], &value);
		if (!key)
			continue;
		pid_t pid = fork();
		if (pid == 0) {
			try_to_reach(key, value);
			_exit(failures != 0);
		}
		begun += pid > 0;
		failures += pid < 0;
	}
	for (int status; begun > 0 && wait(&status) > 0; begun--)
		failures += status != 0;
	failures += begun;
}

// say=TO,FROM,WORD: one after another, so that who hears the last has been sent all before it.
static void say_all(int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		char *from = strchr(argv[i], ',');
		if (strncmp(argv[i], "say=", 4) != 0 || !from)
			continue;
		*from++ = '\0';
		char *word = strchr(from, ',');
		*word++ = '\0';
		say_as(argv[i] + 4, *from ? from : NULL, word);
	}
}

int network(int argc, char **argv)
{
	try_all(argc, argv);
	say_all(argc, argv);
	return failures != 0;
}

// Answers TCP with "hello", and tells and echoes every datagram.
int serve(int port)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int on = 1, tcp = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0);
	setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(tcp, (struct sockaddr *)&any, sizeof(any)) < 0 ||
	    bind(udp, (struct sockaddr *)&any, sizeof(any)) < 0 || listen(tcp, 16) < 0) {
		perror("serve");
		return 1;
	}
	printf("serving\n");
	for (;;) {
		fflush(stdout);
		struct pollfd fds[] = { { .fd = tcp, .events = POLLIN }, { .fd = udp, .events = POLLIN } };
		poll(fds, 2, -1);
		if (fds[0].revents) {
			int fd = accept(tcp, NULL, NULL);
			if (fd >= 0 && write(fd, "hello\n", 6) != 6)
				perror("write");
			close(fd);
		}
		if (fds[1].revents) {
			struct sockaddr_in from;
			socklen_t length = sizeof(from);
			char text[64] = "";
			long n = recvfrom(udp, text, sizeof(text) - 1, 0, (struct sockaddr *)&from, &length);
			if (n > 0 && sendto(udp, text, (size_t)n, 0, (struct sockaddr *)&from, length) == n)
				printf("heard %s from %s\n", text, inet_ntoa(from.sin_addr));
		}
	}
}
