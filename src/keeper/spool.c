#include "keeper/spool.h"

#include "base/clock.h"
#include "base/str.h"
#include "io/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define RECORDS_AHEAD 3 // one drain writes at most this many: DISCARDED, COUNT, BYTES

static uint64_t count_lines(const char *bytes, size_t n)
{
	uint64_t lines = 0;
	for (const char *at = bytes; (at = memchr(at, '\n', n - (size_t)(at - bytes))); at++)
		lines++;
	return lines;
}

static uint64_t count_lines_in(int fd)
{
	static char bytes[65536];
	uint64_t lines = 0;
	off_t at = 0;
	for (ssize_t n; (n = pread(fd, bytes, sizeof(bytes), at)) > 0; at += n)
		lines += count_lines(bytes, (size_t)n);
	return lines;
}

static char *segment_path(const struct spool *s, const char *dir, uint32_t number)
{
	char name[SPOOL_NAME_SIZE];
	spool_segment_name(s->stream, number, name);
	return xasprintf("%s/%s", dir, name);
}

static char *index_path(const struct spool *s, const char *dir, uint32_t number)
{
	char name[SPOOL_NAME_SIZE];
	spool_index_name(s->stream, number, name);
	return xasprintf("%s/%s", dir, name);
}

// Lowest and highest number of the stream's indexes; false when there is none.
static bool find_segments(struct spool *s, const char *dir)
{
	DIR *d = opendir(dir);
	if (!d)
		return false;
	bool found = false;
	for (struct dirent *entry; (entry = readdir(d));) {
		unsigned number;
		char name[SPOOL_NAME_SIZE];
		if (strncmp(entry->d_name, s->stream, 3) != 0 || sscanf(entry->d_name + 3, ".%8u", &number) != 1)
			continue;
		spool_index_name(s->stream, number, name);
		if (!str_eq(name, entry->d_name))
			continue;
		s->oldest = !found || number < s->oldest ? number : s->oldest;
		s->number = !found || number > s->number ? number : s->number;
		found = true;
	}
	closedir(d);
	return found;
}

static int write_head(struct spool *s)
{
	ssize_t n = pwrite(s->index_fd, &s->head, sizeof(s->head), 0);
	return n == (ssize_t)sizeof(s->head) ? 0 : n < 0 ? -errno : -ENOSPC;
}

static int append_record(struct spool *s, uint64_t time_ns, uint32_t end, uint32_t kind)
{
	struct spool_record record = { .time_ns = time_ns, .end = end, .kind = kind };
	off_t at = (off_t)(sizeof(s->head) + s->records * sizeof(record));
	ssize_t n = pwrite(s->index_fd, &record, sizeof(record), at);
	if (n != (ssize_t)sizeof(record))
		return n < 0 ? -errno : -ENOSPC;
	s->records++;
	return 0;
}

// Tells the reader, in the index, what was discarded before the byte at `place`. Only when bytes come after it again:
// until then the count is in the head, where it can grow.
static void tell_discarded(struct spool *s, uint32_t place)
{
	if (!s->head.discarded_bytes)
		return;
	// Both records in one write: a reader sees none or the first alone, and then waits for the second.
	uint64_t lines = s->head.discarded_lines;
	struct spool_record records[] = {
		{ .time_ns = realtime_ns(), .end = place, .kind = SPOOL_DISCARDED },
		{ .time_ns = s->head.discarded_bytes,
		  .end = lines > UINT32_MAX ? UINT32_MAX : (uint32_t)lines,
		  .kind = SPOOL_COUNT },
	};
	off_t at = (off_t)(sizeof(s->head) + s->records * sizeof(records[0]));
	ssize_t n = pwrite(s->index_fd, records, sizeof(records), at);
	if (n != (ssize_t)sizeof(records))
		return; // the next time, then
	s->records += 2;
	s->head.discarded_bytes = s->head.discarded_lines = 0;
	write_head(s);
}

// Tells of the bytes written since the last record.
static int describe(struct spool *s, uint64_t time_ns)
{
	if (s->described == s->size)
		return 0;
	int r = append_record(s, time_ns, s->size, SPOOL_BYTES);
	if (r == 0)
		s->described = s->size;
	return r;
}

static void remove_oldest(struct spool *s, const char *dir)
{
	while (s->number - s->oldest >= SPOOL_SEGMENTS) {
		AUTO_FREE char *segment = segment_path(s, dir, s->oldest);
		AUTO_FREE char *index = index_path(s, dir, s->oldest);
		unlink(segment);
		unlink(index);
		s->oldest++;
	}
}

static int open_segment(const struct spool *s, const char *dir, uint32_t number, int flags, int *ret_segment,
			int *ret_index)
{
	AUTO_FREE char *segment_name = segment_path(s, dir, number);
	AUTO_FREE char *index_name = index_path(s, dir, number);
	AUTO_CLOSE int segment = open(segment_name, O_RDWR | O_CREAT | O_CLOEXEC | flags, 0600);
	if (segment < 0)
		return -errno;
	AUTO_CLOSE int index = open(index_name, O_RDWR | O_CREAT | O_CLOEXEC | flags, 0600);
	if (index < 0)
		return -errno;
	*ret_segment = TAKE_FD(segment);
	*ret_index = TAKE_FD(index);
	return 0;
}

static void close_files(struct spool *s)
{
	cleanup_close(&s->segment_fd);
	cleanup_close(&s->index_fd);
	s->segment_fd = s->index_fd = -1;
}

// Begins the next segment. On failure everything is as before.
static int next_segment(struct spool *s, const char *dir)
{
	bool first = s->index_fd < 0;
	struct spool next = *s;
	next.number = first ? s->number : s->number + 1;
	next.size = next.described = next.records = 0;
	next.head.created_ns = realtime_ns();
	memcpy(next.head.magic, SPOOL_MAGIC, sizeof(next.head.magic));
	if (!first) {
		next.head.start_bytes += s->size;
		next.head.start_lines += count_lines_in(s->segment_fd);
	}
	int r = open_segment(&next, dir, next.number, O_TRUNC, &next.segment_fd, &next.index_fd);
	if (r == -ENOENT && mkdir(dir, 0700) == 0)
		r = open_segment(&next, dir, next.number, O_TRUNC, &next.segment_fd, &next.index_fd);
	if (r < 0)
		return r;
	r = write_head(&next);
	if (r < 0) {
		close_files(&next);
		AUTO_FREE char *index = index_path(&next, dir, next.number);
		AUTO_FREE char *segment = segment_path(&next, dir, next.number);
		unlink(index);
		unlink(segment);
		return r;
	}
	describe(s, realtime_ns());
	close_files(s);
	*s = next;
	remove_oldest(s, dir);
	return 0;
}

// Reads the head and the last records; false when the index is not one.
static bool read_index(struct spool *s)
{
	struct stat st;
	if (pread(s->index_fd, &s->head, sizeof(s->head), 0) != (ssize_t)sizeof(s->head) ||
	    memcmp(s->head.magic, SPOOL_MAGIC, sizeof(s->head.magic)) != 0 || fstat(s->index_fd, &st) < 0)
		return false;
	s->records = (uint32_t)(((size_t)st.st_size - sizeof(s->head)) / sizeof(struct spool_record));
	struct spool_record last[2] = { 0 };
	for (uint32_t i = s->records; i-- > 0;) {
		last[1] = last[0];
		off_t at = (off_t)(sizeof(s->head) + i * sizeof(last[0]));
		if (pread(s->index_fd, &last[0], sizeof(last[0]), at) != (ssize_t)sizeof(last[0]))
			return false;
		if (last[0].kind == SPOOL_COUNT)
			continue;
		s->described = last[0].end;
		// Told, but the head not yet cleared when the predecessor died.
		if (last[0].kind == SPOOL_DISCARDED && last[1].kind == SPOOL_COUNT && i + 2 == s->records &&
		    last[1].time_ns == s->head.discarded_bytes)
			s->head.discarded_bytes = s->head.discarded_lines = 0;
		break;
	}
	return true;
}

int spool_open(struct spool *spool, const char *dir, const char *stream, struct err *err)
{
	struct spool s = { .stream = stream, .segment_fd = -1, .index_fd = -1 };
	*spool = s;
	if (!find_segments(&s, dir))
		return 0; // begun with the first byte
	int r = open_segment(&s, dir, s.number, 0, &s.segment_fd, &s.index_fd);
	if (r < 0) {
		spool->oldest = spool->number = s.number + 1;
		return err_set_errno(err, r, "cannot open the log of '%s' in '%s'", stream, dir);
	}
	struct stat st;
	bool sound = read_index(&s) && fstat(s.segment_fd, &st) == 0;
	if (sound) {
		s.size = (uint32_t)st.st_size;
		if (s.size > s.described)
			describe(&s, realtime_ns()); // what is new to a reader is never older than what was there
	}
	*spool = s;
	// After a power cut the index may tell of bytes that never reached the disk: leave that segment as it is.
	if (!sound || s.size < s.described) {
		spool->described = spool->size;
		r = next_segment(spool, dir);
		if (r < 0) // no room for it now: nothing is added to this one all the same
			spool->size = spool->described = SPOOL_SEGMENT_BYTES;
	}
	remove_oldest(spool, dir);
	return r < 0 ? err_set_errno(err, r, "cannot go on with the log of '%s' in '%s'", stream, dir) : 0;
}

void spool_close(struct spool *spool)
{
	close_files(spool);
}

// Takes one piece out of the FIFO and counts it. False when the FIFO is empty.
static bool discard(struct spool *s, int fifo, size_t *budget)
{
	static char bytes[65536];
	ssize_t n;
	do
		n = read(fifo, bytes, sizeof(bytes));
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return false;
	s->head.discarded_bytes += (uint64_t)n;
	s->head.discarded_lines += count_lines(bytes, (size_t)n);
	if (s->index_fd >= 0)
		write_head(s); // in place; if even that fails the count is in memory
	*budget -= (size_t)n < *budget ? (size_t)n : *budget;
	return true;
}

// One splice and its record. Returns the bytes moved, 0 for an empty FIFO, or a negative errno (nothing moved).
static ssize_t move(struct spool *s, const char *dir, int fifo, size_t budget)
{
	int r = 0, waiting = 0;
	if (s->index_fd < 0 || s->size >= SPOOL_SEGMENT_BYTES || s->records + RECORDS_AHEAD > SPOOL_SEGMENT_RECORDS) {
		if (ioctl(fifo, FIONREAD, &waiting) == 0 && waiting == 0)
			return 0; // no segment before there is something for it
		r = next_segment(s, dir);
	}
	if (r < 0)
		return r;
	size_t room = SPOOL_SEGMENT_BYTES - s->size;
	loff_t at = s->size;
	ssize_t n;
	do
		n = splice(fifo, NULL, s->segment_fd, &at, room < budget ? room : budget,
			   SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	tell_discarded(s, s->size);
	s->size += (uint32_t)n;
	describe(s, realtime_ns()); // if this fails, the next record tells of these bytes too
	return n;
}

bool spool_drain(struct spool *spool, const char *dir, int fifo, size_t budget)
{
	while (budget) {
		ssize_t n = move(spool, dir, fifo, budget);
		if (n == 0)
			return false;
		spool->last_error = n < 0 ? (int)n : 0;
		if (n > 0)
			budget -= (size_t)n;
		else if (!discard(spool, fifo, &budget))
			return false;
	}
	return true;
}
