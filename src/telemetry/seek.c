#include "telemetry/track.h"

#include "base/str.h"

#include <errno.h>
#include <sys/stat.h>

// How many whole records the index has.
static uint32_t count_records(const struct track *t)
{
	struct stat st;
	if (fstat(t->index_fd, &st) < 0 || (size_t)st.st_size < sizeof(struct spool_head))
		return 0;
	return (uint32_t)(((size_t)st.st_size - sizeof(struct spool_head)) / sizeof(struct spool_record));
}

// The record at or, for a SPOOL_COUNT, before the index: both fields of it grow with the index.
static struct spool_record ordered_record(struct track *t, uint32_t *index)
{
	struct spool_record record = { 0 };
	track_record(t, *index, &record);
	if (record.kind == SPOOL_COUNT && *index > 0)
		track_record(t, --*index, &record);
	return record;
}

// The first record with time >= since_ns (or, with since_ns 0, the first that ends behind `offset`); binary search.
static uint32_t find_record(struct track *t, uint64_t since_ns, uint32_t offset)
{
	uint32_t low = 0, high = count_records(t);
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		uint32_t index = middle;
		struct spool_record record = ordered_record(t, &index);
		bool before = since_ns ? record.time_ns < since_ns : record.end <= offset;
		if (before)
			low = middle + 1;
		else
			high = index;
	}
	return low;
}

// How far the segment is described, by its index alone.
static uint32_t described(struct track *t)
{
	for (uint32_t i = count_records(t); i-- > 0;) {
		struct spool_record record = ordered_record(t, &i);
		if (record.kind == SPOOL_BYTES || record.kind == SPOOL_DISCARDED)
			return record.end;
	}
	return 0;
}

static uint32_t end_before(struct track *t, uint32_t record)
{
	if (record == 0)
		return 0;
	uint32_t index = record - 1;
	return ordered_record(t, &index).end;
}

// Whether the byte before the position is something else than the end of a line.
static bool inside_line(struct track *t, uint32_t offset, struct err *err)
{
	char byte = '\n';
	if (offset > 0)
		return pread(t->segment_fd, &byte, 1, (off_t)offset - 1) == 1 && byte != '\n';
	if (t->number == 0)
		return false;
	struct track *before = track_new(t->dir, t->stream, NULL);
	struct stat st;
	if (track_open_segment(before, t->number - 1, err) == 1 && fstat(before->segment_fd, &st) == 0 &&
	    st.st_size > 0 && st.st_size >= described(before) &&
	    pread(before->segment_fd, &byte, 1, st.st_size - 1) != 1)
		byte = '\n';
	track_free(before);
	return byte != '\n';
}

static int go_to(struct track *t, uint32_t number, uint32_t record, uint32_t offset, struct err *err)
{
	int r = t->number == number && t->segment_fd >= 0 ? 1 : track_open_segment(t, number, err);
	if (r <= 0)
		return r;
	t->record = record;
	t->at = t->end = offset;
	t->skip = inside_line(t, offset, err);
	return 0;
}

int track_seek(struct track *track, uint64_t since_ns, struct err *err)
{
	uint32_t number;
	if (track_first_segment(track, 0, &number) < 0)
		return 0;
	// The last segment that was begun before that time, or the oldest.
	int r = track_open_segment(track, number, err);
	struct track *next = track_new(track->dir, track->stream, NULL);
	while (r == 1 && track->head.created_ns < since_ns && track_open_segment(next, track->number + 1, NULL) == 1 &&
	       next->head.created_ns < since_ns)
		r = track_open_segment(track, next->number, err);
	track_free(next);
	if (r <= 0)
		return r;
	uint32_t record = since_ns ? find_record(track, since_ns, 0) : 0;
	uint64_t lost_bytes = track->head.start_bytes, lost_lines = track->head.start_lines;
	bool from_oldest = track->number == number && record == 0;
	r = go_to(track, track->number, record, end_before(track, record), err);
	if (r == 0 && from_oldest && lost_bytes && track->head.created_ns >= since_ns) {
		track->item = (struct log_item){ .kind = LOG_GAP,
						 .stream = track->stream,
						 .source = track->source,
						 .time_ns = track->head.created_ns,
						 .lost_bytes = lost_bytes,
						 .lost_lines = lost_lines };
		track->has_item = true;
		track->skip = false; // the rest of a line whose beginning is lost is shown
	}
	return r;
}

int track_move(struct track *track, struct err *err)
{
	const struct log_position *to = &track->move_to;
	track->has_item = track->skip = false;
	int r = track_open_segment(track, to->segment, err);
	if (r <= 0)
		return r;
	uint32_t records = count_records(track);
	track->record = to->record < records ? to->record : records;
	track->end = end_before(track, track->record);
	track->at = to->offset < track->end ? to->offset : track->end;
	uint32_t before = track->record ? track->record - 1 : 0;
	track->time_ns = ordered_record(track, &before).time_ns;
	track->part_given = true; // until the next item, this is where the reader stands
	return 0;
}

struct backwards {
	uint64_t want, found;
	bool behind_last;        // a byte behind the present one has been seen
	uint32_t number, offset; // where the earliest line found begins
};

// Looks for beginnings of lines in bytes [from, to) of the open segment, last first. True when `want` were found.
static bool look_back(struct track *t, uint32_t from, uint32_t to, struct backwards *b)
{
	AUTO_FREE char *bytes = xmalloc(TRACK_CHUNK);
	while (to > from) {
		uint32_t n = to - from < TRACK_CHUNK ? to - from : TRACK_CHUNK;
		if (pread(t->segment_fd, bytes, n, (off_t)(to - n)) != (ssize_t)n)
			return true; // not there any more: what was found will do
		for (uint32_t i = n; i-- > 0;) {
			bool begins = bytes[i] == '\n' && b->behind_last;
			b->behind_last = true;
			if (!begins)
				continue;
			b->number = t->number;
			b->offset = to - n + i + 1;
			if (++b->found == b->want)
				return true;
		}
		to -= n;
	}
	return false;
}

// The same for a segment's bytes [from, end). One with fewer bytes than its index tells of (a power cut) ends a
// line.
static bool look_back_segment(struct track *t, uint32_t from, uint32_t end, struct backwards *b)
{
	struct stat st;
	if (fstat(t->segment_fd, &st) == 0 && st.st_size < end) {
		end = (uint32_t)st.st_size;
		if (b->behind_last) {
			b->number = t->number + 1;
			b->offset = 0;
			if (++b->found == b->want)
				return true;
		}
	}
	return look_back(t, from, end, b);
}

// How far the segment that `reader` has open is to be read for `track`.
static uint32_t end_of(struct track *reader, const struct track *track)
{
	return track->limited && reader->number == track->last_number ? track->last_at : described(reader);
}

// The last segment's number, from the present one on.
static uint32_t last_segment(const struct track *t)
{
	uint32_t number = t->number;
	struct track *probe = track_new(t->dir, t->stream, NULL);
	while (track_open_segment(probe, number + 1, NULL) == 1)
		number++;
	track_free(probe);
	return number;
}

void track_limit(struct track *track)
{
	track->limited = true;
	track->last_number = track->last_at = 0;
	if (track->segment_fd < 0)
		return; // nothing was written yet
	struct track *last = track_new(track->dir, track->stream, NULL);
	track->last_number = last_segment(track);
	if (track_open_segment(last, track->last_number, NULL) == 1)
		track->last_at = described(last);
	track_free(last);
}

int track_seek_tail(struct track *track, uint64_t n, uint64_t *ret_lines, struct err *err)
{
	*ret_lines = 0;
	if (track->segment_fd < 0)
		return 0;
	uint32_t first = track->number, first_at = track->at;
	uint32_t number = track->limited ? track->last_number : last_segment(track);
	bool skip = track->skip;
	struct backwards b = { .want = n };
	struct track *reader = track_new(track->dir, track->stream, NULL);
	bool enough = false, opened = true;
	for (uint32_t at = number + 1; at-- > first && !enough && opened;) {
		opened = track_open_segment(reader, at, err) == 1;
		if (!opened)
			break;
		if (n == 0) {
			b.number = at;
			b.offset = end_of(reader, track);
			enough = true;
		} else {
			enough = look_back_segment(reader, at == first ? first_at : 0, end_of(reader, track), &b);
		}
	}
	track_free(reader);
	if (!enough && b.behind_last && !skip)
		b.found++; // and the line at the very beginning
	*ret_lines = b.found;
	if (!enough)
		return 0;
	track->has_item = false; // what was lost before the tail is not asked for
	int r = track_open_segment(track, b.number, err);
	if (r <= 0)
		return r;
	return go_to(track, b.number, find_record(track, 0, b.offset), b.offset, err);
}
