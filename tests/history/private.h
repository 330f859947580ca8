// Private to the checker: what is gathered from the logs, and replayed.
#pragma once

#include "check.h"

#include "base/cleanup.h"
#include "store/store.h"

struct op {
	const struct entry *invoke, *ret; // invoke NULL: there is no such operation; ret NULL: never answered
	uint64_t applied;                 // at which revision it was found; 0: it was not
};

struct life {
	struct op *ops; // by number, from 1
	size_t n;
};

struct segment { // of a stream: from one list to the next
	const struct log *log;
	size_t first, end; // entries; the first one is its ENTRY_WATCH
	uint64_t from, to;
	unsigned stream;
};

struct question { // about the state at a revision
	uint64_t revision;
	const struct entry *entry; // RETURN, READ, LIST, WATCH
	struct op *op;             // RETURN: of this
};

struct seen { // whoever looks after that time sees at least that revision
	uint64_t time_ns, revision;
};

struct interval { // of revisions that some stream covers, begun by a snapshot
	uint64_t from, to;
	const struct entry *snapshot;
};

#define ARRAY(type)                                                                                                    \
	struct {                                                                                                       \
		type *at;                                                                                              \
		size_t n, room;                                                                                        \
	}
#define ARRAY_ADD(array, ...)                                                                                          \
	do {                                                                                                           \
		if ((array)->n == (array)->room) {                                                                     \
			(array)->room = (array)->room ? 2 * (array)->room : 64;                                        \
			(array)->at = xreallocarray((array)->at, (array)->room, sizeof(*(array)->at));                 \
		}                                                                                                      \
		(array)->at[(array)->n++] = __VA_ARGS__;                                                               \
	} while (0)

struct gathered {
	struct verdict *verdict;
	const struct log *logs;
	size_t n_logs;
	ARRAY(struct life) lives;
	ARRAY(struct segment) segments;
	ARRAY(const struct entry *) events; // the truth: by revision and place in it, each once
	ARRAY(struct question) questions;   // by revision
	ARRAY(struct seen) seen;            // by time, revisions rising
	ARRAY(struct interval) intervals;
	ARRAY(uint32_t) held;       // keys of holds, sorted
	ARRAY(struct op *) deletes; // operations that put nothing, by the revision they were answered with, if any
};

void violate(struct verdict *v, enum violation violation, const char *fmt, ...) PRINTF_LIKE(3, 4);

// ---- gather.c

void gather(struct gathered *g);
void gathered_clear(struct gathered *g);
struct op *gathered_op(const struct gathered *g, uint64_t op); // NULL: nobody asked for that
uint64_t seen_before(const struct gathered *g, uint64_t time_ns);
uint64_t op_answered(const struct op *op); // acknowledged at which revision; 0: there is no certain answer
bool op_puts(const struct op *op);
bool op_changes(const struct op *op); // puts or deletes
static inline const struct entry *op_parts(const struct op *op, size_t *ret_n)
{
	*ret_n = op->invoke->key;
	return op->invoke + 1;
}

// ---- replay.c

void replay(struct gathered *g);
