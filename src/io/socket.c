#include "io/socket.h"

#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/un.h>

static int parse_unix(const char *path, struct address *ret, struct err *err)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	size_t n = strlen(path);
	if (n == 0 || n >= sizeof(sa.sun_path))
		return err_set(err, -EINVAL, "socket path '%s' must have 1 to %zu bytes", path, sizeof(sa.sun_path) - 1);
	memcpy(sa.sun_path, path, n + 1);
	*ret = (struct address){ .len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1) };
	memcpy(&ret->sa, &sa, sizeof(sa));
	return 0;
}

static bool parse_host(const char *host, uint16_t port, struct address *ret)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	*ret = (struct address){ 0 };
	if (!*host || inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
		memcpy(&ret->sa, &v4, sizeof(v4));
		ret->len = sizeof(v4);
		return true;
	}
	size_t n = strlen(host);
	if (host[0] != '[' || host[n - 1] != ']')
		return false;
	AUTO_FREE char *inner = xstrndup(host + 1, n - 2);
	if (inet_pton(AF_INET6, inner, &v6.sin6_addr) != 1)
		return false;
	memcpy(&ret->sa, &v6, sizeof(v6));
	ret->len = sizeof(v6);
	return true;
}

int address_parse(const char *text, struct address *ret, struct err *err)
{
	if (str_starts(text, "unix:"))
		return parse_unix(text + 5, ret, err);
	const char *colon = strrchr(text, ':');
	uint64_t port = 0;
	if (!colon || parse_u64(colon + 1, 65535, &port) < 0) {
		err_set(err, -EINVAL, "address '%s' has no valid port", text);
		err_hint(err, "write it as ADDR:PORT, for example 127.0.0.1:8080");
		return -EINVAL;
	}
	AUTO_FREE char *host = xstrndup(text, (size_t)(colon - text));
	if (!parse_host(host, (uint16_t)port, ret)) {
		err_set(err, -EINVAL, "'%s' in '%s' is not an IP address", host, text);
		err_hint(err, "write it as ADDR:PORT, for example 127.0.0.1:8080 or [::1]:8080");
		return -EINVAL;
	}
	return 0;
}

void address_write(const struct address *a, char text[ADDRESS_TEXT_SIZE])
{
	char host[INET6_ADDRSTRLEN] = "";
	switch (a->sa.ss_family) {
	case AF_INET: {
		struct sockaddr_in v4;
		memcpy(&v4, &a->sa, sizeof(v4));
		inet_ntop(AF_INET, &v4.sin_addr, host, sizeof(host));
		snprintf(text, ADDRESS_TEXT_SIZE, "%s:%u", host, ntohs(v4.sin_port));
		break;
	}
	case AF_INET6: {
		struct sockaddr_in6 v6;
		memcpy(&v6, &a->sa, sizeof(v6));
		inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof(host));
		snprintf(text, ADDRESS_TEXT_SIZE, "[%s]:%u", host, ntohs(v6.sin6_port));
		break;
	}
	default: {
		struct sockaddr_un un;
		memcpy(&un, &a->sa, sizeof(un));
		snprintf(text, ADDRESS_TEXT_SIZE, "unix:%.*s", (int)sizeof(un.sun_path), a->len > 2 ? un.sun_path : "");
		break;
	}
	}
}

// A unix socket file that nobody listens on any more is in the way of its successor.
static void remove_stale(const struct address *a)
{
	struct sockaddr_un un;
	memcpy(&un, &a->sa, sizeof(un));
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&a->sa, a->len) < 0 && errno == ECONNREFUSED)
		unlink(un.sun_path);
}

int socket_listen(const struct address *a, int backlog, int *ret_fd, struct err *err)
{
	char text[ADDRESS_TEXT_SIZE];
	address_write(a, text);
	if (a->sa.ss_family == AF_UNIX)
		remove_stale(a);
	AUTO_CLOSE int fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set_errno(err, -errno, "cannot listen on %s", text);
	int on = 1;
	if (a->sa.ss_family != AF_UNIX)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)&a->sa, a->len) < 0 || listen(fd, backlog) < 0) {
		if (errno != EADDRINUSE)
			return err_set_errno(err, -errno, "cannot listen on %s", text);
		err_set(err, -EADDRINUSE, "cannot listen on %s: another program already does", text);
		err_hint(err, "stop that program, or choose another address");
		return -EADDRINUSE;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int socket_connect(const struct address *a, int *ret_fd, struct err *err)
{
	AUTO_CLOSE int fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r = fd < 0 ? -errno : 0;
	if (r == 0 && connect(fd, (const struct sockaddr *)&a->sa, a->len) < 0 && errno != EINPROGRESS)
		r = -errno;
	if (r < 0) {
		char text[ADDRESS_TEXT_SIZE];
		address_write(a, text);
		return err_set_errno(err, r, "cannot connect to %s", text);
	}
	int on = 1;
	if (a->sa.ss_family != AF_UNIX)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int socket_accept(int fd, struct address *ret_peer, int *ret_fd)
{
	struct address peer = { .len = sizeof(peer.sa) };
	int got;
	do
		got = accept4(fd, (struct sockaddr *)&peer.sa, &peer.len, SOCK_CLOEXEC | SOCK_NONBLOCK);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	int on = 1;
	if (peer.sa.ss_family != AF_UNIX)
		setsockopt(got, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (ret_peer)
		*ret_peer = peer;
	*ret_fd = got;
	return 0;
}

static int packet_socket(const char *path, struct address *ret, int *ret_fd, struct err *err)
{
	int r = parse_unix(path, ret, err);
	if (r < 0)
		return r;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set_errno(err, -errno, "cannot make a socket for '%s'", path);
	*ret_fd = fd;
	return 0;
}

int packet_listen(const char *path, int *ret_fd, struct err *err)
{
	struct address a;
	AUTO_CLOSE int fd = -1;
	int r = packet_socket(path, &a, &fd, err);
	if (r < 0)
		return r;
	unlink(path); // its owner holds a lock file: nobody else can be listening
	if (bind(fd, (const struct sockaddr *)&a.sa, a.len) < 0 || listen(fd, 64) < 0)
		return err_set_errno(err, -errno, "cannot listen on '%s'", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int packet_connect(const char *path, int *ret_fd, struct err *err)
{
	struct address a;
	AUTO_CLOSE int fd = -1;
	int r = packet_socket(path, &a, &fd, err);
	if (r < 0)
		return r;
	if (connect(fd, (const struct sockaddr *)&a.sa, a.len) < 0)
		return err_set_errno(err, -errno, "cannot connect to '%s'", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

union fd_control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(PACKET_FDS * sizeof(int))];
};

int packet_send(int fd, const void *bytes, size_t n, const int *fds, size_t n_fds)
{
	if (n_fds > PACKET_FDS)
		return -E2BIG;
	union fd_control control = { 0 };
	struct iovec io = { .iov_base = (void *)bytes, .iov_len = n };
	struct msghdr message = { .msg_iov = &io, .msg_iovlen = 1 };
	if (n_fds) {
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&message);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	ssize_t sent;
	do
		sent = sendmsg(fd, &message, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

// Takes up to `room` descriptors out of the message and closes those beyond it.
static size_t take_fds(struct msghdr *message, int *fds, size_t room)
{
	size_t n = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int got;
			memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (n < room)
				fds[n++] = got;
			else
				close(got);
		}
	}
	return n;
}

ssize_t packet_recv(int fd, void *bytes, size_t size, int *fds, size_t *n_fds)
{
	union fd_control control;
	struct iovec io = { .iov_base = bytes, .iov_len = size };
	struct msghdr message = {
		.msg_iov = &io,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t got;
	do
		got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	size_t taken = take_fds(&message, fds, n_fds ? *n_fds : 0);
	if (n_fds)
		*n_fds = taken;
	return got;
}
