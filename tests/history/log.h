// A recorded history: what one process asked of the store, was answered, read and was told by its watches, in the order
// in which that happened. A file of entries of fixed size, mapped into memory, so that all of it survives SIGKILL: an
// operation is in it before it can reach the store.
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct record;

enum entry_type {
	ENTRY_NONE,     // the log ends here
	ENTRY_LIFE,     // first: op is the number of the process's life, no two of a run have the same
	ENTRY_INVOKE,   // op; kind: enum op_kind; key: how many entries follow that say what is compared and changed
	ENTRY_IF,       // kind: enum if_kind; key; revision
	ENTRY_FENCE,    // key; create
	ENTRY_PUT,      // key; value
	ENTRY_DELETE,   // key
	ENTRY_RETURN,   // op; kind: enum store_result; revision; value: which compare. Of a conflict: a RECORD follows
	ENTRY_RECORD,   // key; create, mod, version, value; create 0: there is none
	ENTRY_READ,     // one key read: as RECORD, and revision; op: the operation before it, 0: none (a local read)
	ENTRY_LIST,     // group key read at revision: value RECORDs follow; op as in READ
	ENTRY_WATCH,    // stream kind begins after revision; kind 0: with all there was, value RECORDs follow
	ENTRY_EVENT,    // stream kind: as RECORD, and index, deleted; revision: of the record before it (0: none)
	ENTRY_PROGRESS, // stream kind has delivered everything up to revision
	ENTRY_END,      // the process ended in order
};

enum op_kind { OP_TXN, OP_EMPTY, OP_AWAIT }; // OP_AWAIT: revision
enum if_kind { IF_REVISION, IF_CREATED, IF_EXISTS };

// Streams: 0 shows everything, the others one group of keys: the one that is their number less 1.
enum { GROUPS = 24, GROUP_KEYS = 16, KEYS = GROUPS * GROUP_KEYS, STREAMS = 3 };

struct entry {
	uint8_t type, kind, index, deleted;
	uint32_t key;
	uint64_t op;
	uint64_t revision;
	uint64_t create, mod, version, value;
	uint64_t time_ns; // CLOCK_MONOTONIC, of all processes on the machine the same
};

// ---- keys and values

// Keys that operations use: below KEYS; "h/GROUP/KEY". All others (held keys) by the hash of their name, with this bit.
#define KEY_HELD 0x80000000u
#define KEY_TEXT 32
uint32_t key_of(const char *text);
void key_text(uint32_t key, char text[KEY_TEXT]);

// A value names the operation that wrote it and which of its puts: no two are the same. Padding follows.
static inline uint64_t value_of(uint64_t op, unsigned index)
{
	return op << 4 | index;
}
static inline uint64_t op_of(uint64_t value)
{
	return value >> 4;
}
#define LIFE_OF(op) ((op) >> 32)                                  // its upper half; the lower one counts from 1
void value_write(uint64_t value, char *bytes, size_t len);        // len ≥ 16
uint64_t value_read(uint32_t key, const char *bytes, size_t len); // 0: torn

// ---- log

enum { LOG_BYTES_MAX = 1 << 30 }; // a sparse file

struct log {
	struct entry *entries;
	size_t n, size; // size: bytes mapped
};

int log_create(struct log *log, const char *path, struct err *err);
int log_open(struct log *log, const char *path, struct err *err); // to read; may be changed in memory only
void log_close(struct log *log);
struct entry *log_add(struct log *log, struct entry entry);                       // gives it its time
void log_record(struct log *log, struct entry head, const struct record *record); // NULL: there is none
void log_shrink(struct log *log, const char *path);                               // gives back what was not used
