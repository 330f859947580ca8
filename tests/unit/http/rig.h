// What the driver tests stand on: a loop that runs until a condition holds (with a deadline), and raw peers.
#pragma once

#include "base/buf.h"
#include "io/loop.h"
#include "io/socket.h"

#define RIG_DEADLINE_MS 20000

struct rig {
	struct loop *loop;
	struct timer tick;
	bool (*holds)(void *arg);
	void *arg;
	uint64_t deadline_ms;
	bool held;
};

void rig_init(struct rig *rig);
void rig_clear(struct rig *rig);
bool rig_wait(struct rig *rig, bool (*holds)(void *arg), void *arg); // false: the deadline passed

// A listening socket on a free port of 127.0.0.1.
int rig_listen(struct address *ret);

struct raw {
	int fd;
	struct buf got;
	bool closed, reset;
	const char *wanted;
	size_t wanted_len;
};

struct raw raw_connect(const struct address *address);
struct raw raw_accepted(struct rig *rig, int listen_fd); // waits for one
void raw_clear(struct raw *raw);
void raw_send(struct raw *raw, const char *text);                    // small: fits the socket's buffer
void raw_read(struct raw *raw);                                      // what is there now
void raw_expect(struct rig *rig, struct raw *raw, const char *text); // waits until it was received; forgets up to there
void raw_expect_len(struct rig *rig, struct raw *raw, size_t n);
void raw_expect_closed(struct rig *rig, struct raw *raw);
