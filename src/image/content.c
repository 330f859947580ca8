#include "image/content.h"

#include "base/buf.h"
#include "base/str.h"
#include "image/tar.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define HEADER_MAX (128u << 20) // the manifest goes through the same buffer

// One entry of the stream after the other: its header waits in `ready`, its content is read from fd.
struct content {
	const struct artifact *a;
	struct artifact own;       // download
	const struct blobs *blobs; // download
	char *dir;                 // upload
	bool *wanted;              // by entry; NULL: all
	size_t next;
	struct buf ready;
	bool ended;
	uint64_t size;

	int fd; // -1: between files
	uint64_t left;
	struct digest *digest;
	const struct artifact_entry *at;
};

static bool takes(const struct content *c, size_t i)
{
	return !c->wanted || c->wanted[i];
}

static struct tar_entry tar_entry_of(const struct content *c, const struct artifact_entry *e, char **ret_path)
{
	*ret_path = c->dir ? xstrdup(e->digest) : xasprintf("app/%s", e->path);
	struct tar_entry t = { .path = *ret_path, .mode = 0644 };
	if (e->kind == ARTIFACT_FILE) {
		t.kind = TAR_FILE;
		t.mode = c->dir ? 0644 : e->mode;
		t.size = e->size;
	} else if (e->kind == ARTIFACT_LINK) {
		t.kind = TAR_LINK;
		t.mode = 0777;
		t.target = e->target;
	} else {
		t.kind = TAR_DIR;
		t.mode = 0755;
	}
	return t;
}

static uint64_t padded(uint64_t size)
{
	return (size + 511) / 512 * 512;
}

static void count_size(struct content *c)
{
	c->size = buf_len(&c->ready) + 1024;
	for (size_t i = 0; i < c->a->n; i++) {
		if (!takes(c, i))
			continue;
		AUTO_FREE char *path = NULL;
		struct tar_entry t = tar_entry_of(c, &c->a->entries[i], &path);
		c->size += tar_header_size(&t) + padded(t.size);
	}
}

static int compare_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool listed(const char *digest, const char *const *sorted, size_t n)
{
	return n && bsearch(&digest, sorted, n, sizeof(*sorted), compare_text);
}

struct by_digest {
	const char *digest;
	size_t at;
};

static int compare_digest(const void *a, const void *b)
{
	const struct by_digest *x = a, *y = b;
	int order = strcmp(x->digest, y->digest);
	return order ? order : (x->at > y->at) - (x->at < y->at);
}

// The first entry of each wanted digest; the same content is sent once.
static void mark_wanted(struct content *c, const char *const *sorted, size_t n)
{
	const struct artifact *a = c->a;
	c->wanted = xcalloc(a->n, sizeof(*c->wanted));
	AUTO_FREE struct by_digest *order = xcalloc(a->n, sizeof(*order));
	size_t files = 0;
	for (size_t i = 0; i < a->n; i++)
		if (a->entries[i].kind == ARTIFACT_FILE)
			order[files++] = (struct by_digest){ a->entries[i].digest, i };
	qsort(order, files, sizeof(*order), compare_digest);
	for (size_t i = 0; i < files; i++)
		if (!i || !str_eq(order[i].digest, order[i - 1].digest))
			c->wanted[order[i].at] = listed(order[i].digest, sorted, n);
}

struct content *content_upload(const struct artifact *a, const char *dir, const char *const *wanted, size_t n)
{
	struct content *c = xcalloc(1, sizeof(*c));
	c->a = a;
	c->dir = xstrdup(dir);
	c->fd = -1;
	c->ready = BUF_INIT(HEADER_MAX);
	AUTO_FREE const char **sorted = xcalloc(n, sizeof(*sorted));
	for (size_t i = 0; i < n; i++)
		sorted[i] = wanted[i];
	if (n)
		qsort(sorted, n, sizeof(*sorted), compare_text);
	mark_wanted(c, sorted, n);
	count_size(c);
	return c;
}

static void leave_out(struct content *c, const struct artifact *base)
{
	AUTO_FREE const char **sorted = xcalloc(base->n + 1, sizeof(*sorted));
	size_t n = 0;
	for (size_t i = 0; i < base->n; i++)
		if (base->entries[i].kind == ARTIFACT_FILE)
			sorted[n++] = base->entries[i].digest;
	qsort(sorted, n, sizeof(*sorted), compare_text);
	c->wanted = xcalloc(c->a->n + 1, sizeof(*c->wanted));
	for (size_t i = 0; i < c->a->n; i++) {
		const struct artifact_entry *e = &c->a->entries[i];
		c->wanted[i] = e->kind != ARTIFACT_FILE || !listed(e->digest, sorted, n);
	}
}

struct content *content_download(struct artifact *a, const struct blobs *b, const struct artifact *base)
{
	struct content *c = xcalloc(1, sizeof(*c));
	c->own = *a;
	*a = (struct artifact){ 0 };
	c->a = &c->own;
	c->blobs = b;
	c->fd = -1;
	c->ready = BUF_INIT(HEADER_MAX);
	struct tar_entry manifest = { .kind = TAR_FILE, .path = "manifest", .mode = 0644, .size = c->own.text_len };
	tar_write_header(&c->ready, &manifest);
	buf_add(&c->ready, c->own.text, c->own.text_len);
	tar_write_padding(&c->ready, c->own.text_len);
	if (base)
		leave_out(c, base);
	count_size(c);
	return c;
}

uint64_t content_size(const struct content *c)
{
	return c->size;
}

static int open_source(struct content *c, const struct artifact_entry *e, struct err *err)
{
	uint64_t size;
	int r = 0;
	if (c->blobs) {
		r = blobs_open_file(c->blobs, e->digest, &c->fd, &size, err);
		if (r < 0)
			return err_wrap(err, "'%s'", e->path);
	} else {
		AUTO_FREE char *path = xasprintf("%s/%s", c->dir, e->path);
		c->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		if (c->fd < 0)
			return err_set_errno(err, -errno, "cannot read '%s'", path);
	}
	c->left = e->size;
	c->digest = digest_new();
	c->at = e;
	return 0;
}

static int begin_next(struct content *c, struct err *err)
{
	while (c->next < c->a->n && !takes(c, c->next))
		c->next++;
	if (c->next == c->a->n) {
		c->ended = true;
		return tar_write_end(&c->ready);
	}
	const struct artifact_entry *e = &c->a->entries[c->next++];
	AUTO_FREE char *path = NULL;
	struct tar_entry t = tar_entry_of(c, e, &path);
	int r = tar_write_header(&c->ready, &t);
	return r == 0 && e->kind == ARTIFACT_FILE ? open_source(c, e, err) : r;
}

static int changed(const struct content *c, struct err *err)
{
	const char *why = c->blobs ? "is corrupted in the store" : "changed while it was sent";
	return err_set(err, -EBADMSG, "'%s' %s: not the content of %s", c->at->path, why, c->at->digest);
}

static int end_source(struct content *c, struct err *err)
{
	char more, have[DIGEST_SIZE];
	bool longer = read(c->fd, &more, 1) > 0;
	digest_finish(TAKE_PTR(c->digest), have);
	close(TAKE_FD(c->fd));
	if (longer || !str_eq(have, c->at->digest))
		return changed(c, err);
	return tar_write_padding(&c->ready, c->at->size);
}

static ssize_t read_source(struct content *c, void *bytes, size_t size, struct err *err)
{
	if (size > c->left)
		size = (size_t)c->left;
	ssize_t n;
	do {
		n = read(c->fd, bytes, size);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_set_errno(err, -errno, "cannot read '%s'", c->at->path);
	if (n == 0)
		return changed(c, err);
	digest_add(c->digest, bytes, (size_t)n);
	c->left -= (uint64_t)n;
	return n;
}

ssize_t content_read(struct content *c, void *bytes, size_t size, struct err *err)
{
	for (;;) {
		size_t waiting = buf_len(&c->ready);
		if (waiting) {
			size_t n = waiting < size ? waiting : size;
			memcpy(bytes, buf_data(&c->ready), n);
			buf_consume(&c->ready, n);
			return (ssize_t)n;
		}
		if (c->fd >= 0 && c->left)
			return read_source(c, bytes, size, err);
		if (c->fd < 0 && c->ended)
			return 0;
		int r = c->fd >= 0 ? end_source(c, err) : begin_next(c, err);
		if (r < 0)
			return r;
	}
}

void content_free(struct content *c)
{
	if (!c)
		return;
	if (c->fd >= 0)
		close(c->fd);
	digest_abort(c->digest);
	artifact_clear(&c->own);
	buf_clear(&c->ready);
	free(c->dir);
	free(c->wanted);
	free(c);
}
