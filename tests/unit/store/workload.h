// Many writers in a child process that is to be killed, and the check that nothing it was promised is missing
// afterwards.
//
// The n-th transaction of writer W puts w/W = n and u/W/n, and deletes u/W/(n - KEEP). So whatever n a writer is found
// at, exactly the newest KEEP of its u/ keys must be there.
#pragma once

#include "bed.h"

enum { WRITERS = 16, KEEP = 10 };

// What each writer was told is stored; kept by the parent over any number of children.
struct promises {
	uint32_t acknowledged[WRITERS];
	uint64_t all;      // acknowledgements received
	uint32_t children; // that died since the last check
};

struct child {
	pid_t pid;
	int acks; // read end of a pipe
};

// Starts a child that opens the store in dir and writes until it dies. `before` runs in it first.
struct child workload_start(const char *dir, const struct revlog_options *options, void (*before)(void *arg),
			    void *arg);

// Takes in acknowledgements for at most ms, or (ms < 0) until the child has died. False when it has.
bool workload_listen(struct child *child, struct promises *promises, int ms);

void workload_kill(struct child *child, struct promises *promises); // SIGKILL, then what it still had said
void workload_reap(struct child *child);                            // it has died by itself

// What is missing in dir, or does not belong together; NULL when all is there. damaged: the store cannot even be
// opened. The promises then stand at what was found.
char *workload_check(const char *dir, struct promises *promises);
