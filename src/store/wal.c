#include "store/wal.h"

#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>

enum {
	WAL_HEADER = 32,
	FRAME_HEADER = 24,
	WAL_MAGIC = 0x377f0682, // the lowest bit: checksums are of big-endian words
	PAGE_MIN = 512,
	PAGE_MAX = 65536,
};

struct wal {
	int fd;
	uint64_t size;
	uint32_t page_size;
	bool big_endian, header_damaged;
	uint32_t sums[2];
	unsigned char header[WAL_HEADER];
	unsigned char frame[FRAME_HEADER + PAGE_MAX];
};

static uint32_t get32(const unsigned char *b)
{
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static uint32_t word(const struct wal *wal, const unsigned char *b)
{
	uint32_t w = get32(b);
	return wal->big_endian ? w : __builtin_bswap32(w);
}

static void add_sums(struct wal *wal, const unsigned char *b, size_t n)
{
	for (size_t i = 0; i < n; i += 8) {
		wal->sums[0] += word(wal, b + i) + wal->sums[1];
		wal->sums[1] += word(wal, b + i + 4) + wal->sums[0];
	}
}

static bool sums_are(const struct wal *wal, const unsigned char *b)
{
	return get32(b) == wal->sums[0] && get32(b + 4) == wal->sums[1];
}

static bool all_zero(const unsigned char *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (b[i])
			return false;
	return true;
}

// False at the end of the file.
static bool read_frame(struct wal *wal, uint64_t i)
{
	uint64_t size = FRAME_HEADER + wal->page_size, at = WAL_HEADER + i * size;
	return at + size <= wal->size && pread(wal->fd, wal->frame, size, (off_t)at) == (ssize_t)size;
}

// Whether the frame was written since the log last started over: it has the header's two salts. When the header is
// damaged, that may be in one byte of them; a header that is new has a new random salt.
static bool same_log(const struct wal *wal)
{
	int differ = 0;
	for (int i = 0; i < 8; i++)
		differ += wal->frame[8 + i] != wal->header[16 + i];
	return differ <= (wal->header_damaged ? 1 : 0);
}

static bool frame_valid(struct wal *wal)
{
	add_sums(wal, wal->frame, 8);
	add_sums(wal, wal->frame + FRAME_HEADER, wal->page_size);
	return same_log(wal) && sums_are(wal, wal->frame + 16);
}

// How many frames of this log from the i-th on end a transaction.
static unsigned commits_from(struct wal *wal, uint64_t i)
{
	unsigned n = 0;
	for (; n < 2 && read_frame(wal, i); i++)
		n += same_log(wal) && get32(wal->frame + 4) != 0;
	return n;
}

static int damaged(const char *path, uint64_t offset, struct err *err)
{
	err_set(err, -EUCLEAN, "'%s' is damaged near byte %llu: transactions that were acknowledged follow it", path,
		(unsigned long long)offset);
	return err_hint(err, "check the disk; restore the store from a backup, or move its folder away to start empty");
}

static int check_frames(struct wal *wal, const char *path, struct err *err)
{
	for (uint64_t i = 0; read_frame(wal, i); i++) {
		if (frame_valid(wal))
			continue;
		if (commits_from(wal, i) >= 2)
			return damaged(path, WAL_HEADER + i * (FRAME_HEADER + wal->page_size), err);
		return 0;
	}
	return 0;
}

// A header is written when the log starts over, its old frames all being in the database. If it is torn then, its salts
// are not those of the frames.
static int check_header(struct wal *wal, const char *path, struct err *err)
{
	uint32_t magic = get32(wal->header);
	wal->page_size = get32(wal->header + 8);
	bool size_valid = wal->page_size >= PAGE_MIN && wal->page_size <= PAGE_MAX &&
			  (wal->page_size & (wal->page_size - 1)) == 0;
	wal->big_endian = magic & 1;
	add_sums(wal, wal->header, 24);
	if ((magic & ~1u) == WAL_MAGIC && size_valid && sums_are(wal, wal->header + 24))
		return check_frames(wal, path, err);
	wal->header_damaged = true;
	if (!size_valid)
		wal->page_size = 4096;
	return commits_from(wal, 0) >= 2 ? damaged(path, 0, err) : 0;
}

int wal_check(const char *path, struct err *err)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0;
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set_errno(err, -errno, "cannot read '%s'", path);

	AUTO_FREE struct wal *wal = xcalloc(1, sizeof(*wal));
	wal->fd = fd;
	wal->size = (uint64_t)st.st_size;
	if (pread(fd, wal->header, WAL_HEADER, 0) != WAL_HEADER || all_zero(wal->header, WAL_HEADER))
		return 0;
	return check_header(wal, path, err);
}

int wal_preallocate(const char *path, uint64_t bytes, struct err *err)
{
	static const char zeros[64 << 10];
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set_errno(err, -errno, "cannot open '%s'", path);
	for (uint64_t at = 0; at < bytes; at += sizeof(zeros)) {
		if (pwrite(fd, zeros, sizeof(zeros), (off_t)at) == (ssize_t)sizeof(zeros))
			continue;
		if (errno != ENOSPC && errno != EDQUOT)
			return err_set_errno(err, -errno, "cannot write '%s'", path);
		break;
	}
	if (fsync(fd) < 0)
		return err_set_errno(err, -errno, "cannot sync '%s'", path);
	return 0;
}
