// The on-disk form of an instance's output: written by the keeper (keeper/spool.c), read by telemetry/logs.c.
//
// A log directory holds, for each stream ("out", "err"), segments numbered upwards in eight digits:
//   out.00000007      the bytes as the application wrote them
//   out.00000007.idx  struct spool_head, then struct spool_record: when which bytes came
// A segment ends at SPOOL_SEGMENT_BYTES or SPOOL_SEGMENT_RECORDS, and is over once the next number's index exists. The
// oldest is removed when there are more than SPOOL_SEGMENTS. A line may go on into the next segment.
//
// The bytes up to the last record's `end` are final; bytes behind it are not described yet and not to be read. What a
// reader missed between two segments is the difference of their heads' `start` counts, less what it has seen.
#pragma once

#include <assert.h>
#include <stdint.h>
#include <stdio.h>

#define SPOOL_SEGMENT_BYTES (1u << 20)
#define SPOOL_SEGMENT_RECORDS 16384u
#define SPOOL_SEGMENTS 32u
#define SPOOL_MAGIC "DTSPOOL1"

struct spool_head {
	char magic[8];
	uint64_t start_bytes, start_lines; // of the whole stream before this segment (without what was discarded)
	// Discarded (disk full) and not yet told by a record; written in place, which needs no new block.
	uint64_t discarded_bytes, discarded_lines;
	uint64_t created_ns; // unix time
	uint64_t reserved[2];
};
static_assert(sizeof(struct spool_head) == 64, "the form on disk is fixed");

enum spool_kind {
	SPOOL_BYTES = 1,     // the bytes from the previous record's end to `end` came at time_ns
	SPOOL_DISCARDED = 2, // at this place bytes were discarded; how many is in the next record
	SPOOL_COUNT = 3,     // bytes: time_ns, lines: end
};

struct spool_record {
	uint64_t time_ns; // unix time
	uint32_t end;     // offset in the segment
	uint32_t kind;
};
static_assert(sizeof(struct spool_record) == 16, "the form on disk is fixed");

#define SPOOL_NAME_SIZE 32
static inline void spool_segment_name(const char *stream, uint32_t number, char name[SPOOL_NAME_SIZE])
{
	snprintf(name, SPOOL_NAME_SIZE, "%.3s.%08u", stream, number);
}

static inline void spool_index_name(const char *stream, uint32_t number, char name[SPOOL_NAME_SIZE])
{
	snprintf(name, SPOOL_NAME_SIZE, "%.3s.%08u.idx", stream, number);
}
