#include "image/tar.h"

#include "base/str.h"

#include <assert.h>
#include <errno.h>

#define BLOCK 512
#define EXTRA_MAX (64u << 10) // of one pax header or GNU long name

// POSIX.1-2017, pax, "ustar Interchange Format".
struct ustar {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, target[100], magic[6], version[2];
	char uname[32], gname[32], major[8], minor[8], prefix[155], pad[12];
};
static_assert(sizeof(struct ustar) == BLOCK, "a header is one block");

enum tar_state { TAR_HEADER, TAR_EXTRA, TAR_CONTENT, TAR_PADDING, TAR_OVER };

struct tar_reader {
	struct tar_sink sink;
	enum tar_state state;
	struct ustar header;
	size_t have;   // bytes of header
	uint64_t left; // of content, padding or extra
	uint64_t padding;
	unsigned zero_blocks;
	uint64_t entries, bytes;
	char extra_type; // 'x', 'g', 'L', 'K'
	struct buf extra;
	char *path, *target; // from extras, for the next entry
	bool has_size;
	uint64_t size;
};

struct tar_reader *tar_reader_new(const struct tar_sink *sink)
{
	struct tar_reader *t = xcalloc(1, sizeof(*t));
	t->sink = *sink;
	t->extra = BUF_INIT(EXTRA_MAX);
	return t;
}

static void forget_extras(struct tar_reader *t)
{
	free(t->path);
	free(t->target);
	t->path = t->target = NULL;
	t->has_size = false;
}

void tar_reader_free(struct tar_reader *t)
{
	if (!t)
		return;
	forget_extras(t);
	buf_clear(&t->extra);
	free(t);
}

static int bad(struct err *err, const char *what)
{
	return err_set(err, -EBADMSG, "tar: %s", what);
}

// Octal digits, ended by a blank or NUL; or GNU's big-endian binary form.
static int parse_number(const char *field, size_t n, uint64_t *ret)
{
	uint64_t value = 0;
	const unsigned char *f = (const unsigned char *)field;
	if (f[0] & 0x80) {
		for (size_t i = 0; i < n; i++) {
			unsigned c = i ? f[i] : f[i] & 0x7f;
			if (value >> 55)
				return -ERANGE;
			value = value << 8 | c;
		}
		*ret = value;
		return 0;
	}
	size_t i = 0;
	while (i < n && f[i] == ' ')
		i++;
	for (; i < n && f[i] >= '0' && f[i] <= '7'; i++)
		value = value << 3 | (f[i] - '0');
	if (i < n && f[i] != ' ' && f[i] != '\0')
		return -EINVAL;
	*ret = value;
	return 0;
}

static unsigned header_sum(const struct ustar *h)
{
	const unsigned char *bytes = (const unsigned char *)h;
	unsigned sum = 0;
	for (size_t i = 0; i < BLOCK; i++) {
		bool in_sum = i >= offsetof(struct ustar, sum) && i < offsetof(struct ustar, type);
		sum += in_sum ? ' ' : bytes[i];
	}
	return sum;
}

static bool all_zero(const struct ustar *h)
{
	const char *bytes = (const char *)h;
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, BLOCK - 1) == 0;
}

static char *header_path(const struct ustar *h)
{
	AUTO_FREE char *name = xstrndup(h->name, sizeof(h->name));
	bool has_prefix = memcmp(h->magic, "ustar", 6) == 0 && h->prefix[0];
	if (!has_prefix)
		return TAKE_PTR(name);
	return xasprintf("%.*s/%s", (int)sizeof(h->prefix), h->prefix, name);
}

static int entry_kind(char type, const char *path, enum tar_kind *ret, struct err *err)
{
	switch (type) {
	case '0':
	case '\0':
		*ret = TAR_FILE;
		return 0;
	case '1':
		*ret = TAR_HARD_LINK;
		return 0;
	case '2':
		*ret = TAR_LINK;
		return 0;
	case '5':
		*ret = TAR_DIR;
		return 0;
	case '3':
	case '4':
		return err_set(err, -EBADMSG, "tar: '%s' is a device", path);
	case '6':
		return err_set(err, -EBADMSG, "tar: '%s' is a FIFO", path);
	default:
		return err_set(err, -EBADMSG, "tar: '%s' is of a kind that is not taken (%d)", path, type);
	}
}

static int count_entry(struct tar_reader *t, const struct tar_entry *e, struct err *err)
{
	t->entries++;
	if (t->sink.max_entries && t->entries > t->sink.max_entries)
		return err_set(err, -E2BIG, "tar: more than %llu entries", (unsigned long long)t->sink.max_entries);
	if (t->sink.max_bytes && e->size > t->sink.max_bytes - t->bytes)
		return err_set(err, -E2BIG, "tar: '%s' is too much: more than %llu bytes in all", e->path,
			       (unsigned long long)t->sink.max_bytes);
	t->bytes += e->size;
	return 0;
}

static int begin_entry(struct tar_reader *t, uint64_t size, struct err *err)
{
	AUTO_FREE char *path = t->path ? TAKE_PTR(t->path) : header_path(&t->header);
	AUTO_FREE char *target = t->target ? TAKE_PTR(t->target) : xstrndup(t->header.target, sizeof(t->header.target));
	struct tar_entry e = { .path = path };
	int r = entry_kind(t->header.type, path, &e.kind, err);
	if (r < 0)
		return r;
	if (e.kind == TAR_FILE)
		e.size = t->has_size ? t->size : size;
	else if (size || (t->has_size && t->size))
		return err_set(err, -EBADMSG, "tar: '%s' is no file but has content", path);
	size_t n = strlen(path);
	if (e.kind == TAR_DIR && n > 1 && path[n - 1] == '/')
		path[n - 1] = '\0';
	if (e.kind == TAR_LINK || e.kind == TAR_HARD_LINK)
		e.target = target;
	uint64_t mode;
	if (parse_number(t->header.mode, sizeof(t->header.mode), &mode) < 0)
		return err_set(err, -EBADMSG, "tar: '%s': malformed mode", path);
	e.mode = (unsigned)(mode & 07777);
	forget_extras(t);

	r = count_entry(t, &e, err);
	if (r == 0)
		r = t->sink.begin(t->sink.arg, &e, err);
	if (r < 0)
		return r;
	t->left = e.size;
	t->padding = (BLOCK - e.size % BLOCK) % BLOCK;
	t->state = TAR_CONTENT;
	return 0;
}

static int begin_extra(struct tar_reader *t, uint64_t size, struct err *err)
{
	if (size > EXTRA_MAX)
		return bad(err, "a header record longer than 64 KiB");
	buf_reset(&t->extra);
	t->extra_type = t->header.type;
	t->left = size;
	t->padding = (BLOCK - size % BLOCK) % BLOCK;
	t->state = TAR_EXTRA;
	return 0;
}

static int read_header(struct tar_reader *t, struct err *err)
{
	struct ustar *h = &t->header;
	if (all_zero(h)) {
		if (++t->zero_blocks == 2)
			t->state = TAR_OVER;
		return 0;
	}
	if (t->zero_blocks)
		return bad(err, "an entry behind the end mark");
	uint64_t sum, size;
	if (memcmp(h->magic, "ustar", 5) != 0)
		return bad(err, "not a tar stream (ustar)");
	if (parse_number(h->sum, sizeof(h->sum), &sum) < 0 || sum != header_sum(h))
		return bad(err, "a header's sum does not match; the stream is corrupted");
	if (parse_number(h->size, sizeof(h->size), &size) < 0)
		return bad(err, "malformed size");
	bool extra = h->type == 'x' || h->type == 'g' || h->type == 'L' || h->type == 'K';
	return extra ? begin_extra(t, size, err) : begin_entry(t, size, err);
}

static int pax_record(struct tar_reader *t, const char *key, const char *value, size_t n, struct err *err)
{
	if (str_eq(key, "path") || str_eq(key, "linkpath")) {
		if (memchr(value, '\0', n))
			return bad(err, "NUL byte in a path");
		char **to = str_eq(key, "path") ? &t->path : &t->target;
		free(*to);
		*to = xstrndup(value, n);
	} else if (str_eq(key, "size")) {
		AUTO_FREE char *digits = xstrndup(value, n);
		if (parse_u64(digits, UINT64_MAX >> 1, &t->size) < 0)
			return bad(err, "malformed size");
		t->has_size = true;
	} else if (str_starts(key, "GNU.sparse")) {
		return bad(err, "sparse files are not taken");
	}
	return 0;
}

// "LENGTH KEY=VALUE\n", LENGTH counting itself.
static int read_pax(struct tar_reader *t, struct err *err)
{
	const char *at = buf_str(&t->extra), *end = at + buf_len(&t->extra);
	while (at < end) {
		uint64_t length = 0;
		const char *p = at;
		for (; p < end && *p >= '0' && *p <= '9' && length <= EXTRA_MAX; p++)
			length = length * 10 + (uint64_t)(*p - '0');
		if (p == end || p == at || *p != ' ' || length > (uint64_t)(end - at) || length < 5 ||
		    at[length - 1] != '\n')
			return bad(err, "malformed pax header");
		const char *stop = at + length - 1;
		const char *equals = p + 1 < stop ? memchr(p + 1, '=', (size_t)(stop - p - 1)) : NULL;
		if (!equals)
			return bad(err, "malformed pax header");
		AUTO_FREE char *key = xstrndup(p + 1, (size_t)(equals - p - 1));
		int r = pax_record(t, key, equals + 1, (size_t)(stop - equals - 1), err);
		if (r < 0)
			return r;
		at += length;
	}
	return 0;
}

static int end_extra(struct tar_reader *t, struct err *err)
{
	t->state = TAR_PADDING;
	if (t->extra_type == 'g')
		return 0; // defaults for all entries: nothing of it concerns us
	if (t->extra_type == 'x')
		return read_pax(t, err);
	char **to = t->extra_type == 'L' ? &t->path : &t->target;
	free(*to);
	*to = xstrdup(buf_str(&t->extra));
	return 0;
}

static int take_content(struct tar_reader *t, const char *bytes, size_t n, struct err *err)
{
	if (t->state == TAR_EXTRA)
		return buf_add(&t->extra, bytes, n);
	return t->state == TAR_CONTENT && n ? t->sink.data(t->sink.arg, bytes, n, err) : 0;
}

static int end_content(struct tar_reader *t, struct err *err)
{
	int r = 0;
	if (t->state == TAR_EXTRA) {
		r = end_extra(t, err);
	} else if (t->state == TAR_CONTENT) {
		r = t->sink.end ? t->sink.end(t->sink.arg, err) : 0;
		t->state = TAR_PADDING;
	} else {
		t->state = TAR_HEADER;
		return 0;
	}
	t->left = t->padding;
	if (r == 0 && !t->left)
		t->state = TAR_HEADER;
	return r;
}

int tar_reader_push(struct tar_reader *t, const void *data, size_t n, struct err *err)
{
	const char *bytes = data;
	int r = 0;
	while (n && r == 0 && t->state != TAR_OVER) {
		size_t take = n;
		if (t->state == TAR_HEADER) {
			take = take < BLOCK - t->have ? take : BLOCK - t->have;
			memcpy((char *)&t->header + t->have, bytes, take);
			t->have += take;
			if (t->have == BLOCK) {
				t->have = 0;
				r = read_header(t, err);
			}
		} else {
			take = take < t->left ? take : (size_t)t->left;
			r = take_content(t, bytes, take, err);
			t->left -= take;
		}
		bytes += take;
		n -= take;
		while (r == 0 && t->state != TAR_HEADER && t->state != TAR_OVER && !t->left)
			r = end_content(t, err);
	}
	return r;
}

int tar_reader_finish(struct tar_reader *t, struct err *err)
{
	return t->state == TAR_OVER ? 0 : bad(err, "the stream is cut");
}

static void octal(char *field, size_t n, uint64_t value)
{
	field[n - 1] = '\0';
	for (size_t i = n - 1; i-- > 0; value >>= 3)
		field[i] = (char)('0' + (value & 7));
}

static void fill_header(struct ustar *h, char type, const char *path, const char *target, unsigned mode, uint64_t size)
{
	*h = (struct ustar){ .type = type, .magic = "ustar", .version = { '0', '0' } };
	memcpy(h->name, path, strnlen(path, sizeof(h->name)));
	if (target)
		memcpy(h->target, target, strnlen(target, sizeof(h->target)));
	octal(h->mode, sizeof(h->mode), mode);
	octal(h->uid, sizeof(h->uid), 0);
	octal(h->gid, sizeof(h->gid), 0);
	octal(h->size, sizeof(h->size), size);
	octal(h->mtime, sizeof(h->mtime), 0);
	snprintf(h->sum, sizeof(h->sum), "%06o", header_sum(h));
	h->sum[7] = ' ';
}

static void add_pax(struct buf *records, const char *key, const char *value)
{
	// The length counts its own digits: lengthen until it is right.
	size_t rest = strlen(key) + strlen(value) + 3, n = rest + 1;
	for (size_t digits = 1; digits < 20; digits++) {
		char text[24];
		n = rest + digits;
		if ((size_t)snprintf(text, sizeof(text), "%zu", n) == digits)
			break;
	}
	buf_addf(records, "%zu %s=%s\n", n, key, value);
}

static void pax_records(const struct tar_entry *e, const char *path, struct buf *records)
{
	if (strlen(path) > sizeof(((struct ustar *)0)->name))
		add_pax(records, "path", path);
	if (e->target && strlen(e->target) > sizeof(((struct ustar *)0)->target))
		add_pax(records, "linkpath", e->target);
	if (e->size >> 33) {
		char digits[24];
		snprintf(digits, sizeof(digits), "%llu", (unsigned long long)e->size);
		add_pax(records, "size", digits);
	}
}

int tar_write_padding(struct buf *out, uint64_t size)
{
	static const char zeros[BLOCK];
	return buf_add(out, zeros, (BLOCK - size % BLOCK) % BLOCK);
}

int tar_write_header(struct buf *out, const struct tar_entry *e)
{
	static const char types[] = { [TAR_FILE] = '0', [TAR_DIR] = '5', [TAR_LINK] = '2', [TAR_HARD_LINK] = '1' };
	AUTO_FREE char *path = e->kind == TAR_DIR ? xasprintf("%s/", e->path) : xstrdup(e->path);
	AUTO_BUF struct buf records = BUF_INIT(EXTRA_MAX);
	pax_records(e, path, &records);

	struct ustar h;
	int r = 0;
	if (buf_len(&records)) {
		fill_header(&h, 'x', "pax", NULL, 0644, buf_len(&records));
		r = buf_add(out, &h, BLOCK);
		if (r == 0)
			r = buf_add(out, buf_data(&records), buf_len(&records));
		if (r == 0)
			r = tar_write_padding(out, buf_len(&records));
	}
	fill_header(&h, types[e->kind], path, e->target, e->mode, e->size >> 33 ? 0 : e->size);
	return r == 0 ? buf_add(out, &h, BLOCK) : r;
}

uint64_t tar_header_size(const struct tar_entry *e)
{
	AUTO_FREE char *path = e->kind == TAR_DIR ? xasprintf("%s/", e->path) : xstrdup(e->path);
	AUTO_BUF struct buf records = BUF_INIT(EXTRA_MAX);
	pax_records(e, path, &records);
	uint64_t n = buf_len(&records);
	return BLOCK + (n ? BLOCK + n + (BLOCK - n % BLOCK) % BLOCK : 0);
}

int tar_write_end(struct buf *out)
{
	static const char zeros[2 * BLOCK];
	return buf_add(out, zeros, sizeof(zeros));
}
