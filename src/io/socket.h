// Sockets: addresses written "ADDR:PORT" or "unix:PATH", listening and connecting, and descriptors passed between
// processes. All descriptors are close-on-exec and non-blocking unless said otherwise.
#pragma once

#include "base/err.h"

#include <stdint.h>
#include <sys/socket.h>

struct address {
	struct sockaddr_storage sa;
	socklen_t len;
};

// "127.0.0.1:80", "[::1]:80", ":80" (any address, IPv4), "unix:/path". No name is looked up. -EINVAL with a reason.
int address_parse(const char *text, struct address *ret, struct err *err);

#define ADDRESS_TEXT_SIZE 128
void address_write(const struct address *a, char text[ADDRESS_TEXT_SIZE]);

// A listening stream socket (SO_REUSEADDR; an old unix path is replaced when nobody listens there). The error for a
// taken port says so.
int socket_listen(const struct address *a, int backlog, int *ret_fd, struct err *err);

// Starts connecting; completion shows as writability and SO_ERROR. Returns 0 also for EINPROGRESS.
int socket_connect(const struct address *a, int *ret_fd, struct err *err);

// accept4; -EAGAIN when none waits.
int socket_accept(int fd, struct address *ret_peer, int *ret_fd);

// SOCK_SEQPACKET on a unix path, for messages with descriptors between the platform's own processes.
int packet_listen(const char *path, int *ret_fd, struct err *err);
int packet_connect(const char *path, int *ret_fd, struct err *err);

// One message with up to PACKET_FDS descriptors. packet_recv returns the length (0: peer closed) or a negative errno;
// *n_fds is in: room, out: received; the caller owns the descriptors.
#define PACKET_FDS 8
int packet_send(int fd, const void *bytes, size_t n, const int *fds, size_t n_fds);
ssize_t packet_recv(int fd, void *bytes, size_t size, int *fds, size_t *n_fds);
