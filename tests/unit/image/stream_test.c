// Tar streams, the blob store, and artifacts on their way through both.
#include "tree.h"

#include "image/content.h"
#include "image/tar.h"

#include <errno.h>

// --- tar
// -----------------------------------------------------------------------------------------------------------------

struct seen {
	struct buf log;
};

static int seen_begin(void *arg, const struct tar_entry *e, struct err *err)
{
	(void)err;
	struct seen *s = arg;
	buf_addf(&s->log, "%d %s %s %o %llu:", e->kind, e->path, e->target ? e->target : "-", e->mode,
		 (unsigned long long)e->size);
	return 0;
}

static int seen_data(void *arg, const void *bytes, size_t n, struct err *err)
{
	(void)err;
	struct seen *s = arg;
	buf_add(&s->log, bytes, n);
	return 0;
}

static int seen_end(void *arg, struct err *err)
{
	(void)err;
	struct seen *s = arg;
	buf_add_str(&s->log, "\n");
	return 0;
}

// Feeds the stream in pieces; returns the log, or NULL with err set.
static char *read_tar(const void *bytes, size_t n, size_t piece, uint64_t max_bytes, struct err *err)
{
	struct seen s = { .log = BUF_INIT(1 << 20) };
	struct tar_sink sink = { seen_begin, seen_data, seen_end, &s, 1000, max_bytes };
	struct tar_reader *t = tar_reader_new(&sink);
	int r = 0;
	for (size_t at = 0; at < n && r == 0; at += piece)
		r = tar_reader_push(t, (const char *)bytes + at, n - at < piece ? n - at : piece, err);
	if (r == 0)
		r = tar_reader_finish(t, err);
	tar_reader_free(t);
	char *log = buf_take(&s.log);
	if (r == 0)
		return log;
	free(log);
	return NULL;
}

static void tar_round_trip(void **state)
{
	(void)state;
	char deep[400];
	memset(deep, 'd', sizeof(deep) - 1);
	deep[200] = '/';
	deep[sizeof(deep) - 1] = '\0';
	struct tar_entry entries[] = {
		{ TAR_FILE, "a", NULL, 0644, 3 },     { TAR_DIR, "dir", NULL, 0755, 0 },
		{ TAR_LINK, "l", deep, 0777, 0 },     { TAR_FILE, deep, NULL, 0755, 600 },
		{ TAR_FILE, "empty", NULL, 0644, 0 },
	};
	char content[600];
	memset(content, 'c', sizeof(content));
	AUTO_BUF struct buf out = BUF_INIT(1 << 20);
	AUTO_BUF struct buf want = BUF_INIT(1 << 20);
	for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
		struct tar_entry *e = &entries[i];
		size_t before = buf_len(&out);
		assert_int_equal(tar_write_header(&out, e), 0);
		assert_int_equal(buf_len(&out) - before, tar_header_size(e));
		buf_add(&out, content, e->size);
		tar_write_padding(&out, e->size);
		buf_addf(&want, "%d %s %s %o %llu:%.*s\n", e->kind, e->path, e->target ? e->target : "-", e->mode,
			 (unsigned long long)e->size, (int)e->size, content);
	}
	tar_write_end(&out);
	static const size_t pieces[] = { 1, 7, 511, 512, 513, 100000 };
	for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
		struct err err = { 0 };
		AUTO_FREE char *log = read_tar(buf_data(&out), buf_len(&out), pieces[i], 0, &err);
		assert_non_null(log);
		assert_string_equal(log, buf_str(&want));
	}
	for (size_t cut = 0; cut < buf_len(&out) - 1; cut += 97) {
		struct err err = { 0 };
		assert_null(read_tar(buf_data(&out), cut, 4096, 0, &err));
	}
}

static char *tar_of(const struct tar_entry *e, char type, size_t *ret_n)
{
	struct buf out = BUF_INIT(1 << 20);
	tar_write_header(&out, e);
	if (type) {
		char *h = buf_data(&out) + buf_len(&out) - 512;
		unsigned sum = 0;
		h[156] = type;
		memset(h + 148, ' ', 8);
		for (int i = 0; i < 512; i++)
			sum += (unsigned char)h[i];
		snprintf(h + 148, 8, "%06o", sum);
	}
	tar_write_end(&out);
	*ret_n = buf_len(&out);
	return buf_take(&out);
}

static void tar_refuses(void **state)
{
	(void)state;
	static const struct {
		char type;
		const char *says;
	} kinds[] = {
		{ '3', "'x' is a device" }, { '4', "'x' is a device" }, { '6', "'x' is a FIFO" }, { 'S', "of a kind" }
	};
	struct tar_entry e = { TAR_FILE, "x", NULL, 0644, 0 };
	size_t n;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		AUTO_FREE char *bytes = tar_of(&e, kinds[i].type, &n);
		struct err err = { 0 };
		assert_null(read_tar(bytes, n, 512, 0, &err));
		assert_says(&err, kinds[i].says);
	}
	struct err err = { 0 };
	AUTO_FREE char *changed = tar_of(&e, 0, &n);
	changed[0] ^= 1;
	assert_null(read_tar(changed, n, 512, 0, &err));
	assert_says(&err, "sum");
	e.size = 4000;
	AUTO_FREE char *large = tar_of(&e, 0, &n);
	assert_null(read_tar(large, n, 512, 3999, &err));
	assert_int_equal(err.code, -E2BIG);
	assert_says(&err, "'x' is too much");
}

// --- blobs and content
// -----------------------------------------------------------------------------------------------------

struct place {
	char *dir, *app, *store, *out;
	struct blobs *blobs;
	struct artifact a;
};

static void place_open(struct place *p)
{
	struct err err = { 0 };
	*p = (struct place){ .dir = tree_new() };
	p->app = tree_at(p->dir, "app");
	p->store = tree_at(p->dir, "store");
	p->out = tree_at(p->dir, "out");
	tree_file(p->dir, "app/index.js", "console.log(1)\n", 0644);
	tree_file(p->dir, "app/bin/run", "#!/bin/sh\n", 0755);
	tree_file(p->dir, "app/copy", "console.log(1)\n", 0644);
	tree_file(p->dir, "app/empty", "", 0644);
	tree_dir(p->dir, "app/folder");
	tree_link(p->dir, "app/link", "bin/run");
	AUTO_FREE char *big = xmalloc((1 << 20) + 1);
	memset(big, 'x', 1 << 20);
	big[1 << 20] = '\0';
	tree_file(p->dir, "app/big", big, 0644);
	assert_int_equal(artifact_pack(p->app, NULL, &p->a, &err), 0);
	assert_int_equal(blobs_open(p->store, &p->blobs, &err), 0);
}

static void place_close(struct place *p)
{
	blobs_close(p->blobs);
	artifact_clear(&p->a);
	free(p->app);
	free(p->store);
	free(p->out);
	cleanup_tree(&p->dir);
}

static char *read_stream(struct content *c, size_t piece, size_t *ret_n, struct err *err)
{
	struct buf all = BUF_INIT(16 << 20);
	AUTO_FREE char *bytes = xmalloc(piece);
	uint64_t size = content_size(c);
	ssize_t n;
	while ((n = content_read(c, bytes, piece, err)) > 0)
		buf_add(&all, bytes, (size_t)n);
	content_free(c);
	if (n == 0)
		assert_int_equal(buf_len(&all), size);
	*ret_n = buf_len(&all);
	char *stream = buf_take(&all);
	if (n == 0)
		return stream;
	free(stream);
	return NULL;
}

static char *upload_stream(struct place *p, size_t *ret_n, struct err *err)
{
	const char *wanted[16];
	size_t n = 0;
	for (size_t i = 0; i < p->a.n; i++)
		if (p->a.entries[i].kind == ARTIFACT_FILE)
			wanted[n++] = p->a.entries[i].digest;
	return read_stream(content_upload(&p->a, p->app, wanted, n), 1000, ret_n, err);
}

static int receive(struct place *p, const char *bytes, size_t n, size_t *ret_stored, struct err *err)
{
	struct blob_receiver *r = blob_receiver_new(p->blobs, 64 << 20);
	int code = 0;
	for (size_t at = 0; at < n && code == 0; at += 700)
		code = blob_receiver_push(r, bytes + at, n - at < 700 ? n - at : 700, err);
	if (code == 0)
		code = blob_receiver_finish(r, ret_stored, err);
	blob_receiver_free(r);
	return code;
}

static void upload_new(struct place *p, size_t count)
{
	struct err err = { 0 };
	size_t n, stored = 0;
	AUTO_FREE char *stream = upload_stream(p, &n, &err);
	assert_non_null(stream);
	assert_int_equal(receive(p, stream, n, &stored, &err), 0);
	assert_int_equal(stored, count);
	char **missing = NULL;
	size_t n_missing = 0;
	assert_int_equal(
		blobs_put_artifact(p->blobs, p->a.digest, p->a.text, p->a.text_len, &missing, &n_missing, &err), 0);
}

static void upload(struct place *p)
{
	upload_new(p, 4); // the copy is sent once
}

// Of p->a, without the files of base, which is unpacked already and in the store (NULL: all). *ret_n: bytes of the
// stream.
static int download_over(struct place *p, const char *base, size_t *ret_n, struct err *err)
{
	AUTO_ARTIFACT struct artifact a = { 0 }, has = { 0 };
	int r = blobs_get_artifact(p->blobs, p->a.digest, &a, err);
	if (r == 0 && base)
		r = blobs_get_artifact(p->blobs, base, &has, err);
	if (r < 0)
		return r;
	AUTO_FREE char *stream = read_stream(content_download(&a, p->blobs, base ? &has : NULL), 777, ret_n, err);
	if (!stream)
		return err->code;
	struct unpacker *u = NULL;
	assert_int_equal(unpacker_new(p->out, p->a.digest, &u, err), 0);
	if (base)
		r = unpacker_base(u, base, err);
	for (size_t at = 0; at < *ret_n && r == 0; at += 333)
		r = unpacker_push(u, stream + at, *ret_n - at < 333 ? *ret_n - at : 333, err);
	if (r == 0)
		r = unpacker_finish(u, err);
	unpacker_free(u);
	return r;
}

static int download(struct place *p, struct err *err)
{
	size_t n;
	return download_over(p, NULL, &n, err);
}

static void push_and_unpack(void **state)
{
	(void)state;
	struct place p;
	place_open(&p);
	upload(&p);
	struct err err = { 0 };
	mode_t before = umask(0077);
	if (download(&p, &err) < 0)
		fail_msg("%s", err.text);
	umask(before);
	assert_true(unpacked_ready(p.out, p.a.digest));
	assert_int_equal(unpacked_verify(p.out, p.a.digest, &err), 0);
	AUTO_FREE char *path = unpacked_path(p.out, p.a.digest);
	AUTO_FREE char *text = tree_text(path, "root/app/link");
	assert_string_equal(text, "#!/bin/sh\n");
	struct stat st;
	static const struct {
		const char *name;
		mode_t mode;
	} modes[] = { { "", 0755 },
		      { "root", 0755 },
		      { "root/app", 0755 },
		      { "root/app/bin", 0755 },
		      { "root/app/bin/run", 0755 },
		      { "root/app/index.js", 0644 },
		      { "root/app/folder", 0755 } };
	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		AUTO_FREE char *at = tree_at(path, modes[i].name);
		assert_int_equal(stat(at, &st), 0);
		assert_int_equal(st.st_mode & 07777, modes[i].mode);
	}
	assert_int_equal(download(&p, &err), 0); // a second time: the same
	tree_file(path, "root/app/index.js", "console.log(2)\n", 0644);
	assert_int_equal(unpacked_verify(p.out, p.a.digest, &err), -EBADMSG);
	assert_says(&err, "app/index.js' is corrupted");
	place_close(&p);
}

static void missing_blobs_are_named(void **state)
{
	(void)state;
	struct place p;
	place_open(&p);
	struct err err = { 0 };
	char **missing = NULL;
	size_t n = 0;
	assert_int_equal(blobs_put_artifact(p.blobs, p.a.digest, p.a.text, p.a.text_len, &missing, &n, &err), -ENOENT);
	assert_int_equal(n, 5);
	assert_true(digest_valid(missing[0]));
	for (size_t i = 0; i < n; i++)
		free(missing[i]);
	free(missing);
	const char *digests[] = { p.a.entries[0].digest, "nonsense" };
	size_t which[2];
	assert_int_equal(blobs_missing(p.blobs, digests, 2, which), 2);
	place_close(&p);
}

static void wrong_sizes_are_refused(void **state)
{
	(void)state;
	struct place p;
	place_open(&p);
	struct err err = { 0 };
	char of_file[DIGEST_SIZE], of_text[DIGEST_SIZE], text[256];
	char **missing = NULL;
	size_t n = 0;
	digest_of("abc", 3, of_file);
	AUTO_FREE char *name = xasprintf("store/files/sha256-%s", of_file + 7);
	tree_file(p.dir, name, "abc", 0600);
	snprintf(text, sizeof(text), "F 644 %s 4 a\n", of_file);
	digest_of(text, strlen(text), of_text);
	assert_int_equal(blobs_put_artifact(p.blobs, of_text, text, strlen(text), &missing, &n, &err), -EBADMSG);
	assert_says(&err, "'a' has 3 bytes, not 4");
	place_close(&p);
}

static void wrong_content_is_refused(void **state)
{
	(void)state;
	struct place p;
	place_open(&p);
	struct err err = { 0 };
	size_t n, stored = 0;
	AUTO_FREE char *stream = upload_stream(&p, &n, &err);
	char *at = memmem(stream, n, "console.log(1)", 14);
	at[12] = '2';
	assert_int_equal(receive(&p, stream, n, &stored, &err), -EBADMSG);
	assert_says(&err, "what was sent as sha256:");
	for (size_t i = 0; i < p.a.n; i++)
		assert_false(blobs_has(p.blobs, p.a.entries[i].digest)); // all or nothing
	struct tar_entry e = { TAR_FILE, "../../etc/passwd", NULL, 0644, 0 };
	AUTO_FREE char *evil = tar_of(&e, 0, &n);
	assert_int_equal(receive(&p, evil, n, &stored, &err), -EBADMSG);
	assert_says(&err, "'../../etc/passwd' is not a file named by its digest");
	place_close(&p);
}

// A first artifact, unpacked, and a second one in the store that differs in one file and in a mode.
static void two_places(struct place *p, char ret_first[DIGEST_SIZE])
{
	place_open(p);
	upload(p);
	struct err err = { 0 };
	assert_int_equal(download(p, &err), 0);
	memcpy(ret_first, p->a.digest, DIGEST_SIZE);
	tree_file(p->dir, "app/index.js", "console.log(2)\n", 0644);
	AUTO_FREE char *copy = tree_at(p->dir, "app/copy");
	assert_int_equal(chmod(copy, 0755), 0);
	artifact_clear(&p->a);
	assert_int_equal(artifact_pack(p->app, NULL, &p->a, &err), 0);
	upload_new(p, 1);
}

static struct stat stat_of(const struct place *p, const char *digest, const char *name)
{
	AUTO_FREE char *path = unpacked_path(p->out, digest);
	AUTO_FREE char *at = tree_at(path, name);
	struct stat st;
	if (stat(at, &st) < 0)
		fail_msg("%s: %m", at);
	return st;
}

static void what_is_there_is_not_fetched_again(void **state)
{
	(void)state;
	struct place p;
	char first[DIGEST_SIZE];
	two_places(&p, first);
	struct err err = { 0 };
	size_t n;
	if (download_over(&p, first, &n, &err) < 0)
		fail_msg("%s", err.text);
	assert_true(n < 20000); // without the file of a megabyte
	assert_int_equal(unpacked_verify(p.out, p.a.digest, &err), 0);
	assert_int_equal(unpacked_verify(p.out, first, &err), 0);
	assert_int_equal(stat_of(&p, first, "root/app/big").st_ino, stat_of(&p, p.a.digest, "root/app/big").st_ino);
	struct stat copy = stat_of(&p, p.a.digest, "root/app/copy");
	assert_int_equal(copy.st_mode & 07777, 0755);
	assert_int_not_equal(copy.st_ino, stat_of(&p, first, "root/app/copy").st_ino);
	assert_int_equal(stat_of(&p, first, "root/app/copy").st_mode & 07777, 0644);
	place_close(&p);
}

// Damage of what is there does not spread: the new one is refused, to be fetched whole.
static void damage_does_not_spread(void **state)
{
	(void)state;
	static const char *const damaged[] = { "root/app/big", "manifest" };
	for (size_t i = 0; i < ARRAY_LEN(damaged); i++) {
		struct place p;
		char first[DIGEST_SIZE];
		two_places(&p, first);
		AUTO_FREE char *path = unpacked_path(p.out, first);
		tree_file(path, damaged[i], "bad", 0644);
		struct err err = { 0 };
		size_t n;
		assert_int_equal(download_over(&p, first, &n, &err), -EBADMSG);
		assert_false(unpacked_ready(p.out, p.a.digest));
		assert_int_equal(download(&p, &err), 0);
		assert_int_equal(unpacked_verify(p.out, p.a.digest, &err), 0);
		place_close(&p);
	}
}

// A stream that leaves out what the base does not have is refused.
static void left_out_too_much(void **state)
{
	(void)state;
	struct place p;
	char first[DIGEST_SIZE];
	two_places(&p, first);
	AUTO_ARTIFACT struct artifact a = { 0 }, same = { 0 };
	struct err err = { 0 };
	assert_int_equal(blobs_get_artifact(p.blobs, p.a.digest, &a, &err), 0);
	assert_int_equal(blobs_get_artifact(p.blobs, p.a.digest, &same, &err), 0);
	size_t n;
	AUTO_FREE char *stream = read_stream(content_download(&a, p.blobs, &same), 777, &n, &err);
	struct unpacker *u = NULL;
	assert_int_equal(unpacker_new(p.out, p.a.digest, &u, &err), 0);
	assert_int_equal(unpacker_base(u, first, &err), 0);
	int r = unpacker_push(u, stream, n, &err);
	assert_int_equal(r < 0 ? r : unpacker_finish(u, &err), -EBADMSG);
	unpacker_free(u);
	place_close(&p);
}

static void corrupted_blob_is_named(void **state)
{
	(void)state;
	struct place p;
	place_open(&p);
	upload(&p);
	const struct artifact_entry *e = &p.a.entries[p.a.n - 1];
	while (e->kind != ARTIFACT_FILE || !str_eq(e->path, "index.js"))
		e--;
	AUTO_FREE char *name = xasprintf("store/files/sha256-%s", e->digest + 7);
	tree_file(p.dir, name, "console.log(3)\n", 0600);
	struct err err = { 0 };
	assert_int_equal(download(&p, &err), -EBADMSG);
	assert_says(&err, "corrupted");
	assert_false(unpacked_ready(p.out, p.a.digest));
	place_close(&p);
}

static void changed_while_sent_is_named(void **state)
{
	(void)state;
	struct place p;
	place_open(&p);
	struct err err = { 0 };
	size_t n;
	static const char *const now[] = { "console.log(2)\n", "longer than it was", "shorter" };
	for (size_t i = 0; i < ARRAY_LEN(now); i++) {
		tree_file(p.dir, "app/copy", now[i], 0644);
		assert_null(upload_stream(&p, &n, &err));
		assert_says(&err, "'copy' changed while it was sent");
	}
	place_close(&p);
}

static int unpack_stream(struct place *p, const struct artifact *a, struct tar_entry *entries, const char **content,
			 size_t n, struct err *err)
{
	struct buf out = BUF_INIT(1 << 20);
	struct tar_entry manifest = { TAR_FILE, "manifest", NULL, 0644, a->text_len };
	tar_write_header(&out, &manifest);
	buf_add(&out, a->text, a->text_len);
	tar_write_padding(&out, a->text_len);
	for (size_t i = 0; i < n; i++) {
		tar_write_header(&out, &entries[i]);
		if (entries[i].size) {
			buf_add(&out, content[i], entries[i].size);
			tar_write_padding(&out, entries[i].size);
		}
	}
	tar_write_end(&out);
	struct unpacker *u = NULL;
	assert_int_equal(unpacker_new(p->out, a->digest, &u, err), 0);
	int r = unpacker_push(u, buf_data(&out), buf_len(&out), err);
	if (r == 0)
		r = unpacker_finish(u, err);
	unpacker_free(u);
	buf_clear(&out);
	assert_false(r < 0 && unpacked_ready(p->out, a->digest));
	return r;
}

static void unpack_refuses_what_the_manifest_does_not_say(void **state)
{
	(void)state;
	struct place p;
	place_open(&p);
	AUTO_TREE char *small = tree_new();
	tree_file(small, "a", "1", 0644);
	tree_link(small, "b", "a");
	AUTO_ARTIFACT struct artifact a = { 0 };
	struct err err = { 0 };
	assert_int_equal(artifact_pack(small, NULL, &a, &err), 0);
	struct tar_entry good[] = { { TAR_FILE, "app/a", NULL, 0644, 1 }, { TAR_LINK, "app/b", "a", 0777, 0 } };
	const char *content[] = { "1", "" }, *other[] = { "2", "" };
	assert_int_equal(unpack_stream(&p, &a, good, other, 2, &err), -EBADMSG);
	assert_says(&err, "'a' is corrupted");
	assert_int_equal(unpack_stream(&p, &a, good, content, 1, &err), -EBADMSG);
	assert_says(&err, "'b' is missing");
	struct tar_entry out[] = { good[0], { TAR_LINK, "app/b", "/etc/passwd", 0777, 0 } };
	assert_int_equal(unpack_stream(&p, &a, out, content, 2, &err), -EBADMSG);
	assert_says(&err, "'app/b' leads elsewhere");
	struct tar_entry up[] = { { TAR_FILE, "app/../../x", NULL, 0644, 1 } };
	assert_int_equal(unpack_stream(&p, &a, up, content, 1, &err), -EBADMSG);
	assert_says(&err, "'app/../../x' is not the next entry");
	struct tar_entry twice[] = { good[0], good[0] };
	assert_int_equal(unpack_stream(&p, &a, twice, content, 2, &err), -EBADMSG);
	struct tar_entry larger[] = { { TAR_FILE, "app/a", NULL, 0644, 2 } };
	assert_int_equal(unpack_stream(&p, &a, larger, (const char *[]){ "11" }, 1, &err), -EBADMSG);
	struct tar_entry more[] = { good[0], good[1], good[1] };
	assert_int_equal(unpack_stream(&p, &a, more, (const char *[]){ "1", "", "" }, 3, &err), -EBADMSG);
	assert_says(&err, "not in the manifest");
	assert_int_equal(unpack_stream(&p, &a, good, content, 2, &err), 0);
	place_close(&p);
}

static bool keep_one(void *arg, const char *digest)
{
	return str_eq(arg, digest);
}

static void sweep_keeps_what_is_wanted(void **state)
{
	(void)state;
	struct place p;
	place_open(&p);
	upload(&p);
	struct err err = { 0 };
	size_t removed = 0;
	char *keep = p.a.entries[0].digest;
	assert_int_equal(blobs_sweep(p.blobs, keep_one, keep, 3600000, &removed, &err), 0);
	assert_int_equal(removed, 0); // too young
	assert_int_equal(blobs_sweep(p.blobs, keep_one, keep, 0, &removed, &err), 0);
	assert_int_equal(removed, 4);
	assert_true(blobs_has(p.blobs, keep));
	place_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tar_round_trip),
		cmocka_unit_test(tar_refuses),
		cmocka_unit_test(push_and_unpack),
		cmocka_unit_test(missing_blobs_are_named),
		cmocka_unit_test(wrong_sizes_are_refused),
		cmocka_unit_test(wrong_content_is_refused),
		cmocka_unit_test(what_is_there_is_not_fetched_again),
		cmocka_unit_test(damage_does_not_spread),
		cmocka_unit_test(left_out_too_much),
		cmocka_unit_test(corrupted_blob_is_named),
		cmocka_unit_test(changed_while_sent_is_named),
		cmocka_unit_test(unpack_refuses_what_the_manifest_does_not_say),
		cmocka_unit_test(sweep_keeps_what_is_wanted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
