#include "telemetry/track.h"

#include "base/str.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

struct track *track_new(const char *dir, enum log_stream stream, void *source)
{
	struct track *t = xcalloc(1, sizeof(*t));
	t->source = source;
	t->dir = xstrdup(dir);
	t->stream = stream;
	t->name = stream == LOG_OUT ? "out" : "err";
	t->segment_fd = t->index_fd = -1;
	t->line = BUF_INIT(LOG_LINE_MAX);
	list_init(&t->link);
	return t;
}

static void close_segment(struct track *t)
{
	cleanup_close(&t->segment_fd);
	cleanup_close(&t->index_fd);
	t->segment_fd = t->index_fd = -1;
}

void track_free(struct track *track)
{
	if (!track)
		return;
	close_segment(track);
	buf_clear(&track->line);
	free(track->chunk);
	free(track->dir);
	list_remove(&track->link);
	free(track);
}

static int open_at(const struct track *t, const char *name)
{
	AUTO_FREE char *path = xasprintf("%s/%s", t->dir, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

static bool read_head(int fd, struct spool_head *ret)
{
	return pread(fd, ret, sizeof(*ret), 0) == (ssize_t)sizeof(*ret) &&
	       memcmp(ret->magic, SPOOL_MAGIC, sizeof(ret->magic)) == 0;
}

int track_open_segment(struct track *track, uint32_t number, struct err *err)
{
	char name[SPOOL_NAME_SIZE];
	spool_index_name(track->name, number, name);
	AUTO_CLOSE int index = open_at(track, name);
	struct spool_head head;
	if (index == -ENOENT || (index >= 0 && !read_head(index, &head)))
		return 0;
	spool_segment_name(track->name, number, name);
	AUTO_CLOSE int segment = index < 0 ? index : open_at(track, name);
	if (segment == -ENOENT)
		return 0;
	if (segment < 0)
		return err_set_errno(err, segment, "cannot read log '%s/%s'", track->dir, name);
	close_segment(track);
	track->segment_fd = TAKE_FD(segment);
	track->index_fd = TAKE_FD(index);
	track->number = number;
	track->head = head;
	track->record = track->at = track->end = 0;
	track->n_records = track->chunk_len = 0;
	return 1;
}

int track_first_segment(const struct track *track, uint32_t from, uint32_t *ret)
{
	DIR *dir = opendir(track->dir);
	if (!dir)
		return -errno;
	bool found = false;
	for (struct dirent *entry; (entry = readdir(dir));) {
		unsigned number;
		char name[SPOOL_NAME_SIZE];
		if (strncmp(entry->d_name, track->name, 3) != 0 || sscanf(entry->d_name + 3, ".%8u", &number) != 1)
			continue;
		spool_index_name(track->name, number, name);
		if (!str_eq(name, entry->d_name) || number < from || (found && number >= *ret))
			continue;
		*ret = number;
		found = true;
	}
	closedir(dir);
	return found ? 0 : -ENOENT;
}

int track_record(struct track *track, uint32_t index, struct spool_record *ret)
{
	if (index < track->first_record || index >= track->first_record + track->n_records) {
		off_t at = (off_t)(sizeof(struct spool_head) + index * sizeof(struct spool_record));
		ssize_t n = pread(track->index_fd, track->records, sizeof(track->records), at);
		track->first_record = index;
		track->n_records = n > 0 ? (uint32_t)((size_t)n / sizeof(struct spool_record)) : 0;
	}
	if (index >= track->first_record + track->n_records)
		return 0;
	*ret = track->records[index - track->first_record];
	return 1;
}

static void give_line(struct track *t, bool continued)
{
	t->item = (struct log_item){
		.kind = LOG_LINE,
		.stream = t->stream,
		.time_ns = t->line_ns,
		.source = t->source,
		.text = buf_len(&t->line) ? buf_data(&t->line) : "",
		.len = buf_len(&t->line),
		.continued = continued,
	};
	t->has_item = t->given = true;
	t->begun = false;
}

static void give_gap(struct track *t, uint64_t time_ns, uint64_t bytes, uint64_t lines)
{
	t->item = (struct log_item){
		.kind = LOG_GAP,
		.stream = t->stream,
		.time_ns = time_ns,
		.source = t->source,
		.lost_bytes = bytes,
		.lost_lines = lines,
	};
	t->has_item = true;
}

static void begin_line(struct track *t)
{
	if (t->begun)
		return;
	t->begun = true;
	t->line_ns = t->time_ns;
	t->line_at = (struct log_position){ t->number, t->record, t->at };
}

// Gives a line or a part of one out of n bytes; returns how many it used.
static size_t take_bytes(struct track *t, const char *bytes, size_t n)
{
	const char *newline = memchr(bytes, '\n', n);
	size_t upto = newline ? (size_t)(newline - bytes) : n;
	if (t->skip) {
		t->skip = !newline;
		return newline ? upto + 1 : n;
	}
	size_t room = LOG_LINE_MAX - buf_len(&t->line);
	begin_line(t);
	size_t used = upto < room ? upto : room;
	int r = buf_add(&t->line, bytes, used);
	assert(r == 0);
	if (used < upto) {
		give_line(t, true);
		return used;
	}
	if (newline)
		give_line(t, false);
	return newline ? used + 1 : used;
}

// Fills the window of the segment from `at` on; false: the bytes are not there (a power cut ate them).
static bool read_chunk(struct track *t)
{
	if (t->chunk_len && t->at >= t->chunk_at && t->at < t->chunk_at + t->chunk_len)
		return true;
	if (!t->chunk)
		t->chunk = xmalloc(TRACK_CHUNK);
	ssize_t n = pread(t->segment_fd, t->chunk, TRACK_CHUNK, (off_t)t->at);
	t->chunk_at = t->at;
	t->chunk_len = n > 0 ? (uint32_t)n : 0;
	return n > 0;
}

static void take_described(struct track *t)
{
	if (!read_chunk(t)) {
		if (t->begun) {
			give_line(t, false);
			return;
		}
		give_gap(t, t->time_ns, t->end - t->at, 0);
		t->at = t->end;
		return;
	}
	uint32_t have = t->chunk_at + t->chunk_len;
	uint32_t upto = t->end < have ? t->end : have;
	t->at += (uint32_t)take_bytes(t, t->chunk + (t->at - t->chunk_at), upto - t->at);
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

// A count that came to the index; the head may have told (a part of) it before.
static void give_discarded(struct track *t, uint64_t time_ns, uint64_t bytes, uint64_t lines)
{
	if (bytes > t->told_bytes)
		give_gap(t, time_ns, bytes - t->told_bytes, less(lines, t->told_lines));
	t->told_bytes = less(t->told_bytes, bytes);
	t->told_lines = less(t->told_lines, lines);
}

// Takes the next record of the index. False when there is none now.
static bool take_record(struct track *t)
{
	struct spool_record record, count;
	if (track_record(t, t->record, &record) == 0)
		return false;
	if (record.kind == SPOOL_BYTES) {
		t->time_ns = record.time_ns;
		t->end = record.end > t->at ? record.end : t->at;
		t->record++;
		return true;
	}
	if (record.kind != SPOOL_DISCARDED) {
		t->record++;
		return true;
	}
	if (t->begun) {
		give_line(t, false); // its rest is among what was discarded
		return true;
	}
	if (track_record(t, t->record + 1, &count) == 0)
		return false;
	t->record += 2;
	give_discarded(t, record.time_ns, count.time_ns, count.end);
	return true;
}

static uint64_t count_lines(int fd)
{
	AUTO_FREE char *bytes = xmalloc(TRACK_CHUNK);
	uint64_t lines = 0;
	off_t at = 0;
	for (ssize_t n; (n = pread(fd, bytes, TRACK_CHUNK, at)) > 0; at += n)
		for (ssize_t i = 0; i < n; i++)
			lines += bytes[i] == '\n';
	return lines;
}

// Goes on to segment `number`, telling what was removed between it and the present one.
static int enter_segment(struct track *t, uint32_t number, struct err *err)
{
	bool apart = t->segment_fd >= 0 && number != t->number + 1;
	struct stat st = { 0 };
	uint64_t bytes = 0, lines = 0;
	if (apart && t->begun) {
		give_line(t, false); // its rest was removed
		return 1;
	}
	if (apart) {
		fstat(t->segment_fd, &st);
		bytes = t->head.start_bytes + (uint64_t)st.st_size;
		lines = t->head.start_lines + count_lines(t->segment_fd);
	}
	int r = track_open_segment(t, number, err);
	if (r <= 0 || !apart)
		return r;
	t->skip = false;
	if (t->head.start_bytes > bytes)
		give_gap(t, t->head.created_ns, t->head.start_bytes - bytes, less(t->head.start_lines, lines));
	return r;
}

// The present segment is read as far as it is described. Goes on to the next one: 1, or 0 when there is none.
static int next_segment(struct track *t, struct err *err)
{
	uint32_t next = t->number + 1;
	char name[SPOOL_NAME_SIZE];
	spool_index_name(t->name, next, name);
	AUTO_CLOSE int index = open_at(t, name);
	struct spool_head head;
	struct stat st;
	if (index < 0 || !read_head(index, &head)) {
		// Not there yet; or gone already, as the present one then is too.
		if (fstat(t->segment_fd, &st) < 0 || st.st_nlink > 0 || track_first_segment(t, next, &next) < 0)
			return 0;
	}
	struct spool_record record;
	t->n_records = 0;
	if (track_record(t, t->record, &record) > 0)
		return 1; // written before the segment was left
	if (fstat(t->segment_fd, &st) == 0 && st.st_size > t->end) {
		t->end = (uint32_t)st.st_size; // bytes that the disk had room for and their record not
		return 1;
	}
	return enter_segment(t, next, err);
}

static int open_first(struct track *t, struct err *err)
{
	uint32_t number;
	if (track_first_segment(t, 0, &number) < 0)
		return 0;
	return enter_segment(t, number, err);
}

// Nothing more is to come, or not for now: gives what is only shown then.
static void give_rest(struct track *t)
{
	struct spool_head head;
	if (t->begun && t->finished) {
		give_line(t, false);
		return;
	}
	if (t->index_fd >= 0 && !t->begun && read_head(t->index_fd, &head) && head.discarded_bytes > t->told_bytes) {
		give_gap(t, head.created_ns > t->time_ns ? head.created_ns : t->time_ns,
			 head.discarded_bytes - t->told_bytes, less(head.discarded_lines, t->told_lines));
		t->told_bytes = head.discarded_bytes;
		t->told_lines = head.discarded_lines;
		return;
	}
	free(t->chunk);
	t->chunk = NULL;
	t->chunk_len = 0;
	t->dry = true;
}

static bool at_limit(const struct track *t)
{
	return t->limited && t->segment_fd >= 0 &&
	       (t->number > t->last_number || (t->number == t->last_number && t->at >= t->last_at));
}

int track_fill(struct track *track, struct err *err)
{
	if (track->given)
		buf_reset(&track->line);
	track->given = false;
	while (!track->has_item && !track->dry) {
		if (at_limit(track)) {
			give_rest(track);
			continue;
		}
		if (track->at < track->end) {
			take_described(track);
			continue;
		}
		if (track->segment_fd >= 0 && take_record(track))
			continue;
		int r = track->segment_fd >= 0 ? next_segment(track, err) : open_first(track, err);
		if (r < 0)
			return r;
		if (r == 0)
			give_rest(track);
	}
	return 0;
}
