// A keeper under test: the test program itself, started again as `keeper`, whose parts are the same program again.
#pragma once

#include "io/loop.h"
#include "keeper/client.h"

#include <stdbool.h>
#include <sys/types.h>

struct bench {
	char data[64];
	char http[32];
	pid_t keeper;
	struct loop *loop;
	struct keeper_client *client;
	struct keeper_exit last_exit; // of any instance
	unsigned exits;
	int result; // of the last request
	bool answered;
};

// What a process of the test program does when it is not the test itself; -1: it is.
int bench_part(int argc, char **argv);

void bench_init(struct bench *b);
void bench_clear(struct bench *b);                            // ends everything
void bench_spawn_keeper(struct bench *b, const char *option); // does not wait
void bench_start_keeper(struct bench *b);
void bench_kill_keeper(struct bench *b);
void bench_connect(struct bench *b);

// Lets the loop run until the condition holds; fails the test after a minute.
void bench_wait(struct bench *b, bool (*holds)(struct bench *b, const void *arg), const void *arg, const char *what);
int bench_result(struct bench *b); // of the request just made with bench_done
void bench_done(void *arg, int result);

void bench_make_instance(struct bench *b, const char *id);
// Has the agent under test start a shell script as an orphan, its output on the instance's FIFOs; the script's pid.
pid_t bench_run(struct bench *b, const char *id, const char *script);

unsigned bench_starts(struct bench *b, const char *part, pid_t *ret_last); // how often a part was started
bool bench_has_exit(struct bench *b, const void *unused);
unsigned bench_entries(const char *path);                                          // of a folder
size_t bench_log(struct bench *b, const char *id, const char *stream, char **ret); // the segments, joined
