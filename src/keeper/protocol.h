// What travels on DATA/run/keeper.sock (SOCK_SEQPACKET, one struct a packet, this machine's byte order). The keeper
// outlives upgrades of everything else: a struct here never changes, new things get a new verb or kind.
//
//   SUBSCRIBE        from now on this connection gets EXIT events, and at once one for every exit record there is
//   OUTPUT id        open out.fifo and err.fifo in the instance's directory and drain them into log/
//   WATCH id pid     this process is the instance's init. Answered when its identity is in node/instances/ID/keeper
//   (safe
//                    against the death of any process; after a power cut the boot id makes it void anyway). Removes an
//                    earlier exit record of the instance. A pid that is gone already is answered 0, and EXIT follows.
//   FORGET id        drain what is left, close, remove the identity and the exit record
//   STOP             end the platform's processes; containers run on. Answered before that begins. While a watched
//                    process lives the keeper stays and holds: it drains output and writes exit records until the last
//                    has ended; nothing else listens or runs. Without one it ends.
//   RESUME           of a holding keeper, with a descriptor: a file of NUL-terminated words, arguments, an empty one,
//                    environment. The keeper becomes that program, a keeper with --resume, so that it stays the parent
//                    of the containers. Answered only when that failed (-EBUSY: it does not hold); else the connection
//                    ends.
//
// Each request is answered once with KEEPER_ANSWER, its serial and 0 or a negative errno; all are idempotent.
#pragma once

#include <assert.h>
#include <stdint.h>

#define KEEPER_MAGIC 0x64746b31 // "dtk1"
#define KEEPER_ID_SIZE 64       // [A-Za-z0-9._-], not starting with '.', NUL-terminated
#define KEEPER_INSTANCES 16384  // watched or drained at a time; more: -ENOBUFS

enum keeper_verb { KEEPER_SUBSCRIBE = 1, KEEPER_OUTPUT, KEEPER_WATCH, KEEPER_FORGET, KEEPER_STOP, KEEPER_RESUME };

struct keeper_request {
	uint32_t magic;
	uint32_t verb;
	uint64_t serial;
	char id[KEEPER_ID_SIZE];
	int32_t pid; // WATCH
	uint32_t reserved;
	uint64_t start_ticks; // WATCH: the start time of pid (process_start_time), or 0: as the keeper finds it
};
static_assert(sizeof(struct keeper_request) == 96, "the protocol is fixed");

enum keeper_kind { KEEPER_ANSWER = 1, KEEPER_EXIT };

struct keeper_event {
	uint32_t magic;
	uint32_t kind;
	uint64_t serial; // ANSWER: of the request
	int32_t result;  // ANSWER: 0 or a negative errno
	int32_t pid;
	char id[KEEPER_ID_SIZE];
	uint64_t start_ticks;
	int32_t status;   // EXIT: as from waitpid(2), when known
	uint32_t known;   // EXIT: 0: nobody saw the end of the process
	uint64_t time_ms; // EXIT: unix time at which it ended, or at which it was found gone when not known
};
static_assert(sizeof(struct keeper_event) == 112, "the protocol is fixed");
