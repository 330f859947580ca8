#include "base/str.h"
#include "io/file.h"
#include "store/backup.h"
#include "store/checksum.h"
#include "store/record.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

enum {
	FORMAT = 1,
	HEADER = 128,
	RECORD_HEAD = 8,
	BODY_HEAD = 36,
	BODY_MAX = BODY_HEAD + STORE_KEY_MAX + STORE_VALUE_MAX,
	END = 16,
	PIECE = 256 << 10,
};

static const char magic[8] = { 'D', 'T', 'B', 'A', 'C', 'K', 'U', 'P' };

static void put(uint8_t **to, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		*(*to)++ = (uint8_t)(value >> 8 * i);
}

static uint64_t get(const uint8_t **from, unsigned bytes)
{
	uint64_t value = 0;
	for (unsigned i = 0; i < bytes; i++)
		value |= (uint64_t) * (*from)++ << 8 * i;
	return value;
}

static uint32_t body_checksum(uint64_t number, const uint8_t *body, size_t n)
{
	uint8_t bytes[8], *p = bytes;
	put(&p, number, 8);
	return checksum_add(checksum_add(0, bytes, sizeof(bytes)), body, n);
}

// ---- as a stream

struct backup_stream {
	struct backup backup;
	size_t next; // record
	bool begun, ended;
	uint32_t checksum;
	size_t at, n; // of piece: not read yet
	uint8_t piece[RECORD_HEAD + BODY_MAX];
};

struct backup_stream *backup_stream_new(struct backup *backup)
{
	struct backup_stream *s = xcalloc(1, sizeof(*s));
	s->backup = *backup;
	*backup = (struct backup){ 0 };
	return s;
}

void backup_stream_free(struct backup_stream *stream)
{
	if (!stream)
		return;
	backup_clear(&stream->backup);
	free(stream);
}

static uint8_t *write_header(const struct backup *b, uint8_t *start)
{
	uint8_t *p = start;
	static_assert(sizeof(b->platform) == 40 && sizeof(b->epoch) == 28 && sizeof(b->driver) == 16, "the format");
	memcpy(p, magic, sizeof(magic));
	p += sizeof(magic);
	put(&p, FORMAT, 4);
	put(&p, HEADER, 4);
	put(&p, b->revision, 8);
	put(&p, b->count, 8);
	put(&p, b->created_ms, 8);
	memcpy(p, b->platform, sizeof(b->platform));
	p += sizeof(b->platform);
	memcpy(p, b->epoch, sizeof(b->epoch));
	p += sizeof(b->epoch);
	memcpy(p, b->driver, sizeof(b->driver));
	p += sizeof(b->driver);
	put(&p, checksum_add(0, start, (size_t)(p - start)), 4);
	assert(p - start == HEADER);
	return p;
}

static uint8_t *write_record(const struct record *r, uint64_t number, uint8_t *start)
{
	uint8_t *body = start + RECORD_HEAD, *p = body;
	put(&p, r->create_revision, 8);
	put(&p, r->mod_revision, 8);
	put(&p, r->version, 8);
	put(&p, r->operation, 8);
	put(&p, r->index, 1);
	put(&p, 0, 1);
	put(&p, r->key_len, 2);
	assert(p - body == BODY_HEAD);
	memcpy(p, record_key(r), r->key_len);
	memcpy(p + r->key_len, record_value(r), r->value_len);
	p += record_bytes(r);
	put(&start, (uint64_t)(p - body), 4);
	put(&start, body_checksum(number, body, (size_t)(p - body)), 4);
	return p;
}

// The next part of the file into piece.
static void next_piece(struct backup_stream *s)
{
	uint8_t *p = s->piece;
	if (!s->begun) {
		s->begun = true;
		p = write_header(&s->backup, p);
	} else if (s->next < s->backup.count) {
		p = write_record(s->backup.records[s->next], s->next, p);
		s->next++;
	} else if (!s->ended) {
		s->ended = true;
		put(&p, 0, 4);
		put(&p, s->backup.count, 8);
		put(&p, s->checksum, 4);
	}
	s->at = 0;
	s->n = (size_t)(p - s->piece);
	s->checksum = checksum_add(s->checksum, s->piece, s->n);
}

size_t backup_stream_read(struct backup_stream *s, void *bytes, size_t size)
{
	uint8_t *to = bytes;
	size_t done = 0;
	while (done < size) {
		if (s->at == s->n)
			next_piece(s);
		size_t n = s->n - s->at < size - done ? s->n - s->at : size - done;
		if (!n)
			break;
		memcpy(to + done, s->piece + s->at, n);
		s->at += n;
		done += n;
	}
	return done;
}

// ---- writing the file

int backup_file_begin(struct backup_file *file, const char *path, struct err *err)
{
	AUTO_FREE char *temp = xasprintf("%s.writing", path);
	int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set_errno(err, -errno, "cannot write '%s'", temp);
	*file = (struct backup_file){ .path = xstrdup(path), .temp = TAKE_PTR(temp), .fd = fd };
	return 0;
}

int backup_file_write(struct backup_file *file, const void *bytes, size_t n, struct err *err)
{
	int r = write_all(file->fd, bytes, n);
	file->bytes += r == 0 ? n : 0;
	return r < 0 ? err_set_errno(err, r, "cannot write '%s'", file->temp) : 0;
}

int backup_file_end(struct backup_file *file, struct err *err)
{
	const char *slash = strrchr(file->path, '/');
	AUTO_FREE char *dir = slash ? xstrndup(file->path, (size_t)(slash - file->path) + 1) : xstrdup(".");
	if (fsync(file->fd) < 0 || fchmod(file->fd, 0600) < 0)
		return err_set_errno(err, -errno, "cannot make '%s' durable", file->temp);
	if (rename(file->temp, file->path) < 0)
		return err_set_errno(err, -errno, "cannot rename '%s' to '%s'", file->temp, file->path);
	free(TAKE_PTR(file->temp));
	return dir_sync(dir, err);
}

void backup_file_abort(struct backup_file *file)
{
	if (!file->path)
		return;
	close(file->fd);
	if (file->temp)
		unlink(file->temp);
	free(file->temp);
	free(file->path);
	*file = (struct backup_file){ 0 };
}

int backup_write(struct backup *backup, const char *path, uint64_t *ret_bytes, struct err *err)
{
	struct backup_stream *stream = backup_stream_new(backup);
	struct backup_file file = { 0 };
	AUTO_FREE char *piece = xmalloc(PIECE);
	size_t n;
	int r = backup_file_begin(&file, path, err);
	while (r == 0 && (n = backup_stream_read(stream, piece, PIECE)))
		r = backup_file_write(&file, piece, n, err);
	if (r == 0)
		r = backup_file_end(&file, err);
	*ret_bytes = file.bytes;
	backup_file_abort(&file);
	backup_stream_free(stream);
	return r;
}

// ---- reading it

struct reader {
	const char *path;
	FILE *file;
	uint64_t at; // of the next byte
	uint64_t records;
	uint32_t checksum;
	uint8_t body[BODY_MAX];
};

static int damaged(const struct reader *rd, uint64_t at, const char *what, struct err *err)
{
	err_set(err, -EUCLEAN, "'%s' is damaged at byte %llu: %s", rd->path, (unsigned long long)at, what);
	return err_hint(err, "nothing was changed; use another copy of this backup, or another backup");
}

// what: for the error, where the file ends within it.
static int take(struct reader *rd, void *bytes, size_t n, const char *what, struct err *err)
{
	size_t got = fread(bytes, 1, n, rd->file);
	if (got < n && ferror(rd->file))
		return err_set_errno(err, -EIO, "cannot read '%s' at byte %llu", rd->path, (unsigned long long)rd->at);
	rd->at += got;
	if (got == n)
		return 0;
	err_set(err, -EUCLEAN, "'%s' is not whole: it ends at byte %llu, within %s", rd->path,
		(unsigned long long)rd->at, what);
	return err_hint(err, "nothing was changed; use another copy of this backup, or another backup");
}

static int read_header(struct reader *rd, struct backup *backup, struct err *err)
{
	uint8_t bytes[HEADER];
	const uint8_t *p = bytes + sizeof(magic);
	int r = take(rd, bytes, sizeof(magic), "its header", err);
	if (r == 0 && memcmp(bytes, magic, sizeof(magic)) != 0)
		return err_set(err, -EUCLEAN, "'%s' is not a backup of a store: it does not begin as one", rd->path);
	if (r == 0)
		r = take(rd, bytes + sizeof(magic), HEADER - sizeof(magic), "its header", err);
	if (r < 0)
		return r;
	const uint8_t *end = bytes + HEADER - 4;
	uint64_t format = get(&p, 4), size = get(&p, 4);
	if (get(&end, 4) != checksum_add(0, bytes, HEADER - 4)) {
		if (format != FORMAT && format < 100 && size != HEADER) {
			err_set(err, -EPROTO, "'%s' has format %u, this program knows %d", rd->path, (unsigned)format,
				FORMAT);
			return err_hint(err, "use the version of dialtone that wrote it, or a newer one");
		}
		return damaged(rd, 0, "its header has a wrong checksum", err);
	}
	backup->revision = get(&p, 8);
	rd->records = get(&p, 8);
	backup->created_ms = get(&p, 8);
	snprintf(backup->platform, sizeof(backup->platform), "%.39s", (const char *)p);
	snprintf(backup->epoch, sizeof(backup->epoch), "%.27s", (const char *)p + 40);
	snprintf(backup->driver, sizeof(backup->driver), "%.15s", (const char *)p + 68);
	rd->checksum = checksum_add(0, bytes, HEADER);
	return 0;
}

// NULL: what it says cannot be.
static struct record *parse_body(const uint8_t *body, size_t n, uint64_t revision)
{
	const uint8_t *p = body;
	uint64_t create = get(&p, 8), mod = get(&p, 8), version = get(&p, 8), operation = get(&p, 8);
	uint8_t index = (uint8_t)get(&p, 1);
	get(&p, 1);
	size_t key_len = get(&p, 2);
	if (!key_len || key_len > STORE_KEY_MAX || BODY_HEAD + key_len > n || memchr(p, 0, key_len) ||
	    n - BODY_HEAD - key_len > STORE_VALUE_MAX || !create || create > mod || mod > revision || !version)
		return NULL;
	struct record *r = record_new((const char *)p, key_len, p + key_len, n - BODY_HEAD - key_len);
	r->create_revision = create;
	r->mod_revision = mod;
	r->version = version;
	r->operation = operation;
	r->index = index;
	return r;
}

static int read_record(struct reader *rd, struct backup *backup, struct err *err)
{
	char what[64];
	uint8_t head[RECORD_HEAD];
	const uint8_t *p = head;
	uint64_t at = rd->at;
	snprintf(what, sizeof(what), "record %zu of %llu", backup->count + 1, (unsigned long long)rd->records);
	int r = take(rd, head, sizeof(head), what, err);
	if (r < 0)
		return r;
	size_t n = get(&p, 4);
	uint32_t checksum = (uint32_t)get(&p, 4);
	AUTO_FREE char *wrong = xasprintf("%s is not as it was written", what);
	if (n < BODY_HEAD || n > BODY_MAX)
		return damaged(rd, at, wrong, err);
	r = take(rd, rd->body, n, what, err);
	if (r < 0)
		return r;
	AUTO_RECORD struct record *record = checksum == body_checksum(backup->count, rd->body, n)
						    ? parse_body(rd->body, n, backup->revision)
						    : NULL;
	const struct record *last = backup->count ? backup->records[backup->count - 1] : NULL;
	if (!record || (last && strcmp(record_key(last), record_key(record)) >= 0))
		return damaged(rd, at, wrong, err);
	rd->checksum = checksum_add(checksum_add(rd->checksum, head, sizeof(head)), rd->body, n);
	backup->records[backup->count++] = TAKE_PTR(record);
	return 0;
}

static int read_end(struct reader *rd, struct err *err)
{
	uint8_t bytes[END];
	const uint8_t *p = bytes;
	uint64_t at = rd->at;
	int r = take(rd, bytes, sizeof(bytes), "its end", err);
	if (r < 0)
		return r;
	uint64_t zero = get(&p, 4), records = get(&p, 8);
	if (zero || records != rd->records || get(&p, 4) != rd->checksum)
		return damaged(rd, at, "the checksum over all of it is wrong", err);
	if (fgetc(rd->file) != EOF)
		return damaged(rd, rd->at, "something follows its end", err);
	return 0;
}

static int read_all(struct reader *rd, uint64_t size, struct backup *backup, struct err *err)
{
	int r = read_header(rd, backup, err);
	if (r < 0)
		return r;
	uint64_t room = rd->records * (RECORD_HEAD + BODY_HEAD + 1);
	if (rd->records > size || room > size) {
		err_set(err, -EUCLEAN, "'%s' is not whole: it ends at byte %llu and should hold %llu records", rd->path,
			(unsigned long long)size, (unsigned long long)rd->records);
		return err_hint(err, "nothing was changed; use another copy of this backup, or another backup");
	}
	backup->records = xreallocarray(NULL, rd->records ? rd->records : 1, sizeof(*backup->records));
	while (r == 0 && backup->count < rd->records)
		r = read_record(rd, backup, err);
	return r < 0 ? r : read_end(rd, err);
}

int backup_read(const char *path, struct backup *ret, struct err *err)
{
	struct stat st;
	AUTO_FREE struct reader *rd = xcalloc(1, sizeof(*rd));
	AUTO_BACKUP struct backup backup = { 0 };
	rd->path = path;
	rd->file = fopen(path, "re");
	if (!rd->file)
		return err_set_errno(err, -errno, "cannot read '%s'", path);
	int r = fstat(fileno(rd->file), &st) < 0 ? err_set_errno(err, -errno, "cannot read '%s'", path) : 0;
	if (r == 0)
		r = read_all(rd, (uint64_t)st.st_size, &backup, err);
	fclose(rd->file);
	if (r == 0) {
		*ret = backup;
		backup = (struct backup){ 0 };
	}
	return r;
}
