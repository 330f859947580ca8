// One stream of one log directory, read forwards. Private to this module.
#pragma once

#include "base/list.h"
#include "io/spool.h"
#include "telemetry/logs.h"

#define TRACK_RECORDS 32
#define TRACK_CHUNK 16384u

struct track {
	struct list link;
	void *source;
	char *dir;
	const char *name; // "out", "err"
	enum log_stream stream;
	bool finished; // nothing is added any more: what is unfinished is given as it is
	bool dry;      // nothing more when last looked, in this pass over all tracks

	uint32_t number;
	int segment_fd, index_fd; // -1: not there yet
	struct spool_head head;
	uint32_t record;  // of the index, the next to take
	uint32_t at, end; // bytes of the segment that came at time_ns and are still to be read
	uint64_t time_ns;
	bool limited; // nothing behind last_at in segment last_number is to be given
	uint32_t last_number, last_at;
	bool skip;                       // up to the next newline: the line began before what was asked for
	uint64_t told_bytes, told_lines; // discarded according to the head, already given as a gap

	struct spool_record records[TRACK_RECORDS]; // a window of the index
	uint32_t first_record, n_records;
	char *chunk; // a window of the segment; NULL while there is nothing to read
	uint32_t chunk_at, chunk_len;

	struct buf line;             // of the line being read
	struct log_position line_at; // of the line, or the part of one
	bool part_given;             // the last item that was given goes on in the next
	bool moved;                  // begins at move_to
	struct log_position move_to;
	bool begun, given; // line has a first byte; line is in `item`, to be reset
	uint64_t line_ns;

	struct log_item item;
	bool has_item;
};

struct track *track_new(const char *dir, enum log_stream stream, void *source);
void track_free(struct track *track);

// Makes has_item true if there is something. Returns 0 also when there is nothing more now.
int track_fill(struct track *track, struct err *err);

// seek.c: where to begin, before the first fill. since_ns 0: at the oldest segment.
int track_seek(struct track *track, uint64_t since_ns, struct err *err);
// Goes to move_to. If that is not there any more: to the oldest byte.
int track_move(struct track *track, struct err *err);
// Moves on from there until at most n lines are left; how many there are in *ret_lines.
int track_seek_tail(struct track *track, uint64_t n, uint64_t *ret_lines, struct err *err);

// From now on gives nothing that is written later.
void track_limit(struct track *track);

// Opens a segment: 1, 0 when it is not there (yet), or a negative errno. The position is its start.
int track_open_segment(struct track *track, uint32_t number, struct err *err);
// The lowest number from `from` on, -ENOENT when there is none.
int track_first_segment(const struct track *track, uint32_t from, uint32_t *ret);
// 1 with the record, or 0 when there is none (yet).
int track_record(struct track *track, uint32_t index, struct spool_record *ret);
