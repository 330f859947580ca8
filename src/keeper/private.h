// What the files of this module share: one struct keeper a process, everything on its one loop.
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "io/loop.h"
#include "keeper/record.h"
#include "keeper/spool.h"

#include <sys/types.h>

enum { PART_SERVER, PART_AGENT, PART_ROUTER, PARTS };

// One of the platform's own processes, kept running.
struct part {
	const char *name;
	struct keeper *keeper;
	struct process_identity identity; // pid 0: does not run
	int pidfd;
	struct poll ended;
	struct timer restart;
	unsigned failures; // in a row; a while of running clears it
	unsigned restarts;
	uint64_t started_ms; // monotonic
};

struct output {
	struct instance *instance;
	struct spool spool;
	struct poll poll;
	int fifo; // -1: not open
	dev_t device;
	ino_t inode;
	bool told; // that bytes are being discarded
};

struct instance {
	struct keeper *keeper;
	char id[KEEPER_ID_SIZE];
	struct output outputs[2];
	struct process_identity identity; // pid 0: nothing watched
	int pidfd;                        // -1: nothing watched, or ended
	struct poll ended;
	struct timer look_again;
	unsigned looks;
	bool has_exit;
	struct keeper_exit exit;
};

// A process that was reaped without being watched: its WATCH may still be on the way.
struct orphan {
	struct process_identity identity;
	int status;
	uint64_t time_ms;
};
#define ORPHANS 64

struct peer {
	struct keeper *keeper;
	struct list link;
	struct poll poll;
	int fd;
	bool subscribed;
};

// Descriptors that came through KEEPER_RESUME: the FIFOs, which stay open until they are opened anew.
struct inherited {
	int *fds;
	size_t n;
};

struct keeper {
	struct loop *loop;
	const char *data, *http, *exe;
	char boot[BOOT_ID_SIZE];
	int lock_fd, socket_fd;
	bool listening; // KEEPER_LISTEN_FD is the router's socket

	struct part parts[PARTS];
	struct map instances;
	struct orphan orphans[ORPHANS];
	unsigned next_orphan;

	struct poll accepts;
	struct list peers;
	struct signal child, terminate, interrupt;
	struct timer stop_deadline, check_logs;
	bool stopping, stopping_router;
	bool hold_only; // started to hold: there is no platform to start
	bool resumed;   // by KEEPER_RESUME
	struct inherited inherited;
	bool holding;   // hold.h
	unsigned syncs; // exit records on their way to the disk
};

// instance.c
void instances_recover(struct keeper *k);
void instances_free(struct keeper *k); // closes; nothing is forgotten on disk
struct instance *instance_get(struct keeper *k, const char *id);
int instance_output(struct keeper *k, const char *id);
int instance_watch(struct keeper *k, const char *id, pid_t pid, unsigned long long start_ticks);
int instance_forget(struct keeper *k, const char *id);
bool instance_ended(struct keeper *k, pid_t pid); // a child ended; false: no instance's. Reaps it.
char *instance_path(const struct keeper *k, const char *id, const char *name);

// output.c
int output_open(struct output *o, struct instance *i, const char *stream);
void output_drain(struct output *o); // all of it
void output_close(struct output *o);

// part.c
void parts_init(struct keeper *k);
void parts_start(struct keeper *k); // adopts what lives (identity is filled in), starts the rest
void parts_free(struct keeper *k);
bool part_ended(struct keeper *k, pid_t pid);
void parts_stop(struct keeper *k); // asks them to end; hold() when all have

// peer.c
int peers_listen(struct keeper *k, struct err *err);
void peers_tell_exit(struct keeper *k, const struct keeper_exit *record);
void peers_free(struct keeper *k);

// state.c: run/keeper.state
void state_save(const struct keeper *k);
