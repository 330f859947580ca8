// What clients send as artifacts: the first byte chooses between a manifest, a content stream, an upload stream, and an
// archive of someone's (tar or zip). Whatever is accepted must be what would have been written, and nothing may appear
// outside the folder that is unpacked into.
#include "image/archive.h"
#include "base/str.h"
#include "image/content.h"
#include "image/tar.h"
#include "io/file.h"

#include <assert.h>
#include <dirent.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static char path[] = "/dev/shm/dialtone-fuzz-XXXXXX";

static void remove_folder(void)
{
	tree_remove(path, NULL);
}

static char *folder(void)
{
	static char *made;
	if (!made) {
		made = mkdtemp(path);
		atexit(remove_folder);
	}
	assert(made);
	return made;
}

// A wrong sum is one branch; without this nothing behind it would ever be reached.
static char *with_right_sums(const char *bytes, size_t n)
{
	char *copy = xmalloc(n + 1);
	memcpy(copy, bytes, n);
	copy[n] = '\0';
	for (size_t at = 0; at + 512 <= n; at += 512) {
		char *header = copy + at;
		if (memcmp(header + 257, "ustar", 5) != 0)
			continue;
		unsigned sum = 0;
		memset(header + 148, ' ', 8);
		for (size_t i = 0; i < 512; i++)
			sum += (unsigned char)header[i];
		snprintf(header + 148, 8, "%06o", sum);
	}
	return copy;
}

static void manifest(const char *bytes, size_t n)
{
	struct err err = { 0 };
	AUTO_ARTIFACT struct artifact a = { 0 };
	if (artifact_parse(bytes, n, &a, &err) < 0) {
		assert(err.text[0]);
		return;
	}
	assert(a.text_len == n && memcmp(a.text, bytes, n) == 0);
	uint64_t sum = 0;
	for (size_t i = 0; i < a.n; i++) {
		const struct artifact_entry *e = &a.entries[i];
		assert(!artifact_path_fault(e->path));
		assert(i == 0 || strcmp(e[-1].path, e->path) < 0);
		assert(e->kind != ARTIFACT_LINK || artifact_link_inside(e->path, e->target));
		sum += e->size;
	}
	assert(sum == a.bytes);
}

static void content(const char *input, size_t n)
{
	AUTO_FREE char *bytes = with_right_sums(input, n);
	// The digest asked for is that of the manifest that the stream begins with, so that fuzzing gets past it.
	size_t size = n > 512 ? strtoul(bytes + 124, NULL, 8) : 0;
	char digest[DIGEST_SIZE];
	digest_of(bytes + (n > 512 ? 512 : 0), n > 512 && size <= n - 512 ? size : 0, digest);
	struct err err = { 0 };
	struct unpacker *u = NULL;
	AUTO_FREE char *dir = xasprintf("%s/content", folder());
	assert(unpacker_new(dir, digest, &u, &err) == 0);
	size_t half = n / 2;
	int r = unpacker_push(u, bytes, half, &err);
	if (r == 0)
		r = unpacker_push(u, bytes + half, n - half, &err);
	assert(r == 0 || err.text[0]);
	unpacker_free(u);
}

static void upload(const char *input, size_t n)
{
	AUTO_FREE char *bytes = with_right_sums(input, n);
	static struct blobs *blobs;
	struct err err = { 0 };
	AUTO_FREE char *dir = xasprintf("%s/store", folder());
	if (!blobs)
		assert(blobs_open(dir, &blobs, &err) == 0);
	struct blob_receiver *r = blob_receiver_new(blobs, 1 << 20);
	blob_receiver_push(r, bytes, n, &err);
	blob_receiver_free(r);
}

static void archive(const char *bytes, size_t n)
{
	static const struct archive_limits limits = { 64, 1 << 20, 1 << 21, 200 };
	struct err err = { 0 };
	AUTO_FREE char *dir = xasprintf("%s/archive", folder());
	AUTO_FREE char *inner = xasprintf("%s/in", dir);
	assert(dir_make(inner, 0755, &err) == 0);
	archive_unpack_bytes(bytes, n, "fuzz", inner, &limits, &err);
	assert(tree_remove(inner, &err) == 0);
	assert(rmdir(dir) == 0); // nothing beside it
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	static void (*const kinds[])(const char *, size_t) = { manifest, content, upload, archive };
	if (n)
		kinds[bytes[0] % ARRAY_LEN(kinds)]((const char *)bytes + 1, n - 1);
	return 0;
}
